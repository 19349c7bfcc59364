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
