//! The gradients of encoders, image models and recommenders.

use bytemuck::Zeroable;

use super::super::batch_norm::{BatchNormParams, batch_norm};
use super::super::batch_norm_grad::{BatchNormGradParams, batch_norm_grad};
use super::super::batch_norm_grad_params::{BatchNormGradParamsParams, batch_norm_grad_params};
use super::super::binary_loss::{BinaryLossParams, binary_loss};
use super::super::binary_loss_grad::{BinaryLossGradParams, binary_loss_grad};
use super::super::class_sums::{ClassSumsParams, class_sums};
use super::super::class_sums_grad::{ClassSumsGradParams, class_sums_grad};
use super::super::class_token::{ClassTokenParams, class_token};
use super::super::class_token_grad::{ClassTokenGradParams, class_token_grad};
use super::super::column_sum::{ColumnSumParams, column_sum};
use super::super::convolution::{ConvolutionParams, convolution};
use super::super::convolution_input_grad::{ConvolutionInputGradParams, convolution_input_grad};
use super::super::convolution_weight_grad::{ConvolutionWeightGradParams, convolution_weight_grad};
use super::super::cross::{CrossParams, cross};
use super::super::cross_entropy::{CrossEntropyParams, cross_entropy};
use super::super::cross_grad::{CrossGradParams, cross_grad};
use super::super::embedding_bag::{EmbeddingBagParams, embedding_bag};
use super::super::embedding_bag_update::{EmbeddingBagUpdateParams, embedding_bag_update};
use super::super::gather_rows::{GatherRowsParams, gather_rows};
use super::super::gather_rows_grad::{GatherRowsGradParams, gather_rows_grad};
use super::super::group_norm::{GroupNormParams, group_norm};
use super::super::group_norm_grad::{GroupNormGradParams, group_norm_grad};
use super::super::group_norm_grad_params::{GroupNormGradParamsParams, group_norm_grad_params};
use super::super::interaction::{InteractionParams, interaction};
use super::super::interaction_grad::{InteractionGradParams, interaction_grad};
use super::super::pool::{PoolParams, pool};
use super::super::pool_grad::{PoolGradParams, pool_grad};
use super::super::position::{PositionParams, position};
use super::super::position_grad::{PositionGradParams, position_grad};
use super::super::relu::{ReluParams, relu};
use super::super::relu_grad::{ReluGradParams, relu_grad};
use super::super::tanh::{TanhParams, tanh};
use super::super::tanh_grad::{TanhGradParams, tanh_grad};
use super::{assert_close, check, dot, numbers, output};

#[test]
fn convolutions_by_input_and_weight() {
    for (kernel, stride, behind) in [(3, 1, 5), (3, 2, 3), (1, 2, 3), (5, 2, 3)] {
        let pad = (kernel - 1) / 2;
        let p = ConvolutionParams { batch: 2, side: 5, behind, inputs: 3, outputs: 2, kernel, stride, pad };
        let (outputs, taps) = ((2 * behind * behind * 2) as usize, (kernel * kernel * 3 * 2) as usize);
        let (x, weight, dy) = (numbers(150, 1), numbers(taps, 2), numbers(outputs, 3));
        let loss = |x: &[f64], weight: &[f64]| dot(&output(outputs, |y| convolution(x, weight, y, &p)), &dy);
        let dx = output(150, |dx| convolution_input_grad(&dy, &weight, dx, &ConvolutionInputGradParams(p)));
        let dweight = output(taps, |dw| convolution_weight_grad(&x, &dy, dw, &ConvolutionWeightGradParams(p)));
        check(&x, &dx, |x| loss(x, &weight));
        check(&weight, &dweight, |weight| loss(&x, weight));
    }
}

#[test]
fn a_convolution_of_one_pixel_is_a_matrix_product_and_a_shifted_one_shifts() {
    let p = ConvolutionParams { batch: 1, side: 2, behind: 2, inputs: 2, outputs: 1, kernel: 1, stride: 1, pad: 0 };
    let y = output(4, |y| convolution(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], &[10.0, 1.0], y, &p));
    assert_close(&y, &[12.0, 34.0, 56.0, 78.0]);
    // Of a 3 × 3 kernel only the tap right of the middle: what stands there comes, and zero from outside.
    let p = ConvolutionParams { inputs: 1, kernel: 3, pad: 1, ..p };
    let mut weight = vec![0.0; 9];
    weight[5] = 1.0;
    assert_close(&output(4, |y| convolution(&[1.0, 2.0, 3.0, 4.0], &weight, y, &p)), &[2.0, 0.0, 4.0, 0.0]);
}

#[test]
fn norms_of_channels() {
    let (rows, cols) = (9, 3);
    let p = BatchNormParams { rows, cols, eps: 1e-5, ..Zeroable::zeroed() };
    let (x, weight, shift, dy) = (numbers(27, 1), numbers(3, 2), numbers(3, 3), numbers(27, 4));
    let mut stats = vec![0.0; 6];
    output(27, |y| batch_norm(&x, &weight, &shift, y, &mut stats, &p));
    let mut sums = vec![0.0; 6];
    let params = BatchNormGradParams { rows, cols, ..Zeroable::zeroed() };
    let dx = output(27, |dx| batch_norm_grad(&x, &weight, &stats, &dy, dx, &mut sums, &params));
    let (mut dweight, mut dshift) = (vec![0.0; 3], vec![0.0; 3]);
    let params = BatchNormGradParamsParams { cols, ..Zeroable::zeroed() };
    batch_norm_grad_params(&sums, &mut dweight, &mut dshift, &params);
    let loss = |x: &[f64], weight: &[f64], shift: &[f64]| {
        let mut stats = vec![0.0; 6];
        dot(&output(27, |y| batch_norm(x, weight, shift, y, &mut stats, &p)), &dy)
    };
    check(&x, &dx, |x| loss(x, &weight, &shift));
    check(&weight, &dweight, |weight| loss(&x, weight, &shift));
    check(&shift, &dshift, |shift| loss(&x, &weight, shift));
}

#[test]
fn group_norms() {
    let p = GroupNormParams { images: 2, pixels: 5, cols: 4, groups: 2, eps: 1e-5, pad: [0; 3] };
    let (x, weight, shift, dy) = (numbers(40, 1), numbers(4, 2), numbers(4, 3), numbers(40, 4));
    let mut stats = vec![0.0; 8];
    output(40, |y| group_norm(&x, &weight, &shift, y, &mut stats, &p));
    let dx = output(40, |dx| group_norm_grad(&x, &weight, &stats, &dy, dx, &GroupNormGradParams(p)));
    let (mut dweight, mut dshift) = (vec![0.0; 4], vec![0.0; 4]);
    group_norm_grad_params(&x, &stats, &dy, &mut dweight, &mut dshift, &GroupNormGradParamsParams(p));
    let loss = |x: &[f64], weight: &[f64], shift: &[f64]| {
        let mut stats = vec![0.0; 8];
        dot(&output(40, |y| group_norm(x, weight, shift, y, &mut stats, &p)), &dy)
    };
    check(&x, &dx, |x| loss(x, &weight, &shift));
    check(&weight, &dweight, |weight| loss(&x, weight, &shift));
    check(&shift, &dshift, |shift| loss(&x, &weight, shift));
}

#[test]
fn pooling() {
    for (side, behind, kernel, stride, pad, mean) in [(5, 3, 3, 2, 1, 0), (4, 1, 4, 1, 0, 1)] {
        let p = PoolParams { batch: 2, side, behind, cols: 2, kernel, stride, pad, mean };
        let (inputs, outputs) = ((2 * side * side * 2) as usize, (2 * behind * behind * 2) as usize);
        let (x, dy) = (numbers(inputs, 1), numbers(outputs, 2));
        let y = output(outputs, |y| pool(&x, y, &p));
        let dx = output(inputs, |dx| pool_grad(&x, &y, &dy, dx, &PoolGradParams(p)));
        check(&x, &dx, |x| dot(&output(outputs, |y| pool(x, y, &p)), &dy));
    }
    // Of equals the first counts.
    let p = PoolParams { batch: 1, side: 2, behind: 1, cols: 1, kernel: 2, stride: 2, pad: 0, mean: 0 };
    let dx = output(4, |dx| pool_grad(&[1.0, 3.0, 3.0, 2.0], &[3.0], &[5.0], dx, &PoolGradParams(p)));
    assert_close(&dx, &[0.0, 5.0, 0.0, 0.0]);
}

#[test]
fn activations_from_their_results() {
    let (x, dy) = (numbers(20, 1), numbers(20, 2));
    let y = output(20, |y| relu(&x, y, &ReluParams { n: 20, ..Zeroable::zeroed() }));
    let dx = output(20, |dx| relu_grad(&y, &dy, dx, &ReluGradParams { n: 20, ..Zeroable::zeroed() }));
    check(&x, &dx, |x| dot(&output(20, |y| relu(x, y, &ReluParams { n: 20, ..Zeroable::zeroed() })), &dy));
    let y = output(20, |y| tanh(&x, y, &TanhParams { n: 20, ..Zeroable::zeroed() }));
    let dx = output(20, |dx| tanh_grad(&y, &dy, dx, &TanhGradParams { n: 20, ..Zeroable::zeroed() }));
    check(&x, &dx, |x| dot(&output(20, |y| tanh(x, y, &TanhParams { n: 20, ..Zeroable::zeroed() })), &dy));
}

#[test]
fn picked_rows_tokens_and_texts_of_a_pair() {
    // Two sequences of four rows, of which two each are picked; one of them twice.
    let p = GatherRowsParams { rows: 4, cols: 3, per: 2, seq: 4, ..Zeroable::zeroed() };
    let (x, dy, positions) = (numbers(24, 1), numbers(12, 2), [3, 0, 1, 1]);
    let back = GatherRowsGradParams { rows: 8, cols: 3, per: 2, seq: 4, ..Zeroable::zeroed() };
    let dx = output(24, |dx| gather_rows_grad(&dy, &positions, dx, &back));
    check(&x, &dx, |x| dot(&output(12, |y| gather_rows(x, &positions, y, &p)), &dy));

    let p = ClassTokenParams { rows: 8, cols: 3, seq: 4, first: 0 };
    let (x, token, dy) = (numbers(18, 1), numbers(3, 2), numbers(24, 3));
    let dx = output(18, |dx| class_token_grad(&dy, dx, &ClassTokenGradParams { rows: 6, cols: 3, seq: 4, first: 0 }));
    let sums = ColumnSumParams { rows: 2, cols: 3, stride: 12, ..Zeroable::zeroed() };
    let dtoken = output(3, |dtoken| column_sum(&dy, dtoken, &sums));
    check(&x, &dx, |x| dot(&output(24, |y| class_token(x, &token, y, &p)), &dy));
    check(&token, &dtoken, |token| dot(&output(24, |y| class_token(&x, token, y, &p)), &dy));

    // Three positions share a row of the table.
    let p = PositionParams { rows: 10, cols: 2, seq: 5, stride: 1, group: 3, ..Zeroable::zeroed() };
    let (x, table, dy) = (numbers(20, 1), numbers(4, 2), numbers(20, 3));
    let back = PositionGradParams { rows: 10, cols: 2, seq: 5, stride: 1, group: 3, ..Zeroable::zeroed() };
    let dtable = output(4, |dtable| position_grad(&dy, dtable, &back));
    check(&table, &dtable, |table| dot(&output(20, |y| position(&x, table, y, &p)), &dy));
}

#[test]
fn losses_of_few_classes() {
    let (logits, targets) = (numbers(20, 1), [1, 4, 0, 2]);
    let p = ClassSumsParams { rows: 4, cols: 5, ..Zeroable::zeroed() };
    let loss = |logits: &[f64]| {
        let stats = output(8, |stats| class_sums(logits, &targets, stats, &p));
        output(1, |loss| cross_entropy(&stats, loss, &CrossEntropyParams { rows: 4, scale: 0.3, ..Zeroable::zeroed() }))
            [0]
    };
    let stats = output(8, |stats| class_sums(&logits, &targets, stats, &p));
    let params = ClassSumsGradParams { rows: 4, cols: 5, scale: 0.3, ..Zeroable::zeroed() };
    let gradient = output(20, |d| class_sums_grad(&logits, &stats, &targets, d, &params));
    // The factor is a number of 32 bits on both sides.
    check(&logits, &gradient, loss);
    // By definition: minus the logarithm of the target's probability.
    let nats = |row: &[f64], target: u32| row.iter().map(|z| z.exp()).sum::<f64>().ln() - row[target as usize];
    let expected: f64 = logits.chunks(5).zip(targets).map(|(row, target)| nats(row, target)).sum();
    assert_close(&[loss(&logits)], &[expected * f64::from(0.3_f32)]);

    let (logits, targets) = (numbers(7, 2), [1, 0, 0, 1, 1, 0, 1]);
    let p = BinaryLossParams { rows: 7, scale: 0.3, ..Zeroable::zeroed() };
    let gradient = output(7, |d| {
        binary_loss_grad(&logits, &targets, d, &BinaryLossGradParams { rows: 7, scale: 0.3, ..Zeroable::zeroed() });
    });
    let loss = |logits: &[f64]| output(1, |loss| binary_loss(logits, &targets, loss, &p))[0];
    check(&logits, &gradient, loss);
    let nats = |z: f64, target: u32| (1.0 + (if target == 1 { -z } else { z }).exp()).ln();
    let expected: f64 = logits.iter().zip(targets).map(|(&z, target)| nats(z, target)).sum();
    assert_close(&[loss(&logits)], &[expected * f64::from(0.3_f32)]);
}

#[test]
fn vectors_that_meet() {
    for products in [0, 1] {
        for ranks in [1, 3] {
            let p = InteractionParams { batch: 2, cols: 4, tables: 3, products, ranks, ..Zeroable::zeroed() };
            let width = if products == 1 { 4 + 6 } else { 16 };
            let (dense, vectors, dout) = (numbers(8, 1), numbers(24, 2), numbers(2 * width, 3));
            let (mut ddense, mut dvectors) = (vec![0.0; 8], vec![0.0; 24]);
            interaction_grad(&dense, &vectors, &dout, &mut ddense, &mut dvectors, &InteractionGradParams(p));
            let loss = |dense: &[f64], vectors: &[f64]| {
                dot(&output(2 * width, |out| interaction(dense, vectors, out, &p)), &dout)
            };
            check(&dense, &ddense, |dense| loss(dense, &vectors));
            check(&vectors, &dvectors, |vectors| loss(&dense, vectors));
        }
    }
    let (x0, x, u, dy) = (numbers(9, 1), numbers(9, 2), numbers(9, 3), numbers(9, 4));
    let (mut dx0, mut du) = (vec![0.0; 9], vec![0.0; 9]);
    cross_grad(&x0, &u, &dy, &mut dx0, &mut du, &CrossGradParams { n: 9, ..Zeroable::zeroed() });
    let p = CrossParams { n: 9, ..Zeroable::zeroed() };
    let loss = |x0: &[f64], u: &[f64]| dot(&output(9, |y| cross(x0, &x, u, y, &p)), &dy);
    check(&x0, &dx0, |x0| loss(x0, &u));
    check(&u, &du, |u| loss(&x0, u));
}

#[test]
fn tables_move_against_their_gradient_by_row_wise_adagrad() {
    // Two samples, two lookups each in the second of two tables; both look up row 1.
    let (ids, tables) = ([9, 1, 0, 9, 1, 2], 2);
    let bag = EmbeddingBagParams {
        batch: 2,
        cols: 3,
        lookups: 2,
        of_sample: 3,
        id_offset: 1,
        row_offset: 4,
        table: 1,
        tables,
    };
    let (weight, dout) = (numbers(21, 1), numbers(12, 2));
    let loss = |weight: &[f64]| dot(&output(12, |out| embedding_bag(&ids, weight, out, &bag)), &dout);
    // The gradient of every row, by differences; each row is then scaled as Adagrad has it from a state of zero.
    let h = 1e-6;
    let gradient: Vec<f64> = (0..21)
        .map(|i| {
            let at = |by: f64| {
                loss(&weight.iter().enumerate().map(|(j, w)| w + if i == j { by } else { 0.0 }).collect::<Vec<_>>())
            };
            (at(h) - at(-h)) / (2.0 * h)
        })
        .collect();
    let update = EmbeddingBagUpdateParams {
        batch: 2,
        cols: 3,
        lookups: 2,
        of_sample: 3,
        id_offset: 1,
        row_offset: 4,
        table: 1,
        tables,
        rows: 3,
        rate: 0.5,
        unscale: 1.0,
        ..Zeroable::zeroed()
    };
    let (mut after, mut state) = (weight.clone(), vec![0.0; 7]);
    embedding_bag_update(&ids, &dout, &mut after, &mut state, &update);
    for row in 0..7 {
        let g = &gradient[row * 3..][..3];
        let mean = g.iter().map(|g| g * g).sum::<f64>() / 3.0;
        assert!((state[row] - mean).abs() < 1e-6, "row {row}: {} and {mean}", state[row]);
        for j in 0..3 {
            let step = if mean > 1e-9 { 0.5 * g[j] / mean.sqrt() } else { 0.0 };
            assert!((weight[row * 3 + j] - step - after[row * 3 + j]).abs() < 1e-5, "row {row} column {j}");
        }
    }
    assert!(state[..4].iter().all(|&s| s == 0.0) && state[4..].iter().all(|&s| s > 0.0));
}
