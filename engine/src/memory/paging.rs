//! Paging to the host's memory under a budget.
//!
//! The buffers of the device are fixed for the step, since it is recorded once. As many as the ops need at least are there
//! from the start (see [`Course::largest_by_position`]); what the budget leaves over goes to values as they come. Where there
//! is no room, what is needed last makes some (Belady 1966, "A study of replacement algorithms"). Between steps everything
//! is where the step begins. A budget that has room for all is no reason to move anything.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::best_fit::Pool;
use super::course::{Course, ValueId};
use super::plan::{Move, Plan, Spot, Step};
use super::{BudgetTooSmall, reservation};
use crate::units::Bytes;

/// Steps that are planned one after the other.
const TRIES: usize = 4;

/// Plans for a budget, or for the least there can be.
///
/// # Errors
/// When the budget is below that.
pub fn plan(course: &Course, budget: Option<Bytes>) -> Result<Plan, BudgetTooSmall> {
    let least = course.largest_by_position();
    let needed = least.iter().copied().sum();
    let budget = budget.unwrap_or(needed);
    if budget < needed {
        return Err(BudgetTooSmall { needed, budget });
    }
    let all = reservation::plan(course);
    if all.reserved() <= budget {
        return Ok(all);
    }
    // What one step leaves on the device is there when the next begins. That need not come to rest: of some steps, the one
    // that moves least is taken.
    let mut before = Pager::new(course, budget, &least, &[]).run();
    let mut best: Option<(Bytes, Plan)> = None;
    for _ in 0..TRIES {
        let mut step = Pager::new(course, budget, &before.sizes(), &before.held());
        step.homes();
        before = step.run();
        let plan = before.clone().finish();
        let moved = plan.moved(course);
        if best.as_ref().is_none_or(|(least, _)| moved < *least) {
            best = Some((moved, plan));
        }
    }
    Ok(best.map(|(_, plan)| plan).unwrap_or_default())
}

/// Where a value is.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    buffer: Option<usize>,
    /// Its place outside the device, once it has one.
    away: Option<usize>,
    /// Whether what lies outside is out of date, or nothing does.
    dirty: bool,
    home: Option<Spot>,
}

/// A buffer of the device and the value in it.
#[derive(Clone, Copy, Debug)]
struct Frame {
    bytes: Bytes,
    holds: Option<ValueId>,
}

#[derive(Clone)]
struct Pager<'a> {
    course: &'a Course,
    budget: Bytes,
    frames: Vec<Frame>,
    states: Vec<State>,
    /// The ops that use each value, in order.
    uses: Vec<Vec<usize>>,
    outside: Pool<usize>,
    away: Vec<Bytes>,
    plan: Plan,
    step: Step,
}

impl<'a> Pager<'a> {
    fn new(course: &'a Course, budget: Bytes, sizes: &[Bytes], held: &[Option<ValueId>]) -> Self {
        let mut uses = vec![Vec::new(); course.values.len()];
        for (index, moment) in course.moments.iter().enumerate() {
            moment.uses.keys().for_each(|&value| uses[value].push(index));
        }
        let mut pager = Self {
            course,
            budget,
            frames: sizes.iter().map(|&bytes| Frame { bytes, holds: None }).collect(),
            states: vec![State { dirty: true, ..State::default() }; course.values.len()],
            uses,
            outside: Pool::default(),
            away: Vec::new(),
            plan: Plan::default(),
            step: Step::default(),
        };
        for (frame, value) in held.iter().enumerate().filter_map(|(frame, held)| Some((frame, (*held)?))) {
            pager.put(value, frame);
        }
        for value in (0..course.values.len()).filter(|&value| course.values[value].persistent) {
            if pager.states[value].buffer.is_none() {
                pager.place_away(value);
                pager.states[value].dirty = false;
            }
        }
        pager
    }

    /// Where everything is now is where it will be between steps.
    fn homes(&mut self) {
        for state in &mut self.states {
            state.home = state.buffer.map(Spot::Device).or(state.away.map(Spot::Away));
        }
    }

    fn run(mut self) -> Self {
        for index in 0..self.course.moments.len() {
            self.enter(index);
            self.leave(index);
        }
        self
    }

    /// Sizes of the buffers there are by now.
    fn sizes(&self) -> Vec<Bytes> {
        self.frames.iter().map(|frame| frame.bytes).collect()
    }

    /// What is in each of them that lives from step to step.
    fn held(&self) -> Vec<Option<ValueId>> {
        let lasts = |value: &ValueId| self.course.values[*value].persistent;
        self.frames.iter().map(|frame| frame.holds.filter(lasts)).collect()
    }

    /// Brings what an op needs to the device. The largest comes first: of the buffers in which the `k`-th largest fits there
    /// are at least `k`, so one is not taken yet.
    fn enter(&mut self, index: usize) {
        let moment = &self.course.moments[index];
        let needed = self.course.needed(moment);
        let mut taken = BTreeSet::new();
        for (position, &value) in needed.iter().enumerate() {
            let frame = match self.states[value].buffer {
                Some(frame) => frame,
                None => {
                    let frame = self.frame_for(value, index, &taken, &needed[position..]);
                    self.bring(value, frame, moment.born.contains(&value));
                    frame
                }
            };
            taken.insert(frame);
        }
        for (&value, &writes) in &moment.uses {
            self.states[value].dirty |= writes;
        }
        let mut step = std::mem::take(&mut self.step);
        step.reserved = self.frames.iter().map(|frame| frame.bytes).sum();
        self.plan.steps.push(step);
    }

    /// A buffer for a value: a free one, a new one, that of a value which is needed later than all others, or that of a
    /// smaller value which the op needs too and which has not had its turn.
    fn frame_for(&mut self, value: ValueId, now: usize, taken: &BTreeSet<usize>, waiting: &[ValueId]) -> usize {
        let bytes = self.course.values[value].bytes;
        let fits = |(index, frame): &(usize, &Frame)| frame.bytes >= bytes && !taken.contains(index);
        let fitting = || self.frames.iter().enumerate().filter(fits);
        let free = fitting().filter(|(_, frame)| frame.holds.is_none()).min_by_key(|(_, frame)| frame.bytes);
        if let Some((frame, _)) = free {
            return frame;
        }
        if self.frames.iter().map(|frame| frame.bytes).sum::<Bytes>() + bytes <= self.budget {
            self.frames.push(Frame { bytes, holds: None });
            return self.frames.len() - 1;
        }
        let rank = |&(index, frame): &(usize, &Frame)| {
            let held = frame.holds.unwrap_or(value);
            (!waiting.contains(&held), self.next_use(held, now), Reverse(frame.bytes), Reverse(index))
        };
        let frame = fitting().max_by_key(rank).map_or(0, |(frame, _)| frame);
        self.evict(frame);
        frame
    }

    /// When a value is needed again: in the next step, if it lives that long.
    fn next_use(&self, value: ValueId, now: usize) -> usize {
        let uses = &self.uses[value];
        let next = uses.partition_point(|&at| at <= now);
        let again = || uses.first().map_or(usize::MAX, |first| first + self.course.moments.len());
        uses.get(next).copied().unwrap_or_else(again)
    }

    fn put(&mut self, value: ValueId, frame: usize) {
        self.states[value].buffer = Some(frame);
        self.frames[frame].holds = Some(value);
    }

    fn bring(&mut self, value: ValueId, frame: usize, born: bool) {
        if born {
            self.step.born.push((value, frame));
            self.states[value].dirty = true;
        } else if let Some(away) = self.states[value].away {
            self.step.moves.push(Move { value, from: Spot::Away(away), to: Spot::Device(frame) });
            self.states[value].dirty = false;
        }
        self.put(value, frame);
    }

    /// Takes what a buffer holds off the device.
    fn evict(&mut self, frame: usize) {
        let Some(value) = self.frames[frame].holds.take() else { return };
        self.states[value].buffer = None;
        let away = self.place_away(value);
        if self.states[value].dirty {
            self.step.moves.push(Move { value, from: Spot::Device(frame), to: Spot::Away(away) });
            self.states[value].dirty = false;
        } else {
            self.step.dropped.push(value);
        }
    }

    /// A value's place outside the device; it keeps it as long as it lives.
    fn place_away(&mut self, value: ValueId) -> usize {
        if let Some(away) = self.states[value].away {
            return away;
        }
        let (asked, away) = (self.course.values[value], &mut self.away);
        let buffer = self.outside.allocate(asked.bytes, asked.category, |bytes| {
            away.push(bytes);
            away.len() - 1
        });
        self.states[value].away = Some(buffer);
        buffer
    }

    fn leave(&mut self, index: usize) {
        for &value in &self.course.moments[index].dies {
            let state = std::mem::take(&mut self.states[value]);
            if let Some(frame) = state.buffer {
                self.frames[frame].holds = None;
            }
            if let Some(away) = state.away {
                self.outside.free(away);
            }
        }
    }

    /// Everything goes where it was when the step began: first what is elsewhere leaves, then what is missing comes.
    fn finish(mut self) -> Plan {
        for frame in 0..self.frames.len() {
            let stays = self.frames[frame].holds.is_none_or(|held| self.states[held].home == Some(Spot::Device(frame)));
            if !stays {
                self.evict(frame);
            }
        }
        for value in 0..self.states.len() {
            if let (Some(Spot::Device(frame)), None) = (self.states[value].home, self.states[value].buffer) {
                self.bring(value, frame, false);
            }
        }
        let homes = self.course.values.iter().zip(&self.states).take_while(|(value, _)| value.persistent);
        self.plan.homes = homes.map(|(_, state)| state.home.unwrap_or(Spot::Device(0))).collect();
        self.plan.last = std::mem::take(&mut self.step);
        self.plan.buffers = self.frames.iter().map(|frame| frame.bytes).collect();
        self.plan.away = self.away;
        self.plan
    }
}
