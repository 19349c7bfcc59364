//! Least frequently used, in constant time (Shah, Mitra and Matani 2010).

use super::entries::{Entries, EntryId, Queue};
use super::{Eviction, ObjectId, Sizes};

/// What was used least often leaves; of those used alike, what was not used for longest.
#[derive(Debug)]
pub struct Lfu<'a> {
    /// The bucket of each.
    entries: Entries<'a, u32>,
    buckets: Buckets,
    bytes: u64,
    capacity: u64,
}

impl<'a> Lfu<'a> {
    /// An empty cache.
    pub fn new(sizes: &'a Sizes, capacity: u64) -> Self {
        Self { entries: Entries::new(sizes), buckets: Buckets::default(), bytes: 0, capacity }
    }

    fn evict(&mut self) {
        let bucket = self.buckets.first;
        if let Some(entry) = self.buckets.all[bucket as usize].queue.pop(&mut self.entries) {
            self.bytes -= self.entries.size(entry);
            self.entries.forget(entry);
        }
        self.buckets.drop_if_empty(bucket);
    }

    fn promote(&mut self, entry: EntryId) {
        let bucket = self.entries.state(entry);
        let next = self.buckets.behind(bucket);
        self.buckets.all[bucket as usize].queue.remove(&mut self.entries, entry);
        self.buckets.all[next as usize].queue.push(&mut self.entries, entry);
        *self.entries.state_mut(entry) = next;
        self.buckets.drop_if_empty(bucket);
    }
}

impl Eviction for Lfu<'_> {
    fn hit(&mut self, object: ObjectId) -> bool {
        let found = self.entries.find(object);
        if let Some(entry) = found {
            self.promote(entry);
        }
        found.is_some()
    }

    fn contains(&self, object: ObjectId) -> bool {
        self.entries.find(object).is_some()
    }

    fn insert(&mut self, object: ObjectId) {
        let size = self.entries.size_of(object);
        while self.bytes + size > self.capacity {
            self.evict();
        }
        let bucket = self.buckets.once();
        let entry = self.entries.add(object, bucket);
        self.buckets.all[bucket as usize].queue.push(&mut self.entries, entry);
        self.bytes += size;
    }

    fn memory(&self) -> usize {
        self.entries.memory() + self.buckets.all.len() * size_of::<Bucket>()
    }
}

/// Objects that were used equally often.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    uses: u32,
    queue: Queue,
    /// The bucket with the next larger number of uses; of an unused one, the next unused one.
    next: u32,
    previous: u32,
}

/// Buckets by their number of uses.
#[derive(Debug)]
struct Buckets {
    all: Vec<Bucket>,
    first: u32,
    free: u32,
}

/// No bucket.
const NONE: u32 = u32::MAX;

impl Default for Buckets {
    fn default() -> Self {
        Self { all: Vec::new(), first: NONE, free: NONE }
    }
}

impl Buckets {
    /// The bucket of what was used once.
    fn once(&mut self) -> u32 {
        match self.all.get(self.first as usize) {
            Some(bucket) if bucket.uses == 1 => self.first,
            _ => self.add(1, NONE, self.first),
        }
    }

    /// The bucket of one use more.
    fn behind(&mut self, bucket: u32) -> u32 {
        let Bucket { uses, next, .. } = self.all[bucket as usize];
        match self.all.get(next as usize) {
            Some(known) if known.uses == uses + 1 => next,
            _ => self.add(uses + 1, bucket, next),
        }
    }

    fn add(&mut self, uses: u32, previous: u32, next: u32) -> u32 {
        let bucket = Bucket { uses, queue: Queue::default(), next, previous };
        let number = if self.free == NONE {
            self.all.push(bucket);
            u32::try_from(self.all.len() - 1).unwrap_or(NONE)
        } else {
            let free = self.free;
            self.free = self.all[free as usize].next;
            self.all[free as usize] = bucket;
            free
        };
        self.join(previous, number);
        self.join(number, next);
        number
    }

    /// Makes `next` follow `previous`.
    fn join(&mut self, previous: u32, next: u32) {
        match self.all.get_mut(previous as usize) {
            Some(bucket) => bucket.next = next,
            None => self.first = next,
        }
        if let Some(bucket) = self.all.get_mut(next as usize) {
            bucket.previous = previous;
        }
    }

    fn drop_if_empty(&mut self, number: u32) {
        let Bucket { queue, next, previous, .. } = self.all[number as usize];
        if queue.oldest().is_none() {
            self.join(previous, next);
            self.all[number as usize].next = std::mem::replace(&mut self.free, number);
        }
    }
}
