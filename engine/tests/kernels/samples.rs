//! Kernels of encoders, image models and recommenders.

use shardlab_engine::exec::Kernel;
use shardlab_engine::exec::cpu::{
    batch_norm, batch_norm_grad, batch_norm_grad_params, binary_loss, binary_loss_grad, class_sums, class_sums_grad,
    class_token, class_token_grad, convolution, convolution_input_grad, convolution_weight_grad, cross, cross_grad,
    dropout, dropout_grad, dropout_residual, embedding_bag, embedding_bag_update, gather_rows, gather_rows_grad,
    group_norm, group_norm_grad, group_norm_grad_params, interaction, interaction_grad, pool, pool_grad, relu,
    relu_grad, tanh, tanh_grad,
};

use super::{Case, case, put};

/// Images of odd sizes; strides that divide nothing; a single pixel.
const CONVOLUTIONS: [convolution::ConvolutionParams; 5] = [
    convolution(2, 9, 5, [3, 7], 7, 2),
    convolution(3, 6, 6, [5, 6], 3, 1),
    convolution(2, 7, 4, [9, 33], 3, 2),
    convolution(2, 5, 5, [34, 3], 1, 1),
    convolution(1, 1, 1, [2, 1], 1, 2),
];

const fn convolution(
    batch: u32,
    side: u32,
    behind: u32,
    [inputs, outputs]: [u32; 2],
    kernel: u32,
    stride: u32,
) -> convolution::ConvolutionParams {
    convolution::ConvolutionParams { batch, side, behind, inputs, outputs, kernel, stride, pad: (kernel - 1) / 2 }
}

const fn window(side: u32, behind: u32, kernel: u32, stride: u32, mean: u32) -> pool::PoolParams {
    let pad = if mean == 1 { 0 } else { (kernel - 1) / 2 };
    pool::PoolParams { batch: 2, side, behind, cols: 5, kernel, stride, pad, mean }
}

const WINDOWS: [pool::PoolParams; 3] = [window(9, 5, 3, 2, 0), window(7, 1, 7, 1, 1), window(4, 4, 3, 1, 0)];

fn images() -> Vec<Case> {
    let mut cases = Vec::new();
    for p in CONVOLUTIONS {
        let x = (p.batch * p.side * p.side * p.inputs) as usize;
        let y = (p.batch * p.behind * p.behind * p.outputs) as usize;
        let weight = (p.kernel * p.kernel * p.inputs * p.outputs) as usize;
        cases.push(case(p, &[x, weight, y]));
        cases.push(case(convolution_input_grad::ConvolutionInputGradParams(p), &[y, weight, x]));
        cases.push(case(convolution_weight_grad::ConvolutionWeightGradParams(p), &[x, y, weight]));
    }
    for p in WINDOWS {
        let [x, y] = [p.side, p.behind].map(|side| (p.batch * side * side * p.cols) as usize);
        cases.push(case(p, &[x, y]));
        cases.push(case(pool_grad::PoolGradParams(p), &[x, y, y, x]));
    }
    // Three images of 13 pixels, 15 channels in groups of five.
    let groups = params!(group_norm::GroupNormParams { images: 3, pixels: 13, cols: 15, groups: 3, eps: 1e-5 });
    let of_all = 3 * 13 * 15;
    cases.push(case(groups, &[of_all, 15, 15, of_all, 18]));
    cases.push(case(group_norm_grad::GroupNormGradParams(groups), &[of_all, 15, 18, of_all, of_all]));
    cases.push(case(group_norm_grad_params::GroupNormGradParamsParams(groups), &[of_all, 18, of_all, 15, 15]));
    let (rows, cols, all) = (301, 7, 301 * 7);
    cases.push(case(params!(batch_norm::BatchNormParams { rows: rows, cols: cols, eps: 1e-5 }), &[all, 7, 7, all, 14]));
    cases.push(case(
        params!(batch_norm_grad::BatchNormGradParams { rows: rows, cols: cols }),
        &[all, 7, 14, all, all, 14],
    ));
    cases.push(case(params!(batch_norm_grad_params::BatchNormGradParamsParams { cols: 70 }), &[140, 70, 70]));
    cases
}

fn encoders() -> Vec<Case> {
    // Three of the 23 rows of each of five sequences; of them, and of all rows, a part that begins in the second.
    let picked = params!(gather_rows::GatherRowsParams { rows: 9, cols: 6, per: 3, seq: 23, first: 4 });
    let back = params!(gather_rows_grad::GatherRowsGradParams { rows: 60, cols: 6, per: 3, seq: 23, first: 30 });
    let token = params!(class_token::ClassTokenParams { rows: 40, cols: 6, seq: 9, first: 5 });
    let token_back = params!(class_token_grad::ClassTokenGradParams { rows: 30, cols: 6, seq: 9, first: 10 });
    let classes = params!(class_sums::ClassSumsParams { rows: 70, cols: 21, first: 7 });
    let classes_back = params!(class_sums_grad::ClassSumsGradParams { rows: 70, cols: 21, scale: 0.3, first: 7 });
    vec![
        case(picked, &[5 * 23 * 6, 15, 54]),
        case(back, &[90, 15, 360]),
        case(token, &[5 * 8 * 6, 6, 240]),
        case(token_back, &[5 * 9 * 6, 180]),
        case(classes, &[70 * 21, 77, 140]),
        case(classes_back, &[70 * 21, 140, 77, 70 * 21]),
        case(params!(relu::ReluParams { n: 1001 }), &[1001; 2]),
        case(params!(relu_grad::ReluGradParams { n: 1001 }), &[1001; 3]),
        case(params!(tanh::TanhParams { n: 1001 }), &[1001; 2]),
        case(params!(tanh_grad::TanhGradParams { n: 1001 }), &[1001; 3]),
    ]
}

fn recommenders() -> Vec<Case> {
    // The second of four tables; samples look up three of its 25 rows.
    let bag = params!(embedding_bag::EmbeddingBagParams {
        batch: 14,
        cols: 5,
        lookups: 3,
        of_sample: 8,
        id_offset: 2,
        row_offset: 30,
        table: 1,
        tables: 4,
    });
    let update = params!(embedding_bag_update::EmbeddingBagUpdateParams {
        batch: 14,
        cols: 5,
        lookups: 3,
        of_sample: 8,
        id_offset: 2,
        row_offset: 30,
        table: 1,
        tables: 4,
        rows: 25,
        rate: 0.1,
        unscale: 0.5,
    });
    let (ids, rows, vectors) = (14 * 8, 60 * 5, 14 * 4 * 5);
    // More lookups of a row than an invocation remembers.
    let many = embedding_bag_update::EmbeddingBagUpdateParams { batch: 140, ..update };
    let mut cases = vec![
        case(bag, &[ids, rows, vectors]),
        case(update, &[ids, vectors, rows, 60]),
        case(many, &[10 * ids, 10 * vectors, rows, 60]),
        case(params!(cross::CrossParams { n: 501 }), &[501; 4]),
        case(params!(cross_grad::CrossGradParams { n: 501 }), &[501; 5]),
        case(params!(binary_loss::BinaryLossParams { rows: 777, scale: 0.1 }), &[777, 777, 1]),
        case(params!(binary_loss_grad::BinaryLossGradParams { rows: 777, scale: 0.1 }), &[777; 3]),
    ];
    for products in [0, 1] {
        for ranks in [1, 2] {
            let meet = params!(interaction::InteractionParams {
                batch: 9,
                cols: 5,
                tables: 4,
                products: products,
                ranks: ranks,
            });
            let (dense, vectors) = (9 * 5, 9 * 4 * 5);
            let out = if products == 1 { 9 * (5 + 10) } else { 9 * 25 };
            cases.push(case(meet, &[dense, vectors, out]));
            cases.push(case(interaction_grad::InteractionGradParams(meet), &[dense, vectors, out, dense, vectors]));
        }
    }
    cases
}

/// Rows and columns that divide nothing, of a rank with every second token and the second half of the columns.
fn dropped() -> Vec<Case> {
    let params = |n: u32, offset: u32, has_bias: u32| {
        params!(dropout::DropoutParams {
            n: n,
            cols: 7,
            offset: offset,
            row: 11,
            own_rows: 13,
            stride: 2,
            first: 1,
            sample_rows: 26,
            sample: 5,
            column: 7,
            threshold: 1 << 30,
            scale: 4.0 / 3.0,
            key: [12, 34],
            has_bias: has_bias,
        })
    };
    let residual = |has_bias: u32| dropout_residual::DropoutResidualParams(params(501, 0, has_bias));
    vec![
        case(params(501, 0, 0), &[501, 1, 501, 126]),
        case(params(3, 0, 0), &[3, 1, 3, 1]),
        case(residual(0), &[501, 501, 1, 1, 501, 126]),
        case(residual(1), &[501, 501, 7, 1, 501, 126]),
        case(params!(dropout_grad::DropoutGradParams { n: 501, scale: 1.5 }), &[501, 126, 501]),
    ]
}

pub fn cases() -> Vec<Case> {
    [images(), encoders(), recommenders(), dropped()].concat()
}

/// Puts what is special into random data.
pub fn adapt(case: &Case, data: &mut [Vec<f32>]) {
    let tokens = |values: &mut Vec<f32>| values.iter_mut().for_each(|x| *x = f32::from_bits(((*x + 1.0) * 9.9) as u32));
    match case.dispatch.kernel {
        Kernel::GatherRows | Kernel::GatherRowsGrad | Kernel::ClassSums => tokens(&mut data[1]),
        Kernel::ClassSumsGrad => {
            data[1].iter_mut().for_each(|x| *x = x.abs() + 0.5);
            tokens(&mut data[2]);
        }
        Kernel::EmbeddingBag => tokens(&mut data[0]),
        Kernel::EmbeddingBagUpdate => {
            tokens(&mut data[0]);
            data[3].iter_mut().for_each(|x| *x = x.abs());
        }
        Kernel::BinaryLoss | Kernel::BinaryLossGrad => {
            data[1].iter_mut().for_each(|x| *x = f32::from_bits(u32::from(*x > 0.0)));
            put(&mut data[0], 3, &[500.0, -500.0, 0.0]);
        }
        Kernel::Tanh => data[0][3..6].copy_from_slice(&[1000.0, -1000.0, 0.0]),
        Kernel::PoolGrad => {
            // Values that come several times, so that only the first may count.
            data[0].iter_mut().for_each(|x| *x = (*x * 4.0).round());
            let params: pool::PoolParams = bytemuck::pod_read_unaligned(bytemuck::cast_slice(&case.dispatch.params));
            let (x, y) = data.split_at_mut(1);
            pool::pool(&x[0], &mut y[0], &params);
        }
        _ => {}
    }
}

/// Buffers that stay words in every format: numbers, statistics, sums.
pub fn words_of(kernel: Kernel) -> &'static [usize] {
    match kernel {
        Kernel::GatherRows | Kernel::GatherRowsGrad | Kernel::BinaryLossGrad => &[1],
        Kernel::ClassSums | Kernel::ClassSumsGrad | Kernel::BinaryLoss => &[1, 2],
        Kernel::EmbeddingBag | Kernel::BatchNormGradParams => &[0],
        Kernel::EmbeddingBagUpdate => &[0, 2, 3],
        Kernel::Dropout => &[1, 3],
        Kernel::DropoutResidual => &[3, 5],
        Kernel::DropoutGrad => &[1],
        Kernel::BatchNorm | Kernel::GroupNorm => &[4],
        Kernel::GroupNormGrad => &[2],
        Kernel::GroupNormGradParams => &[1, 3, 4],
        Kernel::BatchNormGrad => &[2, 5],
        _ => &[],
    }
}
