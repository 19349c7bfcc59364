//! How many requests a second each policy decides on one core, and how long the curves of all policies take.
#![allow(missing_docs, clippy::expect_used, reason = "benchmarks of a trace that is made here")]

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shardlab_engine::analysis::{CacheStudy, StudyOptions};
use shardlab_engine::scenario::{Cache, CachePolicy};
use shardlab_engine::sim::cache::{ObjectId, Requests, Sizes, sampled};
use shardlab_engine::trace::Origin;
use shardlab_engine::units::Bytes;

/// As the command line has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const REQUESTS: u32 = 10_000_000;
const OBJECTS: u32 = 1_000_000;

/// Lookups of which some are far more frequent than others, among them a scan.
fn trace() -> Requests {
    let object = |number: u32| {
        let z = (u64::from(number) + 0x9e37_79b9).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33;
        let cube = (((z * z) >> 31) * z) >> 31;
        ObjectId(if number.is_multiple_of(5) {
            number / 5 % OBJECTS
        } else {
            u32::try_from((cube * u64::from(OBJECTS)) >> 31).expect("a number below that of the objects")
        })
    };
    let sizes = Sizes::Alike { objects: OBJECTS, size: Bytes(100) };
    Requests { objects: (0..REQUESTS).map(object).collect(), sizes, readers: Vec::new() }
}

fn cache(policy: CachePolicy) -> Cache {
    Cache { policy, ..Cache::with_capacity(Bytes(u64::from(OBJECTS) * 10)) }
}

fn policies(criterion: &mut Criterion) {
    let whole = sampled(&Arc::new(trace()), 1);
    let mut group = criterion.benchmark_group("a tenth of a million objects");
    group.sample_size(10).throughput(Throughput::Elements(u64::from(REQUESTS)));
    for &policy in CachePolicy::ALL {
        group.bench_function(policy.name(), |bencher| bencher.iter(|| whole.point(&cache(policy))));
    }
}

/// All policies, 20 capacities, ten million requests, two threads: with a sample as it is chosen, and without.
fn curves(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("curves of all policies");
    group.sample_size(10);
    for (name, one_in) in [("sampled", None), ("exact", Some(1))] {
        let options = StudyOptions { one_in, ..StudyOptions::default() };
        let study = CacheStudy::new(Arc::new(trace()), cache(CachePolicy::Lru), 1, Origin::Modelled, options);
        group.bench_function(name, |bencher| bencher.iter(|| study.on_threads(2, &|_| true)));
    }
}

criterion_group!(benches, policies, curves);
criterion_main!(benches);
