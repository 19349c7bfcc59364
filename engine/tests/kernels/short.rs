//! Products in half-precision arithmetic and of integers in eight bits: transposes, several at once, and what is done to sums.

use super::{Case, case, matmul, matmul_half, matmul_int8};

pub fn cases() -> Vec<Case> {
    let mut cases = halves();
    for (m, n, words, batches) in [(37, 70, 5, 1), (1, 1, 1, 1), (9, 6, 3, 4)] {
        for (accumulate, epilogue) in
            [(0, 0), (1, 0), (0, matmul::BIAS | matmul::RELU), (1, matmul::BIAS | matmul::TANH)]
        {
            let params = matmul_int8::MatmulInt8Params { m, n, words, accumulate, epilogue, batches, pad: [0; 2] };
            let lengths = [m * words, n * words, n, m * n, m, n].map(|length| (length * batches) as usize);
            cases.push(case(params, &lengths));
        }
    }
    cases
}

/// Of every transpose, at odd sizes and at those of which four halves are read at once.
fn halves() -> Vec<Case> {
    let mut cases = Vec::new();
    for ([m, n, k], batches) in
        [([37, 70, 11], 1), ([1, 1, 1], 1), ([36, 68, 44], 1), ([8, 12, 20], 3), ([9, 5, 33], 2)]
    {
        for (a_along, b_along) in [(true, true), (true, false), (false, true), (false, false)] {
            for (accumulate, epilogue) in [(0, 0), (1, matmul::BIAS | matmul::RELU)] {
                let params = matmul::MatmulParams {
                    m,
                    n,
                    k,
                    a_row_stride: if a_along { k } else { 1 },
                    a_col_stride: if a_along { 1 } else { m },
                    b_row_stride: if b_along { 1 } else { n },
                    b_col_stride: if b_along { k } else { 1 },
                    accumulate,
                    epilogue,
                    a_batch: m * k,
                    b_batch: k * n,
                    c_batch: m * n,
                    batches,
                    ..matmul::MatmulParams::default()
                };
                // Halves lie two in a word.
                let words = |numbers: u32| (numbers * batches).div_ceil(2) as usize;
                let lengths = [words(m * k), words(k * n), n as usize, (m * n * batches) as usize];
                cases.push(case(matmul_half::MatmulHalfParams(params), &lengths));
            }
        }
    }
    cases
}
