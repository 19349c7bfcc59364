//! How many strategies a search decides in a second.
#![allow(missing_docs, clippy::expect_used, reason = "benchmarks of presets that a test shows to be valid")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};
use shardlab_engine::scenario::{Scenario, preset_file};
use shardlab_engine::search::{Axis, Options, Progress, Saved, Space, default_space, search};

/// As the command line has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn axis(path: &str, values: &Value) -> Axis {
    Axis { path: format!("strategy.{path}"), values: values.as_array().expect("a list").clone() }
}

/// GPT-3 175B on 1024 devices in every way that eleven fields can be set.
fn large() -> Space {
    let axes = vec![
        axis("tensor_parallel", &json!([1, 2, 4, 8])),
        axis("sequence_parallel", &json!([false, true])),
        axis("pipeline_parallel", &json!([1, 2, 4, 8, 16, 32])),
        axis("schedule", &json!(["1f1b", "gpipe", "interleaved", "zb-h1", "zb-v"])),
        axis("virtual_stages", &json!([1, 2, 3, 4, 6, 8])),
        axis("micro_batch", &json!([1, 2, 3, 4, 6, 8, 12, 16])),
        axis("recompute", &json!(["none", "full"])),
        axis("recompute_interval", &json!([1, 2, 3, 4])),
        axis("zero_stage", &json!([0, 1, 2, 3])),
        axis("overlap_gradients", &json!([true, false])),
        axis("prefetch", &json!([1, 2])),
    ];
    Space::new(&preset_file("gpt3-175b-1024xa100").expect("a preset"), axes).expect("a space")
}

fn run(space: &Space, options: &Options) -> u64 {
    search(space, options, Saved::default(), &|_: Progress| true).counts.decided()
}

fn bounds(criterion: &mut Criterion) {
    let space = large();
    let mut group = criterion.benchmark_group("gpt3-175b-1024xa100");
    group.sample_size(10).throughput(Throughput::Elements(space.len()));
    // One simulation at the end; all else is constraints and bounds.
    let options = Options { workers: 2, samples: 1, ..Options::default() };
    group.bench_function("constraints and bounds", |bencher| bencher.iter(|| run(&space, &options)));
}

/// What bounds save, on a space that can be simulated whole.
fn pruning(criterion: &mut Criterion) {
    let scenario = Scenario::preset("llama2-7b-8xh100").expect("a preset");
    let file = preset_file("llama2-7b-8xh100").expect("a preset");
    let space = Space::new(&file, default_space(&scenario)).expect("a space");
    let mut group = criterion.benchmark_group("llama2-7b-8xh100");
    group.sample_size(10).throughput(Throughput::Elements(space.len()));
    for (name, prune) in [("with bounds", true), ("everything simulated", false)] {
        let options = Options { workers: 2, count: 1, prune, ..Options::default() };
        group.bench_function(name, |bencher| bencher.iter(|| run(&space, &options)));
    }
}

criterion_group!(benches, bounds, pruning);
criterion_main!(benches);
