//! Kernels and whole training steps on every backend that is there: the ratios between them, in one run.
#![allow(
    missing_docs,
    clippy::expect_used,
    reason = "benchmarks of fixed sizes and of presets that a test shows to be valid"
)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pollster::block_on;
use shardlab_engine::exec::cpu::add::AddParams;
use shardlab_engine::exec::cpu::attention::AttentionParams;
use shardlab_engine::exec::cpu::gelu::GeluParams;
use shardlab_engine::exec::cpu::matmul::MatmulParams;
use shardlab_engine::exec::{Backend, BackendKind, Dispatch, Recording, Scope, Slice, Trainer, open};
use shardlab_engine::scenario::Scenario;
use shardlab_engine::trace::{LabelId, Span, Stream};

/// Calls in a replay, so that the host's part of it is small.
const CALLS: usize = 8;

/// All calls as one op.
const ONE_SCOPE: Scope = Scope {
    rank: 0,
    group: None,
    stream: Stream::Compute,
    label: LabelId(0),
    micro_batch: Span::NO_MICRO_BATCH,
    first: 0,
    last: CALLS as u32,
};

fn backends() -> Vec<Backend> {
    [BackendKind::Cpu, BackendKind::Wgpu].into_iter().filter_map(|kind| block_on(open(kind)).ok()).collect()
}

fn slices(backend: &mut Backend, words: &[u32]) -> Vec<Slice> {
    let slice = |words: &u32| {
        let size = u64::from(*words) * 4;
        Slice::of_words(backend.create(size), 0, size)
    };
    words.iter().map(slice).collect()
}

fn matmul(backend: &mut Backend, side: u32) -> Dispatch {
    Dispatch::new(&MatmulParams::square(side), slices(backend, &[side * side, side * side, side, side * side]))
}

fn attention(backend: &mut Backend, seq: u32) -> Dispatch {
    let (groups, head_dim) = (4, 16);
    let width = seq * groups * head_dim;
    let buffers = slices(backend, &[3 * width, width, seq * groups]);
    let [qkv, out, lse] = buffers[..] else { unreachable!("three were made") };
    Dispatch::new(&AttentionParams::causal([1, seq, groups, 1, head_dim], 0.25), [qkv, qkv, out, lse])
}

fn kernels(criterion: &mut Criterion) {
    let n = 1 << 18;
    for mut backend in backends() {
        let mut group = criterion.benchmark_group(format!("kernels on {}", backend.info().kind.name()));
        group.sample_size(10);
        let (ab, three) = (slices(&mut backend, &[n, n]), slices(&mut backend, &[n, n, n]));
        let cases = [
            ("matmul 64", 2 * 64_u64.pow(3), matmul(&mut backend, 64)),
            ("matmul 256", 2 * 256_u64.pow(3), matmul(&mut backend, 256)),
            ("attention 128", 4 * 64 * 128 * 129 / 2, attention(&mut backend, 128)),
            ("gelu", u64::from(n), Dispatch::new(&GeluParams { n, pad: [0; 3] }, ab)),
            ("add", u64::from(n), Dispatch::new(&AddParams { n, pad: [0; 3] }, three)),
        ];
        for (name, work, dispatch) in cases {
            let recording = Recording { dispatches: vec![dispatch; CALLS], scopes: vec![ONE_SCOPE] };
            block_on(backend.prepare(&recording)).expect("the kernel compiles");
            group.throughput(Throughput::Elements(work * CALLS as u64));
            group.bench_function(name, |bencher| {
                bencher.iter(|| block_on(backend.replay(&recording)).expect("the kernel runs"));
            });
        }
    }
}

fn training(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a training step");
    group.sample_size(10);
    for preset in ["tiny-llama-1", "tiny-llama-pp2-tp2"] {
        let scenario = Scenario::preset(preset).expect("a preset");
        for backend in backends() {
            let kind = backend.info().kind.name();
            let mut trainer = block_on(Trainer::new(&scenario, backend)).expect("it can be trained");
            group.throughput(Throughput::Elements(scenario.step_tokens()));
            group.bench_function(BenchmarkId::new(preset, kind), |bencher| {
                bencher.iter(|| block_on(trainer.step()).expect("a step"));
            });
        }
    }
}

criterion_group!(benches, kernels, training);
criterion_main!(benches);
