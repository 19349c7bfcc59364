//! What is read, in which order, and how large it is.

use crate::units::Bytes;

/// Number of an object of a trace: a sample, a shard, a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectId(pub u32);

impl ObjectId {
    /// Its place in tables by object.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Sizes of the objects of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// So many of one size.
    Alike {
        /// How many.
        objects: u32,
        /// The size of each.
        size: Bytes,
    },
    /// By object.
    Each(Vec<Bytes>),
}

impl Sizes {
    /// How many objects there are.
    pub fn objects(&self) -> usize {
        match self {
            Self::Alike { objects, .. } => *objects as usize,
            Self::Each(sizes) => sizes.len(),
        }
    }

    /// The size of one.
    pub fn of(&self, object: ObjectId) -> Bytes {
        match self {
            Self::Alike { size, .. } => *size,
            Self::Each(sizes) => sizes[object.index()],
        }
    }

    /// All objects together.
    pub fn total(&self) -> Bytes {
        match self {
            Self::Alike { objects, size } => Bytes(u64::from(*objects) * size.0),
            Self::Each(sizes) => sizes.iter().copied().sum(),
        }
    }

    /// The largest one; none where there are no objects.
    pub fn largest(&self) -> Bytes {
        match self {
            Self::Alike { size, .. } => *size,
            Self::Each(sizes) => sizes.iter().copied().max().unwrap_or_default(),
        }
    }

    /// Bytes of an object in the mean, at most so many.
    pub fn usual_within(&self, bytes: u64) -> u64 {
        (self.total().0 / (self.objects() as u64).max(1)).min(bytes)
    }

    /// About how many objects so many bytes hold.
    pub fn about_as_many_in(&self, bytes: u64) -> u64 {
        let mean = self.total().0 / (self.objects() as u64).max(1);
        (bytes / mean.max(1)).min(self.objects() as u64)
    }
}

/// A trace of reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requests {
    /// What is read, in order.
    pub objects: Vec<ObjectId>,
    /// How large objects are.
    pub sizes: Sizes,
    /// Who reads: of every request the node, or job; empty where there is only one.
    pub readers: Vec<u16>,
}

impl Requests {
    /// Bytes of all requests together.
    pub fn bytes(&self) -> Bytes {
        self.objects.iter().map(|&object| self.sizes.of(object)).sum()
    }

    /// How many nodes read: one more than the last number of a reader.
    pub fn nodes(&self) -> u32 {
        self.readers.iter().max().map_or(1, |&last| u32::from(last) + 1)
    }

    /// What is read, and how large it is.
    pub(super) fn reads(&self) -> (&[ObjectId], &Sizes) {
        (&self.objects, &self.sizes)
    }

    /// Who reads request `number`.
    pub fn reader(&self, number: usize) -> u16 {
        self.readers.get(number).copied().unwrap_or(0)
    }
}
