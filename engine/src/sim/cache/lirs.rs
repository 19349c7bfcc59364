//! LIRS, by how far apart the last two uses are (Jiang and Zhang, SIGMETRICS 2002), with bytes in the place of blocks.

use super::entries::{Entries, EntryId, Queue};
use super::{Eviction, ObjectId, Sizes};

/// Keeps what is used at short distances; a hundredth of the bytes is for all else.
#[derive(Debug)]
pub struct Lirs<'a> {
    /// The stack S of the paper, by how recently, down to the last object of low recency; of each whether its recency is
    /// low (LIR).
    stack: Entries<'a, bool>,
    recency: Queue,
    /// Objects of high recency (HIR): those of the paper's queue Q, and those that have left and are still on the stack;
    /// of each whether it is here.
    high: Entries<'a, bool>,
    queue: Queue,
    gone: Queue,
    /// Bytes of the objects of low recency, and what they may take.
    low: u64,
    low_capacity: u64,
    capacity: u64,
}

impl<'a> Lirs<'a> {
    /// An empty cache.
    pub fn new(sizes: &'a Sizes, capacity: u64) -> Self {
        let (stack, high) = (Entries::new(sizes), Entries::new(sizes));
        let [recency, queue, gone] = [Queue::default(); 3];
        // Room for one object at least, or what is new would have nowhere to wait.
        let low_capacity = capacity - (capacity / 100).max(sizes.usual_within(capacity));
        Self { stack, recency, high, queue, gone, low: 0, low_capacity, capacity }
    }

    /// Takes what is not of low recency from the end of the stack.
    fn prune(&mut self) {
        while let Some(last) = self.recency.oldest().filter(|&last| !self.stack.state(last)) {
            let object = self.stack.object(last);
            if let Some(entry) = self.high.find(object).filter(|&entry| !self.high.state(entry)) {
                self.gone.remove(&mut self.high, entry);
                self.high.forget(entry);
            }
            self.recency.evict(&mut self.stack);
        }
    }

    /// The last object of low recency becomes one of high recency.
    fn demote(&mut self) {
        let Some(last) = self.recency.oldest() else { return };
        let object = self.stack.object(last);
        self.low -= self.stack.size(last);
        self.recency.evict(&mut self.stack);
        self.wait(object);
        self.prune();
    }

    /// Puts an object behind those of high recency.
    fn wait(&mut self, object: ObjectId) {
        let entry = self.high.add(object, true);
        self.queue.push(&mut self.high, entry);
    }

    /// The first object of high recency leaves; while it is on the stack its recency is known.
    fn evict(&mut self) {
        let Some(first) = self.queue.pop(&mut self.high) else { return self.demote() };
        if self.stack.find(self.high.object(first)).is_none() {
            return self.high.forget(first);
        }
        *self.high.state_mut(first) = false;
        self.gone.push(&mut self.high, first);
        self.forget_gone();
    }

    /// Forgets what left longest ago, where more is remembered than the cache keeps. The paper has no such limit;
    /// libCacheSim has this one.
    fn forget_gone(&mut self) {
        while self.gone.bytes > self.capacity {
            let Some(first) = self.gone.pop(&mut self.high) else { return };
            if let Some(entry) = self.stack.find(self.high.object(first)) {
                self.recency.remove(&mut self.stack, entry);
                self.stack.forget(entry);
            }
            self.high.forget(first);
        }
    }

    /// Makes an object one of low recency, used just now.
    fn promote(&mut self, entry: EntryId) {
        *self.stack.state_mut(entry) = true;
        self.low += self.stack.size(entry);
        self.recency.renew(&mut self.stack, entry);
        while self.low > self.low_capacity {
            self.demote();
        }
        self.prune();
    }

    /// Puts an object on the stack.
    fn stack_up(&mut self, object: ObjectId, is_low: bool) {
        let entry = self.stack.add(object, is_low);
        self.recency.push(&mut self.stack, entry);
    }

    /// Takes an object that is here from the queue, or one that has left from what is remembered.
    fn take(&mut self, entry: EntryId) {
        let queue = if self.high.state(entry) { &mut self.queue } else { &mut self.gone };
        queue.remove(&mut self.high, entry);
        self.high.forget(entry);
    }
}

impl Eviction for Lirs<'_> {
    fn hit(&mut self, object: ObjectId) -> bool {
        let on_stack = self.stack.find(object);
        if let Some(entry) = on_stack.filter(|&entry| self.stack.state(entry)) {
            self.recency.renew(&mut self.stack, entry);
            self.prune();
            return true;
        }
        let Some(waiting) = self.high.find(object).filter(|&waiting| self.high.state(waiting)) else { return false };
        if let Some(entry) = on_stack {
            self.take(waiting);
            self.promote(entry);
        } else {
            self.stack_up(object, false);
            self.queue.renew(&mut self.high, waiting);
            self.prune();
        }
        true
    }

    fn contains(&self, object: ObjectId) -> bool {
        self.high.find(object).is_some_and(|entry| self.high.state(entry))
            || self.stack.find(object).is_some_and(|entry| self.stack.state(entry))
    }

    fn insert(&mut self, object: ObjectId) {
        let size = self.stack.size_of(object);
        while self.low + self.queue.bytes + size > self.capacity {
            self.evict();
        }
        if let Some(entry) = self.stack.find(object) {
            if let Some(gone) = self.high.find(object) {
                self.take(gone);
            }
            self.promote(entry);
        } else if self.low + size <= self.low_capacity {
            self.low += size;
            self.stack_up(object, true);
        } else {
            self.stack_up(object, false);
            self.wait(object);
            self.prune();
        }
    }

    fn memory(&self) -> usize {
        self.stack.memory() + self.high.memory()
    }
}
