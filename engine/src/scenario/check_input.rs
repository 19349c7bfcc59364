//! Checks what is said of samples, their order, and caches.

use super::check::{Checked, bounded, invalid, required};
use super::input::{
    Access, AccessFile, AccessPattern, Cache, CacheFile, CachePlacement, Input, Samples, SamplesFile, Sampling,
};
use super::{CachePolicy, DataFile};
use crate::units::Bytes;

/// Samples, and requests, at most: a trace of them is some hundred megabytes.
const MAX_REQUESTS: u32 = 100_000_000;

/// The largest object: no sum of as many as there may be overflows.
const MAX_SIZE: Bytes = Bytes(1 << 36);

/// What `file` says of the way of the data; none where it says nothing of samples.
pub(super) fn check_input(file: &DataFile, nodes: u32) -> Checked<Option<Input>> {
    let Some(samples) = &file.samples else {
        let said = [("data.access", file.access.is_some()), ("data.cache", file.cache.is_some())];
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
    let samples = check_samples(samples)?;
    let access = check_access(&file.access.clone().unwrap_or_default(), &samples, nodes)?;
    let cache = check_cache(&file.cache.clone().unwrap_or_default(), &samples, nodes)?;
    Ok(Some(Input { samples, access, cache }))
}

fn check_samples(file: &SamplesFile) -> Checked<Samples> {
    let allowed = "a size from 1 byte to 64 GiB";
    let size = required(file.size, "data.samples.size", allowed)?;
    if size == Bytes::ZERO || size > MAX_SIZE {
        return Err(invalid("data.samples.size", size, allowed, "For example \"110 KB\"."));
    }
    Ok(Samples {
        count: bounded(file.count, "data.samples.count", MAX_REQUESTS)?,
        size,
        size_spread: fraction(file.size_spread, "data.samples.size_spread", 0.0, [0.0, 3.0])?,
    })
}

/// A number within limits, or what stands for it.
fn fraction(value: Option<f64>, path: &'static str, default: f64, [least, most]: [f64; 2]) -> Checked<f64> {
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
    let readers = if access.sampling == Sampling::Node { nodes } else { 1 };
    let all = [access.epochs, jobs, readers].iter().fold(u64::from(samples.count), |all, &n| all * u64::from(n));
    if all > u64::from(MAX_REQUESTS) {
        let allowed = format!("at most {MAX_REQUESTS} reads in all, here {all}");
        let hint = "Lower data.access.epochs, or take shards of many samples for data.samples.";
        return Err(invalid("data.samples.count", samples.count, allowed, hint));
    }
    Ok(access)
}

fn check_cache(file: &CacheFile, samples: &Samples, nodes: u32) -> Checked<Cache> {
    let all = u64::from(samples.count) * samples.size.0;
    let capacity = file.capacity.unwrap_or(Bytes((all / 3).max(samples.size.0)));
    let replicas = bounded(Some(file.replicas.unwrap_or(1)), "data.cache.replicas", nodes)?;
    if capacity.0 > u64::MAX >> 8 {
        return Err(invalid("data.cache.capacity", capacity, "at most 64 PiB", "Check for a typing error."));
    }
    if file.policy == CachePolicy::Belady && file.placement != CachePlacement::Node {
        let hint = "No node knows what the others will ask it for; compare with another policy.";
        return Err(invalid("data.cache.policy", "belady", "another policy, or data.cache.placement = node", hint));
    }
    Ok(Cache {
        policy: file.policy,
        capacity,
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

fn at_most(value: u32, path: &'static str, most: u32) -> Checked<u32> {
    if value <= most { Ok(value) } else { bounded(Some(value), path, most) }
}
