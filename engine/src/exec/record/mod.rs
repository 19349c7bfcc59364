//! Writes a step down: walks the programs of all ranks in order, hands out buffers, and records every kernel call
//! and every chunk that moves.

mod messages;
mod outside;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use crate::cluster::{Group, RankId};
use crate::exec::collectives::copy;
use crate::exec::data::FeedLayout;
use crate::exec::ops::{OpContext, dispatches};
use crate::exec::pool::{Page, RankMemory, plans};
use crate::exec::{Backend, BufferId, Dispatch, ExecError, Format, PoolStatistics, Recording, Scope, Slice};
use crate::graph::passes::plan_memory::{category, persistent_outside};
use crate::graph::{Op, OpKind, Role, SegmentId, Spread, StepGraph, Task, TensorId};
use crate::memory::Pool;
use crate::scenario::Scenario;
use crate::trace::{Label, LabelId, MemoryUse, Phase, Span, Stream};
use crate::units::Bytes;

/// Bytes that a rank sends to another on an axis: in a whole step, and of them those that only outer steps send.
type Sent = BTreeMap<(&'static str, RankId, RankId), [u64; 2]>;

/// A step written down, with what is needed to feed it and to read its results.
#[derive(Debug)]
pub struct Recorded {
    /// The kernel calls.
    pub recording: Recording,
    /// Bytes of the feeds and of messages on their way between stages: buffers that belong to no rank.
    pub staging: Bytes,
    /// Persistent buffers: of each rank, by tensor.
    pub persistent: Vec<BTreeMap<TensorId, BufferId>>,
    /// Where batches are written: of each replica, for each rank that shares its sequences, on each device that reads it.
    pub feeds: Feeds,
    /// What lies where in each of them.
    pub layout: FeedLayout,
    /// What each rank's pool handed out.
    pub pools: Vec<PoolStatistics>,
    /// The same of what stands for the host's memory and its drives.
    pub outside: Vec<PoolStatistics>,
    /// From parameters to the copies of them that are updated outside the device.
    pub masters: Vec<Dispatch>,
    /// Bytes sent in a step by axis, sender and receiver: all, and those of outer steps.
    pub sent: Sent,
    /// Numbers of the scopes that only such a step has.
    pub outer: BTreeSet<usize>,
    /// Numbers of the scopes that send and receive a message.
    pub flows: Vec<(usize, usize)>,
    /// For each rank, its memory from the given scope on.
    pub memory: Vec<Vec<(usize, MemoryUse)>>,
    /// For each rank, the bytes of the buffers that it needed by the given scope.
    pub reserved: Vec<Vec<(usize, Bytes)>>,
    /// Labels of copies between the device's memory and the host's; they follow those of the graph's ops.
    pub pages: Vec<Label>,
}

/// Buffers of batches, by number of the batch and place of the device.
pub type Feeds = BTreeMap<(u32, u32), BufferId>;

/// Records one step of all ranks.
///
/// # Errors
/// When a policy's budget is too small, or an op cannot be executed.
pub fn record(step: &StepGraph, scenario: &Scenario, backend: &mut Backend) -> Result<Recorded, ExecError> {
    let mut recorder = Recorder::new(step, scenario, backend)?;
    recorder.run()?;
    Ok(recorder.finish())
}

/// Where a rank stands in its program.
struct Rank {
    stage: usize,
    task: usize,
    op: usize,
    memory: RankMemory,
    /// What stands for the host's memory and its drives.
    outside: Pool<BufferId>,
    /// What lies there: whole tensors from step to step, and values of micro-batches.
    persistent_outside: BTreeMap<TensorId, BufferId>,
    values_outside: BTreeMap<(TensorId, Option<u32>), BufferId>,
    /// Messages to this rank, by transfer and micro-batch.
    inbox: BTreeMap<(u32, Option<u32>), Letter>,
    /// Collectives passed, by group.
    met: [usize; Group::COUNT],
    /// Whether the current op's memory has been allocated.
    allocated: bool,
    /// Memory in use from a scope on.
    used: Vec<(usize, MemoryUse)>,
    /// Bytes of buffers that were needed by a scope.
    reserved: Vec<(usize, Bytes)>,
}

/// A message on its way: where it lies, and the number of the scope that sent it.
#[derive(Clone, Copy, Debug)]
struct Letter {
    buffer: BufferId,
    sent: usize,
}

struct Recorder<'a> {
    step: &'a StepGraph,
    scenario: &'a Scenario,
    backend: &'a mut Backend,
    ranks: Vec<Rank>,
    /// First label of each stage's segments.
    labels: Vec<Vec<u32>>,
    feeds: Feeds,
    layout: FeedLayout,
    recording: Recording,
    /// Ranks that wait at each collective, by group, first member and number.
    waiting: BTreeMap<(Group, RankId, usize), BTreeSet<RankId>>,
    /// Buffers of messages on their way, on the device where they arrive.
    wire: Vec<Pool<BufferId>>,
    /// Parameters of ranks and the copies of them that are updated outside the device.
    masters: Vec<(RankId, TensorId, TensorId)>,
    sent: Sent,
    /// Ops of outer steps: stage, segment and number.
    outer_ops: BTreeSet<(usize, SegmentId, usize)>,
    outer: BTreeSet<usize>,
    flows: Vec<(usize, usize)>,
    /// Numbers of the labels of pages: by tensor, direction and part of the step.
    pages: BTreeMap<(TensorId, bool, Phase), u32>,
    page_labels: Vec<Label>,
}

impl<'a> Recorder<'a> {
    fn new(step: &'a StepGraph, scenario: &'a Scenario, backend: &'a mut Backend) -> Result<Self, ExecError> {
        let layout = FeedLayout::of(step);
        let feeds = feeds(step, backend, layout.bytes());
        let wire = (0..backend.places()).map(|_| Pool::default()).collect();
        let mut recorder = Self {
            step,
            scenario,
            backend,
            layout,
            ranks: Vec::new(),
            labels: first_labels(step),
            feeds,
            recording: Recording::default(),
            waiting: BTreeMap::new(),
            wire,
            masters: Vec::new(),
            sent: Sent::new(),
            outer_ops: outer_ops(step),
            outer: BTreeSet::new(),
            flows: Vec::new(),
            pages: BTreeMap::new(),
            page_labels: Vec::new(),
        };
        let planned = plans(step, scenario.run().pool)?;
        for rank in (0..step.mesh.ranks()).map(RankId) {
            let (course, plan) = &planned[step.mesh.coordinates(rank).pp as usize];
            let place = recorder.place(rank);
            let create = |bytes: Bytes| recorder.backend.create_at(place, bytes.0);
            let memory = RankMemory::new(Rc::clone(course), Rc::clone(plan), create);
            recorder.add_rank(rank, memory);
        }
        Ok(recorder)
    }

    fn add_rank(&mut self, rank: RankId, memory: RankMemory) {
        let stage = self.step.mesh.coordinates(rank).pp as usize;
        let mut state = Rank {
            stage,
            task: 0,
            op: 0,
            memory,
            outside: Pool::default(),
            persistent_outside: BTreeMap::new(),
            values_outside: BTreeMap::new(),
            inbox: BTreeMap::new(),
            met: [0; Group::COUNT],
            allocated: false,
            used: Vec::new(),
            reserved: Vec::new(),
        };
        let place = self.place(rank);
        for id in persistent_outside(self.step, &self.step.stages[stage]) {
            let tensor = self.step.tensor(id);
            let (backend, category) = (&mut *self.backend, category(tensor.role, false));
            let buffer = state.outside.allocate(tensor.allocated(), category, |n| backend.create_at(place, n.0));
            state.persistent_outside.insert(id, buffer);
        }
        self.ranks.push(state);
    }

    /// Visits the ranks in turn until all are done.
    fn run(&mut self) -> Result<(), ExecError> {
        let mut open: VecDeque<RankId> = (0..self.step.mesh.ranks()).map(RankId).collect();
        let mut idle = 0;
        while let Some(rank) = open.pop_front() {
            let moved = self.advance(rank)?;
            if !self.done(rank) {
                open.push_back(rank);
            }
            idle = if moved { 0 } else { idle + 1 };
            if idle > open.len() {
                return Err(ExecError::Stuck { rank: rank.0, task: self.state(rank).task });
            }
        }
        Ok(())
    }

    /// The device of a rank.
    fn place(&self, rank: RankId) -> u32 {
        self.backend.place_of(rank.0, self.step.mesh.ranks())
    }

    fn state(&mut self, rank: RankId) -> &mut Rank {
        &mut self.ranks[rank.0 as usize]
    }

    fn done(&self, rank: RankId) -> bool {
        let state = &self.ranks[rank.0 as usize];
        state.task == self.step.stages[state.stage].tasks.len()
    }

    /// Records a rank's ops until it has to wait or is done; returns whether it got anywhere.
    fn advance(&mut self, rank: RankId) -> Result<bool, ExecError> {
        let step = self.step;
        let stage = &step.stages[self.state(rank).stage];
        let mut moved = false;
        while let Some(&task) = stage.tasks.get(self.state(rank).task) {
            let segment = stage.segment(task);
            while let Some(node) = segment.graph.raw_nodes().get(self.state(rank).op) {
                let index = self.state(rank).op;
                self.allocate(rank, task, &segment.memory.allocates[index], node.weight.phase);
                if !self.op(rank, task, &node.weight)? {
                    return Ok(moved);
                }
                self.free(rank);
                let state = self.state(rank);
                (state.op, state.allocated, moved) = (index + 1, false, true);
            }
            let state = self.state(rank);
            (state.task, state.op) = (state.task + 1, 0);
        }
        Ok(moved)
    }

    /// Brings the values to life that start at the current op, and to the device what it needs.
    fn allocate(&mut self, rank: RankId, task: Task, ids: &[TensorId], phase: Phase) {
        if std::mem::replace(&mut self.state(rank).allocated, true) {
            return;
        }
        let pages = self.state(rank).memory.enter();
        self.turn(rank, &pages, phase);
        for &id in ids.iter().filter(|&&id| self.step.tensor(id).role == Role::Input) {
            self.load(rank, task, id);
        }
        self.note_memory(rank);
    }

    /// Records pages that are moved between the device's memory and the host's.
    fn turn(&mut self, rank: RankId, pages: &[Page], phase: Phase) {
        for page in pages {
            let label = self.page_label(page, phase);
            let [from, to] = [page.from, page.to].map(|buffer| Slice::of_words(buffer, 0, page.bytes.0));
            // What another rank has fed meanwhile has no scope of its own.
            let first = self.recording.scopes.last().map_or(0, |scope| scope.last);
            self.recording.dispatches.push(copy(from, 0, to, 0, from.elements()));
            self.recording.scopes.push(Scope {
                rank: rank.0,
                group: None,
                stream: if page.out { Stream::ToHost } else { Stream::FromHost },
                label,
                micro_batch: page.key.1.unwrap_or(Span::NO_MICRO_BATCH),
                first,
                last: u32::try_from(self.recording.dispatches.len()).unwrap_or(u32::MAX),
            });
        }
    }

    fn page_label(&mut self, page: &Page, phase: Phase) -> LabelId {
        let next = self.page_labels.len();
        let number =
            *self.pages.entry((page.key.0, page.out, phase)).or_insert(u32::try_from(next).unwrap_or(u32::MAX));
        if number as usize == next {
            let (direction, class) = if page.out { ("out", "to_host") } else { ("in", "from_host") };
            let name = format!("page {direction} {}", self.step.tensor(page.key.0).name).into();
            self.page_labels.push(Label { name, class, phase, flops: 0, bytes: page.bytes.0 });
        }
        let ops: usize = self.step.stages.iter().flat_map(|stage| &stage.segments).map(|s| s.graph.node_count()).sum();
        LabelId(u32::try_from(ops).unwrap_or(u32::MAX).saturating_add(number))
    }

    fn note_memory(&mut self, rank: RankId) {
        let scope = self.recording.scopes.len();
        let state = self.state(rank);
        let (live, reserved) = (state.memory.usage().live, state.memory.reserved());
        if state.used.last().is_none_or(|(_, last)| *last != live) {
            state.used.push((scope, live));
        }
        if state.reserved.last().is_none_or(|(_, last)| *last != reserved) {
            state.reserved.push((scope, reserved));
        }
    }

    fn free(&mut self, rank: RankId) {
        self.state(rank).memory.leave();
        self.note_memory(rank);
    }

    /// Copies what a micro-batch brings from the replica's feed.
    fn load(&mut self, rank: RankId, task: Task, id: TensorId) {
        let coordinates = self.step.mesh.coordinates(rank);
        let tensor = self.step.tensor(id);
        let offset = self.layout.offset(&tensor.name, task.micro_batch.unwrap_or(0));
        let feed = (coordinates.dp * self.step.mesh.cp + coordinates.cp, self.place(rank));
        let to = self.slice(rank, task, id);
        let from = Slice { buffer: self.feeds[&feed], offset, ..to };
        self.recording.dispatches.push(copy(from, 0, to, 0, from.elements()));
    }

    /// The bytes of a tensor on a rank.
    fn slice(&self, rank: RankId, task: Task, id: TensorId) -> Slice {
        self.slice_of(rank, task.micro_batch, id)
    }

    fn slice_of(&self, rank: RankId, micro_batch: Option<u32>, id: TensorId) -> Slice {
        let of_experts = self.step.tensor(id).spread == Spread::Experts;
        let (root, offset) = self.step.place_of(id, self.step.mesh.shard_index(rank, of_experts));
        let state = &self.ranks[rank.0 as usize];
        let here = state.memory.place((root, micro_batch)).or_else(|| state.memory.place((root, None)));
        let outside =
            || state.values_outside.get(&(root, micro_batch)).or(state.persistent_outside.get(&root)).copied();
        // The verifier has shown that what is mentioned is alive.
        let buffer = here.or_else(outside).unwrap_or(BufferId(0));
        let tensor = self.step.tensor(id);
        // `executable` has refused what kernels cannot read.
        Slice { buffer, offset, size: tensor.bytes().0, format: Format::of(tensor.dtype) }
    }

    /// Records one op; `false` if the rank has to wait for others.
    fn op(&mut self, rank: RankId, task: Task, op: &Op) -> Result<bool, ExecError> {
        match op.kind {
            OpKind::Collective { collective, group } => return Ok(self.collective(rank, task, op, collective, group)),
            OpKind::Send(transfer) => self.send(rank, task, op, transfer),
            OpKind::Receive(transfer) => return Ok(self.receive(rank, task, op, transfer)),
            _ => {
                self.allocate_outside(rank, task, op);
                let mesh = self.step.mesh;
                let of_experts = op.writes.first().is_some_and(|&id| self.step.tensor(id).spread == Spread::Experts);
                let (at, flat_index) = (mesh.coordinates(rank), mesh.shard_index(rank, of_experts));
                let context = OpContext {
                    step: self.step,
                    slice_index: at.tp,
                    context_index: at.cp,
                    flat_index,
                    replica: at.dp,
                    micro_batch: task.micro_batch.unwrap_or(0),
                    seed: self.scenario.run().seed,
                    dropout: self.scenario.model().dropout,
                    recommender: self.scenario.model().recommender.as_ref(),
                    learning_rate: self.scenario.run().learning_rate,
                };
                let slices = |ids: &[TensorId]| ids.iter().map(|&id| self.slice(rank, task, id)).collect::<Vec<_>>();
                let calls = dispatches(&context, op, &slices(&op.reads), &slices(&op.writes))?;
                self.recording.dispatches.extend(calls);
                self.close_scope(rank, None, task, op);
                match (op.kind, &op.writes[..]) {
                    (OpKind::FromHost, _) => self.came_back(rank, task, op),
                    (OpKind::OuterGradient, _) => {
                        let (anchors, parameters) = op.reads.split_at(op.reads.len() / 2);
                        self.masters.extend(parameters.iter().zip(anchors).map(|(&from, &to)| (rank, from, to)));
                    }
                    (OpKind::Cast, _) => self.cast(rank, op),
                    (OpKind::HostUpdate { .. }, &[master, .., last]) if self.is_parameter(last) => {
                        self.masters.push((rank, last, master));
                    }
                    _ => {}
                }
            }
        }
        Ok(true)
    }

    /// Ends the scope of an op: all dispatches since the last scope are its.
    fn close_scope(&mut self, rank: RankId, group: Option<Group>, task: Task, op: &Op) {
        let state = &self.ranks[rank.0 as usize];
        let index = u32::try_from(state.op).unwrap_or(u32::MAX);
        // Members of a group that spans stages have segments of other numbers.
        let segment = self.step.stages[state.stage].tasks.get(state.task).map_or(task.segment, |own| own.segment);
        let label = LabelId(self.labels[state.stage][segment.0 as usize] + index);
        let first = self.recording.scopes.last().map_or(0, |scope| scope.last);
        let last = u32::try_from(self.recording.dispatches.len()).unwrap_or(u32::MAX);
        let micro_batch = task.micro_batch.unwrap_or(Span::NO_MICRO_BATCH);
        let stream = op.kind.stream();
        if self.outer_ops.contains(&(state.stage, segment, state.op)) {
            self.outer.insert(self.recording.scopes.len());
        }
        self.recording.scopes.push(Scope { rank: rank.0, group, stream, label, micro_batch, first, last });
    }

    fn finish(mut self) -> Recorded {
        for rank in (0..self.step.mesh.ranks()).map(RankId) {
            let pages = self.state(rank).memory.end();
            self.turn(rank, &pages, Phase::Update);
            self.note_memory(rank);
        }
        let feeds = Bytes(self.layout.bytes()) * self.feeds.len() as u64;
        let persistent = self.ranks.iter().map(|rank| {
            let homes = rank.memory.homes().map(|((id, _), buffer)| (id, buffer));
            homes.chain(rank.persistent_outside.clone()).collect()
        });
        let persistent: Vec<BTreeMap<TensorId, BufferId>> = persistent.collect();
        Recorded {
            masters: self.masters.iter().map(|&master| self.copy_of_parameter(&persistent, master)).collect(),
            staging: feeds + self.wire.iter().map(|wire| wire.reserved()).sum(),
            pools: self.ranks.iter().map(|rank| rank.memory.statistics()).collect(),
            outside: self.ranks.iter().map(|rank| PoolStatistics::of(&rank.outside)).collect(),
            memory: self.ranks.iter_mut().map(|rank| std::mem::take(&mut rank.used)).collect(),
            reserved: self.ranks.iter_mut().map(|rank| std::mem::take(&mut rank.reserved)).collect(),
            persistent,
            recording: self.recording,
            feeds: self.feeds,
            layout: self.layout,
            sent: self.sent,
            outer: self.outer,
            flows: self.flows,
            pages: self.page_labels,
        }
    }
}

/// A feed for every replica and rank that shares its sequences, on every device that has a rank which reads it.
fn feeds(step: &StepGraph, backend: &mut Backend, bytes: u64) -> Feeds {
    let mut feeds = Feeds::new();
    for rank in (0..step.mesh.ranks()).map(RankId) {
        let (at, place) = (step.mesh.coordinates(rank), backend.place_of(rank.0, step.mesh.ranks()));
        feeds.entry((at.dp * step.mesh.cp + at.cp, place)).or_insert_with(|| backend.create_at(place, bytes));
    }
    feeds
}

/// The ops of outer steps: from how far parameters have moved to moving them.
fn outer_ops(step: &StepGraph) -> BTreeSet<(usize, SegmentId, usize)> {
    let mut ops = BTreeSet::new();
    for (number, stage) in step.stages.iter().enumerate() {
        for (id, segment) in (0..).map(SegmentId).zip(&stage.segments) {
            let mut inside = false;
            for (index, op) in segment.ops().enumerate() {
                inside |= op.kind == OpKind::OuterGradient;
                if inside {
                    ops.insert((number, id, index));
                }
                inside &= !matches!(op.kind, OpKind::OuterStep { .. });
            }
        }
    }
    ops
}

/// The label of the first op of every segment, numbered as the simulator numbers them.
pub fn first_labels(step: &StepGraph) -> Vec<Vec<u32>> {
    let mut next = 0;
    let mut of_stage = |stage: &crate::graph::Stage| {
        let first = |segment: &crate::graph::Segment| {
            let first = next;
            next += u32::try_from(segment.graph.node_count()).unwrap_or(u32::MAX);
            first
        };
        stage.segments.iter().map(first).collect()
    };
    step.stages.iter().map(&mut of_stage).collect()
}
