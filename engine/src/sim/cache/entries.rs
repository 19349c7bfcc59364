//! What a cache remembers: entries of objects, and queues of entries.
//!
//! Objects are numbered densely, so finding one is a look into an array. An entry is 16 bytes with a state of four;
//! queues are woven through the entries, so nothing is allocated for a request.

use super::{ObjectId, Sizes};

/// Number of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryId(u32);

impl EntryId {
    /// No entry.
    pub const NONE: Self = Self(u32::MAX);

    fn index(self) -> usize {
        self.0 as usize
    }

    /// None for [`Self::NONE`].
    pub fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

/// What is remembered of an object.
#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    object: ObjectId,
    newer: EntryId,
    older: EntryId,
    state: T,
}

/// The entries of a cache.
#[derive(Debug)]
pub struct Entries<'a, T> {
    /// By object.
    of: Vec<EntryId>,
    entries: Vec<Entry<T>>,
    /// The first that can be used again; the next one of each is its `newer`.
    free: EntryId,
    sizes: &'a Sizes,
}

impl<'a, T: Copy> Entries<'a, T> {
    /// None yet, of objects of these sizes.
    pub fn new(sizes: &'a Sizes) -> Self {
        Self { of: vec![EntryId::NONE; sizes.objects()], entries: Vec::new(), free: EntryId::NONE, sizes }
    }

    /// The entry of an object.
    pub fn find(&self, object: ObjectId) -> Option<EntryId> {
        self.of[object.index()].some()
    }

    /// Bytes of an object.
    pub fn size_of(&self, object: ObjectId) -> u64 {
        self.sizes.of(object).0
    }

    /// Bytes of the object of an entry.
    pub fn size(&self, entry: EntryId) -> u64 {
        self.size_of(self.object(entry))
    }

    /// Whose entry it is.
    pub fn object(&self, entry: EntryId) -> ObjectId {
        self.entries[entry.index()].object
    }

    /// What is remembered.
    pub fn state(&self, entry: EntryId) -> T {
        self.entries[entry.index()].state
    }

    /// The same, to change it.
    pub fn state_mut(&mut self, entry: EntryId) -> &mut T {
        &mut self.entries[entry.index()].state
    }

    /// The neighbour in its queue that was pushed next.
    pub fn newer(&self, entry: EntryId) -> Option<EntryId> {
        self.entries[entry.index()].newer.some()
    }

    /// An entry for an object that has none, in no queue.
    pub fn add(&mut self, object: ObjectId, state: T) -> EntryId {
        let fresh = Entry { object, newer: EntryId::NONE, older: EntryId::NONE, state };
        let id = match self.free.some() {
            Some(id) => {
                self.free = self.entries[id.index()].newer;
                self.entries[id.index()] = fresh;
                id
            }
            None => {
                self.entries.push(fresh);
                EntryId(u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX))
            }
        };
        self.of[object.index()] = id;
        id
    }

    /// Forgets an entry that is in no queue.
    pub fn forget(&mut self, entry: EntryId) {
        let slot = &mut self.entries[entry.index()];
        self.of[slot.object.index()] = EntryId::NONE;
        slot.newer = std::mem::replace(&mut self.free, entry);
    }

    /// Bytes that the entries take, the most there ever were; without the table by object, which a trace has once.
    pub fn memory(&self) -> usize {
        self.entries.len() * size_of::<Entry<T>>()
    }
}

/// Entries from the oldest to the newest.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    newest: EntryId,
    oldest: EntryId,
    /// Bytes of all objects in it.
    pub bytes: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { newest: EntryId::NONE, oldest: EntryId::NONE, bytes: 0 }
    }
}

impl Queue {
    /// The one that was pushed first.
    pub fn oldest(&self) -> Option<EntryId> {
        self.oldest.some()
    }

    /// Puts an entry that is in no queue behind the newest.
    pub fn push<T: Copy>(&mut self, entries: &mut Entries<'_, T>, entry: EntryId) {
        self.bytes += entries.size(entry);
        self.link(entries, entry);
    }

    fn link<T: Copy>(&mut self, entries: &mut Entries<'_, T>, entry: EntryId) {
        let slot = &mut entries.entries[entry.index()];
        slot.older = self.newest;
        slot.newer = EntryId::NONE;
        match self.newest.some() {
            Some(newest) => entries.entries[newest.index()].newer = entry,
            None => self.oldest = entry,
        }
        self.newest = entry;
    }

    /// Takes an entry out.
    pub fn remove<T: Copy>(&mut self, entries: &mut Entries<'_, T>, entry: EntryId) {
        self.bytes -= entries.size(entry);
        self.unlink(entries, entry);
    }

    fn unlink<T: Copy>(&mut self, entries: &mut Entries<'_, T>, entry: EntryId) {
        let Entry { newer, older, .. } = entries.entries[entry.index()];
        match newer.some() {
            Some(newer) => entries.entries[newer.index()].older = older,
            None => self.newest = older,
        }
        match older.some() {
            Some(older) => entries.entries[older.index()].newer = newer,
            None => self.oldest = newer,
        }
    }

    /// Takes the oldest out.
    pub fn pop<T: Copy>(&mut self, entries: &mut Entries<'_, T>) -> Option<EntryId> {
        let oldest = self.oldest()?;
        self.remove(entries, oldest);
        Some(oldest)
    }

    /// Makes one of its entries the newest.
    pub fn renew<T: Copy>(&mut self, entries: &mut Entries<'_, T>, entry: EntryId) {
        if self.newest != entry {
            self.unlink(entries, entry);
            self.link(entries, entry);
        }
    }

    /// Takes the oldest out and forgets it.
    pub fn evict<T: Copy>(&mut self, entries: &mut Entries<'_, T>) {
        if let Some(oldest) = self.pop(entries) {
            entries.forget(oldest);
        }
    }
}
