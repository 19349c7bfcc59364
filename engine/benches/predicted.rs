//! Predicted against executed step time of all scenarios that this device executes: `cargo bench --bench predicted`.
//!
//! One line each, then the median and the worst of how far they are apart.
#![allow(missing_docs, clippy::expect_used, clippy::print_stdout, reason = "a benchmark prints what it has measured")]

use pollster::block_on;
use shardlab_engine::compare::predict_and_execute;
use shardlab_engine::exec::{BackendKind, open};
use shardlab_engine::scenario::{Scenario, presets};

/// Steps whose median counts.
const STEPS: u32 = 5;

fn main() {
    let kind = if block_on(open(BackendKind::Wgpu)).is_ok() { BackendKind::Wgpu } else { BackendKind::Cpu };
    let mut apart = Vec::new();
    println!("{:<28} {:>12} {:>12} {:>9}", "scenario", "predicted", "executed", "executed/");
    for name in presets().iter().filter(|preset| preset.executable).map(|preset| preset.name) {
        let scenario = Scenario::preset(name).expect("a preset");
        let backend = block_on(open(kind)).expect("it was there before");
        let result = block_on(predict_and_execute(&scenario, backend, STEPS, &mut |_| true)).expect("it executes");
        let (predicted, executed) = (result.predicted_step, result.executed_step);
        println!("{name:<28} {:>12} {:>12} {:>9.2}", predicted.to_string(), executed.to_string(), result.ratio());
        apart.push((predicted.secs() / executed.secs() - 1.0).abs());
    }
    apart.sort_by(f64::total_cmp);
    let (median, worst) = (apart[apart.len() / 2], apart[apart.len() - 1]);
    println!(
        "{} scenarios on {}: {:.1} % apart in the median, {:.1} % at worst",
        apart.len(),
        kind.name(),
        median * 100.0,
        worst * 100.0
    );
}
