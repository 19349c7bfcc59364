//! What hands out a device's memory: on real steps, and in snapshots of PyTorch.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

mod snapshots;

use shardlab_engine::analysis::{AllocatorRow, DeviceMemory, step_report};
use shardlab_engine::graph::{StepGraph, lower};
use shardlab_engine::scenario::{AllocatorName, Scenario, check, preset_file};
use shardlab_engine::search::{changed, treatments, ways_to_fit};
use shardlab_engine::sim::simulate;
use shardlab_engine::units::Bytes;

fn lowered(preset: &str) -> (Scenario, StepGraph) {
    let scenario = Scenario::preset(preset).unwrap();
    let step = lower(&scenario);
    (scenario, step)
}

fn rows(scenario: &Scenario, step: &StepGraph) -> Vec<AllocatorRow> {
    let memory = DeviceMemory::of(step, scenario, 0);
    AllocatorName::ALL.into_iter().map(|allocator| memory.row(step, allocator)).collect()
}

#[test]
fn every_allocator_needs_the_peak_and_only_paging_does_with_less() {
    for preset in ["llama2-7b-8xh100", "oom-13b", "resnet-50-8xa100", "tiny-llama-pp2-tp2"] {
        let (scenario, step) = lowered(preset);
        let memory = DeviceMemory::of(&step, &scenario, 0);
        assert_eq!(memory.peak, step.stages[0].memory.at_peak.total(), "{preset}");
        for row in rows(&scenario, &step) {
            let name = row.allocator.name();
            assert!(row.reserved >= row.allocated, "{preset}, {name}");
            assert_eq!(row.fits, row.breaks.is_none(), "{preset}, {name}");
            if row.moves == 0 {
                assert!(row.allocated >= memory.peak, "{preset}, {name}");
            } else {
                assert!(row.fits && row.reserved <= memory.room() && row.copying.0 > 0, "{preset}, {name}");
            }
            // What the first step has taken suffices for every other.
            assert!(row.later_calls == 0 || row.allocator == AllocatorName::Expandable, "{preset}, {name}");
        }
    }
}

#[test]
fn what_breaks_first_is_named_and_does_not_fit_where_it_is_said_to() {
    let (scenario, step) = lowered("oom-13b");
    let memory = DeviceMemory::of(&step, &scenario, 0);
    for row in rows(&scenario, &step).iter().filter(|row| !row.fits) {
        let breaks = row.breaks.as_ref().unwrap();
        assert!(breaks.reserved <= memory.room(), "{breaks:?}");
        assert!(breaks.reserved + breaks.asked > memory.room(), "{breaks:?}");
        assert!(breaks.largest_free < breaks.asked, "{breaks:?}");
        if let Some(tensor) = &breaks.tensor {
            assert!(step.tensors.iter().any(|known| known.name == *tensor), "{breaks:?}");
            assert!(breaks.micro_batch == Some(0), "activations of the first micro-batch are too much: {breaks:?}");
        }
    }
}

#[test]
fn three_kinds_of_changes_make_it_fit_and_each_really_does() {
    let file = preset_file("oom-13b").unwrap();
    let ways = ways_to_fit(&file, 3, &mut |_| true).unwrap();
    assert!(!ways.now.fits);
    let best = ways.best(3);
    assert_eq!(best.len(), 3, "{:?}", ways.fitting);
    assert!(ways.fitting.windows(2).all(|pair| pair[0].per_s >= pair[1].per_s), "the fastest first");
    for way in best {
        let scenario = check(&changed(&file, &way.edits).unwrap()).unwrap();
        let step = lower(&scenario);
        let report = step_report(&step, &scenario, &simulate(&step, &scenario));
        assert_eq!(report.step_time, way.step_time, "{way:?}");
        assert!(
            report.fit.fits
                && DeviceMemory::of(&step, &scenario, report.fit.stage).row(&step, AllocatorName::Caching).fits
        );
    }
}

#[test]
fn ways_of_treating_activations_trade_memory_for_time() {
    let file = preset_file("oom-13b").unwrap();
    let found: Vec<_> = treatments(&file).unwrap().collect();
    let of = |name: &str| found.iter().find(|treatment| treatment.name == name).unwrap();
    let keep = of("keep");
    for treatment in &found {
        assert!(treatment.activations <= keep.activations, "{}", treatment.name);
        assert!(treatment.way.step_time >= keep.way.step_time, "{}", treatment.name);
    }
    assert!(of("full").activations < of("selective").activations);
    assert!(of("full").repeated > 0.2 && of("keep").repeated.abs() < 1e-9 && of("offload").repeated.abs() < 1e-9);
    assert!(of("offload").way.outside > Bytes::ZERO);
    assert!(of("budget").way.fits && of("budget").way.step_time <= of("full").way.step_time);
}

/// A step of thousands of micro-batches is played with some of them: the others do the same, so figures are those of fewer.
#[test]
fn many_micro_batches_take_no_longer_and_need_no_more() {
    let of = |global_batch: u32| {
        let mut file = preset_file("oom-13b").unwrap();
        (file.strategy.micro_batch, file.strategy.global_batch) = (1, global_batch);
        let scenario = check(&file).unwrap();
        let step = lower(&scenario);
        let memory = DeviceMemory::of(&step, &scenario, 0);
        assert!(memory.micro_batches <= 16);
        assert_eq!(memory.peak, step.stages[0].memory.at_peak.total());
        let row = memory.row(&step, AllocatorName::Caching);
        (row.allocated, row.reserved, row.segments, row.fits)
    };
    assert_eq!(of(128), of(4096));
}

#[test]
fn what_is_paged_is_no_free_way_to_fit() {
    let mut file = preset_file("oom-13b").unwrap();
    file.run.allocator = AllocatorName::Paging;
    let ways = ways_to_fit(&file, 3, &mut |_| true).unwrap();
    let scenario = check(&file).unwrap();
    let step = lower(&scenario);
    let row = DeviceMemory::of(&step, &scenario, 0).row(&step, AllocatorName::Paging);
    let alone = simulate(&step, &scenario).step_time;
    assert!(row.copying.0 > 0 && ways.now.fits);
    assert_eq!(ways.now.step_time, alone + row.copying, "copies are added");
    assert!(ways.fitting[0].per_s > ways.now.per_s, "something else is faster: {:?}", ways.fitting[0]);
}

#[test]
fn buffers_that_are_made_as_they_are_needed_break_where_one_more_has_no_room() {
    let (scenario, step) = lowered("oom-13b");
    let memory = DeviceMemory::of(&step, &scenario, 0);
    let breaks = memory.row(&step, AllocatorName::BestFit).breaks.unwrap();
    assert!(breaks.tensor.is_some() && breaks.largest_free > Bytes::ZERO && breaks.largest_free < breaks.asked);
    let map = memory.map(AllocatorName::BestFit);
    let end = map.failure.unwrap().op + 1;
    assert!(end < map.ops && map.blocks.iter().all(|block| block.until <= end));
    let held: u64 = map.regions.iter().map(|region| region.bytes.0).sum();
    assert_eq!(Bytes(held), breaks.reserved);
}

#[test]
fn paging_that_cannot_help_says_what_ops_need_at_a_time() {
    let mut file = preset_file("oom-13b").unwrap();
    file.cluster.custom = serde_json::from_value(serde_json::json!({ "memory": "4 GB" })).unwrap();
    let scenario = check(&file).unwrap();
    let step = lower(&scenario);
    let memory = DeviceMemory::of(&step, &scenario, 0);
    let breaks = memory.row(&step, AllocatorName::Paging).breaks.unwrap();
    assert!(breaks.at_a_time && breaks.asked > memory.room(), "{breaks:?}");
    assert!(shardlab_engine::report::breaks_text(&breaks).contains("paging does not help"));
}

/// Where the runtime takes much of a small device, the budget is what is left.
#[test]
fn a_budget_that_is_proposed_is_one_with_which_it_fits() {
    let mut file = preset_file("bert-large-8xa100").unwrap();
    file.cluster.custom = serde_json::from_value(serde_json::json!({ "memory": "12 GB" })).unwrap();
    let found: Vec<_> = treatments(&file).unwrap().collect();
    let of = |name: &str| found.iter().find(|treatment| treatment.name == name).unwrap();
    assert!(!of("keep").way.fits && of("full").way.fits, "{found:?}");
    assert!(of("budget").way.fits && of("budget").way.step_time <= of("full").way.step_time);
}

#[test]
fn no_change_is_offered_that_changes_nothing_or_takes_more() {
    for preset in ["llama3-405b-16384xh100", "deepseek-v3-2048xh800", "llama3-8b-budget-8xh100"] {
        let ways = ways_to_fit(&preset_file(preset).unwrap(), 3, &mut |_| true).unwrap();
        let all: Vec<_> = ways.fitting.iter().chain(&ways.others).collect();
        for (index, way) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other.edits != way.edits), "{preset}: {way:?} twice");
            assert!(!ways.now.fits || way.reserved < ways.now.reserved, "{preset}: {way:?}");
        }
        for (index, way) in ways.best(3).iter().enumerate() {
            let paths =
                |way: &shardlab_engine::search::Way| way.edits.iter().map(|e| e.path.clone()).collect::<Vec<_>>();
            assert!(
                ways.best(3)[..index].iter().all(|other| paths(other).iter().all(|path| !paths(way).contains(path)))
            );
        }
    }
}

#[test]
fn a_stopped_search_for_changes_keeps_what_it_has() {
    let file = preset_file("oom-13b").unwrap();
    let mut left = 3;
    let ways = ways_to_fit(&file, 3, &mut |_| {
        left -= 1;
        left > 0
    })
    .unwrap();
    assert!(ways.fitting.len() + ways.others.len() <= 2);
}
