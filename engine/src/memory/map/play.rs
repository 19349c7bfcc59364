//! A course on an allocator that hands out addresses while a step runs.

use std::collections::BTreeMap;

use super::{Block, Failure, MemoryMap, Region, finished};
use crate::memory::allocators::Allocator;
use crate::memory::{Course, ValueId};
use crate::units::Bytes;

/// Steps that are played: from the second on, what the first has left is used again.
const STEPS: usize = 2;

/// Nothing, or the request for which there was no room. It holds much, and there is one for a run.
type Played = Result<(), Box<Failure>>;

/// A step that is played on an allocator of addresses.
struct Player<'a> {
    course: &'a Course,
    allocator: &'a mut dyn Allocator,
    map: MemoryMap,
    step: usize,
    op: usize,
    /// Where what is alive lies, and since when.
    alive: BTreeMap<ValueId, (u64, usize)>,
    /// What the allocator holds: length, and since when, by address.
    held: BTreeMap<u64, (u64, usize)>,
}

pub(super) fn play(course: &Course, allocator: &mut dyn Allocator) -> MemoryMap {
    let map = MemoryMap { ops: course.moments.len(), ..MemoryMap::default() };
    let (alive, held) = (BTreeMap::new(), BTreeMap::new());
    let mut player = Player { course, allocator, map, step: 0, op: 0, alive, held };
    let done = player.steps();
    player.finish(done.err().map(|failure| *failure))
}

impl Player<'_> {
    fn steps(&mut self) -> Played {
        for value in (0..self.course.values.len()).take_while(|&value| self.course.values[value].persistent) {
            self.born(value)?;
        }
        for step in 0..STEPS {
            self.begin(step);
            for op in 0..self.course.moments.len() {
                self.op = op;
                self.moment()?;
            }
            let before = if step == 0 { 0 } else { self.map.calls };
            let calls = self.allocator.held().calls;
            if step == 0 { self.map.calls = calls } else { self.map.later_calls = calls - before }
        }
        Ok(())
    }

    /// What lies there from the step before lies there from its first op on.
    fn begin(&mut self, step: usize) {
        self.step = step;
        self.map.blocks.clear();
        self.map.regions.clear();
        self.alive.values_mut().for_each(|(_, since)| *since = 0);
        self.held.values_mut().for_each(|(_, since)| *since = 0);
    }

    fn moment(&mut self) -> Played {
        let course = self.course;
        let moment = &course.moments[self.op];
        for &value in &moment.born {
            self.born(value)?;
        }
        for &value in &moment.dies {
            if let Some((address, from)) = self.alive.remove(&value) {
                self.allocator.free(address);
                self.block(value, address, from, self.op + 1);
            }
        }
        Ok(())
    }

    fn born(&mut self, value: ValueId) -> Played {
        let asked = self.course.values[value].bytes;
        let given = self.allocator.allocate(asked.0);
        self.note_mappings();
        let held = self.allocator.held();
        let Some(address) = given else {
            let (step, op, largest_free) = (self.step, self.op, self.allocator.largest_free());
            return Err(Box::new(Failure {
                step,
                op,
                value: Some(value),
                at_a_time: false,
                asked,
                held,
                largest_free,
            }));
        };
        self.alive.insert(value, (address, self.op));
        self.map.allocated = self.map.allocated.max(held.allocated);
        self.map.reserved = self.map.reserved.max(held.reserved);
        Ok(())
    }

    fn note_mappings(&mut self) {
        for mapping in self.allocator.mappings() {
            if mapping.taken {
                self.held.insert(mapping.address, (mapping.bytes, self.op));
            } else {
                self.unmap(mapping.address, mapping.address + mapping.bytes);
            }
        }
    }

    /// Addresses that are given back may be a part of what was taken at once, or of several.
    fn unmap(&mut self, from: u64, until: u64) {
        let inside = self.held.range(..until).filter(|&(&address, &(bytes, _))| address + bytes > from);
        let touched: Vec<(u64, (u64, usize))> = inside.map(|(&address, &held)| (address, held)).collect();
        for (address, (bytes, since)) in touched {
            self.held.remove(&address);
            let (first, last) = (address.max(from), (address + bytes).min(until));
            self.region(first, last - first, since, self.op);
            for (start, end) in [(address, first), (last, address + bytes)] {
                if end > start {
                    self.held.insert(start, (end - start, since));
                }
            }
        }
    }

    fn block(&mut self, value: ValueId, address: u64, from: usize, until: usize) {
        let bytes = self.course.values[value].bytes;
        self.map.blocks.push(Block { value, address, bytes, from, until });
    }

    fn region(&mut self, address: u64, bytes: u64, from: usize, until: usize) {
        if until > from {
            self.map.regions.push(Region { address, bytes: Bytes(bytes), from, until });
        }
    }

    fn finish(mut self, failure: Option<Failure>) -> MemoryMap {
        let end = if failure.is_some() { self.op + 1 } else { self.course.moments.len() };
        for (value, (address, from)) in std::mem::take(&mut self.alive) {
            self.block(value, address, from, end);
        }
        for (address, (bytes, from)) in std::mem::take(&mut self.held) {
            self.region(address, bytes, from, end);
        }
        self.map.segments = self.allocator.held().segments;
        self.map.failure = failure;
        finished(self.map)
    }
}
