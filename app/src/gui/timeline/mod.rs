//! Spans over time: a row for each stream that has any, grouped by rank or class of ranks.
//!
//! Own painter: only what is visible is looked at, found by binary search, and spans narrower than a pixel are
//! merged, so that half a million spans stay fluid.

mod area;
mod counters;
mod find;
mod index;
mod rows;
mod scale;
mod strips;
mod view;

pub use index::{Track, TrackIndex};
pub use strips::Strips;
pub use view::TimelineView;

use shardlab_engine::trace::{Name, Trace};
use shardlab_engine::units::Nanos;

/// A trace as it is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Drawn<'a> {
    /// What is drawn.
    pub trace: &'a Trace,
    /// Its spans by track.
    pub index: &'a TrackIndex,
    /// What groups are called, where they are no pipeline stages.
    pub groups: &'a [Name],
    /// Whether each span is on the critical path, where that is known.
    pub critical: Option<&'a [bool]>,
}

/// By what traces are told apart where something was found of one: spans, arrows, and its time.
pub type Identity = (usize, usize, Nanos);

impl Drawn<'_> {
    /// Which trace it is.
    pub fn identity(&self) -> Identity {
        (self.trace.spans.len(), self.trace.flows.len(), self.trace.step_time)
    }
}
