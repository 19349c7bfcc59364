//! Opens what `torch.cuda.memory._dump_snapshot` has written: the allocator's state, and the events that led to it.
//!
//! The layout is that of `torch.cuda._memory_viz` (TypedDicts `Snapshot`, `Segment`, `Block`, `TraceEntry`): a dictionary with
//! `segments`, and with `device_traces`, a list of events for every device.

use std::collections::BTreeMap;

use super::pickle::{Handle, Pickle, PickleError};
use crate::analysis::{MapValue, MemoryPicture};
use crate::memory::{Block, Failure, Held, MemoryMap, Region};
use crate::trace::{Name, Origin};
use crate::units::{Bytes, Nanos};

/// Why a file is no memory snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It is no pickle of plain data.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// It is something else.
    #[error("the pickle has no `{0}`; expected what torch.cuda.memory._dump_snapshot(\"file.pickle\") writes")]
    Missing(&'static str),
    /// An entry lacks something.
    #[error("{place} {number}: `{field}` is missing or no whole number from 0 on")]
    Field {
        /// Among which entries.
        place: &'static str,
        /// Which of them, from 0.
        number: usize,
        /// What is missing.
        field: &'static str,
    },
    /// More bytes than any machine has.
    #[error("the blocks and segments of the snapshot add up to more than {limit} B; their sizes cannot be right")]
    TooLarge {
        /// What is allowed.
        limit: u64,
    },
    /// Nothing was recorded.
    #[error(
        "the snapshot is empty: call torch.cuda.memory._record_memory_history() before what is to be seen, and _dump_snapshot after it"
    )]
    Empty,
}

/// Bytes of all blocks and segments together, whenever they lived: sums of them stay far from what integers hold.
const MOST: u64 = 1 << 60;

/// The snapshot of the device with the most events, with the number of that device.
///
/// # Errors
/// When it is no snapshot, or an empty one.
pub fn memory_snapshot(bytes: &[u8]) -> Result<(MemoryPicture, usize), SnapshotError> {
    let pickle = Pickle::read(bytes)?;
    let segments = pickle.entry(pickle.root(), "segments").ok_or(SnapshotError::Missing("segments"))?;
    let traces = pickle.entry(pickle.root(), "device_traces").map_or(&[][..], |traces| pickle.list(traces));
    let of_device = |device: usize| bytes_of(&pickle, pickle.list(segments), device);
    let fullest =
        traces.iter().enumerate().rev().max_by_key(|(device, trace)| (pickle.list(**trace).len(), of_device(*device)));
    let (device, events) = fullest.map_or((0, &[][..]), |(device, &trace)| (device, pickle.list(trace)));
    let mut player = Player::new(&pickle);
    for (number, &event) in events.iter().enumerate() {
        player.event(number, event)?;
    }
    player.at_end(pickle.list(segments), device)?;
    let picture = player.finish(events.len().max(1));
    if picture.map.blocks.is_empty() && picture.map.regions.is_empty() {
        return Err(SnapshotError::Empty);
    }
    let map = &picture.map;
    let all = map.blocks.iter().map(|block| block.bytes).chain(map.regions.iter().map(|region| region.bytes));
    if all.fold(0_u64, |sum, bytes| sum.saturating_add(bytes.0)) > MOST {
        return Err(SnapshotError::TooLarge { limit: MOST });
    }
    Ok((picture, device))
}

/// Bytes of a device's segments.
fn bytes_of(pickle: &Pickle<'_>, segments: &[Handle], device: usize) -> i64 {
    let int = |segment: Handle, field: &str| pickle.entry(segment, field).and_then(|value| pickle.int(value));
    let own = segments.iter().filter(|&&segment| int(segment, "device") == i64::try_from(device).ok());
    own.filter_map(|&segment| int(segment, "total_size")).fold(0, i64::saturating_add)
}

/// What is at an address.
#[derive(Clone, Copy)]
struct There {
    bytes: u64,
    from: usize,
    /// Its label; of segments nothing.
    value: usize,
}

struct Player<'a> {
    pickle: &'a Pickle<'a>,
    blocks: Vec<Block>,
    regions: Vec<Region>,
    alive: BTreeMap<u64, There>,
    held: BTreeMap<u64, There>,
    values: Vec<MapValue>,
    labels: BTreeMap<Option<Handle>, Name>,
    moments: Vec<Name>,
    starts: Vec<Nanos>,
    failure: Option<Failure>,
}

impl<'a> Player<'a> {
    fn new(pickle: &'a Pickle<'a>) -> Self {
        Self {
            pickle,
            blocks: Vec::new(),
            regions: Vec::new(),
            alive: BTreeMap::new(),
            held: BTreeMap::new(),
            values: Vec::new(),
            labels: BTreeMap::new(),
            moments: Vec::new(),
            starts: Vec::new(),
            failure: None,
        }
    }

    fn number(
        &self,
        entry: Handle,
        field: &'static str,
        place: &'static str,
        number: usize,
    ) -> Result<u64, SnapshotError> {
        let found = self.pickle.entry(entry, field).and_then(|value| self.pickle.int(value));
        found.and_then(|value| u64::try_from(value).ok()).ok_or(SnapshotError::Field { place, number, field })
    }

    fn event(&mut self, number: usize, event: Handle) -> Result<(), SnapshotError> {
        const PLACE: &str = "event";
        let action = self.pickle.entry(event, "action").and_then(|action| self.pickle.text(action));
        let action = action.ok_or(SnapshotError::Field { place: PLACE, number, field: "action" })?;
        self.moments.push(action.into());
        if let Ok(microseconds) = self.number(event, "time_us", PLACE, number) {
            self.starts.push(Nanos(i64::try_from(microseconds.saturating_mul(1000)).unwrap_or(i64::MAX)));
        }
        if action == "oom" {
            let asked = Bytes(self.number(event, "size", PLACE, number)?);
            self.failure = self.failure.or(Some(self.without_room(number, asked)));
        }
        if !matches!(
            action,
            "alloc" | "free" | "free_completed" | "segment_alloc" | "segment_map" | "segment_free" | "segment_unmap"
        ) {
            return Ok(());
        }
        let address = self.number(event, "addr", PLACE, number)?;
        let bytes = self.number(event, "size", PLACE, number)?;
        match action {
            "alloc" => {
                let value = self.value(self.pickle.entry(event, "frames"));
                self.end_block(address, number);
                self.alive.insert(address, There { bytes, from: number, value });
            }
            "free" | "free_completed" => self.end_block_at(address, bytes, number, event),
            "segment_alloc" | "segment_map" => {
                self.held.insert(address, There { bytes, from: number, value: 0 });
            }
            _ => self.unhold(address, address.saturating_add(bytes), number),
        }
        Ok(())
    }

    fn without_room(&self, op: usize, asked: Bytes) -> Failure {
        let sum =
            |there: &BTreeMap<u64, There>| Bytes(there.values().fold(0, |sum, there| sum.saturating_add(there.bytes)));
        let held = Held { allocated: sum(&self.alive), reserved: sum(&self.held), ..Held::default() };
        Failure { step: 0, op, value: None, at_a_time: false, asked, held, largest_free: Bytes::ZERO }
    }

    /// What was recorded before began before the first event.
    fn end_block_at(&mut self, address: u64, bytes: u64, until: usize, event: Handle) {
        if !self.alive.contains_key(&address) {
            let value = self.value(self.pickle.entry(event, "frames"));
            self.alive.insert(address, There { bytes, from: 0, value });
        }
        self.end_block(address, until);
    }

    fn end_block(&mut self, address: u64, until: usize) {
        if let Some(There { bytes, from, value }) = self.alive.remove(&address)
            && until > from
        {
            self.blocks.push(Block { value, address, bytes: Bytes(bytes), from, until });
        }
    }

    /// What no event has told of was there before the first.
    fn hold_gaps(&mut self, from: u64, until: u64) {
        let mut gaps = Vec::new();
        let mut end = from;
        for (&address, there) in self.held.range(..until) {
            let stop = address.saturating_add(there.bytes);
            if stop <= from {
                continue;
            }
            if address > end {
                gaps.push((end, address));
            }
            end = end.max(stop);
        }
        if end < until {
            gaps.push((end, until));
        }
        for (start, stop) in gaps {
            self.held.insert(start, There { bytes: stop - start, from: 0, value: 0 });
        }
    }

    /// Addresses that are given back may be a part of what was taken at once, or of several.
    fn unhold(&mut self, from: u64, until: u64, number: usize) {
        self.hold_gaps(from, until);
        let inside = self.held.range(..until).filter(|&(&address, there)| address.saturating_add(there.bytes) > from);
        let touched: Vec<(u64, There)> = inside.map(|(&address, &there)| (address, there)).collect();
        for (address, there) in touched {
            self.held.remove(&address);
            let end = address.saturating_add(there.bytes);
            let (first, last) = (address.max(from), end.min(until));
            self.region(first, last - first, there.from, number);
            for (start, stop) in [(address, first), (last, end)] {
                if stop > start {
                    self.held.insert(start, There { bytes: stop - start, ..there });
                }
            }
        }
    }

    fn region(&mut self, address: u64, bytes: u64, from: usize, until: usize) {
        if until > from && bytes > 0 {
            self.regions.push(Region { address, bytes: Bytes(bytes), from, until });
        }
    }

    /// What the snapshot says is there now, and no event has told of.
    fn at_end(&mut self, segments: &[Handle], device: usize) -> Result<(), SnapshotError> {
        for (number, &segment) in segments.iter().enumerate() {
            let of = self.pickle.entry(segment, "device").and_then(|device| self.pickle.int(device));
            if of.is_some_and(|of| usize::try_from(of) != Ok(device)) {
                continue;
            }
            let address = self.number(segment, "address", "segment", number)?;
            let bytes = self.number(segment, "total_size", "segment", number)?;
            let end = address.saturating_add(bytes);
            self.hold_gaps(address, end);
            self.blocks_of(segment, address, number)?;
        }
        Ok(())
    }

    fn blocks_of(&mut self, segment: Handle, start: u64, number: usize) -> Result<(), SnapshotError> {
        let mut address = start;
        let blocks = self.pickle.entry(segment, "blocks").map_or(&[][..], |blocks| self.pickle.list(blocks));
        for &block in blocks {
            let bytes = self.number(block, "size", "block of segment", number)?;
            let state = self.pickle.entry(block, "state").and_then(|state| self.pickle.text(state));
            // Older snapshots have no addresses of blocks; they lie one behind the other.
            let at = self.number(block, "address", "block", number).unwrap_or(address);
            if state.is_some_and(|state| state.starts_with("active")) && !self.alive.contains_key(&at) {
                let value = self.value(self.pickle.entry(block, "frames"));
                self.alive.insert(at, There { bytes, from: 0, value });
            }
            address = at.saturating_add(bytes);
        }
        Ok(())
    }

    /// A label for what was asked for at a place of the program.
    fn value(&mut self, frames: Option<Handle>) -> usize {
        let name = match self.labels.get(&frames) {
            Some(name) => name.clone(),
            None => {
                let name = frames.and_then(|frames| self.place(frames)).unwrap_or_else(|| "?".into());
                self.labels.insert(frames, name.clone());
                name
            }
        };
        self.values.push(MapValue { name, category: None, micro_batch: None });
        self.values.len() - 1
    }

    /// The innermost call of a stack that is not of the framework itself, else the innermost.
    fn place(&self, frames: Handle) -> Option<Name> {
        let text =
            |frame: Handle, field: &str| self.pickle.entry(frame, field).and_then(|value| self.pickle.text(value));
        let frames = self.pickle.list(frames);
        let is_python = |frame: &&Handle| {
            let file = text(**frame, "filename").unwrap_or_default();
            file.ends_with(".py") && !file.contains("/torch/")
        };
        let frame = *frames.iter().find(is_python).or_else(|| frames.first())?;
        let file = text(frame, "filename").unwrap_or("?").rsplit('/').next().unwrap_or_default();
        let line = self.pickle.entry(frame, "line").and_then(|line| self.pickle.int(line)).unwrap_or(0);
        Some(format!("{} ({file}:{line})", text(frame, "name").unwrap_or("?")).into())
    }

    fn finish(mut self, moments: usize) -> MemoryPicture {
        for (address, There { bytes, from, value }) in std::mem::take(&mut self.alive) {
            self.blocks.push(Block { value, address, bytes: Bytes(bytes), from, until: moments });
        }
        for (address, There { bytes, from, .. }) in std::mem::take(&mut self.held) {
            self.region(address, bytes, from, moments);
        }
        let first = self.starts.first().copied().unwrap_or_default();
        let complete = self.starts.len() == self.moments.len();
        let last = self.starts.last().copied();
        let times = self.starts.iter().copied().chain(last).map(|at| at - first);
        let starts = if complete { times.collect() } else { Vec::new() };
        let map = MemoryMap { failure: self.failure, ..MemoryMap::of_parts(self.blocks, self.regions, moments) };
        MemoryPicture { origin: Origin::Imported, map, values: self.values, moments: self.moments, starts }
    }
}
