//! The kernels of each op, as `exec::ops` calls them: the numbers are counted in `shaders/`, whose files bear their names.

use super::{Calls, WORKGROUP, compression, product};
use crate::cluster::ShaderRates;
use crate::graph::{Dims, Op, OpKind, Tensor, TensorId};
use crate::scenario::Optimizer;
use crate::scenario::optimizer::NEWTON_SCHULZ_ITERATIONS;

/// Elements of a result of a convolution that an invocation computes.
const OF_QUADS: u64 = 16;

/// Iterations of Muon.
const ITERATIONS: f64 = NEWTON_SCHULZ_ITERATIONS as f64;

/// Classes of ids, each of which reads all tokens.
const CLASSES: f64 = 16.0;

/// Operations of a counter's random numbers: ten rounds of two products in two words each.
const PHILOX: f64 = 280.0;

/// Operations that read a state in eight bits and write it, with the search of its code.
const EIGHT_BITS: f64 = 40.0;

/// Operations of an integer division, which devices do in software; of an angle with its sine and cosine.
const DIVISION: f64 = 4.0;
const ANGLE: f64 = 24.0;

/// Operations that find whether a lookup is of a row: its place, the bounds of that, and a comparison.
const OF_LOOKUP: f64 = 8.0;

/// Products of experts: their rows come from several ranks, one behind the other, and are multiplied rank by rank. So the
/// gradient of a weight begins anew for each of them, and what a rank sends fills tiles of its own.
///
/// What is more in that than one product over all rows counts as [`Calls::products`], in 16 bits as in 32: a beginning
/// takes about as long there.
fn of_experts(rates: &ShaderRates, dims: &Dims, tensors: &[Tensor], op: &Op, accumulate: bool) -> Calls {
    let [a, c] = [op.reads[0], op.writes[0]].map(|id| tensors[id.index()].local);
    let experts = dims.local_experts.max(1);
    let capacity = (dims.expert_capacity / dims.stream_ranks.max(1)).max(1);
    let times = (a.rows / (capacity * experts)).max(1);
    let of = |rows: u32, k: u32| product(rates, [rows, c.cols, k]).products * f64::from(experts);
    let more = if accumulate {
        of(a.cols, 0) * f64::from(times - 1)
    } else {
        of(capacity, a.cols) * f64::from(times) - of(capacity * times, a.cols)
    };
    let calls = Calls { products: more, ..Calls::of(c.elements(), 0.0) };
    if accumulate { calls.times(times) } else { Calls { count: times, ..calls } }
}

/// Words that a norm reads or writes for an element, as if they were moved as fast as by other kernels.
fn of_norm(rates: &ShaderRates, tensors: &[Tensor], op: &Op, words: f64) -> f64 {
    let mut all = op.reads.iter().chain(&op.writes).map(|id| &tensors[id.index()]);
    let of_fours = op.reads.first().is_some_and(|id| tensors[id.index()].local.cols.is_multiple_of(4));
    match rates.norm_words_per_second {
        Some(rate) if of_fours && all.all(|tensor| tensor.dtype.size() == 4) => words * rates.words_per_second / rate,
        _ => words,
    }
}

/// What the shaders make of an op where every invocation computes for itself.
pub(super) fn of_kernels(rates: &ShaderRates, dims: &Dims, tensors: &[Tensor], op: &Op) -> Calls {
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
        OpKind::Norm => by_row(of_norm(rates, tensors, op, if dims.layer_norm { 6.0 } else { 4.0 })),
        OpKind::NormGrad => by_row(of_norm(rates, tensors, op, 7.0)),
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
        // The gradient, its norm, and a parameter with its state twice, for every push; what is the same for all invocations is
        // read once.
        OpKind::Update { times, .. } => {
            let pushes = times.max(1);
            let one = each(2.0 + 2.0 * writes.len() as f64);
            one.reading(one.words * f64::from(pushes)).times(pushes)
        }
        // For each parameter a copy and a difference; then three blends and a copy, or two.
        OpKind::OuterGradient => of_parameters(&elements_of(&writes[1..]), 5.0, 2),
        OpKind::OuterStep { .. } => {
            let copies =
                u32::try_from(writes.len().saturating_sub(2) / reads.len().saturating_sub(1).max(1)).unwrap_or(3);
            of_parameters(&elements_of(&reads[1..]), 5.0 + 2.0 * f64::from(copies), 1 + copies)
        }
        OpKind::Compression(step) => compression::calls(rates, tensors, op, step),
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
        // Every row of a table goes through all lookups; those of its own are read twice, and four at a time wait for one.
        OpKind::EmbeddingBagUpdate => {
            let (width, tables) = (cols(writes, 0), (rows(reads, 1) / u64::from(dims.batch).max(1)).max(1));
            let through = (rows(writes, 0) * read) as f64 / tables as f64;
            let own = (read * width) as f64 * (2.0 + 2.0) * 4.0;
            let calls = Calls::of(rows(writes, 0), through + own).with(through * OF_LOOKUP);
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
        OpKind::Matmul { .. } => Calls::of(written, 0.0),
        OpKind::GroupedMatmul { accumulate, .. } => of_experts(rates, dims, tensors, op, accumulate),
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
        OpKind::Attention | OpKind::ContextAttention { .. } => {
            let workgroups = size(writes, 1).div_ceil(u64::from(rates.queries.max(1)));
            Calls { workgroups: workgroups.max(1), ..Calls::of(1, 0.0) }
        }
        OpKind::AttentionGrad | OpKind::ContextAttentionGrad { .. } => {
            let rows = if op.kind == OpKind::AttentionGrad { size(writes, 1) } else { size(writes, 2) };
            let workgroups = rows.div_ceil(u64::from(rates.queries_of_gradient()));
            Calls { workgroups: workgroups.max(1), ..Calls::of(1, 0.0) }.times(3)
        }
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

/// Rows that are cleared, then copied as far as tokens go to them.
fn moved_rows(cleared: u64, copied: u64) -> Calls {
    let words = cleared as f64 + copied as f64 * 4.0;
    let both = Calls::of(copied, words).with(copied as f64 * 3.0 * DIVISION);
    Calls { count: 2, workgroups: both.workgroups + cleared.div_ceil(WORKGROUP), ..both }
}
