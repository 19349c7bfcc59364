//! Where the time of a training step goes that no kernel takes: `cargo bench --bench steps`.
//!
//! For each scenario medians over some steps: the whole step, the share outside kernels, what the host takes to write a call
//! into a command buffer and to submit all of them; and, once, to record the step.
#![allow(missing_docs, clippy::expect_used, clippy::print_stdout, reason = "a benchmark prints what it has measured")]

use std::time::Instant;

use pollster::block_on;
use shardlab_engine::exec::{Backend, BackendKind, StepResult, Trainer, open, record};
use shardlab_engine::graph::lower;
use shardlab_engine::scenario::Scenario;

/// Steps that are measured, after two that are not.
const STEPS: usize = 11;

/// One rank and several, with few large and many small kernels.
const PRESETS: [&str; 4] = ["tiny-llama-1", "tiny-gpt-dp2-tp2", "tiny-llama-pp2-tp2", "small-llama-8ranks"];

fn device() -> Backend {
    block_on(open(BackendKind::Wgpu)).expect("the benchmark needs an adapter")
}

fn main() {
    println!("on {}", device().info().name);
    println!(
        "{:<20} {:>7} {:>12} {:>10} {:>12} {:>12} {:>12}",
        "scenario", "calls", "step", "outside", "encode", "submit", "record"
    );
    for preset in PRESETS {
        row(&Scenario::preset(preset).expect("a preset"));
    }
}

fn row(scenario: &Scenario) {
    let mut trainer = block_on(Trainer::new(scenario, device())).expect("it can be trained");
    let mut step = || block_on(trainer.step()).expect("a step");
    let steps: Vec<StepResult> = (0..STEPS + 2).map(|_| step()).skip(2).collect();
    let median = |of: &dyn Fn(&StepResult) -> f64| {
        let mut values: Vec<f64> = steps.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let calls = steps[0].calls;
    println!(
        "{:<20} {calls:>7} {:>9.1} ms {:>8.2} % {:>9.2} µs {:>9.2} µs {:>9.2} µs",
        scenario.name(),
        median(&|step| step.wall.secs() * 1e3),
        median(&|step| step.outside_kernels() * 100.0),
        median(&|step| step.encoding_per_call().unwrap_or(f64::NAN) / 1e3),
        median(&|step| step.host.map_or(f64::NAN, |host| host.submitting.0 as f64) / 1e3 / calls as f64),
        recording(scenario) / 1e3 / calls as f64,
    );
}

/// Nanoseconds to write a step down, once for all its repetitions.
fn recording(scenario: &Scenario) -> f64 {
    let (graph, mut backend) = (lower(scenario), device());
    let start = Instant::now();
    record(&graph, scenario, &mut backend).expect("it can be recorded");
    start.elapsed().as_nanos() as f64
}
