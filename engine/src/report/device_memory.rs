//! What allocators make of a step, what breaks first, and what would make it fit: as table, CSV and JSON.

use std::fmt::Write as _;

use serde_json::json;

use super::SCHEMA_VERSION;
use super::csv::quoted;
use crate::analysis::{AllocatorRow, Breaks, DeviceMemory, MemoryPicture};
use crate::scenario::AllocatorName;
use crate::search::{Edit, Treatment, Way, Ways};
use crate::units::Bytes;

/// Changes that are printed of those that fit, and of those that do not.
const WAYS: usize = 12;

/// What was found of a step's memory.
#[derive(Clone, Debug)]
pub struct MemoryFindings<'a> {
    /// The scenario's name.
    pub name: &'a str,
    /// The allocator that the scenario chooses.
    pub chosen: AllocatorName,
    /// Micro-batches of a step.
    pub micro_batches: u32,
    /// The stage.
    pub memory: &'a DeviceMemory,
    /// The step on every allocator.
    pub rows: &'a [AllocatorRow],
    /// Ways of treating activations.
    pub treatments: &'a [Treatment],
    /// What would make it fit.
    pub ways: Option<&'a Ways>,
}

/// All of it for people.
pub fn device_memory_table(found: &MemoryFindings<'_>) -> String {
    let memory = found.memory;
    let mut text = format!("{}   [modelled]\n\n", found.name);
    let _ = writeln!(
        text,
        "  stage {}: {} of the device, {} beside tensors, {} left; tensors need {} when that is most\n",
        memory.stage,
        memory.capacity,
        memory.beside.total(),
        memory.room(),
        memory.peak
    );
    if memory.micro_batches < found.micro_batches {
        let (played, all) = (memory.micro_batches, found.micro_batches);
        let _ = writeln!(text, "  played with {played} of {all} micro-batches: the others repeat what they do\n");
    }
    allocators(&mut text, found);
    if let Some(breaks) =
        found.rows.iter().find(|row| row.allocator == found.chosen).and_then(|row| row.breaks.as_ref())
    {
        let _ = writeln!(text, "\n  What breaks first ({}): {}", found.chosen.name(), breaks_text(breaks));
    }
    treatments(&mut text, found.treatments);
    found.ways.inspect(|found| ways(&mut text, found));
    text
}

fn allocators(text: &mut String, found: &MemoryFindings<'_>) {
    rows(text, found.rows, Some(found.chosen));
    text.push_str(
        "\n  * chosen by run.allocator. calls: of the device's allocator in the first step; later: in every other.\n",
    );
}

pub(super) fn rows(text: &mut String, rows: &[AllocatorRow], chosen: Option<AllocatorName>) {
    let _ = writeln!(
        text,
        "  {:<12} {:>5} {:>11} {:>11} {:>8} {:>9} {:>7} {:>7} {:>11} {:>10}",
        "allocator", "fits", "allocated", "reserved", "unused", "segments", "calls", "later", "moved", "copying"
    );
    for row in rows {
        let moved = if row.moves == 0 { "-".to_owned() } else { row.moved.to_string() };
        let copying = if row.moves == 0 { "-".to_owned() } else { row.copying.to_string() };
        let _ = writeln!(
            text,
            "{} {:<12} {:>5} {:>11} {:>11} {:>6.1} % {:>9} {:>7} {:>7} {:>11} {:>10}",
            if Some(row.allocator) == chosen { "*" } else { " " },
            row.allocator.name(),
            if chosen.is_none() {
                "-"
            } else if row.fits {
                "yes"
            } else {
                "no"
            },
            row.allocated.to_string(),
            row.reserved.to_string(),
            row.fragmentation() * 100.0,
            row.segments,
            row.calls,
            row.later_calls,
            moved,
            copying
        );
    }
}

/// In the words of PyTorch's message, what there was no room for.
pub fn breaks_text(breaks: &Breaks) -> String {
    if breaks.at_a_time {
        return format!(
            "ops need {} on the device at a time, so paging does not help: shard or cut what they read",
            breaks.asked
        );
    }
    let micro_batch = breaks.micro_batch.map_or_else(String::new, |number| format!(", micro-batch {number}"));
    let what = breaks.tensor.as_ref().map_or_else(|| "the whole reservation".to_owned(), |name| format!("`{name}`"));
    let when = format!("before `{}` of step {}{micro_batch}", breaks.op, breaks.step);
    let mut text = format!("{when}, {} for {what}", breaks.asked);
    if breaks.reserved > Bytes::ZERO {
        let _ = write!(
            text,
            "; {} are reserved, {} of them in use, the largest free piece has {}",
            breaks.reserved, breaks.allocated, breaks.largest_free
        );
    }
    text
}

fn treatments(text: &mut String, treatments: &[Treatment]) {
    if treatments.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n  {:<12} {:>5} {:>12} {:>11} {:>11} {:>11} {:>11} {:>10}",
        "activations", "fits", "activations", "peak", "reserved", "on host", "step", "repeated"
    );
    for Treatment { name, way, activations, repeated } in treatments {
        let _ = writeln!(
            text,
            "  {:<12} {:>5} {:>12} {:>11} {:>11} {:>11} {:>11} {:>8.1} %",
            name,
            if way.fits { "yes" } else { "no" },
            activations.to_string(),
            way.peak.to_string(),
            way.reserved.to_string(),
            way.outside.to_string(),
            way.step_time.to_string(),
            repeated * 100.0
        );
    }
}

fn ways(text: &mut String, ways: &Ways) {
    let _ = writeln!(
        text,
        "\n  {:<58} {:>11} {:>11} {:>11} {:>11}",
        "changes that make it fit, the fastest first", "peak", "reserved", "step", "per second"
    );
    if ways.fitting.is_empty() {
        text.push_str("  none of those that were tried\n");
    }
    ways.fitting.iter().take(WAYS).for_each(|found| way(text, found));
    text.push_str("  of those that do not suffice, the nearest\n");
    ways.others.iter().take(WAYS / 3).for_each(|found| way(text, found));
    text.push_str("  as it is\n");
    way(text, &ways.now);
}

fn way(text: &mut String, way: &Way) {
    let _ = writeln!(
        text,
        "  {:<58} {:>11} {:>11} {:>11} {:>11.0}",
        edits_text(&way.edits),
        way.peak.to_string(),
        way.reserved.to_string(),
        way.step_time.to_string(),
        way.per_s
    );
}

/// Changes as a scenario file says them.
pub fn edits_text(edits: &[Edit]) -> String {
    edits.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The allocators for spreadsheets.
pub fn allocators_csv(rows: &[AllocatorRow]) -> String {
    let mut text = String::from(
        "allocator,fits,allocated_bytes,reserved_bytes,fragmentation,segments,calls,later_calls,moves,moved_bytes,copying_ns\n",
    );
    for row in rows {
        let _ = writeln!(
            text,
            "{},{},{},{},{:.4},{},{},{},{},{},{}",
            row.allocator.name(),
            row.fits,
            row.allocated.0,
            row.reserved.0,
            row.fragmentation(),
            row.segments,
            row.calls,
            row.later_calls,
            row.moves,
            row.moved.0,
            row.copying.0
        );
    }
    text
}

/// A map for spreadsheets: a line for every block.
pub fn memory_map_csv(picture: &MemoryPicture) -> String {
    let mut text = String::from("address,bytes,from_moment,until_moment,from_ns,until_ns,category,micro_batch,name\n");
    let at = |moment: usize| picture.starts.get(moment).map_or_else(String::new, |at| at.0.to_string());
    for block in &picture.map.blocks {
        let Some(value) = picture.values.get(block.value) else { continue };
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{},{},{}",
            block.address,
            block.bytes.0,
            block.from,
            block.until,
            at(block.from),
            at(block.until),
            value.category.map_or("", crate::trace::MemoryCategory::name),
            value.micro_batch.map_or_else(String::new, |number| number.to_string()),
            quoted(&value.name)
        );
    }
    text
}

/// All of it for programs.
pub fn device_memory_json(found: &MemoryFindings<'_>) -> String {
    let memory = found.memory;
    let document = json!({
        "schema_version": SCHEMA_VERSION,
        "origin": "modelled",
        "scenario": found.name,
        "stage": memory.stage,
        "micro_batches": found.micro_batches,
        "micro_batches_played": memory.micro_batches,
        "capacity": memory.capacity,
        "beside": memory.beside,
        "room": memory.room(),
        "peak": memory.peak,
        "allocator": found.chosen,
        "allocators": found.rows,
        "activations": found.treatments,
        "ways": found.ways,
    });
    format!("{document:#}\n")
}
