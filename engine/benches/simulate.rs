//! How long it takes to lower, simulate and report a step, and to write its trace.
#![allow(missing_docs, clippy::expect_used, reason = "benchmarks of presets that a test shows to be valid")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shardlab_engine::analysis::step_report;
use shardlab_engine::graph::lower;
use shardlab_engine::report::perfetto_json;
use shardlab_engine::scenario::Scenario;
use shardlab_engine::sim::{Folding, simulate, simulate_folded};

/// As the command line has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PRESETS: [&str; 4] =
    ["llama2-7b-8xh100", "gpt3-175b-1024xa100", "llama3-405b-16384xh100", "deepseek-v3-2048xh800"];

fn whole(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lower, simulate and report");
    for name in PRESETS {
        let scenario = Scenario::preset(name).expect("a preset");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let step = lower(&scenario);
                let trace = simulate(&step, &scenario);
                step_report(&step, &scenario, &trace)
            });
        });
    }
}

fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gpt3-175b-1024xa100");
    let scenario = Scenario::preset("gpt3-175b-1024xa100").expect("a preset");
    let step = lower(&scenario);
    let trace = simulate(&step, &scenario);
    group.bench_function("lower", |bencher| bencher.iter(|| lower(&scenario)));
    // Spans a second.
    let spans = trace.spans.len() as u64;
    group.throughput(Throughput::Elements(spans));
    group.bench_function("simulate", |bencher| bencher.iter(|| simulate(&step, &scenario)));
    group.throughput(Throughput::Elements(1));
    group.bench_function("report", |bencher| bencher.iter(|| step_report(&step, &scenario, &trace)));
    group.sample_size(10);
    group.bench_function("Perfetto file", |bencher| bencher.iter(|| perfetto_json(&trace)));
}

/// What folding saves on a cluster that is small enough to be unfolded.
fn folding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("llama3-70b-64xh100");
    let scenario = Scenario::preset("llama3-70b-64xh100").expect("a preset");
    let step = lower(&scenario);
    group.sample_size(10);
    group.bench_function("folded", |bencher| bencher.iter(|| simulate(&step, &scenario)));
    let unfolded = Folding::unfolded(scenario.mesh());
    group.bench_function("unfolded", |bencher| bencher.iter(|| simulate_folded(&step, &scenario, &unfolded)));
}

criterion_group!(benches, whole, parts, folding);
criterion_main!(benches);
