//! What a cache decides, request by request: for a real one that is to do the same.

use std::collections::BTreeSet;

use super::replay::{WithPolicy, with_policy};
use super::{Eviction, ObjectId, Requests};
use crate::scenario::Cache;

/// What happens at a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether the object is there.
    pub hit: bool,
    /// Whether it is there afterwards.
    pub stays: bool,
    /// What leaves.
    pub leaves: Vec<ObjectId>,
}

/// The decisions of a cache that is empty at first, in the order of the requests.
pub fn decisions(requests: &Requests, cache: &Cache) -> Vec<Decision> {
    with_policy(cache.policy, cache.capacity, requests.reads(), Decide { requests, cache })
}

struct Decide<'a> {
    requests: &'a Requests,
    cache: &'a Cache,
}

impl<'a> WithPolicy<'a> for Decide<'a> {
    type Output = Vec<Decision>;

    fn with(self, mut policy: impl Eviction + 'a) -> Self::Output {
        let mut there: BTreeSet<ObjectId> = BTreeSet::new();
        let decide = |&object: &ObjectId| {
            let hit = policy.hit(object);
            if hit {
                return Decision { hit, stays: true, leaves: Vec::new() };
            }
            if self.requests.sizes.of(object) <= self.cache.capacity {
                policy.insert(object);
            }
            let leaves: Vec<ObjectId> = there.iter().copied().filter(|&other| !policy.contains(other)).collect();
            for other in &leaves {
                there.remove(other);
            }
            let stays = policy.contains(object);
            if stays {
                there.insert(object);
            }
            Decision { hit, stays, leaves }
        };
        self.requests.objects.iter().map(decide).collect()
    }
}
