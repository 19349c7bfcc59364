//! Kernels of optimizers that know more of a parameter than its elements one by one.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use shardlab_engine::exec::Kernel;
use shardlab_engine::exec::cpu::adam_8bit::Code;
use shardlab_engine::exec::cpu::{
    adafactor, adam_8bit, blend, factor_moments, factor_sums, muon, muon_momentum, narrow_blocks, orthogonal_columns,
    scatter_add, select_largest, unit_norm, widen_blocks,
};

use super::{Case, case};

/// Two matrices of 23 rows and 17 columns, of which a part begins in the first and ends in the second.
fn factors() -> Vec<Case> {
    let all = 46 * 17;
    let sums = |begin: u32, end: u32, first: u32, count: u32, moment: u32| {
        params!(factor_sums::FactorSumsParams {
            rows: 46,
            cols: 17,
            matrices: 2,
            begin: begin,
            end: end,
            grad_offset: 3,
            first: first,
            count: count,
            out_offset: 5,
            moment: moment,
        })
    };
    let update = |begin: u32, end: u32, vector: u32| {
        params!(adafactor::AdafactorParams {
            rows: 46,
            cols: 17,
            matrices: 2,
            begin: begin,
            end: end,
            grad_offset: 3,
            param_offset: 4,
            row_offset: 1,
            column_offset: 2,
            vector: vector,
        })
    };
    let rows_of_vector = adafactor::AdafactorParams { cols: 1, matrices: 1, ..update(0, 46, 1) };
    // More than a workgroup has of a matrix.
    let large = adafactor::AdafactorParams { rows: 70, cols: 41, matrices: 1, ..update(9, 2800, 0) };
    let (part, whole) = (3 + 400, 3 + all);
    vec![
        case(sums(100, 500, 0, 80, 0), &[part, 1, 9, 85]),
        case(sums(0, 782, 0, 46, 1), &[whole, 1, 9, 51]),
        case(sums(0, 782, 46, 34, 1), &[whole, 1, 9, 39]),
        case(params!(factor_moments::FactorMomentsParams { n: 99 }), &[1, 9, 99, 99]),
        case(update(100, 500, 0), &[part, 1, 9, 47, 36, 404]),
        case(rows_of_vector, &[49, 1, 9, 47, 47, 50]),
        case(large, &[2794, 1, 9, 71, 43, 2795]),
    ]
}

/// What makes gradients smaller: blocks that end anywhere, ties, more and fewer elements than a workgroup has invocations.
fn smaller() -> Vec<Case> {
    let narrow = |n: u32, rows: u32| {
        case(params!(narrow_blocks::NarrowBlocksParams { n: n, rows: rows }), &[n as usize, 65 * rows as usize])
    };
    let widen = |n: u32, parts: u32, distance: u32| {
        let codes = (parts * distance) as usize;
        case(params!(widen_blocks::WidenBlocksParams { n: n, parts: parts, distance: distance }), &[codes, n as usize])
    };
    let select = |n: u32, kept: u32| {
        let lengths = [n as usize, 2 * kept as usize, n as usize];
        case(params!(select_largest::SelectLargestParams { n: n, kept: kept }), &lengths)
    };
    let columns = |rows: u32, cols: u32| {
        let params = params!(orthogonal_columns::OrthogonalColumnsParams { rows: rows, cols: cols, offset: 5 });
        case(params, &[5 + (rows * cols) as usize])
    };
    vec![
        narrow(1000, 5),
        narrow(3, 1),
        widen(1000, 3, 65 * 5),
        widen(3, 1, 65),
        select(1000, 77),
        select(100, 100),
        select(7, 1),
        case(params!(scatter_add::ScatterAddParams { n: 30, first: 10 }), &[80, 99]),
        columns(301, 4),
        columns(5, 3),
    ]
}

pub fn cases() -> Vec<Case> {
    let mut cases = [factors(), smaller()].concat();
    for (n, decayed) in [(5000_u32, 3000), (2048, 0), (3, 3)] {
        let (length, words, blocks) = (n as usize, n.div_ceil(4) as usize, n.div_ceil(2048) as usize);
        cases.push(case(
            params!(adam_8bit::Adam8BitParams { n: n, decayed: decayed }),
            &[length, 1, 9, length, words, words, 2 * blocks],
        ));
    }
    cases.push(case(params!(muon_momentum::MuonMomentumParams { n: 99, decay: 0.95 }), &[99, 1, 9, 99, 99]));
    cases.push(case(params!(unit_norm::UnitNormParams { n: 501, offset: 7, matrices: 3 }), &[7 + 3 * 501]));
    cases.push(case(
        params!(blend::BlendParams { n: 99, from: -4.8, keep: 2.0, src_offset: 2, dst_offset: 7 }),
        &[101, 106],
    ));
    cases.push(case(params!(muon::MuonParams { n: 90, from: 5, to: 3, decays: 1, scale: 0.3 }), &[95, 1, 9, 93]));
    cases
}

/// Puts what is special into random data.
pub fn adapt(case: &Case, data: &mut [Vec<f32>], random: &mut ChaCha8Rng) {
    let hyper = vec![0.01, 0.9, 0.99, 1e-8, 0.1, 0.5, 0.2, 1.0, 0.25];
    let positive = |values: &mut Vec<f32>| values.iter_mut().for_each(|x| *x = x.abs() + 0.1);
    match case.dispatch.kernel {
        Kernel::Adam8Bit => {
            for index in [4, 5] {
                data[index].iter_mut().for_each(|word| *word = f32::from_bits(random.next_u32()));
            }
            positive(&mut data[6]);
            (data[1][0], data[2]) = (4.0, hyper);
        }
        Kernel::NarrowBlocks => {
            data[0][..3].copy_from_slice(&[127.0, 0.5, 1.5]);
            // A block of zeros, and one with what is not finite.
            if let Some(rest) = data[0].get_mut(256..) {
                rest[..256].fill(0.0);
                rest[300] = f32::INFINITY;
            }
        }
        Kernel::WidenBlocks => {
            for (i, word) in data[0].iter_mut().enumerate() {
                let scale = 2.0_f32.powi(i32::try_from(i % 7).expect("it is small"));
                *word = if i % 65 == 64 { scale } else { f32::from_bits(random.next_u32()) };
            }
        }
        Kernel::SelectLargest => {
            // Few values, so that many are alike; sums of them are exact.
            for values in data.iter_mut() {
                values.iter_mut().for_each(|x| *x = (*x * 8.0).round());
            }
        }
        Kernel::ScatterAdd => {
            for (i, word) in data[0].iter_mut().enumerate() {
                // Other places than those of the pairs before and behind.
                if i % 2 == 1 {
                    *word = f32::from_bits(u32::try_from(i / 2 * 7 % 99).expect("it is small"));
                }
            }
        }
        Kernel::FactorMoments => {
            data[0][0] = 4.0;
            data[1] = hyper;
            positive(&mut data[2]);
        }
        Kernel::FactorSums | Kernel::MuonMomentum | Kernel::Muon => {
            (data[1][0], data[2]) = (4.0, hyper);
        }
        Kernel::Adafactor => {
            (data[1][0], data[2]) = (4.0, hyper);
            positive(&mut data[3]);
            positive(&mut data[4]);
        }
        _ => {}
    }
}

/// Buffers that stay words in every format: norms, hyper-parameters, parameters, states.
pub fn words_of(kernel: Kernel) -> &'static [usize] {
    match kernel {
        Kernel::Adam8Bit => &[1, 2, 3, 4, 5, 6],
        Kernel::FactorMoments => &[0, 1, 2, 3],
        Kernel::FactorSums => &[1, 2, 3],
        Kernel::Adafactor => &[1, 2, 3, 4, 5],
        Kernel::NarrowBlocks => &[1],
        Kernel::WidenBlocks | Kernel::ScatterAdd | Kernel::OrthogonalColumns => &[0],
        Kernel::SelectLargest => &[1, 2],
        Kernel::MuonMomentum => &[1, 2, 4],
        Kernel::Muon => &[1, 2, 3],
        _ => &[],
    }
}

/// Whether a buffer holds codes or places.
pub fn is_numbers(kernel: Kernel, index: usize) -> bool {
    matches!((kernel, index), (Kernel::NarrowBlocks | Kernel::SelectLargest, 1))
}

/// What the codes of a buffer stand for.
pub fn code_of(kernel: Kernel, index: usize) -> Option<Code> {
    match (kernel, index) {
        (Kernel::Adam8Bit, 4) => Some(Code::Signed),
        (Kernel::Adam8Bit, 5) => Some(Code::Unsigned),
        _ => None,
    }
}

/// Both put what they computed into the nearest code; where that differs a bit, one may take the next.
pub fn same_codes(code: Code, gpu: &[f32], cpu: &[f32]) {
    let mut sorted: Vec<f32> = (0..256).map(|byte| code.value(byte)).collect();
    sorted.sort_by(f32::total_cmp);
    let rank = |byte: u8| {
        let value = code.value(u32::from(byte));
        sorted.iter().position(|other| *other == value).expect("it is one of them")
    };
    for (gpu, cpu) in gpu.iter().zip(cpu) {
        for (gpu, cpu) in gpu.to_bits().to_le_bytes().into_iter().zip(cpu.to_bits().to_le_bytes()) {
            assert!(rank(gpu).abs_diff(rank(cpu)) <= 1, "{code:?}: {gpu:#x} on the GPU, {cpu:#x} on the CPU");
        }
    }
}
