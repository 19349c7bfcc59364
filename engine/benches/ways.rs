//! The ways to compute attention, its gradients and norms on this device, beside each other: as the tuner measures them, each
//! with the time of the first of its kernel over its own.
#![allow(missing_docs, clippy::expect_used, clippy::print_stdout, reason = "a benchmark prints its table")]

use pollster::block_on;
use shardlab_engine::exec::KernelParams;
use shardlab_engine::exec::cpu::attention::AttentionParams;
use shardlab_engine::exec::cpu::attention_grad_kv::AttentionGradKvParams;
use shardlab_engine::exec::cpu::attention_grad_q::AttentionGradQParams;
use shardlab_engine::exec::cpu::rms_norm::RmsNormParams;
use shardlab_engine::exec::{Backend, BackendKind, Dispatch, Recording, Slice, Tuning, open, shape_key};

fn call<P: KernelParams>(backend: &mut Backend, params: &P, words: &[u32]) -> Dispatch {
    let slice = |&words: &u32| Slice::of_words(backend.create(u64::from(words) * 4), 0, u64::from(words) * 4);
    let slices: Vec<Slice> = words.iter().map(slice).collect();
    Dispatch::new(params, slices)
}

/// Attention of twelve heads of 64 elements over as many tokens, and both of its gradients.
fn attention(backend: &mut Backend, tokens: u32) -> Vec<Dispatch> {
    let (heads, width) = (12, 64);
    let params = AttentionParams::causal([1, tokens, heads, 1, width], 0.125);
    let (numbers, rows) = (tokens * heads * width, tokens * heads);
    let gradient = [3 * numbers, 3 * numbers, numbers, rows, rows, 3 * numbers];
    vec![
        call(backend, &params, &[3 * numbers, 3 * numbers, numbers, rows]),
        call(backend, &AttentionGradQParams(params), &gradient),
        call(backend, &AttentionGradKvParams(params), &gradient),
    ]
}

fn main() {
    let Ok(mut backend) = block_on(open(BackendKind::Wgpu)) else {
        println!("there is no device with several ways");
        return;
    };
    let mut dispatches: Vec<Dispatch> = [128, 512].into_iter().flat_map(|n| attention(&mut backend, n)).collect();
    let norm = RmsNormParams { rows: 512, cols: 1024, eps: 1e-5, pad: [0] };
    dispatches.push(call(&mut backend, &norm, &[512 * 1024, 1024, 512 * 1024, 512]));
    let recording = Recording { dispatches, scopes: Vec::new() };
    let mut tuning = Tuning::default();
    block_on(tuning.measure(&mut backend, &recording, &mut |_, _| true)).expect("all of them run");
    println!("{}", backend.info().name);
    for dispatch in &recording.dispatches {
        let known = shape_key(dispatch).and_then(|key| tuning.of_device(&backend)?.get(&key).map(|known| (key, known)));
        let (key, known) = known.expect("it was measured");
        println!("{key}");
        let first = known.candidates.iter().find(|way| way.family == dispatch.kernel.name());
        for way in &known.candidates {
            let ratio = first.map_or(1.0, |first| first.nanos.secs() / way.nanos.secs().max(1e-12));
            let default = dispatch.default_family(backend.abilities());
            let mark = if way.family == dispatch.kernel.name_of(default) { " (taken by default)" } else { "" };
            println!("    {:36} {:>12} {ratio:6.2}x{mark}", way.family, way.nanos.to_string());
        }
    }
}
