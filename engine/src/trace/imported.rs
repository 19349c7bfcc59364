//! What other tools have measured: a trace with what only they know of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{LabelId, Name, Trace};
use crate::units::Nanos;

/// What a slice is, as Holistic Trace Analysis divides them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Kernels that compute.
    Computation,
    /// Kernels that communicate.
    Communication,
    /// Copies and fills of a device's memory.
    Memory,
    /// Calls of the device's runtime on a thread of the host.
    Runtime,
    /// All else on threads of the host: operators, annotations, functions.
    Host,
}

impl Activity {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Computation, Self::Communication, Self::Memory, Self::Runtime, Self::Host];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Computation => "computation",
            Self::Communication => "communication",
            Self::Memory => "memory",
            Self::Runtime => "runtime",
            Self::Host => "host",
        }
    }

    /// Whether it runs on the device.
    pub fn is_on_device(self) -> bool {
        matches!(self, Self::Computation | Self::Communication | Self::Memory)
    }
}

/// A call on the host that put work on a stream of the device: indices into [`Trace::spans`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The call.
    pub call: u32,
    /// The work.
    pub work: u32,
}

/// A step that the profiler marked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The group of the rank that marked it.
    pub group: u32,
    /// What it is called, for example `ProfilerStep#12`.
    pub name: Name,
    /// From when.
    pub from: Nanos,
    /// Until when.
    pub until: Nanos,
}

/// A trace from a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Tracks, spans and flows; a track has a name of its own.
    pub trace: Trace,
    /// What the spans of each label are, by label.
    pub activities: Vec<Activity>,
    /// What each group of tracks is called: a rank, or a process.
    pub groups: Vec<Name>,
    /// Which call put which work on the device.
    pub launches: Vec<Launch>,
    /// Steps that were marked.
    pub steps: Vec<Step>,
    /// What a profiler says of the collectives that labels stand for.
    #[serde(default)]
    pub collectives: BTreeMap<LabelId, Collective>,
    /// What was left out and why, in words.
    pub notes: Vec<String>,
}

/// A collective as a profiler describes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Collective {
    /// What its group of ranks is called; empty where it has no name.
    pub group: Name,
    /// Ranks of its group; 0 where that is not said.
    pub ranks: u32,
}

impl Imported {
    /// What a span is.
    pub fn activity(&self, span: &super::Span) -> Activity {
        self.activities[span.label.0 as usize]
    }
}

impl Imported {
    /// Several traces of a run as one, each with its own groups: ranks beside each other. Clocks of machines are not compared:
    /// each begins with its first slice. None of nothing.
    pub fn merged(parts: Vec<Self>) -> Option<Self> {
        let mut parts = parts.into_iter();
        let mut all = parts.next()?;
        parts.for_each(|part| all.append(part));
        Some(all)
    }

    fn append(&mut self, part: Self) {
        let offset = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let (tracks, labels) = (offset(self.trace.tracks.len()), offset(self.trace.labels.len()));
        let (spans, groups) = (offset(self.trace.spans.len()), offset(self.groups.len()));
        let Trace { labels: new_labels, tracks: new_tracks, spans: new_spans, flows, memory, step_time, .. } =
            part.trace;
        self.trace.labels.extend(new_labels);
        self.trace.tracks.extend(new_tracks.into_iter().map(|track| super::Track {
            group: track.group + groups,
            rank: track.rank + groups,
            ..track
        }));
        self.trace.spans.extend(new_spans.into_iter().map(|span| super::Span {
            track: super::TrackId(span.track.0 + tracks),
            label: LabelId(span.label.0 + labels),
            ..span
        }));
        let moved = |flow: super::Flow| super::Flow { from: flow.from + spans, to: flow.to + spans };
        self.trace.flows.extend(flows.into_iter().map(moved));
        self.trace.memory.extend(memory.into_iter().map(|curve| super::MemoryCurve {
            group: curve.group + groups,
            stage: curve.stage + groups,
            ..curve
        }));
        self.trace.step_time = self.trace.step_time.max(step_time);
        self.activities.extend(part.activities);
        self.groups.extend(part.groups);
        let moved = |launch: Launch| Launch { call: launch.call + spans, work: launch.work + spans };
        self.launches.extend(part.launches.into_iter().map(moved));
        self.steps.extend(part.steps.into_iter().map(|step| Step { group: step.group + groups, ..step }));
        let moved = |(label, of): (LabelId, Collective)| (LabelId(label.0 + labels), of);
        self.collectives.extend(part.collectives.into_iter().map(moved));
        self.notes.extend(part.notes);
    }
}
