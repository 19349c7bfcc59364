//! Calls of random shapes, a third of them tiny: of every kernel whose shape is free.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use shardlab_engine::exec::cpu::{
    add, attention, batch_norm, batch_norm_grad, binary_loss, column_sum, convolution, convolution_input_grad,
    convolution_weight_grad, copy, cross, cross_entropy, embedding, embedding_grad, gelu, gelu_grad, group_norm,
    group_norm_grad, group_norm_grad_params, layer_norm, layer_norm_grad, layer_norm_grad_params, matmul, pool,
    pool_grad, relu, residual, rms_norm, rms_norm_grad, rms_norm_grad_params, row_max, sgd, silu, sum_exp, sum_squares,
    swiglu, swiglu_grad,
};

use super::{Case, attention_passes, case};

/// Shapes of each kernel.
const SHAPES: usize = 4;

/// Draws numbers.
struct Draw<'a>(&'a mut ChaCha8Rng);

impl Draw<'_> {
    /// From `least` to `most`.
    fn within(&mut self, least: u32, most: u32) -> u32 {
        least + self.0.next_u32() % (most - least + 1)
    }

    /// A side of at most `most`: of three, one is 1, 2 or 3.
    fn side(&mut self, most: u32) -> u32 {
        if self.within(0, 2) == 0 { self.within(1, 3) } else { self.within(1, most) }
    }

    fn sides(&mut self, most: u32) -> [u32; 2] {
        [self.side(most), self.side(most)]
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.0.next_u32() as usize % all.len()]
    }
}

/// All of them.
pub fn cases(random: &mut ChaCha8Rng) -> Vec<Case> {
    let mut draw = Draw(random);
    let mut cases = Vec::new();
    for _ in 0..SHAPES {
        let all = [products, attention, norms, losses, tables, elementwise, images];
        cases.extend(all.iter().flat_map(|of| of(&mut draw)));
    }
    cases
}

/// Products of any lengths and transposes, several beside each other.
fn products(draw: &mut Draw<'_>) -> Vec<Case> {
    (0..3).map(|_| product(draw)).collect()
}

fn product(draw: &mut Draw<'_>) -> Case {
    let ([m, n], k) = (draw.sides(80), draw.side(80));
    let [a_col_stride, a_row_stride] = draw.of(&[[1, k], [m, 1]]);
    let [b_col_stride, b_row_stride] = draw.of(&[[1, n], [k, 1]]);
    let batches = draw.within(1, 2);
    let params = params!(matmul::MatmulParams {
        m: m,
        n: n,
        k: k,
        a_row_stride: a_row_stride,
        a_col_stride: a_col_stride,
        b_row_stride: b_row_stride,
        b_col_stride: b_col_stride,
        accumulate: draw.within(0, 1),
        epilogue: draw.of(&[0, matmul::BIAS, matmul::RELU, matmul::BIAS | matmul::TANH]),
        a_batch: m * k,
        b_batch: k * n,
        c_batch: m * n,
        batches: batches,
    });
    case(params, &[batches * m * k, batches * k * n, n, batches * m * n].map(|length| length as usize))
}

/// Heads of at most eight elements, so that few sources must be compiled.
fn attention(draw: &mut Draw<'_>) -> Vec<Case> {
    let ([batch, groups], seq, q_per_group) =
        ([draw.within(1, 2), draw.within(1, 3)], draw.side(70), draw.within(1, 3));
    let (head_dim, value_dim) = (draw.within(1, 8), draw.within(1, 8));
    let params = attention::AttentionParams::causal([batch, seq, groups, q_per_group, head_dim], 0.4);
    let (flags, window) = (draw.of(&[0, attention::CAUSAL]), draw.within(0, 1) * draw.side(40));
    attention_passes(attention::AttentionParams { value_dim, flags, window, ..params })
}

fn norms(draw: &mut Draw<'_>) -> Vec<Case> {
    let [rows, cols] = draw.sides(150);
    let [all, of_rows, of_cols] = [rows * cols, rows, cols].map(|length| length as usize);
    let both = 2 * of_rows;
    let layer = layer_norm_grad_params::LayerNormGradParamsParams { rows, cols, ..Default::default() };
    let rms = rms_norm_grad_params::RmsNormGradParamsParams { rows, cols, ..Default::default() };
    vec![
        case(
            params!(layer_norm::LayerNormParams { rows: rows, cols: cols, eps: 1e-2 }),
            &[all, of_cols, of_cols, all, both],
        ),
        case(params!(layer_norm_grad::LayerNormGradParams { rows: rows, cols: cols }), &[all, of_cols, both, all, all]),
        case(layer, &[all, both, all, of_cols, of_cols]),
        case(params!(rms_norm::RmsNormParams { rows: rows, cols: cols, eps: 1e-2 }), &[all, of_cols, all, of_rows]),
        case(params!(rms_norm_grad::RmsNormGradParams { rows: rows, cols: cols }), &[all, of_cols, of_rows, all, all]),
        case(rms, &[all, of_rows, all, of_cols]),
    ]
}

fn losses(draw: &mut Draw<'_>) -> Vec<Case> {
    let [rows, cols] = draw.sides(150);
    let [all, of_rows] = [rows * cols, rows].map(|length| length as usize);
    let (vocab_offset, vocab_total) = (draw.within(0, 9), cols + 9);
    vec![
        case(
            params!(row_max::RowMaxParams {
                rows: rows,
                cols: cols,
                vocab_offset: vocab_offset,
                vocab_total: vocab_total
            }),
            &[all, of_rows],
        ),
        case(
            params!(sum_exp::SumExpParams {
                rows: rows,
                cols: cols,
                vocab_offset: vocab_offset,
                vocab_total: vocab_total
            }),
            &[all, of_rows, of_rows, 2 * of_rows],
        ),
        case(params!(cross_entropy::CrossEntropyParams { rows: rows, scale: 0.1 }), &[2 * of_rows, 1]),
        case(params!(binary_loss::BinaryLossParams { rows: rows, scale: 0.1 }), &[of_rows, of_rows, 1]),
    ]
}

fn tables(draw: &mut Draw<'_>) -> Vec<Case> {
    let ([rows, cols], vocab_local) = (draw.sides(90), draw.side(40));
    let vocab_offset = draw.within(0, 9);
    let [ids, table, all] = [rows, vocab_local * cols, rows * cols].map(|length| length as usize);
    vec![
        case(
            params!(embedding::EmbeddingParams {
                rows: rows,
                cols: cols,
                vocab_offset: vocab_offset,
                vocab_local: vocab_local
            }),
            &[ids, table, all],
        ),
        case(
            params!(embedding_grad::EmbeddingGradParams {
                rows: rows,
                cols: cols,
                vocab_offset: vocab_offset,
                vocab_local: vocab_local,
            }),
            &[ids, all, table],
        ),
    ]
}

fn elementwise(draw: &mut Draw<'_>) -> Vec<Case> {
    let ([rows, cols], has_bias) = (draw.sides(150), draw.within(0, 1));
    let n = rows * cols;
    let (all, of_cols, twice) = (n as usize, cols as usize, 2 * n as usize);
    vec![
        case(params!(add::AddParams { n: n }), &[all; 3]),
        case(params!(gelu::GeluParams { n: n }), &[all; 2]),
        case(params!(gelu_grad::GeluGradParams { n: n }), &[all; 3]),
        case(params!(relu::ReluParams { n: n }), &[all; 2]),
        case(params!(silu::SiluParams { n: n }), &[twice, all]),
        case(params!(swiglu::SwigluParams { n: n }), &[twice, all]),
        case(params!(swiglu_grad::SwigluGradParams { n: n }), &[twice, all, twice]),
        case(params!(cross::CrossParams { n: n }), &[all; 4]),
        case(params!(residual::ResidualParams { n: n, cols: cols, has_bias: has_bias }), &[all, all, of_cols, all]),
        case(params!(column_sum::ColumnSumParams { rows: rows, cols: cols, stride: cols }), &[all, of_cols]),
        case(params!(sum_squares::SumSquaresParams { n: n, scale: 0.5 }), &[all, 1]),
        case(params!(sgd::SgdParams { n: n }), &[all, 1, 9, all]),
        case(
            params!(copy::CopyParams { rows: rows, cols: cols, src_stride: cols, dst_stride: cols + 1, dst_offset: 1 }),
            &[all, 1 + (rows * (cols + 1)) as usize],
        ),
    ]
}

/// Convolutions and pools of images that are no smaller than their windows, and norms over them.
fn images(draw: &mut Draw<'_>) -> Vec<Case> {
    let (batch, kernel, stride) = (draw.within(1, 3), draw.of(&[1, 3, 5]), draw.within(1, 2));
    let ([inputs, outputs], side) = (draw.sides(20), kernel + draw.side(6));
    let pad = (kernel - 1) / 2;
    let behind = (side + 2 * pad - kernel) / stride + 1;
    let p = convolution::ConvolutionParams { batch, side, behind, inputs, outputs, kernel, stride, pad };
    let [x, y] = [(side, inputs), (behind, outputs)].map(|(side, cols)| (batch * side * side * cols) as usize);
    let weight = (kernel * kernel * inputs * outputs) as usize;
    let pooled = pool::PoolParams { batch, side, behind, cols: inputs, kernel, stride, pad, mean: 0 };
    let smaller = (batch * behind * behind * inputs) as usize;
    let (rows, of_cols) = (batch * side * side, inputs as usize);
    let norm = params!(batch_norm::BatchNormParams { rows: rows, cols: inputs, eps: 1e-2 });
    let gradient = params!(batch_norm_grad::BatchNormGradParams { rows: rows, cols: inputs });
    let groups =
        params!(group_norm::GroupNormParams { images: batch, pixels: side * side, cols: inputs, groups: 1, eps: 1e-2 });
    let of_images = 2 * batch as usize;
    vec![
        case(p, &[x, weight, y]),
        case(convolution_input_grad::ConvolutionInputGradParams(p), &[y, weight, x]),
        case(convolution_weight_grad::ConvolutionWeightGradParams(p), &[x, y, weight]),
        case(pooled, &[x, smaller]),
        case(pool_grad::PoolGradParams(pooled), &[x, smaller, smaller, x]),
        case(norm, &[x, of_cols, of_cols, x, 2 * of_cols]),
        case(gradient, &[x, of_cols, 2 * of_cols, x, x, 2 * of_cols]),
        case(groups, &[x, of_cols, of_cols, x, of_images]),
        case(group_norm_grad::GroupNormGradParams(groups), &[x, of_cols, of_images, x, x]),
        case(group_norm_grad_params::GroupNormGradParamsParams(groups), &[x, of_images, x, of_cols, of_cols]),
    ]
}
