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
    /// All of it.
    pub fn total(&self) -> Nanos {
        self.host_wait + self.kernel_wait + self.other
    }

    pub(super) fn of(imported: &Imported, group: u32) -> Self {
        let trace = &imported.trace;
        let calls: FxHashMap<u32, u32> = imported.launches.iter().map(|launch| (launch.work, launch.call)).collect();
        let mut last: BTreeMap<u32, Nanos> = BTreeMap::new();
        let mut parts = Self::default();
        for (number, span) in (0..).zip(&trace.spans) {
            if trace.track(span).group != group || imported.activity(span) != Activity::Computation {
                continue;
            }
            // Spans of a track follow each other in time.
            let Some(before) = last.insert(span.track.0, span.end()).filter(|before| span.start > *before) else {
                continue;
            };
            let gap = span.start - before;
            let launched = calls.get(&number).map(|&call| trace.spans[call as usize].start);
            if launched.is_some_and(|launched| launched > before) {
                parts.host_wait += gap;
            } else if gap <= CONSECUTIVE {
                parts.kernel_wait += gap;
            } else {
                parts.other += gap;
            }
        }
        parts
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

impl Queue {
    pub(super) fn of(imported: &Imported, group: u32) -> Self {
        let trace = &imported.trace;
        let mut events: Vec<(Nanos, i64)> = Vec::new();
        let (mut launches, mut delay) = (0_u64, Nanos::ZERO);
        for launch in &imported.launches {
            let (call, work) = (&trace.spans[launch.call as usize], &trace.spans[launch.work as usize]);
            if trace.track(work).group != group {
                continue;
            }
            launches += 1;
            delay += (work.start - call.start).max(Nanos::ZERO);
            events.extend([(call.start, 1), (work.start.max(call.start), -1)]);
        }
        events.sort_unstable();
        let (mut length, mut max, mut area) = (0_i64, 0_i64, 0.0);
        for (place, &(at, change)) in events.iter().enumerate() {
            length += change;
            max = max.max(length);
            let next = events.get(place + 1).map_or(at, |next| next.0);
            area += length as f64 * (next - at).secs();
        }
        let ends = events.first().zip(events.last()).map_or(0.0, |(first, last)| (last.0 - first.0).secs());
        let count = i64::try_from(launches.max(1)).unwrap_or(i64::MAX);
        Self {
            launches,
            max: u64::try_from(max).unwrap_or(0),
            mean: area / ends.max(1e-12),
            delay: Nanos(delay.0 / count),
        }
    }
}
