//! Misses over the bytes of a cache.

use std::sync::Arc;

use serde::Serialize;

use super::replay::{Front, Hits, WithPolicy, with_policy};
use super::sketch::mixed;
use super::{Eviction, ObjectId, Requests, Sizes};
use crate::scenario::Cache;
use crate::units::Bytes;

/// What a cache of some bytes finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CurvePoint {
    /// The bytes.
    pub capacity: Bytes,
    /// What it found.
    pub hits: Hits,
}

/// As many capacities, from a five-hundredth of all bytes to all of them, each by the same factor larger.
pub fn capacities(all: Bytes, count: u32) -> Vec<Bytes> {
    const SMALLEST: f64 = 1.0 / 500.0;
    let steps = f64::from(count.max(2) - 1);
    let share = |step: u32| libm::exp(libm::log(SMALLEST) * (1.0 - f64::from(step) / steps));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a size")]
    let mut capacities: Vec<Bytes> =
        (0..count).map(|step| Bytes(((all.as_f64() * share(step)).round() as u64).max(1))).collect();
    capacities.dedup();
    capacities
}

/// A part of a trace that stands for the whole: one object of so many, with all that is asked of it, and a cache of as
/// much less (Waldspurger et al., FAST 2015 and ATC 2017).
#[derive(Clone, Debug)]
pub struct Sampled {
    /// What is played.
    pub requests: Arc<Requests>,
    /// Of how many objects one is in it; 1 for the whole trace.
    pub one_in: u32,
    /// Requests and bytes of the whole trace.
    all: (u64, Bytes),
}

/// Takes one object of `one_in`, a power of two, chosen by a hash of its number.
pub fn sampled(requests: &Arc<Requests>, one_in: u32) -> Sampled {
    let all = (requests.objects.len() as u64, requests.bytes());
    if one_in <= 1 {
        return Sampled { requests: Arc::clone(requests), one_in: 1, all };
    }
    let is_in = |object: &ObjectId| mixed(u64::from(object.0)) & u64::from(one_in - 1) == 0;
    let chosen: Vec<ObjectId> = (0..).map(ObjectId).take(requests.sizes.objects()).filter(is_in).collect();
    let mut number = vec![ObjectId(u32::MAX); requests.sizes.objects()];
    chosen.iter().zip(0..).for_each(|(object, new)| number[object.index()] = ObjectId(new));
    let objects = requests.objects.iter().filter(|object| is_in(object)).map(|o| number[o.index()]).collect();
    let sizes = match &requests.sizes {
        Sizes::Alike { size, .. } => {
            Sizes::Alike { objects: u32::try_from(chosen.len()).unwrap_or(u32::MAX), size: *size }
        }
        Sizes::Each(sizes) => Sizes::Each(chosen.iter().map(|object| sizes[object.index()]).collect()),
    };
    let read = requests.objects.iter().zip(&requests.readers).filter(|(object, _)| is_in(object));
    let readers = read.map(|(_, &reader)| reader).collect();
    Sampled { requests: Arc::new(Requests { objects, sizes, readers }), one_in, all }
}

impl Sampled {
    /// What a cache finds of the whole trace. What is missed in the sample counts as often as it stands for, so that a
    /// hot object that is in it or not changes little (the adjustment of Waldspurger et al. 2015, section 3.3).
    pub fn point(&self, cache: &Cache) -> CurvePoint {
        let capacity = Bytes(cache.capacity.0 / u64::from(self.one_in));
        let settings = Cache { capacity, ..*cache };
        let missed = with_policy(cache.policy, capacity, self.requests.reads(), Misses { of: self, settings });
        let (requests, bytes) = self.all;
        let times = u64::from(self.one_in);
        let hits = Hits {
            requests,
            hits: requests.saturating_sub(missed.0 * times),
            bytes,
            hit_bytes: Bytes(bytes.0.saturating_sub(missed.1 * times)),
        };
        CurvePoint { capacity: cache.capacity, hits }
    }
}

struct Misses<'a> {
    of: &'a Sampled,
    settings: Cache,
}

impl<'a> WithPolicy<'a> for Misses<'a> {
    /// Requests and bytes that were not there.
    type Output = (u64, u64);

    fn with(self, cache: impl Eviction + 'a) -> (u64, u64) {
        let requests = &self.of.requests;
        let mut front = Front::new(&self.settings, requests.reads(), cache);
        front.warm_up(self.settings.warm_up);
        let (mut missed, mut bytes) = (0, 0);
        for &object in &requests.objects {
            if !front.request(object) {
                missed += 1;
                bytes += requests.sizes.of(object).0;
            }
        }
        (missed, bytes)
    }
}
