#![allow(clippy::unwrap_used, reason = "a plan that cannot be made shall fail the test")]

use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::exec::BufferId;
use crate::graph::TensorId;
use crate::memory::{Moment, Value, plan};
use crate::scenario::PoolPolicy;
use crate::trace::MemoryCategory;

/// A value that is asked for: words, whether it persists, its first op, how many ops it lives, and which it is used by.
type Asked = (u64, bool, usize, usize, u64);

const OPS: usize = 12;

fn course(asked: &[Asked]) -> Course {
    let mut asked = asked.to_vec();
    asked.sort_by_key(|&(_, persistent, ..)| !persistent);
    let mut course = Course { values: Vec::new(), moments: vec![Moment::default(); OPS] };
    for (id, (words, persistent, first, length, used)) in asked.into_iter().enumerate() {
        let (first, last) = if persistent { (0, OPS - 1) } else { (first, (first + length).min(OPS - 1)) };
        let key = (TensorId::new(id), (!persistent).then_some(0));
        let (bytes, category) = (Bytes(words * 256), MemoryCategory::Buffers);
        course.values.push(Value { key, bytes, category, persistent, first, last });
        if !persistent {
            course.moments[first].born.push(id);
            course.moments[first].uses.insert(id, true);
            course.moments[last].dies.push(id);
        }
        for op in (first..=last).filter(|op| used >> op & 1 == 1) {
            // Half of the uses write.
            let writes = course.moments[op].uses.get(&id).copied().unwrap_or(used >> (op + 20) & 1 == 1);
            course.moments[op].uses.insert(id, writes);
        }
    }
    course
}

fn courses() -> impl Strategy<Value = Course> {
    proptest::collection::vec((1_u64..9, any::<bool>(), 0..OPS, 0..OPS, any::<u64>()), 1..14).prop_map(|a| course(&a))
}

/// Plays a plan for some steps on buffers that hold which value was written when, and looks that every op finds what was
/// written last; returns what was handed out.
fn check(course: Course, plan: Plan) -> PoolStatistics {
    let course = Rc::new(course);
    let mut sizes = Vec::new();
    let mut memory = RankMemory::new(Rc::clone(&course), Rc::new(plan), |bytes| {
        sizes.push(bytes);
        BufferId(u32::try_from(sizes.len() - 1).unwrap())
    });
    // What lies in each buffer, and what should lie there: value and version.
    let mut contents: BTreeMap<BufferId, (TensorId, u32)> = BTreeMap::new();
    let mut versions: BTreeMap<TensorId, u32> = BTreeMap::new();
    for ((id, _), home) in memory.homes() {
        contents.insert(home, (id, 0));
    }
    let copy = |contents: &mut BTreeMap<BufferId, (TensorId, u32)>, pages: Vec<Page>| {
        for page in pages {
            let held = contents[&page.from];
            assert_eq!(held.0, page.key.0, "what moves is there");
            contents.insert(page.to, held);
        }
    };
    // A recording is made once and replayed; the second step must find everything where the first did.
    let mut pages = Vec::new();
    for moment in &course.moments {
        let turned = memory.enter();
        let mut places = Vec::new();
        for (&value, &writes) in &moment.uses {
            let asked = course.values[value];
            let place = memory.place(asked.key).expect("what is needed is on the device");
            assert!(sizes[place.0 as usize] >= asked.bytes, "it fits");
            places.push((asked.key.0, place, writes, moment.born.contains(&value)));
        }
        pages.push((turned, places));
        memory.leave();
    }
    let last = memory.end();
    for _ in 0..2 {
        for (turned, places) in &pages {
            copy(&mut contents, turned.clone());
            for &(id, place, writes, born) in places {
                let version = versions.entry(id).or_default();
                if !born {
                    assert_eq!(contents[&place], (id, *version), "nobody else has written there");
                }
                *version += u32::from(writes);
                contents.insert(place, (id, *version));
            }
        }
        copy(&mut contents, last.clone());
    }
    for ((id, _), home) in memory.homes() {
        assert_eq!(contents[&home], (id, versions.get(&id).copied().unwrap_or(0)), "at home between steps");
    }
    memory.statistics()
}

proptest! {
    #[test]
    fn every_op_finds_what_was_written_last(course in courses(), more in 0_u64..40) {
        let least: Bytes = course.largest_by_position().into_iter().sum();
        let best_fit = check(course.clone(), plan(&course, PoolPolicy::BestFit).unwrap());
        let reservation = check(course.clone(), plan(&course, PoolPolicy::Reservation).unwrap());
        prop_assert_eq!(best_fit.usage, reservation.usage);
        for statistics in [best_fit, reservation] {
            prop_assert_eq!(statistics.out, Traffic::default());
            prop_assert!(statistics.reserved >= statistics.usage.at_peak.total());
        }
        let budget = least + Bytes(more * 256);
        let paging = check(course.clone(), plan(&course, PoolPolicy::Paging { budget: Some(budget) }).unwrap());
        prop_assert!(paging.reserved <= budget && paging.usage.at_peak.total() <= paging.reserved);
        if budget >= reservation.reserved {
            prop_assert_eq!(paging.out, Traffic::default(), "nothing moves where everything has room");
        }
        let too_small = Bytes(least.0.saturating_sub(1));
        let refused = plan(&course, PoolPolicy::Paging { budget: Some(too_small) });
        if least > Bytes::ZERO {
            prop_assert_eq!(refused, Err(BudgetTooSmall { needed: least, budget: too_small }));
        }
    }
}

#[test]
fn what_is_needed_last_makes_room() {
    // Three values that live through the step, room for two: used in the order 0 1 2 0.
    let uses = [[0, 3].as_slice(), &[1], &[2]];
    let asked = uses.map(|ops| (1, true, 0, 0, ops.iter().fold(0, |bits, op| bits | 1 << op)));
    let course = course(&asked);
    let budget = Some(Bytes(512));
    let statistics = check(course.clone(), plan(&course, PoolPolicy::Paging { budget }).unwrap());
    // 1 gives way to 2, since 0 is needed before; and comes back for the next step.
    assert_eq!((statistics.back.moves, statistics.reserved), (2, Bytes(512)));
}

#[test]
fn values_that_do_not_meet_share_a_buffer() {
    let course = course(&[(4, false, 0, 1, 0), (3, false, 2, 1, 0), (1, false, 1, 1, 0)]);
    let reservation = check(course.clone(), plan(&course, PoolPolicy::Reservation).unwrap());
    assert_eq!(reservation.reserved, Bytes(5 * 256));
    assert_eq!(course.largest_by_position(), [Bytes(4 * 256)]);
}
