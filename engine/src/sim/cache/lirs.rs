//! LIRS, by how far apart the last two uses are (Jiang and Zhang, SIGMETRICS 2002), with bytes in the place of blocks.

use super::entries::{Entries, EntryId, Queue};
use super::{Eviction, ObjectId, Sizes};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// Low inter-reference recency: kept.
    Low,
    /// High: the next to leave.
    High,
    /// Has left; its recency is still known.
    Gone,
}

/// Keeps what is used at short distances; a hundredth of the bytes is for all else.
#[derive(Debug)]
pub struct Lirs<'a> {
    /// The stack S of the paper: by how recently, down to the last object of low recency.
    stack: Entries<'a, Status>,
    recency: Queue,
    /// The queue Q of the paper: objects of high recency that are here.
    high: Entries<'a, ()>,
    queue: Queue,
    /// Bytes of the objects of low recency, and what they may take.
    low: u64,
    low_capacity: u64,
    /// Bytes of what has left.
    gone: u64,
    capacity: u64,
}

impl<'a> Lirs<'a> {
    /// An empty cache.
    pub fn new(sizes: &'a Sizes, capacity: u64) -> Self {
        let (stack, high) = (Entries::new(sizes), Entries::new(sizes));
        let [recency, queue] = [Queue::default(); 2];
        let low_capacity = capacity - capacity / 100;
        Self { stack, recency, high, queue, low: 0, low_capacity, gone: 0, capacity }
    }

    /// Takes what is not of low recency from the end of the stack.
    fn prune(&mut self) {
        while let Some(last) = self.recency.oldest() {
            match self.stack.state(last) {
                Status::Low => break,
                Status::Gone => self.gone -= self.stack.size(last),
                Status::High => {}
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
        let entry = self.high.add(object, ());
        self.queue.push(&mut self.high, entry);
    }

    fn leave(&mut self, waiting: EntryId) {
        self.queue.remove(&mut self.high, waiting);
        self.high.forget(waiting);
    }

    fn evict(&mut self) {
        let Some(first) = self.queue.oldest() else { return self.demote() };
        let object = self.high.object(first);
        self.leave(first);
        if let Some(entry) = self.stack.find(object) {
            *self.stack.state_mut(entry) = Status::Gone;
            self.gone += self.stack.size(entry);
        }
    }

    /// Makes an object one of low recency, used just now.
    fn promote(&mut self, entry: EntryId) {
        *self.stack.state_mut(entry) = Status::Low;
        self.low += self.stack.size(entry);
        self.recency.renew(&mut self.stack, entry);
        while self.low > self.low_capacity {
            self.demote();
        }
        self.prune();
    }

    /// Puts an object on the stack.
    fn stack_up(&mut self, object: ObjectId, status: Status) -> EntryId {
        let entry = self.stack.add(object, status);
        self.recency.push(&mut self.stack, entry);
        entry
    }

    /// Forgets what left longest ago, where more is remembered than the cache keeps. The paper has no such limit;
    /// libCacheSim has this one.
    fn forget_gone(&mut self) {
        let mut at = self.recency.oldest();
        while let Some(entry) = at.filter(|_| self.gone > self.capacity) {
            at = self.stack.newer(entry);
            if self.stack.state(entry) == Status::Gone {
                self.gone -= self.stack.size(entry);
                self.recency.remove(&mut self.stack, entry);
                self.stack.forget(entry);
            }
        }
    }
}

impl Eviction for Lirs<'_> {
    fn hit(&mut self, object: ObjectId) -> bool {
        let waiting = self.high.find(object);
        match self.stack.find(object) {
            Some(entry) if self.stack.state(entry) == Status::Low => {
                self.recency.renew(&mut self.stack, entry);
                self.prune();
                true
            }
            Some(entry) => {
                let Some(waiting) = waiting else { return false };
                self.leave(waiting);
                self.promote(entry);
                true
            }
            None => {
                let Some(waiting) = waiting else { return false };
                self.stack_up(object, Status::High);
                self.queue.renew(&mut self.high, waiting);
                true
            }
        }
    }

    fn contains(&self, object: ObjectId) -> bool {
        let is_low = |entry| self.stack.state(entry) == Status::Low;
        self.high.find(object).is_some() || self.stack.find(object).is_some_and(is_low)
    }

    fn insert(&mut self, object: ObjectId) {
        let size = self.stack.size_of(object);
        while self.low + self.queue.bytes + size > self.capacity {
            self.evict();
        }
        match self.stack.find(object) {
            Some(entry) => {
                self.gone -= size;
                self.promote(entry);
            }
            None if self.low + size <= self.low_capacity => {
                self.low += size;
                self.stack_up(object, Status::Low);
            }
            None => {
                self.stack_up(object, Status::High);
                self.wait(object);
            }
        }
        self.forget_gone();
    }

    fn memory(&self) -> usize {
        self.stack.memory() + self.high.memory()
    }
}
