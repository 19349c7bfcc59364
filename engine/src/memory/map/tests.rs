//! What every allocator owes: no two values share an address while both live, and nothing lies outside what is held.
#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::*;
use crate::graph::{TensorId, lower};
use crate::memory::{Moment, Value};
use crate::scenario::{AllocatorName, Scenario};
use crate::trace::MemoryCategory;

const OPS: usize = 16;

/// Values of some bytes, whether they persist, their first op and how many they live.
fn course(asked: &[(u64, bool, usize, usize)]) -> Course {
    let mut asked = asked.to_vec();
    asked.sort_by_key(|&(_, persistent, ..)| !persistent);
    let mut course = Course { values: Vec::new(), moments: vec![Moment::default(); OPS] };
    for (id, (bytes, persistent, first, length)) in asked.into_iter().enumerate() {
        let (first, last) = if persistent { (0, usize::MAX) } else { (first, (first + length).min(OPS - 1)) };
        let key = (TensorId::new(id), (!persistent).then_some(0));
        let (bytes, category) = (Bytes(bytes * 256), MemoryCategory::Buffers);
        course.values.push(Value { key, bytes, category, persistent, first, last });
        if persistent {
            for moment in &mut course.moments {
                moment.uses.insert(id, true);
            }
        } else {
            course.moments[first].born.push(id);
            course.moments[first].uses.insert(id, true);
            course.moments[last].dies.push(id);
        }
    }
    course
}

fn courses() -> impl Strategy<Value = Course> {
    let bytes = prop_oneof![1_u64..9, 3_000_u64..9_000, 30_000_u64..90_000];
    proptest::collection::vec((bytes, prop::bool::weighted(0.2), 0..OPS, 0..OPS), 1..24)
        .prop_map(|asked| course(&asked))
}

/// Whether two blocks lie on the same address at the same op.
fn overlap(a: &Block, b: &Block) -> bool {
    a.from < b.until && b.from < a.until && a.address < b.address + b.bytes.0 && b.address < a.address + a.bytes.0
}

fn check(course: &Course, map: &MemoryMap, name: AllocatorName) {
    for (index, block) in map.blocks.iter().enumerate() {
        for other in &map.blocks[index + 1..] {
            assert!(!overlap(block, other), "{name:?}: {block:?} and {other:?}");
        }
        for op in block.from..block.until {
            let (mut address, end) = (block.address, block.address + block.bytes.0);
            for region in map.regions.iter().filter(|region| region.from <= op && op < region.until) {
                if (region.address..region.address + region.bytes.0).contains(&address) {
                    address = region.address + region.bytes.0;
                }
            }
            assert!(address >= end, "{name:?}: {block:?} is held at op {op}");
        }
    }
    for op in 0..map.ops {
        let held: u64 = map.regions.iter().filter(|r| r.from <= op && op < r.until).map(|r| r.bytes.0).sum();
        assert!(held <= map.reserved.0, "{name:?}");
    }
    assert!(map.failure.is_some() || map.reserved >= map.allocated, "{name:?}");
    if map.failure.is_none() && name != AllocatorName::Paging {
        for (value, asked) in course.values.iter().enumerate() {
            let alive = map.blocks.iter().filter(|block| block.value == value);
            let last = if asked.persistent { OPS } else { asked.last + 1 };
            assert_eq!(alive.map(|block| block.until - block.from).sum::<usize>(), last - asked.first, "{name:?}");
        }
    }
}

proptest! {
    #[test]
    fn values_that_live_together_lie_apart_in_what_is_held(course in courses(), share in 0.5_f64..1.5) {
        let needed = peak(&course);
        for name in AllocatorName::ALL {
            let free = MemoryMap::of(&course, name, None);
            prop_assert!(free.failure.is_none());
            prop_assert!(free.reserved >= needed || name == AllocatorName::Paging);
            check(&course, &free, name);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a small number")]
            let capacity = Bytes((free.reserved.as_f64() * share) as u64);
            let limited = MemoryMap::of(&course, name, Some(capacity));
            if limited.failure.is_none() {
                prop_assert!(limited.reserved <= capacity, "{:?} keeps within the device", name);
                prop_assert!(needed <= capacity || name == AllocatorName::Paging);
            }
            check(&course, &limited, name);
        }
    }
}

#[test]
fn a_real_step_needs_its_peak_and_planned_offsets_come_near_it() {
    let scenario = Scenario::preset("llama3-8b-16xh100").expect("a preset");
    let step = lower(&scenario);
    let saved = crate::graph::passes::plan_memory::saved(&step, &step.stages[0]);
    let course = Course::of(&step, 0, &saved);
    assert_eq!(peak(&course), step.stages[0].memory.at_peak.total());
    let reserved = |name| MemoryMap::of(&course, name, None).reserved.as_f64() / peak(&course).as_f64();
    assert!(reserved(AllocatorName::Offsets) < 1.02, "{}", reserved(AllocatorName::Offsets));
    assert!(reserved(AllocatorName::Expandable) <= reserved(AllocatorName::Caching));
    assert!(reserved(AllocatorName::Bump) > reserved(AllocatorName::Caching));
}
