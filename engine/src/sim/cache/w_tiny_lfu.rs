//! W-TinyLFU: an object comes in for another only if it was used more often (Einziger, Friedman and Manes 2017).

use super::entries::{Entries, EntryId, Queue};
use super::sketch::Sketch;
use super::{Eviction, ObjectId, Sizes};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// What is new.
    Window,
    /// What came in.
    Probation,
    /// What was used since.
    Protected,
}

/// A hundredth of the bytes is for what is new. What leaves there takes the place of the least recently used of the rest
/// if it was used more often lately.
#[derive(Debug)]
pub struct WTinyLfu<'a> {
    entries: Entries<'a, Place>,
    window: Queue,
    probation: Queue,
    protected: Queue,
    sketch: Sketch,
    capacity: u64,
    window_capacity: u64,
    protected_capacity: u64,
}

impl<'a> WTinyLfu<'a> {
    /// An empty cache.
    pub fn new(sizes: &'a Sizes, capacity: u64) -> Self {
        let [window, probation, protected] = [Queue::default(); 3];
        let window_capacity = capacity / 100;
        Self {
            entries: Entries::new(sizes),
            window,
            probation,
            protected,
            sketch: Sketch::new(sizes.about_as_many_in(capacity)),
            capacity,
            window_capacity,
            // Four fifths of the rest.
            protected_capacity: (capacity - window_capacity) / 5 * 4,
        }
    }

    /// Bytes that are left for what leaves the window.
    fn left(&self) -> u64 {
        (self.capacity - self.window_capacity).saturating_sub(self.probation.bytes + self.protected.bytes)
    }

    fn victim(&self) -> Option<EntryId> {
        self.probation.oldest().or(self.protected.oldest())
    }

    /// Lets what leaves the window come in, or go.
    fn decide(&mut self, candidate: EntryId) {
        let (object, size) = (self.entries.object(candidate), self.entries.size(candidate));
        let uses = self.sketch.uses(object);
        while self.left() < size {
            let worse = |&victim: &EntryId| self.sketch.uses(self.entries.object(victim)) < uses;
            let Some(victim) = self.victim().filter(worse) else { return self.entries.forget(candidate) };
            let queue = if self.probation.oldest().is_some() { &mut self.probation } else { &mut self.protected };
            queue.remove(&mut self.entries, victim);
            self.entries.forget(victim);
        }
        *self.entries.state_mut(candidate) = Place::Probation;
        self.probation.push(&mut self.entries, candidate);
    }

    fn protect(&mut self, entry: EntryId) {
        self.probation.remove(&mut self.entries, entry);
        self.protected.push(&mut self.entries, entry);
        *self.entries.state_mut(entry) = Place::Protected;
        while self.protected.bytes > self.protected_capacity {
            let Some(oldest) = self.protected.pop(&mut self.entries) else { return };
            self.probation.push(&mut self.entries, oldest);
            *self.entries.state_mut(oldest) = Place::Probation;
        }
    }
}

impl Eviction for WTinyLfu<'_> {
    fn hit(&mut self, object: ObjectId) -> bool {
        self.sketch.count(object);
        let Some(entry) = self.entries.find(object) else { return false };
        match self.entries.state(entry) {
            Place::Window => self.window.renew(&mut self.entries, entry),
            Place::Probation => self.protect(entry),
            Place::Protected => self.protected.renew(&mut self.entries, entry),
        }
        true
    }

    fn contains(&self, object: ObjectId) -> bool {
        self.entries.find(object).is_some()
    }

    fn insert(&mut self, object: ObjectId) {
        let entry = self.entries.add(object, Place::Window);
        self.window.push(&mut self.entries, entry);
        while self.window.bytes > self.window_capacity {
            let Some(candidate) = self.window.pop(&mut self.entries) else { return };
            self.decide(candidate);
        }
    }

    fn memory(&self) -> usize {
        self.entries.memory() + self.sketch.memory()
    }
}
