//! The search finds what simulating everything finds, because its bounds never exceed what the simulator says.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use shardlab_engine::graph::lower;
use shardlab_engine::scenario::{ScenarioFile, check, preset_file};
use shardlab_engine::search::{
    Axis, Goal, Options, Outcome, Progress, Saved, Space, SpaceError, default_space, search,
};
use shardlab_engine::sim::step_time;

fn axis(path: &str, values: &Value) -> Axis {
    Axis { path: path.to_owned(), values: values.as_array().expect("a list").clone() }
}

fn all_of(space: &Space, options: &Options) -> Outcome {
    search(space, options, Saved::default(), &|_: Progress| true)
}

fn small(name: &str, layers: u32) -> ScenarioFile {
    let mut file = preset_file(name).expect("a preset");
    file.model.layers = Some(layers);
    file
}

/// Spaces that are small enough to simulate all of: dense, with experts, with long sequences.
fn spaces() -> Vec<(&'static str, Space)> {
    let mesh = || {
        vec![
            axis("strategy.tensor_parallel", &json!([1, 2, 4, 8])),
            axis("strategy.pipeline_parallel", &json!([1, 2, 4])),
            axis("strategy.micro_batch", &json!([1, 2])),
        ]
    };
    let with = |name: &str, layers: u32, more: Vec<Axis>| {
        Space::new(&small(name, layers), mesh().into_iter().chain(more).collect()).expect("a space")
    };
    let dense = vec![
        axis("strategy.schedule", &json!(["1f1b", "gpipe", "interleaved", "zb-h1", "zb-v", "dualpipe-v", "dualpipe"])),
        axis("strategy.sequence_parallel", &json!([false, true])),
        axis("strategy.zero_stage", &json!([0, 1, 3])),
        axis("strategy.recompute", &json!(["none", "full"])),
    ];
    let formats = vec![
        axis("strategy.optimizer", &json!(["adamw", "sgd"])),
        axis("strategy.gradient_format", &json!(["fp32", "compute"])),
        axis("strategy.kernels", &json!(["fused", "eager"])),
        axis("strategy.sequence_parallel", &json!([true])),
        axis("strategy.keep_gathered", &json!([false, true])),
        axis("strategy.rank_order", &json!([["tp", "dp", "pp"], ["dp", "tp", "pp"]])),
    ];
    let experts = vec![
        axis("strategy.expert_parallel", &json!([1, 2, 8])),
        axis("strategy.sequence_parallel", &json!([true])),
        axis("strategy.zero_stage", &json!([0, 1])),
        axis("strategy.precision", &json!(["bf16", "fp8"])),
        axis("strategy.overlap_micro_batches", &json!([false, true])),
    ];
    let long = vec![
        axis("strategy.context_parallel", &json!([1, 2, 4])),
        axis("strategy.context_method", &json!(["ring", "all_to_all", "all_gather"])),
        axis("strategy.recompute", &json!(["none", "full"])),
        axis("cluster.nodes", &json!([2, 4])),
    ];
    vec![
        ("dense", with("llama3-8b-16xh100", 8, dense)),
        ("formats", with("llama3-8b-16xh100", 4, formats)),
        ("experts", with("mixtral-8x7b-64xh100", 4, experts)),
        ("long", with("llama3-8b-128k-64xh100", 4, long)),
    ]
}

#[test]
fn the_best_are_those_of_simulating_everything() {
    for (name, space) in spaces() {
        for goal in [Goal::Time, Goal::Pareto] {
            let options = Options { goal, count: 5, ..Options::default() };
            let pruned = all_of(&space, &options);
            let everything = all_of(&space, &Options { prune: false, ..options });
            assert!(!everything.found.is_empty(), "{name}: something fits");
            assert_eq!(pruned.found, everything.found, "{name}, {goal:?}");
            let counts = &pruned.counts;
            assert_eq!(counts.decided(), space.len(), "{name}: every strategy is decided");
            assert!(counts.simulated < everything.counts.simulated, "{name}: bounds prune: {counts:?}");
        }
    }
}

#[test]
fn no_bound_exceeds_what_the_simulator_says() {
    for (name, space) in spaces() {
        let everything = all_of(&space, &Options { prune: false, may_overflow: true, ..Options::default() });
        assert!(everything.saved.simulated.len() > 30, "{name}");
        for found in &everything.saved.simulated {
            let bounds = shardlab_engine::search::bounds_of(&space.file(found.index)).expect("it was simulated");
            assert!(bounds.time <= found.step_time, "{name} {}: {bounds:?} {found:?}", found.index);
            assert!(bounds.memory <= found.memory, "{name} {}: {bounds:?} {found:?}", found.index);
        }
    }
}

#[test]
fn threads_do_not_change_the_result() {
    let (_, space) = spaces().remove(0);
    let one = all_of(&space, &Options::default());
    let four = all_of(&space, &Options { workers: 4, ..Options::default() });
    assert_eq!(one.found, four.found);
}

#[test]
fn a_search_that_was_stopped_goes_on_where_it_was() {
    let (_, space) = spaces().remove(1);
    let options = Options { prune: false, ..Options::default() };
    let whole = all_of(&space, &options);
    let simulated = AtomicU64::new(0);
    let some = |progress: Progress| {
        simulated.store(progress.simulated, Ordering::Relaxed);
        progress.simulated < 5
    };
    let first = search(&space, &options, Saved::default(), &some);
    assert!(!first.complete);
    assert_eq!(first.saved.simulated.len(), 5);
    let rest = search(&space, &options, first.saved, &|_: Progress| true);
    assert_eq!((rest.found, rest.complete), (whole.found, true));
}

#[test]
fn what_is_no_space_is_refused_with_the_reason() {
    let file = small("llama3-8b-16xh100", 8);
    let refused = |axes: Vec<Axis>| Space::new(&file, axes).map(|_| ()).expect_err("no space");
    assert_eq!(refused(vec![axis("strategy.bucket", &json!([]))]), SpaceError::NoValues("strategy.bucket".into()));
    assert!(refused(vec![axis("strategy.tensor", &json!([1]))]).to_string().contains("strategy.tensor"));
    assert!(refused(vec![axis("strategy.tensor_parallel", &json!(["two"]))]).to_string().contains("two"));
    assert!(refused(vec![axis("nowhere", &json!([1]))]).to_string().contains("nowhere"));
    let twice = vec![axis("strategy.micro_batch", &json!([1])), axis("strategy.micro_batch", &json!([2]))];
    assert_eq!(refused(twice), SpaceError::Twice("strategy.micro_batch".into()));
    let many = json!((1..2000).collect::<Vec<u32>>());
    let three = ["micro_batch", "global_batch", "tensor_parallel"].map(|f| axis(&format!("strategy.{f}"), &many));
    assert!(matches!(refused(three.to_vec()), SpaceError::TooMany(_)));
}

#[test]
fn fields_without_effect_change_nothing() {
    let space = Space::new(
        &small("llama3-8b-16xh100", 8),
        vec![
            axis("strategy.tensor_parallel", &json!([2, 16])),
            axis("strategy.zero_stage", &json!([0, 1, 3])),
            axis("strategy.recompute", &json!(["none", "selective", "full"])),
            axis("strategy.recompute_interval", &json!([1, 2])),
            axis("strategy.prefetch", &json!([1, 2])),
            axis("strategy.overlap_parameters", &json!([true, false])),
            axis("strategy.overlap_gradients", &json!([true, false])),
            axis("strategy.context_method", &json!(["ring", "all_to_all"])),
        ],
    )
    .expect("a space");
    let mut known = std::collections::BTreeMap::new();
    for index in 0..space.len() {
        let Ok(scenario) = check(&space.file(index)) else { continue };
        let step = lower(&scenario);
        let outcome = (step_time(&step, &scenario), step.stages[0].memory);
        let canonical = format!("{:?}", scenario.strategy().canonical());
        let expected = known.entry(canonical).or_insert(outcome);
        assert_eq!(*expected, outcome, "{:?}", space.values(index));
    }
    assert!(known.len() > 10, "{}", known.len());
}

/// Whatever is on screen, the space that is offered around it holds something that is at least as fast.
#[test]
fn the_space_that_is_offered_holds_what_is_there() {
    for name in ["gpt2-124m-8xa100", "llama2-7b-8xh100", "llama3-70b-64xh100", "gpt-zero-bubble-8xa100"] {
        let file = preset_file(name).expect("a preset");
        let scenario = check(&file).expect("valid");
        let space = Space::new(&file, default_space(&scenario)).expect("a space");
        let outcome = all_of(&space, &Options { count: 1, may_overflow: true, ..Options::default() });
        let now = step_time(&lower(&scenario), &scenario);
        assert!(outcome.found[0].step_time <= now, "{name}: {} after {now}", outcome.found[0].step_time);
    }
}
