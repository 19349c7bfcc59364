//! Plays priced programs on in-order streams.
//!
//! Each class runs through its program in order and keeps, for every stream, when it is free, and for every tensor
//! of every micro-batch, when it is ready. It pauses at a collective until its whole group has arrived, and at a
//! receive until the message was sent; other classes go on meanwhile. The order in which classes are visited
//! does not change any time.

use std::collections::VecDeque;

use super::flow::Times;
use super::memory::MemoryRecorder;
use super::program::{Action, Locals, PricedOp, PricedSegment, Programs};
use super::{Class, Folding};
use crate::cluster::Group;
use crate::graph::{StepGraph, Task, Transfer};
use crate::trace::{Flow, HostWait, Origin, Span, Stream, Trace, Track, TrackId};
use crate::units::Nanos;

const STREAMS: usize = Stream::ALL.len();

/// Plays all programs to the end; the trace gets its labels from who has the programs. With `times`, ops start and end as these say: the order of events was found before.
pub fn play(step: &StepGraph, folding: &Folding, programs: &Programs, times: Option<&Times>) -> Trace {
    let mut player = Player::new(step, folding, programs, times);
    let mut waiting: VecDeque<usize> = (0..folding.classes.len()).collect();
    let mut idle = 0;
    // The verifier has shown that every receive has its send; should a schedule still be circular, the loop ends
    // after a round in which no class could move, and the trace shows how far it came.
    while let Some(class) = waiting.pop_front() {
        let moved = player.advance(class);
        if !player.states[class].done {
            waiting.push_back(class);
        }
        idle = if moved { 0 } else { idle + 1 };
        if idle > waiting.len() {
            break;
        }
    }
    player.finish()
}

/// A message on its way: when its send started and ended, and the sending span.
#[derive(Clone, Copy)]
struct Message {
    start: Nanos,
    end: Nanos,
    span: u32,
}

/// Where a class stands in its program.
struct State {
    task: usize,
    op: usize,
    /// Ops so far.
    played: usize,
    /// When the host issued the last op.
    host: Nanos,
    free: [Nanos; STREAMS],
    /// When each tensor is ready: persistent ones in slot 0, those of a micro-batch in the slot that it has.
    ready: Vec<Nanos>,
    /// The slot of every micro-batch: those that are never in flight together share one.
    slots: Vec<u32>,
    tensors: usize,
    persistent: usize,
    /// Messages to this class, by transfer and micro-batch.
    inbox: Vec<Option<Message>>,
    /// Collectives passed, by group: the number of the next one.
    met: [usize; Group::COUNT],
    /// When it arrived at each collective, by group; kept because slower members ask later.
    arrivals: [Vec<Nanos>; Group::COUNT],
    done: bool,
}

struct Player<'a> {
    step: &'a StepGraph,
    folding: &'a Folding,
    programs: &'a Programs,
    states: Vec<State>,
    /// Classes of each class's groups.
    groups: Vec<[Vec<u32>; Group::COUNT]>,
    /// Classes to which a class sends.
    targets: Vec<[Option<usize>; 2]>,
    spans: Vec<Span>,
    flows: Vec<Flow>,
    host_waits: Vec<HostWait>,
    memory: Vec<MemoryRecorder<'a>>,
    times: Option<&'a Times>,
}

impl<'a> Player<'a> {
    fn new(step: &'a StepGraph, folding: &'a Folding, programs: &'a Programs, times: Option<&'a Times>) -> Self {
        let mesh = step.mesh;
        let messages = step.transfers as usize * step.micro_batches as usize;
        let state = |(class, &locals): (&Class, &Locals)| {
            let slots = slots(&step.stages[class.stage as usize].tasks, step.micro_batches);
            State::new(locals, slots, messages)
        };
        let states = folding.classes.iter().zip(&programs.locals).map(state).collect();
        let groups =
            folding.classes.iter().map(|class| Group::ALL.map(|g| folding.group_classes(mesh, g, class))).collect();
        let target = |class: &Class| {
            let [previous, next] = super::fold::neighbours(mesh, class.representative);
            [next, previous].map(|rank| rank.map(|rank| folding.class_of[rank.0 as usize] as usize))
        };
        let instances: usize = step.op_instances();
        let memory = folding.classes.iter().map(|class| MemoryRecorder::new(step, class.stage as usize)).collect();
        Self {
            step,
            folding,
            programs,
            states,
            groups,
            targets: folding.classes.iter().map(target).collect(),
            spans: Vec::with_capacity(instances * folding.classes.len() / step.stages.len().max(1)),
            flows: Vec::new(),
            host_waits: Vec::new(),
            memory,
            times,
        }
    }

    /// Runs a class until it has to wait or is done; returns whether it got anywhere.
    fn advance(&mut self, class: usize) -> bool {
        let programs = self.programs;
        let stage = &self.step.stages[self.folding.classes[class].stage as usize];
        let mut moved = false;
        while let Some(&task) = stage.tasks.get(self.states[class].task) {
            let segment = &programs.classes[class][task.segment.0 as usize];
            moved |= self.kernels(class, task, segment);
            while let Some(op) = segment.ops.get(self.states[class].op) {
                if !self.op(class, task, op, &segment.tensors) {
                    return moved;
                }
                moved = true;
                self.kernels(class, task, segment);
            }
            self.states[class].task += 1;
            self.states[class].op = 0;
        }
        self.states[class].done = true;
        true
    }

    /// Plays ops up to the next that has to do with others, unless their times are given; returns whether there are any.
    /// They are most, so what they need is at hand.
    fn kernels(&mut self, class: usize, task: Task, segment: &PricedSegment) -> bool {
        if self.times.is_some() {
            return false;
        }
        let state = &mut self.states[class];
        let memory = &mut self.memory[class];
        let slot = task.micro_batch.map_or(0, |m| state.slots[m as usize] as usize);
        let micro_batch = task.micro_batch.unwrap_or(Span::NO_MICRO_BATCH);
        let (first_track, first) = (class * STREAMS, state.op);
        for op in segment.ops[first..].iter().take_while(|op| op.action == Action::Run) {
            let ready = state.earliest(op.stream, &segment.tensors[op.reads.0 as usize..op.reads.1 as usize], slot);
            let issued = state.host + op.issue;
            let start = ready.max(issued);
            let end = start + op.duration;
            let track = TrackId(u32::try_from(first_track + op.stream.index()).unwrap_or(u32::MAX));
            self.spans.push(Span { track, label: op.label, start, duration: op.duration, micro_batch });
            if issued > ready && op.stream == Stream::Compute {
                wait_for_host(&mut self.host_waits, class, ready, issued);
            }
            state.ended(op, &segment.tensors, slot, issued, end);
            memory.op(task, state.op, start);
            state.op += 1;
        }
        state.op > first
    }

    /// Plays one op; `false` if it has to wait for others.
    fn op(&mut self, class: usize, task: Task, op: &PricedOp, tensors: &[u32]) -> bool {
        let slot = task.micro_batch.map_or(0, |m| self.states[class].slots[m as usize] as usize);
        let reads = &tensors[op.reads.0 as usize..op.reads.1 as usize];
        let state = &self.states[class];
        let ready = state.earliest(op.stream, reads, slot);
        let issued = state.host + op.issue;
        let earliest = ready.max(issued);
        let (start, end) = match op.action {
            Action::Run | Action::Send(_) => (earliest, earliest + op.duration),
            Action::Load => {
                let wanted = earliest.max(state.free[Stream::Compute.index()]);
                (wanted, wanted.max(self.programs.samples_of(task.micro_batch)))
            }
            Action::Meet(group) => match self.meet(class, group, earliest) {
                Some(start) => (start, start + op.duration),
                None => return false,
            },
            Action::Receive(transfer) => match self.states[class].inbox[self.message(transfer, task)] {
                Some(message) => self.receive(message),
                None => return false,
            },
        };
        let given = self.times.and_then(|times| times[class].get(self.states[class].played).copied());
        let (start, end) = given.unwrap_or((start, end));
        let span = self.span(class, op, start, end, task);
        if let Action::Send(transfer) = op.action {
            self.send(class, transfer, task, Message { start, end, span });
        }
        if issued > ready && op.stream == Stream::Compute {
            wait_for_host(&mut self.host_waits, class, ready, issued);
        }
        let state = &mut self.states[class];
        state.ended(op, tensors, slot, issued, end);
        self.memory[class].op(task, state.op, start);
        state.op += 1;
        true
    }

    /// When all classes of the group have arrived, the time at which the last of them did.
    fn meet(&mut self, class: usize, group: Group, earliest: Nanos) -> Option<Nanos> {
        let members = &self.groups[class][group as usize];
        if members.len() <= 1 {
            return Some(earliest);
        }
        let number = self.states[class].met[group as usize];
        let arrivals = &mut self.states[class].arrivals[group as usize];
        if arrivals.len() == number {
            arrivals.push(earliest);
        }
        let mut start = earliest;
        for &member in members {
            start = start.max(*self.states[member as usize].arrivals[group as usize].get(number)?);
        }
        self.states[class].met[group as usize] += 1;
        Some(start)
    }

    /// A receive takes as long as its send; messages of one sender arrive one after the other.
    fn receive(&mut self, message: Message) -> (Nanos, Nanos) {
        let to = u32::try_from(self.spans.len()).unwrap_or(u32::MAX);
        self.flows.push(Flow { from: message.span, to });
        (message.start, message.end)
    }

    fn send(&mut self, class: usize, transfer: Transfer, task: Task, message: Message) {
        let place = self.message(transfer, task);
        if let Some(target) = self.targets[class][transfer.direction as usize] {
            self.states[target].inbox[place] = Some(message);
        }
    }

    /// Where the message of a transfer is in an inbox.
    fn message(&self, transfer: Transfer, task: Task) -> usize {
        transfer.number as usize * self.step.micro_batches as usize + task.micro_batch.unwrap_or(0) as usize
    }

    fn span(&mut self, class: usize, op: &PricedOp, start: Nanos, end: Nanos, task: Task) -> u32 {
        let index = u32::try_from(self.spans.len()).unwrap_or(u32::MAX);
        let track = TrackId(u32::try_from(class * STREAMS + op.stream.index()).unwrap_or(u32::MAX));
        let micro_batch = task.micro_batch.unwrap_or(Span::NO_MICRO_BATCH);
        self.spans.push(Span { track, label: op.label, start, duration: end - start, micro_batch });
        index
    }

    fn finish(self) -> Trace {
        let tracks = self.folding.classes.iter().zip(0..).flat_map(|(class, group)| {
            Stream::ALL.map(|stream| Track {
                group,
                stage: class.stage,
                rank: class.representative.0,
                ranks: class.ranks,
                stream,
                name: None,
            })
        });
        let step_time = self.spans.iter().map(Span::end).max().unwrap_or_default();
        let memory = self.memory.into_iter().zip(0..).map(|(recorder, group)| recorder.finish(group)).collect();
        Trace {
            origin: Origin::Modelled,
            labels: Vec::new(),
            tracks: tracks.collect(),
            spans: self.spans,
            flows: self.flows,
            host_waits: self.host_waits,
            memory,
            traffic: Vec::new(),
            step_time,
        }
    }
}

/// Notes that a class's compute stream was idle until the host issued the next op.
fn wait_for_host(host_waits: &mut Vec<HostWait>, class: usize, from: Nanos, until: Nanos) {
    let group = u32::try_from(class).unwrap_or(u32::MAX);
    match host_waits.last_mut() {
        Some(last) if last.group == group && last.until >= from => last.until = until,
        _ => host_waits.push(HostWait { group, from, until }),
    }
}

/// Slots for the micro-batches of a stage, from 1 on: one is taken with the first task of a micro-batch and given back
/// behind its last.
pub fn slots(tasks: &[Task], micro_batches: u32) -> Vec<u32> {
    let mut left = vec![0_u32; micro_batches as usize];
    let of_batch = || tasks.iter().filter_map(|task| task.micro_batch.map(|m| m as usize));
    of_batch().for_each(|m| left[m] += 1);
    let (mut slots, mut free, mut used) = (vec![0; micro_batches as usize], Vec::new(), 0);
    for m in of_batch() {
        if slots[m] == 0 {
            slots[m] = free.pop().unwrap_or_else(|| {
                used += 1;
                used
            });
        }
        left[m] -= 1;
        if left[m] == 0 {
            free.push(slots[m]);
        }
    }
    slots
}

impl State {
    fn new(Locals { tensors, persistent }: Locals, slots: Vec<u32>, messages: usize) -> Self {
        let count = slots.iter().max().map_or(1, |&last| last as usize + 1);
        Self {
            task: 0,
            op: 0,
            played: 0,
            host: Nanos::ZERO,
            free: [Nanos::ZERO; STREAMS],
            ready: vec![Nanos::ZERO; tensors * count],
            slots,
            tensors,
            persistent,
            inbox: vec![None; messages],
            met: [0; Group::COUNT],
            arrivals: Default::default(),
            done: false,
        }
    }

    /// When the stream is free and every input is there.
    fn earliest(&self, stream: Stream, reads: &[u32], slot: usize) -> Nanos {
        let free = self.free[stream.index()];
        reads.iter().fold(free, |earliest, &tensor| earliest.max(self.ready[self.slot(tensor, slot)]))
    }

    /// An op that the host issued at `issued` ended.
    fn ended(&mut self, op: &PricedOp, tensors: &[u32], slot: usize, issued: Nanos, end: Nanos) {
        self.played += 1;
        self.host = if op.awaited { issued.max(end) } else { issued };
        self.free[op.stream.index()] = end;
        for &tensor in &tensors[op.writes.0 as usize..op.writes.1 as usize] {
            let slot = self.slot(tensor, slot);
            self.ready[slot] = end;
        }
    }

    /// Persistent tensors are numbered first and have one slot; others have one for each micro-batch.
    fn slot(&self, tensor: u32, slot: usize) -> usize {
        let tensor = tensor as usize;
        if tensor < self.persistent { tensor } else { slot * self.tensors + tensor }
    }
}
