//! How much an op computes and how many bytes it touches, from its kind and the local shapes of its tensors.

use super::shader::{self, Calls};
use crate::cluster::Device;
use crate::graph::{CompressionStep, DType, Dims, Op, OpKind, Role, Spread, Storage, Tensor, TensorId};
use crate::scenario::Optimizer;
use crate::scenario::optimizer::NEWTON_SCHULZ_ITERATIONS;
use crate::units::{Bytes, Flops};

/// The work of one execution of an op on one rank.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Floating-point operations.
    pub flops: Flops,
    /// Of them, operations that matrix units can do.
    pub matmul_flops: Flops,
    /// Bytes read from and written to memory, each tensor once.
    pub bytes: Bytes,
    /// Rows and columns of the result and the contracted length, for matmuls.
    pub matmul: Option<[u64; 3]>,
    /// Matmuls of that shape that run in one kernel, one for each expert.
    pub groups: u64,
    /// Bytes at whose multiples all rows of a matmul's operands and result begin, a power of two up to 16; 0 where it is
    /// not asked.
    pub aligned: u64,
    /// Kernels that run side by side and fill each other's last waves: chunks of one matmul, on streams of their own
    /// (Transformer Engine's userbuffers); 0 as 1.
    pub side_by_side: u64,
    /// Whether one kernel does it for many tensors.
    pub batched: bool,
    /// Whether it is attention with a kernel written for Ampere.
    pub flash_2: bool,
    /// Whether matmuls are called one by one.
    pub eager: bool,
    /// What attention computes besides, as a share: scores at the ends of a window.
    pub hidden: f64,
    /// The calls of this project's own shaders, on a device that runs those.
    pub calls: Option<Calls>,
}

/// What a thread reads at once.
const VECTOR_BYTES: u64 = 16;

/// At how many bytes the rows begin of what a matmul multiplies and writes.
fn alignment(tensors: &[Tensor], op: &Op) -> u64 {
    let of = |id: &TensorId| {
        let tensor = &tensors[id.index()];
        let row = u64::from(tensor.local.cols) * tensor.dtype.size();
        1 << row.trailing_zeros().min(VECTOR_BYTES.trailing_zeros())
    };
    op.reads.iter().take(2).chain(op.writes.first()).map(of).min().unwrap_or(VECTOR_BYTES)
}

/// The work of `op`.
pub fn work(dims: &Dims, tensors: &[Tensor], op: &Op) -> Work {
    let side_by_side = op.writes.first().map_or(1, |&id| chunks(tensors, id));
    Work { batched: super::host::is_batched(op), side_by_side, eager: dims.eager, ..one(dims, tensors, op) }
}

/// The same on a device, which may run this project's own shaders.
pub fn work_on(device: &Device, dims: &Dims, tensors: &[Tensor], op: &Op) -> Work {
    let calls = device.shaders.map(|rates| shader::calls(&rates, dims, tensors, op));
    Work { calls, ..work(dims, tensors, op) }
}

/// How many chunks like this one its value has: 1 of a value that is whole.
pub fn chunks(tensors: &[Tensor], id: TensorId) -> u64 {
    let tensor = &tensors[id.index()];
    match (tensor.role, tensor.storage) {
        (Role::Activation, Storage::View { of, .. }) => {
            u64::from(tensors[of.index()].local.rows / tensor.local.rows.max(1)).max(1)
        }
        _ => 1,
    }
}

/// The same, as if it were launched alone.
fn one(dims: &Dims, tensors: &[Tensor], op: &Op) -> Work {
    let bytes = memory_traffic(tensors, op);
    let elements = |id: TensorId| tensors[id.index()].local.elements() as f64;
    match op.kind {
        OpKind::Matmul { transpose_a, .. } => {
            let (a, c) = (tensors[op.reads[0].index()].local, tensors[op.writes[0].index()].local);
            let k = u64::from(if transpose_a { a.rows } else { a.cols });
            let flops = Flops(2.0 * c.elements() as f64 * k as f64);
            Work {
                flops,
                matmul_flops: flops,
                bytes,
                matmul: Some([u64::from(c.rows), u64::from(c.cols), k]),
                groups: 1,
                aligned: alignment(tensors, op),
                ..Work::default()
            }
        }
        OpKind::GroupedMatmul { transpose_a, transpose_b, .. } => grouped(tensors, op, transpose_a, transpose_b, bytes),
        OpKind::Attention => attention(dims, tensors, op, op.writes[1], [1.0, 1.0], bytes),
        OpKind::ContextAttention { parts, .. } => {
            attention(dims, tensors, op, op.writes[1], [1.0, 1.0].map(|n| n / f64::from(parts)), bytes)
        }
        OpKind::ContextAttentionGrad { parts, .. } => {
            attention(dims, tensors, op, op.writes[2], [3.0, 2.0].map(|n| n / f64::from(parts)), bytes)
        }
        // Forward has two products per pair (scores, values); backward five: scores again, dV, dP, dQ and dK
        // (Dao et al. 2022, algorithm 4).
        OpKind::AttentionGrad => attention(dims, tensors, op, op.writes[1], [3.0, 2.0], bytes),
        OpKind::AttentionScores => batched(dims, tensors, op.writes[0], 1.0, bytes),
        OpKind::AttentionValues => batched(dims, tensors, op.reads[0], 1.0, bytes),
        OpKind::AttentionValuesGrad | OpKind::AttentionScoresGrad => batched(dims, tensors, op.reads[0], 2.0, bytes),
        OpKind::Update { optimizer: Optimizer::Muon, sliced: false, .. } | OpKind::Orthogonalize => {
            muon(dims, tensors, op, bytes)
        }
        OpKind::Convolution(_) => convolution(tensors, [op.reads[0], op.reads[1], op.writes[0]], Side::Result, bytes),
        OpKind::ConvolutionInputGrad(_) => {
            convolution(tensors, [op.writes[0], op.reads[1], op.reads[0]], Side::Image, bytes)
        }
        OpKind::ConvolutionWeightGrad(_) => {
            convolution(tensors, [op.reads[0], op.writes[0], op.reads[1]], Side::Kernel, bytes)
        }
        OpKind::Compression(step) => compression(tensors, op, step),
        OpKind::Interaction => interaction(tensors, [op.reads[0], op.reads[1], op.writes[0]], 1.0, bytes),
        OpKind::InteractionGrad => interaction(tensors, [op.reads[0], op.reads[1], op.reads[2]], 2.0, bytes),
        _ => {
            // Reductions work on what they read, all else on what it writes.
            let counted = if is_reduction(op.kind) { op.reads.first() } else { op.writes.first() };
            let flops = counted.map_or(0.0, |&id| elements(id) * per_element(op.kind));
            Work { flops: Flops(flops), bytes, ..Work::default() }
        }
    }
}

/// Every expert's matmul: as many as its weights are longer than those of one, each with its share of the rows.
fn grouped(tensors: &[Tensor], op: &Op, transpose_a: bool, transpose_b: bool, bytes: Bytes) -> Work {
    let local = |id: TensorId| tensors[id.index()].local;
    let (a, b, c) = (local(op.reads[0]), local(op.reads[1]), local(op.writes[0]));
    let share = |rows: u32, experts: u64| u64::from(rows).div_ceil(experts);
    let count = |weights: u32, of_one: u32| u64::from(weights / of_one.max(1)).max(1);
    let (groups, shape) = match (transpose_a, transpose_b) {
        (true, _) => {
            let experts = count(c.rows, a.cols);
            (experts, [u64::from(a.cols), u64::from(c.cols), share(a.rows, experts)])
        }
        (false, true) => {
            let experts = count(b.rows, c.cols);
            (experts, [share(a.rows, experts), u64::from(c.cols), u64::from(a.cols)])
        }
        (false, false) => {
            let experts = count(b.rows, a.cols);
            (experts, [share(a.rows, experts), u64::from(c.cols), u64::from(a.cols)])
        }
    };
    let flops = Flops(2.0 * groups as f64 * shape.iter().map(|&n| n as f64).product::<f64>());
    Work { flops, matmul_flops: flops, bytes, matmul: Some(shape), groups, ..Work::default() }
}

/// Fused attention: `products` multiply every query with the keys that it sees, over the features of keys
/// and over those of values. The log-sum-exp has one element per token and local head.
fn attention(dims: &Dims, tensors: &[Tensor], op: &Op, per_head: TensorId, products: [f64; 2], bytes: Bytes) -> Work {
    let token_heads = tensors[per_head.index()].local.elements() as f64;
    let keys = dims.mean_keys(op.part);
    let features = products[0] * f64::from(dims.head_dim) + products[1] * f64::from(dims.value_dim);
    let flops = Flops(2.0 * token_heads * keys * features);
    let hidden = dims.hidden_keys(op.part);
    Work { flops, matmul_flops: flops, bytes, flash_2: dims.flash_2, hidden, ..Work::default() }
}

/// What a convolution's kernel computes.
#[derive(Clone, Copy)]
enum Side {
    Image,
    Kernel,
    Result,
}

/// A convolution as the matmul of its windows with its kernel, which libraries compute without storing the windows
/// (Chetlur et al. 2014, "cuDNN"). Its three passes have the same work: a product for each pixel and channel of the
/// result and each row of the kernel.
fn convolution(tensors: &[Tensor], [x, weight, y]: [TensorId; 3], side: Side, bytes: Bytes) -> Work {
    let [x, weight, y] = [x, weight, y].map(|id| tensors[id.index()].local);
    let (pixels, taps, outputs) = (u64::from(y.rows), u64::from(weight.rows), u64::from(y.cols));
    let flops = Flops(2.0 * pixels as f64 * taps as f64 * outputs as f64);
    let (groups, shape) = match side {
        Side::Result => (1, [pixels, outputs, taps]),
        // All pixels are contracted for few results, so they are dealt out over the multiprocessors.
        Side::Kernel => {
            let parts = (pixels / PIXELS_OF_PART).clamp(1, MOST_PARTS);
            (parts, [taps, outputs, pixels / parts])
        }
        Side::Image => {
            let (rows, cols) = (u64::from(x.rows).max(1), u64::from(x.cols).max(1));
            (1, [rows, cols, (pixels * taps / rows * outputs / cols).max(1)])
        }
    };
    Work { flops, matmul_flops: flops, bytes, matmul: Some(shape), groups, ..Work::default() }
}

/// Pixels of a part of a contraction that is dealt out, at least, and the most parts: with them every kernel of a
/// published network fills a device (split-K; NVIDIA, "CUTLASS: efficient GEMM").
const PIXELS_OF_PART: u64 = 1024;
const MOST_PARTS: u64 = 256;

/// All dot products of a sample's vectors, or none where they only come to stand beside each other.
fn interaction(tensors: &[Tensor], [dense, vectors, features]: [TensorId; 3], products: f64, bytes: Bytes) -> Work {
    let [dense, vectors, features] = [dense, vectors, features].map(|id| tensors[id.index()].local);
    let of_sample = vectors.rows / dense.rows.max(1) + 1;
    if features.cols == of_sample * dense.cols {
        return Work { bytes, ..Work::default() };
    }
    let (side, width) = (u64::from(of_sample), u64::from(dense.cols));
    let flops = Flops(2.0 * products * f64::from(dense.rows) * (side * side * width) as f64);
    let groups = u64::from(dense.rows);
    Work { flops, matmul_flops: flops, bytes, matmul: Some([side, side, width]), groups, ..Work::default() }
}

/// What makes gradients smaller and whole again. The gradients of a bucket are views of the first tensor that is read or
/// written, so they count once. The largest elements are found in two passes (Lin et al. 2018, section 3.1); columns are
/// made orthogonal one after the other.
fn compression(tensors: &[Tensor], op: &Op, step: CompressionStep) -> Work {
    let bytes = |id: &TensorId| tensors[id.index()].bytes();
    let kept = |ids: &[TensorId]| {
        let of_bucket =
            ids.iter().enumerate().filter(|(at, id)| *at == 0 || tensors[id.index()].role != Role::Gradient);
        of_bucket.map(|(_, id)| bytes(id)).sum::<Bytes>()
    };
    let (once, elements) = (kept(&op.reads) + kept(&op.writes), |ids: &[TensorId]| {
        ids.first().map_or(0.0, |id| tensors[id.index()].local.elements() as f64)
    });
    let (flops, bytes) = match step {
        CompressionStep::Narrow | CompressionStep::Scatter { .. } => (elements(&op.reads), once),
        CompressionStep::Widen { parts } => (elements(&op.writes) * f64::from(parts), once),
        CompressionStep::Select => (elements(&op.reads) * 3.0, kept(&op.reads) + once + kept(&op.writes)),
        CompressionStep::Project { rank } | CompressionStep::Reproject { rank } => {
            (elements(&op.reads) * 2.0 * f64::from(rank), once)
        }
        CompressionStep::Orthogonalize { rank } => {
            (elements(&op.reads) * 2.0 * f64::from(rank), once * u64::from(rank))
        }
        CompressionStep::Expand { rank, .. } => (elements(&op.writes) * 2.0 * f64::from(rank), once),
    };
    Work { flops: Flops(flops), bytes, ..Work::default() }
}

/// Muon's update of the matrices that lie below each other in a parameter. Of a matrix with sides `m ≤ n` an iteration
/// makes `X·Xᵀ`, the square of that, and its product with `X`: `4m²n + 2m³` operations (Jordan et al. 2024). A matrix
/// that is cut over the tensor group is treated by slices, as Megatron-Core does it.
fn muon(dims: &Dims, tensors: &[Tensor], op: &Op, bytes: Bytes) -> Work {
    let parameter = &tensors[op.writes[0].index()];
    let groups = if parameter.spread == Spread::Experts { u64::from(dims.local_experts.max(1)) } else { 1 };
    let (rows, cols) = (u64::from(parameter.local.rows) / groups, u64::from(parameter.local.cols));
    let (m, n) = (rows.min(cols), rows.max(cols));
    let (short, long) = (m as f64, n as f64);
    let times = f64::from(NEWTON_SCHULZ_ITERATIONS) * groups as f64;
    let matmul_flops = Flops(times * (4.0 * short * short * long + 2.0 * short.powi(3)));
    let arithmetic = if op.kind == OpKind::Orthogonalize { 0.0 } else { update_arithmetic(Optimizer::Muon) };
    let elementwise = Flops(parameter.local.elements() as f64 * arithmetic);
    // In two bytes each: `X` is read twice and written, the square matrices are written and read five times in all.
    let of_iteration = 2 * groups * (3 * m * n + 5 * m * m);
    Work {
        flops: matmul_flops + elementwise,
        matmul_flops,
        bytes: bytes + Bytes(of_iteration) * u64::from(NEWTON_SCHULZ_ITERATIONS),
        matmul: Some([m, n, m]),
        groups,
        ..Work::default()
    }
}

/// Arithmetic of an update for each element of the parameter, clipping included. 8-bit moments are taken from their
/// codes and put back into the nearest ones.
fn update_arithmetic(optimizer: Optimizer) -> f64 {
    match optimizer {
        Optimizer::Sgd => 4.0,
        Optimizer::Momentum => 6.0,
        Optimizer::Adam | Optimizer::AdamW => 14.0,
        Optimizer::Adam8Bit => 30.0,
        Optimizer::Adafactor => 16.0,
        Optimizer::Muon => 8.0,
    }
}

/// How often an update reads the gradient: Adafactor sums its squares by rows, by columns, and scales it by them (Shazeer &
/// Stern 2018, algorithm 4; the clipping of its lines 8 and 9 is left out, since gradients are clipped before).
fn gradient_reads(optimizer: Optimizer) -> u64 {
    if optimizer == Optimizer::Adafactor { 3 } else { 1 }
}

/// Unfused attention: `products` batched matmuls of sequence × sequence × head for every sequence and head; what a
/// causal mask hides is computed too.
fn batched(dims: &Dims, tensors: &[Tensor], scores: TensorId, products: f64, bytes: Bytes) -> Work {
    let flops = Flops(2.0 * products * tensors[scores.index()].local.elements() as f64 * f64::from(dims.head_dim));
    // All of a batch's matmuls run in one kernel: as many rows as they have together.
    let (side, head) = (u64::from(dims.sequence), u64::from(dims.head_dim));
    let together = tensors[scores.index()].local.elements() / side.max(1);
    Work { flops, matmul_flops: flops, bytes, matmul: Some([together, side, head]), groups: 1, ..Work::default() }
}

/// Whether an op's result is smaller than what it computes on.
fn is_reduction(kind: OpKind) -> bool {
    use OpKind::{ColumnSum, CrossEntropy, GroupNormGradParameters, NormGradParameters, RowMax, SumExp, SumSquares};
    let norms = matches!(kind, NormGradParameters | GroupNormGradParameters(_));
    norms || matches!(kind, ColumnSum | CrossEntropy | RowMax | SumExp | SumSquares { .. })
}

/// Arithmetic per element, counted in the kernels (a transcendental counts as one). Communication counts as none:
/// its time is in its bytes.
fn per_element(kind: OpKind) -> f64 {
    match kind {
        OpKind::Norm => 8.0,
        // Ten rounds of Philox for four random numbers (Salmon et al. 2011), a comparison and a product.
        OpKind::Dropout => 12.0,
        OpKind::DropoutGrad => 2.0,
        OpKind::NormGrad => 12.0,
        OpKind::NormGradParameters | OpKind::GroupNormGradParameters(_) => 4.0,
        OpKind::SumExp | OpKind::CrossEntropyGrad => 4.0,
        OpKind::AttentionSoftmax | OpKind::AttentionSoftmaxGrad => 8.0,
        OpKind::Gelu | OpKind::SwiGlu | OpKind::Rope { .. } | OpKind::LatentJoin | OpKind::LatentJoinGrad => 8.0,
        OpKind::Route | OpKind::RouteGrad => 8.0,
        OpKind::GeluGrad | OpKind::SwiGluGrad => 14.0,
        OpKind::Silu => 4.0,
        OpKind::SiluGrad => 6.0,
        OpKind::Gate => 1.0,
        OpKind::GateGrad => 2.0,
        OpKind::BatchNorm | OpKind::GroupNorm(_) => 8.0,
        OpKind::BatchNormGrad | OpKind::GroupNormGrad(_) => 12.0,
        OpKind::Tanh | OpKind::ClassSums | OpKind::ClassSumsGrad | OpKind::BinaryLoss | OpKind::BinaryLossGrad => 4.0,
        OpKind::Pool(window) => f64::from(window.side * window.side),
        OpKind::PoolGrad(_) | OpKind::Relu | OpKind::ReluGrad | OpKind::EmbeddingBag => 1.0,
        OpKind::TanhGrad | OpKind::Cross | OpKind::CrossGrad => 2.0,
        OpKind::Update { optimizer, times, .. } => update_arithmetic(optimizer) * f64::from(times),
        OpKind::HostUpdate { optimizer, .. } => update_arithmetic(optimizer),
        OpKind::Momentum => 6.0,
        OpKind::FactorSums => 3.0,
        OpKind::OuterGradient => 1.0,
        OpKind::OuterStep { .. } => 6.0,
        OpKind::Add
        | OpKind::Accumulate
        | OpKind::RowMax
        | OpKind::ColumnSum
        | OpKind::Position
        | OpKind::PositionGrad => 1.0,
        OpKind::Combine | OpKind::CombineGrad | OpKind::DispatchGrad => 2.0,
        OpKind::Residual { .. } | OpKind::SumSquares { .. } | OpKind::CrossEntropy => 2.0,
        _ => 0.0,
    }
}

/// Every tensor that the op mentions moves once; accumulators move twice. Tables are read only where they are used.
fn memory_traffic(tensors: &[Tensor], op: &Op) -> Bytes {
    let bytes = |id: &TensorId| tensors[id.index()].bytes();
    let sum = |ids: &[TensorId]| ids.iter().map(bytes).sum::<Bytes>();
    match op.kind {
        OpKind::Split | OpKind::Join | OpKind::Rotate | OpKind::Load => Bytes::ZERO,
        OpKind::Embedding => sum(&op.writes) * 2,
        OpKind::Position => sum(&op.writes) * 3,
        // A token is read once for every expert that it goes to.
        OpKind::Dispatch => sum(&op.writes) * 2,
        // Matrix units want both operands by rows of the contraction, so a value in eight bits is written twice.
        OpKind::Cast
            if op
                .writes
                .iter()
                .any(|id| matches!(tensors[id.index()].dtype, DType::F8 | DType::F8Gradient | DType::F8Block)) =>
        {
            sum(&op.reads) + sum(&op.writes) * 2
        }
        // Once for the largest element of the tensor, once more to scale by it.
        OpKind::Cast if op.writes.iter().any(|id| tensors[id.index()].dtype == DType::F4) => {
            sum(&op.reads) * 2 + sum(&op.writes)
        }
        OpKind::GatherRows => sum(&op.writes) * 2,
        OpKind::GatherRowsGrad => sum(&op.reads) + sum(&op.writes),
        // Statistics first, then every element again.
        OpKind::BatchNorm | OpKind::GroupNorm(_) => sum(&op.reads[..1]) * 2 + sum(&op.writes),
        OpKind::BatchNormGrad | OpKind::GroupNormGrad(_) => {
            (sum(&op.reads[..1]) + sum(&op.reads[3..])) * 2 + sum(&op.writes)
        }
        OpKind::EmbeddingBag => looked_up(tensors, op) + sum(&op.writes),
        // Rows are read and written with their state.
        OpKind::EmbeddingBagUpdate => sum(&op.reads) + looked_up(tensors, op) * 2,
        OpKind::ClassTokenWeightGrad => sum(&op.writes) * 2,
        // Half of what is gated is read.
        OpKind::Silu => sum(&op.writes) * 2,
        OpKind::Gate => sum(&op.writes) * 3,
        OpKind::SiluGrad => sum(&op.writes[..1]) + sum(&op.reads[1..2]) * 3,
        OpKind::GateGrad => sum(&op.writes[..1]) * 5,
        OpKind::KeysValues => sum(&op.writes) * 2,
        OpKind::KeysValuesGrad => sum(&op.reads) * 3,
        OpKind::EmbeddingGrad | OpKind::PositionGrad => sum(&op.reads) + sum(&op.writes),
        // A moment is read and written, what others read of it is written.
        OpKind::Momentum => sum(&op.reads[..1]) + sum(&op.writes) + sum(&op.writes[1..]),
        // The sums are there already.
        OpKind::Update { optimizer: Optimizer::Adafactor, sliced: true, .. } => {
            sum(&op.reads[..1]) * (gradient_reads(Optimizer::Adafactor) - 1) + sum(&op.writes) * 2
        }
        // What Muon's iterations move of the matrices and their products is counted by itself.
        OpKind::Orthogonalize => sum(&op.reads) + sum(&op.writes[..1]),
        OpKind::Update { optimizer: Optimizer::Muon, sliced: false, .. } => {
            sum(&op.reads[..1]) + sum(&op.writes[..op.writes.len().min(3)]) * 2
        }
        // Every replica's gradients are read once, the rest for each of them.
        OpKind::Update { optimizer, times, .. } => {
            sum(&op.reads[..1]) * gradient_reads(optimizer) + sum(&op.writes) * 2 * u64::from(times)
        }
        OpKind::ToHost => sum(&op.writes),
        OpKind::FromHost => sum(&op.writes),
        OpKind::HostUpdate { optimizer, .. } => sum(&op.reads[..1]) * gradient_reads(optimizer) + sum(&op.writes) * 2,
        // Views are of what is there already.
        OpKind::OuterGradient => sum(&op.reads) + sum(&op.writes[..1]),
        // The outer parameters and the momentum are read, too.
        OpKind::OuterStep { .. } => {
            let of_outer = |id: &&TensorId| {
                let tensor = &tensors[id.index()];
                let kept = matches!(tensor.role, Role::MasterWeight | Role::Moment);
                kept && matches!(tensor.storage, Storage::View { .. })
            };
            let parameters: Bytes = op.writes[2..].iter().filter(|id| !of_outer(id)).map(bytes).sum();
            sum(&op.reads[..1]) + sum(&op.writes[..2]) * 2 + parameters
        }
        OpKind::Accumulate
        | OpKind::Matmul { accumulate: true, .. }
        | OpKind::ConvolutionWeightGrad(_)
        | OpKind::GroupedMatmul { accumulate: true, .. } => sum(&op.reads) + sum(&op.writes) * 2,
        _ => sum(&op.reads) + sum(&op.writes),
    }
}

/// Bytes of the rows of a table that are looked up, with those that name them.
fn looked_up(tensors: &[Tensor], op: &Op) -> Bytes {
    let ids = tensors[op.reads[0].index()].local.elements();
    let table = if op.kind == OpKind::EmbeddingBag { op.reads[1] } else { op.writes[0] };
    let table = &tensors[table.index()];
    Bytes(ids * (u64::from(table.local.cols) * table.dtype.size() + DType::U32.size()))
}
