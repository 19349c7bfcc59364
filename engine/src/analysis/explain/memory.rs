//! What is in use when a stage is fullest, tensor by tensor.

use std::collections::BTreeMap;

use serde::Serialize;

use super::family;
use crate::graph::passes::plan_memory::{category, persistent, saved};
use crate::graph::{StepGraph, TensorId};
use crate::trace::MemoryCategory;
use crate::units::Bytes;

/// Tensors of one name and size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemoryLine {
    /// What they count as.
    pub category: MemoryCategory,
    /// Their name, with `*` for numbers.
    pub name: String,
    /// How many of them are there, over layers and micro-batches.
    pub count: u64,
    /// Bytes of one, as allocated.
    pub each: Bytes,
    /// Bytes of all.
    pub total: Bytes,
    /// Rows, columns and bytes of an element.
    pub formula: String,
}

/// The tensors of a rank of `stage` at its peak, the largest first.
pub fn memory_lines(step: &StepGraph, stage: u32) -> Vec<MemoryLine> {
    let program = &step.stages[stage as usize];
    let kept = saved(step, program);
    let mut lines: BTreeMap<(MemoryCategory, String, Bytes), MemoryLine> = BTreeMap::new();
    let mut add = |id: TensorId, count: u64| {
        let tensor = step.tensor(id);
        let (category, each) = (category(tensor.role, kept.contains(&id)), tensor.allocated());
        let name = family(&tensor.name);
        let new = || MemoryLine {
            category,
            name: name.clone(),
            count: 0,
            each,
            total: Bytes::ZERO,
            formula: format!("{} × {} × {} B", tensor.local.rows, tensor.local.cols, tensor.dtype.size()),
        };
        let line = lines.entry((category, name.clone(), each)).or_insert_with(new);
        line.count += count;
        line.total += each * count;
    };
    persistent(step, program).into_iter().for_each(|id| add(id, 1));
    at_peak(step, stage).into_iter().for_each(|(id, count)| add(id, count));
    let mut lines: Vec<MemoryLine> = lines.into_values().collect();
    lines.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.name.cmp(&b.name)));
    lines
}

/// How many of each tensor of a micro-batch are alive at the first moment at which their sum is largest.
fn at_peak(step: &StepGraph, stage: u32) -> BTreeMap<TensorId, u64> {
    let program = &step.stages[stage as usize];
    let (mut alive, mut peak): (BTreeMap<TensorId, u64>, _) = (BTreeMap::new(), BTreeMap::new());
    let (mut now, mut most) = (0_u64, 0_u64);
    for &task in &program.tasks {
        let memory = &program.segment(task).memory;
        for (births, deaths) in memory.allocates.iter().zip(&memory.frees) {
            for &id in births {
                *alive.entry(id).or_default() += 1;
                now += step.tensor(id).allocated().0;
            }
            if now > most {
                most = now;
                peak.clone_from(&alive);
            }
            for id in deaths {
                now = now.saturating_sub(step.tensor(*id).allocated().0);
                if let Some(count) = alive.get_mut(id) {
                    *count -= 1;
                    if *count == 0 {
                        alive.remove(id);
                    }
                }
            }
        }
    }
    peak
}
