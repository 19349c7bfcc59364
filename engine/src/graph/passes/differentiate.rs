//! Second pass: appends the backward ops, from the loss back to the embedding.
//!
//! A parameter's gradient is one accumulator into which every micro-batch adds.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use crate::graph::{Epilogue, Op, OpGraph, OpKind, Role, Shape, Tensor, TensorId, Window};
use crate::trace::{Phase, name};

/// Appends the gradient of every op of `graph`.
pub fn differentiate(graph: OpGraph) -> OpGraph {
    let forward = graph.ops.clone();
    let of_input = |op: &&Op| op.kind == OpKind::Cast && graph.tensor(op.reads[0]).role == Role::Input;
    let given = forward.iter().filter(of_input).map(|op| op.writes[0]).collect();
    let mut backward = Backward { graph, given, gradients: BTreeMap::new(), value_gradients: BTreeMap::new() };
    for op in forward.iter().rev() {
        backward.op(op);
    }
    backward.graph
}

struct Backward {
    graph: OpGraph,
    /// Inputs of the model in another format, whose gradients nobody asks for.
    given: BTreeSet<TensorId>,
    /// The gradient of each value and each parameter so far.
    gradients: BTreeMap<TensorId, TensorId>,
    /// Gradients of the values of a fused projection, or of one half of a gated block, on their way to that of the whole.
    value_gradients: BTreeMap<TensorId, TensorId>,
}

impl Backward {
    fn op(&mut self, op: &Op) {
        match op.kind {
            OpKind::CrossEntropy => {}
            OpKind::SumExp => self.cross_entropy(op),
            OpKind::RowMax => {}
            OpKind::Matmul { transpose_b, bias, epilogue, .. } => self.matmul(op, transpose_b, bias, epilogue),
            OpKind::Norm => self.norm(op),
            OpKind::GroupedMatmul { .. } => self.grouped_matmul(op),
            OpKind::Combine => self.combine(op),
            OpKind::Dispatch => self.dispatch(op),
            OpKind::Route => self.route(op),
            OpKind::LatentJoin => self.latent_join(op),
            OpKind::Add => self.residual(op, false),
            OpKind::Residual { bias } => self.residual(op, bias),
            OpKind::Dropout => {
                self.dropout(op, op.reads[0], op.writes[1]);
            }
            OpKind::Gelu => self.unary(op, OpKind::GeluGrad),
            OpKind::Relu => self.of_result(op, OpKind::ReluGrad),
            OpKind::Tanh => self.of_result(op, OpKind::TanhGrad),
            OpKind::GatherRows => self.gather_rows(op),
            OpKind::ClassToken => self.class_token(op),
            OpKind::ClassSums => self.class_sums(op),
            OpKind::Convolution(window) => self.convolution(op, window),
            OpKind::BatchNorm => self.batch_norm(op),
            OpKind::GroupNorm(groups) => self.group_norm(op, groups),
            OpKind::Pool(window) => self.pool(op, window),
            OpKind::EmbeddingBag => self.embedding_bag(op),
            OpKind::Interaction => self.interaction(op),
            OpKind::Cross => self.cross(op),
            OpKind::BinaryLoss => self.binary_loss(op),
            OpKind::SwiGlu => self.unary(op, OpKind::SwiGluGrad),
            OpKind::Gate => self.gate(op),
            OpKind::Silu => self.silu(op),
            OpKind::Rope { .. } => self.rope(op),
            OpKind::Attention => self.attention(op),
            OpKind::AttentionValues => self.attention_values(op),
            OpKind::AttentionSoftmax => self.attention_softmax(op),
            OpKind::AttentionScores => self.attention_scores(op),
            OpKind::Position => self.position(op),
            OpKind::Embedding => self.embedding(op),
            // Forward graphs have no other kinds.
            _ => {}
        }
    }

    fn push(&mut self, of: &Op, kind: OpKind, suffix: &str, reads: Vec<TensorId>, writes: Vec<TensorId>) {
        let name = name(&[&of.name, " ", suffix]);
        self.graph.ops.push(Op { kind, name, part: of.part, phase: Phase::Backward, reads, writes });
    }

    /// A new value with the shape of `like`.
    fn value_like(&mut self, like: TensorId, prefix: &str) -> TensorId {
        let tensor = self.graph.tensor(like).clone();
        let name = name(&[prefix, " of ", &tensor.name]);
        self.graph.add_tensor(Tensor { name, role: Role::Activation, ..tensor })
    }

    /// The accumulator of a parameter's gradient.
    fn accumulator(&mut self, parameter: TensorId) -> TensorId {
        if let Some(&gradient) = self.gradients.get(&parameter) {
            return gradient;
        }
        let tensor = self.graph.tensor(parameter).clone();
        let name = name(&["gradient of ", &tensor.name]);
        let gradient = self.graph.add_tensor(Tensor { name, role: Role::Gradient, ..tensor });
        self.gradients.insert(parameter, gradient);
        gradient
    }

    /// The gradient that has reached `value`; every value of a forward graph leads to the loss.
    fn gradient(&self, value: TensorId) -> TensorId {
        self.gradients.get(&value).copied().unwrap_or(value)
    }

    /// Records `gradient` as a term of the gradient of `value`, adding to earlier terms.
    fn contribute(&mut self, of: &Op, value: TensorId, gradient: TensorId) {
        let Some(&earlier) = self.gradients.get(&value) else {
            self.gradients.insert(value, gradient);
            return;
        };
        let sum = self.value_like(value, "gradient sum");
        self.push(of, OpKind::Add, "gradient sum", vec![earlier, gradient], vec![sum]);
        self.gradients.insert(value, sum);
    }

    fn cross_entropy(&mut self, op: &Op) {
        let [logits, max, targets] = op.reads[..] else { return };
        let dlogits = self.value_like(logits, "gradient");
        self.push(op, OpKind::CrossEntropyGrad, "gradient", vec![logits, max, op.writes[0], targets], vec![dlogits]);
        self.contribute(op, logits, dlogits);
    }

    fn matmul(&mut self, op: &Op, transpose_b: bool, bias: bool, epilogue: Epilogue) {
        let (x, weight, y) = (op.reads[0], op.reads[1], op.writes[0]);
        let dy = match epilogue {
            Epilogue::None => self.gradient(y),
            Epilogue::Relu => self.before_activation(op, OpKind::ReluGrad),
            Epilogue::Tanh => self.before_activation(op, OpKind::TanhGrad),
        };
        if !self.given.contains(&x) {
            let dx = self.value_like(x, "gradient");
            let kind = OpKind::Matmul {
                transpose_a: false,
                transpose_b: !transpose_b,
                bias: false,
                accumulate: false,
                epilogue: Epilogue::None,
            };
            self.push(op, kind, "input gradient", vec![dy, weight], vec![dx]);
            self.contribute(op, x, dx);
        }
        let dw = self.accumulator(weight);
        // dW = xᵀ·dy, or its transpose where the weight is read transposed.
        let (a, b) = if transpose_b { (dy, x) } else { (x, dy) };
        let kind = OpKind::Matmul {
            transpose_a: true,
            transpose_b: false,
            bias: false,
            accumulate: true,
            epilogue: Epilogue::None,
        };
        self.push(op, kind, "weight gradient", vec![a, b], vec![dw]);
        if bias {
            let dbias = self.accumulator(op.reads[2]);
            self.push(op, OpKind::ColumnSum, "bias gradient", vec![dy], vec![dbias]);
        }
    }

    /// The gradient of what an op's activation was applied to.
    fn before_activation(&mut self, op: &Op, kind: OpKind) -> TensorId {
        let (y, dy) = (op.writes[0], self.gradient(op.writes[0]));
        let dx = self.value_like(y, "gradient before activation");
        self.push(op, kind, "activation gradient", vec![y, dy], vec![dx]);
        dx
    }

    /// As a matmul, for every expert.
    fn grouped_matmul(&mut self, op: &Op) {
        let (x, weight, dy) = (op.reads[0], op.reads[1], self.gradient(op.writes[0]));
        let dx = self.value_like(x, "gradient");
        let kind = OpKind::GroupedMatmul { transpose_a: false, transpose_b: true, accumulate: false };
        self.push(op, kind, "input gradient", vec![dy, weight], vec![dx]);
        let dw = self.accumulator(weight);
        let kind = OpKind::GroupedMatmul { transpose_a: true, transpose_b: false, accumulate: true };
        self.push(op, kind, "weight gradient", vec![x, dy], vec![dw]);
        self.contribute(op, x, dx);
    }

    fn combine(&mut self, op: &Op) {
        let [rows, weights, assignment] = op.reads[..] else { return };
        let dy = self.gradient(op.writes[0]);
        let (drows, dweights) = (self.value_like(rows, "gradient"), self.value_like(weights, "gradient"));
        self.push(op, OpKind::CombineGrad, "gradient", vec![rows, weights, assignment, dy], vec![drows, dweights]);
        self.contribute(op, rows, drows);
        self.contribute(op, weights, dweights);
    }

    fn dispatch(&mut self, op: &Op) {
        let (x, assignment, drows) = (op.reads[0], op.reads[1], self.gradient(op.writes[0]));
        let dx = self.value_like(x, "gradient");
        self.push(op, OpKind::DispatchGrad, "gradient", vec![drows, assignment], vec![dx]);
        self.contribute(op, x, dx);
    }

    fn route(&mut self, op: &Op) {
        let (scores, dweights) = (op.reads[0], self.gradient(op.writes[0]));
        let dscores = self.value_like(scores, "gradient");
        self.push(op, OpKind::RouteGrad, "gradient", vec![scores, op.writes[1], dweights], vec![dscores]);
        self.contribute(op, scores, dscores);
    }

    fn latent_join(&mut self, op: &Op) {
        let dqkv = self.gradient(op.writes[0]);
        let parts: Vec<_> = op.reads.iter().map(|&part| self.value_like(part, "gradient")).collect();
        self.push(op, OpKind::LatentJoinGrad, "gradient", vec![dqkv], parts.clone());
        for (&part, gradient) in op.reads.iter().zip(parts) {
            self.contribute(op, part, gradient);
        }
    }

    fn norm(&mut self, op: &Op) {
        let (x, weight, statistics, dy) = (op.reads[0], op.reads[1], op.writes[1], self.gradient(op.writes[0]));
        let dx = self.value_like(x, "gradient");
        self.push(op, OpKind::NormGrad, "gradient", vec![x, weight, statistics, dy], vec![dx]);
        let parameters: Vec<_> = op.reads[1..].iter().map(|&parameter| self.accumulator(parameter)).collect();
        self.push(op, OpKind::NormGradParameters, "weight gradient", vec![x, statistics, dy], parameters);
        self.contribute(op, x, dx);
    }

    /// What was dropped has no part in the gradient of what was added, nor in that of its bias.
    fn residual(&mut self, op: &Op, bias: bool) {
        let dy = self.gradient(op.writes[0]);
        let dadded = match op.writes.get(1) {
            Some(&mask) => self.dropout(op, op.reads[1], mask),
            None => {
                self.contribute(op, op.reads[1], dy);
                dy
            }
        };
        if bias {
            let dbias = self.accumulator(op.reads[2]);
            self.push(op, OpKind::ColumnSum, "bias gradient", vec![dadded], vec![dbias]);
        }
        self.contribute(op, op.reads[0], dy);
    }

    /// The gradient of `x`, of which `mask` says what was kept.
    fn dropout(&mut self, op: &Op, x: TensorId, mask: TensorId) -> TensorId {
        let (dy, dx) = (self.gradient(op.writes[0]), self.value_like(x, "gradient"));
        self.push(op, OpKind::DropoutGrad, "dropout gradient", vec![dy, mask], vec![dx]);
        self.contribute(op, x, dx);
        dx
    }

    fn unary(&mut self, op: &Op, kind: OpKind) {
        let (x, dy) = (op.reads[0], self.gradient(op.writes[0]));
        let dx = self.value_like(x, "gradient");
        self.push(op, kind, "gradient", vec![x, dy], vec![dx]);
        self.contribute(op, x, dx);
    }

    /// Leaves the gradient of one half to that of the other, which completes the block's.
    fn gate(&mut self, op: &Op) {
        let (up, gate, dy) = (op.reads[0], op.reads[1], self.gradient(op.writes[0]));
        let (dgate, dup) = (self.value_like(gate, "gradient"), self.value_like(gate, "gradient of the factor"));
        self.push(op, OpKind::GateGrad, "gradient", vec![up, gate, dy], vec![dgate, dup]);
        self.contribute(op, gate, dgate);
        self.value_gradients.insert(up, dup);
    }

    fn silu(&mut self, op: &Op) {
        let (up, dgate) = (op.reads[0], self.gradient(op.writes[0]));
        let dx = self.value_like(up, "gradient");
        let reads = [up, dgate].into_iter().chain(self.value_gradients.get(&up).copied()).collect();
        self.push(op, OpKind::SiluGrad, "gradient", reads, vec![dx]);
        self.contribute(op, up, dx);
    }

    /// Of an activation whose slope follows from its result.
    fn of_result(&mut self, op: &Op, kind: OpKind) {
        let (y, dy) = (op.writes[0], self.gradient(op.writes[0]));
        let dx = self.value_like(op.reads[0], "gradient");
        self.push(op, kind, "gradient", vec![y, dy], vec![dx]);
        self.contribute(op, op.reads[0], dx);
    }

    fn gather_rows(&mut self, op: &Op) {
        let (x, positions, drows) = (op.reads[0], op.reads[1], self.gradient(op.writes[0]));
        let dx = self.value_like(x, "gradient");
        self.push(op, OpKind::GatherRowsGrad, "gradient", vec![drows, positions], vec![dx]);
        self.contribute(op, x, dx);
    }

    fn class_token(&mut self, op: &Op) {
        let (x, token, dy) = (op.reads[0], op.reads[1], self.gradient(op.writes[0]));
        let (dx, dtoken) = (self.value_like(x, "gradient"), self.accumulator(token));
        self.push(op, OpKind::ClassTokenGrad, "gradient", vec![dy], vec![dx]);
        self.push(op, OpKind::ClassTokenWeightGrad, "weight gradient", vec![dy], vec![dtoken]);
        self.contribute(op, x, dx);
    }

    fn class_sums(&mut self, op: &Op) {
        let (logits, targets) = (op.reads[0], op.reads[1]);
        let dlogits = self.value_like(logits, "gradient");
        self.push(op, OpKind::ClassSumsGrad, "gradient", vec![logits, op.writes[0], targets], vec![dlogits]);
        self.contribute(op, logits, dlogits);
    }

    fn binary_loss(&mut self, op: &Op) {
        let dlogits = self.value_like(op.reads[0], "gradient");
        self.push(op, OpKind::BinaryLossGrad, "gradient", op.reads.clone(), vec![dlogits]);
        self.contribute(op, op.reads[0], dlogits);
    }

    fn convolution(&mut self, op: &Op, window: Window) {
        let (x, weight, dy) = (op.reads[0], op.reads[1], self.gradient(op.writes[0]));
        if !self.given.contains(&x) {
            let dx = self.value_like(x, "gradient");
            self.push(op, OpKind::ConvolutionInputGrad(window), "input gradient", vec![dy, weight], vec![dx]);
            self.contribute(op, x, dx);
        }
        let dw = self.accumulator(weight);
        self.push(op, OpKind::ConvolutionWeightGrad(window), "weight gradient", vec![x, dy], vec![dw]);
    }

    fn batch_norm(&mut self, op: &Op) {
        let (x, statistics, dy) = (op.reads[0], op.writes[1], self.gradient(op.writes[0]));
        let (dx, sums) = (self.value_like(x, "gradient"), self.value_like(statistics, "gradient"));
        self.push(op, OpKind::BatchNormGrad, "gradient", vec![x, op.reads[1], statistics, dy], vec![dx, sums]);
        let parameters = op.reads[1..].iter().map(|&parameter| self.accumulator(parameter)).collect();
        self.push(op, OpKind::BatchNormGradParameters, "weight gradient", vec![sums], parameters);
        self.contribute(op, x, dx);
    }

    fn group_norm(&mut self, op: &Op, groups: u32) {
        let (x, statistics, dy) = (op.reads[0], op.writes[1], self.gradient(op.writes[0]));
        let dx = self.value_like(x, "gradient");
        let kind = OpKind::GroupNormGrad(groups);
        self.push(op, kind, "gradient", vec![x, op.reads[1], statistics, dy], vec![dx]);
        let parameters = op.reads[1..].iter().map(|&parameter| self.accumulator(parameter)).collect();
        let kind = OpKind::GroupNormGradParameters(groups);
        self.push(op, kind, "weight gradient", vec![x, statistics, dy], parameters);
        self.contribute(op, x, dx);
    }

    fn pool(&mut self, op: &Op, window: Window) {
        let (x, y, dy) = (op.reads[0], op.writes[0], self.gradient(op.writes[0]));
        let dx = self.value_like(x, "gradient");
        self.push(op, OpKind::PoolGrad(window), "gradient", vec![x, y, dy], vec![dx]);
        self.contribute(op, x, dx);
    }

    /// Tables are updated where their gradient is computed: as a whole it would be as large as they are.
    fn embedding_bag(&mut self, op: &Op) {
        let (ids, tables, dvectors) = (op.reads[0], op.reads[1], self.gradient(op.writes[0]));
        let tensor = self.graph.tensor(tables).clone();
        let (name, shape) = (format!("row sums of squares of {}", tensor.name), Shape::vector(tensor.shape.rows));
        let state =
            self.graph.add_tensor(Tensor { name: name.into(), shape, local: shape, role: Role::Moment, ..tensor });
        self.push(op, OpKind::EmbeddingBagUpdate, "update", vec![ids, dvectors], vec![tables, state]);
    }

    fn interaction(&mut self, op: &Op) {
        let (dense, vectors, dy) = (op.reads[0], op.reads[1], self.gradient(op.writes[0]));
        let parts = [dense, vectors].map(|part| self.value_like(part, "gradient"));
        self.push(op, OpKind::InteractionGrad, "gradient", vec![dense, vectors, dy], parts.to_vec());
        self.contribute(op, dense, parts[0]);
        self.contribute(op, vectors, parts[1]);
    }

    fn cross(&mut self, op: &Op) {
        let [first, x, u] = op.reads[..] else { return };
        let dy = self.gradient(op.writes[0]);
        let (dfirst, du) = (self.value_like(first, "gradient"), self.value_like(u, "gradient"));
        self.push(op, OpKind::CrossGrad, "gradient", vec![first, u, dy], vec![dfirst, du]);
        self.contribute(op, first, dfirst);
        self.contribute(op, x, dy);
        self.contribute(op, u, du);
    }

    fn rope(&mut self, op: &Op) {
        let dy = self.gradient(op.writes[0]);
        let dx = self.value_like(op.reads[0], "gradient");
        self.push(op, OpKind::Rope { inverse: true }, "gradient", vec![dy], vec![dx]);
        self.contribute(op, op.reads[0], dx);
    }

    fn attention(&mut self, op: &Op) {
        let (qkv, out, lse) = (op.reads[0], op.writes[0], op.writes[1]);
        let dout = self.gradient(out);
        let dqkv = self.value_like(qkv, "gradient");
        let delta = self.value_like(lse, "delta");
        self.push(op, OpKind::AttentionGrad, "gradient", vec![qkv, out, lse, dout], vec![dqkv, delta]);
        self.contribute(op, qkv, dqkv);
    }

    /// Leaves the gradient of the values to that of the scores, which completes the fused projection's.
    fn attention_values(&mut self, op: &Op) {
        let (probabilities, qkv, dout) = (op.reads[0], op.reads[1], self.gradient(op.writes[0]));
        let (dprobabilities, dv) =
            (self.value_like(probabilities, "gradient"), self.value_like(op.writes[0], "value gradient"));
        let reads = vec![probabilities, qkv, dout];
        self.push(op, OpKind::AttentionValuesGrad, "gradient", reads, vec![dprobabilities, dv]);
        self.contribute(op, probabilities, dprobabilities);
        self.value_gradients.insert(qkv, dv);
    }

    fn attention_softmax(&mut self, op: &Op) {
        let (probabilities, dprobabilities) = (op.writes[0], self.gradient(op.writes[0]));
        let dscores = self.value_like(op.reads[0], "gradient");
        self.push(op, OpKind::AttentionSoftmaxGrad, "gradient", vec![probabilities, dprobabilities], vec![dscores]);
        self.contribute(op, op.reads[0], dscores);
    }

    fn attention_scores(&mut self, op: &Op) {
        let (qkv, dscores) = (op.reads[0], self.gradient(op.writes[0]));
        let dqkv = self.value_like(qkv, "gradient");
        let dv = self.value_gradients.get(&qkv).copied();
        let reads = [dscores, qkv].into_iter().chain(dv).collect();
        self.push(op, OpKind::AttentionScoresGrad, "gradient", reads, vec![dqkv]);
        self.contribute(op, qkv, dqkv);
    }

    fn position(&mut self, op: &Op) {
        let dy = self.gradient(op.writes[0]);
        let dtable = self.accumulator(op.reads[1]);
        self.push(op, OpKind::PositionGrad, "weight gradient", vec![dy], vec![dtable]);
        self.contribute(op, op.reads[0], dy);
    }

    fn embedding(&mut self, op: &Op) {
        let (ids, dx) = (op.reads[0], self.gradient(op.writes[0]));
        let dtable = self.accumulator(op.reads[1]);
        self.push(op, OpKind::EmbeddingGrad, "weight gradient", vec![ids, dx], vec![dtable]);
    }
}

/// The gradient accumulator of each parameter, in the order of the parameters.
pub fn parameter_gradients(graph: &OpGraph) -> Vec<(TensorId, TensorId)> {
    let named = |(id, tensor): (TensorId, &'_ Tensor)| Some((tensor.name.strip_prefix("gradient of ")?.to_owned(), id));
    let by_parameter: FxHashMap<String, TensorId> = tensors(graph, Role::Gradient).filter_map(named).collect();
    tensors(graph, Role::Parameter).filter_map(|(id, tensor)| Some((id, *by_parameter.get(&*tensor.name)?))).collect()
}

fn tensors(graph: &OpGraph, role: Role) -> impl Iterator<Item = (TensorId, &Tensor)> {
    graph.tensors.iter().enumerate().filter(move |(_, t)| t.role == role).map(|(i, t)| (TensorId::new(i), t))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::passes::forward::forward;
    use crate::scenario::{Scenario, presets};

    #[test]
    fn every_parameter_gets_exactly_one_accumulator() {
        for preset in presets() {
            let graph = differentiate(forward(&Scenario::preset(preset.name).expect("presets are valid")));
            graph.verify().unwrap_or_else(|error| panic!("{}: {error}", preset.name));
            // Embedding tables are updated at once.
            let accumulated = |tensor: &Tensor| &*tensor.name != "embedding tables";
            let parameters = tensors(&graph, Role::Parameter).filter(|(_, tensor)| accumulated(tensor)).count();
            assert_eq!(parameter_gradients(&graph).len(), parameters, "{}", preset.name);
            assert_eq!(tensors(&graph, Role::Gradient).count(), parameters, "{}", preset.name);
        }
    }
}
