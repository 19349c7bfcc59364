//! The twins in f64: how far shaders are from what would be exact.
//!
//! A result is a sum of `n` terms, rounded to `u = 2⁻²⁴` in each step. In whatever order they are added, the error is at most
//! `γ_n Σ|terms|` with `γ_n = n u / (1 - n u)` (Higham 2002, *Accuracy and Stability of Numerical Algorithms*, eq. 3.5, 4.4).
//! `Σ|terms|` is counted as the largest result of the buffer, of which that of random terms is a few times as large, and what
//! a kernel does beside its sums as 168 roundings (`tolerance`).

use shardlab_engine::exec::Kernel;
use shardlab_engine::exec::cpu::{Binding, execute};

use super::{Access, Case, is_numbers, tolerance, updates};

/// Unit roundoff of fp32.
const U: f64 = 1.0 / (1_u64 << 24) as f64;

/// Kernels that do something else than arithmetic in fp32: halves, integers, bits, codes.
const OTHERS: [Kernel; 13] = [
    Kernel::MatmulHalf,
    Kernel::PeakHalf,
    Kernel::PeakInt8,
    Kernel::PeakInt32,
    Kernel::MatmulInt8,
    Kernel::Scale,
    Kernel::Quantize,
    Kernel::QuantizeBlocks,
    Kernel::QuantizeShort,
    Kernel::QuantizeRows,
    Kernel::DropoutGrad,
    Kernel::WidenBlocks,
    Kernel::Adam8Bit,
];

/// What a case gives in f64; none of kernels that do something else.
pub fn run(case: &Case, data: &[Vec<f32>]) -> Option<Vec<Vec<f64>>> {
    let kernel = case.dispatch.kernel;
    if OTHERS.contains(&kernel) {
        return None;
    }
    let mut data: Vec<Vec<f64>> = data.iter().map(|values| values.iter().map(|&x| x.into()).collect()).collect();
    let mut bindings = Vec::new();
    for (values, access) in data.iter_mut().zip(kernel.bindings()) {
        bindings.push(match access {
            Access::Read => Binding::Read(values.as_slice()),
            Access::ReadWrite => Binding::Write(values.as_mut_slice()),
        });
    }
    execute(kernel, &case.dispatch.params, &mut bindings).expect("the case fits its kernel");
    Some(data)
}

/// Holds what a device has computed in fp32 against it.
pub fn compare(case: &Case, way: &str, found: &[Vec<f32>], exact: &[Vec<f64>]) {
    let kernel = case.dispatch.kernel;
    for (index, (found, exact)) in found.iter().zip(exact).enumerate() {
        let skips = is_numbers(kernel, index) || updates::is_numbers(kernel, index);
        if kernel.bindings()[index] == Access::Read || skips {
            continue;
        }
        let largest = exact.iter().filter(|x| x.abs() < 1e4).fold(1e-6_f64, |max, x| max.max(x.abs()));
        let bound = (f64::from(tolerance(kernel)) + terms(case) * U) * largest;
        for (i, (&found, exact)) in found.iter().zip(exact).enumerate() {
            let error = (f64::from(found) - exact).abs();
            // What stands for no value at all is rounded only itself.
            let bound = bound.max(exact.abs() * U);
            assert!(error <= bound, "{way} buffer {index}[{i}]: {found}, in f64 {exact}; at most {bound:e} apart");
        }
    }
}

/// Terms of the longest sum.
fn terms(case: &Case) -> f64 {
    let params = &case.dispatch.params;
    match case.dispatch.kernel {
        Kernel::Matmul => f64::from(params[2]),
        _ => 0.0,
    }
}
