//! Updates that do not wait for all replicas: what each sends and keeps, and what it saves.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "cases/steps.rs"]
mod steps;

use proptest::prelude::*;
use shardlab_engine::analysis::{StepReport, step_report};
use shardlab_engine::cost::bytes_moved;
use shardlab_engine::graph::lower;
use shardlab_engine::scenario::Scenario;
use shardlab_engine::sim::simulate;
use shardlab_engine::trace::MemoryCategory;

/// A small model on sixteen replicas over two nodes with a slow network.
fn text(strategy: &str, cluster: &str) -> String {
    format!(
        "[model]\npreset = \"gpt2-355m\"\n[cluster]\ndevice = \"a100-80gb-sxm\"\nnodes = 2\n{cluster}\n\
         [cluster.custom]\ninter_link = {{ bandwidth = \"1 Gb/s\" }}\n[strategy]\nglobal_batch = 64\nmicro_batch = 4\n{strategy}"
    )
}

fn scenario(strategy: &str, cluster: &str) -> Scenario {
    steps::scenario(&text(strategy, cluster))
}

fn report(scenario: &Scenario) -> StepReport {
    let step = lower(scenario);
    step.verify().unwrap_or_else(|error| panic!("{error}"));
    step_report(&step, scenario, &simulate(&step, scenario))
}

fn moved(scenario: &Scenario) -> u64 {
    bytes_moved(&lower(scenario)).get("dp").map_or(0, |bytes| bytes.0)
}

#[test]
fn an_outer_step_costs_its_share_of_every_step() {
    let synchronous = report(&scenario("", ""));
    let local = scenario("update = \"local_sgd\"\nsync_interval = 50", "");
    let (between, interval) = local.between_outer_steps().expect("steps without an outer one");
    assert_eq!(interval, 50);
    assert_eq!(moved(&between), 0, "replicas step by themselves");
    let loss = 2 * 15 * 4;
    assert_eq!(moved(&local), moved(&scenario("", "")) - loss, "outer gradients are as large as gradients");
    let (outer, inner) = (report(&local), report(&between));
    assert!(outer.step_time > inner.step_time);
    assert_eq!(outer.mean_step_time.0, (inner.step_time.0 * 49 + outer.step_time.0) / 50);
    assert!(outer.tokens_per_s > 3.0 * synchronous.tokens_per_s, "the network was what took the time");
    // Outer parameters and momentum in fp32, as large as the gradients each.
    let of = |report: &StepReport, category| report.peak_memory[0].used.get(category).0;
    let kept = of(&outer, MemoryCategory::OptimizerState) - of(&inner, MemoryCategory::OptimizerState);
    assert_eq!(kept, 2 * of(&inner, MemoryCategory::Gradients));
}

#[test]
fn islands_that_shard_inside_step_by_themselves() {
    let sharded = "zero_stage = 3\nsharding_group = 8\n";
    let local = scenario(&format!("{sharded}update = \"local_sgd\""), "");
    let (between, _) = local.between_outer_steps().expect("steps without an outer one");
    let groups = report(&scenario(sharded, ""));
    assert!(report(&between).step_time < groups.step_time, "nothing crosses to the other island");
    assert!(moved(&between) < moved(&local));
}

#[test]
fn stale_gradients_hide_behind_the_next_step() {
    let synchronous = report(&scenario("", ""));
    let one = report(&scenario("update = \"bounded_staleness\"", ""));
    let three = report(&scenario("update = \"bounded_staleness\"\nstaleness = 3", ""));
    assert!(one.step_time < synchronous.step_time && three.step_time <= one.step_time);
    assert_eq!(moved(&scenario("update = \"bounded_staleness\"", "")), moved(&scenario("", "")));
    // No step is shorter than its sums take, however stale they may be.
    assert!(three.step_time.0 * 10 > synchronous.step_time.0 * 8, "{} {}", three.step_time, synchronous.step_time);
    let gradients = |report: &StepReport| report.peak_memory[0].used.gradients.0;
    assert_eq!(gradients(&one), 2 * gradients(&synchronous));
    assert_eq!(gradients(&three), 4 * gradients(&synchronous));
}

#[test]
fn replicas_that_wait_for_nobody_do_not_wait_for_a_straggler() {
    let straggler = "exceptions = [{ devices = [0], speed = 0.5 }]";
    let fast = "[strategy]\n";
    let of = |update: &str, cluster: &str| {
        let text =
            text(update, cluster).replace("1 Gb/s", "400 Gb/s").replace(fast, "[strategy]\ndata_parallel = 16\n");
        steps::scenario(&text)
    };
    let [even, uneven] = ["", straggler].map(|cluster| report(&of("update = \"asynchronous\"", cluster)));
    let [together, held_up] = ["", straggler].map(|cluster| report(&of("zero_stage = 1", cluster)));
    assert!(held_up.tokens_per_s < 0.7 * together.tokens_per_s);
    // Fifteen of sixteen go on as before.
    assert!(uneven.tokens_per_s > 0.93 * even.tokens_per_s, "{} of {}", uneven.tokens_per_s, even.tokens_per_s);
    let bytes = |update| moved(&of(update, ""));
    assert!(
        bytes("update = \"asynchronous\"") <= bytes("zero_stage = 1"),
        "pushed and pulled as scattered and gathered"
    );
}

#[test]
fn what_cannot_be_is_refused_with_the_field() {
    let cases = [
        ("update = \"local_sgd\"\nzero_stage = 1", "`strategy.sharding_group`"),
        ("update = \"bounded_staleness\"\nzero_stage = 2", "`strategy.zero_stage`"),
        ("update = \"bounded_staleness\"\nstaleness = 0", "`strategy.staleness`"),
        ("update = \"asynchronous\"\nzero_stage = 3", "`strategy.zero_stage`"),
        ("update = \"asynchronous\"\ngradient_compression = \"bf16\"", "`strategy.gradient_compression`"),
        ("update = \"local_sgd\"\nsync_interval = 0", "`strategy.sync_interval`"),
        ("update = \"local_sgd\"\ncontext_parallel = 2", "`strategy.context_parallel`"),
    ];
    for (strategy, path) in cases {
        let message = steps::refusal(&text(strategy, ""));
        assert!(message.contains(path), "{strategy}: {message}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn steps_of_every_rule_are_sound_and_fold(
        (tp, pp, dp) in (1_u32..=2, 1_u32..=2, 2_u32..=4),
        rule in prop::sample::select(vec!["bounded_staleness", "asynchronous", "local_sgd"]),
        schedule in prop::sample::select(vec!["1f1b", "zb-h1", "gpipe"]),
        (zero, way) in (0_u32..=3, prop::sample::select(vec!["none", "bf16", "int8", "top_k"])),
        (overlap, tied, straggler) in (any::<bool>(), any::<bool>(), any::<bool>()),
    ) {
        let group = if rule == "local_sgd" && zero > 0 { "sharding_group = 2\n" } else { "" };
        let exceptions = if straggler { "exceptions = [{ devices = [1], speed = 0.7 }]\n" } else { "" };
        let text = format!(
            "[model]\narchitecture = \"gpt\"\nlayers = 4\nhidden = 64\nheads = 4\nffn_hidden = 128\nvocab = 100\n\
             positions = 32\ntied_embeddings = {tied}\n[cluster]\ndevice = \"h100-80gb-sxm\"\nnodes = 2\n{exceptions}\
             [strategy]\ndata_parallel = {dp}\ntensor_parallel = {tp}\npipeline_parallel = {pp}\n\
             schedule = \"{schedule}\"\nglobal_batch = {}\nzero_stage = {zero}\n{group}overlap_gradients = {overlap}\n\
             bucket = \"100 kB\"\ngradient_compression = \"{way}\"\nupdate = \"{rule}\"\n",
            dp * 4,
        );
        let Ok(scenario) = steps::checked(&text) else { return Ok(()) };
        let (step, [folded, unfolded]) = steps::folded_and_unfolded(&scenario, &text);
        let rates = [&folded, &unfolded].map(|trace| step_report(&step, &scenario, trace).tokens_per_s);
        prop_assert!((rates[0] / rates[1] - 1.0).abs() < 1e-9);
    }
}
