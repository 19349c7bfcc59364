//! First in, first out: the oldest leaves, used or not.

use super::entries::{Entries, Queue};
use super::{Eviction, ObjectId, Sizes};

/// First in, first out.
#[derive(Debug)]
pub struct Fifo<'a> {
    entries: Entries<'a, ()>,
    queue: Queue,
    capacity: u64,
}

impl<'a> Fifo<'a> {
    /// An empty cache.
    pub fn new(sizes: &'a Sizes, capacity: u64) -> Self {
        Self { entries: Entries::new(sizes), queue: Queue::default(), capacity }
    }
}

impl Eviction for Fifo<'_> {
    fn hit(&mut self, object: ObjectId) -> bool {
        self.contains(object)
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
