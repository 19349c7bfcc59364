//! Work on a device written down as data: it can be replayed on any backend, counted and profiled.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Format, Kernel, KernelParams};
use crate::cluster::Group;
use crate::trace::{LabelId, Stream};

/// Bindings start at multiples of this, in bytes, on every device.
const BINDING_ALIGNMENT: u64 = 256;

/// A buffer of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BufferId(pub u32);

/// A part of a buffer; `offset` and `size` in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Slice {
    /// The buffer.
    pub buffer: BufferId,
    /// First byte; a multiple of 256 where it is bound.
    pub offset: u64,
    /// Number of bytes.
    pub size: u64,
    /// How its numbers lie there.
    pub format: Format,
}

impl Slice {
    /// A part of a buffer that holds numbers of 32 bits; all in bytes.
    pub fn of_words(buffer: BufferId, offset: u64, size: u64) -> Self {
        Self { buffer, offset, size, format: Format::Word }
    }

    /// The same from the last place on at which a buffer can be bound, and how many numbers lie between: views of chunks may
    /// start anywhere.
    pub fn aligned(self) -> (Self, u32) {
        let before = self.offset % BINDING_ALIGNMENT;
        let whole = Self { offset: self.offset - before, size: self.size + before, ..self };
        (whole, u32::try_from(before / self.format.size()).unwrap_or(0))
    }

    /// Numbers in it.
    pub fn elements(&self) -> u32 {
        u32::try_from(self.format.elements(self.size)).unwrap_or(u32::MAX)
    }
}

/// One kernel call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dispatch {
    /// Which kernel.
    pub kernel: Kernel,
    /// In which of its ways (see [`Kernel::families`]).
    pub family: u8,
    /// Its buffers, in the kernel's order.
    pub bindings: Vec<Slice>,
    /// Words of its parameter block, at most 16.
    pub params: Vec<u32>,
    /// Work groups.
    pub grid: [u32; 3],
}

impl Dispatch {
    /// A call of the kernel that `params` belong to.
    pub fn new<P: KernelParams>(params: &P, bindings: impl Into<Vec<Slice>>) -> Self {
        let words = bytemuck::cast_slice(bytemuck::bytes_of(params)).to_vec();
        Self { kernel: P::KERNEL, family: 0, bindings: bindings.into(), params: words, grid: params.grid() }
    }

    /// How the numbers of its buffers lie there.
    pub fn formats(&self) -> Vec<Format> {
        self.bindings.iter().map(|slice| slice.format).collect()
    }

    /// The same call in another way.
    pub fn by(self, family: u8) -> Self {
        let grid = self.kernel.grid_of(family, &self.params, self.grid);
        Self { family, grid, ..self }
    }
}

/// The dispatches of one op on one rank: the unit that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The rank; for a collective the first of its group.
    pub rank: u32,
    /// The group, for a collective.
    pub group: Option<Group>,
    /// The stream.
    pub stream: Stream,
    /// The op.
    pub label: LabelId,
    /// The micro-batch, or [`crate::trace::Span::NO_MICRO_BATCH`].
    pub micro_batch: u32,
    /// Its dispatches: `first..last`.
    pub first: u32,
    /// One past its last dispatch.
    pub last: u32,
}

/// A step, recorded once and replayed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// Kernel calls in order.
    pub dispatches: Vec<Dispatch>,
    /// What they belong to, in order; together they cover all dispatches.
    pub scopes: Vec<Scope>,
}

impl Recording {
    /// The same without what some scopes do; these stay where they are, and empty.
    pub fn without(&self, left_out: &BTreeSet<usize>) -> Self {
        let mut rest = Self::default();
        for (number, scope) in self.scopes.iter().enumerate() {
            let first = u32::try_from(rest.dispatches.len()).unwrap_or(u32::MAX);
            if !left_out.contains(&number) {
                rest.dispatches.extend_from_slice(&self.dispatches[scope.first as usize..scope.last as usize]);
            }
            let last = u32::try_from(rest.dispatches.len()).unwrap_or(u32::MAX);
            rest.scopes.push(Scope { first, last, ..*scope });
        }
        rest
    }
}
