//! S3-FIFO: three queues without reordering (Yang et al., SOSP 2023).

use super::entries::{Entries, Queue};
use super::{Eviction, ObjectId, Sizes};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Small,
    Main,
    /// Only remembered.
    Ghost,
}

#[derive(Clone, Copy, Debug)]
struct State {
    place: Place,
    /// Uses since it came, at most three.
    uses: u8,
}

/// What is new has a tenth of the bytes; what was used twice there, or was not forgotten yet, comes to the rest.
#[derive(Debug)]
pub struct S3Fifo<'a> {
    entries: Entries<'a, State>,
    small: Queue,
    main: Queue,
    ghost: Queue,
    capacity: u64,
    /// Bytes of the small queue.
    small_capacity: u64,
    /// Whether anything had to leave yet.
    full: bool,
}

impl<'a> S3Fifo<'a> {
    /// An empty cache.
    pub fn new(sizes: &'a Sizes, capacity: u64) -> Self {
        let [small, main, ghost] = [Queue::default(); 3];
        // A tenth, but room for one object: what does not fit there never comes in.
        let small_capacity = (capacity / 10).max(sizes.usual_within(capacity));
        Self { entries: Entries::new(sizes), small, main, ghost, capacity, small_capacity, full: false }
    }

    fn evict(&mut self) {
        self.full = true;
        if self.small.oldest().is_none() || self.main.bytes > self.capacity - self.small_capacity {
            self.evict_main();
        } else {
            self.evict_small();
        }
    }

    /// Until one is only remembered, those that were used twice go on to the main queue.
    fn evict_small(&mut self) {
        while let Some(entry) = self.small.pop(&mut self.entries) {
            let used = self.entries.state(entry).uses >= 2;
            let place = if used { Place::Main } else { Place::Ghost };
            *self.entries.state_mut(entry) = State { place, uses: 0 };
            if !used {
                self.ghost.push(&mut self.entries, entry);
                while self.ghost.bytes > self.capacity - self.small_capacity {
                    self.ghost.evict(&mut self.entries);
                }
                return;
            }
            self.main.push(&mut self.entries, entry);
        }
    }

    /// Those that were used start again with one use less.
    fn evict_main(&mut self) {
        while let Some(entry) = self.main.oldest() {
            let uses = self.entries.state(entry).uses;
            if uses == 0 {
                return self.main.evict(&mut self.entries);
            }
            self.entries.state_mut(entry).uses = uses - 1;
            self.main.renew(&mut self.entries, entry);
        }
    }

    /// Where an object comes that is not here.
    fn place(&mut self, object: ObjectId) -> Option<Place> {
        if let Some(entry) = self.entries.find(object) {
            self.ghost.remove(&mut self.entries, entry);
            self.entries.forget(entry);
            return Some(Place::Main);
        }
        if self.entries.size_of(object) > self.small_capacity {
            return None;
        }
        let fills = !self.full && self.small.bytes >= self.small_capacity;
        Some(if fills { Place::Main } else { Place::Small })
    }
}

impl Eviction for S3Fifo<'_> {
    fn hit(&mut self, object: ObjectId) -> bool {
        let Some(entry) = self.entries.find(object) else { return false };
        let state = self.entries.state_mut(entry);
        state.uses = (state.uses + 1).min(3);
        state.place != Place::Ghost
    }

    fn contains(&self, object: ObjectId) -> bool {
        self.entries.find(object).is_some_and(|entry| self.entries.state(entry).place != Place::Ghost)
    }

    fn insert(&mut self, object: ObjectId) {
        let Some(place) = self.place(object) else { return };
        while self.small.bytes + self.main.bytes + self.entries.size_of(object) > self.capacity {
            self.evict();
        }
        let entry = self.entries.add(object, State { place, uses: 0 });
        let queue = if place == Place::Small { &mut self.small } else { &mut self.main };
        queue.push(&mut self.entries, entry);
    }

    fn memory(&self) -> usize {
        self.entries.memory()
    }
}
