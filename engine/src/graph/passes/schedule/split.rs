//! Cuts the ops into stages: what crosses a cut is sent, what is shared across one is copied.

use std::collections::BTreeMap;

use super::clear;
use crate::cluster::Group;
use crate::graph::passes::shard::scratch_tensor;
use crate::graph::{Collective, Direction, Op, OpGraph, OpKind, Part, Reduction, Role, Tensor, TensorId};
use crate::scenario::Scenario;
use crate::trace::Phase;

/// The ops of one stage, by segment.
#[derive(Debug, Default)]
pub struct StagePlan {
    /// First and last layer.
    pub layers: Option<(u32, u32)>,
    /// Once, before the first micro-batch.
    pub begin: Vec<Op>,
    /// For each micro-batch.
    pub forward: Vec<Op>,
    /// For each micro-batch, recomputation included.
    pub backward: Vec<Op>,
    /// For the last micro-batch, where it differs.
    pub backward_last: Option<Vec<Op>>,
    /// Once, after the last micro-batch.
    pub update: Vec<Op>,
}

/// All stages.
pub(super) struct Plans {
    pub stages: Vec<StagePlan>,
}

/// Number of layers of each stage. What does not divide goes to the middle: the first stage also has the
/// embedding and the last the head.
pub fn layers_of_stages(layers: u32, stages: u32) -> Vec<u32> {
    let (base, mut extra) = (layers / stages, layers % stages);
    let mut counts = vec![base; stages as usize];
    let inner = 1..counts.len().saturating_sub(1);
    for stage in inner.chain([0]) {
        if extra > 0 {
            counts[stage] += 1;
            extra -= 1;
        }
    }
    counts
}

/// Splits `graph` into the plans of all stages. Tensors of later stages are copies with handles of their own.
pub(super) fn split(graph: OpGraph, scenario: &Scenario) -> (Vec<Tensor>, Plans) {
    let stages = scenario.strategy().pipeline_parallel as usize;
    let mut splitter = Splitter::new(graph, scenario, stages);
    for op in std::mem::take(&mut splitter.ops) {
        splitter.op(op);
    }
    splitter.tied_updates();
    (splitter.tensors, Plans { stages: splitter.plans })
}

struct Splitter {
    tensors: Vec<Tensor>,
    ops: Vec<Op>,
    plans: Vec<StagePlan>,
    /// Stage of each layer.
    stage_of_layer: Vec<usize>,
    /// The stage that owns each tensor: where it is written first, or where its part is.
    home: Vec<usize>,
    /// Copies of tensors on other stages.
    copies: BTreeMap<(usize, TensorId), TensorId>,
    /// What each copy is a copy of, so that a copy is never copied again.
    original: BTreeMap<TensorId, TensorId>,
    model_ranks: u32,
    replicas: u32,
    stages: u32,
}

impl Splitter {
    fn new(graph: OpGraph, scenario: &Scenario, stages: usize) -> Self {
        let strategy = scenario.strategy();
        let counts = layers_of_stages(scenario.model().layers, strategy.pipeline_parallel);
        let stage_of_layer: Vec<usize> =
            counts.iter().enumerate().flat_map(|(stage, &n)| std::iter::repeat_n(stage, n as usize)).collect();
        let mut plans: Vec<StagePlan> = (0..stages).map(|_| StagePlan::default()).collect();
        let mut first = 0;
        for (plan, &n) in plans.iter_mut().zip(&counts) {
            plan.layers = (n > 0).then(|| (first, first + n - 1));
            first += n;
        }
        let mut splitter = Self {
            home: Vec::new(),
            tensors: graph.tensors,
            ops: graph.ops,
            plans,
            stage_of_layer,
            copies: BTreeMap::new(),
            original: BTreeMap::new(),
            model_ranks: strategy.pipeline_parallel * strategy.tensor_parallel,
            replicas: strategy.data_parallel,
            stages: strategy.pipeline_parallel,
        };
        splitter.find_homes();
        splitter
    }

    fn stage_of(&self, part: Part) -> usize {
        match part {
            Part::Embedding => 0,
            Part::Layer(layer) => self.stage_of_layer[layer as usize],
            Part::Head => self.plans.len() - 1,
        }
    }

    /// Activations live where they are computed, all else where its part is.
    fn find_homes(&mut self) {
        self.home = self.tensors.iter().map(|tensor| self.stage_of(tensor.part)).collect();
        for op in &self.ops {
            let stage = self.stage_of(op.part);
            for id in &op.writes {
                if matches!(self.tensors[id.index()].role, Role::Activation | Role::Scratch) {
                    self.home[id.index()] = stage;
                }
            }
        }
    }

    fn op(&mut self, op: Op) {
        match op.kind {
            OpKind::Collective { group: Group::Model, .. } => self.model_collective(&op),
            OpKind::CrossEntropy => {
                self.loss(&op);
                self.place(op);
            }
            _ => self.place(op),
        }
    }

    /// Puts an op on the stage of its part.
    fn place(&mut self, mut op: Op) {
        let stage = self.stage_of(op.part);
        op.reads = op.reads.iter().map(|&id| self.local(stage, id, op.phase)).collect();
        op.writes = op.writes.iter().map(|&id| self.local(stage, id, op.phase)).collect();
        self.push(stage, op);
    }

    fn push(&mut self, stage: usize, op: Op) {
        let plan = &mut self.plans[stage];
        match op.phase {
            Phase::Forward => plan.forward.push(op),
            Phase::Recompute | Phase::Backward => plan.backward.push(op),
            Phase::Update => plan.update.push(op),
        }
    }

    /// The handle of `id` on `stage`: itself at home, else a copy, received if it is a computed value.
    fn local(&mut self, stage: usize, id: TensorId, phase: Phase) -> TensorId {
        let id = self.original.get(&id).copied().unwrap_or(id);
        if self.home[id.index()] == stage {
            return id;
        }
        if let Some(&copy) = self.copies.get(&(stage, id)) {
            return copy;
        }
        let copy = self.copy(id, stage);
        match self.tensors[id.index()].role {
            Role::Activation => self.transfer(id, copy, stage, phase),
            Role::Scalar => self.clear_norm(copy, stage),
            _ => {}
        }
        copy
    }

    fn copy(&mut self, id: TensorId, stage: usize) -> TensorId {
        let copy = TensorId::new(self.tensors.len());
        let part = if stage == 0 {
            Part::Embedding
        } else {
            self.plans[stage].layers.map_or(Part::Head, |l| Part::Layer(l.0))
        };
        self.tensors.push(Tensor { part, ..self.tensors[id.index()].clone() });
        self.home.push(stage);
        self.copies.insert((stage, id), copy);
        self.original.insert(copy, id);
        copy
    }

    /// Sends `id` from its home to `stage`, where it is received as `copy`.
    fn transfer(&mut self, id: TensorId, copy: TensorId, stage: usize, phase: Phase) {
        let home = self.home[id.index()];
        let direction = if stage > home { Direction::Next } else { Direction::Previous };
        let phase = if direction == Direction::Next { Phase::Forward } else { phase };
        let tensor = &self.tensors[id.index()];
        let (name, part) = (tensor.name.clone(), tensor.part);
        let op = |kind: OpKind, what: &str, reads, writes| Op {
            kind,
            name: format!("{what} {name}"),
            part,
            phase,
            reads,
            writes,
        };
        let send = op(OpKind::Send(direction), "send", vec![id], Vec::new());
        let receive = op(OpKind::Receive(direction), "receive", Vec::new(), vec![copy]);
        self.push(home, send);
        self.push(stage, receive);
    }

    /// The loss accumulates over micro-batches, and over replicas at the end (for the log, as frameworks do).
    fn loss(&mut self, op: &Op) {
        let (stage, loss) = (self.stage_of(op.part), op.writes[0]);
        let update = Op { phase: Phase::Update, ..op.clone() };
        self.plans[stage].begin.push(clear("loss", loss, &update));
        if self.replicas > 1 {
            let reduce = self.all_reduce("loss", loss, Group::Data, self.replicas, &update);
            self.push(stage, reduce);
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

    /// The reduction of the gradient norm over all stages and slices.
    fn model_collective(&mut self, op: &Op) {
        let norm = op.reads[0];
        for stage in 0..self.plans.len() {
            let local = self.local(stage, norm, Phase::Update);
            if local == norm {
                self.clear_norm(norm, stage);
            }
            if self.model_ranks > 1 {
                let reduce = self.all_reduce("gradient norm", local, Group::Model, self.model_ranks, op);
                self.push(stage, reduce);
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
            name: format!("{name} all-reduce"),
            part: like.part,
            phase: Phase::Update,
            reads: vec![id],
            writes: vec![id, scratch_id],
        }
    }

    /// Copies of a tied embedding: both gradients are summed, and both copies are updated.
    fn tied_updates(&mut self) {
        let copied: Vec<_> = self
            .copies
            .iter()
            .filter(|((_, id), _)| self.tensors[id.index()].role == Role::Parameter)
            .map(|(&(stage, id), _)| (stage, id))
            .collect();
        for (stage, parameter) in copied {
            self.copy_update(stage, parameter);
        }
    }

    fn copy_update(&mut self, stage: usize, parameter: TensorId) {
        let home = self.home[parameter.index()];
        let ops: Vec<Op> =
            self.plans[home].update.iter().filter(|op| updates(op, parameter, &self.tensors)).cloned().collect();
        let Some(gradient) = ops.first().map(|op| op.reads[0]) else { return };
        for at in [home, stage] {
            let local = self.local(at, gradient, Phase::Update);
            let reduce = self.all_reduce("tied embedding", local, Group::TiedEmbedding, self.stages.min(2), &ops[0]);
            self.plans[at].update.insert(0, reduce);
        }
        for mut op in ops {
            op.reads = op.reads.iter().map(|&id| self.local(stage, id, Phase::Update)).collect();
            op.writes = op.writes.iter().map(|&id| self.local(stage, id, Phase::Update)).collect();
            self.push(stage, op);
        }
    }
}

/// Whether `op` is the optimizer's update of `parameter`, or the cast from its master weight.
fn updates(op: &Op, parameter: TensorId, tensors: &[Tensor]) -> bool {
    let name = &tensors[parameter.index()].name;
    let of_parameter = |id: TensorId| {
        let tensor = &tensors[id.index()];
        id == parameter || tensor.role == Role::MasterWeight && tensor.name == format!("master of {name}")
    };
    matches!(op.kind, OpKind::AdamW { .. } | OpKind::Cast) && op.writes.first().is_some_and(|&id| of_parameter(id))
}

fn template(name: &str, part: Part) -> Op {
    let kind = OpKind::Fill(0.0);
    Op { kind, name: name.to_owned(), part, phase: Phase::Update, reads: Vec::new(), writes: Vec::new() }
}
