//! Cuts the ops into stages: what crosses a cut is sent, what is shared across one is copied.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::clear;
use crate::cluster::Group;
use crate::graph::passes::shard::scratch_tensor;
use crate::graph::{
    Collective, DType, Direction, Op, OpGraph, OpKind, Part, Reduction, Role, Storage, Tensor, TensorId, Transfer,
};
use crate::scenario::pipeline::Layout;
use crate::scenario::{ChunkLayout, Scenario};
use crate::trace::Phase;

/// The ops of one model chunk, by segment.
#[derive(Debug, Default)]
pub struct ChunkPlan {
    /// First and last layer.
    pub layers: Option<(u32, u32)>,
    /// For each micro-batch.
    pub forward: Vec<Op>,
    /// For each micro-batch, recomputation included.
    pub backward: Vec<Op>,
    /// For each micro-batch: gradients of the weights, where they are apart.
    pub weight: Option<Vec<Op>>,
    /// For the last micro-batch, where it differs.
    pub backward_last: Option<Vec<Op>>,
    /// For the last micro-batch, where it differs.
    pub weight_last: Option<Vec<Op>>,
}

impl ChunkPlan {
    /// The ops that write gradients, with others among them.
    pub fn gradient_ops(&self) -> &[Op] {
        self.weight.as_ref().unwrap_or(&self.backward)
    }

    /// The same, to be changed.
    pub fn gradient_ops_mut(&mut self) -> &mut Vec<Op> {
        self.weight.as_mut().unwrap_or(&mut self.backward)
    }

    /// The same, as the last micro-batch runs them so far.
    pub fn last_gradient_ops(&self) -> &[Op] {
        let last = if self.weight.is_some() { &self.weight_last } else { &self.backward_last };
        last.as_deref().unwrap_or_else(|| self.gradient_ops())
    }

    /// Makes of the ops that write gradients what the last micro-batch runs.
    pub fn reduce_in_last(&mut self, with_reductions: impl FnOnce(&[Op]) -> Vec<Op>) {
        let last = with_reductions(self.last_gradient_ops());
        *(if self.weight.is_some() { &mut self.weight_last } else { &mut self.backward_last }) = Some(last);
    }
}

/// The ops of one stage, by segment.
#[derive(Debug, Default)]
pub struct StagePlan {
    /// Its model chunks.
    pub chunks: Vec<ChunkPlan>,
    /// Once, before the first micro-batch.
    pub begin: Vec<Op>,
    /// Once, after the last micro-batch.
    pub update: Vec<Op>,
}

/// All stages.
pub(super) struct Plans {
    pub stages: Vec<StagePlan>,
    /// Transfers between them.
    pub transfers: u32,
}

/// Splits `graph` into the plans of all stages. Tensors of later stages are copies with handles of their own.
pub(super) fn split(graph: OpGraph, scenario: &Scenario) -> (Vec<Tensor>, Plans) {
    let mut splitter = Splitter::new(graph, scenario);
    let twins = splitter.second_copy();
    for op in std::mem::take(&mut splitter.ops) {
        splitter.both(op, &twins);
    }
    splitter.tied_updates();
    (splitter.tensors, Plans { stages: splitter.plans, transfers: splitter.transfers })
}

struct Splitter {
    tensors: Vec<Tensor>,
    ops: Vec<Op>,
    plans: Vec<StagePlan>,
    layout: Layout,
    /// The copy of the model whose ops are dealt out.
    copy: u32,
    /// Virtual stage of each layer.
    depth_of_layer: Vec<u32>,
    /// The virtual stage that owns each tensor: where it is written first, or where its part is.
    home: Vec<u32>,
    /// Copies of tensors on other stages.
    copies: BTreeMap<(usize, TensorId), TensorId>,
    /// What each copy is a copy of, so that a copy is never copied again.
    original: BTreeMap<TensorId, TensorId>,
    transfers: u32,
    /// Over which ranks the gradient norm is summed.
    norm: (Group, u32),
    replicas: u32,
}

impl Splitter {
    fn new(graph: OpGraph, scenario: &Scenario) -> Self {
        let strategy = scenario.strategy();
        let layout = strategy.layout();
        let depths = (0..).zip(&strategy.stage_layers);
        let depth_of_layer = depths.flat_map(|(depth, &n)| std::iter::repeat_n(depth, n as usize)).collect();
        let mut splitter = Self {
            home: Vec::new(),
            tensors: graph.tensors,
            ops: graph.ops,
            plans: empty_plans(layout, &strategy.stage_layers),
            layout,
            copy: 0,
            depth_of_layer,
            copies: BTreeMap::new(),
            original: BTreeMap::new(),
            transfers: 0,
            norm: if strategy.shards_over_replicas() || strategy.expert_parallel > 1 {
                (Group::World, strategy.mesh().ranks())
            } else {
                (Group::Model, strategy.pipeline_parallel * strategy.tensor_parallel)
            },
            replicas: strategy.copies(),
        };
        splitter.find_homes();
        splitter
    }

    /// The virtual stage of a part of the model.
    fn depth_of(&self, part: Part) -> u32 {
        let along = match part {
            Part::Embedding => 0,
            Part::Layer(layer) => self.depth_of_layer[layer as usize],
            Part::Head => self.layout.length() - 1,
        };
        self.copy * self.layout.length() + along
    }

    /// The tensors of a second copy of the model, where there is one, by those of the first: all but the norm and the
    /// hyper-parameters, which the copies share. They have the same names: both start with the same weights.
    fn second_copy(&mut self) -> FxHashMap<TensorId, TensorId> {
        let mut twins = FxHashMap::default();
        if self.layout.copies() == 1 {
            return twins;
        }
        let losses: Vec<TensorId> = self.ops.iter().filter(|op| adds_to_loss(op.kind)).map(|op| op.writes[0]).collect();
        let first = self.tensors.len();
        for index in 0..first {
            let (id, tensor) = (TensorId::new(index), &self.tensors[index]);
            if tensor.role != Role::Scalar || losses.contains(&id) {
                let twin = tensor.clone();
                twins.insert(id, TensorId::new(self.tensors.len()));
                self.tensors.push(twin);
                self.home.push(self.home[index] + self.layout.length());
            }
        }
        for tensor in &mut self.tensors[first..] {
            if let Storage::View { of, .. } | Storage::Slice { of } = &mut tensor.storage {
                *of = twins.get(of).copied().unwrap_or(*of);
            }
        }
        twins
    }

    /// Deals out an op, and its like in the second copy of the model.
    fn both(&mut self, mut op: Op, twins: &FxHashMap<TensorId, TensorId>) {
        let shared = matches!(op.kind, OpKind::Collective { group: Group::Model, .. });
        if twins.is_empty() || shared {
            return self.op(op);
        }
        // The stages that sum the norm hold both.
        if let OpKind::SumSquares { copies } = &mut op.kind {
            *copies *= 2;
        }
        let mut twin = op.clone();
        for id in twin.reads.iter_mut().chain(&mut twin.writes) {
            *id = twins.get(id).copied().unwrap_or(*id);
        }
        self.op(op);
        self.copy = 1;
        self.op(twin);
        self.copy = 0;
    }

    /// The stage of a virtual stage.
    fn stage(&self, depth: u32) -> usize {
        self.layout.place(depth).0 as usize
    }

    /// The stage that owns a tensor.
    fn home_stage(&self, id: TensorId) -> usize {
        self.stage(self.home[id.index()])
    }

    /// Activations live where they are computed, all else where its part is.
    fn find_homes(&mut self) {
        self.home = self.tensors.iter().map(|tensor| self.depth_of(tensor.part)).collect();
        for op in &self.ops {
            let depth = self.depth_of(op.part);
            for id in &op.writes {
                if matches!(self.tensors[id.index()].role, Role::Activation | Role::Scratch) {
                    self.home[id.index()] = depth;
                }
            }
        }
    }

    fn op(&mut self, op: Op) {
        match op.kind {
            OpKind::Collective { group: Group::Model, .. } => self.model_collective(&op),
            kind if adds_to_loss(kind) => {
                self.loss(&op);
                self.place(op);
            }
            _ => self.place(op),
        }
    }

    /// Puts an op on the virtual stage of its part.
    fn place(&mut self, mut op: Op) {
        let depth = self.depth_of(op.part);
        for id in op.reads.iter_mut().chain(&mut op.writes) {
            *id = self.local(depth, *id, op.phase);
        }
        if op.kind == OpKind::Split {
            self.views_of(&op);
        }
        self.push(depth, op);
    }

    /// Chunks are views of the whole as it lies on this stage, which may be a received copy.
    fn views_of(&mut self, split: &Op) {
        for view in &split.writes {
            if let Storage::View { of, .. } = &mut self.tensors[view.index()].storage {
                *of = split.reads[0];
            }
        }
    }

    fn push(&mut self, depth: u32, op: Op) {
        let (stage, chunk) = self.layout.place(depth);
        let plan = &mut self.plans[stage as usize];
        match op.phase {
            Phase::Forward => plan.chunks[chunk as usize].forward.push(op),
            Phase::Recompute | Phase::Backward | Phase::WeightGradient => {
                plan.chunks[chunk as usize].backward.push(op);
            }
            Phase::Update => plan.update.push(op),
        }
    }

    /// The handle of `id` on the stage of `depth`: itself at home, else a copy, received if it is a computed value.
    fn local(&mut self, depth: u32, id: TensorId, phase: Phase) -> TensorId {
        let (id, stage) = (self.original.get(&id).copied().unwrap_or(id), self.stage(depth));
        if self.home_stage(id) == stage {
            return id;
        }
        if let Some(&copy) = self.copies.get(&(stage, id)) {
            return copy;
        }
        let copy = self.copy(id, depth);
        match self.tensors[id.index()].role {
            Role::Activation => self.transfer(id, copy, depth, phase),
            // Numbers of steps are written from outside.
            Role::Scalar if self.tensors[id.index()].dtype == DType::F32 => self.clear_norm(copy, stage),
            _ => {}
        }
        copy
    }

    fn copy(&mut self, id: TensorId, depth: u32) -> TensorId {
        let copy = TensorId::new(self.tensors.len());
        let (stage, chunk) = self.layout.place(depth);
        let layers = self.plans[stage as usize].chunks[chunk as usize].layers;
        let part = if depth.is_multiple_of(self.layout.length()) {
            Part::Embedding
        } else {
            layers.map_or(Part::Head, |l| Part::Layer(l.0))
        };
        self.tensors.push(Tensor { part, ..self.tensors[id.index()].clone() });
        self.home.push(depth);
        self.copies.insert((stage as usize, id), copy);
        self.original.insert(copy, id);
        copy
    }

    /// Sends `id` from its home to the stage of `depth`, where it is received as `copy`.
    fn transfer(&mut self, id: TensorId, copy: TensorId, depth: u32, phase: Phase) {
        let home = self.home[id.index()];
        let transfer = Transfer { direction: self.direction(home, depth), number: self.transfers };
        self.transfers += 1;
        // What a later virtual stage needs in its backward it already needed in its forward.
        let phase = if depth > home { Phase::Forward } else { phase };
        let tensor = &self.tensors[id.index()];
        let (name, part) = (tensor.name.clone(), tensor.part);
        let op = |kind: OpKind, what: &str, reads, writes| Op {
            kind,
            name: format!("{what} {name}").into(),
            part,
            phase,
            reads,
            writes,
        };
        let send = op(OpKind::Send(transfer), "send", vec![id], Vec::new());
        let receive = op(OpKind::Receive(transfer), "receive", Vec::new(), vec![copy]);
        self.push(home, send);
        self.push(depth, receive);
    }

    /// The way from one virtual stage to its neighbour. Two stages are neighbours on both sides: then what goes
    /// forward goes to the next.
    fn direction(&self, from: u32, to: u32) -> Direction {
        let (p, stage) = (self.layout.stages, self.layout.place(from).0);
        let target = self.layout.place(to).0;
        let forward = p > 2 && (stage + 1) % p == target || p <= 2 && self.goes_to_next(from, to);
        if forward { Direction::Next } else { Direction::Previous }
    }

    fn goes_to_next(&self, from: u32, to: u32) -> bool {
        match self.layout.layout {
            ChunkLayout::Loop => to > from,
            ChunkLayout::V | ChunkLayout::BothEnds => self.layout.place(to).0 > self.layout.place(from).0,
        }
    }

    /// The loss accumulates over micro-batches, and over replicas at the end (for the log, as frameworks do).
    fn loss(&mut self, op: &Op) {
        let (depth, loss) = (self.depth_of(op.part), op.writes[0]);
        let update = Op { phase: Phase::Update, ..op.clone() };
        let stage = self.stage(depth);
        self.plans[stage].begin.push(clear("loss", loss, &update));
        if self.replicas > 1 {
            let reduce = self.all_reduce("loss", loss, Group::Data, self.replicas, &update);
            self.push(depth, reduce);
        }
    }

    /// The gradient norm: every stage clears its own term.
    fn clear_norm(&mut self, norm: TensorId, stage: usize) {
        let tensor = &self.tensors[norm.index()];
        if tensor.shape.rows == 1 {
            let like = template(&tensor.name, tensor.part);
            self.plans[stage].begin.push(clear("gradient norm", norm, &like));
        }
    }

    /// The reduction of the gradient norm over all stages and slices; where gradients are sharded, also over replicas.
    fn model_collective(&mut self, op: &Op) {
        let norm = op.reads[0];
        for stage in 0..self.plans.len() {
            let depth = self.layout.depth_of(u32::try_from(stage).unwrap_or(u32::MAX), 0);
            let local = self.local(depth, norm, Phase::Update);
            if local == norm {
                self.clear_norm(norm, stage);
            }
            let (group, ranks) = self.norm;
            if ranks > 1 {
                let reduce = self.all_reduce("gradient norm", local, group, ranks, op);
                self.push(depth, reduce);
            }
        }
    }

    fn all_reduce(&mut self, name: &str, id: TensorId, group: Group, ranks: u32, like: &Op) -> Op {
        let tensor = &self.tensors[id.index()];
        let scratch = scratch_tensor(tensor, tensor.local, ranks);
        let scratch_id = TensorId::new(self.tensors.len());
        self.tensors.push(scratch);
        self.home.push(self.home[id.index()]);
        Op {
            kind: OpKind::Collective { collective: Collective::AllReduce(Reduction::Sum), group },
            name: format!("{name} all-reduce").into(),
            part: like.part,
            phase: Phase::Update,
            reads: vec![id],
            writes: vec![id, scratch_id],
        }
    }

    /// Copies of a tied embedding: both gradients are summed, and both copies are updated.
    fn tied_updates(&mut self) {
        let parameters: Vec<_> = self
            .copies
            .iter()
            .filter(|((_, id), _)| self.tensors[id.index()].role == Role::Parameter)
            .map(|(&(_, id), &copy)| (self.home[copy.index()], id))
            .collect();
        for (depth, parameter) in parameters {
            self.copy_update(depth, parameter);
        }
    }

    fn copy_update(&mut self, depth: u32, parameter: TensorId) {
        let home = self.home[parameter.index()];
        let update = &self.plans[self.stage(home)].update;
        let ops: Vec<Op> = update.iter().filter(|op| updates(op, parameter, &self.tensors)).cloned().collect();
        let Some(gradient) = ops.first().map(|op| op.reads[0]) else { return };
        for at in [home, depth] {
            let local = self.local(at, gradient, Phase::Update);
            let ranks = self.layout.stages.min(2);
            let reduce = self.all_reduce("tied embedding", local, Group::TiedEmbedding, ranks, &ops[0]);
            let stage = self.stage(at);
            self.plans[stage].update.insert(0, reduce);
        }
        for mut op in ops {
            op.reads = op.reads.iter().map(|&id| self.local(depth, id, Phase::Update)).collect();
            op.writes = op.writes.iter().map(|&id| self.local(depth, id, Phase::Update)).collect();
            self.push(depth, op);
        }
    }
}

/// Plans without ops, one for each stage, with the layers of its chunks.
fn empty_plans(layout: Layout, stage_layers: &[u32]) -> Vec<StagePlan> {
    let ranges: Vec<_> =
        layout.layers(stage_layers).map(|(_, first, n)| (n > 0).then(|| (first, first + n - 1))).collect();
    let chunk = |stage: u32, chunk: u32| {
        let layers = ranges.get(layout.depth_of(stage, chunk) as usize).copied().flatten();
        ChunkPlan { layers, ..ChunkPlan::default() }
    };
    let plan = |stage| StagePlan {
        chunks: (0..layout.chunks).map(|number| chunk(stage, number)).collect(),
        ..StagePlan::default()
    };
    (0..layout.stages).map(plan).collect()
}

/// Whether an op adds to a loss over micro-batches.
fn adds_to_loss(kind: OpKind) -> bool {
    matches!(kind, OpKind::CrossEntropy | OpKind::BinaryLoss)
}

/// Whether `op` is the optimizer's update of `parameter`, or the cast from its master weight.
fn updates(op: &Op, parameter: TensorId, tensors: &[Tensor]) -> bool {
    let name = &tensors[parameter.index()].name;
    let of_parameter = |id: TensorId| {
        let tensor = &tensors[id.index()];
        id == parameter || tensor.role == Role::MasterWeight && tensor.name == format!("master of {name}").into()
    };
    matches!(op.kind, OpKind::Update { .. } | OpKind::Cast) && op.writes.first().is_some_and(|&id| of_parameter(id))
}

fn template(name: &str, part: Part) -> Op {
    let kind = OpKind::Fill(0.0);
    Op { kind, name: name.to_owned().into(), part, phase: Phase::Update, reads: Vec::new(), writes: Vec::new() }
}
