//! Memory over time: the plan's allocations placed at the times at which ops start.

use crate::graph::{Stage, StepGraph, Task};
use crate::trace::{MemoryCurve, MemorySample, MemoryUse};
use crate::units::Nanos;

/// Up to this many op instances of a stage, every op is a sample; beyond, the start and the peak of every task.
const DETAILED_OPS: usize = 20_000;

/// Follows one class through its program.
pub struct MemoryRecorder<'a> {
    stage: u32,
    program: &'a Stage,
    detailed: bool,
    /// At the start of the current task.
    base: MemoryUse,
    last: Nanos,
    samples: Vec<MemorySample>,
}

impl<'a> MemoryRecorder<'a> {
    /// A recorder for a class of ranks of `stage`.
    pub fn new(step: &'a StepGraph, stage: usize) -> Self {
        let program = &step.stages[stage];
        let instances: usize = program.tasks.iter().map(|&task| program.segment(task).graph.node_count()).sum();
        let base = program.memory.persistent;
        Self {
            stage: u32::try_from(stage).unwrap_or(u32::MAX),
            program,
            detailed: instances <= DETAILED_OPS,
            base,
            last: Nanos::ZERO,
            samples: vec![MemorySample { at: Nanos::ZERO, used: base }],
        }
    }

    /// Notes that the `op`-th op of `task` has started.
    #[inline(always)]
    pub fn op(&mut self, task: Task, op: usize, start: Nanos) {
        // Streams run beside each other; the curve follows the program order, in which memory is planned.
        self.last = self.last.max(start);
        let profile = &self.program.segment(task).memory.profile;
        if self.detailed || op == 0 || op == profile.peak_op || op + 1 == profile.ops.len() {
            self.sample(task, op);
        }
    }

    fn sample(&mut self, task: Task, op: usize) {
        let profile = &self.program.segment(task).memory.profile;
        if self.detailed || op == 0 || op == profile.peak_op {
            let used = profile.ops[op].0.applied_to(self.base);
            push(&mut self.samples, MemorySample { at: self.last, used });
        }
        if op + 1 == profile.ops.len() {
            self.base = profile.end.applied_to(self.base);
        }
    }

    /// The curve.
    pub fn finish(mut self, group: u32) -> MemoryCurve {
        push(&mut self.samples, MemorySample { at: self.last, used: self.base });
        MemoryCurve { group, stage: self.stage, samples: self.samples }
    }
}

/// Leaves out samples that change nothing.
fn push(samples: &mut Vec<MemorySample>, sample: MemorySample) {
    if samples.last().is_none_or(|last| last.used != sample.used) {
        samples.push(sample);
    }
}
