//! Requests that scenarios make, caches of several nodes, and traces from files.

use super::*;
use crate::scenario::{
    Access, AccessPattern, Admission, Cache, CachePlacement, CachePolicy, Input, LoaderSettings, SampleFormat, Samples,
    Sampling, Storage, WarmUp,
};
use crate::units::{Bytes, BytesPerSec, Nanos};

fn input(pattern: AccessPattern, sampling: Sampling) -> Input {
    let access = Access {
        pattern,
        epochs: 3,
        sampling,
        window: None,
        jobs: 4,
        stagger: 0.0,
        coordinated: false,
        skew: 1.0,
        requests: 100_000,
    };
    let samples =
        Samples { count: 1000, size: Bytes(1000), size_spread: 0.0, format: SampleFormat::Files, per_shard: 1 };
    let rate = BytesPerSec(1e9);
    let storage = Storage { bandwidth: rate, node_bandwidth: rate, latency: Nanos::ZERO, servers: None, opens: None };
    let loader = LoaderSettings { workers: 1, prefetch: 1, decode: Nanos::ZERO, decoded: Bytes(1000), pageable: false };
    Input { samples, access, cache: Cache::with_capacity(Bytes(300_000)), storage, loader, preprocessing: None }
}

fn counts(requests: &Requests) -> Vec<u32> {
    let mut counts = vec![0; requests.sizes.objects()];
    requests.objects.iter().for_each(|object| counts[object.index()] += 1);
    counts
}

#[test]
fn an_epoch_reads_every_sample_once_in_another_order() {
    for sampling in [Sampling::Global, Sampling::Sharded] {
        let requests = requests_of(&input(AccessPattern::Epochs, sampling), 4, 1);
        assert!(counts(&requests).iter().all(|&n| n == 3), "{sampling:?}");
        let epochs: Vec<&[ObjectId]> = requests.objects.chunks(1000).collect();
        assert_ne!(epochs[0], epochs[1]);
        assert!(requests.readers.iter().all(|&reader| reader < 4));
    }
    let each = requests_of(&input(AccessPattern::Epochs, Sampling::Node), 4, 1);
    assert!(counts(&each).iter().all(|&n| n == 12));
}

#[test]
fn shards_are_read_from_begin_to_end_through_a_buffer() {
    for sampling in [Sampling::Global, Sampling::Sharded, Sampling::Node] {
        let plain = input(AccessPattern::Epochs, sampling);
        let samples = Samples { format: SampleFormat::Shards, per_shard: 30, ..plain.samples };
        let of = |window| {
            let access = Access { window: Some(window), ..plain.access };
            requests_of(&Input { samples, access, ..plain }, 4, 1)
        };
        let requests = of(1);
        let times = if sampling == Sampling::Node { 12 } else { 3 };
        assert!(counts(&requests).iter().all(|&n| n == times), "{sampling:?}");
        let first: Vec<u32> =
            requests.objects.iter().zip(&requests.readers).filter(|(_, r)| **r == 0).map(|(o, _)| o.0).collect();
        let follows = |order: &[u32]| order.windows(2).filter(|pair| pair[1] == pair[0] + 1).count();
        // A new shard after thirty, and another epoch.
        assert!(follows(&first) >= first.len() * 28 / 30 - 3, "{sampling:?}: {} of {}", follows(&first), first.len());
        let mixed: Vec<u32> = of(60).objects.iter().map(|object| object.0).collect();
        assert!(follows(&mixed) < mixed.len() / 10);
    }
}

#[test]
fn the_same_seed_reads_the_same() {
    for &pattern in AccessPattern::ALL {
        let of = |seed| requests_of(&input(pattern, Sampling::Global), 2, seed);
        assert_eq!(of(7), of(7), "{pattern:?}");
        assert_ne!(of(7), of(8), "{pattern:?}");
    }
}

#[test]
fn a_shard_stays_with_its_node() {
    let requests = requests_of(&input(AccessPattern::Epochs, Sampling::Sharded), 4, 1);
    let stays = |(object, &reader): (&ObjectId, &u16)| object.0 % 4 == u32::from(reader);
    assert!(requests.objects.iter().zip(&requests.readers).all(stays));
}

#[test]
fn a_window_keeps_samples_near_their_place() {
    let of = |window| {
        let input = input(AccessPattern::Epochs, Sampling::Global);
        requests_of(&Input { access: Access { window, ..input.access }, ..input }, 1, 1)
    };
    let order = of(Some(50));
    assert!(counts(&order).iter().all(|&n| n == 3));
    // Nothing comes before the window has reached it.
    assert!(order.objects[..1000].iter().enumerate().all(|(place, object)| object.index() < place + 51));
    assert!(of(None).objects[..1000].iter().enumerate().any(|(place, object)| object.index() > place + 500));
}

#[test]
fn a_search_halves_its_jobs_after_every_epoch() {
    let requests = requests_of(&input(AccessPattern::Search, Sampling::Global), 1, 1);
    // Four jobs, two, one.
    assert_eq!(requests.objects.len(), (4 + 2 + 1) * 1000);
    let all = requests_of(&input(AccessPattern::Jobs, Sampling::Global), 1, 1);
    assert_eq!(all.objects.len(), 4 * 3 * 1000);
}

#[test]
fn jobs_in_the_same_order_read_what_another_has_just_read() {
    let hits = |coordinated| {
        let input = input(AccessPattern::Jobs, Sampling::Global);
        let requests = requests_of(&Input { access: Access { coordinated, ..input.access }, ..input }, 1, 1);
        replay(&requests, &Cache::with_capacity(Bytes(100_000)), 1).total.rate()
    };
    // Three of four jobs find what the first has read (Mohan et al. 2021, coordinated prep), and an epoch begins with some
    // of what the last one ended with.
    assert!((hits(true) - 0.75).abs() < 0.002, "{}", hits(true));
    assert!(hits(false) < 0.3);
}

#[test]
fn lookups_follow_zipfs_law() {
    for skew in [0.0, 0.6, 1.0, 1.5] {
        let input = input(AccessPattern::Zipf, Sampling::Global);
        let requests = requests_of(&Input { access: Access { skew, ..input.access }, ..input }, 1, 3);
        let mut counts = counts(&requests);
        counts.sort_by(|a, b| b.cmp(a));
        let harmonic: f64 = (1..=1000).map(|k| f64::from(k).powf(-skew)).sum();
        let expected: f64 = (1..=10).map(|k| f64::from(k).powf(-skew)).sum::<f64>() / harmonic;
        let found = f64::from(counts[..10].iter().sum::<u32>()) / 100_000.0;
        // Sorting what was drawn favours the first a little where all are alike.
        assert!((found - expected).abs() < 0.006, "skew {skew}: {found}, expected {expected}");
    }
}

#[test]
fn sizes_have_the_mean_that_is_asked_for() {
    let input = input(AccessPattern::Epochs, Sampling::Global);
    let samples =
        Samples { count: 200_000, size: Bytes(100_000), size_spread: 0.5, format: SampleFormat::Files, per_shard: 1 };
    let requests = requests_of(&Input { samples, access: Access { epochs: 1, ..input.access }, ..input }, 1, 1);
    let mean = requests.sizes.total().as_f64() / 200_000.0;
    assert!((mean / 100_000.0 - 1.0).abs() < 0.01, "{mean}");
    assert!(requests.sizes.largest() > Bytes(300_000));
}

fn of_nodes(placement: CachePlacement, replicas: u32, lost_after: Option<f64>) -> FleetRun {
    let requests = requests_of(&input(AccessPattern::Epochs, Sampling::Global), 4, 1);
    let cache =
        Cache { policy: CachePolicy::Pinned, placement, replicas, lost_after, ..Cache::with_capacity(Bytes(200_000)) };
    replay_fleet(&requests, &cache, 4, 6)
}

#[test]
fn nodes_together_keep_more_than_each_alone() {
    let alone = of_nodes(CachePlacement::Node, 1, None);
    let together = of_nodes(CachePlacement::Partitioned, 1, None);
    // Each keeps a fifth of what it reads, of which it reads a quarter in the next epoch; together four fifths.
    assert_eq!(alone.total.requests[Tier::Remote as usize], 0);
    let warm = |run: &FleetRun| {
        let reads = run.intervals[4..].iter().fold(ByTier::default(), |mut all, interval| {
            all += interval.reads;
            all
        });
        reads.hits().rate()
    };
    assert!((warm(&alone) - 0.2).abs() < 0.03, "{}", warm(&alone));
    assert!((warm(&together) - 0.75).abs() < 0.06, "{}", warm(&together));
    let remote = together.total.requests[Tier::Remote as usize] as f64;
    let local = together.total.requests[Tier::Local as usize] as f64;
    assert!((remote / (remote + local) - 0.75).abs() < 0.05, "three of four are on another node");
}

#[test]
fn a_lost_cache_costs_its_part_and_replicas_save_it() {
    let last = |run: &FleetRun| run.intervals[5].reads.hits().rate();
    let whole = last(&of_nodes(CachePlacement::Partitioned, 1, None));
    let lost = last(&of_nodes(CachePlacement::Partitioned, 1, Some(0.8)));
    assert!(lost < whole - 0.1, "{lost} and {whole}");
    let kept = last(&of_nodes(CachePlacement::Partitioned, 2, Some(0.8)));
    let doubled = last(&of_nodes(CachePlacement::Partitioned, 2, None));
    assert!((kept - doubled).abs() < 0.02, "{kept} and {doubled}");
}

#[test]
fn a_ring_moves_only_what_the_lost_node_had() {
    let mut ring = ring::Ring::new(8);
    let before = ring.owners(10_000, 1);
    ring.remove(3);
    let after = ring.owners(10_000, 1);
    assert!(before.iter().zip(&after).all(|(before, after)| before == after || *before == 3));
    assert!(after.iter().all(|&owner| owner != 3));
    let share = before.iter().filter(|&&owner| owner == 3).count() as f64 / 10_000.0;
    assert!((share - 0.125).abs() < 0.03, "{share}");
}

#[test]
fn two_levels_find_hot_objects_at_home() {
    let requests = requests_of(&input(AccessPattern::Zipf, Sampling::Global), 4, 1);
    let of =
        |placement| replay_fleet(&requests, &Cache { placement, ..Cache::with_capacity(Bytes(200_000)) }, 4, 1).total;
    let (flat, two) = (of(CachePlacement::Partitioned), of(CachePlacement::TwoLevel));
    assert!(two.requests[Tier::Local as usize] > flat.requests[Tier::Local as usize]);
}

#[test]
fn a_trace_in_csv_is_read_with_its_sizes_and_readers() {
    let requests = import(b"time,key,size,node\n0,a,10,0\n1,b,20,1\n2,a,10,1\n", TraceFormat::Csv).expect("a trace");
    assert_eq!(requests.objects, [0, 1, 0].map(ObjectId));
    assert_eq!(requests.sizes, Sizes::Each(vec![Bytes(10), Bytes(20)]));
    assert_eq!(requests.readers, [0, 1, 1]);
}

#[test]
fn a_trace_in_records_is_read() {
    let record = |object: u64, size: u32| {
        [&7_u32.to_le_bytes()[..], &object.to_le_bytes(), &size.to_le_bytes(), &(-1_i64).to_le_bytes()].concat()
    };
    let bytes = [record(900, 5), record(800, 5), record(900, 5)].concat();
    let requests = import(&bytes, TraceFormat::OracleGeneral).expect("a trace");
    assert_eq!(requests.objects, [0, 1, 0].map(ObjectId));
    assert_eq!(requests.sizes, Sizes::Alike { objects: 2, size: Bytes(5) });
}

#[test]
fn what_is_no_trace_says_where_and_what_was_expected() {
    let csv = |text: &str| import(text.as_bytes(), TraceFormat::Csv).expect_err(text).to_string();
    assert!(csv("object,size\na,-3\n").contains("line 2: `size` is `-3`"));
    assert!(csv("object,size\na,0\n").contains("line 2: `size` is `0`"));
    assert!(csv("object,size\na,3\nb\n").contains("not well-formed CSV"));
    assert!(csv("object,weight\na,3\n").contains("no column `size`; its columns are object, weight"));
    assert!(csv("size\n3\n").contains("no column `object`"));
    assert!(csv("object,size,reader\na,3,x\n").contains("`reader` is `x`"));
    assert!(csv("object,size\n").contains("the trace is empty"));
    assert!(csv("").contains("no column `object`"));
    assert!(csv("object,size\na,99999999999999999999\n").contains("expected a whole number of bytes"));
    let packed = ruzstd::encoding::compress_to_vec(
        &b"object,size\n1,10\n2,10\n"[..],
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    assert_eq!(import(&packed, TraceFormat::of_name("a.csv.zst")).expect("a trace").objects.len(), 2);
    let cut = import(&packed[..packed.len() - 3], TraceFormat::Csv).expect_err("cut").to_string();
    assert!(cut.contains("truncated or damaged"), "{cut}");
    let records = |bytes: &[u8]| import(bytes, TraceFormat::OracleGeneral).expect_err("no trace").to_string();
    assert!(records(&[0; 30]).contains("no multiple of 24"));
    assert!(records(&[0; 48]).contains("record 0 has a size of 0 bytes"));
    assert!(records(&[]).contains("empty"));
}

#[test]
fn all_settings_together_never_lose_a_request() {
    for &placement in CachePlacement::ALL {
        for &warm_up in WarmUp::ALL {
            for &admission in Admission::ALL {
                let requests = requests_of(&input(AccessPattern::Jobs, Sampling::Global), 3, 5);
                let settings = Cache::with_capacity(Bytes(150_000));
                let cache = Cache { placement, warm_up, admission, read_ahead: 2, lost_after: Some(0.5), ..settings };
                let run = replay_fleet(&requests, &cache, 3, 7);
                assert_eq!(run.total.hits().requests, requests.objects.len() as u64);
                assert_eq!(run.total.hits().bytes, requests.bytes());
            }
        }
    }
}

#[test]
fn what_a_cache_decides_is_what_its_replay_finds() {
    let requests = requests_of(&input(AccessPattern::Epochs, Sampling::Global), 1, 1);
    for &policy in CachePolicy::ALL {
        let cache = Cache { policy, ..Cache::with_capacity(Bytes(300_000)) };
        let decided = decisions(&requests, &cache);
        let hits = decided.iter().filter(|decision| decision.hit).count() as u64;
        assert_eq!(hits, replay(&requests, &cache, 1).total.hits, "{policy:?}");
        // Who follows the decisions has what is said to be there, and no more than there is room for.
        let mut there = std::collections::BTreeSet::new();
        for (object, decision) in requests.objects.iter().zip(&decided) {
            assert_eq!(there.contains(object), decision.hit, "{policy:?}");
            decision.leaves.iter().for_each(|other| assert!(there.remove(other), "{policy:?}"));
            if decision.stays {
                there.insert(*object);
            }
            assert!(there.len() <= 300, "{policy:?}");
        }
    }
}
