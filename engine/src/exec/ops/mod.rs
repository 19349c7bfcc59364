//! From an op of the graph to kernel calls: shapes and places of this rank become parameters.

mod attention;
mod compression;
mod dropout;
mod experts;
mod images;
mod optimizers;
mod recommenders;
mod samples;
mod updates;

use crate::exec::collectives::copy;
use crate::exec::cpu::add::AddParams;
use crate::exec::cpu::column_sum::ColumnSumParams;
use crate::exec::cpu::cross_entropy::CrossEntropyParams;
use crate::exec::cpu::cross_entropy_grad::CrossEntropyGradParams;
use crate::exec::cpu::embedding::EmbeddingParams;
use crate::exec::cpu::embedding_grad::EmbeddingGradParams;
use crate::exec::cpu::fill::FillParams;
use crate::exec::cpu::gate::GateParams;
use crate::exec::cpu::gate_grad::GateGradParams;
use crate::exec::cpu::gelu::GeluParams;
use crate::exec::cpu::gelu_grad::GeluGradParams;
use crate::exec::cpu::latent_join::LatentJoinParams;
use crate::exec::cpu::latent_join_grad::LatentJoinGradParams;
use crate::exec::cpu::layer_norm::LayerNormParams;
use crate::exec::cpu::layer_norm_grad::LayerNormGradParams;
use crate::exec::cpu::layer_norm_grad_params::LayerNormGradParamsParams;
use crate::exec::cpu::matmul::{BIAS, MatmulParams, RELU, TANH};
use crate::exec::cpu::position::PositionParams;
use crate::exec::cpu::position_grad::PositionGradParams;
use crate::exec::cpu::quantize::QuantizeParams;
use crate::exec::cpu::quantize_blocks::QuantizeBlocksParams;
use crate::exec::cpu::quantize_short::QuantizeShortParams;
use crate::exec::cpu::reduce::ReduceParams;
use crate::exec::cpu::residual::ResidualParams;
use crate::exec::cpu::rms_norm::RmsNormParams;
use crate::exec::cpu::rms_norm_grad::RmsNormGradParams;
use crate::exec::cpu::rms_norm_grad_params::RmsNormGradParamsParams;
use crate::exec::cpu::rope::RopeParams;
use crate::exec::cpu::row_max::RowMaxParams;
use crate::exec::cpu::scale::ScaleParams;
use crate::exec::cpu::silu::SiluParams;
use crate::exec::cpu::silu_grad::SiluGradParams;
use crate::exec::cpu::sum_exp::SumExpParams;
use crate::exec::cpu::sum_squares::SumSquaresParams;
use crate::exec::cpu::swiglu::SwigluParams;
use crate::exec::cpu::swiglu_grad::SwigluGradParams;
use crate::exec::format::MOST_E2M1;
use crate::exec::{Dispatch, ExecError, Format, Slice};
use crate::graph::{
    DType, Dim, Dims, Epilogue, Op, OpKind, Placement, Role, Shape, Spread, StepGraph, Tensor, TensorId,
};
use crate::model::Recommender;

/// The step, and the place of the rank in its tensor group.
pub struct OpContext<'a> {
    /// The graph.
    pub step: &'a StepGraph,
    /// Which slice of the tensor group the rank holds.
    pub slice_index: u32,
    /// Which tokens of a sequence the rank has: every `dims.context`-th from this one on.
    pub context_index: u32,
    /// Which slice of its sharding group's flat buffers the rank owns.
    pub flat_index: u32,
    /// Number of the rank's replica.
    pub replica: u32,
    /// The micro-batch.
    pub micro_batch: u32,
    /// Of random numbers.
    pub seed: u64,
    /// The share that dropout drops.
    pub dropout: f64,
    /// The tables of a recommender.
    pub recommender: Option<&'a Recommender>,
    /// The rate at which they learn.
    pub learning_rate: f64,
}

type Calls = Result<Vec<Dispatch>, ExecError>;

/// The kernel calls of a compute op; `reads` and `writes` are its tensors' bytes on the rank.
pub fn dispatches(context: &OpContext<'_>, op: &Op, reads: &[Slice], writes: &[Slice]) -> Calls {
    let call = Call { context, op, reads, writes };
    Ok(match op.kind {
        OpKind::Embedding | OpKind::EmbeddingGrad => vec![call.embedding()],
        OpKind::Position | OpKind::PositionGrad => call.positions(),
        OpKind::Norm | OpKind::NormGrad | OpKind::NormGradParameters => call.norm(),
        OpKind::Matmul { transpose_a, transpose_b, bias, accumulate, epilogue } => {
            vec![call.matmul([transpose_a, transpose_b], bias, accumulate, epilogue)]
        }
        OpKind::GroupedMatmul { transpose_b, accumulate, .. } => call.grouped_matmul(transpose_b, accumulate),
        OpKind::Route | OpKind::RouteGrad => call.routing(),
        OpKind::Dispatch | OpKind::DispatchGrad | OpKind::Combine | OpKind::CombineGrad => call.exchange_rows(),
        OpKind::Rope { inverse } => vec![call.rope(inverse)],
        OpKind::Attention => vec![call.attention(reads[0], call.whole_attention(0), [writes[0], writes[1]])],
        OpKind::AttentionGrad => call.attention_gradient(),
        OpKind::ContextAttention { .. } => {
            vec![call.attention(reads[1], call.context_attention(), [writes[0], writes[1]])]
        }
        OpKind::ContextAttentionGrad { part, .. } => call.context_attention_gradient(part),
        OpKind::AttentionScores
        | OpKind::AttentionSoftmax
        | OpKind::AttentionValues
        | OpKind::AttentionValuesGrad
        | OpKind::AttentionSoftmaxGrad
        | OpKind::AttentionScoresGrad => call.unfused_attention(),
        OpKind::Silu | OpKind::SiluGrad | OpKind::Gate | OpKind::GateGrad => vec![call.eager_activation()],
        OpKind::LatentJoin | OpKind::LatentJoinGrad => vec![call.latent_join()],
        OpKind::KeysValues => vec![call.keys_values(false)],
        OpKind::KeysValuesGrad => vec![call.keys_values(true)],
        OpKind::Gelu | OpKind::GeluGrad | OpKind::SwiGlu | OpKind::SwiGluGrad => vec![call.activation()],
        OpKind::Residual { bias } if op.writes.len() > 1 => call.residual_dropout(bias),
        OpKind::Add | OpKind::Residual { .. } | OpKind::ColumnSum => vec![call.elementwise()],
        OpKind::RowMax | OpKind::SumExp | OpKind::CrossEntropy | OpKind::CrossEntropyGrad => vec![call.loss()],
        OpKind::Fill(value) => vec![call.simple(&FillParams { n: call.written(0), value, ..FillParams::default() })],
        OpKind::SumSquares { copies } => vec![call.sum_squares(copies)],
        OpKind::Update { optimizer, decayed, sliced, times } => call.updates(optimizer, decayed, sliced, times),
        OpKind::Momentum => vec![call.muon_momentum(call.writes[0], call.writes[1])],
        OpKind::Orthogonalize => call.orthogonal(op.writes[0], call.writes[0], [1, 2, 3].map(|i| call.writes[i])),
        OpKind::FactorSums => call.factor_sums(),
        OpKind::ToHost | OpKind::FromHost => call.moved(),
        OpKind::HostUpdate { optimizer, decayed, sliced, .. } => call.host_update(optimizer, decayed, sliced),
        OpKind::OuterGradient => call.outer_gradient(),
        OpKind::OuterStep { replicas } => call.outer_step(replicas),
        OpKind::Rotate => call.rotate(),
        OpKind::Accumulate => vec![call.accumulate()],
        // Chunks lie where the whole lies; samples are fed before the step.
        OpKind::Split | OpKind::Join | OpKind::Load => Vec::new(),
        OpKind::Compression(step) => call.compression(step),
        OpKind::Cast => call.cast(),
        OpKind::Relu | OpKind::ReluGrad | OpKind::Tanh | OpKind::TanhGrad => vec![call.of_result()],
        OpKind::GatherRows | OpKind::GatherRowsGrad => vec![call.gathered_rows()],
        OpKind::ClassToken | OpKind::ClassTokenGrad | OpKind::ClassTokenWeightGrad => vec![call.class_token()],
        OpKind::ClassSums | OpKind::ClassSumsGrad => vec![call.class_sums()],
        OpKind::Convolution(window) | OpKind::ConvolutionInputGrad(window) | OpKind::ConvolutionWeightGrad(window) => {
            vec![call.convolution(window)]
        }
        OpKind::BatchNorm | OpKind::BatchNormGrad | OpKind::BatchNormGradParameters => vec![call.batch_norm()],
        OpKind::GroupNorm(groups) | OpKind::GroupNormGrad(groups) | OpKind::GroupNormGradParameters(groups) => {
            vec![call.group_norm(groups)]
        }
        OpKind::Pool(window) | OpKind::PoolGrad(window) => vec![call.pool(window)],
        OpKind::EmbeddingBag | OpKind::EmbeddingBagUpdate => call.embedding_bags(),
        OpKind::Interaction | OpKind::InteractionGrad | OpKind::Cross | OpKind::CrossGrad => vec![call.interaction()],
        OpKind::BinaryLoss | OpKind::BinaryLossGrad => vec![call.binary_loss()],
        OpKind::Dropout => call.dropout(),
        OpKind::DropoutGrad => vec![call.dropout_gradient()],
        OpKind::Collective { .. } | OpKind::Send(_) | OpKind::Receive(_) => {
            return Err(ExecError::Kernel(format!("`{}` is communication, not a kernel", op.name)));
        }
    })
}

/// A run of rows that a rank has: where it lies among its own, and among all.
#[derive(Clone, Copy, Debug)]
struct Block {
    own: u32,
    whole: u32,
    rows: u32,
}

struct Call<'a> {
    context: &'a OpContext<'a>,
    op: &'a Op,
    reads: &'a [Slice],
    writes: &'a [Slice],
}

impl Call<'_> {
    fn tensor(&self, id: TensorId) -> &Tensor {
        self.context.step.tensor(id)
    }

    fn read_shape(&self, index: usize) -> Shape {
        self.tensor(self.op.reads[index]).local
    }

    fn write_shape(&self, index: usize) -> Shape {
        self.tensor(self.op.writes[index]).local
    }

    /// Elements of a written tensor.
    fn written(&self, index: usize) -> u32 {
        elements(self.write_shape(index))
    }

    /// Binds the reads, then the writes, as most kernels do.
    fn simple<P: crate::exec::KernelParams>(&self, params: &P) -> Dispatch {
        Dispatch::new(params, [self.reads, self.writes].concat())
    }

    /// As it lies, scales and all, where both have the same format.
    fn moved(&self) -> Vec<Dispatch> {
        if self.reads[0].format != self.writes[0].format {
            return written_as(self.reads[0], self.writes[0], self.written(0));
        }
        let words = |slice: Slice| Slice::of_words(slice.buffer, slice.offset, slice.size.next_multiple_of(4));
        let [from, to] = [self.reads[0], self.writes[0]].map(words);
        vec![copy(from, 0, to, 0, from.elements())]
    }

    /// Of what all ranks have, each may keep its rows. Numbers with scales are written all at once.
    fn cast(&self) -> Vec<Dispatch> {
        let (from, to, n) = (self.reads[0], self.writes[0], self.written(0));
        if to.format.is_scaled() || self.read_shape(0) == self.write_shape(0) {
            return written_as(from, to, n);
        }
        let (id, cols) = (self.op.writes[0], self.write_shape(0).cols);
        let block = |block: Block| copy(from, block.whole * cols, to, block.own * cols, block.rows * cols);
        self.blocks(id).into_iter().map(block).collect()
    }

    /// The first row of the whole that this rank holds of a tensor.
    fn row_offset(&self, id: TensorId) -> u32 {
        let tensor = self.tensor(id);
        if tensor.placement == Placement::Shard(Dim::Rows) { self.context.slice_index * tensor.local.rows } else { 0 }
    }

    /// The rows that this rank has of what is spread over the tensor group, as runs of rows of the whole: several, where they
    /// are gathered by chunks.
    fn blocks(&self, id: TensorId) -> Vec<Block> {
        let (tensor, dims) = (self.tensor(id), &self.context.step.dims);
        let rows = tensor.local.rows;
        let stream = tensor.placement == Placement::Shard(Dim::Rows) && tensor.shape.rows == dims.tokens();
        if !stream || dims.stream_blocks == 1 {
            return vec![Block { own: 0, whole: self.row_offset(id), rows }];
        }
        let (chunk, rows) = (tensor.shape.rows / dims.stream_blocks, rows / dims.stream_blocks);
        let first = self.context.slice_index * rows;
        (0..dims.stream_blocks)
            .map(|number| Block { own: number * rows, whole: number * chunk + first, rows })
            .collect()
    }

    /// Some rows of a slice.
    fn rows_of(slice: Slice, first: u32, rows: u32, cols: u32) -> Slice {
        let bytes = |rows: u32| u64::from(rows) * u64::from(cols) * slice.format.size();
        Slice { offset: slice.offset + bytes(first), size: bytes(rows), ..slice }
    }

    /// Learned positions and their gradient, for each run of rows.
    fn positions(&self) -> Vec<Dispatch> {
        let dims = &self.context.step.dims;
        let (seq, stride, first, pad) =
            (dims.sequence / dims.context, dims.context, self.context.context_index, [0; 1]);
        let cut = |slice: Slice, block: Block, cols: u32| Self::rows_of(slice, block.own, block.rows, cols);
        let forward = |block: Block| {
            let (cols, group) = (self.write_shape(0).cols, positions_of_entry(dims, self.read_shape(1)));
            let (rows, row_offset) = (block.rows, block.whole);
            let params = PositionParams { rows, cols, seq, row_offset, stride, first, group, pad };
            let [x, out] = [self.reads[0], self.writes[0]].map(|slice| cut(slice, block, cols));
            Dispatch::new(&params, [x, self.reads[1], out])
        };
        let backward = |block: Block| {
            let (cols, group) = (self.read_shape(0).cols, positions_of_entry(dims, self.write_shape(0)));
            let (rows, row_offset) = (block.rows, block.whole);
            let params = PositionGradParams { rows, cols, seq, row_offset, stride, first, group, pad };
            Dispatch::new(&params, [cut(self.reads[0], block, cols), self.writes[0]])
        };
        match self.op.kind {
            OpKind::Position => self.blocks(self.op.writes[0]).into_iter().map(forward).collect(),
            _ => self.blocks(self.op.reads[0]).into_iter().map(backward).collect(),
        }
    }

    fn embedding(&self) -> Dispatch {
        if self.op.kind == OpKind::Embedding {
            let (out, table) = (self.write_shape(0), self.op.reads[1]);
            let (vocab_offset, vocab_local) = (self.row_offset(table), self.tensor(table).local.rows);
            return self.simple(&EmbeddingParams { rows: out.rows, cols: out.cols, vocab_offset, vocab_local });
        }
        let (dx, table) = (self.read_shape(1), self.op.writes[0]);
        let (vocab_offset, vocab_local) = (self.row_offset(table), self.tensor(table).local.rows);
        self.simple(&EmbeddingGradParams { rows: dx.rows, cols: dx.cols, vocab_offset, vocab_local })
    }

    fn norm(&self) -> Vec<Dispatch> {
        let (Shape { rows, cols }, eps) = (self.read_shape(0), self.context.step.dims.norm_eps as f32);
        let pad = [0; 2];
        vec![match (self.op.kind, self.context.step.dims.layer_norm) {
            (OpKind::Norm, true) => self.simple(&LayerNormParams { rows, cols, eps, pad: [0] }),
            (OpKind::Norm, false) => self.simple(&RmsNormParams { rows, cols, eps, pad: [0] }),
            (OpKind::NormGrad, true) => self.simple(&LayerNormGradParams { rows, cols, pad }),
            (OpKind::NormGrad, false) => self.simple(&RmsNormGradParams { rows, cols, pad }),
            (_, true) => self.simple(&LayerNormGradParamsParams { rows, cols, pad }),
            (_, false) => self.simple(&RmsNormGradParamsParams { rows, cols, pad }),
        }]
    }

    /// Transposes are strides; without a bias, `a` is bound in its place and not read.
    fn matmul(
        &self,
        [transpose_a, transpose_b]: [bool; 2],
        bias: bool,
        accumulate: bool,
        epilogue: Epilogue,
    ) -> Dispatch {
        let (a, b, c) = (self.read_shape(0), self.read_shape(1), self.write_shape(0));
        let strides = |shape: Shape, transposed: bool| if transposed { (1, shape.cols) } else { (shape.cols, 1) };
        let ((a_row_stride, a_col_stride), (b_row_stride, b_col_stride)) =
            (strides(a, transpose_a), strides(b, transpose_b));
        let ((factor, a_offset), (product, c_offset)) = (self.factors()[0].aligned(), self.writes[0].aligned());
        let params = MatmulParams {
            a_offset,
            c_offset,
            m: c.rows,
            n: c.cols,
            k: if transpose_a { a.rows } else { a.cols },
            a_row_stride,
            a_col_stride,
            b_row_stride,
            b_col_stride,
            accumulate: accumulate.into(),
            epilogue: if bias { BIAS } else { 0 } | activation(epilogue),
            batches: 1,
            ..MatmulParams::default()
        };
        let bias = if bias { self.reads[2] } else { factor };
        Dispatch::new(&params, [factor, self.factors()[1], bias, product])
    }

    /// What a matrix product reads, as matrix units read it.
    fn factors(&self) -> [Slice; 2] {
        [0, 1].map(|index| {
            let rounded = self.tensor(self.op.reads[index]).dtype == DType::Tf32;
            let slice = self.reads[index];
            Slice { format: if rounded { Format::Tf32 } else { slice.format }, ..slice }
        })
    }

    /// Groups of query heads that this rank holds of a fused projection.
    fn groups(&self, qkv: Shape) -> u32 {
        qkv.cols / self.context.step.dims.group_width()
    }

    fn rope(&self, inverse: bool) -> Dispatch {
        let (shape, dims) = (self.read_shape(0), &self.context.step.dims);
        self.simple(&RopeParams {
            rows: shape.rows,
            seq: dims.sequence / dims.context,
            groups: self.groups(shape),
            q_per_group: dims.queries_per_group,
            head_dim: dims.head_dim,
            theta: dims.rope_theta as f32,
            direction: if inverse { -1.0 } else { 1.0 },
            stride: dims.context,
            first: self.context.context_index,
            pad: [0; 3],
        })
    }

    fn latent_join(&self) -> Dispatch {
        let dims = &self.context.step.dims;
        let joins = self.op.kind == OpKind::LatentJoin;
        let (queries, key) =
            if joins { (self.read_shape(0), self.read_shape(2)) } else { (self.write_shape(0), self.write_shape(2)) };
        let params = LatentJoinParams {
            rows: queries.rows,
            seq: dims.sequence / dims.context,
            heads: queries.cols / dims.head_dim,
            plain: dims.head_dim - key.cols,
            rotated: key.cols,
            value: dims.value_dim,
            theta: dims.rope_theta as f32,
            stride: dims.context,
            first: self.context.context_index,
            pad: [0; 3],
        };
        if joins { self.simple(&params) } else { self.simple(&LatentJoinGradParams(params)) }
    }

    /// SwiGLU in two kernels.
    fn eager_activation(&self) -> Dispatch {
        let (written, pad) = (self.written(0), [0; 3]);
        match self.op.kind {
            OpKind::Silu => self.simple(&SiluParams { n: written, pad }),
            OpKind::Gate => self.simple(&GateParams { n: written, pad }),
            OpKind::GateGrad => self.simple(&GateGradParams { n: written, pad }),
            // Counted by the gradients that come in, half as wide as the one that goes out.
            _ => self.simple(&SiluGradParams { n: elements(self.read_shape(1)), pad }),
        }
    }

    fn activation(&self) -> Dispatch {
        let pad = [0; 3];
        let n = self.written(0);
        match self.op.kind {
            OpKind::Gelu => self.simple(&GeluParams { n, pad }),
            OpKind::GeluGrad => self.simple(&GeluGradParams { n, pad }),
            OpKind::SwiGlu => self.simple(&SwigluParams { n, pad }),
            // Counted by the gradient that comes in, half as wide as the one that goes out.
            _ => self.simple(&SwigluGradParams { n: elements(self.read_shape(1)), pad }),
        }
    }

    fn accumulate(&self) -> Dispatch {
        let params = ReduceParams { n: self.written(0), op: 0, dst_offset: 0, src_offset: 0 };
        Dispatch::new(&params, [self.reads[0], self.writes[0]])
    }

    fn elementwise(&self) -> Dispatch {
        match self.op.kind {
            // To what is there.
            OpKind::Add if self.op.reads[1] == self.op.writes[0] => self.accumulate(),
            OpKind::Add => self.simple(&AddParams { n: self.written(0), pad: [0; 3] }),
            OpKind::ColumnSum => {
                let Shape { rows, cols } = self.read_shape(0);
                self.simple(&ColumnSumParams { rows, cols, stride: cols, pad: [0; 1] })
            }
            _ => {
                let (cols, bias) = (self.write_shape(0).cols, self.reads.get(2));
                let params = ResidualParams { n: self.written(0), cols, has_bias: bias.is_some().into(), pad: [0] };
                let bias = bias.copied().unwrap_or(self.reads[0]);
                Dispatch::new(&params, [self.reads[0], self.reads[1], bias, self.writes[0]])
            }
        }
    }

    fn loss(&self) -> Dispatch {
        let Shape { rows, cols } = self.read_shape(0);
        let logits = self.tensor(self.op.reads[0]);
        let sharded = logits.placement == Placement::Shard(Dim::Cols);
        let vocab_offset = if sharded { self.context.slice_index * cols } else { 0 };
        let (vocab_total, scale) = (self.context.step.dims.vocab, self.loss_factor(self.op.reads[0]));
        match self.op.kind {
            OpKind::RowMax => self.simple(&RowMaxParams { rows, cols, vocab_offset, vocab_total }),
            OpKind::SumExp => self.simple(&SumExpParams { rows, cols, vocab_offset, vocab_total }),
            OpKind::CrossEntropy => self.simple(&CrossEntropyParams { rows, scale, pad: [0; 2] }),
            _ => {
                let pad = [0; 3];
                self.simple(&CrossEntropyGradParams { rows, cols, vocab_offset, vocab_total, scale, pad })
            }
        }
    }

    /// One over the rows of a loss in the whole batch: as many as here, in every micro-batch of every replica.
    fn loss_factor(&self, of: TensorId) -> f32 {
        let dims = &self.context.step.dims;
        let micro_batches = dims.loss_tokens as f64 / f64::from(dims.tokens());
        (1.0 / (micro_batches * f64::from(self.tensor(of).shape.rows))) as f32
    }

    /// A replicated gradient stands on every rank of the tensor group; each adds its share.
    fn sum_squares(&self, copies: u32) -> Dispatch {
        let (tensor, mesh) = (self.tensor(self.op.reads[0]), self.context.step.mesh);
        // Of experts that lie over the tensor group too, or whose slices do, `copies` counts all ranks.
        let counted = tensor.spread == Spread::Experts && (mesh.ep > 1 || tensor.role != Role::Gradient);
        let copies = copies * if tensor.placement == Placement::Replicate && !counted { mesh.tp } else { 1 };
        let scale = 1.0 / copies as f32;
        self.simple(&SumSquaresParams { n: elements(self.read_shape(0)), scale, pad: [0; 2] })
    }
}

/// Writes `n` numbers in the format of `to`.
pub(super) fn written_as(from: Slice, to: Slice, n: u32) -> Vec<Dispatch> {
    if to.format.is_scaled() { quantized(from, to, n) } else { vec![copy(from, 0, to, 0, n)] }
}

/// Writes `n` numbers in eight bits or four, with their scales.
fn quantized(from: Slice, to: Slice, n: u32) -> Vec<Dispatch> {
    let (words, bound) = (n.div_ceil(4), [from, Slice { format: Format::Word, ..to }]);
    let scale = |most: f32| Dispatch::new(&ScaleParams { n, words, most, pad: [0; 1] }, bound);
    match to.format.byte() {
        Some([mantissa, bias, largest]) => {
            let codes = QuantizeParams { n, words, mantissa, bias, largest, pad: [0; 3] };
            vec![scale(to.format.decode(largest)), Dispatch::new(&codes, bound)]
        }
        None if to.format == Format::E2m1Blocks => {
            vec![scale(MOST_E2M1), Dispatch::new(&QuantizeShortParams { n, words, pad: [0; 2] }, bound)]
        }
        None => vec![Dispatch::new(&QuantizeBlocksParams { n, words, pad: [0; 2] }, bound)],
    }
}

/// The bit of an activation.
fn activation(epilogue: Epilogue) -> u32 {
    match epilogue {
        Epilogue::None => 0,
        Epilogue::Relu => RELU,
        Epilogue::Tanh => TANH,
    }
}

/// Neighbouring positions that share a row of a table: one of learned positions, half a sequence of the texts of a pair.
fn positions_of_entry(dims: &Dims, table: Shape) -> u32 {
    dims.sequence.div_ceil(table.rows).max(1)
}

fn elements(shape: Shape) -> u32 {
    u32::try_from(shape.elements()).unwrap_or(u32::MAX)
}
