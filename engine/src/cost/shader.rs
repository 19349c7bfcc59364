//! What this project's shaders make of an op: how often they are called, how many workgroups they start, and how many
//! words they read and write.
//!
//! A device that was measured here runs these kernels. They differ from what a roofline takes for granted: a norm has an
//! invocation for each row, so that few rows fill few multiprocessors; it reads a row as often as it goes through it; and
//! every kernel call costs its launch. The numbers are counted in `shaders/`, whose files bear the names of the kernels.

use super::Work;
use crate::cluster::{Device, ShaderRates};
use crate::graph::{Collective, CompressionStep, DType, Dims, Op, OpKind, Tensor, TensorId};
use crate::scenario::Optimizer;
use crate::scenario::optimizer::NEWTON_SCHULZ_ITERATIONS;
use crate::units::{Bytes, BytesPerSec, FlopsPerSec, Nanos};

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
    /// Whether its products are not those of the matrix kernels: they count as other operations.
    pub scalar: bool,
}

/// Invocations of a workgroup.
const WORKGROUP: u64 = 64;

/// Rows and columns of a result that a workgroup of the default matrix product computes.
pub const TILE: [u64; 2] = [64, 32];

/// Queries of an invocation of attention.
const QUERIES: u64 = 8;

/// Queries, or keys, of an invocation of its gradients.
const OWN: u64 = 4;

/// Columns that a workgroup shares.
const SHARED_COLUMNS: u64 = 8;

/// Elements of a result of a convolution that an invocation computes.
const OF_QUADS: u64 = 16;

/// Iterations of Muon.
const ITERATIONS: f64 = NEWTON_SCHULZ_ITERATIONS as f64;

/// Classes of ids, each of which reads all tokens.
const CLASSES: f64 = 16.0;

/// Rows and columns of a result that an invocation of a matrix product computes from each number that it reads.
const MATMUL_TILE: [f64; 2] = [8.0, 4.0];

/// Operations of a counter's random numbers: ten rounds of two products in two words each.
const PHILOX: f64 = 280.0;

/// Operations that read a state in eight bits and write it, with the search of its code.
const EIGHT_BITS: f64 = 40.0;

/// How often every element is read until the largest are known.
const SELECTED: f64 = 6.0;

/// Operations of an integer division, which devices do in software; of an angle with its sine and cosine.
const DIVISION: f64 = 4.0;
const ANGLE: f64 = 24.0;

impl Calls {
    fn of(invocations: u64, words: f64) -> Self {
        Self {
            count: 1,
            workgroups: invocations.div_ceil(WORKGROUP).max(1),
            words,
            halves: 0.0,
            operations: 0.0,
            scalar: false,
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

/// What the shaders make of `op`, on a device with these rates.
pub fn calls(rates: &ShaderRates, dims: &Dims, tensors: &[Tensor], op: &Op) -> Calls {
    let calls = of_kernels(dims, tensors, op);
    let calls = if rates.shared { shared(tensors, op, calls) } else { calls };
    let mut elements = [0, 0];
    for tensor in op.reads.iter().chain(&op.writes).map(|id| &tensors[id.index()]) {
        elements[usize::from(tensor.dtype.size() == 2)] += tensor.local.elements();
    }
    let [whole, halves] = elements.map(|elements| elements as f64);
    // As if all that an op touches were touched alike.
    Calls { halves: calls.words * halves / (whole + halves).max(1.0), ..calls }
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

fn of_kernels(dims: &Dims, tensors: &[Tensor], op: &Op) -> Calls {
    let shape = |ids: &[TensorId], at: usize| ids.get(at).map(|id| tensors[id.index()].local);
    let size = |ids: &[TensorId], at: usize| shape(ids, at).map_or(0, |local| local.elements());
    let rows = |ids: &[TensorId], at: usize| shape(ids, at).map_or(0, |local| u64::from(local.rows));
    let cols = |ids: &[TensorId], at: usize| shape(ids, at).map_or(0, |local| u64::from(local.cols));
    let (reads, writes) = (&op.reads[..], &op.writes[..]);
    let written = size(writes, 0);
    let read = size(reads, 0);
    let each = |words: f64| Calls::of(written, written as f64 * words);
    let divided = |words: f64, divisions: f64| each(words).with(written as f64 * divisions * DIVISION);
    let by_row = |words: f64| Calls::of(rows(reads, 0), read as f64 * words);
    let elements_of =
        |ids: &[TensorId]| -> Vec<u64> { ids.iter().map(|id| tensors[id.index()].local.elements()).collect() };
    let by_column = |words: f64| Calls::of(cols(reads, 0), read as f64 * words);
    match op.kind {
        OpKind::Fill(_) => each(1.0),
        OpKind::Add | OpKind::Accumulate => each(3.0),
        OpKind::Residual { bias } if writes.len() > 1 => {
            drawn(divided(if bias { 6.25 } else { 3.25 }, f64::from(u8::from(bias))), written)
        }
        OpKind::Residual { bias } => divided(if bias { 6.0 } else { 3.0 }, f64::from(u8::from(bias))),
        OpKind::Norm => by_row(if dims.layer_norm { 6.0 } else { 4.0 }),
        OpKind::NormGrad => by_row(7.0),
        OpKind::NormGradParameters => by_column(if dims.layer_norm { 4.0 } else { 3.0 }),
        OpKind::ColumnSum => by_column(1.0),
        OpKind::Rope { .. } => {
            let pairs = written as f64 / 2.0;
            Calls::of(written / 2, pairs * 4.0).with(pairs * (ANGLE + 3.0 * DIVISION))
        }
        OpKind::LatentJoin => Calls::of(written / u64::from(2 * dims.head_dim + dims.value_dim), written as f64 * 2.5)
            .with(cols(reads, 2) as f64 * rows(reads, 2) as f64 * ANGLE),
        OpKind::LatentJoinGrad => {
            Calls::of(written / u64::from(dims.head_dim), read as f64 * 2.0).with(size(writes, 2) as f64 * ANGLE)
        }
        OpKind::Embedding => divided(4.0, 2.0),
        OpKind::Position => divided(3.0, 3.0),
        OpKind::EmbeddingGrad => {
            // Every class goes through all ids, and one of them does the work.
            let (cols, done) = (cols(reads, 1), size(reads, 1) as f64);
            Calls::of(cols * 16, done * (CLASSES + 4.0)).with(done * CLASSES * 2.0)
        }
        OpKind::PositionGrad => divided(2.0, 2.0),
        OpKind::Gelu => each(2.0),
        OpKind::SwiGlu | OpKind::GeluGrad | OpKind::Gate => each(3.0),
        OpKind::Silu => each(2.0),
        OpKind::SwiGluGrad => Calls::of(written / 2, written as f64 * 2.5),
        OpKind::SiluGrad => Calls::of(written / 2, written as f64 * 2.0),
        OpKind::GateGrad => each(5.0),
        OpKind::RowMax => by_row(1.0),
        OpKind::SumExp => by_row(2.0),
        OpKind::CrossEntropyGrad => divided(6.0, 2.0),
        // One workgroup, whose invocations add up at its end.
        OpKind::SumSquares { .. } => Calls { workgroups: 1, ..Calls::of(1, read as f64) },
        OpKind::CrossEntropy => Calls { workgroups: 1, ..Calls::of(1, read as f64) },
        // The norm, then three products and two sums in each iteration; the products count by themselves.
        OpKind::Orthogonalize => each(3.0 + ITERATIONS * 6.0).times(1 + 5 * NEWTON_SCHULZ_ITERATIONS),
        OpKind::Update { optimizer: Optimizer::Muon, sliced: false, .. } => {
            each(20.0 + ITERATIONS * 6.0).times(3 + 5 * NEWTON_SCHULZ_ITERATIONS)
        }
        // Rows, columns, then the update, which finds a row for every element.
        OpKind::Update { optimizer: Optimizer::Adafactor, .. } => divided(14.0, 2.0).times(3),
        OpKind::FactorSums => by_row(2.0).with(read as f64 * 4.0),
        // A workgroup for each block of states.
        OpKind::Update { optimizer: Optimizer::Adam8Bit, .. } => each(14.0).with(written as f64 * EIGHT_BITS),
        // The gradient, its norm, eight numbers of the optimizer, and a parameter with its state twice, for every push.
        OpKind::Update { times, .. } => {
            let pushes = times.max(1);
            let one = each(10.0 + 2.0 * writes.len() as f64);
            one.reading(one.words * f64::from(pushes)).times(pushes)
        }
        // For each parameter a copy and a difference; then three blends and a copy, or two.
        OpKind::OuterGradient => of_parameters(&elements_of(&writes[1..]), 5.0, 2),
        OpKind::OuterStep { .. } => {
            let copies =
                u32::try_from(writes.len().saturating_sub(2) / reads.len().saturating_sub(1).max(1)).unwrap_or(3);
            of_parameters(&elements_of(&reads[1..]), 5.0 + 2.0 * f64::from(copies), 1 + copies)
        }
        OpKind::Compression(step) => match step {
            CompressionStep::Narrow => each(2.0).reading(2.0 * read as f64),
            CompressionStep::Widen { parts } => each(1.0 + f64::from(parts)),
            // One workgroup finds the least of the largest, digit by digit.
            CompressionStep::Select => Calls { workgroups: 1, ..Calls::of(1, read as f64 * SELECTED) },
            CompressionStep::Scatter { ranks } => each(1.0 + 4.0 * f64::from(ranks)).times(1 + ranks),
            CompressionStep::Project { rank } | CompressionStep::Reproject { rank } => {
                let calls = Calls::of(written.max(read), 3.0 * read as f64 + read as f64 * f64::from(rank));
                calls.times(u32::try_from(reads.len()).unwrap_or(1))
            }
            // A workgroup for each matrix goes over its columns.
            CompressionStep::Orthogonalize { rank } => {
                let matrices = u32::try_from(reads.len()).unwrap_or(1).max(1);
                let words = written as f64 * f64::from(rank + 1) * 2.0;
                Calls { count: matrices, workgroups: matrices.into(), ..Calls::of(1, words) }
            }
            CompressionStep::Expand { rank, .. } => {
                let calls = Calls::of(written, written as f64 * (5.0 + f64::from(rank)));
                calls.times(2 * u32::try_from(writes.len()).unwrap_or(1))
            }
        },
        OpKind::HostUpdate { .. } => {
            let stays = writes.len() > 3;
            let calls = each(16.0 + if stays { 2.0 } else { 0.0 });
            if stays { calls.times(2) } else { calls }
        }
        OpKind::ToHost | OpKind::FromHost | OpKind::KeysValues | OpKind::KeysValuesGrad => divided(2.0, 1.0),
        OpKind::Route => {
            let (experts, chosen) = (read as f64, cols(writes, 0) as f64);
            Calls { count: 2, ..Calls::of(rows(reads, 0), experts * (chosen + 1.0) + experts * 2.0) }
        }
        OpKind::RouteGrad => by_row(2.0),
        OpKind::Dispatch => moved_rows(written, read * cols(reads, 1).max(1)),
        OpKind::DispatchGrad => {
            let chosen = cols(reads, 1).max(1) as f64;
            divided(1.0 + 2.0 * chosen, 1.0 + chosen)
        }
        OpKind::Combine => {
            let chosen = cols(reads, 2).max(1) as f64;
            divided(1.0 + 3.0 * chosen, 1.0 + chosen)
        }
        OpKind::CombineGrad => {
            let tokens = size(reads, 3) * cols(reads, 2).max(1);
            let moved = moved_rows(written, tokens);
            Calls { count: 3, words: moved.words + tokens as f64 * 2.0, ..moved }
        }
        // Four pixels by four channels of an invocation share what they read: eight words of sixteen products.
        OpKind::Convolution(window) => {
            let products = written * u64::from(window.side).pow(2) * cols(reads, 0);
            Calls::of(written / OF_QUADS, products as f64 / 2.0).scalar()
        }
        OpKind::ConvolutionInputGrad(window) => {
            let products = written * u64::from(window.side).pow(2) * cols(reads, 0);
            Calls::of(written / OF_QUADS, products as f64 / 2.0).scalar()
        }
        OpKind::ConvolutionWeightGrad(_) => Calls::of(written / OF_QUADS, (rows(reads, 1) * written) as f64 / 2.0),
        // A workgroup for each channel; every invocation adds up all sums.
        OpKind::BatchNorm | OpKind::BatchNormGrad => {
            let channels = if op.kind == OpKind::BatchNorm { cols(reads, 0) } else { cols(reads, 3) };
            let passes = if op.kind == OpKind::BatchNorm { 6.0 } else { 8.0 };
            let sums = (channels * WORKGROUP * WORKGROUP * 2) as f64;
            Calls { workgroups: channels, ..Calls::of(1, read as f64 * passes + sums) }
        }
        // A workgroup for each group of an image, or for each channel.
        OpKind::GroupNorm(_) | OpKind::GroupNormGrad(_) | OpKind::GroupNormGradParameters(_) => {
            let (workgroups, passes) = match op.kind {
                OpKind::GroupNorm(_) => (rows(writes, 1), 6.0),
                OpKind::GroupNormGrad(_) => (rows(reads, 2), 9.0),
                _ => (cols(reads, 0), 5.0),
            };
            let sums = (workgroups * WORKGROUP * WORKGROUP * 2) as f64;
            let calls = Calls { workgroups, ..Calls::of(1, read as f64 * passes + sums) };
            calls.with(read as f64 * passes * DIVISION)
        }
        // The scale of all numbers, then four of them for each word.
        OpKind::Cast if writes.first().is_some_and(|id| tensors[id.index()].dtype.size() == 1) => {
            let calls = Calls::of(written.div_ceil(4), 2.0 * read as f64 + written as f64 / 4.0);
            Calls { count: 2, ..calls }
        }
        OpKind::Pool(window) => {
            let seen = (u64::from(window.side).pow(2)) as f64;
            divided(1.0 + seen, 4.0).with(written as f64 * seen * 4.0)
        }
        OpKind::PoolGrad(window) => {
            let seen = (u64::from(window.side).pow(2)) as f64;
            divided(2.0 + 2.0 * seen, 4.0).with(written as f64 * seen * 4.0 * DIVISION)
        }
        // Every row of a table goes through all lookups, once to find whether it is one of them, twice for every four
        // columns.
        OpKind::EmbeddingBagUpdate => {
            let (width, tables) = (cols(writes, 0), (rows(reads, 1) / u64::from(dims.batch).max(1)).max(1));
            let through = (rows(writes, 0) * read) as f64 / tables as f64;
            let words = through * (1.0 + 2.0 * width.div_ceil(4) as f64);
            let calls = Calls::of(rows(writes, 0), words).with(through * 2.0 * DIVISION);
            Calls { count: u32::try_from(tables).unwrap_or(1), ..calls }
        }
        OpKind::Interaction => divided(2.0 * size(reads, 0) as f64 / rows(reads, 0).max(1) as f64, 2.0).scalar(),
        OpKind::InteractionGrad => {
            let vectors = (written + size(writes, 1)) as f64;
            let of_sample = (size(reads, 1) / size(reads, 0).max(1) + 1) as f64;
            Calls::of(written + size(writes, 1), vectors * 2.0 * of_sample)
                .with(vectors * of_sample * DIVISION)
                .scalar()
        }
        OpKind::EmbeddingBag => {
            let tables = size(writes, 0) / u64::from(dims.hidden * dims.batch).max(1);
            let looked_up = (read * cols(writes, 0)) as f64;
            let calls = Calls::of(written, looked_up * 2.0 + written as f64);
            Calls { count: u32::try_from(tables.max(1)).unwrap_or(1), ..calls }
        }
        OpKind::Matmul { .. } | OpKind::GroupedMatmul { .. } => {
            // As many products as the sides of all three matrices have in common.
            let products = (read as f64 * size(reads, 1) as f64 * written as f64).sqrt();
            let decoded = |at: usize| reads.get(at).map_or(0.0, |id| decoding(tensors[id.index()].dtype));
            Calls::of(written, 0.0).with(products * (decoded(0) / MATMUL_TILE[1] + decoded(1) / MATMUL_TILE[0]))
        }
        // Attention whose scores are stored: both numbers of every product are read.
        OpKind::AttentionScores => {
            let products = written as f64 * f64::from(dims.head_dim);
            each(0.0).scalar().reading(products * 2.0)
        }
        OpKind::AttentionValues => {
            let products = read as f64 * f64::from(dims.value_dim);
            each(0.0).scalar().reading(products * 2.0)
        }
        OpKind::AttentionValuesGrad | OpKind::AttentionScoresGrad => {
            let width = if op.kind == OpKind::AttentionScoresGrad { dims.head_dim } else { dims.value_dim };
            let products = 2.0 * read as f64 * f64::from(width);
            let count = if op.kind == OpKind::AttentionScoresGrad { 1 } else { 2 };
            each(0.0).scalar().reading(products * 2.0).times(count)
        }
        // A row has a part for each head, with a maximum and a sum of its own.
        OpKind::AttentionSoftmax => Calls::of(read / u64::from(dims.sequence).max(1), read as f64 * 4.0),
        OpKind::AttentionSoftmaxGrad => Calls::of(read / u64::from(dims.sequence).max(1), read as f64 * 5.0),
        OpKind::Dropout => drawn(each(2.25), written),
        OpKind::DropoutGrad => each(2.25),
        OpKind::Attention | OpKind::ContextAttention { .. } => Calls::of(size(writes, 1) / QUERIES, 0.0),
        OpKind::AttentionGrad => Calls::of(size(writes, 1) / OWN, 0.0).times(3),
        OpKind::ContextAttentionGrad { .. } => Calls::of(size(writes, 2) / OWN, 0.0).times(3),
        // Every value is copied to the next.
        OpKind::Rotate => divided(2.0, 1.0).times(u32::try_from(writes.len()).unwrap_or(1)),
        _ => each(reads.len() as f64 + 1.0),
    }
}

/// So many words of every element of some parameters, each by calls of its own.
fn of_parameters(elements: &[u64], words: f64, calls: u32) -> Calls {
    let all: u64 = elements.iter().sum();
    let workgroups = elements.iter().map(|n| n.div_ceil(WORKGROUP).max(1)).sum::<u64>() * u64::from(calls);
    let count = u32::try_from(elements.len()).unwrap_or(1).max(1) * calls;
    Calls { count, workgroups, ..Calls::of(1, all as f64 * words) }
}

/// The same with a random number for every element: ten rounds for four of them, and divisions that find its place.
fn drawn(calls: Calls, elements: u64) -> Calls {
    Calls { operations: calls.operations + elements as f64 * (PHILOX / 4.0 + 4.0 * DIVISION), ..calls }
}

/// Operations that widen a number of fewer than 16 bits, with its scale.
fn decoding(dtype: DType) -> f64 {
    match dtype {
        DType::F8 | DType::F8Gradient => 8.0,
        DType::F8Block => 14.0,
        DType::F4 => 36.0,
        _ => 0.0,
    }
}

/// Rows that are cleared, then copied as far as tokens go to them.
fn moved_rows(cleared: u64, copied: u64) -> Calls {
    let words = cleared as f64 + copied as f64 * 4.0;
    let both = Calls::of(copied, words).with(copied as f64 * 3.0 * DIVISION);
    Calls { count: 2, workgroups: both.workgroups + cleared.div_ceil(WORKGROUP), ..both }
}

/// Time of an op by its own measure: launches, then what is longer, moving bytes or what the workgroups do, as far as they
/// fill the device.
pub fn time(device: &Device, rates: &ShaderRates, work: &Work, calls: &Calls, matrix: Nanos, memory: Nanos) -> Nanos {
    let slots = f64::from(rates.at_once.max(1));
    let starting = rates.workgroup.secs() * calls.workgroups as f64 / slots;
    let accesses = (calls.words - calls.halves) / rates.words_per_second + calls.halves / rates.halves_per_second;
    let products = if calls.scalar { 0.0 } else { work.matmul_flops.0 };
    let operations = (work.flops.0 - products + calls.operations) / FlopsPerSec(device.fp32.0).0;
    let busy =
        (starting + accesses + operations) / filled(rates, calls) + if calls.scalar { 0.0 } else { matrix.secs() };
    launches(device, rates, calls) + Nanos::from_secs(busy.max(memory.secs()))
}

/// A member's share of a collective between ranks that share a device: its chunks are copied, and
/// reduced where they arrive (`exec::collectives`), at the rate of copies.
pub fn exchange(
    device: &Device,
    rates: &ShaderRates,
    rate: BytesPerSec,
    collective: Collective,
    bytes: Bytes,
    ranks: u32,
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
    beginning + next * i64::from(copies + reductions) + Nanos::from_secs(moving)
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

    /// Two workgroups at once, a billion words a second, and nothing else that costs time.
    fn device(at_once: u32) -> Device {
        let scenario = Scenario::preset("gpt2-124m-8xa100").expect("a preset");
        let rates = ShaderRates {
            at_once,
            workgroup: Nanos::ZERO,
            words_per_second: 1e9,
            halves_per_second: 1e9,
            chained: Nanos::ZERO,
            shared: false,
            depth: 0.0,
        };
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
}
