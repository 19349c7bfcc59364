//! What waits for a device's streams, and what they wait for.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::trace::{Activity, Imported};
use crate::units::Nanos;

/// Kernels that follow each other so closely wait for nothing.
const CONSECUTIVE: Nanos = Nanos(30);

/// Why streams that compute idle between two kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IdleParts {
    /// The next was launched after the last had ended.
    pub host_wait: Nanos,
    /// They follow within 30 ns.
    pub kernel_wait: Nanos,
    /// It was launched before, and began later: it waited for another stream.
    pub other: Nanos,
}

impl IdleParts {
    /// Of every group, with one pass over the trace.
    pub(super) fn by_group(imported: &Imported) -> Vec<Self> {
        let trace = &imported.trace;
        let calls: FxHashMap<u32, u32> = imported.launches.iter().map(|launch| (launch.work, launch.call)).collect();
        let mut last: BTreeMap<u32, Nanos> = BTreeMap::new();
        let mut of_group = vec![Self::default(); imported.groups.len()];
        for (number, span) in (0..).zip(&trace.spans) {
            if imported.activity(span) != Activity::Computation {
                continue;
            }
            // Spans of a track follow each other in time.
            let Some(before) = last.insert(span.track.0, span.end()).filter(|before| span.start > *before) else {
                continue;
            };
            let gap = span.start - before;
            let launched = calls.get(&number).map(|&call| trace.spans[call as usize].start);
            let Some(parts) = of_group.get_mut(trace.track(span).group as usize) else { continue };
            if launched.is_some_and(|launched| launched > before) {
                parts.host_wait += gap;
            } else if gap <= CONSECUTIVE {
                parts.kernel_wait += gap;
            } else {
                parts.other += gap;
            }
        }
        of_group
    }
}

/// Work that was launched and has not begun, on all streams of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Queue {
    /// Work that was joined to its call.
    pub launches: u64,
    /// The most that waited at once.
    pub max: u64,
    /// What waited in the mean over the time.
    pub mean: f64,
    /// From a call to the beginning of its work, in the mean.
    pub delay: Nanos,
}

/// A call, and the beginning of its work.
type Waited = (Nanos, Nanos);

impl Queue {
    /// Of every group, with one pass over the launches.
    pub(super) fn by_group(imported: &Imported) -> Vec<Self> {
        let trace = &imported.trace;
        let mut of_group: Vec<Vec<Waited>> = vec![Vec::new(); imported.groups.len()];
        for launch in &imported.launches {
            let (call, work) = (&trace.spans[launch.call as usize], &trace.spans[launch.work as usize]);
            let waited = (call.start, work.start.max(call.start));
            of_group.get_mut(trace.track(work).group as usize).into_iter().for_each(|group| group.push(waited));
        }
        of_group.iter().map(|waited| Self::of(waited)).collect()
    }

    fn of(waited: &[Waited]) -> Self {
        let mut events: Vec<(Nanos, i64)> = waited.iter().flat_map(|&(call, work)| [(call, 1), (work, -1)]).collect();
        events.sort_unstable();
        let (mut length, mut max, mut area) = (0_i64, 0_i64, 0.0);
        for (place, &(at, change)) in events.iter().enumerate() {
            length += change;
            max = max.max(length);
            let next = events.get(place + 1).map_or(at, |next| next.0);
            area += length as f64 * (next - at).secs();
        }
        let ends = events.first().zip(events.last()).map_or(0.0, |(first, last)| (last.0 - first.0).secs());
        let delay: Nanos = waited.iter().map(|&(call, work)| work - call).sum();
        Self {
            launches: waited.len() as u64,
            max: u64::try_from(max).unwrap_or(0),
            mean: area / ends.max(1e-12),
            delay: Nanos(delay.0 / i64::try_from(waited.len().max(1)).unwrap_or(i64::MAX)),
        }
    }
}
