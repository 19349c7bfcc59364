//! By how much every op could be later without the step ending later, and which ops have no such slack: the critical path
//! (Kelley & Walker 1959, "Critical-path planning and scheduling").
//!
//! The step is played forward once; then the latest ends are found backward over the same graph of streams, inputs,
//! collectives and messages.

use std::collections::BTreeMap;

use super::Folding;
use super::flow::{Graph, play};
use super::program::{Action, Programs, price};
use crate::graph::StepGraph;
use crate::scenario::Scenario;
use crate::trace::{LabelId, Phase, Span, Stream, Trace};
use crate::units::Nanos;

/// Ops of a kind on a stage, with what they have to spare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slack {
    /// The pipeline stage.
    pub stage: u32,
    /// The class of ops.
    pub class: &'static str,
    /// The part of the step.
    pub phase: Phase,
    /// Where they run.
    pub stream: Stream,
    /// What those without slack take: the time that they put on the critical path.
    pub critical: Nanos,
    /// Ops without slack, and all of them.
    pub count: [u64; 2],
    /// The least slack of one that has some.
    pub least: Option<Nanos>,
}

/// The slack of all ops of one rank of each class, those that put most on the critical path first.
pub fn slack(step: &StepGraph, scenario: &Scenario) -> Vec<Slack> {
    let folding = Folding::classes(scenario.mesh(), scenario.cluster());
    let programs = super::fed(step, scenario, &folding, price(step, scenario, &folding));
    let (graph, times) = play(step, scenario.cluster(), &folding, &programs);
    let ends = latest_ends(&graph, &times);
    sum_up(&graph, &folding, &programs, &times, &ends)
}

/// Which spans of a simulated trace have no slack: the critical path. None where the trace is not this step's.
pub fn critical_spans(step: &StepGraph, scenario: &Scenario, trace: &Trace) -> Option<Vec<bool>> {
    let folding = Folding::classes(scenario.mesh(), scenario.cluster());
    let programs = super::fed(step, scenario, &folding, price(step, scenario, &folding));
    let (graph, times) = play(step, scenario.cluster(), &folding, &programs);
    let latest = latest_ends(&graph, &times);
    let mut of_class: Vec<Vec<bool>> = vec![Vec::new(); folding.classes.len()];
    for ((node, &(_, end)), &latest) in graph.nodes.iter().zip(&times).zip(&latest) {
        of_class[node.class as usize].push(latest <= end);
    }
    // The spans of a class follow each other as its program does.
    let mut of_class: Vec<_> = of_class.into_iter().map(Vec::into_iter).collect();
    let of_span = |span: &Span| of_class.get_mut(trace.track(span).group as usize)?.next();
    let critical: Option<Vec<bool>> = trace.spans.iter().map(of_span).collect();
    critical.filter(|_| of_class.iter_mut().all(|rest| rest.next().is_none()))
}

/// When every node may end at the latest, in the order of nodes: class after class, each in program order.
fn latest_ends(graph: &Graph<'_>, times: &[(Nanos, Nanos)]) -> Vec<Nanos> {
    let end = times.iter().map(|(_, end)| *end).max().unwrap_or_default();
    let mut backward = Backward::new(graph, times, end);
    for node in 0..graph.nodes.len() {
        if backward.open[node] == 0 {
            backward.ready.push(u32::try_from(node).unwrap_or(u32::MAX));
        }
    }
    while let Some(node) = backward.ready.pop() {
        backward.settle(node);
    }
    backward.latest
}

struct Backward<'a> {
    graph: &'a Graph<'a>,
    times: &'a [(Nanos, Nanos)],
    /// Nodes behind a node that are not settled yet.
    open: Vec<u32>,
    before: Vec<Vec<u32>>,
    latest: Vec<Nanos>,
    /// Members of each collective that are not settled yet.
    members_open: Vec<usize>,
    ready: Vec<u32>,
}

impl<'a> Backward<'a> {
    fn new(graph: &'a Graph<'a>, times: &'a [(Nanos, Nanos)], end: Nanos) -> Self {
        let count = graph.nodes.len();
        let (mut open, mut before) = (vec![0_u32; count], vec![Vec::new(); count]);
        for (number, node) in (0_u32..).zip(&graph.nodes) {
            open[number as usize] += u32::try_from(node.then.len()).unwrap_or(u32::MAX);
            node.then.iter().for_each(|&next| before[next as usize].push(number));
        }
        for meeting in &graph.meetings {
            // A message may be as late as its receive.
            if let Some((&send, receive)) = meeting.members.first().zip(meeting.receive) {
                open[send as usize] += 1;
                before[receive as usize].push(send);
            }
        }
        let members_open = graph.meetings.iter().map(|meeting| meeting.members.len()).collect();
        Self { graph, times, open, before, latest: vec![end; count], members_open, ready: Vec::new() }
    }

    /// All behind a node are settled. Those of a collective start together, so what is before any of them must wait
    /// for all.
    fn settle(&mut self, node: u32) {
        let receives = |node: u32| matches!(self.graph.nodes[node as usize].op.action, Action::Receive(_));
        let meeting = self.graph.nodes[node as usize].meeting.filter(|_| !receives(node));
        let together = match meeting {
            Some(meeting) => {
                let open = &mut self.members_open[meeting as usize];
                *open -= 1;
                if *open > 0 {
                    return;
                }
                self.graph.meetings[meeting as usize].members.clone()
            }
            None => vec![node],
        };
        let start = |&node: &u32| {
            let (start, end) = self.times[node as usize];
            // A receive does nothing itself: it may be there when it must have ended.
            self.latest[node as usize] - if receives(node) { Nanos::ZERO } else { end - start }
        };
        let latest = together.iter().map(start).min().unwrap_or_default();
        for member in together {
            if meeting.is_some() {
                // None of a collective can be later than the others.
                let (start, end) = self.times[member as usize];
                self.latest[member as usize] = latest + (end - start);
            }
            let host = self.graph.nodes[member as usize].host_after;
            for before in std::mem::take(&mut self.before[member as usize]) {
                // From a receive on the host takes its time until it issues the op.
                let lag =
                    if host == Some(before) { self.graph.nodes[member as usize].issued_after } else { Nanos::ZERO };
                let known = &mut self.latest[before as usize];
                *known = (*known).min(latest - lag);
                self.open[before as usize] -= 1;
                if self.open[before as usize] == 0 {
                    self.ready.push(before);
                }
            }
        }
    }
}

fn sum_up(
    graph: &Graph<'_>,
    folding: &Folding,
    programs: &Programs,
    times: &[(Nanos, Nanos)],
    latest: &[Nanos],
) -> Vec<Slack> {
    let mut by_kind: BTreeMap<(u32, LabelClass), Slack> = BTreeMap::new();
    for ((node, &(start, end)), &latest) in graph.nodes.iter().zip(times).zip(latest) {
        let (stage, LabelId(label)) = (folding.classes[node.class as usize].stage, node.op.label);
        let label = &programs.labels[label as usize];
        let stream = node.op.stream;
        let new = || Slack {
            stage,
            class: label.class,
            phase: label.phase,
            stream,
            critical: Nanos::ZERO,
            count: [0; 2],
            least: None,
        };
        let line = by_kind.entry((stage, (label.class, label.phase, stream))).or_insert_with(new);
        let spare = latest - end;
        line.count[1] += 1;
        if spare <= Nanos::ZERO {
            line.count[0] += 1;
            line.critical += end - start;
        } else {
            line.least = Some(line.least.map_or(spare, |least| least.min(spare)));
        }
    }
    let mut lines: Vec<Slack> = by_kind.into_values().collect();
    lines.sort_by(|a, b| b.critical.cmp(&a.critical).then_with(|| (a.stage, a.class).cmp(&(b.stage, b.class))));
    lines
}

/// Class, phase and stream.
type LabelClass = (&'static str, Phase, Stream);
