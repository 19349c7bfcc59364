//! Ways of handing out addresses of one device's memory while a step runs.

mod bump;
mod caching;
mod offsets;

use serde::Serialize;

pub use bump::Bump;
pub use caching::Caching;
pub use offsets::Offsets;

use crate::units::Bytes;

/// What an allocator holds of the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Handed out, as it rounds sizes.
    pub allocated: Bytes,
    /// Taken from the device.
    pub reserved: Bytes,
    /// In how many pieces.
    pub segments: u32,
    /// Calls of the device's own allocator so far: to take, to give back, to map and to unmap.
    pub calls: u32,
}

/// A range of addresses that was taken from the device, or given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Where it begins.
    pub address: u64,
    /// How long it is.
    pub bytes: u64,
    /// Whether it was taken.
    pub taken: bool,
}

/// Hands out addresses.
pub trait Allocator {
    /// The address of `bytes`, or nothing if the device has no room for them.
    fn allocate(&mut self, bytes: u64) -> Option<u64>;

    /// Takes back what begins at an address that was handed out.
    fn free(&mut self, address: u64);

    /// What it holds.
    fn held(&self) -> Held;

    /// The largest request that would need nothing more of the device.
    fn largest_free(&self) -> Bytes;

    /// What was taken from the device or given back since the last call.
    fn mappings(&mut self) -> Vec<Mapping>;
}

/// What the device still has for an allocator, and what it has given.
#[derive(Debug, Default)]
pub(super) struct Device {
    capacity: Option<u64>,
    held: Held,
    mappings: Vec<Mapping>,
}

impl Device {
    pub(super) fn new(capacity: Option<Bytes>) -> Self {
        Self { capacity: capacity.map(|bytes| bytes.0), ..Self::default() }
    }

    /// Whether there is room for so many bytes more.
    fn has(&self, bytes: u64) -> bool {
        self.capacity.is_none_or(|capacity| self.held.reserved.0.saturating_add(bytes) <= capacity)
    }

    fn take(&mut self, address: u64, bytes: u64) {
        self.held.reserved += Bytes(bytes);
        self.held.calls += 1;
        self.mappings.push(Mapping { address, bytes, taken: true });
    }

    fn give_back(&mut self, address: u64, bytes: u64) {
        self.held.reserved -= Bytes(bytes);
        self.held.calls += 1;
        self.mappings.push(Mapping { address, bytes, taken: false });
    }
}
