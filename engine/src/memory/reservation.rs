//! Reservation up front: lifetimes are known, so values that do not meet share a buffer.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::course::{Course, Value};
use super::plan::Plan;
use crate::units::Bytes;

/// Lifetimes in a buffer: the last op of each by its first.
type Lifetimes = BTreeMap<usize, usize>;

/// The largest value first gets the smallest buffer that is free as long as it lives, or a new one (Pisarchyk & Lee 2020,
/// "greedy by size" for shared objects). WebGPU lets no kernel read and write one buffer, so values share buffers as a
/// whole and not places in a single one.
pub fn plan(course: &Course) -> Plan {
    let mut order: Vec<usize> = (0..course.values.len()).collect();
    order.sort_by_key(|&value| (Reverse(course.values[value].bytes), value));
    let mut buffers: Vec<(Bytes, Lifetimes)> = Vec::new();
    let mut of = vec![0; course.values.len()];
    for value in order {
        let asked = &course.values[value];
        // Later buffers are smaller, and all are large enough.
        let free = buffers.iter().rposition(|(_, lifetimes)| !meets(lifetimes, asked));
        of[value] = free.unwrap_or_else(|| {
            buffers.push((asked.bytes, Lifetimes::new()));
            buffers.len() - 1
        });
        buffers[of[value]].1.insert(asked.first, if asked.persistent { usize::MAX } else { asked.last });
    }
    Plan::of_assignment(course, buffers.into_iter().map(|(bytes, _)| bytes).collect(), &of)
}

/// Whether any of the lifetimes has an op in common with a value's.
fn meets(lifetimes: &Lifetimes, value: &Value) -> bool {
    let last = if value.persistent { usize::MAX } else { value.last };
    lifetimes.range(..=last).next_back().is_some_and(|(_, &until)| until >= value.first)
}
