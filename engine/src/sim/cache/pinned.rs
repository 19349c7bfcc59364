//! No eviction: what came first stays, as the cache MinIO of CoorDL does (Mohan et al., VLDB 2021).

use super::entries::Entries;
use super::{Eviction, ObjectId, Sizes};

/// Takes in what fits and keeps it. Where every object is read once in an epoch this has as many hits as any cache can.
#[derive(Debug)]
pub struct Pinned<'a> {
    entries: Entries<'a, ()>,
    left: u64,
}

impl<'a> Pinned<'a> {
    /// An empty cache.
    pub fn new(sizes: &'a Sizes, capacity: u64) -> Self {
        Self { entries: Entries::new(sizes), left: capacity }
    }
}

impl Eviction for Pinned<'_> {
    fn hit(&mut self, object: ObjectId) -> bool {
        self.contains(object)
    }

    fn contains(&self, object: ObjectId) -> bool {
        self.entries.find(object).is_some()
    }

    fn insert(&mut self, object: ObjectId) {
        if let Some(left) = self.left.checked_sub(self.entries.size_of(object)) {
            self.left = left;
            self.entries.add(object, ());
        }
    }

    fn memory(&self) -> usize {
        self.entries.memory()
    }
}
