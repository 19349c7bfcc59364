//! Spans over time: a row for each stream that has any, grouped by rank or class of ranks.
//!
//! Own painter: only what is visible is looked at, found by binary search, and spans narrower than a pixel are
//! merged, so that half a million spans stay fluid.

mod index;
mod view;

pub use index::{Track, TrackIndex};
pub use view::TimelineView;
