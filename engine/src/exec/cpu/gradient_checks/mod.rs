//! Checks of every gradient kernel against central differences of the forward kernel, in f64.

mod samples;

use bytemuck::Zeroable;

use super::adamw::{AdamwParams, adamw};
use super::assign::{AssignParams, DROPPED, assign};
use super::attention::{APART, AttentionParams, CARRY, CAUSAL, attention};
use super::attention_delta::{AttentionDeltaParams, attention_delta};
use super::attention_grad_kv::{AttentionGradKvParams, attention_grad_kv};
use super::attention_grad_q::{AttentionGradQParams, attention_grad_q};
use super::column_sum::{ColumnSumParams, column_sum};
use super::combine::{CombineParams, combine};
use super::combine_grad_weights::{CombineGradWeightsParams, combine_grad_weights};
use super::cross_entropy::{CrossEntropyParams, cross_entropy};
use super::cross_entropy_grad::{CrossEntropyGradParams, cross_entropy_grad};
use super::dispatch::{DispatchParams, dispatch};
use super::embedding::{EmbeddingParams, embedding};
use super::embedding_grad::{EmbeddingGradParams, embedding_grad};
use super::gelu::{GeluParams, gelu};
use super::gelu_grad::{GeluGradParams, gelu_grad};
use super::latent_join::{LatentJoinParams, latent_join};
use super::latent_join_grad::{LatentJoinGradParams, latent_join_grad};
use super::layer_norm::{LayerNormParams, layer_norm};
use super::layer_norm_grad::{LayerNormGradParams, layer_norm_grad};
use super::layer_norm_grad_params::{LayerNormGradParamsParams, layer_norm_grad_params};
use super::matmul::{MatmulParams, matmul};
use super::position::{PositionParams, position};
use super::position_grad::{PositionGradParams, position_grad};
use super::reduce::{ReduceParams, reduce};
use super::residual::{ResidualParams, residual};
use super::rms_norm::{RmsNormParams, rms_norm};
use super::rms_norm_grad::{RmsNormGradParams, rms_norm_grad};
use super::rms_norm_grad_params::{RmsNormGradParamsParams, rms_norm_grad_params};
use super::rope::{RopeParams, rope};
use super::route::{RouteParams, route};
use super::route_grad::{RouteGradParams, route_grad};
use super::row_max::{RowMaxParams, row_max};
use super::sum_exp::{SumExpParams, sum_exp};
use super::sum_squares::{SumSquaresParams, sum_squares};
use super::swiglu::{SwigluParams, swiglu};
use super::swiglu_grad::{SwigluGradParams, swiglu_grad};

/// Central differences err by `h^2/6 f'''` and by rounding, about `1e-16 |f| / h`.
/// With this step and values around 1 that is 1e-10 and 1e-11 …
const STEP: f64 = 1e-5;

/// … so that 1e-6 of the largest component leaves room for steep functions, and catches any wrong term.
const TOLERANCE: f64 = 1e-6;

/// Compares `gradient` with the central differences of `loss` around `at`.
#[track_caller]
fn check(at: &[f64], gradient: &[f64], loss: impl Fn(&[f64]) -> f64) {
    assert_eq!(at.len(), gradient.len());
    let largest = gradient.iter().fold(0.0, |largest: f64, g| largest.max(g.abs()));
    assert!(largest > 0.0, "a gradient of zeros checks nothing");
    let mut point = at.to_vec();
    for i in 0..at.len() {
        point[i] = at[i] + STEP;
        let above = loss(&point);
        point[i] = at[i] - STEP;
        let below = loss(&point);
        point[i] = at[i];
        let numeric = (above - below) / (2.0 * STEP);
        let error = (numeric - gradient[i]).abs() / largest;
        assert!(error <= TOLERANCE, "component {i}: {} but numerically {numeric}", gradient[i]);
    }
}

/// `n` numbers in -1..1 that look random, the same for the same seed.
fn numbers(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    std::iter::repeat_with(next).take(n).collect()
}

/// A loss that depends on every output: their sum, weighted with the gradient that comes from above.
fn dot(output: &[f64], weights: &[f64]) -> f64 {
    output.iter().zip(weights).map(|(x, w)| x * w).sum()
}

/// The output of a kernel into a fresh buffer of `n` elements.
fn output(n: usize, kernel: impl FnOnce(&mut [f64])) -> Vec<f64> {
    let mut out = vec![0.0; n];
    kernel(&mut out);
    out
}

#[track_caller]
fn assert_close(left: &[f64], right: &[f64]) {
    assert_eq!(left.len(), right.len());
    for (l, r) in left.iter().zip(right) {
        assert!((l - r).abs() <= 1e-12 * (1.0 + r.abs()), "{l} is not {r}");
    }
}

/// Dense row-major operands, either of them transposed in memory.
fn product(m: u32, n: u32, k: u32, transposed: [bool; 2]) -> MatmulParams {
    let (a_row_stride, a_col_stride) = if transposed[0] { (1, m) } else { (k, 1) };
    let (b_row_stride, b_col_stride) = if transposed[1] { (1, k) } else { (n, 1) };
    MatmulParams { m, n, k, a_row_stride, a_col_stride, b_row_stride, b_col_stride, batches: 1, ..Zeroable::zeroed() }
}

fn transpose(x: &[f64], rows: usize, cols: usize) -> Vec<f64> {
    (0..rows * cols).map(|i| x[i % rows * cols + i / rows]).collect()
}

#[test]
fn matmul_with_all_strides() {
    let (m, n, k) = (5, 7, 3);
    let (a, b, bias) = (numbers(15, 1), numbers(21, 2), numbers(7, 3));
    let expected = (0..35).map(|i| bias[i % 7] + (0..3).map(|x| a[i / 7 * 3 + x] * b[x * 7 + i % 7]).sum::<f64>());
    let expected = expected.collect::<Vec<_>>();
    let (at, bt) = (transpose(&a, 5, 3), transpose(&b, 3, 7));
    for (a, b, transposed) in
        [(&a, &b, [false, false]), (&at, &b, [true, false]), (&a, &bt, [false, true]), (&at, &bt, [true, true])]
    {
        let params = MatmulParams { epilogue: 1, ..product(m, n, k, transposed) };
        let mut c = vec![9.0; 35];
        matmul(a, b, &bias, &mut c, &params);
        assert_close(&c, &expected);
        matmul(a, b, &bias, &mut c, &MatmulParams { accumulate: 1, ..params });
        assert_close(&c, &expected.iter().map(|x| 2.0 * x).collect::<Vec<_>>());
    }
}

#[test]
fn matmul_gradients() {
    let (m, n, k) = (5, 7, 3);
    let (a, b, dc) = (numbers(15, 1), numbers(21, 2), numbers(35, 3));
    let loss = |a: &[f64], b: &[f64]| dot(&output(35, |c| matmul(a, b, a, c, &product(m, n, k, [false, false]))), &dc);
    // da = dc b^T and db = a^T dc.
    let da = output(15, |da| matmul(&dc, &b, &dc, da, &product(m, k, n, [false, true])));
    let db = output(21, |db| matmul(&a, &dc, &a, db, &product(k, n, m, [true, false])));
    check(&a, &da, |a| loss(a, &b));
    check(&b, &db, |b| loss(&a, b));
}

/// Five tokens with two of three experts each, one of which drops a token.
fn routed(scores: &[f64]) -> (Vec<f64>, Vec<u32>) {
    let (mut weights, mut choices, mut assignment) = (vec![0.0; 10], vec![0; 10], vec![0; 10]);
    let params = RouteParams { rows: 5, experts: 3, per_token: 2, ..Zeroable::zeroed() };
    route(scores, &mut weights, &mut choices, &params);
    assign(&choices, &mut assignment, &AssignParams { n: 10, experts: 3, capacity: 3, ..Zeroable::zeroed() });
    (weights, assignment)
}

#[test]
fn a_router_takes_the_best_experts_and_drops_what_they_have_no_room_for() {
    let scores = [3.0, 1.0, 2.0, 3.0, 1.0, 3.0, 2.0, 0.0, 1.0, 5.0, 5.0, 5.0, f64::NAN, 1.0, 0.0];
    let (weights, assignment) = routed(&scores);
    // Experts 0 and 2; 0 and 2 of equal scores; 0 and 2; 0 and 1; any of the last, whose scores are no numbers.
    assert_eq!(assignment[..6], [0, 6, 1, 7, 2, 8]);
    assert_eq!(assignment[6..8], [DROPPED, 3], "the fourth of expert 0");
    let second = 1.0_f64.exp();
    assert_close(&weights[..4], &[second / (second + 1.0), 1.0 / (second + 1.0), 0.5, 0.5]);
    assert!(assignment[8..].iter().all(|row| row & !DROPPED < 9), "{assignment:?}");
}

#[test]
fn routing_gradients() {
    let (scores, x) = (numbers(15, 1), numbers(20, 2));
    let rows_of = |x: &[f64], assignment: &[u32]| {
        let params = DispatchParams { tokens: 5, cols: 4, per_token: 2, weighted: 0 };
        output(36, |rows| dispatch(x, x, assignment, rows, &params))
    };
    let params = CombineParams { tokens: 5, cols: 4, per_token: 2, weighted: 1 };
    let sum = |rows: &[f64], weights: &[f64], assignment: &[u32]| {
        output(20, |y| combine(rows, weights, assignment, y, &params))
    };
    let (weights, assignment) = routed(&scores);
    assert!(assignment.iter().any(|row| row & DROPPED != 0), "some choice is dropped");
    let (rows, dy) = (rows_of(&x, &assignment), numbers(20, 3));
    let unweighted = CombineParams { weighted: 0, ..params };
    let drows_of_x = numbers(36, 4);
    let dx = output(20, |dx| combine(&drows_of_x, &x, &assignment, dx, &unweighted));
    check(&x, &dx, |x| dot(&rows_of(x, &assignment), &drows_of_x));
    let grad = DispatchParams { tokens: 5, cols: 4, per_token: 2, weighted: 1 };
    let drows = output(36, |drows| dispatch(&dy, &weights, &assignment, drows, &grad));
    check(&rows, &drows, |rows| dot(&sum(rows, &weights, &assignment), &dy));
    let of_weights = CombineGradWeightsParams { tokens: 5, cols: 4, per_token: 2, ..Zeroable::zeroed() };
    let dweights = output(10, |dw| combine_grad_weights(&rows, &assignment, &dy, dw, &of_weights));
    check(&weights, &dweights, |weights| dot(&sum(&rows, weights, &assignment), &dy));
    let of_scores = RouteGradParams { rows: 5, experts: 3, per_token: 2, capacity: 3 };
    let dscores = output(15, |ds| route_grad(&scores, &assignment, &dweights, ds, &of_scores));
    check(&scores, &dscores, |scores| {
        let (weights, assignment) = routed(scores);
        dot(&sum(&rows, &weights, &assignment), &dy)
    });
}

#[test]
fn embedding_gradient() {
    let (rows, cols, vocab_offset, vocab_local) = (9, 3, 4, 5);
    // Ids below, inside (one of them twice and one never) and above this shard.
    let ids = [4, 8, 3, 5, 5, 9, 0, 7, 4];
    let (table, dout) = (numbers(15, 1), numbers(27, 2));
    let params = EmbeddingParams { rows, cols, vocab_offset, vocab_local };
    let out = output(27, |out| embedding(&ids, &table, out, &params));
    assert_eq!(out[6..9], [0.0; 3], "an id of another shard");
    let params_grad = EmbeddingGradParams { rows, cols, vocab_offset, vocab_local };
    let dtable = output(15, |dtable| embedding_grad(&ids, &dout, dtable, &params_grad));
    check(&table, &dtable, |table| dot(&output(27, |out| embedding(&ids, table, out, &params)), &dout));
}

#[test]
fn position_gradient() {
    let (rows, cols, seq, row_offset) = (7, 3, 5, 3);
    let (x, table, dout) = (numbers(21, 1), numbers(15, 2), numbers(21, 3));
    let params = PositionParams { rows, cols, seq, row_offset, stride: 1, group: 1, ..Zeroable::zeroed() };
    let params_grad = PositionGradParams { rows, cols, seq, row_offset, stride: 1, group: 1, ..Zeroable::zeroed() };
    let dtable = output(15, |dtable| position_grad(&dout, dtable, &params_grad));
    check(&table, &dtable, |table| dot(&output(21, |out| position(&x, table, out, &params)), &dout));
}

#[test]
fn layer_norm_gradients() {
    let (rows, cols) = (3, 7);
    let (x, w, b, dy) = (numbers(21, 1), numbers(7, 2), numbers(7, 3), numbers(21, 4));
    let params = LayerNormParams { rows, cols, eps: 1e-5, ..Zeroable::zeroed() };
    let mut stats = vec![0.0; 6];
    output(21, |y| layer_norm(&x, &w, &b, y, &mut stats, &params));
    let loss =
        |x: &[f64], w: &[f64], b: &[f64]| dot(&output(21, |y| layer_norm(x, w, b, y, &mut [0.0; 6], &params)), &dy);
    let params = LayerNormGradParams { rows, cols, ..Zeroable::zeroed() };
    let dx = output(21, |dx| layer_norm_grad(&x, &w, &stats, &dy, dx, &params));
    check(&x, &dx, |x| loss(x, &w, &b));
    let params = LayerNormGradParamsParams { rows, cols, ..Zeroable::zeroed() };
    let mut db = vec![0.0; 7];
    let dw = output(7, |dw| layer_norm_grad_params(&x, &stats, &dy, dw, &mut db, &params));
    check(&w, &dw, |w| loss(&x, w, &b));
    check(&b, &db, |b| loss(&x, &w, b));
}

#[test]
fn rms_norm_gradients() {
    let (rows, cols) = (3, 7);
    let (x, w, dy) = (numbers(21, 1), numbers(7, 2), numbers(21, 4));
    let params = RmsNormParams { rows, cols, eps: 1e-5, ..Zeroable::zeroed() };
    let mut stats = vec![0.0; 3];
    output(21, |y| rms_norm(&x, &w, y, &mut stats, &params));
    let loss = |x: &[f64], w: &[f64]| dot(&output(21, |y| rms_norm(x, w, y, &mut [0.0; 3], &params)), &dy);
    let params = RmsNormGradParams { rows, cols, ..Zeroable::zeroed() };
    let dx = output(21, |dx| rms_norm_grad(&x, &w, &stats, &dy, dx, &params));
    check(&x, &dx, |x| loss(x, &w));
    let params = RmsNormGradParamsParams { rows, cols, ..Zeroable::zeroed() };
    let dw = output(7, |dw| rms_norm_grad_params(&x, &stats, &dy, dw, &params));
    check(&w, &dw, |w| loss(&x, w));
}

#[test]
fn rope_turned_back_is_its_gradient() {
    let forward = RopeParams {
        rows: 5,
        seq: 3,
        groups: 2,
        q_per_group: 3,
        head_dim: 6,
        theta: 10.0,
        direction: 1.0,
        stride: 1,
        ..Zeroable::zeroed()
    };
    let n = 5 * 2 * 5 * 6;
    let (x, dy) = (numbers(n, 1), numbers(n, 2));
    let dx = output(n, |dx| rope(&dy, dx, &RopeParams { direction: -1.0, ..forward }));
    check(&x, &dx, |x| dot(&output(n, |y| rope(x, y, &forward)), &dy));
    let y = output(n, |y| rope(&x, y, &forward));
    let value_head = 4 * 6..5 * 6;
    assert_eq!(y[60..][value_head.clone()], x[60..][value_head], "value heads are copied");
    assert_eq!(y[..60], x[..60], "position 0 does not turn");
    assert_ne!(y[60..][..6], x[60..][..6], "position 1 does");
}

/// Two sequences of 7 tokens (so that blocks of keys end early), 2 groups of 3 query heads of width 5.
fn causal() -> AttentionParams {
    AttentionParams::causal([2, 7, 2, 3, 5], 0.75)
}

const QKV: usize = 2 * 7 * 2 * 5 * 5;
const STATS: usize = 2 * 7 * 2 * 3;
const OUT: usize = STATS * 5;

#[test]
fn attention_is_a_causal_softmax() {
    let qkv = numbers(QKV, 1).iter().map(|x| 3.0 * x).collect::<Vec<_>>();
    let mut lse = vec![0.0; STATS];
    let out = output(OUT, |out| attention(&qkv, &qkv, out, &mut lse, &causal()));
    let head = |t: usize, group: usize, head: usize| &qkv[((t * 2 + group) * 5 + head) * 5..][..5];
    for i in 0..STATS {
        let (t, h) = (i / 6, i % 6);
        let keys = t - t % 7..=t;
        let weight = |j: usize| (0.75 * dot(head(t, h / 3, h % 3), head(j, h / 3, 3))).exp();
        let sum = keys.clone().map(weight).sum::<f64>();
        let attended = |d: usize| keys.clone().map(|j| weight(j) / sum * head(j, h / 3, 4)[d]).sum();
        assert_close(&out[i * 5..][..5], &(0..5).map(attended).collect::<Vec<_>>());
        assert_close(&lse[i..=i], &[sum.ln()]);
    }
}

/// Forward and backward within whole sequences, checked against differences.
fn check_attention(params: AttentionParams) {
    let (heads, value_dim) = (params.heads(), params.value_dim as usize);
    let group = (params.q_per_group as usize + 1) * params.head_dim as usize + value_dim;
    let (qkv, dout) =
        (numbers(params.rows() * params.groups as usize * group, 1), numbers(params.rows() * heads * value_dim, 2));
    let stats = params.rows() * heads;
    let forward = |qkv: &[f64], lse: &mut [f64]| output(dout.len(), |out| attention(qkv, qkv, out, lse, &params));
    let mut lse = vec![0.0; stats];
    let out = forward(&qkv, &mut lse);
    let delta = output(stats, |delta| attention_delta(&out, &dout, delta, &AttentionDeltaParams(params)));
    // Neither kernel may leave an element to what stood there before.
    let mut dqkv = vec![f64::NAN; qkv.len()];
    attention_grad_q(&qkv, &qkv, &dout, &lse, &delta, &mut dqkv, &AttentionGradQParams(params));
    attention_grad_kv(&qkv, &qkv, &dout, &lse, &delta, &mut dqkv, &AttentionGradKvParams(params));
    check(&qkv, &dqkv, |qkv| dot(&forward(qkv, &mut vec![0.0; stats]), &dout));
}

#[test]
fn attention_gradients() {
    check_attention(causal());
    check_attention(AttentionParams { window: 3, ..causal() });
    check_attention(AttentionParams { value_dim: 3, ..causal() });
    check_attention(AttentionParams { flags: 0, ..causal() });
}

/// Keys and values of some rows, apart from their queries, in the order of `rows`.
fn keys_values(qkv: &[f64], rows: impl Iterator<Item = usize>) -> Vec<f64> {
    let of_row =
        |row: usize| (0..2).flat_map(move |group| ((row * 2 + group) * 5 + 3) * 5..((row * 2 + group) * 5 + 5) * 5);
    rows.flat_map(of_row).map(|at| qkv[at]).collect()
}

#[test]
fn attention_on_parts_is_attention_on_all() {
    // Two ranks with every other of 8 tokens each.
    let whole = AttentionParams { queries: 8, keys: 8, ..causal() };
    let (qkv, dout) = (numbers(16 * 50, 1), numbers(16 * 30, 2));
    let (mut lse, mut dqkv) = (vec![0.0; 96], vec![0.0; 800]);
    let out = output(480, |out| attention(&qkv, &qkv, out, &mut lse, &whole));
    let delta = output(96, |delta| attention_delta(&out, &dout, delta, &AttentionDeltaParams(whole)));
    attention_grad_q(&qkv, &qkv, &dout, &lse, &delta, &mut dqkv, &AttentionGradQParams(whole));
    let pick = |values: &[f64], width: usize, rank: usize| -> Vec<f64> {
        values.chunks(width).skip(rank).step_by(2).flatten().copied().collect()
    };
    for rank in 0..2_u32 {
        let own = rank as usize;
        let (queries, of_rank) = (pick(&qkv, 50, own), |rank: usize| keys_values(&qkv, (rank..16).step_by(2)));
        let here = AttentionParams { queries: 4, query_stride: 2, query_first: rank, flags: CAUSAL | APART, ..whole };
        let gathered = AttentionParams { gather: 2, ..here };
        let first = AttentionParams { keys: 4, key_first: rank, ..here };
        let second = AttentionParams { key_first: 1 - rank, flags: here.flags | CARRY, ..first };
        let all = [of_rank(0), of_rank(1)].concat();
        let passes = [vec![(all, gathered)], vec![(of_rank(own), first), (of_rank(1 - own), second)]];
        for parts in passes {
            let (mut found, mut found_lse, mut dq) = (vec![f64::NAN; 240], vec![f64::NAN; 48], vec![0.0; 400]);
            for (kv, params) in &parts {
                attention(&queries, kv, &mut found, &mut found_lse, params);
            }
            let (dout, delta) = (pick(&dout, 30, own), pick(&delta, 6, own));
            for (kv, params) in &parts {
                attention_grad_q(&queries, kv, &dout, &found_lse, &delta, &mut dq, &AttentionGradQParams(*params));
            }
            assert_close(&found, &pick(&out, 30, own));
            assert_close(&found_lse, &pick(&lse, 6, own));
            assert_close(&dq, &pick(&dqkv, 50, own));
        }
    }
}

#[test]
fn latent_join_gradients() {
    let params = LatentJoinParams {
        rows: 6,
        seq: 3,
        heads: 2,
        plain: 3,
        rotated: 4,
        value: 5,
        theta: 10.0,
        stride: 2,
        first: 1,
        ..Zeroable::zeroed()
    };
    let (queries, pairs, key) = (numbers(84, 1), numbers(96, 2), numbers(24, 3));
    let dqkv = numbers(6 * 2 * 19, 4);
    let (mut dqueries, mut dpairs, mut dkey) = (vec![f64::NAN; 84], vec![f64::NAN; 96], vec![f64::NAN; 24]);
    latent_join_grad(&dqkv, &mut dqueries, &mut dpairs, &mut dkey, &LatentJoinGradParams(params));
    let loss = |q: &[f64], pairs: &[f64], key: &[f64]| {
        dot(&output(dqkv.len(), |qkv| latent_join(q, pairs, key, qkv, &params)), &dqkv)
    };
    check(&queries, &dqueries, |queries| loss(queries, &pairs, &key));
    check(&pairs, &dpairs, |pairs| loss(&queries, pairs, &key));
    check(&key, &dkey, |key| loss(&queries, &pairs, key));
}

#[test]
fn gelu_gradient() {
    let x = numbers(13, 1).iter().map(|x| 4.0 * x).collect::<Vec<_>>();
    let dy = numbers(13, 2);
    let params = GeluParams { n: 13, ..Zeroable::zeroed() };
    let dx = output(13, |dx| gelu_grad(&x, &dy, dx, &GeluGradParams { n: 13, ..Zeroable::zeroed() }));
    check(&x, &dx, |x| dot(&output(13, |y| gelu(x, y, &params)), &dy));
}

#[test]
fn swiglu_gradient() {
    let x = numbers(26, 1).iter().map(|x| 4.0 * x).collect::<Vec<_>>();
    let dy = numbers(13, 2);
    let params = SwigluParams { n: 13, ..Zeroable::zeroed() };
    let dx = output(26, |dx| swiglu_grad(&x, &dy, dx, &SwigluGradParams { n: 13, ..Zeroable::zeroed() }));
    check(&x, &dx, |x| dot(&output(13, |y| swiglu(x, y, &params)), &dy));
}

#[test]
fn column_sum_is_the_gradient_of_a_bias() {
    let (n, cols) = (15, 5);
    let (x, y, bias, dout) = (numbers(15, 1), numbers(15, 2), numbers(5, 3), numbers(15, 4));
    let params = ResidualParams { n, cols, has_bias: 1, ..Zeroable::zeroed() };
    let loss = |x: &[f64], bias: &[f64]| dot(&output(15, |out| residual(x, &y, bias, out, &params)), &dout);
    let dbias =
        output(5, |db| column_sum(&dout, db, &ColumnSumParams { rows: 3, cols, stride: cols, ..Zeroable::zeroed() }));
    check(&bias, &dbias, |bias| loss(&x, bias));
    check(&x, &dout, |x| loss(x, &bias));
}

/// A vocabulary of 8 over two shards of 5 columns: two columns are padding.
const SHARDS: [u32; 2] = [0, 5];
const VOCAB: u32 = 8;
const TARGETS: [u32; 3] = [4, 7, 0];

fn shard(logits: &[f64], vocab_offset: u32) -> Vec<f64> {
    logits.chunks(10).flat_map(|row| row[vocab_offset as usize..][..5].to_vec()).collect()
}

/// Row maxima and reduced stats over both shards, as the ranks of a tensor parallel group compute them.
fn shard_stats(logits: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (mut m, mut stats) = (vec![-3.0e38; 3], vec![0.0; 6]);
    for vocab_offset in SHARDS {
        let params = RowMaxParams { rows: 3, cols: 5, vocab_offset, vocab_total: VOCAB };
        let local = output(3, |out| row_max(&shard(logits, vocab_offset), out, &params));
        reduce(&local, &mut m, &ReduceParams { n: 3, op: 1, ..Zeroable::zeroed() });
    }
    for vocab_offset in SHARDS {
        let params = SumExpParams { rows: 3, cols: 5, vocab_offset, vocab_total: VOCAB };
        let local = output(6, |out| sum_exp(&shard(logits, vocab_offset), &m, &TARGETS, out, &params));
        reduce(&local, &mut stats, &ReduceParams { n: 6, ..Zeroable::zeroed() });
    }
    (m, stats)
}

fn loss_of(logits: &[f64]) -> f64 {
    let params = CrossEntropyParams { rows: 3, scale: 0.5, ..Zeroable::zeroed() };
    output(1, |loss| cross_entropy(&shard_stats(logits).1, loss, &params))[0]
}

#[test]
fn cross_entropy_over_shards() {
    let logits = numbers(30, 1);
    let nll = |t: usize| {
        let row = &logits[10 * t..][..VOCAB as usize];
        row.iter().map(|x| x.exp()).sum::<f64>().ln() - row[TARGETS[t] as usize]
    };
    assert_close(&[loss_of(&logits)], &[0.5 * (nll(0) + nll(1) + nll(2))]);
    let padding = RowMaxParams { rows: 1, cols: 5, vocab_offset: 10, vocab_total: VOCAB };
    assert_eq!(output(1, |out| row_max(&logits, out, &padding)), [-3.0e38], "a shard of padding");
}

#[test]
fn cross_entropy_gradient() {
    let logits = numbers(30, 1);
    let (m, stats) = shard_stats(&logits);
    for vocab_offset in SHARDS {
        let params = CrossEntropyGradParams {
            rows: 3,
            cols: 5,
            vocab_offset,
            vocab_total: VOCAB,
            scale: 0.5,
            ..Zeroable::zeroed()
        };
        let local = shard(&logits, vocab_offset);
        let dlogits = output(15, |d| cross_entropy_grad(&local, &m, &stats, &TARGETS, d, &params));
        check(&local, &dlogits, |local| {
            let mut logits = logits.clone();
            for i in 0..15 {
                logits[i / 5 * 10 + vocab_offset as usize + i % 5] = local[i];
            }
            loss_of(&logits)
        });
    }
}

#[test]
fn adamw_clips_and_decays() {
    let (grad, hyper) = ([3.0, -4.0], [0.1, 0.9, 0.99, 1e-8, 0.5, 0.1, 0.01, 1.0, 1.0]);
    let norm_sq =
        output(1, |out| sum_squares(&grad, out, &SumSquaresParams { n: 2, scale: 1.0, ..Zeroable::zeroed() }));
    assert_eq!(norm_sq, [25.0]);
    let (mut param, mut m, mut v) = ([1.0, 2.0], [0.0; 2], [0.0; 2]);
    let params = AdamwParams { n: 2, decayed: 2, ..Zeroable::zeroed() };
    adamw(&grad, &norm_sq, &hyper, &mut param, &mut m, &mut v, &params);
    // Clipped from norm 5 to norm 1, so the gradient is (0.6, -0.8); the 1e-6 in the clip factor shifts it a little.
    for (moment, expected) in m.iter().zip([0.06, -0.08]).chain(v.iter().zip([0.0036, 0.0064])) {
        assert!((moment - expected).abs() < 1e-7, "{moment} is not {expected}");
    }
    // In the first step the bias correction leaves only the sign: p - lr * (sign + decay * p).
    for (param, expected) in param.iter().zip([0.85, 2.0]) {
        assert!((param - expected).abs() < 1e-7, "{param} is not {expected}");
    }
}
