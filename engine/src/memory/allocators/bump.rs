//! A pointer that moves on.

use std::collections::BTreeMap;

use super::{Allocator, Device, Held, Mapping};
use crate::units::Bytes;

/// Handed-out addresses are multiples of this, as a framework rounds them.
const ROUNDING: u64 = 512;

/// An arena: what is asked for lies behind what was asked for before. Where the last of it is given back, the pointer moves
/// back over all that is free below; what is free elsewhere stays unused.
#[derive(Debug)]
pub struct Bump {
    device: Device,
    /// What lies below the pointer: length by address, and whether it is in use.
    below: BTreeMap<u64, (u64, bool)>,
    end: u64,
}

impl Bump {
    /// An arena of at most `capacity`.
    pub fn new(capacity: Option<Bytes>) -> Self {
        Self { device: Device::new(capacity), below: BTreeMap::new(), end: 0 }
    }
}

impl Allocator for Bump {
    fn allocate(&mut self, bytes: u64) -> Option<u64> {
        let (address, size) = (self.end, bytes.next_multiple_of(ROUNDING).max(ROUNDING));
        let more = (address + size).saturating_sub(self.device.held.reserved.0);
        if !self.device.has(more) {
            return None;
        }
        if more > 0 {
            self.device.take(self.device.held.reserved.0, more);
            self.device.held.segments = 1;
        }
        self.below.insert(address, (size, true));
        self.end += size;
        self.device.held.allocated += Bytes(size);
        Some(address)
    }

    fn free(&mut self, address: u64) {
        if let Some((size, used)) = self.below.get_mut(&address).filter(|(_, used)| *used) {
            *used = false;
            self.device.held.allocated -= Bytes(*size);
        }
        while let Some(last) = self.below.last_entry().filter(|last| !last.get().1) {
            self.end = *last.key();
            last.remove();
        }
    }

    fn held(&self) -> Held {
        // One reservation before the step; its size is known once the step was played.
        Held { calls: self.device.held.segments, ..self.device.held }
    }

    fn largest_free(&self) -> Bytes {
        Bytes(self.device.held.reserved.0 - self.end)
    }

    fn mappings(&mut self) -> Vec<Mapping> {
        std::mem::take(&mut self.device.mappings)
    }
}
