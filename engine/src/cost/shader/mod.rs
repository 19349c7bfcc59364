//! What this project's shaders make of an op: how often they are called, how many workgroups they start, and how many
//! words they read and write.
//!
//! A device that was measured here runs these kernels. They differ from what a roofline takes for granted: a norm has an
//! invocation for each row, so that few rows fill few multiprocessors; it reads a row as often as it goes through it; and
//! every kernel call costs its launch. The numbers are counted in `shaders/`, whose files bear the names of the kernels.

mod compression;
mod kernels;

use super::Work;
use crate::cluster::{Device, ShaderRates, ShortRates};
use crate::graph::{Collective, DType, Dims, Op, OpKind, Tensor, TensorId};
use crate::units::{Bytes, BytesPerSec, Nanos};

/// The kernel calls of an op.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calls {
    /// How many one after the other.
    pub count: u32,
    /// Workgroups of all calls.
    pub workgroups: u64,
    /// Numbers that all invocations read or write, a word of four bytes each, but for `halves`.
    pub words: f64,
    /// Those of them that have 16 bits.
    pub halves: f64,
    /// Operations beside those of [`Work::flops`]: divisions that find a row, angles.
    pub operations: f64,
    /// Multiplications and additions in the matrix kernels besides those of [`Work::matmul_flops`], with what fills up tiles.
    pub products: f64,
    /// Whether [`Work::flops`] is in `operations` and `products` already.
    pub counted: bool,
    /// Whether its products are not those of the matrix kernels: they count as other operations.
    pub scalar: bool,
    /// Time, on a device that is full of them, in which numbers of fewer than 16 bits are widened and rounded.
    pub converting: Nanos,
    /// Rate of its products as a share of what such kernels reach otherwise.
    pub share: f64,
}

/// Invocations of a workgroup.
const WORKGROUP: u64 = 64;

/// Queries, or keys, of an invocation of attention's gradients.
const OWN: u64 = 4;

/// Columns that a workgroup shares.
const SHARED_COLUMNS: u64 = 8;

impl Calls {
    fn of(invocations: u64, words: f64) -> Self {
        Self {
            count: 1,
            workgroups: invocations.div_ceil(WORKGROUP).max(1),
            words,
            halves: 0.0,
            operations: 0.0,
            products: 0.0,
            counted: false,
            scalar: false,
            converting: Nanos::ZERO,
            share: 1.0,
        }
    }

    fn times(self, count: u32) -> Self {
        Self { count, workgroups: self.workgroups * u64::from(count), ..self }
    }

    fn scalar(self) -> Self {
        Self { scalar: true, ..self }
    }

    fn reading(self, words: f64) -> Self {
        Self { words, ..self }
    }

    fn with(self, operations: f64) -> Self {
        Self { operations, ..self }
    }
}

impl Calls {
    /// Whether one multiprocessor may do all of it before others are awake: a call without products of the matrix kernels,
    /// on a device of which it is known how long that takes.
    pub fn may_be_alone(&self, rates: &ShaderRates, work: &Work) -> bool {
        rates.alone > Nanos::ZERO && self.count == 1 && (self.scalar || work.matmul_flops.0 == 0.0)
    }
}

/// What the shaders make of `op`, on a device with these rates.
pub fn calls(rates: &ShaderRates, dims: &Dims, tensors: &[Tensor], op: &Op) -> Calls {
    let calls = kernels::of_kernels(rates, dims, tensors, op);
    let calls = if rates.shared { shared(tensors, op, calls) } else { calls };
    let mut elements = [0, 0];
    for tensor in op.reads.iter().chain(&op.writes).map(|id| &tensors[id.index()]) {
        elements[usize::from(tensor.dtype.size() == 2)] += tensor.local.elements();
    }
    let [whole, halves] = elements.map(|elements| elements as f64);
    // As if all that an op touches were touched alike.
    let calls = Calls { halves: calls.words * halves / (whole + halves).max(1.0), ..calls };
    Calls { share: share(rates, tensors, op), ..converted(rates, tensors, op, calls) }
}

/// How fast the products of an op are, as a share of what is measured of such.
fn share(rates: &ShaderRates, tensors: &[Tensor], op: &Op) -> f64 {
    let in_halves = op.reads.iter().any(|id| tensors[id.index()].dtype.size() == 2);
    match op.kind {
        OpKind::AttentionGrad | OpKind::ContextAttentionGrad { .. } => {
            rates.attention_gradient * if in_halves { rates.half_attention_gradient } else { 1.0 }
        }
        OpKind::Attention | OpKind::ContextAttention { .. } if in_halves => rates.half_attention,
        _ => 1.0,
    }
}

/// Numbers of fewer than 16 bits: those that a cast writes are made in two passes, or one, whose rate was measured with what
/// they read; those that are read are widened, in a matrix product as often as an invocation has other rows, or columns.
fn converted(rates: &ShaderRates, tensors: &[Tensor], op: &Op, calls: Calls) -> Calls {
    let tensor = |ids: &[TensorId], at: usize| ids.get(at).map(|id| &tensors[id.index()]);
    if let Some((to, from)) = tensor(&op.writes, 0).zip(tensor(&op.reads, 0)).filter(|_| op.kind == OpKind::Cast)
        && let Some(short) = short_rates(rates, to.dtype)
    {
        let converting = Nanos::from_secs(from.local.elements() as f64 / short.encoded_per_second);
        return Calls { words: 0.0, halves: 0.0, converting, ..calls };
    }
    let mut seconds = 0.0;
    let mut operations = 0.0;
    for (at, read) in op.reads.iter().map(|id| &tensors[id.index()]).enumerate() {
        let numbers = match op.kind {
            OpKind::Matmul { .. } | OpKind::GroupedMatmul { .. } if at < 2 => products(tensors, op) * rates.reads()[at],
            _ => read.local.elements() as f64,
        };
        match short_rates(rates, read.dtype) {
            Some(short) => seconds += numbers / short.decoded_per_second,
            None => operations += numbers * decoding(read.dtype),
        }
    }
    Calls { converting: Nanos::from_secs(seconds), operations: calls.operations + operations, ..calls }
}

/// A product with `m` rows, `n` columns and sums of `k` terms: of tiles that are filled up.
fn product(rates: &ShaderRates, [m, n, k]: [u32; 3]) -> Calls {
    let [rows, cols] = rates.tile.map(|side| u64::from(side.max(1)));
    let tiles = u64::from(m).div_ceil(rows) * u64::from(n).div_ceil(cols);
    let products = 2.0 * (tiles * rows * cols) as f64 * (f64::from(k) + rates.depth);
    Calls { products, ..Calls::of(tiles * WORKGROUP, 0.0) }
}

/// Products of a matrix product: as many as the sides of all three matrices have in common.
fn products(tensors: &[Tensor], op: &Op) -> f64 {
    let elements = |id: &TensorId| tensors[id.index()].local.elements() as f64;
    op.reads.iter().take(2).chain(op.writes.first()).map(elements).product::<f64>().sqrt()
}

/// How fast numbers of a type are converted; none where that needs nothing, and where it has not been measured.
fn short_rates(rates: &ShaderRates, dtype: DType) -> Option<ShortRates> {
    match dtype {
        DType::F8 | DType::F8Gradient => rates.fp8,
        DType::F8Block => rates.fp8_block,
        DType::F4 => rates.nvfp4,
        _ => None,
    }
}

/// The same by workgroups that share what one invocation has otherwise (`Family::shared`).
fn shared(tensors: &[Tensor], op: &Op, calls: Calls) -> Calls {
    let local = |ids: &[TensorId], at: usize| ids.get(at).map(|id| tensors[id.index()].local);
    let [rows, cols] = local(&op.reads, 0).map_or([1, 1], |local| [local.rows, local.cols].map(u64::from));
    let heads = |at: usize| local(&op.writes, at).map_or(1, |local| local.elements());
    let workgroups = match op.kind {
        OpKind::Norm | OpKind::NormGrad | OpKind::RowMax | OpKind::SumExp => rows,
        OpKind::NormGradParameters | OpKind::ColumnSum => cols.div_ceil(SHARED_COLUMNS),
        OpKind::Attention | OpKind::ContextAttention { .. } => heads(1).div_ceil(OWN),
        OpKind::AttentionGrad => heads(1).div_ceil(OWN) * u64::from(calls.count),
        OpKind::ContextAttentionGrad { .. } => heads(2).div_ceil(OWN) * u64::from(calls.count),
        // Its workgroup is four times as large as others.
        OpKind::SumSquares { .. } | OpKind::CrossEntropy => return Calls { words: calls.words / 4.0, ..calls },
        _ => return calls,
    };
    Calls { workgroups: workgroups.max(1), ..calls }
}

/// Operations that widen a number of fewer than 16 bits, with its scale, where their rate has not been measured.
fn decoding(dtype: DType) -> f64 {
    match dtype {
        DType::F8 | DType::F8Gradient => 8.0,
        DType::F8Block => 14.0,
        DType::F4 => 36.0,
        _ => 0.0,
    }
}

/// Time of an op by its own measure: launches, then what is longer, moving bytes or what the workgroups do, as far as they
/// fill the device.
pub fn time(device: &Device, rates: &ShaderRates, work: &Work, calls: &Calls, matrix: Nanos, memory: Nanos) -> Nanos {
    let slots = f64::from(rates.at_once.max(1));
    let starting = rates.workgroup.secs() * calls.workgroups as f64 / slots;
    let accesses = (calls.words - calls.halves) / rates.words_per_second + calls.halves / rates.halves_per_second;
    let products = if calls.scalar { 0.0 } else { work.matmul_flops.0 };
    let others = if calls.counted { 0.0 } else { work.flops.0 - products };
    let operations = (others + calls.operations) / device.fp32.0 + calls.products / device.fp32_matmul.0;
    let full = starting + accesses + operations + calls.converting.secs();
    let busy = full / filled(rates, calls) + if calls.scalar { 0.0 } else { matrix.secs() };
    let together = launches(device, rates, calls) + Nanos::from_secs(busy.max(memory.secs()));
    let alone = rates.alone + Nanos::from_secs((full * slots).max(memory.secs()));
    // Who is woken last may find that nothing is left to do.
    if calls.may_be_alone(rates, work) { together.min(alone) } else { together }
}

/// A member's share of a collective between ranks that share a device: its chunks are copied, and
/// reduced where they arrive (`exec::collectives`), at the rate of copies, each in so many `runs`.
pub fn exchange(
    device: &Device,
    rates: &ShaderRates,
    rate: BytesPerSec,
    collective: Collective,
    bytes: Bytes,
    [ranks, runs]: [u32; 2],
) -> Nanos {
    let others = ranks.saturating_sub(1);
    let chunk = bytes.as_f64() / f64::from(ranks.max(1));
    // A reduction reads two values and writes one where a copy reads one.
    let (copies, reductions, moved) = match collective {
        Collective::AllReduce(_) => (2 * others, others, chunk),
        Collective::ReduceScatter => (ranks, others, chunk),
        Collective::AllGather
        | Collective::Pull
        | Collective::AllToAll
        | Collective::AllToAllOnce { .. }
        | Collective::Push => (ranks, 0, chunk),
        Collective::Shift => (1, 0, bytes.as_f64()),
    };
    let moving = moved * (f64::from(copies) + 1.5 * f64::from(reductions)) / rate.0;
    let next = chained(device, rates);
    // Its beginning is noted once for all members.
    let beginning = Nanos((device.launch_overhead - next).max(Nanos::ZERO).0 / i64::from(ranks.max(1)));
    beginning + next * i64::from((copies + reductions) * runs.max(1)) + Nanos::from_secs(moving)
}

/// Time of a call behind another of the same op.
fn chained(device: &Device, rates: &ShaderRates) -> Nanos {
    if rates.chained > Nanos::ZERO { rates.chained } else { device.launch_overhead }
}

/// Time of the calls themselves.
pub fn launches(device: &Device, rates: &ShaderRates, calls: &Calls) -> Nanos {
    device.launch_overhead + chained(device, rates) * i64::from(calls.count.max(1) - 1)
}

/// The share of the device that the workgroups of a call keep busy until the last of them ends.
pub fn filled(rates: &ShaderRates, calls: &Calls) -> f64 {
    let of_call = (calls.workgroups / u64::from(calls.count.max(1))).max(1);
    let slots = u64::from(rates.at_once.max(1));
    of_call as f64 / of_call.next_multiple_of(slots) as f64
}

#[cfg(test)]
mod tests {
    use super::super::{kernel_time, work_on};
    use super::*;
    use crate::graph::{StepGraph, lower};
    use crate::scenario::Scenario;
    use crate::units::FlopsPerSec;

    /// Two workgroups at once, a billion words a second, and nothing else that costs time.
    fn device(at_once: u32) -> Device {
        let scenario = Scenario::preset("gpt2-124m-8xa100").expect("a preset");
        let rates = ShaderRates { at_once, words_per_second: 1e9, halves_per_second: 1e9, ..ShaderRates::UNMEASURED };
        Device {
            shaders: Some(rates),
            launch_overhead: Nanos(1000),
            fp32: FlopsPerSec(1e18),
            memory_bandwidth: BytesPerSec(1e18),
            ..scenario.cluster().device.clone()
        }
    }

    fn graph() -> StepGraph {
        lower(&Scenario::preset("tiny-gpt-dp2-tp2").expect("a preset"))
    }

    fn first(step: &StepGraph, kind: impl Fn(OpKind) -> bool) -> &Op {
        let stages = step.stages.iter().flat_map(|stage| stage.segments.iter());
        stages.flat_map(|segment| segment.ops()).find(|op| kind(op.kind)).expect("the step has one")
    }

    #[test]
    fn a_norm_of_few_rows_leaves_multiprocessors_idle() {
        let step = graph();
        let norm = first(&step, |kind| kind == OpKind::NormGradParameters);
        let rates = device(1).shaders.expect("it was measured");
        let calls = calls(&rates, &step.dims, &step.tensors, norm);
        let columns = u64::from(step.tensor(norm.reads[0]).local.cols);
        assert_eq!(calls.workgroups, columns.div_ceil(64), "an invocation for each column");
        let time = |at_once| {
            let device = device(at_once);
            let work = work_on(&device, &step.dims, &step.tensors, norm);
            kernel_time(&device, &work, DType::F32) - device.launch_overhead
        };
        let (one, many) = (time(1), time(1024));
        let idle = 1024.0 / calls.workgroups as f64;
        assert!((many.secs() / one.secs() - idle).abs() < 0.01 * idle, "{one} and {many}");
        assert_eq!(one, Nanos::from_secs(calls.words / 1e9), "all words, one after the other");
    }

    #[test]
    fn every_kernel_call_costs_a_launch() {
        let step = graph();
        let gradient = first(&step, |kind| kind == OpKind::AttentionGrad);
        let device = Device { bf16_matmul: FlopsPerSec(1e18), fp32_matmul: FlopsPerSec(1e18), ..device(1) };
        let work = work_on(&device, &step.dims, &step.tensors, gradient);
        let time = kernel_time(&device, &work, DType::F32);
        assert!(time >= Nanos(3000) && time < Nanos(3100), "the sums of rows, then queries, then keys: {time}");
    }

    #[test]
    fn a_call_is_done_by_one_where_waking_others_takes_longer() {
        let step = graph();
        let norm = first(&step, |kind| kind == OpKind::NormGradParameters);
        let time = |alone: i64| {
            let mut device = device(2);
            device.shaders = device.shaders.map(|rates| ShaderRates { alone: Nanos(alone), ..rates });
            let work = work_on(&device, &step.dims, &step.tensors, norm);
            (kernel_time(&device, &work, DType::F32), work.calls.map_or(0.0, |calls| calls.words / 1e9))
        };
        let (together, seconds) = time(0);
        let serial = Nanos::from_secs(seconds * 2.0);
        assert_eq!(time(1).0, together.min(Nanos(1) + serial));
        assert_eq!(time(i64::from(u32::MAX)).0, together, "others are woken where that is faster");
    }

    #[test]
    fn short_numbers_are_converted_at_measured_rates() {
        let step = lower(&Scenario::preset("tiny-llama-nvfp4-dp2").expect("a preset"));
        let of_format = |op: &Op, at: usize| op.reads.get(at).map(|id| step.tensor(*id).dtype);
        let product = first(&step, |kind| matches!(kind, OpKind::Matmul { .. }));
        let rates = device(1).shaders.expect("it was measured");
        let short = ShortRates { decoded_per_second: 1e6, encoded_per_second: 1e5 };
        let measured = ShaderRates { nvfp4: Some(short), ..rates };
        assert_eq!([of_format(product, 0), of_format(product, 1)], [Some(DType::F4); 2]);
        let [assumed, counted] = [rates, measured].map(|rates| calls(&rates, &step.dims, &step.tensors, product));
        let widened = products(&step.tensors, product) * (1.0 / 4.0 + 1.0 / 8.0);
        assert_eq!((assumed.converting, counted.operations), (Nanos::ZERO, 0.0));
        assert_eq!(counted.converting, Nanos::from_secs(widened / 1e6));
        assert!((assumed.operations - widened * decoding(DType::F4)).abs() < 1.0);
    }
}
