//! PyTorch's caching allocator, with segments of fixed size or with expandable ones.
//!
//! The rules are those of `CUDACachingAllocator` with its defaults: sizes are rounded to 512 B; blocks up to 1 MB and larger
//! ones have pools of their own; small blocks share segments of 2 MB, blocks below 10 MB segments of 20 MB, larger ones get
//! segments rounded to 2 MB; the smallest free block that is large enough is taken and split; neighbours that are free are
//! joined; what is free is kept. Where the device has no more, segments that are wholly free are given back before the
//! request is tried once more.
//!
//! With expandable segments each pool has one range of addresses, of which pages of 2 MB or 20 MB are mapped as they are
//! needed: a free block at the end of what is mapped grows instead of being passed over. Where the device has no more, pages
//! without anything in them are unmapped.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::{Allocator, Device, Held, Mapping};
use crate::units::Bytes;

/// Sizes are rounded up to a multiple of this.
const ROUNDING: u64 = 512;
/// Larger blocks are large.
const SMALL: u64 = 1 << 20;
/// What small blocks share.
const SMALL_SEGMENT: u64 = 2 << 20;
/// Blocks from this size on have segments of their own.
const OWN_SEGMENT: u64 = 10 << 20;
/// What large blocks below that share.
const SHARED_SEGMENT: u64 = 20 << 20;
/// Segments of one block are rounded up to a multiple of this.
const SEGMENT_ROUNDING: u64 = 2 << 20;
/// Where the expandable segment of the small blocks begins: far behind that of the large ones.
const SMALL_BASE: u64 = 1 << 62;
/// The addresses of an expandable segment; far more than any device has bytes.
const EXPANDABLE: u64 = 1 << 61;

/// An index into [`Caching::blocks`].
type Place = usize;

/// A part of a segment.
#[derive(Clone, Copy, Debug)]
struct Block {
    address: u64,
    size: u64,
    small: bool,
    state: State,
    /// The blocks before and behind it in its segment.
    before: Option<Place>,
    behind: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Used,
    Free,
    /// Addresses without memory behind them.
    Unmapped,
}

/// The allocator.
#[derive(Debug)]
pub struct Caching {
    expandable: bool,
    device: Device,
    blocks: Vec<Block>,
    /// Places in `blocks` of those that were joined with others.
    unused: Vec<Place>,
    /// Free blocks by size, then address: large and small ones.
    free: [BTreeSet<(u64, u64, Place)>; 2],
    /// Unmapped blocks by address: of the large and the small segment.
    unmapped: [BTreeSet<(u64, Place)>; 2],
    used: FxHashMap<u64, Place>,
    /// Segments of fixed size, by address.
    segments: BTreeMap<u64, u64>,
}

impl Caching {
    /// An allocator of a device of some capacity.
    pub fn new(expandable: bool, capacity: Option<Bytes>) -> Self {
        let mut allocator = Self {
            expandable,
            device: Device::new(capacity),
            blocks: Vec::new(),
            unused: Vec::new(),
            free: Default::default(),
            unmapped: Default::default(),
            used: FxHashMap::default(),
            segments: BTreeMap::new(),
        };
        if expandable {
            for (small, address) in [(false, 0), (true, SMALL_BASE)] {
                let state = State::Unmapped;
                allocator.add(Block { address, size: EXPANDABLE, small, state, before: None, behind: None });
            }
        }
        allocator
    }

    /// A free block for a request: the smallest that is large enough. Of expandable segments, one at the end of what is
    /// mapped counts with what it can grow to.
    fn fitting(&self, size: u64, small: bool) -> Option<Place> {
        let mut found = self.free[usize::from(small)].range((size, 0, 0)..).map(|&(.., place)| place);
        let mut best = found.next()?;
        if self.expandable {
            for next in found {
                if self.room(next) >= self.room(best) {
                    break;
                }
                best = next;
            }
        }
        Some(best)
    }

    /// A block's size with the addresses behind it that could be mapped.
    fn room(&self, place: Place) -> u64 {
        let block = &self.blocks[place];
        let behind = block.behind.map(|behind| &self.blocks[behind]);
        block.size + behind.filter(|behind| behind.state == State::Unmapped).map_or(0, |behind| behind.size)
    }

    /// More memory of the device: a free block that is large enough.
    fn grow(&mut self, size: u64, small: bool) -> Option<Place> {
        if self.expandable { self.expand(size, small) } else { self.segment(size, small) }
    }

    /// A free block that is a segment of its own.
    fn segment(&mut self, size: u64, small: bool) -> Option<Place> {
        let length = match size {
            _ if small => SMALL_SEGMENT,
            _ if size < OWN_SEGMENT => SHARED_SEGMENT,
            _ => size.next_multiple_of(SEGMENT_ROUNDING),
        };
        if !self.device.has(length) {
            return None;
        }
        let address = self.lowest_gap(length);
        self.segments.insert(address, length);
        self.device.take(address, length);
        self.device.held.segments += 1;
        Some(self.add(Block { address, size: length, small, state: State::Free, before: None, behind: None }))
    }

    /// Where a segment fits between others; a device chooses as it likes.
    fn lowest_gap(&self, length: u64) -> u64 {
        let mut end = 0;
        for (&address, &other) in &self.segments {
            if address - end >= length {
                return end;
            }
            end = address + other;
        }
        end
    }

    /// Maps pages behind a free block, or where none is, until it is large enough.
    fn expand(&mut self, size: u64, small: bool) -> Option<Place> {
        let start = self.unmapped[usize::from(small)].iter().find_map(|&(_, place)| {
            let before = self.blocks[place].before.filter(|&before| self.blocks[before].state == State::Free);
            let start = before.unwrap_or(place);
            self.reaches(start, size).then_some(start)
        })?;
        let mut block = start;
        if self.blocks[block].state == State::Unmapped {
            block = self.map(block, size.min(self.blocks[block].size))?;
        }
        while self.blocks[block].size < size {
            let behind = self.blocks[block].behind?;
            let missing = (size - self.blocks[block].size).min(self.blocks[behind].size);
            block = self.map(behind, missing)?;
        }
        Some(block)
    }

    /// Whether from a block on there are so many bytes that are not in use.
    fn reaches(&self, start: Place, size: u64) -> bool {
        let (mut bytes, mut next) = (0, Some(start));
        while let Some(block) = next.map(|place| &self.blocks[place]).filter(|block| block.state != State::Used) {
            bytes += block.size;
            if bytes >= size {
                return true;
            }
            next = block.behind;
        }
        false
    }

    /// Maps the first bytes of an unmapped block, in whole pages, and joins them with what is free beside them.
    fn map(&mut self, place: Place, bytes: u64) -> Option<Place> {
        let block = self.blocks[place];
        let page = if block.small { SMALL_SEGMENT } else { SHARED_SEGMENT };
        let mapped = bytes.next_multiple_of(page).min(block.size);
        if !self.device.has(mapped) {
            return None;
        }
        self.device.take(block.address, mapped);
        // Every page is a handle of its own.
        self.device.held.calls += u32::try_from(mapped / page).unwrap_or(u32::MAX).saturating_sub(1);
        self.device.held.segments = self.device.held.segments.max(1 + u32::from(self.both_mapped()));
        self.pull(place);
        if mapped < block.size {
            self.cut(place, mapped);
        }
        self.blocks[place].state = State::Free;
        Some(self.join_neighbours(place))
    }

    /// Whether both expandable segments have something mapped: of one that has none, all is a single unmapped block.
    fn both_mapped(&self) -> bool {
        let whole = |unmapped: &BTreeSet<(u64, Place)>| {
            unmapped.first().is_some_and(|&(_, place)| self.blocks[place].size == EXPANDABLE)
        };
        !self.unmapped.iter().any(whole)
    }

    /// Gives back what is wholly free; returns whether there was anything.
    fn release(&mut self) -> bool {
        let before = self.device.held.reserved;
        let free: Vec<Place> = self.free.iter().flatten().map(|&(.., place)| place).collect();
        for place in free {
            if self.expandable {
                self.unmap(place);
            } else if self.blocks[place].before.is_none() && self.blocks[place].behind.is_none() {
                self.pull(place);
                let Block { address, size, .. } = self.blocks[place];
                self.segments.remove(&address);
                self.device.give_back(address, size);
                self.device.held.segments -= 1;
                self.unused.push(place);
            }
        }
        self.device.held.reserved < before
    }

    /// Unmaps the whole pages in a free block.
    fn unmap(&mut self, place: Place) {
        let Block { address, size, small, .. } = self.blocks[place];
        let (page, base) = if small { (SMALL_SEGMENT, SMALL_BASE) } else { (SHARED_SEGMENT, 0) };
        let from = (address - base).next_multiple_of(page) + base;
        let until = (address + size - base) / page * page + base;
        if from >= until {
            return;
        }
        self.pull(place);
        let mut middle = place;
        if from > address {
            middle = self.cut(place, from - address);
            self.put(place);
            self.pull(middle);
        }
        if until < address + size {
            self.cut(middle, until - from);
        }
        self.blocks[middle].state = State::Unmapped;
        self.device.give_back(from, until - from);
        self.device.held.calls += u32::try_from((until - from) / page).unwrap_or(u32::MAX).saturating_sub(1);
        self.join_neighbours(middle);
    }

    fn add(&mut self, block: Block) -> Place {
        let place = self.unused.pop().unwrap_or(self.blocks.len());
        if place == self.blocks.len() {
            self.blocks.push(block);
        } else {
            self.blocks[place] = block;
        }
        self.put(place);
        place
    }

    /// Puts a block where it is found.
    fn put(&mut self, place: Place) {
        let block = self.blocks[place];
        match block.state {
            State::Free => self.free[usize::from(block.small)].insert((block.size, block.address, place)),
            State::Unmapped => self.unmapped[usize::from(block.small)].insert((block.address, place)),
            State::Used => false,
        };
    }

    fn pull(&mut self, place: Place) {
        let block = self.blocks[place];
        self.free[usize::from(block.small)].remove(&(block.size, block.address, place));
        self.unmapped[usize::from(block.small)].remove(&(block.address, place));
    }

    /// Leaves a block its first `size` bytes; the rest becomes a block of the same state behind it.
    fn cut(&mut self, place: Place, size: u64) -> Place {
        let whole = self.blocks[place];
        let (address, rest) = (whole.address + size, whole.size - size);
        let behind = self.add(Block { address, size: rest, before: Some(place), ..whole });
        if let Some(next) = whole.behind {
            self.blocks[next].before = Some(behind);
        }
        (self.blocks[place].size, self.blocks[place].behind) = (size, Some(behind));
        behind
    }

    /// Uses the first `size` bytes of a free block; the rest stays free where it is worth it.
    fn take(&mut self, place: Place, size: u64) {
        self.pull(place);
        let whole = self.blocks[place];
        let rest = whole.size - size;
        let least = if whole.small || self.expandable { ROUNDING } else { SMALL + 1 };
        if rest >= least {
            self.cut(place, size);
        }
        self.blocks[place].state = State::Used;
        self.used.insert(whole.address, place);
    }

    /// Joins a block with neighbours of its state, and puts the result where it is found.
    fn join_neighbours(&mut self, place: Place) -> Place {
        let state = self.blocks[place].state;
        let alike = |allocator: &Self, other: &Place| allocator.blocks[*other].state == state;
        let mut start = place;
        self.pull(place);
        if let Some(before) = self.blocks[place].before.filter(|before| alike(self, before)) {
            self.pull(before);
            self.join(before, place);
            start = before;
        }
        if let Some(behind) = self.blocks[start].behind.filter(|behind| alike(self, behind)) {
            self.pull(behind);
            self.join(start, behind);
        }
        self.put(start);
        start
    }

    fn join(&mut self, first: Place, second: Place) {
        let Block { size, behind, .. } = self.blocks[second];
        self.blocks[first].size += size;
        self.blocks[first].behind = behind;
        if let Some(next) = behind {
            self.blocks[next].before = Some(first);
        }
        self.unused.push(second);
    }
}

impl Allocator for Caching {
    fn allocate(&mut self, bytes: u64) -> Option<u64> {
        let size = bytes.next_multiple_of(ROUNDING).max(ROUNDING);
        let small = size <= SMALL;
        let place = match self.fitting(size, small).or_else(|| self.grow(size, small)) {
            Some(place) => place,
            None if self.release() => self.grow(size, small)?,
            None => return None,
        };
        self.take(place, size);
        self.device.held.allocated += Bytes(self.blocks[place].size);
        Some(self.blocks[place].address)
    }

    fn free(&mut self, address: u64) {
        let Some(place) = self.used.remove(&address) else { return };
        self.device.held.allocated -= Bytes(self.blocks[place].size);
        self.blocks[place].state = State::Free;
        self.join_neighbours(place);
    }

    fn held(&self) -> Held {
        self.device.held
    }

    fn largest_free(&self) -> Bytes {
        let largest = |free: &BTreeSet<(u64, u64, Place)>| free.last().map_or(0, |&(size, ..)| size);
        Bytes(self.free.iter().map(largest).max().unwrap_or(0))
    }

    fn mappings(&mut self) -> Vec<Mapping> {
        std::mem::take(&mut self.device.mappings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn caching() -> Caching {
        Caching::new(false, None)
    }

    fn ask(allocator: &mut Caching, bytes: u64) -> u64 {
        allocator.allocate(bytes).expect("there is room")
    }

    #[test]
    fn small_blocks_share_a_segment_and_large_ones_have_their_own() {
        let mut pool = caching();
        (0..4).for_each(|_| {
            ask(&mut pool, 1000);
        });
        assert_eq!((pool.held().reserved, pool.held().segments), (Bytes(2 * MB), 1), "small ones");
        assert_eq!(pool.held().allocated, Bytes(4 * 1024), "rounded to 512 B");
        ask(&mut pool, 3 * MB);
        assert_eq!(pool.held().reserved, Bytes(22 * MB), "below 10 MB");
        ask(&mut pool, 17 * MB);
        assert_eq!(pool.held().reserved, Bytes(22 * MB), "what is left of a shared segment is large enough");
        ask(&mut pool, 11 * MB);
        assert_eq!(pool.held().reserved, Bytes(34 * MB), "rounded to 2 MB");
    }

    #[test]
    fn what_is_freed_is_joined_and_taken_again() {
        let mut pool = caching();
        let [first, second, third] = [6, 6, 6].map(|size| ask(&mut pool, size * MB));
        assert_eq!(pool.held().reserved, Bytes(20 * MB), "three blocks of one segment");
        [first, third, second].into_iter().for_each(|address| pool.free(address));
        assert_eq!(ask(&mut pool, 18 * MB), first, "all of it is one block again");
        assert_eq!(pool.held().reserved, Bytes(20 * MB));
    }

    #[test]
    fn holes_that_are_too_small_are_fragmentation_and_expandable_segments_have_none() {
        for (expandable, reserved) in [(false, 68), (true, 80)] {
            let mut pool = Caching::new(expandable, None);
            let blocks: Vec<u64> = (0..4).map(|_| ask(&mut pool, 12 * MB)).collect();
            blocks.iter().step_by(2).for_each(|&address| pool.free(address));
            ask(&mut pool, 20 * MB);
            assert_eq!(pool.held().reserved, Bytes(reserved * MB), "neither hole is large enough");
        }
        // Where what is free lies at the end, it grows instead of being passed over.
        for (expandable, reserved) in [(false, 12 + 12 + 20), (true, 40)] {
            let mut pool = Caching::new(expandable, None);
            let blocks = [12, 12].map(|size| ask(&mut pool, size * MB));
            pool.free(blocks[1]);
            ask(&mut pool, 20 * MB);
            assert_eq!(pool.held().reserved, Bytes(reserved * MB));
        }
    }

    #[test]
    fn a_full_device_gives_back_what_is_wholly_free() {
        for expandable in [false, true] {
            let mut pool = Caching::new(expandable, Some(Bytes(100 * MB)));
            let blocks = [40, 40].map(|size| ask(&mut pool, size * MB));
            pool.free(blocks[0]);
            assert_eq!(pool.allocate(61 * MB), None, "60 MB are left");
            assert!(pool.allocate(60 * MB).is_some(), "expandable: {expandable}");
            assert_eq!(pool.held().reserved, Bytes(100 * MB));
            assert_eq!(pool.allocate(512), None);
        }
    }

    #[test]
    fn a_hole_that_is_a_part_of_a_segment_is_lost_unless_segments_are_expandable() {
        for (expandable, fits) in [(false, false), (true, true)] {
            let mut pool = Caching::new(expandable, Some(Bytes(100 * MB)));
            let whole = ask(&mut pool, 80 * MB);
            pool.free(whole);
            ask(&mut pool, 20 * MB);
            let second = ask(&mut pool, 60 * MB);
            ask(&mut pool, 10 * MB);
            pool.free(second);
            // 60 MB of the first segment are free, and 10 MB beyond it.
            assert_eq!(pool.allocate(70 * MB).is_some(), fits);
        }
    }
}
