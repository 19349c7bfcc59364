//! What one layer, the embedding and the head take at least, measured on a short model of one stage.
//!
//! A kernel's work depends on how a layer is cut, not on how layers are dealt out to stages or what replicas share. So
//! one lowering serves all schedules, depths and sharding stages.

use std::collections::BTreeMap;

use crate::cluster::MeshAxis;
use crate::graph::passes::plan_memory::saved;
use crate::graph::{Part, Role, Segment, SegmentKind, Spread, StepGraph, Tensor, lower};
use crate::model::Model;
use crate::scenario::{
    Compression, ContextMethod, ExpertDispatch, Place, Precision, Recompute, RecomputeModule, Scenario, ScenarioError,
    ScenarioFile, ScheduleName, Strategy, UpdateName, check,
};
use crate::sim::part_times;
use crate::units::Nanos;

/// How a layer is cut and computed: strategies that agree in it share a probe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cut {
    base: usize,
    ranks: [u32; 5],
    sequence_parallel: bool,
    methods: [u8; 5],
    capacity: u64,
    modules: Vec<RecomputeModule>,
    recompute_interval: u32,
    micro_batch: u32,
    tensor_chunks: u32,
    keep_gathered: bool,
    /// Gradients' format, optimizer and kernels.
    formats: [u8; 4],
    rank_order: [MeshAxis; 4],
}

impl Cut {
    /// The cut of a strategy for the base with number `base`.
    pub fn of(base: usize, s: &Strategy) -> Self {
        // The experts' ranks lie over replicas: how many there are decides which nodes they are on.
        let replicas = if s.expert_parallel > 1 { s.data_parallel } else { 1 };
        let ranks = [s.tensor_parallel, s.context_parallel, s.expert_parallel, s.expert_tensor_parallel, replicas];
        let position = |found: Option<usize>| u8::try_from(found.unwrap_or(0)).unwrap_or(0);
        let methods = [
            position(ContextMethod::ALL.iter().position(|m| *m == s.context_method)),
            position(Precision::ALL.iter().position(|p| *p == s.precision)),
            s.attention as u8,
            u8::from(s.expert_dispatch == ExpertDispatch::OncePerNode),
            match s.recompute {
                Recompute::None => 0,
                Recompute::Selective => 1,
                Recompute::Full => 2,
                // Which layers are repeated depends on the whole step: the bounds know of none.
                Recompute::Budget => 3,
            },
        ];
        Self {
            base,
            ranks,
            sequence_parallel: s.sequence_parallel,
            methods,
            capacity: s.capacity_factor.to_bits(),
            modules: s.recompute_modules.clone(),
            recompute_interval: s.recompute_interval,
            micro_batch: s.micro_batch,
            tensor_chunks: s.tensor_chunks,
            keep_gathered: s.keep_gathered,
            formats: [s.gradient_format as u8, s.optimizer as u8, s.kernels as u8, u8::from(s.compress_activations)],
            rank_order: s.rank_order,
        }
    }
}

/// Bytes of a part on one rank: of dense weights, and of experts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weights {
    pub parameters: [u64; 2],
    pub gradients: [u64; 2],
    pub optimizer: [u64; 2],
}

/// What a part takes for one micro-batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PartCost {
    pub forward: Nanos,
    pub backward: Nanos,
    /// Of both, the kernels alone.
    pub kernels: [Nanos; 2],
    /// Of it, what cannot start before the gradient comes in.
    pub after_gradient: Nanos,
    /// Bytes kept from forward to backward.
    pub saved: u64,
    pub weights: Weights,
}

impl PartCost {
    fn plus(mut self, other: &Self) -> Self {
        self.forward += other.forward;
        self.backward += other.backward;
        self.kernels = [0, 1].map(|pass| self.kernels[pass] + other.kernels[pass]);
        self.after_gradient += other.after_gradient;
        self.saved += other.saved;
        for place in 0..2 {
            self.weights.parameters[place] += other.weights.parameters[place];
            self.weights.gradients[place] += other.weights.gradients[place];
            self.weights.optimizer[place] += other.weights.optimizer[place];
        }
        self
    }

    fn minus(mut self, other: &Self) -> Self {
        self.forward -= other.forward;
        self.backward -= other.backward;
        self.kernels = [0, 1].map(|pass| self.kernels[pass] - other.kernels[pass]);
        self.after_gradient -= other.after_gradient;
        self.saved -= other.saved;
        for place in 0..2 {
            self.weights.parameters[place] -= other.weights.parameters[place];
            self.weights.gradients[place] -= other.weights.gradients[place];
            self.weights.optimizer[place] -= other.weights.optimizer[place];
        }
        self
    }
}

/// The costs of all parts of a model.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    embedding: PartCost,
    head: PartCost,
    /// Bytes of the residual stream of a micro-batch, as a layer hands it to the next.
    residual: u64,
    /// Of the first `i` layers together.
    layers: Vec<PartCost>,
}

impl Probe {
    /// Measures how `strategy` cuts the layers of `file`'s model.
    pub fn of(file: &ScenarioFile, model: &Model, strategy: &Strategy) -> Result<Self, ScenarioError> {
        let (first, period) = repetition(model, strategy);
        let scenario = check(&short(file, strategy, (first + period).min(model.layers)))?;
        let step = lower(&scenario);
        let costs = part_costs(&step, &scenario);
        let of = |part: Part| costs.get(&part).copied().unwrap_or_default();
        let mut layers = vec![PartCost::default()];
        for layer in 0..model.layers {
            let like = if layer < first + period { layer } else { first + (layer - first) % period };
            let sum = layers[layer as usize].plus(&of(Part::Layer(like)));
            layers.push(sum);
        }
        Ok(Self { embedding: of(Part::Embedding), head: of(Part::Head), residual: residual(&step), layers })
    }

    /// What `count` layers from `first` on cost, with the embedding before them or the head behind.
    pub fn cost(&self, first: u32, count: u32, embedding: bool, head: bool) -> PartCost {
        let last = self.layers.len() - 1;
        let at = |layer: u32| &self.layers[(layer as usize).min(last)];
        let mut cost = at(first + count).minus(at(first));
        // What a chunk hands on is kept where it arrives.
        if embedding {
            cost = cost.plus(&self.embedding);
        } else {
            cost.saved += self.residual;
        }
        if head {
            cost = cost.plus(&self.head);
        } else {
            cost.saved = cost.saved.saturating_sub(self.residual);
        }
        cost
    }
}

/// From which layer on layers repeat, and after how many.
fn repetition(model: &Model, strategy: &Strategy) -> (u32, u32) {
    if !model.architecture.is_transformer() {
        // No two blocks need be alike.
        return (model.layers, 1);
    }
    let interval = model.mixture.map_or(1, |mixture| mixture.interval);
    let recomputed = if strategy.recompute == Recompute::Full { strategy.recompute_interval } else { 1 };
    let attending = model.window.map_or(1, |window| window.interval.max(1));
    let period = interval.saturating_mul(recomputed).saturating_mul(attending).min(model.layers).max(1);
    let dense = model.mixture.map_or(0, |mixture| mixture.dense_layers);
    // Starting at a multiple of the period keeps the layers' numbers in step. The first layer also gets what the
    // embedding hands it, so it stands for itself.
    ((dense.next_multiple_of(period) + period).min(model.layers), period)
}

/// One stage with few layers and one micro-batch, nothing sharded over replicas.
fn short(file: &ScenarioFile, s: &Strategy, layers: u32) -> ScenarioFile {
    let mut file = file.clone();
    file.model.layers = Some(layers);
    // Stragglers and degraded links only slow a step down.
    file.cluster.exceptions.clear();
    let strategy = &mut file.strategy;
    strategy.data_parallel = Some(s.data_parallel);
    strategy.pipeline_parallel = 1;
    strategy.schedule = ScheduleName::OneFOneB;
    strategy.virtual_stages = None;
    strategy.custom_schedule.clear();
    strategy.stage_layers.clear();
    strategy.global_batch = s.micro_batch * s.data_parallel;
    strategy.zero_stage = 0;
    strategy.sharding_group = None;
    strategy.overlap_gradients = false;
    strategy.gradient_compression = Compression::None;
    (strategy.offload_optimizer, strategy.offload_parameters) = (Place::Device, Place::Device);
    strategy.offload_activations = 0;
    if strategy.recompute == Recompute::Budget {
        strategy.recompute = Recompute::None;
    }
    strategy.update = UpdateName::Synchronous;
    strategy.overlap_micro_batches = false;
    file
}

fn residual(step: &StepGraph) -> u64 {
    let forward = step.stages[0].segments.iter().filter(|segment| segment.kind == SegmentKind::Forward);
    let into_head = forward.flat_map(Segment::ops).find(|op| op.part == Part::Head);
    into_head.and_then(|op| op.reads.first()).map_or(0, |&id| step.tensor(id).bytes().0)
}

fn part_costs(step: &StepGraph, scenario: &Scenario) -> BTreeMap<Part, PartCost> {
    let mut costs: BTreeMap<Part, PartCost> = BTreeMap::new();
    for ((kind, part), time) in part_times(step, scenario) {
        let cost = costs.entry(part).or_default();
        match kind {
            SegmentKind::Forward => (cost.forward, cost.kernels[0]) = (time.whole, time.kernels),
            SegmentKind::Backward => {
                (cost.backward, cost.after_gradient) = (time.whole, time.after_gradient);
                cost.kernels[1] = time.kernels;
            }
            _ => {}
        }
    }
    let kept = saved(step, &step.stages[0]);
    for (index, tensor) in step.tensors.iter().enumerate() {
        let cost = costs.entry(tensor.part).or_default();
        cost.saved += if kept.contains(&crate::graph::TensorId::new(index)) { tensor.bytes().0 } else { 0 };
        add_weight(&mut cost.weights, tensor);
    }
    costs
}

fn add_weight(weights: &mut Weights, tensor: &Tensor) {
    let place = usize::from(tensor.spread == Spread::Experts);
    let bytes = tensor.bytes().0;
    match tensor.role {
        Role::Parameter => weights.parameters[place] += bytes,
        Role::Gradient => weights.gradients[place] += bytes,
        Role::MasterWeight | Role::Moment => weights.optimizer[place] += bytes,
        _ => {}
    }
}
