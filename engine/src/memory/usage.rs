//! Counting what is in use.

use crate::trace::{MemoryCategory, MemoryUse};
use crate::units::Bytes;

/// What is in use by category, and what was at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// In use now.
    pub live: MemoryUse,
    /// In use when the sum was largest, the first such moment.
    pub at_peak: MemoryUse,
    /// The largest value of each category on its own.
    pub peaks: MemoryUse,
}

impl Usage {
    /// Counts what is handed out; whether it is a new peak shows once all that belongs together is.
    pub fn add(&mut self, category: MemoryCategory, bytes: Bytes) {
        *self.live.get_mut(category) += bytes;
    }

    /// Counts what is taken back.
    pub fn remove(&mut self, category: MemoryCategory, bytes: Bytes) {
        *self.live.get_mut(category) -= bytes;
    }

    /// Notes a moment: is it a peak?
    pub fn note(&mut self) {
        self.peaks.raise_to(&self.live);
        if self.live.total() > self.at_peak.total() {
            self.at_peak = self.live;
        }
    }
}
