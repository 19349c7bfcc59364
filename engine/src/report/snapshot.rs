//! A memory snapshot of PyTorch, as table and JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use super::SCHEMA_VERSION;
use super::device_memory::rows;
use crate::analysis::{AllocatorRow, MemoryPicture};
use crate::units::Bytes;

/// Places in the program that are printed.
const PLACES: usize = 16;

/// A snapshot for people.
pub fn snapshot_table(name: &str, device: usize, picture: &MemoryPicture, replayed: &[AllocatorRow]) -> String {
    let map = &picture.map;
    let mut text = format!("{name}   device {device}   [imported]\n\n");
    let _ = writeln!(
        text,
        "  {} events, {} blocks; at most {} allocated and {} reserved, in {} segments at the end",
        picture.moments.len(),
        map.blocks.len(),
        map.allocated,
        map.reserved,
        map.segments
    );
    if let Some(failure) = map.failure {
        let _ = writeln!(
            text,
            "  out of memory at event {}: {} were asked for; {} were reserved, {} of them in use",
            failure.op, failure.asked, failure.held.reserved, failure.held.allocated
        );
    }
    let title = "in use when most is, by the place in the program";
    let _ = writeln!(text, "\n  {title:<56} {:>8} {:>11}", "blocks", "bytes");
    for (name, (count, bytes)) in at_peak(picture).into_iter().take(PLACES) {
        let _ = writeln!(text, "  {name:<56} {count:>8} {:>11}", bytes.to_string());
    }
    text.push_str("\n  the same requests on other allocators   [modelled]\n");
    rows(&mut text, replayed, None);
    text
}

/// What is in use when most is: how many and how many bytes by name, the largest first.
pub fn at_peak(picture: &MemoryPicture) -> Vec<(&str, (u64, Bytes))> {
    let moment = picture.map.peak_moment();
    let mut sums: BTreeMap<&str, (u64, Bytes)> = BTreeMap::new();
    for block in picture.map.blocks.iter().filter(|block| block.from <= moment && moment < block.until) {
        if let Some(value) = picture.values.get(block.value) {
            let sum = sums.entry(&value.name).or_default();
            *sum = (sum.0 + 1, Bytes(sum.1.0.saturating_add(block.bytes.0)));
        }
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by(|a, b| b.1.1.cmp(&a.1.1).then(a.0.cmp(b.0)));
    sums
}

/// A snapshot for programs.
pub fn snapshot_json(name: &str, device: usize, picture: &MemoryPicture, replayed: &[AllocatorRow]) -> String {
    let document = json!({
        "schema_version": SCHEMA_VERSION,
        "origin": picture.origin,
        "file": name,
        "device": device,
        "events": picture.moments.len(),
        "allocated": picture.map.allocated,
        "reserved": picture.map.reserved,
        "failure": picture.map.failure,
        "at_peak": at_peak(picture),
        "replayed": replayed,
        "blocks": picture.map.blocks,
        "values": picture.values,
    });
    format!("{document:#}\n")
}
