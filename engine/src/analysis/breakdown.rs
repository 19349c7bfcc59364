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
    fn streams_are_merged_by_start() {
        let span = |start, track| (Nanos(start), TrackId(track), Nanos(start + 5));
        let mut streams: [Vec<Communication>; Stream::ALL.len()] = Default::default();
        streams[1] = vec![span(0, 1), span(10, 1), span(20, 1)];
        streams[4] = vec![span(15, 4), span(10, 4)];
        let starts = in_order(streams).iter().map(|&(start, track, _)| (start.0, track.0)).collect::<Vec<_>>();
        assert_eq!(starts, [(0, 1), (10, 1), (10, 4), (15, 4), (20, 1)]);
    }
}
