//! The optimum: what is used again last leaves, or does not come in at all (Belady 1966; Mattson et al. 1970).

use super::positions::Positions;
use super::{Eviction, ObjectId, Sizes};

/// Knows the requests to come. No policy has more hits where all objects have one size; where sizes differ, finding the
/// optimum is NP-hard, and this is only a good one.
#[derive(Debug)]
pub struct Belady<'a> {
    requests: &'a [ObjectId],
    /// Of every request, that of the same object that follows; [`NEVER`] behind the last.
    following: Vec<u32>,
    /// Of every object, its next request; [`NEVER`] when there is none.
    next: Vec<u32>,
    is_here: Vec<bool>,
    /// Next requests of what is here.
    used_again: Positions,
    /// What is here and never used again.
    useless: Vec<ObjectId>,
    /// The number of the next request.
    now: usize,
    bytes: u64,
    capacity: u64,
    sizes: &'a Sizes,
}

/// Stands for a request that never comes.
const NEVER: u32 = u32::MAX;

impl<'a> Belady<'a> {
    /// An empty cache before the first of `requests`.
    pub fn new(sizes: &'a Sizes, capacity: u64, requests: &'a [ObjectId]) -> Self {
        let (mut next, mut following) = (vec![NEVER; sizes.objects()], vec![NEVER; requests.len()]);
        for (number, object) in requests.iter().enumerate().rev() {
            let of_object = &mut next[object.index()];
            following[number] = std::mem::replace(of_object, u32::try_from(number).unwrap_or(NEVER));
        }
        Self {
            requests,
            following,
            next,
            is_here: vec![false; sizes.objects()],
            used_again: Positions::new(requests.len()),
            useless: Vec::new(),
            now: 0,
            bytes: 0,
            capacity,
            sizes,
        }
    }

    /// Evicts what is used again last, if that is after `next`.
    fn evict_behind(&mut self, next: u32) -> bool {
        let evicted = self.useless.pop().or_else(|| {
            let last = self.used_again.largest().filter(|&last| last > next as usize)?;
            self.used_again.remove(last);
            Some(self.requests[last])
        });
        let Some(object) = evicted else { return false };
        self.is_here[object.index()] = false;
        self.bytes -= self.sizes.of(object).0;
        true
    }

    fn keep(&mut self, object: ObjectId) {
        match self.next[object.index()] {
            NEVER => self.useless.push(object),
            next => self.used_again.insert(next as usize),
        }
    }
}

impl Eviction for Belady<'_> {
    fn hit(&mut self, object: ObjectId) -> bool {
        let is_here = self.is_here[object.index()];
        if is_here {
            self.used_again.remove(self.now);
        }
        self.next[object.index()] = self.following[self.now];
        self.now += 1;
        if is_here {
            self.keep(object);
        }
        is_here
    }

    fn contains(&self, object: ObjectId) -> bool {
        self.is_here[object.index()]
    }

    fn insert(&mut self, object: ObjectId) {
        let (size, next) = (self.sizes.of(object).0, self.next[object.index()]);
        while self.bytes + size > self.capacity {
            if !self.evict_behind(next) {
                return;
            }
        }
        self.is_here[object.index()] = true;
        self.bytes += size;
        self.keep(object);
    }

    fn memory(&self) -> usize {
        self.next.len() * size_of::<u32>() + self.is_here.len()
    }
}
