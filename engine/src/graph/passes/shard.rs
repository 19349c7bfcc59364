//! Fifth pass: placements over the tensor group → local shapes and collectives.
//!
//! Ops ask for their inputs in the placements of Megatron-LM (Shoeybi et al. 2019), with the residual stream
//! replicated or, with sequence parallelism, sharded by tokens (Korthikanti et al. 2022). Wherever an input is
//! placed otherwise the collective that converts it is inserted; nothing else communicates.

use rustc_hash::FxHashMap;

use crate::cluster::Group;
use crate::graph::passes::optimize::{StateLayout, states};
use crate::graph::{
    Collective, Dim, Op, OpGraph, OpKind, Placement, Reduction, Role, Shape, Spread, Storage, Tensor, TensorId,
};
use crate::scenario::{Optimizer, Strategy};
use crate::trace::{Phase, name};

use Placement::{Partial, Replicate, Shard};

const COLS: Placement = Shard(Dim::Cols);
const ROWS: Placement = Shard(Dim::Rows);

/// Shards `graph` over the strategy's tensor group.
pub fn shard(graph: OpGraph, strategy: &Strategy) -> OpGraph {
    shard_with(graph, strategy, |_| true)
}

/// As [`shard`], but inserts only the collectives that `keep` lets through: tests break the pass with it to show
/// that the equivalence test notices.
pub fn shard_with(mut graph: OpGraph, strategy: &Strategy, keep: impl Fn(&Op) -> bool) -> OpGraph {
    if strategy.tensor_parallel == 1 {
        return graph;
    }
    let ops = std::mem::take(&mut graph.ops);
    let stream = if strategy.sequence_parallel { ROWS } else { Replicate };
    let mut sharder = Sharder {
        graph,
        ranks: strategy.tensor_parallel,
        stream,
        slices_experts: strategy.expert_tensor_parallel > 1,
        keep_gathered: strategy.keep_gathered,
        placed: FxHashMap::default(),
        converted: FxHashMap::default(),
        parameter_of: FxHashMap::default(),
    };
    for op in ops {
        sharder.op(op, &keep);
    }
    sharder.finish()
}

struct Sharder {
    graph: OpGraph,
    ranks: u32,
    /// Placement of the residual stream.
    stream: Placement,
    /// Whether experts are cut over the tensor group as dense layers are.
    slices_experts: bool,
    /// Whether what was gathered for the forward pass stays for the backward pass.
    keep_gathered: bool,
    /// What has been placed so far.
    placed: FxHashMap<TensorId, Placement>,
    /// Conversions so far. What was gathered is gathered again in another phase, so that only the shard is kept.
    converted: FxHashMap<(TensorId, Option<Phase>), TensorId>,
    /// The parameter of each gradient and moment, known once the optimizer names them together.
    parameter_of: FxHashMap<TensorId, TensorId>,
}

/// The placements that an op asks of its inputs, and those of its outputs.
struct Rule {
    reads: Vec<Placement>,
    writes: Vec<Placement>,
}

impl Rule {
    fn new(reads: &[Placement], writes: &[Placement]) -> Self {
        Self { reads: reads.to_vec(), writes: writes.to_vec() }
    }

    /// All inputs and outputs alike.
    fn uniform(op: &Op, placement: Placement) -> Self {
        Self { reads: vec![placement; op.reads.len()], writes: vec![placement; op.writes.len()] }
    }
}

impl Sharder {
    fn op(&mut self, mut op: Op, keep: &impl Fn(&Op) -> bool) {
        let rule = self.rule(&op);
        for (read, wanted) in rule.reads.iter().enumerate() {
            op.reads[read] = self.convert(op.reads[read], *wanted, &op, keep);
        }
        for (&id, &placement) in op.writes.iter().zip(&rule.writes) {
            self.placed.insert(id, placement);
        }
        self.graph.ops.push(op);
    }

    fn placement(&self, id: TensorId) -> Placement {
        self.placed.get(&id).copied().unwrap_or(Replicate)
    }

    fn rule(&mut self, op: &Op) -> Rule {
        let s = self.stream;
        match op.kind {
            OpKind::Embedding => {
                self.placed.insert(op.reads[1], ROWS);
                Rule::new(&[Replicate, ROWS], &[Partial(Reduction::Sum)])
            }
            OpKind::EmbeddingGrad => Rule::new(&[Replicate, Replicate], &[ROWS]),
            OpKind::Position => Rule::new(&[s, Replicate], &[s]),
            OpKind::Norm => Rule { reads: self.stream_then_replicated(op, 1), writes: vec![s; 2] },
            OpKind::Residual { .. } => {
                Rule { reads: self.stream_then_replicated(op, 2), writes: vec![s; op.writes.len()] }
            }
            // Of attention's probabilities by heads, of the embedding as the residual stream is.
            OpKind::Dropout | OpKind::DropoutGrad => {
                let placement = if self.placement(op.reads[0]) == COLS { COLS } else { s };
                let second = if op.kind == OpKind::Dropout { Replicate } else { placement };
                Rule { reads: vec![placement, second], writes: vec![placement; op.writes.len()] }
            }
            OpKind::NormGrad => Rule::new(&[s, Replicate, s, s], &[s]),
            OpKind::NormGradParameters => {
                Rule { reads: vec![s; 3], writes: vec![self.summed_over_tokens(); op.writes.len()] }
            }
            OpKind::PositionGrad => Rule::new(&[s], &[self.summed_over_tokens()]),
            OpKind::Add => Rule::uniform(op, s),
            // Rows that are picked are dealt out again, on the whole sequences.
            OpKind::GatherRows | OpKind::GatherRowsGrad | OpKind::ClassToken => {
                Rule { reads: vec![Replicate; op.reads.len()], writes: vec![s] }
            }
            OpKind::ClassTokenGrad => Rule::new(&[Replicate], &[s]),
            OpKind::ClassTokenWeightGrad => Rule::new(&[Replicate], &[Replicate]),
            OpKind::Cast => Rule::new(&[Replicate], &[s]),
            OpKind::ClassSums => Rule::new(&[s, Replicate], &[s]),
            OpKind::ClassSumsGrad => Rule::new(&[s, s, Replicate], &[s]),
            OpKind::Matmul { .. } if self.is_whole(op) => {
                let written = if op.kind.accumulates() { self.summed_over_tokens() } else { s };
                let weight = if op.kind.accumulates() { s } else { Replicate };
                let reads = [s, weight, Replicate];
                Rule::new(&reads[..op.reads.len()], &[written])
            }
            OpKind::GroupedMatmul { accumulate, .. } if !self.slices_experts => {
                let (weight, written) = if accumulate { (s, Replicate) } else { (Replicate, s) };
                Rule::new(&[s, weight], &[written])
            }
            OpKind::GroupedMatmul { accumulate: true, .. } => self.weight_gradient(op),
            OpKind::GroupedMatmul { transpose_b, .. } => self.matmul(op, transpose_b),
            OpKind::Route
            | OpKind::RouteGrad
            | OpKind::Dispatch
            | OpKind::DispatchGrad
            | OpKind::Combine
            | OpKind::CombineGrad => Rule::uniform(op, s),
            OpKind::LatentJoin => Rule::new(&[COLS, COLS, Replicate], &[COLS]),
            OpKind::LatentJoinGrad => Rule::new(&[COLS], &[COLS, COLS, Partial(Reduction::Sum)]),
            // Of a dense layer cut by features, of an expert that is whole by tokens.
            OpKind::Gelu
            | OpKind::GeluGrad
            | OpKind::SwiGlu
            | OpKind::SwiGluGrad
            | OpKind::Silu
            | OpKind::SiluGrad
            | OpKind::Gate
            | OpKind::GateGrad
            | OpKind::Tanh
            | OpKind::TanhGrad => Rule::uniform(op, self.placement(op.reads[0])),
            OpKind::Matmul { accumulate: true, .. } => self.weight_gradient(op),
            OpKind::Matmul { transpose_b, .. } => self.matmul(op, transpose_b),
            OpKind::ColumnSum => self.bias_gradient(op),
            OpKind::RowMax => Rule::new(&[COLS], &[Partial(Reduction::Max)]),
            OpKind::SumExp => Rule::new(&[COLS, Replicate, Replicate], &[Partial(Reduction::Sum)]),
            OpKind::CrossEntropy => Rule::uniform(op, Replicate),
            OpKind::CrossEntropyGrad => Rule::new(&[COLS, Replicate, Replicate, Replicate], &[COLS]),
            OpKind::SumSquares { .. } => Rule::new(&[self.final_gradient(op.reads[0])], &[Replicate]),
            OpKind::Update { optimizer, .. } => self.update(op, optimizer),
            OpKind::Collective { .. } => Rule::uniform(op, Replicate),
            // Attention and rotation work on whole heads.
            _ => Rule::uniform(op, COLS),
        }
    }

    fn stream_then_replicated(&self, op: &Op, streams: usize) -> Vec<Placement> {
        (0..op.reads.len()).map(|read| if read < streams { self.stream } else { Replicate }).collect()
    }

    /// A sum over the tokens of the residual stream: of all tokens, or of this rank's.
    fn summed_over_tokens(&self) -> Placement {
        if self.stream == ROWS { Partial(Reduction::Sum) } else { Replicate }
    }

    /// Whether a matmul's weight is whole on every rank.
    fn is_whole(&self, op: &Op) -> bool {
        let weight = if op.kind.accumulates() { op.writes[0] } else { op.reads[1] };
        self.graph.tensor(weight).spread == Spread::Whole
    }

    /// Column-parallel unless the input is already sharded by features; later uses follow the weight.
    fn matmul(&mut self, op: &Op, transpose_b: bool) -> Rule {
        let flip = |placement| match placement {
            COLS if transpose_b => ROWS,
            ROWS if transpose_b => COLS,
            other => other,
        };
        let weight = op.reads[1];
        let chosen = if self.placement(op.reads[0]) == COLS { ROWS } else { COLS };
        let as_read = self.placed.get(&weight).map_or(chosen, |&placement| flip(placement));
        self.placed.insert(weight, flip(as_read));
        let mut reads = vec![if as_read == COLS { Replicate } else { COLS }, flip(as_read)];
        if let Some(&bias) = op.reads.get(2) {
            self.placed.insert(bias, ROWS);
            reads.push(ROWS);
        }
        Rule { reads, writes: vec![if as_read == COLS { COLS } else { Partial(Reduction::Sum) }] }
    }

    /// `aᵀ·b` contracts the tokens, which must be whole; its result is placed like the weight.
    fn weight_gradient(&mut self, op: &Op) -> Rule {
        if self.placement(op.reads[1]) == COLS && self.placement(op.reads[0]) != COLS {
            return Rule::new(&[Replicate, COLS], &[COLS]);
        }
        Rule::new(&[COLS, Replicate], &[ROWS])
    }

    fn bias_gradient(&mut self, op: &Op) -> Rule {
        if self.placement(op.reads[0]) == COLS {
            return Rule::new(&[COLS], &[ROWS]);
        }
        Rule::new(&[self.stream], &[self.summed_over_tokens()])
    }

    /// How a gradient must be placed when it is used: like its parameter.
    fn final_gradient(&self, gradient: TensorId) -> Placement {
        match self.placement(gradient) {
            Partial(_) => Replicate,
            other => other,
        }
    }

    /// Gradient and states are cut as the parameter is.
    fn update(&mut self, op: &Op, optimizer: Optimizer) -> Rule {
        let parameter = op.writes[0];
        let (placement, shape) = (self.placement(parameter), self.graph.tensor(parameter).shape);
        self.parameter_of.extend(op.reads[..1].iter().chain(&op.writes[..1]).map(|&id| (id, parameter)));
        let mut writes = vec![placement];
        for (state, &id) in states(optimizer, shape).iter().zip(&op.writes[1..]) {
            let placed = state_placement(placement, state.layout);
            let tensor = &mut self.graph.tensors[id.index()];
            tensor.local = tensor.shape.local(placed, self.ranks);
            writes.push(placed);
        }
        Rule { reads: vec![placement, Replicate, Replicate], writes }
    }

    /// The tensor that holds the value of `id` placed as `wanted`; appends the collective where there is none yet.
    fn convert(&mut self, id: TensorId, wanted: Placement, reader: &Op, keep: &impl Fn(&Op) -> bool) -> TensorId {
        let (collective, scope) = match (self.placement(id), wanted) {
            (from, to) if from == to => return id,
            (Partial(reduction), Replicate) => (Collective::AllReduce(reduction), None),
            (Partial(_), ROWS) => (Collective::ReduceScatter, None),
            (ROWS, Replicate) => (Collective::AllGather, Some(reader.phase).filter(|_| !self.keep_gathered)),
            // No rule asks for another conversion; if one did, the verifier would refuse the graph.
            _ => return id,
        };
        if let Some(&done) = self.converted.get(&(id, scope)) {
            return done;
        }
        let (result, op) = self.collective(collective, id, wanted, reader);
        if keep(&op) {
            self.graph.ops.push(op);
        }
        self.converted.insert((id, scope), result);
        result
    }

    fn collective(&mut self, collective: Collective, id: TensorId, wanted: Placement, reader: &Op) -> (TensorId, Op) {
        let tensor = self.graph.tensor(id).clone();
        let in_place = matches!(collective, Collective::AllReduce(_));
        let result = if in_place && tensor.role == Role::Gradient {
            id
        } else {
            let storage = if in_place { Storage::View { of: id, offset: 0 } } else { Storage::Own };
            let name = name(&[&tensor.name, if in_place { " reduced" } else { " converted" }]);
            self.graph.add_tensor(Tensor { name, storage, part: reader.part, ..tensor.clone() })
        };
        self.placed.insert(result, wanted);
        let mut writes = vec![result];
        if collective != Collective::AllGather {
            writes.push(scratch(&mut self.graph, &tensor, self.ranks));
        }
        let kind = OpKind::Collective { collective, group: Group::Tensor };
        let name = name(&[&tensor.name, " ", &kind.class().replace('_', "-")]);
        let op = Op { kind, name, part: reader.part, phase: reader.phase, reads: vec![id], writes };
        (result, op)
    }

    /// Writes placements and local shapes into the tensors.
    fn finish(mut self) -> OpGraph {
        for (index, tensor) in self.graph.tensors.iter_mut().enumerate() {
            let id = TensorId::new(index);
            let source = self.parameter_of.get(&id).unwrap_or(&id);
            if let Some(&placement) = self.placed.get(source) {
                tensor.placement = placement;
            }
            if tensor.role != Role::Scratch {
                tensor.local = tensor.shape.local(tensor.placement, self.ranks);
            }
        }
        self.graph
    }
}

/// How a state of an optimizer is placed beside its parameter.
fn state_placement(parameter: Placement, layout: StateLayout) -> Placement {
    match (layout, parameter) {
        (StateLayout::Whole, placement) => placement,
        (StateLayout::Rows, ROWS) | (StateLayout::Columns, COLS) | (StateLayout::Blocks, ROWS | COLS) => ROWS,
        _ => Replicate,
    }
}

/// Space for the chunk of `tensor` that a ring of `ranks` receives in one step.
pub fn scratch(graph: &mut OpGraph, tensor: &Tensor, ranks: u32) -> TensorId {
    graph.add_tensor(scratch_tensor(tensor, tensor.shape, ranks))
}

/// As [`scratch`], of a value of `shape`.
pub fn scratch_tensor(tensor: &Tensor, shape: Shape, ranks: u32) -> Tensor {
    let chunk = Shape::new(u32::try_from(shape.elements().div_ceil(u64::from(ranks))).unwrap_or(u32::MAX), 1);
    Tensor {
        name: format!("{} chunk", tensor.name).into(),
        shape: chunk,
        local: chunk,
        role: Role::Scratch,
        placement: Replicate,
        storage: Storage::Own,
        ..tensor.clone()
    }
}
