//! Kernels: the roofline of Williams et al. 2009 with stated efficiencies, plus a launch overhead.

use super::shader::{self, Calls};
use super::{Work, launch_time};
use crate::cluster::{Device, ShaderRates};
use crate::graph::DType;
use crate::units::{Bytes, BytesPerSec, Flops, FlopsPerSec, Nanos};

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

impl Bound {
    /// Its name in files, and behind the keys of texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Memory => "memory",
            Self::Launch => "launch",
        }
    }
}

/// `max(work / rate, bytes / bandwidth) + launch overhead`; of this project's own shaders see [`Calls`].
pub fn kernel_time(device: &Device, work: &Work, dtype: DType) -> Nanos {
    if let Some((rates, calls)) = own(device, work) {
        return shader::time(
            device,
            rates,
            work,
            calls,
            matrix_time(device, work, dtype),
            memory_time(device, work.bytes),
        );
    }
    let (compute, memory) = times(device, work, dtype);
    compute.max(memory) + launch_time(device, work.batched)
}

/// What this project's shaders do of it, on a device that runs them.
fn own<'a>(device: &'a Device, work: &'a Work) -> Option<(&'a ShaderRates, &'a Calls)> {
    device.shaders.as_ref().zip(work.calls.as_ref())
}

/// The largest of the three terms.
pub fn kernel_bound(device: &Device, work: &Work, dtype: DType) -> Bound {
    let (mut compute, memory) = times(device, work, dtype);
    let mut launch = launch_time(device, work.batched);
    if let Some((rates, calls)) = own(device, work) {
        launch = shader::launches(device, rates, calls);
        compute = kernel_time(device, work, dtype) - launch;
    }
    if launch >= compute.max(memory) {
        Bound::Launch
    } else if compute >= memory {
        Bound::Compute
    } else {
        Bound::Memory
    }
}

/// The datasheet's matmul rate for inputs of a format.
pub fn matmul_peak(device: &Device, dtype: DType) -> FlopsPerSec {
    match dtype {
        DType::Bf16 => device.bf16_matmul,
        DType::F16 => device.fp16_matmul,
        DType::F8 | DType::F8Gradient | DType::F8Block => device.fp8_matmul,
        DType::F4 => device.fp4_matmul,
        DType::Tf32 => device.tf32_matmul,
        DType::F32 | DType::U32 | DType::U8 => device.fp32_matmul,
    }
}

/// The rate of which a kernel reaches a share: the datasheet's, but for attention in this project's shaders, which compute in
/// fp32 whatever they read.
pub fn peak_of(device: &Device, work: &Work, dtype: DType) -> FlopsPerSec {
    let fp32 = work.matmul.is_none() && own(device, work).is_some();
    if fp32 { device.fp32_matmul } else { matmul_peak(device, dtype) }
}

/// The share of it that a kernel reaches: that of the best matmul times that of its tiles, or that of attention.
pub fn matmul_efficiency(device: &Device, work: &Work, dtype: DType) -> f64 {
    match work.matmul {
        Some(shape) => {
            let eager = if work.eager { device.eager_share } else { 1.0 };
            let tiles = tile_efficiency(device, shape, work.groups * work.side_by_side.max(1), dtype);
            device.matmul_efficiency * eager * tiles * device.aligned_share(work.aligned)
        }
        None if work.calls.is_some() => {
            let filled = own(device, work).map_or(1.0, |(rates, calls)| shader::filled(rates, calls) * calls.share);
            device.attention_efficiency * filled / (1.0 + work.hidden)
        }
        None if work.flash_2 => device.attention_efficiency * device.flash_2_share / (1.0 + work.hidden),
        None => device.attention_efficiency / (1.0 + work.hidden),
    }
}

fn times(device: &Device, work: &Work, dtype: DType) -> (Nanos, Nanos) {
    let other = Flops(work.flops.0 - work.matmul_flops.0) / FlopsPerSec(device.fp32.0 * device.clock());
    (matrix_time(device, work, dtype) + other, memory_time(device, work.bytes))
}

/// Time of what matrix units can do.
fn matrix_time(device: &Device, work: &Work, dtype: DType) -> Nanos {
    let rate = peak_of(device, work, dtype).0 * matmul_efficiency(device, work, dtype) * device.clock();
    work.matmul_flops / FlopsPerSec(rate)
}

/// Time to move `bytes` to or from memory.
fn memory_time(device: &Device, bytes: Bytes) -> Nanos {
    bytes / BytesPerSec(device.memory_bandwidth.0 * device.memory_efficiency)
}

/// Output tiles that matmul libraries have, with the share of the rate that a full wave of them reaches: smaller
/// tiles read their inputs more often (NVIDIA, "Matrix multiplication background", section 4; CUTLASS' defaults).
const TILES: [([u64; 2], f64); 5] =
    [([256, 128], 1.0), ([128, 256], 1.0), ([128, 128], 0.95), ([128, 64], 0.85), ([64, 64], 0.7)];

/// Length of the contraction at which half of a tile's time goes into filling and draining its pipeline.
const PIPELINE_DEPTH: f64 = 96.0;

/// The share of the best rate that a matmul reaches: padding of tiles, the last wave that is not full, and a
/// contraction that is short, with the tile that does best. Matmuls of a group share their waves.
///
/// Where the multiprocessors are not known, as of a device that was measured here, only padding counts: its rate was
/// measured with its own kernels on a matmul of like size.
fn tile_efficiency(device: &Device, [m, n, k]: [u64; 3], groups: u64, dtype: DType) -> f64 {
    if let Some(rates) = &device.shaders {
        let depth = if dtype.size() == 2 { rates.half_depth.unwrap_or(rates.depth) } else { rates.depth };
        let depth = k as f64 / (k as f64 + depth);
        return filled(u64::from(rates.at_once), [m, n], groups, rates.tile.map(u64::from)) * depth;
    }
    if device.multiprocessors == 0 {
        return padding_efficiency([m, n]);
    }
    let depth = k as f64 / (k as f64 + PIPELINE_DEPTH);
    let best = TILES
        .iter()
        .map(|&(tile, share)| share * filled(u64::from(device.multiprocessors), [m, n], groups, tile))
        .fold(0.0, f64::max);
    (best * depth).max(1e-3)
}

/// The share of `at_once` workgroups' time in which those of this project's product, which have a `tile` each, compute what
/// is asked for, of a square result.
pub fn tiles_filled(at_once: u32, side: u32, tile: [u32; 2]) -> f64 {
    filled(u64::from(at_once), [u64::from(side); 2], 1, tile.map(u64::from))
}

/// The share of a tiled matmul's work that is not padding. Small matmuls use smaller tiles, so a side counts at most
/// four times its length.
fn padding_efficiency([m, n]: [u64; 2]) -> f64 {
    let tile = TILES[2].0[0];
    let side = |length: u64| length as f64 / (length.next_multiple_of(tile.min(length.next_power_of_two())) as f64);
    (side(m.max(1)) * side(n.max(1))).max(1.0 / 16.0)
}

/// The share of the multiprocessors' time in which tiles compute what is asked for.
fn filled(multiprocessors: u64, [m, n]: [u64; 2], groups: u64, [rows, cols]: [u64; 2]) -> f64 {
    let tiles = groups * m.div_ceil(rows) * n.div_ceil(cols);
    let slots = tiles.next_multiple_of(multiprocessors.max(1));
    (groups * m * n) as f64 / (slots * rows * cols) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn a_large_matmul_reaches_the_stated_efficiency_and_no_more() {
        let scenario = Scenario::preset("gpt3-175b-1024xa100").expect("a preset");
        let device = &scenario.cluster().device;
        reaches(&Device { multiprocessors: 0, ..device.clone() }, 0.99);
        // 2048 tiles in 19 waves of 108, and a contraction of 8192 with a pipeline of 96.
        reaches(device, 0.99 * 2048.0 / 2052.0 * 8192.0 / 8288.0);
    }

    fn reaches(device: &Device, least: f64) {
        let flops = Flops(2.0 * 8192.0_f64.powi(3));
        let work = Work {
            flops,
            matmul_flops: flops,
            bytes: Bytes(3 * 8192 * 8192 * 2),
            matmul: Some([8192; 3]),
            groups: 1,
            ..Work::default()
        };
        let rate = flops.0 / kernel_time(device, &work, DType::Bf16).secs();
        let share = rate / device.bf16_matmul.0;
        assert!(share <= device.matmul_efficiency && share > least * device.matmul_efficiency, "{share}");
        assert_eq!(kernel_bound(device, &work, DType::Bf16), Bound::Compute);
    }

    #[test]
    fn a_vocabulary_that_is_no_multiple_of_eight_slows_the_head_down() {
        let scenario = Scenario::preset("gpt2-124m-8xa100").expect("a preset");
        let device = &scenario.cluster().device;
        let head = |vocab: u64| {
            let flops = Flops(2.0 * 4096.0 * 1024.0 * vocab as f64);
            let aligned = 1 << (vocab * 2).trailing_zeros().min(4);
            Work {
                flops,
                matmul_flops: flops,
                matmul: Some([4096, vocab, 1024]),
                groups: 1,
                aligned,
                ..Work::default()
            }
        };
        let time = |vocab| kernel_time(device, &head(vocab), DType::Bf16).secs();
        assert!(time(50_257) > 2.0 * time(50_304), "an odd one");
        assert!(time(50_258) > 1.2 * time(50_304), "an even one");
        assert!(time(50_264) < time(50_304) * 1.02, "a multiple of eight");
    }

    #[test]
    fn padding_costs_what_it_computes() {
        assert!((filled(108, [128, 128], 1, [128, 128]) - 1.0 / 108.0).abs() < 1e-12, "one tile on one of 108");
        assert!((filled(108, [128 * 108, 128], 1, [128, 128]) - 1.0).abs() < 1e-12, "a full wave");
        assert!((filled(108, [128 * 109, 128], 1, [128, 128]) - 109.0 / 216.0).abs() < 1e-12, "one tile too many");
        assert!((padding_efficiency([129, 128]) - 129.0 / 256.0).abs() < 1e-12, "half of the rows are padding");
    }
}
