//! Kernels: the roofline of Williams et al. 2009 with stated efficiencies, plus a launch overhead.

use super::Work;
use crate::cluster::Device;
use crate::graph::DType;
use crate::units::{Bytes, BytesPerSec, Flops, FlopsPerSec, Nanos};

/// Output tile of a matmul kernel on one multiprocessor; what does not fill a tile is computed in vain.
const TILE: u64 = 128;

/// What limits a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Arithmetic.
    Compute,
    /// Memory bandwidth.
    Memory,
    /// The launch itself.
    Launch,
}

/// `max(work / rate, bytes / bandwidth) + launch overhead`.
pub fn kernel_time(device: &Device, work: &Work, dtype: DType) -> Nanos {
    let (compute, memory) = times(device, work, dtype);
    compute.max(memory) + device.launch_overhead
}

/// The largest of the three terms.
pub fn kernel_bound(device: &Device, work: &Work, dtype: DType) -> Bound {
    let (compute, memory) = times(device, work, dtype);
    if device.launch_overhead >= compute.max(memory) {
        Bound::Launch
    } else if compute >= memory {
        Bound::Compute
    } else {
        Bound::Memory
    }
}

fn times(device: &Device, work: &Work, dtype: DType) -> (Nanos, Nanos) {
    let matrix = match dtype {
        DType::Bf16 => device.bf16_matmul,
        DType::F16 => device.fp16_matmul,
        DType::F8 => device.fp8_matmul,
        DType::Tf32 => device.tf32_matmul,
        DType::F32 | DType::U32 => device.fp32_matmul,
    };
    let efficiency = match work.matmul {
        Some(shape) => device.matmul_efficiency * tile_efficiency(shape),
        None => device.attention_efficiency,
    };
    let matmul = work.matmul_flops / FlopsPerSec(matrix.0 * efficiency);
    let other = Flops(work.flops.0 - work.matmul_flops.0) / device.fp32;
    let memory = memory_time(device, work.bytes);
    (matmul + other, memory)
}

/// Time to move `bytes` to or from memory.
fn memory_time(device: &Device, bytes: Bytes) -> Nanos {
    bytes / BytesPerSec(device.memory_bandwidth.0 * device.memory_efficiency)
}

/// The share of a tiled matmul's work that is not padding (NVIDIA, "Matrix multiplication background", tile
/// quantisation). Small matmuls use smaller tiles, so a side counts at most four times its length.
fn tile_efficiency([m, n, _]: [u64; 3]) -> f64 {
    let side = |length: u64| length as f64 / (length.next_multiple_of(TILE.min(length.next_power_of_two())) as f64);
    (side(m.max(1)) * side(n.max(1))).max(1.0 / 16.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn a_large_matmul_reaches_the_stated_efficiency_and_no_more() {
        let scenario = Scenario::preset("gpt3-175b-1024xa100").expect("a preset");
        let device = &scenario.cluster().device;
        let flops = Flops(2.0 * 8192.0_f64.powi(3));
        let work = Work { flops, matmul_flops: flops, bytes: Bytes(3 * 8192 * 8192 * 2), matmul: Some([8192; 3]) };
        let rate = flops.0 / kernel_time(device, &work, DType::Bf16).secs();
        let share = rate / device.bf16_matmul.0;
        assert!(share <= device.matmul_efficiency && share > 0.99 * device.matmul_efficiency, "{share}");
        assert_eq!(kernel_bound(device, &work, DType::Bf16), Bound::Compute);
    }

    #[test]
    fn padding_costs_what_it_computes() {
        assert!((tile_efficiency([129, 128, 1]) - 129.0 / 256.0).abs() < 1e-12);
        assert!((tile_efficiency([128, 256, 1]) - 1.0).abs() < 1e-12);
    }
}
