//! When a step wants the samples of its micro-batches, and when they are there.

use std::collections::BTreeMap;

use super::{Loader, play_gaps, rounds};
use crate::trace::{Phase, Stream, Trace};
use crate::units::Nanos;

/// When the samples of each micro-batch of a step are there, in a step like the mean of many; `trace` is that step with
/// `samples` there at these times, and says when they are wanted.
///
/// A micro-batch that waits moves all behind it. What that hides, such as the host that issues kernels meanwhile, is seen
/// in the next trace, so this is asked again until the step no longer changes.
pub fn samples_there(loader: &Loader, trace: &Trace, micro_batches: u32) -> Vec<Nanos> {
    let started = started(trace, micro_batches);
    let waited = waited(trace, &started);
    let mut there = vec![Nanos::ZERO; started.len()];
    let mut of_stage: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (m, &(_, stage)) in started.iter().enumerate() {
        of_stage.entry(stage).or_default().push(m);
    }
    // A pipeline that begins at both ends has a loader at each.
    for mut order in of_stage.into_values() {
        order.sort_by_key(|&m| (started[m].0, m));
        let start = |&m: &usize| started[m].0;
        let (Some(first), Some(last)) = (order.first(), order.last()) else { continue };
        let around = trace.step_time - start(last) + start(first) - waited[*first];
        let between = order.windows(2).map(|pair| start(&pair[1]) - start(&pair[0]) - waited[pair[1]]);
        let gaps: Vec<Nanos> = std::iter::once(around).chain(between).map(|gap| gap.max(Nanos::ZERO)).collect();
        let stalls = play_gaps(loader, &gaps, rounds(loader, gaps.len())).stalls;
        let mut moved = Nanos::ZERO;
        for (&m, stall) in order.iter().zip(stalls) {
            moved += stall - waited[m];
            there[m] = started[m].0 + moved;
        }
    }
    there
}

/// When the first kernel of each micro-batch starts, and on which stage.
fn started(trace: &Trace, micro_batches: u32) -> Vec<(Nanos, u32)> {
    let mut started = vec![(trace.step_time, 0); micro_batches as usize];
    for span in &trace.spans {
        let (track, phase) = (trace.track(span), trace.labels[span.label.0 as usize].phase);
        if phase == Phase::Forward
            && track.stream == Stream::Compute
            && let Some(known) = started.get_mut(span.micro_batch as usize)
        {
            *known = (*known).min((span.start, track.stage));
        }
    }
    started
}

/// What each micro-batch waited for its samples where it started, on the rank where it waited longest.
fn waited(trace: &Trace, started: &[(Nanos, u32)]) -> Vec<Nanos> {
    let mut waited = vec![Nanos::ZERO; started.len()];
    for span in trace.spans.iter().filter(|span| trace.track(span).stream == Stream::Input) {
        let m = span.micro_batch as usize;
        if started.get(m).is_some_and(|(_, stage)| *stage == trace.track(span).stage) {
            waited[m] = waited[m].max(span.duration);
        }
    }
    waited
}
