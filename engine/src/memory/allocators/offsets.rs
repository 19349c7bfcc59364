//! Addresses that are planned before the step.

use std::cmp::Reverse;

use crate::memory::{Course, ValueId};

/// The address of every value of a course.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// By value.
    pub of: Vec<u64>,
    /// What all of them need.
    pub end: u64,
}

/// A value that has its place.
#[derive(Clone, Copy)]
struct Placed {
    address: u64,
    end: u64,
    first: usize,
    last: usize,
}

impl Offsets {
    /// The largest value first gets the smallest gap between what lives at the same time in which it fits, or the place
    /// behind all of that (Pisarchyk & Lee 2020, "greedy by size for offset calculation").
    pub fn plan(course: &Course) -> Self {
        let mut order: Vec<ValueId> = (0..course.values.len()).collect();
        order.sort_by_key(|&value| (Reverse(course.values[value].bytes), value));
        let mut placed: Vec<Placed> = Vec::with_capacity(order.len());
        let mut plan = Self { of: vec![0; order.len()], end: 0 };
        for value in order {
            let asked = &course.values[value];
            let last = if asked.persistent { usize::MAX } else { asked.last };
            let meets = |other: &&Placed| other.first <= last && asked.first <= other.last;
            let address = gap(placed.iter().filter(meets), asked.bytes.0);
            let end = address + asked.bytes.0;
            let behind = placed.partition_point(|other| other.address <= address);
            placed.insert(behind, Placed { address, end, first: asked.first, last });
            plan.of[value] = address;
            plan.end = plan.end.max(end);
        }
        plan
    }
}

/// Where `bytes` fit best beside what is there, which comes in the order of addresses.
fn gap<'a>(there: impl Iterator<Item = &'a Placed>, bytes: u64) -> u64 {
    let (mut end, mut best) = (0, None);
    for other in there {
        let room = other.address.saturating_sub(end);
        if room >= bytes && best.is_none_or(|(least, _)| room < least) {
            best = Some((room, end));
        }
        end = end.max(other.end);
    }
    best.map_or(end, |(_, address)| address)
}
