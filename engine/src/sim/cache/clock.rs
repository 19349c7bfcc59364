//! CLOCK: a queue whose objects get a second chance when they were used (Corbató 1968).

use super::entries::{Entries, Queue};
use super::{Eviction, ObjectId, Sizes};

/// The oldest leaves, unless it was used since it was put there: then it is put there again.
#[derive(Debug)]
pub struct Clock<'a> {
    /// Whether each was used.
    entries: Entries<'a, bool>,
    queue: Queue,
    capacity: u64,
}

impl<'a> Clock<'a> {
    /// An empty cache.
    pub fn new(sizes: &'a Sizes, capacity: u64) -> Self {
        Self { entries: Entries::new(sizes), queue: Queue::default(), capacity }
    }

    fn evict(&mut self) {
        while let Some(oldest) = self.queue.oldest() {
            if !std::mem::take(self.entries.state_mut(oldest)) {
                return self.queue.evict(&mut self.entries);
            }
            self.queue.renew(&mut self.entries, oldest);
        }
    }
}

impl Eviction for Clock<'_> {
    fn hit(&mut self, object: ObjectId) -> bool {
        let found = self.entries.find(object);
        if let Some(entry) = found {
            *self.entries.state_mut(entry) = true;
        }
        found.is_some()
    }

    fn contains(&self, object: ObjectId) -> bool {
        self.entries.find(object).is_some()
    }

    fn insert(&mut self, object: ObjectId) {
        while self.queue.bytes + self.entries.size_of(object) > self.capacity {
            self.evict();
        }
        let entry = self.entries.add(object, false);
        self.queue.push(&mut self.entries, entry);
    }

    fn memory(&self) -> usize {
        self.entries.memory()
    }
}
