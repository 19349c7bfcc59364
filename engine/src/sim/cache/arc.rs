//! ARC, the adaptive replacement cache (Megiddo and Modha, FAST 2003), with bytes in the place of pages.

use super::entries::{Entries, EntryId, Queue};
use super::{Eviction, ObjectId, Sizes};

/// The lists of the paper: T1 and T2 are in the cache, B1 and B2 are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    T1,
    T2,
    B1,
    B2,
}

/// Divides its bytes between what was read once lately and what was read more often, by which of the two it misses more.
#[derive(Debug)]
pub struct Arc<'a> {
    entries: Entries<'a, List>,
    lists: [Queue; 4],
    /// Bytes that T1 should have: p of the paper.
    target: u64,
    capacity: u64,
}

impl<'a> Arc<'a> {
    /// An empty cache.
    pub fn new(sizes: &'a Sizes, capacity: u64) -> Self {
        Self { entries: Entries::new(sizes), lists: [Queue::default(); 4], target: 0, capacity }
    }

    fn bytes(&self, list: List) -> u64 {
        self.lists[list as usize].bytes
    }

    fn put(&mut self, entry: EntryId, list: List) {
        *self.entries.state_mut(entry) = list;
        self.lists[list as usize].push(&mut self.entries, entry);
    }

    fn take(&mut self, entry: EntryId) {
        let list = self.entries.state(entry);
        self.lists[list as usize].remove(&mut self.entries, entry);
    }

    /// REPLACE of the paper: the oldest of T1 or T2 is only remembered from now on.
    fn replace(&mut self, was_in_b2: bool) {
        let once = self.bytes(List::T1);
        let from_t1 = once > self.target || (was_in_b2 && once == self.target);
        let t1 = once > 0 && (from_t1 || self.bytes(List::T2) == 0);
        let (from, to) = if t1 { (List::T1, List::B1) } else { (List::T2, List::B2) };
        if let Some(entry) = self.lists[from as usize].pop(&mut self.entries) {
            self.put(entry, to);
        }
    }

    fn make_room(&mut self, size: u64, was_in_b2: bool) {
        while self.bytes(List::T1) + self.bytes(List::T2) + size > self.capacity {
            self.replace(was_in_b2);
        }
    }

    /// Moves the target towards the list whose memory was right.
    fn adapt(&mut self, list: List, size: u64) {
        let (b1, b2) = (self.bytes(List::B1).max(1), self.bytes(List::B2).max(1));
        // By the size of the object times the ratio of the lists, at least one.
        let step = |more: u64, fewer: u64| {
            let step = u128::from(size) * u128::from(more.max(fewer)) / u128::from(fewer);
            u64::try_from(step).unwrap_or(u64::MAX).min(self.capacity)
        };
        if list == List::B1 {
            self.target = (self.target + step(b2, b1)).min(self.capacity);
        } else {
            self.target = self.target.saturating_sub(step(b1, b2));
        }
    }

    /// Case IV of the paper: what was never read, or is forgotten.
    fn insert_new(&mut self, object: ObjectId) {
        let size = self.entries.size_of(object);
        while self.bytes(List::T1) + self.bytes(List::B1) + size > self.capacity {
            let list = if self.bytes(List::B1) > 0 { List::B1 } else { List::T1 };
            self.lists[list as usize].evict(&mut self.entries);
        }
        while self.lists.iter().map(|list| list.bytes).sum::<u64>() + size > 2 * self.capacity {
            if self.bytes(List::B2) == 0 {
                break;
            }
            self.lists[List::B2 as usize].evict(&mut self.entries);
        }
        self.make_room(size, false);
        let entry = self.entries.add(object, List::T1);
        self.put(entry, List::T1);
    }
}

impl Eviction for Arc<'_> {
    fn hit(&mut self, object: ObjectId) -> bool {
        let Some(entry) = self.entries.find(object) else { return false };
        let list = self.entries.state(entry);
        let is_here = matches!(list, List::T1 | List::T2);
        if list == List::T1 {
            self.take(entry);
            self.put(entry, List::T2);
        } else if list == List::T2 {
            self.lists[List::T2 as usize].renew(&mut self.entries, entry);
        }
        is_here
    }

    fn contains(&self, object: ObjectId) -> bool {
        self.entries.find(object).is_some_and(|entry| matches!(self.entries.state(entry), List::T1 | List::T2))
    }

    fn insert(&mut self, object: ObjectId) {
        let Some(entry) = self.entries.find(object) else { return self.insert_new(object) };
        let (list, size) = (self.entries.state(entry), self.entries.size_of(object));
        self.adapt(list, size);
        self.take(entry);
        self.make_room(size, list == List::B2);
        self.put(entry, List::T2);
    }

    fn memory(&self) -> usize {
        self.entries.memory()
    }
}
