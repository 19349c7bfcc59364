//! 2Q, the full version (Johnson and Shasha, VLDB 1994).

use super::entries::{Entries, Queue};
use super::{Eviction, ObjectId, Sizes};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Read for the first time: first in, first out.
    In,
    /// Has left `In`; only remembered.
    Out,
    /// Read again after that.
    Main,
}

/// What is read once passes through a short queue; what is read again after that is kept by how recently.
#[derive(Debug)]
pub struct TwoQ<'a> {
    entries: Entries<'a, Place>,
    new: Queue,
    out: Queue,
    main: Queue,
    capacity: u64,
}

impl<'a> TwoQ<'a> {
    /// An empty cache.
    pub fn new(sizes: &'a Sizes, capacity: u64) -> Self {
        let [new, out, main] = [Queue::default(); 3];
        Self { entries: Entries::new(sizes), new, out, main, capacity }
    }

    /// A quarter of the bytes are for what was read once, as the paper recommends.
    fn evict(&mut self) {
        if self.new.bytes <= self.capacity / 4 && self.main.oldest().is_some() {
            return self.main.evict(&mut self.entries);
        }
        let Some(entry) = self.new.pop(&mut self.entries) else { return };
        *self.entries.state_mut(entry) = Place::Out;
        self.out.push(&mut self.entries, entry);
        // Half as many bytes are remembered as are kept.
        while self.out.bytes > self.capacity / 2 {
            self.out.evict(&mut self.entries);
        }
    }
}

impl Eviction for TwoQ<'_> {
    fn hit(&mut self, object: ObjectId) -> bool {
        let Some(entry) = self.entries.find(object) else { return false };
        match self.entries.state(entry) {
            Place::Out => return false,
            Place::In => {}
            Place::Main => self.main.renew(&mut self.entries, entry),
        }
        true
    }

    fn contains(&self, object: ObjectId) -> bool {
        self.entries.find(object).is_some_and(|entry| self.entries.state(entry) != Place::Out)
    }

    fn insert(&mut self, object: ObjectId) {
        let known = self.entries.find(object);
        if let Some(entry) = known {
            self.out.remove(&mut self.entries, entry);
            self.entries.forget(entry);
        }
        while self.new.bytes + self.main.bytes + self.entries.size_of(object) > self.capacity {
            self.evict();
        }
        let (place, queue) = match known {
            Some(_) => (Place::Main, &mut self.main),
            None => (Place::In, &mut self.new),
        };
        let entry = self.entries.add(object, place);
        queue.push(&mut self.entries, entry);
    }

    fn memory(&self) -> usize {
        self.entries.memory()
    }
}
