//! SIEVE: a hand goes through a queue that is never reordered (Zhang et al., NSDI 2024).

use super::entries::{Entries, EntryId, Queue};
use super::{Eviction, ObjectId, Sizes};

/// The hand goes from the oldest to the newest; what was used since it last passed stays where it is.
#[derive(Debug)]
pub struct Sieve<'a> {
    /// Whether each was used.
    entries: Entries<'a, bool>,
    queue: Queue,
    /// Where it stopped; at the oldest when there is none.
    hand: EntryId,
    capacity: u64,
}

impl<'a> Sieve<'a> {
    /// An empty cache.
    pub fn new(sizes: &'a Sizes, capacity: u64) -> Self {
        Self { entries: Entries::new(sizes), queue: Queue::default(), hand: EntryId::NONE, capacity }
    }

    fn evict(&mut self) {
        let mut at = self.hand.some().or(self.queue.oldest());
        while let Some(entry) = at {
            let next = self.entries.newer(entry);
            if !std::mem::take(self.entries.state_mut(entry)) {
                self.hand = next.unwrap_or(EntryId::NONE);
                self.queue.remove(&mut self.entries, entry);
                return self.entries.forget(entry);
            }
            at = next.or(self.queue.oldest());
        }
    }
}

impl Eviction for Sieve<'_> {
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
