//! Recomputation by a memory budget: the least with which every stage fits, and no more.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use shardlab_engine::graph::{Part, Repeats, StepGraph, lower, lower_repeating};
use shardlab_engine::scenario::{Opened, Scenario, check, open};
use shardlab_engine::sim::step_time;
use shardlab_engine::trace::Phase;

fn scenario(strategy: &str) -> Scenario {
    let text = format!(
        "[model]\narchitecture = \"llama\"\nlayers = 12\nhidden = 256\nheads = 4\nffn_hidden = 512\nvocab = 512\n\
         positions = 256\n[cluster]\ndevice = \"h100-80gb-sxm\"\n[strategy]\nglobal_batch = 64\nmicro_batch = 2\n{strategy}"
    );
    let Ok(Opened::Scenario(file)) = open(text.as_bytes()) else { panic!("a scenario: {text}") };
    check(&file).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Layers that each stage computes again, and what it needs.
fn stages(step: &StepGraph) -> Vec<(usize, u64)> {
    let of_stage = |stage: &shardlab_engine::graph::Stage| {
        let ops = stage.segments.iter().flat_map(|segment| segment.ops());
        let again = ops.filter(|op| op.phase == Phase::Recompute && matches!(op.part, Part::Layer(_)));
        (again.map(|op| op.part).collect::<BTreeSet<_>>().len(), stage.memory.at_peak.total().0)
    };
    step.stages.iter().map(of_stage).collect()
}

#[test]
fn a_generous_budget_repeats_nothing_and_a_hopeless_one_all() {
    let of =
        |budget: &str| stages(&lower(&scenario(&format!("recompute = \"budget\"\nrecompute_budget = \"{budget}\""))));
    assert_eq!(of("80 GB")[0].0, 0);
    assert_eq!(of("1 B")[0].0, 12);
    let none = stages(&lower(&scenario("")))[0];
    assert_eq!(of("80 GB")[0], none);
    let all = stages(&lower(&scenario("recompute = \"full\"")))[0];
    assert_eq!(of("1 B")[0], all);
}

/// Time and need of a step that repeats cheap parts of some layers and some others whole.
fn chosen(scenario: &Scenario, whole: u32, cheap: u32) -> (u64, i64) {
    let repeats = Repeats { whole: (0..whole).collect(), cheap: (whole..whole + cheap).collect() };
    let step = lower_repeating(scenario, &repeats);
    (step.stages[0].memory.at_peak.total().0, step_time(&step, scenario).0)
}

#[test]
fn no_other_choice_within_the_budget_is_faster() {
    let text = |budget: u64| {
        format!(
            "[model]\npreset = \"llama2-13b\"\nlayers = 6\n[cluster]\ndevice = \"a100-80gb-sxm\"\n[strategy]\n\
             global_batch = 32\nmicro_batch = 4\nzero_stage = 1\ncuda_graphs = true\nrecompute = \"budget\"\n\
             recompute_budget = \"{budget} B\""
        )
    };
    let of = |budget: u64| {
        let Ok(Opened::Scenario(file)) = open(text(budget).as_bytes()) else { panic!("a scenario") };
        check(&file).unwrap_or_else(|error| panic!("{error}"))
    };
    let scenario = of(1);
    let pairs = (0..=6).flat_map(|whole| (0..=6 - whole).map(move |cheap| (whole, cheap)));
    let all: Vec<(u64, i64)> = pairs.map(|(whole, cheap)| chosen(&scenario, whole, cheap)).collect();
    let (most, least) = (all.iter().map(|c| c.0).max().unwrap(), all.iter().map(|c| c.0).min().unwrap());
    for part in 0..=8 {
        let budget = least + (most - least) * part / 8;
        let step = lower(&of(budget));
        let found = step_time(&step, &of(budget)).0;
        let best = all.iter().filter(|choice| choice.0 <= budget).map(|choice| choice.1).min().unwrap();
        assert!(step.stages[0].memory.at_peak.total().0 <= budget);
        assert_eq!(found, best, "within {budget} B");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_stage_repeats_the_fewest_layers_with_which_it_fits(
        (pp, dp) in (1_u32..=3, 1_u32..=2),
        share in 0.0_f64..=1.0,
        schedule in prop::sample::select(vec!["1f1b", "gpipe", "zb-h1"]),
    ) {
        let with = |policy: &str| {
            scenario(&format!(
                "data_parallel = {dp}\npipeline_parallel = {pp}\nschedule = \"{schedule}\"\n{policy}"
            ))
        };
        let (none, all) = (stages(&lower(&with(""))), stages(&lower(&with("recompute = \"full\""))));
        let most = none.iter().map(|stage| stage.1).max().expect("a stage");
        let least = all.iter().map(|stage| stage.1).min().expect("a stage");
        let budget = least + ((most - least) as f64 * share) as u64;
        let found = lower(&with(&format!("recompute = \"budget\"\nrecompute_budget = \"{budget} B\"")));
        found.verify().unwrap_or_else(|error| panic!("{error}"));
        for (stage, &(layers, needed)) in stages(&found).iter().enumerate() {
            if none[stage].1 <= budget {
                prop_assert_eq!(layers, 0, "stage {} fits as it is", stage);
            } else if all[stage].1 > budget {
                prop_assert_eq!(layers, all[stage].0, "stage {} does not fit in any case", stage);
            } else {
                prop_assert!(needed <= budget, "stage {stage} needs {needed} of {budget}");
                prop_assert!(layers > 0);
                // A layer fewer keeps what one layer keeps more, which no longer fits.
                let of_layer = (none[stage].1 - all[stage].1) / (12 / pp as u64);
                prop_assert!(needed + 2 * of_layer > budget, "stage {stage}: {needed} of {budget} with {layers}");
            }
        }
    }
}
