//! Where the time of a step goes on one group of ranks.
//!
//! At every moment a group is computing, or else communicating (exposed), or else idle (bubble). The parts are
//! disjoint and add up to the step time exactly, in integer nanoseconds.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::trace::{Phase, Span, Stream, Trace, TrackId};
use crate::units::{Flops, FlopsPerSec, Nanos};

/// Disjoint parts of the step time of one group of ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Breakdown {
    /// Kernels of the forward pass.
    pub forward: Nanos,
    /// Kernels that compute activations again.
    pub recompute: Nanos,
    /// Kernels of the backward pass.
    pub backward: Nanos,
    /// Kernels of weight gradients, where the schedule runs them apart from the backward pass.
    pub weight_gradient: Nanos,
    /// Kernels of the optimizer.
    pub update: Nanos,
    /// Tensor-parallel communication while nothing is computed.
    pub exposed_tp: Nanos,
    /// Context-parallel communication while nothing is computed.
    pub exposed_cp: Nanos,
    /// Expert-parallel communication while nothing is computed.
    pub exposed_ep: Nanos,
    /// Data-parallel communication while nothing is computed.
    pub exposed_dp: Nanos,
    /// Pipeline communication while nothing is computed.
    pub exposed_pp: Nanos,
    /// Other communication while nothing is computed: gradient norm, tied embedding.
    pub exposed_model: Nanos,
    /// Copies to and from the host, and its updates, while nothing is computed.
    pub exposed_offload: Nanos,
    /// Waiting for samples while nothing is computed: the data stall.
    pub exposed_input: Nanos,
    /// Neither: waiting for the host to issue the next op.
    pub host: Nanos,
    /// Neither: waiting for other stages.
    pub bubble: Nanos,
}

impl Breakdown {
    /// The parts with their names, in the order in which they are stacked.
    pub fn parts(&self) -> [(&'static str, Nanos); 15] {
        [
            ("forward", self.forward),
            ("recompute", self.recompute),
            ("backward", self.backward),
            ("weight_gradient", self.weight_gradient),
            ("update", self.update),
            ("exposed_tp", self.exposed_tp),
            ("exposed_cp", self.exposed_cp),
            ("exposed_ep", self.exposed_ep),
            ("exposed_dp", self.exposed_dp),
            ("exposed_pp", self.exposed_pp),
            ("exposed_model", self.exposed_model),
            ("exposed_offload", self.exposed_offload),
            ("exposed_input", self.exposed_input),
            ("host", self.host),
            ("bubble", self.bubble),
        ]
    }

    /// The step time.
    pub fn total(&self) -> Nanos {
        self.parts().iter().map(|(_, time)| *time).sum()
    }

    /// Everything but the bubble and exposed communication.
    pub fn compute(&self) -> Nanos {
        self.forward + self.recompute + self.backward + self.weight_gradient + self.update
    }

    fn of_phase(&mut self, phase: Phase) -> &mut Nanos {
        match phase {
            Phase::Forward => &mut self.forward,
            Phase::Recompute => &mut self.recompute,
            Phase::Backward => &mut self.backward,
            Phase::WeightGradient => &mut self.weight_gradient,
            Phase::Update => &mut self.update,
        }
    }

    fn of_stream(&mut self, stream: Stream) -> &mut Nanos {
        match stream {
            Stream::TensorComm => &mut self.exposed_tp,
            Stream::ContextComm => &mut self.exposed_cp,
            Stream::ExpertComm => &mut self.exposed_ep,
            Stream::DataComm => &mut self.exposed_dp,
            Stream::ModelComm => &mut self.exposed_model,
            Stream::ToHost | Stream::FromHost | Stream::Host => &mut self.exposed_offload,
            Stream::Input => &mut self.exposed_input,
            _ => &mut self.exposed_pp,
        }
    }
}

/// The parts of the step time of every group of ranks, with one pass over the trace.
pub fn breakdowns(trace: &Trace) -> BTreeMap<u32, Breakdown> {
    // A few thousand labels are asked for by a million spans.
    let phases: Vec<Phase> = trace.labels.iter().map(|label| label.phase).collect();
    let groups = trace.tracks.iter().map(|track| track.group as usize + 1).max().unwrap_or(0);
    let mut of_group: Vec<Activity> = std::iter::repeat_with(Activity::default).take(groups).collect();
    for span in &trace.spans {
        let track = trace.track(span);
        let activity = &mut of_group[track.group as usize];
        if track.stream == Stream::Compute {
            activity.compute(span, phases[span.label.0 as usize]);
        } else if span.duration > Nanos::ZERO {
            activity.communication[track.stream.index()].push((span.start, span.track, span.end()));
        }
    }
    for wait in &trace.host_waits {
        if let Some(activity) = of_group.get_mut(wait.group as usize) {
            activity.waits.push((wait.from, wait.until));
        }
    }
    (0..).zip(of_group).map(|(group, activity)| (group, activity.finish(trace))).collect()
}

/// What a group of ranks does when.
#[derive(Default)]
struct Activity {
    parts: Breakdown,
    /// Compute, with neighbours joined; mostly in order, because kernels of a stream are.
    busy: Vec<(Nanos, Nanos)>,
    /// Of every stream.
    communication: [Vec<Communication>; Stream::ALL.len()],
    /// Until the host issued an op.
    waits: Vec<(Nanos, Nanos)>,
}

/// Start, track and end of what takes any time.
type Communication = (Nanos, TrackId, Nanos);

impl Activity {
    fn compute(&mut self, span: &Span, phase: Phase) {
        *self.parts.of_phase(phase) += span.duration;
        match self.busy.last_mut() {
            Some(last) if (last.0..=last.1).contains(&span.start) => last.1 = last.1.max(span.end()),
            _ => self.busy.push((span.start, span.end())),
        }
    }

    fn finish(self, trace: &Trace) -> Breakdown {
        let Self { mut parts, busy, communication, waits } = self;
        let communication = in_order(communication);
        let (busy, waits) = (union(busy), union(waits));
        let exposed = expose(trace, &communication, &busy, &mut parts);
        // The stream of compute waits between two kernels, so only communication can cover what it waits.
        let communicating = joined(communication.iter().map(|&(start, _, end)| (start, end)));
        let mut communicating = Busy::new(&communicating);
        parts.host = waits.into_iter().map(|(from, until)| communicating.outside(from, until)).sum();
        parts.bubble = trace.step_time - parts.compute() - exposed - parts.host;
        parts
    }
}

/// What all streams communicate, by start and track. Each stream is mostly in order already.
fn in_order(mut streams: [Vec<Communication>; Stream::ALL.len()]) -> Vec<Communication> {
    let count = streams.iter().map(Vec::len).sum();
    streams.iter_mut().filter(|stream| !stream.is_sorted()).for_each(|stream| stream.sort_unstable());
    let mut rest: Vec<&[Communication]> = streams.iter().map(Vec::as_slice).filter(|s| !s.is_empty()).collect();
    let mut merged = Vec::with_capacity(count);
    while let Some(first) = (0..rest.len()).min_by_key(|&stream| rest[stream][0]) {
        let limit = (0..rest.len()).filter(|&stream| stream != first).map(|stream| rest[stream][0]).min();
        let run = rest[first].iter().take_while(|&next| limit.is_none_or(|limit| *next <= limit)).count();
        merged.extend_from_slice(&rest[first][..run]);
        rest[first] = &rest[first][run..];
        rest.retain(|stream| !stream.is_empty());
    }
    merged
}

/// Charges every moment of communication outside `busy` to one stream; returns their sum. Where two streams
/// communicate at once, the one that started first is charged: `spans` are sorted by start and track.
fn expose(trace: &Trace, spans: &[Communication], busy: &[(Nanos, Nanos)], parts: &mut Breakdown) -> Nanos {
    let (mut covered, mut sum) = (Nanos::ZERO, Nanos::ZERO);
    let mut busy = Busy::new(busy);
    for &(start, track, end) in spans {
        let start = start.max(covered);
        if end > start {
            let time = busy.outside(start, end);
            *parts.of_stream(trace.tracks[track.0 as usize].stream) += time;
            sum += time;
            covered = end;
        }
    }
    sum
}

/// The time of communication by stream and class of op on a group of ranks: in all, and of it while nothing is computed.
pub fn communication_by_class(trace: &Trace, group: u32) -> BTreeMap<(Stream, &'static str), [Nanos; 2]> {
    let (mut busy, mut spans) = (Vec::new(), Vec::new());
    for span in trace.spans.iter().filter(|span| span.duration > Nanos::ZERO) {
        let track = trace.track(span);
        match (track.group == group, track.stream) {
            (false, _) => {}
            (true, Stream::Compute) => busy.push((span.start, span.end())),
            (true, stream) => spans.push((span.start, span.end(), stream, trace.label(span).class)),
        }
    }
    let (busy, mut covered) = (union(busy), Nanos::ZERO);
    let mut busy = Busy::new(&busy);
    spans.sort_by_key(|span| (span.0, span.2));
    let mut times: BTreeMap<_, [Nanos; 2]> = BTreeMap::new();
    for (start, end, stream, class) in spans {
        let entry = times.entry((stream, class)).or_default();
        entry[0] += end - start;
        // Where two communicate at once, the one that started first is charged, as in the breakdown.
        let start = start.max(covered);
        if end > start {
            entry[1] += busy.outside(start, end);
            covered = end;
        }
    }
    times
}

/// What groups of ranks do in each part of the step, all parts alike long.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeatRow {
    /// The group of ranks.
    pub group: u32,
    /// Its pipeline stage.
    pub stage: u32,
    /// How many ranks it stands for.
    pub ranks: u32,
    /// The share of each part in which it computes.
    pub compute: Vec<f32>,
    /// The share of each part in which it communicates and does not compute.
    pub exposed: Vec<f32>,
}

/// Ranks over time: what every group does in each of `bins` parts of the step.
pub fn heat_map(trace: &Trace, bins: usize) -> Vec<HeatRow> {
    let mut groups: BTreeMap<u32, (HeatRow, Intervals, Intervals)> = BTreeMap::new();
    for track in &trace.tracks {
        let row = HeatRow {
            group: track.group,
            stage: track.stage,
            ranks: track.ranks,
            compute: vec![0.0; bins],
            exposed: vec![0.0; bins],
        };
        groups.entry(track.group).or_insert((row, Vec::new(), Vec::new()));
    }
    for span in trace.spans.iter().filter(|span| span.duration > Nanos::ZERO) {
        let track = trace.track(span);
        if let Some((_, busy, communication)) = groups.get_mut(&track.group) {
            let list = if track.stream == Stream::Compute { busy } else { communication };
            list.push((span.start, span.end()));
        }
    }
    let width = trace.step_time.0.max(1) as f64 / bins.max(1) as f64;
    let rows = groups.into_values().map(|(mut row, busy, communication)| {
        let (busy, communication) = (union(busy), union(communication));
        spread(&busy, width, &mut row.compute);
        spread(&without(&communication, &busy), width, &mut row.exposed);
        row
    });
    rows.collect()
}

type Intervals = Vec<(Nanos, Nanos)>;

/// Adds to every bin the share of it that intervals cover.
fn spread(intervals: &[(Nanos, Nanos)], width: f64, bins: &mut [f32]) {
    for &(from, until) in intervals {
        let (from, until) = (from.0 as f64 / width, until.0 as f64 / width);
        let (first, last) = (from as usize, (until.ceil() as usize).min(bins.len()));
        for (bin, share) in bins.iter_mut().enumerate().take(last).skip(first) {
            let covered = until.min(bin as f64 + 1.0) - from.max(bin as f64);
            #[expect(clippy::cast_possible_truncation, reason = "a share")]
            let covered = covered.max(0.0) as f32;
            *share += covered;
        }
    }
}

/// The parts of sorted, disjoint intervals that lie in none of others.
fn without(intervals: &[(Nanos, Nanos)], others: &[(Nanos, Nanos)]) -> Intervals {
    let (mut left, mut next) = (Vec::new(), 0);
    for &(mut from, until) in intervals {
        while others.get(next).is_some_and(|other| other.1 <= from) {
            next += 1;
        }
        let mut at = next;
        while let Some(&(start, end)) = others.get(at).filter(|other| other.0 < until) {
            if start > from {
                left.push((from, start));
            }
            from = from.max(end);
            at += 1;
        }
        if from < until {
            left.push((from, until));
        }
    }
    left
}

/// A group of ranks that holds the others of its stage up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Straggler {
    /// The group of ranks.
    pub group: u32,
    /// Its pipeline stage.
    pub stage: u32,
    /// How many ranks it stands for.
    pub ranks: u32,
    /// How much longer it computes than the median rank of its stage: 0.1 for a tenth.
    pub slower: f64,
}

/// Groups that compute longer than the median rank of their stage by more than `least`, the slowest first.
pub fn slow_groups(trace: &Trace, least: f64) -> Vec<Straggler> {
    let parts = breakdowns(trace);
    let mut stages: BTreeMap<u32, BTreeMap<u32, (u32, Nanos)>> = BTreeMap::new();
    for track in &trace.tracks {
        let compute = parts.get(&track.group).map_or(Nanos::ZERO, Breakdown::compute);
        stages.entry(track.stage).or_default().insert(track.group, (track.ranks, compute));
    }
    let mut slow = Vec::new();
    for (stage, groups) in stages {
        let mut times: Vec<(Nanos, u32)> = groups.values().map(|&(ranks, time)| (time, ranks)).collect();
        times.sort_unstable();
        let all: u64 = times.iter().map(|(_, ranks)| u64::from(*ranks)).sum();
        let mut seen = 0_u64;
        let median = times.iter().find(|(_, ranks)| {
            seen += u64::from(*ranks);
            2 * seen >= all
        });
        let Some(&(median, _)) = median.filter(|(time, _)| *time > Nanos::ZERO) else { continue };
        for (group, (ranks, time)) in groups {
            let slower = time.secs() / median.secs() - 1.0;
            if slower > least {
                slow.push(Straggler { group, stage, ranks, slower });
            }
        }
    }
    slow.sort_by(|a, b| b.slower.total_cmp(&a.slower).then(a.group.cmp(&b.group)));
    slow
}

/// Sorted, disjoint intervals that cover the same time; what is so already stays as it is.
fn union(mut intervals: Vec<(Nanos, Nanos)>) -> Vec<(Nanos, Nanos)> {
    if intervals.is_sorted_by(|before, behind| before.1 < behind.0) {
        return intervals;
    }
    intervals.sort_unstable();
    joined(intervals.into_iter())
}

/// The same of intervals that come in the order of their starts.
fn joined(intervals: impl Iterator<Item = (Nanos, Nanos)>) -> Vec<(Nanos, Nanos)> {
    let mut joined: Vec<(Nanos, Nanos)> = Vec::new();
    for (start, end) in intervals {
        match joined.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    joined
}

/// Sorted, disjoint intervals, read from the first to the last.
struct Busy<'a> {
    /// Those that end later than where the last question started.
    rest: &'a [(Nanos, Nanos)],
}

impl<'a> Busy<'a> {
    fn new(rest: &'a [(Nanos, Nanos)]) -> Self {
        Self { rest }
    }

    /// The part of `start..end` that lies in none of the intervals. Questions come in the order of their starts.
    fn outside(&mut self, start: Nanos, end: Nanos) -> Nanos {
        let past = self.rest.iter().take_while(|&&(_, until)| until <= start).count();
        self.rest = &self.rest[past..];
        let overlap = self.rest.iter().take_while(|&&(from, _)| from < end);
        end - start - overlap.map(|&(from, until)| until.min(end) - from.max(start)).sum()
    }
}

/// Exposed communication of a breakdown by axis.
pub fn exposed_communication(parts: &Breakdown) -> [(&'static str, Nanos); 6] {
    [
        ("tp", parts.exposed_tp),
        ("cp", parts.exposed_cp),
        ("ep", parts.exposed_ep),
        ("dp", parts.exposed_dp),
        ("pp", parts.exposed_pp),
        ("model", parts.exposed_model),
    ]
}

/// The time that ops of one class take on one group of ranks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpClassTime {
    /// The class, for example `matmul`.
    pub class: &'static str,
    /// Spans.
    pub count: u64,
    /// Their durations added up (communication may run beside compute).
    pub time: Nanos,
    /// Their work.
    pub flops: Flops,
    /// Bytes touched, or sent.
    pub bytes: u64,
}

impl OpClassTime {
    /// Work over time; none where there is no work, or where the clock was too coarse to see it.
    pub fn rate(&self) -> Option<FlopsPerSec> {
        (self.time > Nanos::ZERO && self.flops.0 > 0.0).then(|| FlopsPerSec(self.flops.0 / self.time.secs()))
    }
}

/// Time by class of op on a group of ranks, the largest first.
pub fn op_classes(trace: &Trace, group: u32) -> Vec<OpClassTime> {
    let mut classes: BTreeMap<&'static str, OpClassTime> = BTreeMap::new();
    for span in trace.spans.iter().filter(|span| trace.track(span).group == group) {
        let label = trace.label(span);
        let entry = classes.entry(label.class).or_insert_with(|| OpClassTime {
            class: label.class,
            count: 0,
            time: Nanos::ZERO,
            flops: Flops::ZERO,
            bytes: 0,
        });
        entry.count += 1;
        entry.time += span.duration;
        entry.flops += Flops(label.flops as f64);
        entry.bytes += label.bytes;
    }
    let mut classes: Vec<_> = classes.into_values().collect();
    classes.sort_by_key(|class| (std::cmp::Reverse(class.time), class.class));
    classes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::lower;

    #[test]
    fn time_outside_of_busy_intervals() {
        let busy = union([(0, 10), (5, 20), (30, 40)].map(|(a, b)| (Nanos(a), Nanos(b))).to_vec());
        assert_eq!(busy.len(), 2);
        let mut busy = Busy::new(&busy);
        assert_eq!(busy.outside(Nanos(0), Nanos(20)), Nanos(0));
        assert_eq!(busy.outside(Nanos(15), Nanos(35)), Nanos(10));
        assert_eq!(busy.outside(Nanos(20), Nanos(30)), Nanos(10));
    }

    #[test]
    fn what_is_left_of_intervals_lies_outside_of_others() {
        let of = |list: &[(i64, i64)]| list.iter().map(|&(a, b)| (Nanos(a), Nanos(b))).collect::<Vec<_>>();
        let left = without(&of(&[(0, 10), (20, 30), (40, 50)]), &of(&[(5, 22), (24, 26), (45, 60)]));
        assert_eq!(left, of(&[(0, 5), (22, 24), (26, 30), (40, 45)]));
    }

    #[test]
    fn heat_adds_up_to_the_breakdown() {
        let scenario = crate::scenario::Scenario::preset("llama2-7b-8xh100").expect("a preset");
        let step = lower(&scenario);
        let trace = crate::sim::simulate(&step, &scenario);
        let (parts, bins) = (breakdowns(&trace), 97);
        for row in heat_map(&trace, bins) {
            let time = |shares: &[f32]| {
                shares.iter().map(|&share| f64::from(share)).sum::<f64>() * trace.step_time.secs() / bins as f64
            };
            let part = parts[&row.group];
            assert!((time(&row.compute) / part.compute().secs() - 1.0).abs() < 1e-3, "{row:?}");
            let exposed = part.total() - part.compute() - part.host - part.bubble;
            assert!((time(&row.exposed) - exposed.secs()).abs() < 1e-3 * trace.step_time.secs(), "{row:?}");
            assert!(row.compute.iter().zip(&row.exposed).all(|(a, b)| a + b < 1.001));
        }
        let by_class: Nanos = communication_by_class(&trace, 0).values().map(|times| times[1]).sum();
        let part = parts[&0];
        assert_eq!(by_class, part.total() - part.compute() - part.host - part.bubble);
    }

    #[test]
    fn a_slow_device_is_named() {
        let scenario = crate::scenario::Scenario::preset("llama3-8b-straggler-16xh100").expect("a preset");
        let step = lower(&scenario);
        let slow = slow_groups(&crate::sim::simulate(&step, &scenario), 0.02);
        assert!(slow.first().is_some_and(|slow| slow.slower > 0.05), "{slow:?}");
        let even = crate::scenario::Scenario::preset("llama3-8b-16xh100").expect("a preset");
        assert!(slow_groups(&crate::sim::simulate(&lower(&even), &even), 0.02).is_empty());
    }

    #[test]
    fn streams_are_merged_by_start() {
        let span = |start, track| (Nanos(start), TrackId(track), Nanos(start + 5));
        let mut streams: [Vec<Communication>; Stream::ALL.len()] = Default::default();
        streams[1] = vec![span(0, 1), span(10, 1), span(20, 1)];
        streams[4] = vec![span(15, 4), span(10, 4)];
        let starts = in_order(streams).iter().map(|&(start, track, _)| (start.0, track.0)).collect::<Vec<_>>();
        assert_eq!(starts, [(0, 1), (10, 1), (10, 4), (15, 4), (20, 1)]);
    }
}
