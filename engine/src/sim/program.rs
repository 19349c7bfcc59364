//! A stage's segments with every op priced: what the core plays.

use crate::cluster::{AlgorithmChoice, Cluster, Device, Group, Pattern, RankId};
use crate::cost::{self, GroupSpan};
use crate::graph::{Collective, Direction, Op, OpKind, Segment, StepGraph, TensorId, Transfer};
use crate::scenario::{PipelineSchedule, Scenario};
use crate::trace::{Label, LabelId, Stream};
use crate::units::{Bytes, Nanos};

use super::Folding;

/// What the core has to do besides waiting for streams and inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Nothing: a kernel.
    Run,
    /// Wait until all classes of the group have arrived.
    Meet(Group),
    /// Hand a message to the neighbouring stage.
    Send(Transfer),
    /// Take one.
    Receive(Transfer),
    /// Wait, as the next kernel would, for the samples of the micro-batch.
    Load,
}

/// An op, priced for one class.
#[derive(Clone, Debug)]
pub struct PricedOp {
    /// What it is called.
    pub label: LabelId,
    /// Where it runs.
    pub stream: Stream,
    /// How long it takes.
    pub duration: Nanos,
    /// How long the host takes to issue it.
    pub issue: Nanos,
    /// Whether the host goes on only when it is done. Megatron-LM and DeepSpeed synchronise after each exchange of
    /// neighbouring stages; only interleaved schedules overlap exchanges with compute.
    pub awaited: bool,
    /// What else it has to do.
    pub action: Action,
    /// In which way ranks send, where they do.
    pub pattern: Pattern,
    /// Range of [`PricedSegment::tensors`] that it has to wait for. What only ops of its own stream write is there
    /// when these have ended: most kernels wait for nothing else.
    pub reads: (u32, u32),
    /// Range of [`PricedSegment::tensors`] that it writes and others wait for.
    pub writes: (u32, u32),
}

/// A segment, priced for one class.
#[derive(Clone, Debug, Default)]
pub struct PricedSegment {
    /// Its ops in program order.
    pub ops: Vec<PricedOp>,
    /// Tensors that they wait for, numbered within the stage.
    pub tensors: Vec<u32>,
}

/// All programs.
#[derive(Debug, Default)]
pub struct Programs {
    /// Names of ops.
    pub labels: Vec<Label>,
    /// For each class, its segments.
    pub classes: Vec<Vec<PricedSegment>>,
    /// For each class, how many tensors its ops wait for.
    pub locals: Vec<Locals>,
    /// When the samples of each micro-batch are there; at once where nothing is said of it.
    pub samples: Vec<Nanos>,
}

impl Programs {
    /// When the samples of a micro-batch are there.
    pub fn samples_of(&self, micro_batch: Option<u32>) -> Nanos {
        micro_batch.and_then(|m| self.samples.get(m as usize)).copied().unwrap_or_default()
    }
}

/// How many tensors the ops of a program wait for; persistent ones are numbered first.
#[derive(Clone, Copy, Debug)]
pub struct Locals {
    /// All of them.
    pub tensors: usize,
    /// Those that live through the step.
    pub persistent: usize,
}

/// Prices the ops of every class.
pub fn price(step: &StepGraph, scenario: &Scenario, folding: &Folding) -> Programs {
    price_with(step, scenario, folding, None)
}

/// The same with the ops of one class faster by a factor.
pub fn price_with(step: &StepGraph, scenario: &Scenario, folding: &Folding, faster: Option<(&str, f64)>) -> Programs {
    let graphs = scenario.strategy().cuda_graphs;
    // Where exchanges overlap with compute, the host does not wait for them.
    let strategy = scenario.strategy();
    let interleaved = strategy.schedule == PipelineSchedule::Interleaved || strategy.overlap_micro_batches;
    let mut programs = Programs::default();
    let mut labels_of_stage: Vec<Option<u32>> = vec![None; step.stages.len()];
    for class in &folding.classes {
        let stage = class.stage as usize;
        let first_label = match labels_of_stage[stage] {
            Some(first) => first,
            None => add_labels(step, stage, &mut programs.labels),
        };
        labels_of_stage[stage] = Some(first_label);
        let device = scenario.cluster().device_of(class.representative);
        let mut pricer = Pricer {
            step,
            cluster: scenario.cluster(),
            device,
            graphs,
            awaits_messages: !interleaved,
            spans: Group::ALL
                .map(|group| GroupSpan::of_group(scenario.cluster(), &step.mesh, group, class.representative)),
            rank: class.representative,
            numbers: Numbers::new(step, stage),
            label: first_label,
            faster,
        };
        let segments = step.stages[stage].segments.iter().map(|segment| pricer.segment(segment)).collect();
        programs.classes.push(segments);
        programs.locals.push(pricer.numbers.locals);
    }
    programs
}

/// Appends the labels of all ops of a stage; returns the first.
fn add_labels(step: &StepGraph, stage: usize, labels: &mut Vec<Label>) -> u32 {
    let first = u32::try_from(labels.len()).unwrap_or(u32::MAX);
    for op in step.stages[stage].segments.iter().flat_map(Segment::ops) {
        labels.push(cost::label(step, op));
    }
    first
}

/// In which way the ranks of an op's group send.
pub fn pattern(op: &Op, all_reduce: AlgorithmChoice) -> Pattern {
    let direct = all_reduce == AlgorithmChoice::Direct;
    match op.kind {
        OpKind::Collective { collective: Collective::AllReduce(_), .. } if direct => Pattern::AllToAll,
        OpKind::Collective { collective: Collective::AllToAll | Collective::AllToAllOnce { .. }, .. } => {
            Pattern::AllToAll
        }
        OpKind::Collective { collective: Collective::Shift, .. } => Pattern::Shift,
        _ => Pattern::Ring,
    }
}

struct Pricer<'a> {
    step: &'a StepGraph,
    cluster: &'a Cluster,
    device: &'a Device,
    /// Whether recorded graphs are launched, which costs the host nothing for an op.
    graphs: bool,
    /// Whether the host waits for messages of other stages.
    awaits_messages: bool,
    spans: [GroupSpan; Group::COUNT],
    rank: RankId,
    numbers: Numbers,
    label: u32,
    faster: Option<(&'a str, f64)>,
}

/// Numbers of a stage's tensors that ops wait for, persistent ones first.
struct Numbers {
    /// By tensor; [`Self::NONE`] of all others.
    of: Vec<u32>,
    /// By tensor, the streams that write it: a bit for each.
    writers: Vec<u16>,
    locals: Locals,
}

/// The bit of a stream.
fn bit(stream: Stream) -> u16 {
    1 << stream.index()
}

impl Numbers {
    const NONE: u32 = u32::MAX;

    fn new(step: &StepGraph, stage: usize) -> Self {
        let ops = || step.stages[stage].segments.iter().flat_map(Segment::ops);
        let mut writers = vec![0; step.tensors.len()];
        for op in ops() {
            op.writes.iter().for_each(|id| writers[id.index()] |= bit(op.kind.stream()));
        }
        let mut awaited = vec![false; writers.len()];
        for op in ops() {
            let own = bit(op.kind.stream());
            op.reads.iter().for_each(|id| awaited[id.index()] |= writers[id.index()] & !own != 0);
        }
        let (mut of, mut next) = (vec![Self::NONE; awaited.len()], 0);
        let mut number = |persistent: bool| {
            for (place, tensor) in step.tensors.iter().enumerate() {
                if awaited[place] && tensor.role.is_persistent() == persistent {
                    of[place] = next;
                    next += 1;
                }
            }
            next as usize
        };
        let persistent = number(true);
        let tensors = number(false);
        Self { of, writers, locals: Locals { tensors, persistent } }
    }

    /// The number of what an op on `stream` reads, if it has to wait for it.
    fn read(&self, id: TensorId, stream: Stream) -> Option<u32> {
        self.written(id).filter(|_| self.writers[id.index()] & !bit(stream) != 0)
    }

    /// The number of what an op writes, if any op waits for it.
    fn written(&self, id: TensorId) -> Option<u32> {
        Some(self.of[id.index()]).filter(|&number| number != Self::NONE)
    }
}

/// Appends tensors; returns where they are.
fn range(tensors: &mut Vec<u32>, more: impl Iterator<Item = u32>) -> (u32, u32) {
    let start = u32::try_from(tensors.len()).unwrap_or(u32::MAX);
    tensors.extend(more);
    (start, u32::try_from(tensors.len()).unwrap_or(u32::MAX))
}

impl Pricer<'_> {
    fn segment(&mut self, segment: &Segment) -> PricedSegment {
        let mut priced = PricedSegment::default();
        let mut lent = Nanos::ZERO;
        for op in segment.ops() {
            let (label, stream) = (LabelId(self.label), op.kind.stream());
            let reads = op.reads.iter().filter_map(|&id| self.numbers.read(id, stream));
            let reads = range(&mut priced.tensors, reads);
            let writes = op.writes.iter().filter_map(|&id| self.numbers.written(id));
            let writes = range(&mut priced.tensors, writes);
            let (duration, action) = self.op(op);
            let mut duration = self.adjusted(op, duration);
            // What is computed beside a collective lacks the multiprocessors on which that one runs.
            if stream == Stream::Compute {
                duration += std::mem::take(&mut lent);
            } else if segment.kind.is_beside_compute() {
                lent += cost::lent_time(self.device, &self.step.mesh, op, duration);
            }
            let issue = if self.graphs {
                Nanos::ZERO
            } else {
                cost::issue_time(self.device, &self.step.mesh, &self.step.dims, &self.step.tensors, op)
            };
            priced.ops.push(PricedOp {
                label,
                stream,
                duration,
                issue,
                awaited: issue > Nanos::ZERO && self.is_awaited(op),
                action,
                pattern: pattern(op, self.cluster.all_reduce),
                reads,
                writes,
            });
            self.label += 1;
        }
        priced
    }

    fn is_awaited(&self, op: &Op) -> bool {
        self.awaits_messages && matches!(op.kind, OpKind::Receive(_)) || cost::is_awaited(op)
    }

    fn adjusted(&self, op: &Op, duration: Nanos) -> Nanos {
        match self.faster {
            #[expect(clippy::cast_possible_truncation, reason = "shorter than before")]
            Some((class, factor)) if op.kind.class() == class => Nanos((duration.0 as f64 / factor).round() as i64),
            _ => duration,
        }
    }

    fn op(&self, op: &Op) -> (Nanos, Action) {
        match op.kind {
            OpKind::Collective { group, .. } if self.step.mesh.group_size(group) == 1 => (Nanos::ZERO, Action::Run),
            OpKind::Collective { collective, group } => {
                let span = self.spans[group as usize];
                let (bytes, chunks) = (cost::full_size(self.step, op), cost::chunks(&self.step.tensors, op.reads[0]));
                let runs = self.step.runs(op);
                let (time, algorithm) = cost::chunked_time(self.cluster, span, collective, bytes, chunks, runs);
                let time = time + algorithm.launch(self.device.launch_overhead);
                let alone = matches!(collective, Collective::Push | Collective::Pull);
                (time, if alone { Action::Run } else { Action::Meet(group) })
            }
            OpKind::Send(transfer) => (self.send_time(op, transfer.direction), Action::Send(transfer)),
            OpKind::Split | OpKind::Join => (Nanos::ZERO, Action::Run),
            OpKind::Load => (Nanos::ZERO, Action::Load),
            // Tensors are pointers, but for those that are executed here.
            OpKind::Rotate if self.device.shaders.is_none() => (Nanos::ZERO, Action::Run),
            OpKind::ToHost | OpKind::FromHost if self.device.shaders.is_none() => {
                let from = self.step.tensor(self.step.storage_of(op.reads[0])).place;
                (cost::copy_time(self.device, self.touched(op), from), Action::Run)
            }
            OpKind::HostUpdate { place, .. } if self.device.shaders.is_none() => {
                let states = op.writes.iter().map(|&id| self.step.tensor(id).bytes()).sum();
                (cost::host_update_time(self.device, self.touched(op), states, place), Action::Run)
            }
            // A receive takes as long as the send that it belongs to.
            OpKind::Receive(transfer) => (Nanos::ZERO, Action::Receive(transfer)),
            _ => {
                let work = cost::work_on(self.device, &self.step.dims, &self.step.tensors, op);
                (cost::kernel_time(self.device, &work, cost::input_type(self.step, op)), Action::Run)
            }
        }
    }

    /// Bytes that an op touches.
    fn touched(&self, op: &Op) -> Bytes {
        cost::work(&self.step.dims, &self.step.tensors, op).bytes
    }

    fn send_time(&self, op: &Op, direction: Direction) -> Nanos {
        let [previous, next] = super::fold::neighbours(self.step.mesh, self.rank);
        let to = if direction == Direction::Next { next } else { previous };
        let to = to.unwrap_or(self.rank);
        let (link, share) = (self.cluster.link_between(self.rank, to), self.cluster.path_share(self.rank, to));
        cost::transfer_time(link, self.step.tensor(op.reads[0]).bytes(), share)
    }
}
