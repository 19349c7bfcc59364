//! Every shader against its CPU twin and, in fp32, against the twin in f64: on random data of odd and random sizes, with the
//! outputs poisoned before, between guards.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]
#![allow(clippy::needless_update, reason = "one macro fills up parameters with and without padding")]
#![cfg(feature = "gpu")]

use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shardlab_engine::exec::cpu::{
    adamw, add, assign, attention, attention_delta, attention_grad_kv, attention_grad_q, attention_scores,
    attention_scores_grad, attention_softmax, attention_softmax_grad, attention_values, attention_values_grad_p,
    attention_values_grad_v, column_sum, combine, combine_grad_weights, copy, cross_entropy, cross_entropy_grad,
    dispatch, embedding, embedding_grad, fill, gate, gate_grad, gelu, gelu_grad, latent_join, latent_join_grad,
    layer_norm, layer_norm_grad, layer_norm_grad_params, matmul, matmul_half, matmul_int8, momentum, peak, peak_half,
    peak_int8, peak_int32, position, position_grad, quantize, quantize_blocks, quantize_rows, quantize_short, read,
    reduce, residual, rms_norm, rms_norm_grad, rms_norm_grad_params, rope, route, route_grad, row_max, scale, sgd,
    silu, silu_grad, sum_exp, sum_squares, swiglu, swiglu_grad,
};
use shardlab_engine::exec::{
    Access, Backend, BackendKind, BenchOptions, BufferId, Clock, Dispatch, Format, Kernel, KernelParams, Recording,
    Scope, Section, Slice, Tuning, WIDE, bench, open,
};
use shardlab_engine::trace::{LabelId, Stream};
use shardlab_engine::units::Nanos;

/// A kernel call: its parameters and the length of each buffer.
#[derive(Clone)]
struct Case {
    dispatch: Dispatch,
    lengths: Vec<usize>,
}

fn case<P: KernelParams>(params: P, lengths: &[usize]) -> Case {
    Case { dispatch: Dispatch::new(&params, []), lengths: lengths.to_vec() }
}

macro_rules! params {
    ($module:ident :: $name:ident { $($field:ident : $value:expr),* $(,)? }) => {
        $module::$name { $($field: $value,)* ..Default::default() }
    };
}

mod random;
mod reference;
mod samples;
mod short;
mod updates;

/// Sizes that divide nothing: sequences, groups, queries per group, head width.
const ATTENTION: (u32, u32, u32, u32, u32) = (2, 37, 2, 3, 10);

fn attention_cases() -> Vec<Case> {
    let (batch, seq, groups, q_per_group, head_dim) = ATTENTION;
    let causal = attention::AttentionParams::causal([batch, seq, groups, q_per_group, head_dim], 0.3);
    let window = attention::AttentionParams { window: 5, value_dim: 7, ..causal };
    // One of two ranks, on the keys of both, and on the other's after its own.
    let apart = attention::APART;
    let shared = attention::AttentionParams { queries: seq, query_stride: 2, query_first: 1, ..causal };
    let gathered = attention::AttentionParams { keys: 2 * seq, gather: 2, flags: causal.flags | apart, ..shared };
    let flags = causal.flags | apart | attention::CARRY;
    let carried = attention::AttentionParams { key_first: 0, flags, ..shared };
    let whole = attention::AttentionParams { flags: 0, ..causal };
    let rope = |direction: f32| {
        params!(rope::RopeParams {
            rows: batch * seq,
            seq: seq,
            groups: groups,
            q_per_group: q_per_group,
            head_dim: head_dim,
            theta: 10_000.0,
            direction: direction,
            stride: 2,
            first: 1,
        })
    };
    let qkv = (batch * seq * groups * (q_per_group + 2) * head_dim) as usize;
    let all = [causal, window, gathered, carried, whole];
    let of_fours = all.map(|params| attention::AttentionParams { head_dim: 12, value_dim: 8, ..params });
    let mut cases: Vec<Case> = all.into_iter().chain(of_fours).flat_map(attention_passes).collect();
    cases.extend(wide_heads(causal).into_iter().flat_map(attention_passes));
    cases.extend([causal, window].into_iter().flat_map(unfused_passes));
    cases.extend([1.0, -1.0].map(|direction| case(rope(direction), &[qkv, qkv])));
    let latent = params!(latent_join::LatentJoinParams {
        rows: 74,
        seq: seq,
        heads: 3,
        plain: 5,
        rotated: 4,
        value: 7,
        theta: 10_000.0,
        stride: 2,
        first: 1,
    });
    let (queries, pairs, key, joined) = (74 * 27, 74 * 36, 74 * 4, 74 * 75);
    cases.push(case(latent, &[queries, pairs, key, joined]));
    cases.push(case(latent_join_grad::LatentJoinGradParams(latent), &[joined, queries, pairs, key]));
    cases
}

/// The kernels of attention whose scores are stored.
fn unfused_passes(p: attention::AttentionParams) -> Vec<Case> {
    let rows = (p.batch * p.queries * p.groups) as usize;
    let qkv = rows * ((p.q_per_group + 1) * p.head_dim + p.value_dim) as usize;
    let heads = rows * p.q_per_group as usize;
    let (scores, out) = (heads * p.keys as usize, heads * p.value_dim as usize);
    vec![
        case(attention_scores::AttentionScoresParams(p), &[qkv, scores]),
        case(attention_softmax::AttentionSoftmaxParams(p), &[scores, scores]),
        case(attention_values::AttentionValuesParams(p), &[scores, qkv, out]),
        case(attention_values_grad_p::AttentionValuesGradPParams(p), &[qkv, out, scores]),
        case(attention_values_grad_v::AttentionValuesGradVParams(p), &[scores, out, out]),
        case(attention_softmax_grad::AttentionSoftmaxGradParams(p), &[scores, scores, scores]),
        case(attention_scores_grad::AttentionScoresGradParams(p), &[scores, qkv, out, qkv]),
    ]
}

/// Heads of which all of a subgroup have two parts, of which one has a second, which are computed in two pieces and in four;
/// and of which eight queries share a key.
fn wide_heads(causal: attention::AttentionParams) -> Vec<attention::AttentionParams> {
    let of = |[head_dim, value_dim]: [u32; 2]| attention::AttentionParams {
        batch: 1,
        groups: 1,
        head_dim,
        value_dim,
        ..causal
    };
    let flags = causal.flags | attention::APART | attention::CARRY;
    let carried = attention::AttentionParams { flags, ..of([20, 96]) };
    let carried_keys = attention::AttentionParams { flags, ..of([76, 8]) };
    let grouped = attention::AttentionParams { q_per_group: 8, groups: 2, ..of([128, 128]) };
    let all = [[64, 64], [40, 36], [20, 96], [256, 256]].map(of);
    all.into_iter().chain([carried, carried_keys, grouped]).collect()
}

fn attention_passes(p: attention::AttentionParams) -> Vec<Case> {
    let queries = if p.flags & attention::APART == 0 { p.q_per_group } else { 0 };
    let rows = |tokens: u32| (p.batch * tokens * p.groups) as usize;
    let qkv = rows(p.queries) * ((p.q_per_group + 1) * p.head_dim + p.value_dim) as usize;
    let kv = rows(p.keys) * ((queries + 1) * p.head_dim + p.value_dim) as usize;
    let stats = rows(p.queries) * p.q_per_group as usize;
    let out = stats * p.value_dim as usize;
    vec![
        case(p, &[qkv, kv, out, stats]),
        case(attention_delta::AttentionDeltaParams(p), &[out, out, stats]),
        case(attention_grad_q::AttentionGradQParams(p), &[qkv, kv, out, stats, stats, qkv]),
        case(attention_grad_kv::AttentionGradKvParams(p), &[qkv, kv, out, stats, stats, kv]),
    ]
}

fn matmul_cases() -> Vec<Case> {
    let plain = params!(matmul::MatmulParams {
        m: 67,
        n: 45,
        k: 33,
        a_row_stride: 33,
        a_col_stride: 1,
        b_row_stride: 45,
        b_col_stride: 1,
        epilogue: matmul::BIAS | matmul::RELU,
        batches: 1,
    });
    let transposed = params!(matmul::MatmulParams {
        m: 130,
        n: 71,
        k: 9,
        a_row_stride: 1,
        a_col_stride: 130,
        b_row_stride: 1,
        b_col_stride: 9,
        accumulate: 1,
        batches: 1,
    });
    // Sums of more terms than a workgroup has invocations.
    let long = params!(matmul::MatmulParams {
        m: 9,
        n: 6,
        k: 500,
        epilogue: matmul::TANH,
        a_row_stride: 500,
        a_col_stride: 1,
        b_row_stride: 1,
        b_col_stride: 500,
        batches: 1,
    });
    // Three products that lie apart, as those of experts do.
    let batched = params!(matmul::MatmulParams {
        m: 9,
        n: 10,
        k: 11,
        a_row_stride: 11,
        a_col_stride: 1,
        b_row_stride: 10,
        b_col_stride: 1,
        a_offset: 5,
        b_offset: 6,
        c_offset: 7,
        a_batch: 100,
        b_batch: 111,
        c_batch: 95,
        batches: 3,
    });
    let tiny = params!(matmul::MatmulParams {
        m: 1,
        n: 1,
        k: 5,
        a_row_stride: 5,
        a_col_stride: 1,
        b_row_stride: 1,
        b_col_stride: 1,
        batches: 1,
    });
    let mut cases = products_of_quads();
    cases.extend([
        case(batched, &[305, 340, 1, 290]),
        case(long, &[9 * 500, 500 * 6, 1, 54]),
        case(plain, &[67 * 33, 33 * 45, 45, 67 * 45]),
        case(transposed, &[130 * 9, 9 * 71, 1, 130 * 71]),
        case(tiny, &[5, 5, 1, 1]),
    ]);
    cases
}

/// Products whose rows begin at multiples of four, as matrix units need it, with all transposes; two beside each other.
fn products_of_quads() -> Vec<Case> {
    let activations = [matmul::BIAS | matmul::RELU, matmul::BIAS | matmul::TANH, 0];
    let ways = [(true, false), (true, true), (false, false), (false, true)];
    let all = activations.into_iter().flat_map(|epilogue| ways.map(|way| (way, epilogue)));
    // Results that begin anywhere, and such that can be written four at a time.
    let mut cases: Vec<Case> =
        all.clone().map(|(way, epilogue)| of_quads([132, 76, 36], way, [3, 1], epilogue)).collect();
    cases.extend(all.map(|(way, epilogue)| of_quads([132, 76, 36], way, [4, 4], epilogue)));
    cases.extend(ways.map(|way| of_quads([4, 4, 4], way, [0, 0], 0)));
    // Sums that end anywhere, where no neighbours are along them.
    cases.extend([1, 33, 34, 35].map(|k| of_quads([20, 132, k], (false, false), [8, 0], matmul::BIAS)));
    cases
}

/// Products of some sides whose factors lie along their sums or across them, whose results begin at a place and are so many
/// numbers farther apart than they must be.
fn of_quads([m, n, k]: [u32; 3], (a_along, b_along): (bool, bool), [c_offset, apart]: [u32; 2], epilogue: u32) -> Case {
    let strides = |along: bool, side: u32| if along { (k, 1) } else { (1, side) };
    let ((a_row_stride, a_col_stride), (b_col_stride, b_row_stride)) = (strides(a_along, m), strides(b_along, n));
    let params = params!(matmul::MatmulParams {
        m: m,
        n: n,
        k: k,
        a_row_stride: a_row_stride,
        a_col_stride: a_col_stride,
        b_row_stride: b_row_stride,
        b_col_stride: b_col_stride,
        accumulate: 1,
        epilogue: epilogue,
        a_offset: 8,
        c_offset: c_offset,
        a_batch: m * k,
        b_batch: n * k + 4,
        c_batch: m * n + apart,
        batches: 2,
    });
    let lengths = [8 + 2 * m * k, 2 * n * k + 4, n, c_offset + 2 * m * n + apart];
    case(params, &lengths.map(|length| length as usize))
}

fn norm_cases() -> Vec<Case> {
    let (rows, cols) = (70, 13);
    vec![
        case(params!(layer_norm::LayerNormParams { rows: rows, cols: cols, eps: 1e-5 }), &[910, 13, 13, 910, 140]),
        case(params!(layer_norm_grad::LayerNormGradParams { rows: rows, cols: cols }), &[910, 13, 140, 910, 910]),
        case(
            params!(layer_norm_grad_params::LayerNormGradParamsParams { rows: rows, cols: cols }),
            &[910, 140, 910, 13, 13],
        ),
        // Rows of fours.
        case(params!(layer_norm::LayerNormParams { rows: 67, cols: 20, eps: 1e-5 }), &[1340, 20, 20, 1340, 134]),
        case(params!(layer_norm_grad::LayerNormGradParams { rows: 67, cols: 20 }), &[1340, 20, 134, 1340, 1340]),
        case(params!(rms_norm::RmsNormParams { rows: 67, cols: 20, eps: 1e-5 }), &[1340, 20, 1340, 67]),
        case(params!(rms_norm_grad::RmsNormGradParams { rows: 67, cols: 20 }), &[1340, 20, 67, 1340, 1340]),
        case(params!(rms_norm::RmsNormParams { rows: rows, cols: cols, eps: 1e-5 }), &[910, 13, 910, 70]),
        case(params!(rms_norm_grad::RmsNormGradParams { rows: rows, cols: cols }), &[910, 13, 70, 910, 910]),
        case(params!(rms_norm_grad_params::RmsNormGradParamsParams { rows: rows, cols: cols }), &[910, 70, 910, 13]),
    ]
}

fn table_cases() -> Vec<Case> {
    vec![
        case(
            params!(embedding::EmbeddingParams { rows: 91, cols: 7, vocab_offset: 5, vocab_local: 11 }),
            &[91, 77, 637],
        ),
        case(
            params!(embedding_grad::EmbeddingGradParams { rows: 91, cols: 7, vocab_offset: 5, vocab_local: 11 }),
            &[91, 637, 77],
        ),
        case(
            params!(position::PositionParams {
                rows: 91,
                cols: 7,
                seq: 13,
                row_offset: 17,
                stride: 2,
                first: 1,
                group: 1
            }),
            &[637, 182, 637],
        ),
        case(
            params!(position_grad::PositionGradParams {
                rows: 91,
                cols: 7,
                seq: 13,
                row_offset: 17,
                stride: 2,
                first: 1,
                group: 1,
            }),
            &[637, 182],
        ),
    ]
}

/// 41 tokens with three of seven experts each, which take at most 15 of them.
fn routing_cases() -> Vec<Case> {
    let (rows, experts, per_token, capacity, cols) = (41, 7, 3, 15, 5);
    let dispatch = |weighted: u32| {
        params!(dispatch::DispatchParams { tokens: rows, cols: cols, per_token: per_token, weighted: weighted })
    };
    let combine = |weighted: u32| {
        params!(combine::CombineParams { tokens: rows, cols: cols, per_token: per_token, weighted: weighted })
    };
    let weights =
        params!(combine_grad_weights::CombineGradWeightsParams { tokens: rows, cols: cols, per_token: per_token });
    let (x, taken, choices) = (205, 525, 123);
    let mut cases = vec![
        case(params!(route::RouteParams { rows: rows, experts: experts, per_token: per_token }), &[287, 123, 123]),
        case(params!(assign::AssignParams { n: 123, experts: experts, capacity: capacity }), &[123, 123]),
        case(
            params!(route_grad::RouteGradParams {
                rows: rows,
                experts: experts,
                per_token: per_token,
                capacity: capacity
            }),
            &[287, 123, 123, 287],
        ),
        case(weights, &[taken, choices, x, choices]),
    ];
    for weighted in [0, 1] {
        cases.push(case(dispatch(weighted), &[x, choices, choices, taken]));
        cases.push(case(combine(weighted), &[taken, choices, choices, x]));
    }
    cases
}

/// Choices of experts as a router makes them, and with `rows` the rows that they get.
fn choices(random: &mut ChaCha8Rng, rows: bool) -> Vec<f32> {
    let mut choices = Vec::new();
    for _ in 0..41 {
        let first = random.next_u32() % 7;
        choices.extend((0..3).map(|c| (first + c * (1 + random.next_u32() % 2)) % 7));
    }
    let mut assignment = choices.clone();
    assign::assign(&choices, &mut assignment, &params!(assign::AssignParams { n: 123, experts: 7, capacity: 15 }));
    (if rows { assignment } else { choices }).into_iter().map(f32::from_bits).collect()
}

fn loss_cases() -> Vec<Case> {
    let (rows, cols, vocab_total) = (77, 12, 15);
    let shard = |vocab_offset: u32| {
        params!(row_max::RowMaxParams { rows: rows, cols: cols, vocab_offset: vocab_offset, vocab_total: vocab_total })
    };
    let sums = params!(sum_exp::SumExpParams { rows: rows, cols: cols, vocab_offset: 5, vocab_total: vocab_total });
    let gradient = params!(cross_entropy_grad::CrossEntropyGradParams {
        rows: rows,
        cols: cols,
        vocab_offset: 5,
        vocab_total: vocab_total,
        scale: 0.3,
    });
    vec![
        case(shard(5), &[924, 77]),
        case(shard(24), &[924, 77]),
        case(sums, &[924, 77, 77, 154]),
        case(params!(cross_entropy::CrossEntropyParams { rows: 777, scale: 0.1 }), &[1554, 1]),
        case(gradient, &[924, 77, 154, 77, 924]),
    ]
}

fn elementwise_cases() -> Vec<Case> {
    let mut cases = vec![
        case(params!(gelu::GeluParams { n: 1001 }), &[1001; 2]),
        case(params!(gelu_grad::GeluGradParams { n: 1001 }), &[1001; 3]),
        case(params!(swiglu::SwigluParams { n: 501 }), &[1002, 501]),
        case(params!(swiglu_grad::SwigluGradParams { n: 501 }), &[1002, 501, 1002]),
        case(params!(silu::SiluParams { n: 501 }), &[1002, 501]),
        case(params!(silu_grad::SiluGradParams { n: 501 }), &[1002, 501, 501, 1002]),
        case(params!(gate::GateParams { n: 501 }), &[1002, 501, 501]),
        case(params!(gate_grad::GateGradParams { n: 501 }), &[1002, 501, 501, 501, 501]),
        case(params!(add::AddParams { n: 501 }), &[501; 3]),
        case(params!(residual::ResidualParams { n: 500, cols: 20, has_bias: 1 }), &[500, 500, 20, 500]),
        case(params!(residual::ResidualParams { n: 500, cols: 20 }), &[500, 500, 1, 500]),
        case(params!(column_sum::ColumnSumParams { rows: 77, cols: 70, stride: 70 }), &[5390, 70]),
        // More elements than one dimension of a grid has threads.
        case(params!(sgd::SgdParams { n: 99 }), &[99, 1, 9, 99]),
        case(params!(momentum::MomentumParams { n: 99 }), &[99, 1, 9, 99, 99]),
        case(params!(peak::PeakParams { n: 99, rounds: 8, factor: 0.5 }), &[99]),
        case(peak_half::PeakHalfParams(params!(peak::PeakParams { n: 99, rounds: 8, factor: 0.5 })), &[99]),
        case(params!(peak_int8::PeakInt8Params { n: 99, rounds: 5, word: 0x0182_fb7f }), &[99]),
        case(params!(peak_int32::PeakInt32Params { n: 99, rounds: 8, factor: 0x0182_fb7f }), &[99]),
        case(params!(read::ReadParams { rows: 7, lanes: 90 }), &[630, 90]),
        case(params!(scale::ScaleParams { n: 1001, words: 251, most: 448.0 }), &[1001, 252]),
        case(
            params!(quantize::QuantizeParams { n: 1001, words: 251, mantissa: 3, bias: 7, largest: 0x7e }),
            &[1001, 252],
        ),
        case(
            params!(quantize::QuantizeParams { n: 1003, words: 251, mantissa: 2, bias: 15, largest: 0x7b }),
            &[1003, 252],
        ),
        case(params!(quantize_blocks::QuantizeBlocksParams { n: 1001, words: 251 }), &[1001, 259]),
        case(params!(quantize_blocks::QuantizeBlocksParams { n: 3, words: 1 }), &[3, 2]),
        case(params!(quantize_short::QuantizeShortParams { n: 1001, words: 251 }), &[1001, 252]),
        case(params!(quantize_short::QuantizeShortParams { n: 1, words: 1 }), &[1, 2]),
        case(
            params!(quantize_rows::QuantizeRowsParams { rows: 70, cols: 13, row_stride: 13, col_stride: 1 }),
            &[910, 280, 70],
        ),
        case(
            params!(quantize_rows::QuantizeRowsParams { rows: 3, cols: 16, row_stride: 1, col_stride: 5 }),
            &[80, 12, 3],
        ),
        case(params!(fill::FillParams { n: 5_000_000, value: 2.5 }), &[5_000_000]),
        case(params!(sum_squares::SumSquaresParams { n: 9999, scale: 0.5 }), &[9999, 1]),
        case(
            params!(copy::CopyParams {
                rows: 5,
                cols: 8,
                src_offset: 11,
                src_stride: 9,
                dst_offset: 30,
                dst_stride: 13
            }),
            &[99; 2],
        ),
        // Beyond one row of work groups: the grid folds.
    ];
    cases.extend(
        [0, 1]
            .map(|op| case(params!(reduce::ReduceParams { n: 40, op: op, dst_offset: 59, src_offset: 7 }), &[47, 99])),
    );
    cases.extend(
        [0, 40, 99]
            .map(|decayed| case(params!(adamw::AdamwParams { n: 99, decayed: decayed }), &[99, 1, 9, 99, 99, 99])),
    );
    cases
}

/// Puts what is special among random numbers, where there are as many.
fn put(values: &mut [f32], from: usize, special: &[f32]) {
    if let Some(some) = values.get_mut(from..from + special.len()) {
        some.copy_from_slice(special);
    }
}

/// Random buffers in the range that the kernel's inputs have in training.
fn data(case: &Case, random: &mut ChaCha8Rng) -> Vec<Vec<f32>> {
    let mut uniform = || (f64::from(random.next_u32()) / 2_147_483_648.0 - 1.0) as f32;
    let mut data: Vec<Vec<f32>> = case.lengths.iter().map(|&n| (0..n).map(|_| uniform()).collect()).collect();
    let positive = |values: &mut Vec<f32>, least: f32| values.iter_mut().for_each(|x| *x = x.abs() + least);
    let tokens = |values: &mut Vec<f32>| values.iter_mut().for_each(|x| *x = f32::from_bits(((*x + 1.0) * 9.9) as u32));
    match case.dispatch.kernel {
        Kernel::Embedding | Kernel::EmbeddingGrad => tokens(&mut data[0]),
        Kernel::SumExp => tokens(&mut data[2]),
        Kernel::Assign => data[0] = choices(random, false),
        Kernel::Scale => data[0][7] = f32::INFINITY,
        Kernel::QuantizeBlocks | Kernel::QuantizeShort => {
            let spread = |(i, x): (usize, &mut f32)| *x *= 2.0_f32.powi(i32::try_from(i % 40).unwrap() / 5 - 6);
            data[0].iter_mut().enumerate().for_each(spread);
            put(&mut data[0], 3, &[0.0, -1e30, 1e-20, f32::INFINITY, f32::NEG_INFINITY]);
            *data[1].last_mut().unwrap() = 2.0_f32.powi(-10);
        }
        Kernel::Quantize => {
            // All magnitudes that there are, and beyond.
            let spread = |(i, x): (usize, &mut f32)| *x *= 2.0_f32.powi(i32::try_from(i % 40).unwrap() - 22);
            data[0].iter_mut().enumerate().for_each(spread);
            data[0][3..7].copy_from_slice(&[1e30, -1e30, f32::INFINITY, 0.0]);
            *data[1].last_mut().unwrap() = 2.0_f32.powi(-3);
        }
        Kernel::QuantizeRows => {
            // Ties, an overflow, a row of zeros.
            data[0][..4].copy_from_slice(&[127.0, 0.5, 1.5, f32::NEG_INFINITY]);
            let zeros = case.lengths[0] / case.lengths[2];
            data[0][zeros * 2..zeros * 3].fill(0.0);
        }
        Kernel::MatmulHalf => {
            for index in [0, 1] {
                let mut words = vec![0; data[index].len()];
                let halves: Vec<f32> =
                    (0..2 * words.len()).map(|i| data[index][i / 2] * (1.0 + i as f32 * 1e-3)).collect();
                Format::F16.pack(&halves, &mut words);
                data[index] = words.into_iter().map(f32::from_bits).collect();
            }
        }
        Kernel::MatmulInt8 => {
            for index in [0, 1] {
                data[index] = data[index].iter().map(|_| f32::from_bits(random.next_u32())).collect();
            }
        }
        Kernel::RouteGrad | Kernel::CombineGradWeights => data[1] = choices(random, true),
        Kernel::Dispatch | Kernel::Combine => data[2] = choices(random, true),
        Kernel::CrossEntropy => positive(&mut data[0], 0.5),
        Kernel::CrossEntropyGrad => {
            positive(&mut data[2], 0.5);
            tokens(&mut data[3]);
        }
        Kernel::Adamw => {
            data[1][0] = 4.0;
            data[2] = vec![0.01, 0.9, 0.99, 1e-8, 0.1, 0.5, 0.2, 1.0, 0.25];
            positive(&mut data[5], 0.0);
        }
        Kernel::Sgd | Kernel::Momentum => {
            data[1][0] = 4.0;
            data[2] = vec![0.01, 0.9, 0.99, 1e-8, 0.1, 0.5, 0.2, 1.0, 0.25];
        }
        Kernel::Gelu | Kernel::GeluGrad | Kernel::Swiglu | Kernel::SwigluGrad => {
            data[0].iter_mut().for_each(|x| *x *= 6.0);
            put(&mut data[0], 3, &[1000.0, -1000.0, 0.0]);
        }
        _ => {
            samples::adapt(case, &mut data);
            updates::adapt(case, &mut data, random);
        }
    }
    poison(case, &mut data);
    data
}

/// Outputs are filled with a value that no kernel writes, but for those that are read before they are written.
fn poison(case: &Case, data: &mut [Vec<f32>]) {
    if reads_what_it_writes(case) {
        return;
    }
    for (values, access) in data.iter_mut().zip(case.dispatch.kernel.bindings()) {
        if *access == Access::ReadWrite {
            values.fill(-12_345.0);
        }
    }
}

/// Whether a call adds to what is there, or changes it.
fn reads_what_it_writes(case: &Case) -> bool {
    let params = &case.dispatch.params;
    match case.dispatch.kernel {
        // Whether a product is added to what is there; that, among the flags of attention.
        Kernel::Matmul | Kernel::MatmulHalf => params[7] != 0,
        Kernel::MatmulInt8 => params[3] != 0,
        Kernel::Attention | Kernel::AttentionGradQ | Kernel::AttentionGradKv => params[13] & attention::CARRY != 0,
        // Sums over calls.
        Kernel::EmbeddingGrad
        | Kernel::PositionGrad
        | Kernel::ColumnSum
        | Kernel::RmsNormGradParams
        | Kernel::LayerNormGradParams
        | Kernel::BatchNormGradParams
        | Kernel::GroupNormGradParams
        | Kernel::ConvolutionWeightGrad
        | Kernel::BinaryLoss
        | Kernel::CrossEntropy
        | Kernel::SumSquares
        | Kernel::Reduce
        | Kernel::ScatterAdd
        | Kernel::FactorSums => true,
        // State, and what is changed where it lies.
        Kernel::Adamw
        | Kernel::Sgd
        | Kernel::Momentum
        | Kernel::Adam8Bit
        | Kernel::Adafactor
        | Kernel::FactorMoments
        | Kernel::Muon
        | Kernel::MuonMomentum
        | Kernel::EmbeddingBagUpdate
        | Kernel::Blend
        | Kernel::UnitNorm
        | Kernel::OrthogonalColumns
        | Kernel::SelectLargest => true,
        // Their scale lies behind what they write.
        Kernel::Quantize | Kernel::QuantizeShort => true,
        _ => false,
    }
}

/// How the buffers of a call lie where a scenario computes in `format`: statistics of rows and sums over
/// many calls stay in fp32.
fn formats(kernel: Kernel, format: Format) -> Vec<Format> {
    let numbers: &[usize] = match kernel {
        Kernel::Embedding | Kernel::EmbeddingGrad => &[0],
        Kernel::Assign => &[0, 1],
        Kernel::Scale | Kernel::Quantize | Kernel::QuantizeBlocks | Kernel::QuantizeShort => &[1],
        Kernel::QuantizeRows => &[1, 2],
        Kernel::MatmulHalf => &[0, 1, 2, 3],
        Kernel::PeakHalf | Kernel::PeakInt8 | Kernel::PeakInt32 => &[0],
        Kernel::MatmulInt8 => &[0, 1, 2, 3, 4, 5],
        Kernel::RouteGrad | Kernel::CombineGradWeights => &[1],
        Kernel::Dispatch | Kernel::Combine | Kernel::Route => &[2],
        Kernel::RowMax => &[1],
        Kernel::SumExp | Kernel::CrossEntropyGrad => &[1, 2, 3],
        Kernel::CrossEntropy => &[0, 1],
        Kernel::Attention => &[3],
        Kernel::AttentionDelta => &[2],
        Kernel::AttentionGradQ | Kernel::AttentionGradKv => &[3, 4],
        Kernel::Adamw | Kernel::Sgd | Kernel::Momentum => &[1, 2, 3, 4, 5],
        _ if updates::words_of(kernel).is_empty() => samples::words_of(kernel),
        _ => updates::words_of(kernel),
    };
    let of = |(index, access): (usize, &Access)| match access {
        _ if numbers.contains(&index) => Format::Word,
        Access::ReadWrite if !format.is_written() => Format::Word,
        _ => format,
    };
    kernel.bindings().iter().enumerate().map(of).collect()
}

/// What lies around buffers: not a number, in fp32 and in the upper half of a word, so that whoever reads it shows.
const GUARD: u32 = 0x7fc0_4140;

/// Words of it before a buffer, which begins where buffers may, and behind.
const BEFORE: usize = 64;
const BEHIND: usize = 8;

/// Runs the case on a backend and returns all buffers; what is around them must not change.
fn run(backend: &mut Backend, case: &Case, data: &[Vec<f32>], formats: &[Format]) -> Vec<Vec<f32>> {
    let (mut bindings, mut before) = (Vec::new(), Vec::new());
    for (values, &format) in data.iter().zip(formats) {
        let mut words = vec![GUARD; BEFORE + format.words(values.len()) + BEHIND];
        format.pack(values, &mut words[BEFORE..]);
        let buffer = backend.create(words.len() as u64 * 4);
        backend.write(buffer, 0, &words);
        let size = if format.is_scaled() {
            format.words(values.len()) as u64 * 4
        } else {
            values.len() as u64 * format.size()
        };
        bindings.push(Slice { buffer, offset: BEFORE as u64 * 4, size, format });
        before.push(words);
    }
    let dispatch = Dispatch { bindings: bindings.clone(), ..case.dispatch.clone() };
    let scope =
        Scope { rank: 0, group: None, stream: Stream::Compute, label: LabelId(0), micro_batch: 0, first: 0, last: 1 };
    let recording = Recording { dispatches: vec![dispatch], scopes: vec![scope] };
    pollster::block_on(async {
        backend.prepare(&recording).await.expect("it prepares");
        backend.replay(&recording).await.expect("it runs");
        let mut results = Vec::new();
        for (slice, before) in bindings.into_iter().zip(before) {
            if slice.format.is_scaled() {
                let words = backend.read(slice.buffer, 0, before.len()).await.expect("it is read back");
                let words: Vec<u32> = words.into_iter().map(f32::to_bits).collect();
                assert_eq!(words, before, "{} wrote what it may only read", case.dispatch.kernel.name());
                results.push(Vec::new());
                continue;
            }
            // TF32 lies in memory as fp32 does.
            let n = slice.elements() as usize;
            let format = if slice.format.is_packed() { slice.format } else { Format::Word };
            let all = BEFORE + format.words(n) + BEHIND;
            let words = backend.read(slice.buffer, 0, all).await.expect("it is read back");
            let words: Vec<u32> = words.into_iter().map(f32::to_bits).collect();
            let (before, words) = words.split_at(BEFORE);
            assert!(
                before.iter().all(|&word| word == GUARD),
                "{} wrote before its buffer",
                case.dispatch.kernel.name()
            );
            // The rest of a word that is half used, and the words behind it.
            let mut untouched = vec![GUARD; words.len()];
            format.pack(&format.unpack(words, n), &mut untouched);
            assert_eq!(words, untouched, "{} wrote beyond its buffer", case.dispatch.kernel.name());
            results.push(format.unpack(words, n));
        }
        results
    })
}

/// Largest distance relative to the largest element of the buffer.
///
/// Both sides compute in fp32 in the same order, so most kernels agree to the bit. Transcendental functions differ:
/// WGSL allows exp 3 + 2·|x| ulp, tanh and sin/cos an absolute 2⁻¹¹ (WGSL specification, 14.6.3); observed are some
/// ulp. For rope the angle itself is rounded: up to as many radians as the last position, `2·seq`, times 2⁻²⁴.
fn tolerance(kernel: Kernel) -> f32 {
    // Where a device rounds the products of a quad is not defined: sixteen roundings of 2⁻¹¹ at most.
    if matches!(kernel, Kernel::MatmulHalf | Kernel::PeakHalf) {
        return 16.0 / 2048.0;
    }
    if matches!(kernel, Kernel::Rope | Kernel::LatentJoin | Kernel::LatentJoinGrad) {
        1e-7 * (2 * ATTENTION.1) as f32
    } else {
        1e-5
    }
}

/// Whether a buffer holds numbers of experts or rows.
fn is_numbers(kernel: Kernel, index: usize) -> bool {
    matches!(
        (kernel, index),
        (Kernel::PeakInt8 | Kernel::PeakInt32, 0)
            | (Kernel::Route, 2)
            | (Kernel::Dropout, 3)
            | (Kernel::DropoutResidual, 5)
            | (
                Kernel::Assign
                    | Kernel::Scale
                    | Kernel::Quantize
                    | Kernel::QuantizeRows
                    | Kernel::QuantizeBlocks
                    | Kernel::QuantizeShort,
                1
            )
    )
}

/// How often a result in fewer bits is rounded on the GPU, at most: once, or whenever something is added to it.
fn roundings(kernel: Kernel) -> f64 {
    // Tokens that may have the same id.
    if kernel == Kernel::EmbeddingGrad { 91.0 } else { 1.0 }
}

/// Both round what they computed in fp32; where that differs a bit, one may round up and the other down: two unit
/// roundoffs of the element apart for every rounding.
fn compare(kernel: Kernel, gpu: &[Vec<f32>], cpu: &[Vec<f32>], formats: &[Format]) {
    for (index, (gpu, cpu)) in gpu.iter().zip(cpu).enumerate() {
        if kernel.bindings()[index] == Access::Read {
            continue;
        }
        if let Some(code) = updates::code_of(kernel, index) {
            updates::same_codes(code, gpu, cpu);
            continue;
        }
        if is_numbers(kernel, index) || updates::is_numbers(kernel, index) {
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(gpu), bits(cpu), "{} buffer {index}", kernel.name());
            continue;
        }
        let largest = cpu.iter().filter(|x| **x > -1e4).fold(1e-6_f32, |max, x| max.max(x.abs()));
        for (i, (g, c)) in gpu.iter().zip(cpu).enumerate() {
            assert!(
                g.is_finite() && c.is_finite(),
                "{} buffer {index}[{i}]: {g} on the GPU, {c} on the CPU",
                kernel.name()
            );
            let format = formats[index];
            let rounded = if format.is_packed() { 2.0 * format.unit_roundoff() * roundings(kernel) } else { 0.0 };
            // Sums that are rounded again and again: as far as their largest, since terms cancel.
            let size = if roundings(kernel) > 1.0 { largest } else { c.abs() };
            let bound = f64::from(tolerance(kernel) * largest) + rounded * f64::from(size);
            assert!(
                f64::from((g - c).abs()) <= bound,
                "{} in {} buffer {index}[{i}]: {g} on the GPU, {c} on the CPU",
                kernel.name(),
                format.name()
            );
        }
    }
}

/// Whether the device can make a call in a way, on buffers of these formats.
fn allowed(gpu: &Backend, case: &Case, formats: &[Format], family: u8) -> bool {
    let bound = |&format: &Format| Slice { format, ..Slice::of_words(BufferId(0), 0, 4) };
    let bindings = formats.iter().map(bound).collect();
    Dispatch { bindings, ..case.dispatch.clone() }.allows(family, gpu.abilities())
}

/// Whether software compiles for many seconds what is no other way than for narrow heads: attention that keeps the sums of a
/// whole head.
fn compiles_for_long(gpu: &Backend, case: &Case, family: u8) -> bool {
    let kernel = case.dispatch.kernel;
    let attends = matches!(kernel, Kernel::Attention | Kernel::AttentionGradQ | Kernel::AttentionGradKv);
    let is_wide = attends && case.dispatch.params[5].max(case.dispatch.params[6]) > 32;
    is_wide && !gpu.abilities().many && !kernel.name_of(family).contains("_broadcast")
}

/// The device, or `None` where there is none and nobody requires one; says so.
fn gpu() -> Option<Backend> {
    match pollster::block_on(open(BackendKind::Wgpu)) {
        Ok(backend) => Some(backend),
        Err(error) if std::env::var_os("SHARDLAB_REQUIRE_GPU").is_some() => panic!("a GPU is required: {error}"),
        Err(error) => {
            eprintln!("SKIPPED: needs compute shaders; {error}");
            None
        }
    }
}

#[test]
fn every_shader_computes_what_its_cpu_twin_computes() {
    let Some(mut gpu) = gpu() else { return };
    let mut cpu = pollster::block_on(open(BackendKind::Cpu)).expect("the CPU is always there");
    let mut random = ChaCha8Rng::seed_from_u64(20);
    let cases = [
        attention_cases(),
        matmul_cases(),
        short::cases(),
        norm_cases(),
        table_cases(),
        routing_cases(),
        loss_cases(),
        elementwise_cases(),
        samples::cases(),
        updates::cases(),
        random::cases(&mut ChaCha8Rng::seed_from_u64(21)),
    ];
    let mut seen = BTreeSet::new();
    let mut ways_seen = BTreeSet::new();
    for case in cases.into_iter().flatten() {
        let data = data(&case, &mut random);
        let kernel = case.dispatch.kernel;
        if kernel.needs_half() && !gpu.computes_halves() {
            eprintln!("SKIPPED: {} needs half precision", kernel.name());
            seen.insert(kernel);
            continue;
        }
        let exact = reference::run(&case, &data);
        for format in Format::ALL {
            let formats = formats(kernel, format);
            let expected = run(&mut cpu, &case, &data, &formats);
            let ways = 0..u8::try_from(kernel.families().len().max(1)).unwrap();
            // In one format of fewer bits: it is the same for all of them.
            let widened = kernel.is_elementwise() && [Format::Word, Format::Bf16].contains(&format);
            for family in ways.chain(widened.then_some(WIDE)) {
                let case = Case { dispatch: case.dispatch.clone().by(family), lengths: case.lengths.clone() };
                if !allowed(&gpu, &case, &formats, family) || compiles_for_long(&gpu, &case, family) {
                    continue;
                }
                ways_seen.insert(kernel.name_of(family));
                let found = run(&mut gpu, &case, &data, &formats);
                compare(kernel, &found, &expected, &formats);
                if let Some(exact) = exact.as_ref().filter(|_| format == Format::Word) {
                    reference::compare(&case, kernel.name_of(family), &found, exact);
                }
            }
        }
        seen.insert(kernel);
    }
    let missing: Vec<_> = Kernel::ALL.iter().filter(|kernel| !seen.contains(kernel)).collect();
    assert!(missing.is_empty(), "kernels without a case: {missing:?}");
    // What reads for a subgroup is for devices of eight, what is on matrix units for those that have them.
    let ways = || Kernel::ALL.iter().flat_map(|kernel| kernel.families().iter().map(|family| family.name));
    let together = |name: &str| name.contains("_broadcast");
    let needs_more = |name: &str| together(name) || name == "matmul_cooperative";
    let unseen: Vec<_> = ways().filter(|name| !needs_more(name) && !ways_seen.contains(name)).collect();
    assert!(unseen.is_empty(), "ways without a case: {unseen:?}");
    let of_eight = !gpu.abilities().many && gpu.abilities().subgroup == 8;
    assert!(ways().filter(|name| together(name)).all(|name| ways_seen.contains(name) == of_eight));
}

#[test]
fn a_benchmark_times_products_of_every_kind_on_the_device() {
    let Some(backend) = gpu() else { return };
    let halves = backend.computes_halves();
    let options = BenchOptions { sections: vec![Section::Peak, Section::Latency, Section::Matmul], largest: 64 };
    let mut tuning = Tuning::default();
    let (report, _) = pollster::block_on(bench(backend, &options, &mut tuning, &mut |_, _| true)).expect("it runs");
    let names: Vec<&str> = report.figures.iter().map(|figure| figure.name.as_str()).collect();
    for name in ["fp32 x4", "int32", "int32 x4", "int8, packed", "64 x 64 x 64", "64 x 64 x 64 in int8"] {
        assert!(names.contains(&name), "{name} of {names:?}");
    }
    for name in ["fp16", "fp16 x4", "64 x 64 x 64 in fp16 arithmetic"] {
        assert_eq!(names.contains(&name), halves, "{name} of {names:?}");
    }
    let quanta = report.quanta.expect("it is measured");
    assert!(quanta.host >= Nanos(1) && quanta.of(Clock::Host) == quanta.host, "{quanta:?}");
    assert!(report.figures.iter().any(|figure| figure.clock == Clock::Host));
}
