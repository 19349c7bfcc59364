//! What a rank of a stage needs in a step and when: the lifetimes from which every policy plans.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::passes::plan_memory::{category, persistent};
use crate::graph::{Op, StepGraph, Task, TensorId};
use crate::scenario::Place;
use crate::trace::MemoryCategory;
use crate::units::Bytes;

/// A value of a rank: a tensor that owns memory, and the micro-batch unless it lives through the step.
pub type Key = (TensorId, Option<u32>);

/// An index into [`Course::values`].
pub type ValueId = usize;

/// Memory that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// Whose it is.
    pub key: Key,
    /// Its size.
    pub bytes: Bytes,
    /// As what it counts.
    pub category: MemoryCategory,
    /// Whether it lives from step to step.
    pub persistent: bool,
    /// The op before which it begins to live.
    pub first: usize,
    /// The op behind which it ends.
    pub last: usize,
}

/// What happens at an op.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// What begins to live.
    pub born: Vec<ValueId>,
    /// What the op reads or writes, and whether it writes.
    pub uses: BTreeMap<ValueId, bool>,
    /// What ends.
    pub dies: Vec<ValueId>,
}

/// A rank's step: its ops in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// All that is asked for; what lives from step to step comes first.
    pub values: Vec<Value>,
    /// One for every op.
    pub moments: Vec<Moment>,
}

impl Course {
    /// The course of a rank of a stage; `saved` is what lives from forward to backward.
    pub fn of(step: &StepGraph, stage: usize, saved: &BTreeSet<TensorId>) -> Self {
        Self::of_first(step, stage, saved, u32::MAX)
    }

    /// The same of the first micro-batches alone: where no more are in flight, the others repeat what they do.
    pub fn of_first(step: &StepGraph, stage: usize, saved: &BTreeSet<TensorId>, micro_batches: u32) -> Self {
        let mut course = Self::default();
        let mut alive: BTreeMap<Key, ValueId> = BTreeMap::new();
        for id in persistent(step, &step.stages[stage]) {
            course.begin(step, (id, None), category(step.tensor(id).role, false), &mut alive);
        }
        course.values.iter_mut().for_each(|value| value.persistent = true);
        let played = |task: &&Task| task.micro_batch.is_none_or(|number| number < micro_batches);
        for &task in step.stages[stage].tasks.iter().filter(played) {
            let segment = step.stages[stage].segment(task);
            for ((op, born), dies) in segment.ops().zip(&segment.memory.allocates).zip(&segment.memory.frees) {
                let mut moment = Moment::default();
                for &id in born {
                    let category = category(step.tensor(id).role, saved.contains(&id));
                    moment.born.push(course.begin(step, (id, task.micro_batch), category, &mut alive));
                }
                moment.uses = uses(step, task, op, &alive);
                for key in dies.iter().map(|&id| (id, task.micro_batch)) {
                    if let Some(value) = alive.remove(&key) {
                        course.values[value].last = course.moments.len();
                        moment.dies.push(value);
                    }
                }
                course.moments.push(moment);
            }
        }
        course
    }

    fn begin(
        &mut self,
        step: &StepGraph,
        key: Key,
        category: MemoryCategory,
        alive: &mut BTreeMap<Key, ValueId>,
    ) -> ValueId {
        let (bytes, first) = (step.tensor(key.0).allocated(), self.moments.len());
        self.values.push(Value { key, bytes, category, persistent: false, first, last: usize::MAX });
        alive.insert(key, self.values.len() - 1);
        self.values.len() - 1
    }

    /// The least that buffers of the device can take, however values are moved: the `k`-th largest buffer holds the `k`-th
    /// largest value of any op (the positional maximum of Pisarchyk & Lee 2020).
    pub fn largest_by_position(&self) -> Vec<Bytes> {
        let mut largest: Vec<Bytes> = Vec::new();
        for moment in &self.moments {
            for (position, value) in self.needed(moment).into_iter().enumerate() {
                let bytes = self.values[value].bytes;
                match largest.get_mut(position) {
                    Some(most) => *most = bytes.max(*most),
                    None => largest.push(bytes),
                }
            }
        }
        largest
    }

    /// What has to be on the device for an op, the largest first.
    pub fn needed(&self, moment: &Moment) -> Vec<ValueId> {
        let mut needed: BTreeSet<ValueId> = moment.uses.keys().copied().collect();
        needed.extend(&moment.born);
        let mut needed: Vec<ValueId> = needed.into_iter().collect();
        needed.sort_by_key(|&value| (std::cmp::Reverse(self.values[value].bytes), value));
        needed
    }
}

/// What an op mentions of the device's memory.
fn uses(step: &StepGraph, task: Task, op: &Op, alive: &BTreeMap<Key, ValueId>) -> BTreeMap<ValueId, bool> {
    let mut uses = BTreeMap::new();
    let reads = op.reads.iter().map(|id| (id, false));
    for (&id, writes) in reads.chain(op.writes.iter().map(|id| (id, true))) {
        let root = step.storage_of(id);
        let value = alive.get(&(root, task.micro_batch)).or_else(|| alive.get(&(root, None)));
        if let Some(&value) = value.filter(|_| step.tensor(root).place == Place::Device) {
            *uses.entry(value).or_insert(false) |= writes;
        }
    }
    uses
}
