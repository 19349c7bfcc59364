//! Traces that `reference.py` makes too.

use shardlab_engine::sim::cache::{ObjectId, Requests, Sizes};
use shardlab_engine::units::Bytes;

fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Some of `objects` objects are read often, and every `scans`-th request belongs to a scan of others; 0 for no scans.
pub fn trace(requests: u64, objects: u64, scans: u64, varied: bool) -> Requests {
    let object = |number: u64| {
        let x = mixed(number) >> 32;
        let cube = (((x * x) >> 32) * x) >> 32;
        if scans > 0 && number.is_multiple_of(scans) {
            objects + number / scans % objects
        } else {
            (cube * objects) >> 32
        }
    };
    numbered((0..requests).map(object), |object| if varied { 1 + mixed(object) % 1000 } else { 1 })
}

/// Numbers objects in the order in which they come first.
pub fn numbered(reads: impl Iterator<Item = u64>, size: impl Fn(u64) -> u64) -> Requests {
    let (mut known, mut sizes) = (std::collections::BTreeMap::new(), Vec::new());
    let objects = reads.map(|object| {
        *known.entry(object).or_insert_with(|| {
            sizes.push(Bytes(size(object)));
            ObjectId(u32::try_from(sizes.len() - 1).unwrap())
        })
    });
    let objects = objects.collect();
    Requests { objects, sizes: Sizes::Each(sizes), readers: Vec::new() }
}
