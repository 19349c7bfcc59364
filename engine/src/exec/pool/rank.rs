//! The memory of one rank while its step is recorded: where everything is, and what was handed out.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::PoolStatistics;
use crate::exec::BufferId;
use crate::memory::{Course, Key, Plan, Spot, Step, Usage, ValueId};
use crate::units::Bytes;

/// Bytes that are copied between the device's memory and what stands for the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Whose they are.
    pub key: Key,
    /// How many.
    pub bytes: Bytes,
    /// Where they lie.
    pub from: BufferId,
    /// Where they shall lie.
    pub to: BufferId,
    /// Whether they leave the device.
    pub out: bool,
}

/// The buffers of one rank, and what is in them.
#[derive(Debug)]
pub struct RankMemory {
    course: Rc<Course>,
    plan: Rc<Plan>,
    buffers: Vec<BufferId>,
    away: Vec<BufferId>,
    /// What is on the device, and where.
    places: BTreeMap<Key, BufferId>,
    statistics: PoolStatistics,
    /// Ops that were entered.
    entered: usize,
}

impl RankMemory {
    /// Makes all buffers of a plan.
    pub fn new(course: Rc<Course>, plan: Rc<Plan>, mut create: impl FnMut(Bytes) -> BufferId) -> Self {
        let buffers = plan.buffers.iter().map(|&bytes| create(bytes)).collect();
        let away = plan.away.iter().map(|&bytes| create(bytes)).collect();
        let statistics = PoolStatistics {
            reserved: plan.buffers.iter().copied().sum(),
            away: plan.away.iter().copied().sum(),
            ..PoolStatistics::default()
        };
        let places = BTreeMap::new();
        let mut memory = Self { course, plan, buffers, away, places, statistics, entered: 0 };
        for (value, home) in memory.plan.homes.clone().into_iter().enumerate() {
            if let Spot::Device(buffer) = home {
                memory.put(value, buffer);
            }
        }
        memory.statistics.usage.note();
        memory
    }

    /// What happens before the next op; returns what has to be copied, in order.
    pub fn enter(&mut self) -> Vec<Page> {
        let plan = Rc::clone(&self.plan);
        let Some(step) = plan.steps.get(self.entered) else { return Vec::new() };
        let pages = self.apply(step);
        for &(value, buffer) in &step.born {
            self.put(value, buffer);
        }
        self.statistics.usage.note();
        self.entered += 1;
        pages
    }

    /// What happens behind the op that was entered last.
    pub fn leave(&mut self) {
        let course = Rc::clone(&self.course);
        let moment = self.entered.checked_sub(1).and_then(|index| course.moments.get(index));
        moment.into_iter().flat_map(|moment| &moment.dies).for_each(|&value| self.take(value));
    }

    /// What happens behind the last op, so that the next step finds everything where this one did.
    pub fn end(&mut self) -> Vec<Page> {
        let plan = Rc::clone(&self.plan);
        self.apply(&plan.last)
    }

    /// Where something lies on the device.
    pub fn place(&self, key: Key) -> Option<BufferId> {
        self.places.get(&key).copied()
    }

    /// Where everything that lives from step to step lies between steps, on the device or outside.
    pub fn homes(&self) -> impl Iterator<Item = (Key, BufferId)> {
        let home = |(value, &spot): (ValueId, &Spot)| (self.course.values[value].key, self.buffer(spot));
        self.plan.homes.iter().enumerate().map(home)
    }

    /// What it has handed out and moved so far.
    pub fn statistics(&self) -> PoolStatistics {
        self.statistics
    }

    /// What is in use on the device.
    pub fn usage(&self) -> &Usage {
        &self.statistics.usage
    }

    /// Bytes of the buffers that were needed so far.
    pub fn reserved(&self) -> Bytes {
        let last = self.entered.saturating_sub(1);
        self.plan.steps.get(last).map_or(self.statistics.reserved, |step| step.reserved)
    }

    fn apply(&mut self, step: &Step) -> Vec<Page> {
        step.dropped.iter().for_each(|&value| self.take(value));
        let mut pages = Vec::with_capacity(step.moves.len());
        for movement in &step.moves {
            let (from, to) = (self.buffer(movement.from), self.buffer(movement.to));
            let asked = self.course.values[movement.value];
            let out = matches!(movement.to, Spot::Away(_));
            match movement.to {
                Spot::Device(buffer) => self.put(movement.value, buffer),
                Spot::Away(_) => self.take(movement.value),
            }
            let traffic = if out { &mut self.statistics.out } else { &mut self.statistics.back };
            traffic.add(asked.bytes);
            pages.push(Page { key: asked.key, bytes: asked.bytes, from, to, out });
        }
        pages
    }

    fn buffer(&self, spot: Spot) -> BufferId {
        match spot {
            Spot::Device(buffer) => self.buffers[buffer],
            Spot::Away(buffer) => self.away[buffer],
        }
    }

    fn put(&mut self, value: ValueId, buffer: usize) {
        let asked = self.course.values[value];
        if self.places.insert(asked.key, self.buffers[buffer]).is_none() {
            self.statistics.usage.add(asked.category, asked.bytes);
        }
    }

    fn take(&mut self, value: ValueId) {
        let asked = self.course.values[value];
        if self.places.remove(&asked.key).is_some() {
            self.statistics.usage.remove(asked.category, asked.bytes);
        }
    }
}
