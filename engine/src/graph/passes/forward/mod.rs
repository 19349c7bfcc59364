//! First pass: model → tensor ops of one micro-batch on one device. This file has what families share; each has a file
//! of its own.

mod decoder;
mod encoder;
mod recommender;
mod residual;

use crate::graph::{
    DType, Dims, Epilogue, Op, OpGraph, OpKind, Part, Placement, Role, Shape, Spread, Storage, Tensor, TensorId,
};
use crate::model::{Architecture, Model};
use crate::scenario::{AttentionKernel, Kernels, Place, Scenario};
use crate::trace::{Name, Phase, name};

/// Builds the forward ops of one micro-batch, from token ids to the loss.
pub fn forward(scenario: &Scenario) -> OpGraph {
    let graph = OpGraph { dims: Dims::of(scenario), tensors: Vec::new(), ops: Vec::new() };
    let strategy = scenario.strategy();
    let (unfused, eager) = (strategy.attention == AttentionKernel::Unfused, strategy.kernels == Kernels::Eager);
    let mut builder =
        Builder { graph, model: scenario.model(), part: Part::Embedding, unfused, eager, random_state: None };
    match scenario.model().architecture {
        Architecture::Gpt | Architecture::Llama => builder.decoder(),
        Architecture::Bert => builder.text_encoder(),
        Architecture::Vit => builder.image_encoder(),
        Architecture::Resnet => builder.residual_network(),
        Architecture::Dlrm => builder.recommender(),
    }
    builder.graph
}

struct Builder<'a> {
    graph: OpGraph,
    model: &'a Model,
    part: Part,
    /// Whether attention stores its scores.
    unfused: bool,
    /// Whether every operation is a kernel of its own.
    eager: bool,
    /// What masks of dropout depend on, once one does.
    random_state: Option<TensorId>,
}

/// The name of the scalar that holds the number of the step, where something is dropped.
pub const RANDOM_STATE: &str = "head random state";

/// A linear layer's weights.
struct Linear {
    weight: TensorId,
    bias: Option<TensorId>,
}

impl Builder<'_> {
    fn name(&self, what: &str) -> Name {
        match self.part {
            Part::Embedding => name(&["embedding ", what]),
            Part::Layer(layer) => name(&["layer ", itoa::Buffer::new().format(layer), " ", what]),
            Part::Head => name(&["head ", what]),
        }
    }

    fn tensor(&mut self, what: &str, shape: Shape, dtype: DType, role: Role) -> TensorId {
        let name = self.name(what);
        let (part, placement, storage) = (self.part, Placement::Replicate, Storage::Own);
        let spread = Spread::Tensor;
        self.graph.add_tensor(Tensor {
            name,
            shape,
            local: shape,
            dtype,
            role,
            part,
            placement,
            spread,
            storage,
            place: Place::Device,
        })
    }

    fn parameter(&mut self, what: &str, rows: u32, cols: u32) -> TensorId {
        self.tensor(what, Shape::new(rows, cols), DType::F32, Role::Parameter)
    }

    /// A parameter that is not cut over the tensor group as others are.
    fn spread_parameter(&mut self, what: &str, rows: u32, cols: u32, spread: Spread) -> TensorId {
        let id = self.parameter(what, rows, cols);
        self.graph.tensors[id.index()].spread = spread;
        id
    }

    /// What a micro-batch brings to a part of the model.
    fn input(&mut self, what: &str, part: Part, shape: Shape, dtype: DType) -> TensorId {
        let before = std::mem::replace(&mut self.part, part);
        let id = self.tensor(what, shape, dtype, Role::Input);
        self.part = before;
        id
    }

    /// Numbers of tokens, classes or rows.
    fn numbers(&mut self, what: &str, part: Part, rows: u32) -> TensorId {
        self.input(what, part, Shape::vector(rows), DType::U32)
    }

    fn rows_of(&self, id: TensorId) -> u32 {
        self.graph.tensor(id).shape.rows
    }

    fn cols_of(&self, id: TensorId) -> u32 {
        self.graph.tensor(id).shape.cols
    }

    /// Appends an op whose one result has as many rows as its first input, and `cols` features.
    fn op(&mut self, kind: OpKind, what: &str, reads: Vec<TensorId>, cols: u32) -> TensorId {
        let rows = reads.first().map_or(0, |&id| self.rows_of(id));
        let y = self.value(what, rows, cols);
        self.push(kind, what, reads, vec![y]);
        y
    }

    fn value(&mut self, what: &str, rows: u32, cols: u32) -> TensorId {
        self.tensor(what, Shape::new(rows, cols), DType::F32, Role::Activation)
    }

    fn push(&mut self, kind: OpKind, what: &str, reads: Vec<TensorId>, writes: Vec<TensorId>) {
        let name = self.name(what);
        self.graph.ops.push(Op { kind, name, part: self.part, phase: Phase::Forward, reads, writes });
    }

    fn norm(&mut self, what: &str, x: TensorId) -> TensorId {
        let (features, rows) = (self.cols_of(x), self.rows_of(x));
        let mut reads = vec![x, self.parameter(&format!("{what} weight"), features, 1)];
        if self.model.has_biases() {
            reads.push(self.parameter(&format!("{what} shift"), features, 1));
        }
        let y = self.value(what, rows, features);
        let statistics = self.value(&format!("{what} statistics"), rows, if self.model.has_biases() { 2 } else { 1 });
        self.push(OpKind::Norm, what, reads, vec![y, statistics]);
        y
    }

    fn linear(&mut self, what: &str, inputs: u32, outputs: u32) -> Linear {
        let weight = self.parameter(&format!("{what} weight"), inputs, outputs);
        let biased = self.model.has_biases() || what == "qkv" && self.model.qkv_bias;
        let bias = biased.then(|| self.parameter(&format!("{what} bias"), outputs, 1));
        Linear { weight, bias }
    }

    /// A linear layer whose bias is added in the matmul: column-parallel when sharded.
    fn column_linear(&mut self, what: &str, x: TensorId, inputs: u32, outputs: u32) -> TensorId {
        let Linear { weight, bias } = self.linear(what, inputs, outputs);
        let mut reads = vec![x, weight];
        reads.extend(bias);
        let kind = OpKind::Matmul {
            transpose_a: false,
            transpose_b: false,
            bias: bias.is_some(),
            accumulate: false,
            epilogue: Epilogue::None,
        };
        self.op(kind, what, reads, outputs)
    }

    /// A linear layer added to the residual stream: row-parallel when sharded, so that the bias is added once,
    /// after the reduction.
    fn row_linear(&mut self, what: &str, y: TensorId, x: TensorId, inputs: u32) -> TensorId {
        let hidden = self.model.hidden;
        let Linear { weight, bias } = self.linear(what, inputs, hidden);
        let product = self.op(OpKind::MATMUL, what, vec![y, weight], hidden);
        let mut reads = vec![x, product];
        reads.extend(bias);
        self.residual(&format!("{what} residual"), reads)
    }

    /// The sum of the residual stream, of what is added to it and of its bias. Bias, dropout and addition are one kernel
    /// (Megatron-LM's `bias_dropout_add`).
    fn residual(&mut self, what: &str, reads: Vec<TensorId>) -> TensorId {
        let kind = OpKind::Residual { bias: reads.len() > 2 };
        if self.model.dropout == 0.0 {
            return self.op(kind, what, reads, self.model.hidden);
        }
        let (rows, cols) = (self.rows_of(reads[0]), self.model.hidden);
        let (sum, mask) = (self.value(what, rows, cols), self.mask(what, rows, cols));
        let reads = [reads, vec![self.random_state()]].concat();
        self.push(kind, what, reads, vec![sum, mask]);
        sum
    }

    /// Drops elements of `x`, where the model drops any.
    fn dropout(&mut self, what: &str, x: TensorId) -> TensorId {
        if self.model.dropout == 0.0 {
            return x;
        }
        let what = format!("{what} dropout");
        let (rows, cols) = (self.rows_of(x), self.cols_of(x));
        let (y, mask) = (self.value(&what, rows, cols), self.mask(&what, rows, cols));
        let state = self.random_state();
        self.push(OpKind::Dropout, &what, vec![x, state], vec![y, mask]);
        y
    }

    /// What masks depend on besides their place: the number of the step.
    fn random_state(&mut self) -> TensorId {
        if let Some(known) = self.random_state {
            return known;
        }
        let shape = Shape::vector(1);
        let state = self.input("random state", Part::Head, shape, DType::U32);
        self.graph.tensors[state.index()].role = Role::Scalar;
        self.random_state = Some(state);
        state
    }

    /// Which elements were kept: a byte each, as frameworks store it.
    fn mask(&mut self, what: &str, rows: u32, cols: u32) -> TensorId {
        self.tensor(&format!("{what} mask"), Shape::new(rows, cols), DType::U8, Role::Activation)
    }

    /// A linear layer without bias whose weight every rank of the tensor group has whole.
    fn whole_linear(&mut self, what: &str, x: TensorId, outputs: u32) -> TensorId {
        let inputs = self.cols_of(x);
        let weight = self.spread_parameter(&format!("{what} weight"), inputs, outputs, Spread::Whole);
        self.op(OpKind::MATMUL, what, vec![x, weight], outputs)
    }

    /// The scalar that sums a loss over micro-batches.
    fn loss(&mut self, what: &str) -> TensorId {
        self.tensor(what, Shape::vector(1), DType::F32, Role::Scalar)
    }

    /// The cross-entropy of `logits`.
    fn cross_entropy(&mut self, what: &str, logits: TensorId, targets: TensorId) {
        let loss = self.loss(what);
        let max = self.op(OpKind::RowMax, &format!("{what} max"), vec![logits], 1);
        let sums = self.op(OpKind::SumExp, &format!("{what} sums"), vec![logits, max, targets], 2);
        self.push(OpKind::CrossEntropy, what, vec![sums], vec![loss]);
    }

    /// The cross-entropy of so few classes that every rank of the tensor group computes them in one kernel.
    fn whole_cross_entropy(&mut self, what: &str, logits: TensorId, targets: TensorId) {
        let loss = self.loss(what);
        let sums = self.op(OpKind::ClassSums, &format!("{what} sums"), vec![logits, targets], 2);
        self.push(OpKind::CrossEntropy, what, vec![sums], vec![loss]);
    }

    /// A linear layer whose weight every rank of the tensor group has whole.
    fn whole_biased(&mut self, what: &str, x: TensorId, outputs: u32) -> TensorId {
        self.whole_biased_then(what, x, outputs, Epilogue::None)
    }

    /// The same with an activation: in the same kernel, where kernels are fused.
    fn whole_activated(&mut self, what: &str, x: TensorId, outputs: u32, activation: Epilogue) -> TensorId {
        if !self.eager {
            return self.whole_biased_then(what, x, outputs, activation);
        }
        let y = self.whole_biased(what, x, outputs);
        let kind = if activation == Epilogue::Tanh { OpKind::Tanh } else { OpKind::Relu };
        self.op(kind, &format!("{what} activation"), vec![y], outputs)
    }

    fn whole_biased_then(&mut self, what: &str, x: TensorId, outputs: u32, epilogue: Epilogue) -> TensorId {
        let weight = self.spread_parameter(&format!("{what} weight"), self.cols_of(x), outputs, Spread::Whole);
        let bias = self.spread_parameter(&format!("{what} bias"), outputs, 1, Spread::Whole);
        let kind = OpKind::Matmul { transpose_a: false, transpose_b: false, bias: true, accumulate: false, epilogue };
        self.op(kind, what, vec![x, weight, bias], outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ParameterCount;
    use crate::scenario::presets;

    #[test]
    fn the_graph_has_as_many_parameters_as_the_model() {
        for preset in presets() {
            let scenario = Scenario::preset(preset.name).expect("presets are valid");
            let graph = forward(&scenario);
            let parameters = graph.tensors.iter().filter(|t| t.role == Role::Parameter);
            let count: u64 = parameters.map(|t| t.shape.elements()).sum();
            assert_eq!(count, ParameterCount::of(scenario.model()).total(), "{}", preset.name);
            graph.verify().unwrap_or_else(|error| panic!("{}: {error}", preset.name));
        }
    }
}
