//! Pipeline schedules: the order in which every stage works through its micro-batches.
//!
//! A pipeline of `stages` ranks has `chunks` model chunks on each: virtual stages, along which a micro-batch goes.
//! A schedule is a list of slots for each stage; it says nothing of times.

mod custom;
mod dry_run;
mod order;
#[cfg(test)]
mod tests;

use std::fmt;

pub use custom::{BadSlot, parse};
pub use dry_run::{Durations, Stuck, dry_run};
pub use order::slots;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A schedule by its name in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScheduleName {
    /// All forwards, then all backwards (Huang et al. 2019).
    #[serde(rename = "gpipe")]
    GPipe,
    /// One forward, one backward after a warm-up (Narayanan et al. 2021, "PipeDream-Flush").
    #[default]
    #[serde(rename = "1f1b")]
    OneFOneB,
    /// 1F1B over several model chunks on each stage (Narayanan et al. 2021, section 2.2).
    #[serde(rename = "interleaved")]
    Interleaved,
    /// Weight gradients fill the bubble, memory as in 1F1B (Qi et al. 2023).
    #[serde(rename = "zb-h1")]
    ZeroBubbleH1,
    /// Weight gradients fill the bubble, with twice the micro-batches of 1F1B in flight (Qi et al. 2023).
    #[serde(rename = "zb-h2")]
    ZeroBubbleH2,
    /// Weight gradients fill the bubble, two chunks in a V (Qi et al. 2024).
    #[serde(rename = "zb-v")]
    ZeroBubbleV,
    /// Micro-batches from both ends of a V, forward of one beside backward of another (DeepSeek-AI 2024, "DeepSeek-V3",
    /// section 3.2.1; its DualPipeV, which keeps one copy of the parameters).
    #[serde(rename = "dualpipe-v")]
    DualPipeV,
    /// Micro-batches from both ends of the pipeline through two copies of the model, forward of one beside backward of
    /// another (DeepSeek-AI 2024, "DeepSeek-V3", section 3.2.1).
    #[serde(rename = "dualpipe")]
    DualPipe,
    /// As `strategy.custom_schedule` says.
    #[serde(rename = "custom")]
    Custom,
}

impl ScheduleName {
    /// All names.
    pub const ALL: [Self; 9] = [
        Self::OneFOneB,
        Self::GPipe,
        Self::Interleaved,
        Self::ZeroBubbleH1,
        Self::ZeroBubbleH2,
        Self::ZeroBubbleV,
        Self::DualPipeV,
        Self::DualPipe,
        Self::Custom,
    ];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::GPipe => "gpipe",
            Self::OneFOneB => "1f1b",
            Self::Interleaved => "interleaved",
            Self::ZeroBubbleH1 => "zb-h1",
            Self::ZeroBubbleH2 => "zb-h2",
            Self::ZeroBubbleV => "zb-v",
            Self::DualPipeV => "dualpipe-v",
            Self::DualPipe => "dualpipe",
            Self::Custom => "custom",
        }
    }
}

/// Where the next virtual stage of a pipeline is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChunkLayout {
    /// On the next stage, from the last to the first.
    #[default]
    Loop,
    /// On the next stage, and from the last back again.
    V,
    /// As in a V, but what comes back is a second copy of the model with micro-batches of its own: half of them enter at
    /// the first stage, half at the last. Only `dualpipe` has it.
    #[serde(skip)]
    BothEnds,
}

/// Order of micro-batches in a pipeline, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PipelineSchedule {
    /// All forwards, then all backwards.
    GPipe,
    /// One forward, one backward after a warm-up.
    OneFOneB,
    /// 1F1B over several model chunks on each stage.
    Interleaved,
    /// Weight gradients fill the bubble, memory as in 1F1B.
    ZeroBubbleH1,
    /// Weight gradients fill the bubble, with twice the micro-batches in flight.
    ZeroBubbleH2,
    /// Weight gradients fill the bubble, two chunks in a V.
    ZeroBubbleV,
    /// Two chunks in a V, forward of one micro-batch beside backward of another.
    DualPipeV,
    /// Two copies of the model, with micro-batches from both ends.
    DualPipe,
    /// The slots of every stage.
    Custom {
        /// Of every stage, in order.
        slots: Vec<Vec<Slot>>,
        /// Where the next virtual stage is.
        layout: ChunkLayout,
    },
}

impl PipelineSchedule {
    /// Its name in files.
    pub fn name(&self) -> ScheduleName {
        match self {
            Self::GPipe => ScheduleName::GPipe,
            Self::OneFOneB => ScheduleName::OneFOneB,
            Self::Interleaved => ScheduleName::Interleaved,
            Self::ZeroBubbleH1 => ScheduleName::ZeroBubbleH1,
            Self::ZeroBubbleH2 => ScheduleName::ZeroBubbleH2,
            Self::ZeroBubbleV => ScheduleName::ZeroBubbleV,
            Self::DualPipeV => ScheduleName::DualPipeV,
            Self::DualPipe => ScheduleName::DualPipe,
            Self::Custom { .. } => ScheduleName::Custom,
        }
    }

    /// Where the next virtual stage is.
    pub fn layout(&self) -> ChunkLayout {
        match self {
            Self::ZeroBubbleV | Self::DualPipeV => ChunkLayout::V,
            Self::DualPipe => ChunkLayout::BothEnds,
            Self::Custom { layout, .. } => *layout,
            _ => ChunkLayout::Loop,
        }
    }

    /// Whether a backward and the forward behind it can run side by side: as long as no other schedule is asked for,
    /// the order then keeps one more micro-batch in flight.
    pub fn can_pair(&self) -> bool {
        matches!(self, Self::OneFOneB | Self::Interleaved | Self::DualPipeV | Self::DualPipe)
    }

    /// Whether gradients of the weights have slots of their own.
    pub fn splits_backward(&self) -> bool {
        match self {
            Self::ZeroBubbleH1 | Self::ZeroBubbleH2 | Self::ZeroBubbleV | Self::DualPipeV | Self::DualPipe => true,
            Self::Custom { slots, .. } => slots.iter().flatten().any(|slot| slot.pass == Pass::Weight),
            _ => false,
        }
    }
}

/// What a slot does with a micro-batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// Forward.
    Forward,
    /// Backward: of the whole, or of the inputs alone where weight gradients have slots of their own.
    Backward,
    /// Gradients of the weights.
    Weight,
}

/// One entry of a stage's schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Slot {
    /// What.
    pub pass: Pass,
    /// With which model chunk of the stage.
    pub chunk: u32,
    /// Of which micro-batch.
    pub micro_batch: u32,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.pass {
            Pass::Forward => 'F',
            Pass::Backward => 'B',
            Pass::Weight => 'W',
        };
        let chunk = if self.chunk == 0 { String::new() } else { format!(".{}", self.chunk) };
        write!(f, "{letter}{}{chunk}", self.micro_batch)
    }
}

/// How virtual stages lie on stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Stages: ranks along the pipeline.
    pub stages: u32,
    /// Model chunks on each.
    pub chunks: u32,
    /// Where the next virtual stage is.
    pub layout: ChunkLayout,
}

impl Layout {
    /// Virtual stages, of all copies of the model.
    pub fn depth(&self) -> u32 {
        self.stages * self.chunks
    }

    /// Copies of the model, each on all stages with micro-batches of its own.
    pub fn copies(&self) -> u32 {
        if self.layout == ChunkLayout::BothEnds { 2 } else { 1 }
    }

    /// Virtual stages that a micro-batch passes.
    pub fn length(&self) -> u32 {
        self.depth() / self.copies()
    }

    /// Of every virtual stage its first layer and how many it has, from the layers of those that a micro-batch passes.
    pub fn layers<'a>(&self, counts: &'a [u32]) -> impl Iterator<Item = (u32, u32, u32)> + use<'a> {
        let length = self.length();
        (0..self.copies()).flat_map(move |copy| {
            let mut first = 0;
            (0..).zip(counts).map(move |(depth, &count)| {
                first += count;
                (copy * length + depth, first - count, count)
            })
        })
    }

    /// Stage and chunk of a virtual stage.
    pub fn place(&self, depth: u32) -> (u32, u32) {
        let (chunk, along) = (depth / self.stages, depth % self.stages);
        let back = self.layout != ChunkLayout::Loop && chunk % 2 == 1;
        (if back { self.stages - 1 - along } else { along }, chunk)
    }

    /// The virtual stage of a chunk of a stage.
    pub fn depth_of(&self, stage: u32, chunk: u32) -> u32 {
        let back = self.layout != ChunkLayout::Loop && chunk % 2 == 1;
        chunk * self.stages + if back { self.stages - 1 - stage } else { stage }
    }
}
