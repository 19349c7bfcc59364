//! Least recently used.

use super::entries::{Entries, Queue};
use super::{Eviction, ObjectId, Sizes};

/// What was not used for longest leaves.
#[derive(Debug)]
pub struct Lru<'a> {
    entries: Entries<'a, ()>,
    queue: Queue,
    capacity: u64,
}

impl<'a> Lru<'a> {
    /// An empty cache.
    pub fn new(sizes: &'a Sizes, capacity: u64) -> Self {
        Self { entries: Entries::new(sizes), queue: Queue::default(), capacity }
    }
}

impl Eviction for Lru<'_> {
    fn hit(&mut self, object: ObjectId) -> bool {
        let found = self.entries.find(object);
        if let Some(entry) = found {
            self.queue.renew(&mut self.entries, entry);
        }
        found.is_some()
    }

    fn contains(&self, object: ObjectId) -> bool {
        self.entries.find(object).is_some()
    }

    fn insert(&mut self, object: ObjectId) {
        while self.queue.bytes + self.entries.size_of(object) > self.capacity {
            self.queue.evict(&mut self.entries);
        }
        let entry = self.entries.add(object, ());
        self.queue.push(&mut self.entries, entry);
    }

    fn memory(&self) -> usize {
        self.entries.memory()
    }
}
