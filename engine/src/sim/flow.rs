//! The second fidelity: messages that are under way at the same time share the links that they load.
//!
//! Every op of every class is a node of a graph whose edges are the order of streams, the inputs, and what the host
//! waits for: the same constraints that [`super::core`] evaluates in program order. Here an event queue plays them, since
//! how long a message takes depends on what else is sent meanwhile. Rates change when a message starts or ends
//! ([`super::demand::fair_rates`]); a message that shares nothing takes exactly as long as without contention.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use rustc_hash::FxHashMap;

use super::Folding;
use super::core::slots;
use super::demand::{Demand, Demands, fair_rates, first_class, sender};
use super::program::{Action, PricedOp, Programs};
use crate::cluster::{Cluster, Group};
use crate::graph::{Direction, StepGraph, Task};
use crate::trace::Stream;
use crate::units::Nanos;

/// Start and end of every op of every class, in program order.
pub type Times = Vec<Vec<(Nanos, Nanos)>>;

/// Plays the programs with contention.
pub fn times(step: &StepGraph, cluster: &Cluster, folding: &Folding, programs: &Programs) -> Times {
    let (graph, played) = play(step, cluster, folding, programs);
    let mut times: Times = vec![Vec::new(); folding.classes.len()];
    for (node, found) in graph.nodes.iter().zip(played) {
        times[node.class as usize].push(found);
    }
    times
}

/// All that ops wait for, with start and end of every node.
pub fn play<'a>(
    step: &StepGraph,
    cluster: &Cluster,
    folding: &Folding,
    programs: &'a Programs,
) -> (Graph<'a>, Vec<(Nanos, Nanos)>) {
    let demands = Demands::of(step.mesh, cluster, folding, programs);
    let graph = Graph::new(step, folding, programs);
    let count = graph.nodes.len();
    let mut player = Player {
        programs,
        demands: &demands,
        waiting: graph.nodes.iter().map(|node| node.waits_for).collect(),
        graph,
        released: vec![Nanos::ZERO; count],
        times: vec![None; count],
        host: vec![Nanos::ZERO; count],
        events: BinaryHeap::new(),
        sequence: 0,
        under_way: Vec::new(),
        version: 0,
        now: Nanos::ZERO,
    };
    player.play();
    let times = player.times.into_iter().map(Option::unwrap_or_default).collect();
    (player.graph, times)
}

/// An op of a class in a task.
pub struct Node<'a> {
    pub class: u32,
    pub op: &'a PricedOp,
    /// Nodes that must have ended.
    waits_for: u32,
    /// Nodes that wait for it.
    pub then: Vec<u32>,
    /// The last op before it for which the host waited.
    pub host_after: Option<u32>,
    /// What the host takes from there on until this one is issued.
    pub issued_after: Nanos,
    /// Its collective, or its message.
    pub meeting: Option<u32>,
    /// When the samples that it brings are there.
    samples: Nanos,
}

/// What goes over the network as one.
#[derive(Default)]
pub struct Meeting {
    /// Nodes of all classes that take part; of a message the send alone.
    pub members: Vec<u32>,
    /// Of them those that have not arrived.
    missing: u32,
    /// The receive of a message.
    pub receive: Option<u32>,
}

/// All that a step's ops wait for.
pub struct Graph<'a> {
    /// Class after class, each in program order.
    pub nodes: Vec<Node<'a>>,
    pub meetings: Vec<Meeting>,
}

/// By the first class, the group's kind, and the number among the collectives of that group.
type Collectives = BTreeMap<(u32, Group, u32), u32>;

/// By the class that receives, the transfer, and the micro-batch.
type Messages = BTreeMap<(u32, u32, u32), u32>;

/// What is known while the nodes of a class are made.
struct Builder {
    /// Last node on each stream.
    streams: [Option<u32>; Stream::ALL.len()],
    /// Last node that wrote a tensor of a slot.
    writers: FxHashMap<(u32, u32), u32>,
    host_after: Option<u32>,
    issued: Nanos,
    met: [u32; Group::COUNT],
    /// The first class of each of its groups.
    firsts: [u32; Group::COUNT],
}

impl<'a> Graph<'a> {
    /// The graph of priced programs.
    pub fn new(step: &StepGraph, folding: &Folding, programs: &'a Programs) -> Self {
        let mut graph = Self { nodes: Vec::with_capacity(step.op_instances()), meetings: Vec::new() };
        let (mut collectives, mut messages) = (Collectives::new(), Messages::new());
        for (class, segments) in (0_u32..).zip(&programs.classes) {
            let stage = &step.stages[folding.classes[class as usize].stage as usize];
            let slots = slots(&stage.tasks, step.micro_batches);
            let mut builder = Builder {
                streams: [None; Stream::ALL.len()],
                writers: FxHashMap::default(),
                firsts: Group::ALL.map(|group| first_class(step.mesh, folding, class, Action::Meet(group))),
                host_after: None,
                issued: Nanos::ZERO,
                met: [0; Group::COUNT],
            };
            let persistent = programs.locals[class as usize].persistent;
            for &task in &stage.tasks {
                let segment = &segments[task.segment.0 as usize];
                let slot = task.micro_batch.map_or(0, |m| slots[m as usize]);
                let place = |tensor: u32| if (tensor as usize) < persistent { (0, tensor) } else { (slot, tensor) };
                for op in &segment.ops {
                    let range = |(from, to): (u32, u32)| segment.tensors[from as usize..to as usize].iter();
                    let reads = range(op.reads).map(|&tensor| place(tensor));
                    let node = graph.add(class, op, &mut builder, reads);
                    if op.action == Action::Load {
                        graph.nodes[node as usize].samples = programs.samples_of(task.micro_batch);
                    }
                    builder.writers.extend(range(op.writes).map(|&tensor| (place(tensor), node)));
                    graph.meet(step, folding, node, task, &mut builder, (&mut collectives, &mut messages));
                }
            }
        }
        graph
    }

    /// Appends an op behind what it waits for.
    fn add(
        &mut self,
        class: u32,
        op: &'a PricedOp,
        builder: &mut Builder,
        reads: impl Iterator<Item = (u32, u32)>,
    ) -> u32 {
        let number = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let receives = matches!(op.action, Action::Receive(_));
        let mut before: Vec<u32> = builder.host_after.into_iter().collect();
        if !receives {
            // A receive is there when its message is, whatever its own stream does.
            before.extend(builder.streams[op.stream.index()]);
            if op.action == Action::Load {
                before.extend(builder.streams[Stream::Compute.index()]);
            }
            before.extend(reads.filter_map(|read| builder.writers.get(&read)));
        }
        before.sort_unstable();
        before.dedup();
        builder.issued += op.issue;
        self.nodes.push(Node {
            class,
            op,
            waits_for: u32::try_from(before.len()).unwrap_or(u32::MAX),
            then: Vec::new(),
            host_after: builder.host_after,
            issued_after: builder.issued,
            meeting: None,
            samples: Nanos::ZERO,
        });
        for node in before {
            self.nodes[node as usize].then.push(number);
        }
        builder.streams[op.stream.index()] = Some(number);
        if op.awaited {
            (builder.host_after, builder.issued) = (Some(number), Nanos::ZERO);
        }
        number
    }

    /// Joins a node to the collective or the message that it is part of.
    fn meet(
        &mut self,
        step: &StepGraph,
        folding: &Folding,
        node: u32,
        task: Task,
        builder: &mut Builder,
        (collectives, messages): (&mut Collectives, &mut Messages),
    ) {
        let (class, op) = (self.nodes[node as usize].class, self.nodes[node as usize].op);
        let next = u32::try_from(self.meetings.len()).unwrap_or(u32::MAX);
        let micro_batch = task.micro_batch.unwrap_or(0);
        let meeting = match op.action {
            Action::Run | Action::Load => return,
            Action::Meet(group) => {
                let number = builder.met[group as usize];
                builder.met[group as usize] += 1;
                let first = builder.firsts[group as usize];
                *collectives.entry((first, group, number)).or_insert(next)
            }
            Action::Send(transfer) => {
                let rank = folding.classes[class as usize].representative;
                let [previous, following] = super::fold::neighbours(step.mesh, rank);
                let to = if transfer.direction == Direction::Next { following } else { previous };
                let to = to.map_or(class, |rank| folding.class_of[rank.0 as usize]);
                *messages.entry((to, transfer.number, micro_batch)).or_insert(next)
            }
            Action::Receive(transfer) => *messages.entry((class, transfer.number, micro_batch)).or_insert(next),
        };
        if meeting == next {
            self.meetings.push(Meeting::default());
        }
        let joined = &mut self.meetings[meeting as usize];
        if matches!(op.action, Action::Receive(_)) {
            // It also waits for its message.
            self.nodes[node as usize].waits_for += 1;
            joined.receive = Some(node);
        } else {
            joined.members.push(node);
            joined.missing += 1;
        }
        self.nodes[node as usize].meeting = Some(meeting);
    }
}

/// A collective or a message on its way.
struct UnderWay<'a> {
    meeting: u32,
    demand: Option<&'a Demand>,
    /// Bytes per second when nothing is shared.
    own: f64,
    /// Share of that rate that it has.
    speed: f64,
    /// Time that it would have taken so far at its own rate.
    done: f64,
    since: Nanos,
    start: Nanos,
    /// Members that have not ended, those that take longest first.
    left: Vec<(Nanos, u32)>,
}

impl UnderWay<'_> {
    /// When the member that is next to end does.
    fn next_end(&self) -> Nanos {
        let Some(&(duration, _)) = self.left.last() else { return self.since };
        #[expect(clippy::cast_possible_truncation, reason = "checked magnitudes")]
        let rest = ((duration.0 as f64 - self.done).max(0.0) / self.speed).ceil() as i64;
        self.since + Nanos(rest)
    }

    fn advance(&mut self, now: Nanos) {
        self.done += (now - self.since).0 as f64 * self.speed;
        self.since = now;
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// An op may start: the host has issued it.
    Issued(u32),
    /// A kernel ends.
    Ended(u32),
    /// The next message ends, unless rates have changed since.
    Arrived(u32),
}

struct Player<'a, 'p> {
    programs: &'p Programs,
    demands: &'a Demands,
    graph: Graph<'p>,
    waiting: Vec<u32>,
    /// When the last of what a node waits for ended.
    released: Vec<Nanos>,
    times: Vec<Option<(Nanos, Nanos)>>,
    /// When the host goes on after a node, where it waits for it.
    host: Vec<Nanos>,
    events: BinaryHeap<Reverse<(Nanos, u64, Event)>>,
    sequence: u64,
    under_way: Vec<UnderWay<'a>>,
    version: u32,
    now: Nanos,
}

impl Player<'_, '_> {
    fn play(&mut self) {
        for node in 0..self.graph.nodes.len() {
            if self.waiting[node] == 0 {
                self.release(u32::try_from(node).unwrap_or(u32::MAX));
            }
        }
        while let Some(Reverse((now, _, event))) = self.events.pop() {
            self.now = now;
            match event {
                Event::Issued(node) => self.start(node),
                Event::Ended(node) => self.finish(node),
                Event::Arrived(version) if version == self.version => self.arrive(),
                Event::Arrived(_) => {}
            }
        }
    }

    fn push(&mut self, at: Nanos, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at, self.sequence, event)));
    }

    /// When the host issues a node.
    fn issued(&self, number: u32) -> Nanos {
        let node = &self.graph.nodes[number as usize];
        node.host_after.map_or(Nanos::ZERO, |awaited| self.host[awaited as usize]) + node.issued_after
    }

    /// All that a node waits for has ended.
    fn release(&mut self, node: u32) {
        if matches!(self.graph.nodes[node as usize].op.action, Action::Receive(_)) {
            self.finish(node);
            return;
        }
        let at = self.released[node as usize].max(self.issued(node));
        self.push(at, Event::Issued(node));
    }

    fn start(&mut self, number: u32) {
        let node = &self.graph.nodes[number as usize];
        if let Some(meeting) = node.meeting {
            let meeting_ref = &mut self.graph.meetings[meeting as usize];
            meeting_ref.missing -= 1;
            if meeting_ref.missing == 0 {
                self.send(meeting);
            }
            return;
        }
        let end = (self.now + node.op.duration).max(node.samples);
        self.times[number as usize] = Some((self.now, end));
        self.push(end, Event::Ended(number));
    }

    /// Tells those that wait for a node.
    fn finish(&mut self, node: u32) {
        let then = std::mem::take(&mut self.graph.nodes[node as usize].then);
        let end = self.times[node as usize].map_or(self.now, |(_, end)| end);
        self.host[node as usize] = self.issued(node).max(end);
        for &next in &then {
            self.released[next as usize] = self.released[next as usize].max(end);
            self.count_down(next);
        }
        self.graph.nodes[node as usize].then = then;
    }

    fn count_down(&mut self, node: u32) {
        self.waiting[node as usize] -= 1;
        if self.waiting[node as usize] == 0 {
            self.release(node);
        }
    }

    /// All have arrived: the bytes go.
    fn send(&mut self, meeting: u32) {
        let members = &self.graph.meetings[meeting as usize].members;
        let duration = |node: u32| self.graph.nodes[node as usize].op.duration;
        let mut left: Vec<(Nanos, u32)> = members.iter().map(|&node| (duration(node), node)).collect();
        left.sort_unstable_by(|a, b| b.cmp(a));
        let Some((&first, &(longest, _))) = members.iter().min().zip(left.first()) else { return };
        let node = &self.graph.nodes[first as usize];
        let sent = self.programs.labels[node.op.label.0 as usize].bytes as f64;
        let demand =
            sender(node.class, node.op.action, node.op.pattern).and_then(|sender| self.demands.of.get(&sender));
        let own = sent / longest.secs().max(1e-12);
        let own = demand.map_or(own, |demand| own.min(demand.alone));
        let (now, done) = (self.now, 0.0);
        self.under_way.push(UnderWay { meeting, demand, own, speed: 1.0, done, since: now, start: now, left });
        self.share();
    }

    /// Gives everything that is under way its rate anew.
    fn share(&mut self) {
        let now = self.now;
        self.under_way.iter_mut().for_each(|sent| sent.advance(now));
        let shares = |sent: &UnderWay<'_>| sent.own > 0.0;
        let active: Vec<(&Demand, f64)> = self
            .under_way
            .iter()
            .filter(|sent| shares(sent))
            .filter_map(|sent| Some((sent.demand?, sent.own)))
            .collect();
        let rates = fair_rates(&self.demands.resources, &active);
        let mut rates = rates.into_iter();
        for sent in self.under_way.iter_mut().filter(|sent| sent.own > 0.0 && sent.demand.is_some()) {
            let speed = rates.next().map_or(1.0, |rate| rate / sent.own);
            // What is left of rounding is no contention.
            sent.speed = if speed > 1.0 - 1e-6 { 1.0 } else { speed.max(1e-9) };
        }
        self.version += 1;
        if let Some(next) = self.under_way.iter().map(UnderWay::next_end).min() {
            let version = self.version;
            self.push(next.max(now), Event::Arrived(version));
        }
    }

    /// Some members of what is under way end now.
    fn arrive(&mut self) {
        let (now, mut ended) = (self.now, Vec::new());
        for sent in &mut self.under_way {
            while sent.next_end() <= now
                && let Some((_, node)) = sent.left.pop()
            {
                ended.push((node, sent.start, sent.meeting));
            }
        }
        self.under_way.retain(|sent| !sent.left.is_empty());
        for &(node, start, meeting) in &ended {
            self.times[node as usize] = Some((start, now));
            if let Some(receive) = self.graph.meetings[meeting as usize].receive {
                self.times[receive as usize] = Some((start, now));
                self.count_down(receive);
            }
        }
        ended.into_iter().for_each(|(node, _, _)| self.finish(node));
        self.share();
    }
}
