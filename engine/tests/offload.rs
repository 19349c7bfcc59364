//! What lives outside the device: what crosses to the host, what is freed here and kept there, and what it costs.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "cases/steps.rs"]
mod steps;

use proptest::prelude::*;
use shardlab_engine::analysis::{StepReport, step_report};
use shardlab_engine::cost::work;
use shardlab_engine::graph::{OpKind, StepGraph, lower};
use shardlab_engine::scenario::Scenario;
use shardlab_engine::sim::simulate;
use shardlab_engine::trace::MemoryCategory;

fn text(strategy: &str, custom: &str) -> String {
    format!(
        "[model]\narchitecture = \"llama\"\nlayers = 8\nhidden = 1024\nheads = 8\nffn_hidden = 4096\nvocab = 8192\n\
         positions = 1024\n[cluster]\ndevice = \"a100-80gb-sxm\"\n[cluster.custom]\n{custom}\n[strategy]\n\
         data_parallel = 4\nmicro_batch = 2\nglobal_batch = 16\n{strategy}"
    )
}

fn scenario(strategy: &str, custom: &str) -> Scenario {
    steps::scenario(&text(strategy, custom))
}

fn lowered(scenario: &Scenario) -> StepGraph {
    let step = lower(scenario);
    step.verify().unwrap_or_else(|error| panic!("{error}"));
    step
}

fn report(scenario: &Scenario) -> StepReport {
    let step = lowered(scenario);
    step_report(&step, scenario, &simulate(&step, scenario))
}

/// Bytes that a rank copies to the host and back in a step.
fn copied(strategy: &str) -> [u64; 2] {
    let step = lowered(&scenario(strategy, ""));
    let stage = &step.stages[0];
    let ops = || stage.tasks.iter().flat_map(|&task| stage.segment(task).ops());
    [OpKind::ToHost, OpKind::FromHost]
        .map(|kind| ops().filter(|op| op.kind == kind).map(|op| work(&step.dims, &step.tensors, op).bytes.0).sum())
}

fn used(report: &StepReport, category: MemoryCategory) -> u64 {
    report.peak_memory[0].used.get(category).0
}

#[test]
fn the_optimizer_takes_gradients_and_gives_parameters_back() {
    // Of each parameter four bytes of gradient go and two of bf16 come back (Ren et al. 2021, section 4.1 with fp32
    // gradients); 12 bytes of master weight and moments stay with the host.
    let whole = report(&scenario("", ""));
    let away = report(&scenario("offload_optimizer = \"host\"", ""));
    let gradients = used(&whole, MemoryCategory::Gradients);
    let [out, back] = copied("offload_optimizer = \"host\"");
    assert!(out <= gradients && out * 1000 > gradients * 999, "{out} of {gradients}, which has padding");
    assert_eq!(back * 2, out);
    assert_eq!(used(&away, MemoryCategory::OptimizerState), 0);
    let kept = away.outside.0;
    assert!(kept >= 4 * out && kept * 100 < 4 * out * 101, "{kept} and 16 bytes for each of {} elements", out / 4);
    assert!(away.breakdown.exposed_offload.0 > 0 && away.step_time > whole.step_time);
    // A slice of the optimizer is a slice of the work.
    let slice = report(&scenario("offload_optimizer = \"host\"\nzero_stage = 2", ""));
    assert!(slice.breakdown.exposed_offload.0 * 2 < away.breakdown.exposed_offload.0);
}

#[test]
fn drives_are_slower_than_memory_and_a_faster_host_helps() {
    let time =
        |place: &str, custom: &str| report(&scenario(&format!("offload_optimizer = \"{place}\""), custom)).step_time;
    assert!(time("nvme", "") > time("host", ""));
    assert!(time("host", "host_memory_bandwidth = \"400 GB/s\"") < time("host", ""));
    assert!(time("host", "host_bandwidth = \"400 GB/s\"") < time("host", ""));
    assert!(time("nvme", "storage_bandwidth = \"50 GB/s\"") < time("nvme", ""));
}

#[test]
fn parameters_are_fetched_for_every_use() {
    let sharded = "zero_stage = 3\noffload_optimizer = \"host\"";
    let [out, back] = copied(sharded);
    let [out_again, fetched] = copied(&format!("{sharded}\noffload_parameters = \"host\""));
    assert_eq!(out_again, out, "gradients go as before");
    // Two micro-batches, each gathered for the forward and again for the backward but the last unit (section 5.3).
    let of_slice = back;
    assert!(fetched > 3 * of_slice && fetched <= 4 * of_slice, "{fetched} and {of_slice}");
    let (here, away) =
        (report(&scenario(sharded, "")), report(&scenario(&format!("{sharded}\noffload_parameters = \"host\""), "")));
    assert!(used(&away, MemoryCategory::Parameters) < used(&here, MemoryCategory::Parameters));
    assert!(away.outside > here.outside);
}

#[test]
fn activations_wait_on_the_host() {
    let whole = report(&scenario("", ""));
    let some = report(&scenario("offload_activations = 4", ""));
    let more = report(&scenario("offload_activations = 7", ""));
    let kept = |report: &StepReport| used(report, MemoryCategory::Activations);
    assert!(kept(&more) < kept(&some) && kept(&some) < kept(&whole));
    let [out, back] = copied("offload_activations = 4");
    assert_eq!(out, back, "what goes comes back");
    assert_eq!(some.outside.0, out / 2, "one of two micro-batches at a time");
    // What is copied is what a layer keeps: at least the inputs of its matmuls, 2 bytes of 34 a token and feature of
    // Korthikanti et al. 2022 each; of a Llama layer about as many.
    let tokens = 2 * 1024;
    assert!(out / 2 > 4 * 20 * tokens * 1024, "{out}");
    let fast = report(&scenario("offload_activations = 4", "host_bandwidth = \"2000 GB/s\""));
    assert!(fast.step_time < some.step_time && fast.step_time >= whole.step_time);
}

#[test]
fn checkpoints_of_full_recomputation_can_wait_too() {
    let [out, back] = copied("offload_activations = 8\nrecompute = \"full\"");
    assert_eq!(out, back);
    // The input of each layer in two bytes, but that of the first is no value of a layer before it.
    let input = 2 * 1024 * 1024 * 2;
    assert_eq!(out, 2 * 8 * input);
    // And none of them stays on the device: at the peak, in the last layers' backward pass, the others are gone.
    let kept = |layers: u32| {
        let strategy = format!("offload_activations = {layers}\nrecompute = \"full\"");
        used(&report(&scenario(&strategy, "")), MemoryCategory::Activations)
    };
    assert_eq!(kept(2) - kept(4), 2 * input, "two layers more");
}

#[test]
fn what_cannot_be_outside_is_refused_with_the_field() {
    let cases = [
        ("offload_parameters = \"host\"", "`strategy.offload_parameters`"),
        ("zero_stage = 3\noffload_parameters = \"host\"", "`strategy.offload_parameters`"),
        ("offload_optimizer = \"host\"\noptimizer = \"muon\"", "`strategy.offload_optimizer`"),
        ("offload_optimizer = \"host\"\nupdate = \"local_sgd\"", "`strategy.offload_optimizer`"),
    ];
    for (strategy, path) in cases {
        let message = steps::refusal(&text(strategy, ""));
        assert!(message.contains(path), "{strategy}: {message}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn steps_with_things_outside_are_sound_and_fold(
        (tp, pp, dp) in (1_u32..=2, 1_u32..=3, 1_u32..=4),
        schedule in prop::sample::select(vec!["1f1b", "zb-h1", "gpipe", "interleaved", "zb-v", "dualpipe-v"]),
        (zero, layers) in (0_u32..=3, 0_u32..=4),
        places in prop::array::uniform2(prop::sample::select(vec!["device", "host", "nvme"])),
        flags in prop::array::uniform4(any::<bool>()),
        recompute in prop::sample::select(vec!["none", "full"]),
    ) {
        let [gpt, sequence_parallel, fp32, tied] = flags;
        let parameters = if zero == 3 && dp > 1 && places[0] != "device" { places[1] } else { "device" };
        let pick = |flag: bool, yes: &'static str, no: &'static str| if flag { yes } else { no };
        let text = format!(
            "[model]\narchitecture = \"{}\"\nlayers = 6\nhidden = 64\nheads = 4\nffn_hidden = 128\nvocab = 100\n\
             positions = 32\ntied_embeddings = {tied}\n[cluster]\ndevice = \"h100-80gb-sxm\"\nnodes = 3\n[strategy]\n\
             data_parallel = {dp}\ntensor_parallel = {tp}\nsequence_parallel = {sequence_parallel}\n\
             pipeline_parallel = {pp}\nschedule = \"{schedule}\"\nglobal_batch = {}\nzero_stage = {zero}\n\
             recompute = \"{recompute}\"\nprecision = \"{}\"\noffload_optimizer = \"{}\"\n\
             offload_parameters = \"{parameters}\"\noffload_activations = {layers}\n",
            pick(gpt, "gpt", "llama"),
            dp * 12,
            pick(fp32, "fp32", "bf16"),
            places[0],
        );
        // What the checks refuse is no step.
        let Ok(scenario) = steps::checked(&text) else { return Ok(()) };
        steps::folded_and_unfolded(&scenario, &text);
    }
}
