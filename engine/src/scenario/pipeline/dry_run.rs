//! Whether a schedule can be kept, and how long it takes where passes have given lengths and nothing else costs time.

use super::{Layout, Pass, Slot};

/// Durations of the passes of one chunk, in any unit.
#[derive(Clone, Copy, Debug)]
pub struct Durations {
    /// Of a forward.
    pub forward: u64,
    /// Of a backward.
    pub backward: u64,
    /// Of the gradients of the weights, where they have slots of their own.
    pub weight: u64,
}

/// Why a schedule cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The first stage that waits forever.
    pub stage: usize,
    /// The slot it waits in.
    pub slot: Slot,
}

/// Plays a schedule without communication; returns when each stage ends, or where it is stuck.
///
/// A forward needs that of the virtual stage before, a backward that of the one after and its own forward, and the
/// gradients of the weights their backward.
pub fn dry_run(slots: &[Vec<Slot>], layout: Layout, m: u32, durations: Durations) -> Result<Vec<u64>, Stuck> {
    let mut play = DryRun::new(slots.len(), layout, m, durations);
    loop {
        let mut moved = false;
        for (stage, slots) in slots.iter().enumerate() {
            while let Some(&slot) = slots.get(play.at[stage])
                && play.step(stage, slot)
            {
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    match slots.iter().enumerate().find_map(|(stage, slots)| Some((stage, *slots.get(play.at[stage])?))) {
        Some((stage, slot)) => Err(Stuck { stage, slot }),
        None => Ok(play.free),
    }
}

struct DryRun {
    layout: Layout,
    m: u32,
    durations: Durations,
    /// Next slot of each stage.
    at: Vec<usize>,
    /// When each stage is free.
    free: Vec<u64>,
    /// When forward and backward of each virtual stage and micro-batch ended.
    ended: [Vec<Option<u64>>; 2],
}

impl DryRun {
    fn new(stages: usize, layout: Layout, m: u32, durations: Durations) -> Self {
        let none = vec![None; (layout.depth() * m) as usize];
        Self { layout, m, durations, at: vec![0; stages], free: vec![0; stages], ended: [none.clone(), none] }
    }

    fn ended(&self, pass: Pass, depth: u32, micro_batch: u32) -> Option<u64> {
        self.ended[pass as usize].get((depth * self.m + micro_batch) as usize).copied().flatten()
    }

    /// When everything that a slot needs is there; `None` if it is not yet known.
    fn ready(&self, slot: Slot, depth: u32) -> Option<u64> {
        let ended = |pass, depth| self.ended(pass, depth, slot.micro_batch);
        match slot.pass {
            Pass::Forward if depth.is_multiple_of(self.layout.length()) => Some(0),
            Pass::Forward => ended(Pass::Forward, depth - 1),
            Pass::Backward if (depth + 1).is_multiple_of(self.layout.length()) => ended(Pass::Forward, depth),
            Pass::Backward => Some(ended(Pass::Forward, depth)?.max(ended(Pass::Backward, depth + 1)?)),
            Pass::Weight => ended(Pass::Backward, depth),
        }
    }

    fn step(&mut self, stage: usize, slot: Slot) -> bool {
        let depth = self.layout.depth_of(u32::try_from(stage).unwrap_or(u32::MAX), slot.chunk);
        let Some(ready) = self.ready(slot, depth) else { return false };
        let duration = match slot.pass {
            Pass::Forward => self.durations.forward,
            Pass::Backward => self.durations.backward,
            Pass::Weight => self.durations.weight,
        };
        let end = ready.max(self.free[stage]) + duration;
        self.free[stage] = end;
        self.at[stage] += 1;
        if let Some(ended) = self.ended.get_mut(slot.pass as usize) {
            ended[(depth * self.m + slot.micro_batch) as usize] = Some(end);
        }
        true
    }
}
