//! What a caching allocator makes of a stage's memory plan: how much it reserves, and how much of that lies between what
//! is in use.
//!
//! The rules are those of PyTorch's CUDA allocator (its `CUDACachingAllocator`, defaults): sizes are rounded to 512 B;
//! small blocks share segments of 2 MB, blocks below 10 MB segments of 20 MB, larger ones get segments of their own,
//! rounded to 2 MB; the smallest free block that is large enough is taken and split; neighbours that are free are joined;
//! a segment is kept when it is free.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::graph::passes::plan_memory::persistent;
use crate::graph::{StepGraph, TensorId};
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

/// Steps that are played: from the second on, what the first has left is used again.
const STEPS: u32 = 2;

/// What a caching allocator holds for a rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reserved {
    /// The most that is in use at once, as tensors are rounded.
    pub allocated: Bytes,
    /// What was taken from the device for it.
    pub reserved: Bytes,
    /// In how many segments.
    pub segments: u32,
}

impl Reserved {
    /// The share of what is reserved that is unused even when most is in use.
    pub fn fragmentation(&self) -> f64 {
        1.0 - self.allocated.as_f64() / self.reserved.as_f64().max(1.0)
    }
}

/// Plays the allocations of a rank of `stage` for some steps.
pub fn reserved(step: &StepGraph, stage: u32) -> Reserved {
    let Some(program) = step.stages.get(stage as usize) else { return Reserved::default() };
    let mut pool = Pool::default();
    for id in persistent(step, program) {
        pool.allocate(step.tensor(id).bytes().0);
    }
    let mut alive: FxHashMap<TensorId, Vec<(Option<u32>, usize)>> = FxHashMap::default();
    for &task in (0..STEPS).flat_map(|_| &program.tasks) {
        let memory = &program.segment(task).memory;
        for (births, deaths) in memory.allocates.iter().zip(&memory.frees) {
            for &id in births {
                let block = pool.allocate(step.tensor(id).bytes().0);
                alive.entry(id).or_default().push((task.micro_batch, block));
            }
            for id in deaths {
                let blocks = alive.entry(*id).or_default();
                let own = blocks.iter().position(|(micro_batch, _)| *micro_batch == task.micro_batch);
                if let Some((_, block)) = own.or(blocks.len().checked_sub(1)).map(|place| blocks.swap_remove(place)) {
                    pool.free(block);
                }
            }
        }
    }
    pool.held
}

/// A part of a segment.
#[derive(Clone, Copy)]
struct Block {
    size: u64,
    small: bool,
    free: bool,
    /// The blocks before and behind it in its segment.
    before: Option<usize>,
    behind: Option<usize>,
}

#[derive(Default)]
struct Pool {
    blocks: Vec<Block>,
    /// Places in `blocks` of those that were joined with others.
    unused: Vec<usize>,
    /// Free blocks by size: large and small ones.
    free: [BTreeSet<(u64, usize)>; 2],
    now: u64,
    held: Reserved,
}

impl Pool {
    /// The block in which `bytes` are.
    fn allocate(&mut self, bytes: u64) -> usize {
        let size = bytes.next_multiple_of(ROUNDING).max(ROUNDING);
        let small = size <= SMALL;
        let found = self.free[usize::from(small)].range((size, 0)..).next().copied();
        let block = match found {
            Some((_, block)) => block,
            None => self.segment(size, small),
        };
        self.take(block, size);
        self.now += self.blocks[block].size;
        self.held.allocated = self.held.allocated.max(Bytes(self.now));
        block
    }

    /// A free block that is a segment of its own.
    fn segment(&mut self, size: u64, small: bool) -> usize {
        let length = match size {
            _ if small => SMALL_SEGMENT,
            _ if size < OWN_SEGMENT => SHARED_SEGMENT,
            _ => size.next_multiple_of(SEGMENT_ROUNDING),
        };
        self.held.reserved += Bytes(length);
        self.held.segments += 1;
        self.add(Block { size: length, small, free: true, before: None, behind: None })
    }

    fn add(&mut self, block: Block) -> usize {
        let place = self.unused.pop().unwrap_or(self.blocks.len());
        if place == self.blocks.len() {
            self.blocks.push(block);
        } else {
            self.blocks[place] = block;
        }
        self.put(place);
        place
    }

    /// Puts a free block where it is found.
    fn put(&mut self, place: usize) {
        let block = self.blocks[place];
        self.free[usize::from(block.small)].insert((block.size, place));
    }

    fn pull(&mut self, place: usize) {
        let block = self.blocks[place];
        self.free[usize::from(block.small)].remove(&(block.size, place));
    }

    /// Uses the first `size` bytes of a free block; the rest stays free where it is worth it.
    fn take(&mut self, place: usize, size: u64) {
        self.pull(place);
        let whole = self.blocks[place];
        let rest = whole.size - size;
        let least = if whole.small { ROUNDING } else { SMALL + 1 };
        self.blocks[place].free = false;
        if rest < least {
            return;
        }
        let behind = self.add(Block { size: rest, before: Some(place), ..whole });
        if let Some(next) = whole.behind {
            self.blocks[next].before = Some(behind);
        }
        (self.blocks[place].size, self.blocks[place].behind) = (size, Some(behind));
    }

    /// Frees a block and joins it with what is free beside it.
    fn free(&mut self, place: usize) {
        self.now -= self.blocks[place].size;
        self.blocks[place].free = true;
        let mut start = place;
        if let Some(before) = self.blocks[place].before.filter(|&before| self.blocks[before].free) {
            self.pull(before);
            self.join(before, place);
            start = before;
        }
        if let Some(behind) = self.blocks[start].behind.filter(|&behind| self.blocks[behind].free) {
            self.pull(behind);
            self.join(start, behind);
        }
        self.put(start);
    }

    fn join(&mut self, first: usize, second: usize) {
        let Block { size, behind, .. } = self.blocks[second];
        self.blocks[first].size += size;
        self.blocks[first].behind = behind;
        if let Some(next) = behind {
            self.blocks[next].before = Some(first);
        }
        self.unused.push(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    #[test]
    fn small_blocks_share_a_segment_and_large_ones_have_their_own() {
        let mut pool = Pool::default();
        (0..4).for_each(|_| {
            pool.allocate(1000);
        });
        assert_eq!((pool.held.reserved, pool.held.segments), (Bytes(2 * MB), 1), "small ones");
        assert_eq!(pool.held.allocated, Bytes(4 * 1024), "rounded to 512 B");
        pool.allocate(3 * MB);
        assert_eq!(pool.held.reserved, Bytes(22 * MB), "below 10 MB");
        pool.allocate(17 * MB);
        assert_eq!(pool.held.reserved, Bytes(22 * MB), "what is left of a shared segment is large enough");
        pool.allocate(11 * MB);
        assert_eq!(pool.held.reserved, Bytes(34 * MB), "rounded to 2 MB");
    }

    #[test]
    fn what_is_freed_is_joined_and_taken_again() {
        let mut pool = Pool::default();
        let [first, second, third] = [6, 6, 6].map(|size| pool.allocate(size * MB));
        assert_eq!(pool.held.reserved, Bytes(20 * MB), "three blocks of one segment");
        [first, third, second].into_iter().for_each(|block| pool.free(block));
        pool.allocate(18 * MB);
        assert_eq!(pool.held.reserved, Bytes(20 * MB), "all of it is one block again");
        assert_eq!(pool.held.allocated, Bytes(18 * MB));
    }

    #[test]
    fn holes_that_are_too_small_are_fragmentation() {
        let mut pool = Pool::default();
        let blocks: Vec<usize> = (0..4).map(|_| pool.allocate(12 * MB)).collect();
        blocks.iter().step_by(2).for_each(|&block| pool.free(block));
        pool.allocate(20 * MB);
        assert_eq!(pool.held.reserved, Bytes(68 * MB), "neither hole is large enough");
    }
}
