//! Checks what is said of samples, their order, and caches.

use super::check::{Checked, bounded, invalid, required};
use super::check_storage::{check_loader, check_preprocessing, check_shards, check_storage};
use super::input::{Access, AccessFile, AccessPattern, Cache, CacheFile, CachePlacement, Input, Samples, SamplesFile};
use super::{CacheMedium, CachePolicy, DataFile};
use crate::cluster::Cluster;
use crate::model::Model;
use crate::units::{Bytes, BytesPerSec, Nanos};

/// Samples, and requests, at most: a trace of them is some hundred megabytes.
const MAX_REQUESTS: u32 = 100_000_000;

/// Nodes that keep the same object, at most.
const MAX_REPLICAS: u32 = 16;

/// The largest cache.
const MAX_CAPACITY: Bytes = Bytes(1 << 60);

/// The largest object: no sum of as many as there may be overflows.
const MAX_SIZE: Bytes = Bytes(1 << 36);

/// What `file` says of the way of the data; none where it says nothing of samples.
pub(super) fn check_input(
    file: &DataFile,
    model: &Model,
    sequence_length: u32,
    cluster: &Cluster,
) -> Checked<Option<Input>> {
    let Some(samples) = &file.samples else {
        let said = [
            ("data.access", file.access.is_some()),
            ("data.cache", file.cache.is_some()),
            ("data.storage", file.storage.is_some()),
            ("data.loader", file.loader.is_some()),
            ("data.preprocessing", file.preprocessing.is_some()),
        ];
        return match said.into_iter().find(|(_, said)| *said) {
            Some((path, _)) => Err(invalid(
                path,
                "(a table)",
                "a table data.samples beside it",
                "Say how many samples there are and how large they are.",
            )),
            None => Ok(None),
        };
    };
    let loader = file.loader.clone().unwrap_or_default();
    let others = file.preprocessing.as_ref().map(|others| check_preprocessing(others, loader.workers)).transpose()?;
    let nodes = others.map_or(cluster.nodes, |others| others.nodes);
    let access = file.access.clone().unwrap_or_default();
    // The jobs of the other patterns read on a node each.
    let readers = if access.pattern == AccessPattern::Epochs { nodes.max(1) } else { 1 };
    let samples = check_samples(samples, readers)?;
    Ok(Some(Input {
        samples,
        access: check_access(&access, &samples, nodes)?,
        cache: check_cache(&file.cache.clone().unwrap_or_default(), &samples, cluster, nodes)?,
        storage: check_storage(&file.storage.clone().unwrap_or_default(), nodes)?,
        loader: check_loader(&loader, model, sequence_length)?,
        preprocessing: others,
    }))
}

pub(super) fn rate(value: Option<BytesPerSec>, path: &'static str, default: BytesPerSec) -> Checked<BytesPerSec> {
    let rate = value.unwrap_or(default);
    if rate.0.is_finite() && (1.0..=1e18).contains(&rate.0) {
        return Ok(rate);
    }
    Err(invalid(path, rate, "a rate from 1 B/s to 1 EB/s", "For example \"2 GB/s\"."))
}

pub(super) fn time(value: Option<Nanos>, path: &'static str, default: Nanos) -> Checked<Nanos> {
    let time = value.unwrap_or(default);
    if (Nanos::ZERO..=Nanos(3_600_000_000_000)).contains(&time) {
        return Ok(time);
    }
    Err(invalid(path, time, "a time from 0 to an hour", "For example \"8 ms\"."))
}

fn check_samples(file: &SamplesFile, readers: u32) -> Checked<Samples> {
    let bytes = required(file.size, "data.samples.size", SIZES)?;
    let size = size(Some(bytes), "data.samples.size", bytes)?;
    let count = bounded(file.count, "data.samples.count", MAX_REQUESTS)?;
    Ok(Samples {
        count,
        size,
        size_spread: fraction(file.size_spread, "data.samples.size_spread", 0.0, [0.0, 3.0])?,
        format: file.format,
        per_shard: check_shards(file, size, count, readers)?,
    })
}

/// Sizes that objects may have.
const SIZES: &str = "a size from 1 byte to 64 GiB";

/// A size of an object, or what stands for it.
pub(super) fn size(value: Option<Bytes>, path: &'static str, default: Bytes) -> Checked<Bytes> {
    let size = value.unwrap_or(default);
    if size == Bytes::ZERO || size > MAX_SIZE {
        return Err(invalid(path, size, SIZES, "For example \"110 KB\"."));
    }
    Ok(size)
}

/// A number within limits, or what stands for it.
pub(super) fn fraction(value: Option<f64>, path: &'static str, default: f64, [least, most]: [f64; 2]) -> Checked<f64> {
    let value = value.unwrap_or(default);
    if value.is_finite() && (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(invalid(path, value, format!("a number from {least} to {most}"), "Check for a typing error."))
}

fn check_access(file: &AccessFile, samples: &Samples, nodes: u32) -> Checked<Access> {
    let shared = matches!(file.pattern, AccessPattern::Jobs | AccessPattern::Search);
    let jobs = if shared { bounded(Some(file.jobs.unwrap_or(8)), "data.access.jobs", 1024)? } else { 1 };
    let access = Access {
        pattern: file.pattern,
        epochs: bounded(Some(file.epochs.unwrap_or(3)), "data.access.epochs", 1000)?,
        sampling: file.sampling,
        window: file.window.map(|window| bounded(Some(window), "data.access.window", MAX_REQUESTS)).transpose()?,
        jobs,
        stagger: fraction(file.stagger, "data.access.stagger", 0.0, [0.0, 1.0])?,
        coordinated: file.coordinated,
        skew: fraction(file.skew, "data.access.skew", 1.0, [0.0, 4.0])?,
        requests: bounded(Some(file.requests.unwrap_or(1_000_000)), "data.access.requests", MAX_REQUESTS)?,
    };
    if access.pattern == AccessPattern::Zipf {
        return Ok(access);
    }
    let readers = access.readers(nodes);
    let all = [access.epochs, jobs, readers].iter().fold(u64::from(samples.count), |all, &n| all * u64::from(n));
    if all > u64::from(MAX_REQUESTS) {
        let allowed = format!("at most {MAX_REQUESTS} reads in all, here {all}");
        let hint = "Lower data.access.epochs, or take shards of many samples for data.samples.";
        return Err(invalid("data.samples.count", samples.count, allowed, hint));
    }
    Ok(access)
}

fn check_cache(file: &CacheFile, samples: &Samples, cluster: &Cluster, nodes: u32) -> Checked<Cache> {
    let all = u64::from(samples.count) * samples.size.0;
    let capacity = file.capacity.unwrap_or(Bytes((all / 3).max(samples.size.0)));
    let replicas = bounded(Some(file.replicas.unwrap_or(1)), "data.cache.replicas", nodes.min(MAX_REPLICAS))?;
    let memory = Bytes(cluster.device.host.memory.0.saturating_mul(u64::from(cluster.devices_per_node)));
    // What is left out takes what there is.
    let capacity = if file.capacity.is_none() && in_memory(file) { capacity.min(memory) } else { capacity };
    if in_memory(file) && capacity > memory {
        let allowed = format!("at most the memory of a node, {memory}");
        let hint = "Lower it, raise cluster.custom.host_memory, or set data.cache.medium = \"nvme\".";
        return Err(invalid("data.cache.capacity", capacity, allowed, hint));
    }
    if capacity == Bytes::ZERO || capacity > MAX_CAPACITY {
        return Err(invalid("data.cache.capacity", capacity, "from 1 byte to 1 EiB", "Check for a typing error."));
    }
    if file.policy == CachePolicy::Belady && file.placement != CachePlacement::Node {
        let hint = "No node knows what the others will ask it for; compare with another policy.";
        return Err(invalid("data.cache.policy", "belady", "another policy, or data.cache.placement = node", hint));
    }
    Ok(Cache {
        policy: file.policy,
        capacity,
        drives: check_drives(file)?,
        medium: file.medium,
        warm_up: file.warm_up,
        admission: file.admission,
        read_ahead: file.read_ahead.map_or(Ok(0), |n| at_most(n, "data.cache.read_ahead", 1024))?,
        placement: file.placement,
        replicas,
        lost_after: file
            .lost_after
            .map(|share| fraction(Some(share), "data.cache.lost_after", 0.0, [0.0, 1.0]))
            .transpose()?,
    })
}

/// A second cache on the drives: behind one in memory, of nodes that keep what they read themselves.
fn check_drives(file: &CacheFile) -> Checked<Option<Bytes>> {
    let Some(drives) = file.drives else { return Ok(None) };
    let refused = |allowed, hint| Err(invalid("data.cache.drives", drives, allowed, hint));
    if drives == Bytes::ZERO || drives > MAX_CAPACITY {
        return refused("from 1 byte to 1 EiB", "Check for a typing error.");
    }
    if !in_memory(file) || file.placement != CachePlacement::Node {
        let allowed = "nothing, or data.cache.medium = memory and data.cache.placement = node beside it";
        return refused(allowed, "It lies behind a cache in memory of a node that keeps what it reads.");
    }
    Ok(Some(drives))
}

fn in_memory(file: &CacheFile) -> bool {
    file.medium == CacheMedium::Memory
}

fn at_most(value: u32, path: &'static str, most: u32) -> Checked<u32> {
    if value <= most { Ok(value) } else { bounded(Some(value), path, most) }
}
