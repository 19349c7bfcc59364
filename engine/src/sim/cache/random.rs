//! Random replacement.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use super::{Eviction, ObjectId, Sizes};

/// Any object leaves, each as likely as the others; the same ones for the same seed.
#[derive(Debug)]
pub struct Random<'a> {
    /// Of every object, its place among those that are there.
    places: Vec<u32>,
    objects: Vec<ObjectId>,
    bytes: u64,
    capacity: u64,
    sizes: &'a Sizes,
    random: ChaCha8Rng,
}

/// The place of what is not there.
const ABSENT: u32 = u32::MAX;

impl<'a> Random<'a> {
    /// An empty cache.
    pub fn new(sizes: &'a Sizes, capacity: u64, seed: u64) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        let places = vec![ABSENT; sizes.objects()];
        Self { places, objects: Vec::new(), bytes: 0, capacity, sizes, random }
    }

    fn evict(&mut self) {
        let drawn = (u64::from(self.random.next_u32()) * self.objects.len() as u64) >> 32;
        let place = drawn as usize;
        let evicted = self.objects.swap_remove(place);
        if let Some(&moved) = self.objects.get(place) {
            self.places[moved.index()] = self.places[evicted.index()];
        }
        self.places[evicted.index()] = ABSENT;
        self.bytes -= self.sizes.of(evicted).0;
    }
}

impl Eviction for Random<'_> {
    fn hit(&mut self, object: ObjectId) -> bool {
        self.contains(object)
    }

    fn contains(&self, object: ObjectId) -> bool {
        self.places[object.index()] != ABSENT
    }

    fn insert(&mut self, object: ObjectId) {
        let size = self.sizes.of(object).0;
        while self.bytes + size > self.capacity {
            self.evict();
        }
        self.places[object.index()] = u32::try_from(self.objects.len()).unwrap_or(ABSENT);
        self.objects.push(object);
        self.bytes += size;
    }

    fn memory(&self) -> usize {
        self.objects.len() * size_of::<ObjectId>()
    }
}
