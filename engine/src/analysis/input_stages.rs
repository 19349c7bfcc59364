//! What each stage on the way of samples does with its time, from storage to the step.

use serde::Serialize;

use super::input::InputReport;
use crate::sim::cache::Tier;
use crate::sim::input::InputBound;
use crate::units::{Bytes, BytesPerSec, Nanos};

/// A stage on the way of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InputStage {
    /// Servers that look up and open files.
    Metadata,
    /// Storage.
    Storage,
    /// Caches of other nodes.
    Remote,
    /// The cache on the drives of the node that reads.
    Drives,
    /// The cache of the node that reads.
    Local,
    /// Workers that wait for what they read.
    Read,
    /// Workers that decode.
    Decode,
    /// Workers that put batches together.
    Assemble,
    /// The way from nodes beside the cluster.
    Network,
    /// The copy to the device.
    Copy,
    /// The step.
    Step,
}

impl InputStage {
    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Storage => "storage",
            Self::Remote => "remote",
            Self::Drives => "drives",
            Self::Local => "local",
            Self::Read => "read",
            Self::Decode => "decode",
            Self::Assemble => "assemble",
            Self::Network => "network",
            Self::Copy => "copy",
            Self::Step => "step",
        }
    }
}

/// How busy a stage is, of a replica's share of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StageUse {
    /// Which.
    pub stage: InputStage,
    /// The part of the time in which it does something; of workers the part of all of theirs.
    pub busy: f64,
    /// Bytes that go through it in a second; none where bytes say nothing.
    pub rate: Option<BytesPerSec>,
    /// Whether the step waits for it.
    pub is_bound: bool,
}

impl InputReport {
    /// The stages that this way has, in order.
    pub fn stages(&self) -> Vec<StageUse> {
        let (run, loader) = (&self.run, &self.loader);
        let time = run.time.secs().max(1e-12);
        let part = |busy: Nanos| (busy.secs() / time).min(1.0);
        let of_workers = |busy: Nanos| (busy.secs() / (time * f64::from(loader.workers.max(1)))).min(1.0);
        let batches = run.steps.len() as f64;
        let batch = loader.decoded.as_f64() * f64::from(loader.batch);
        let decoded = BytesPerSec(batch * batches / time);
        let tier = |tier: Tier, stage| {
            let busy = part(run.busy[tier as usize]);
            (stage, busy, Some(BytesPerSec(loader.tiers[tier as usize].bandwidth.0 * busy)))
        };
        let copying = Nanos::from_secs(batch / loader.copy.0 * batches);
        let mut stages = vec![(InputStage::Metadata, part(run.opening), None)];
        stages.push(tier(Tier::Storage, InputStage::Storage));
        stages.push(tier(Tier::Remote, InputStage::Remote));
        stages.push(tier(Tier::Drives, InputStage::Drives));
        stages.push(tier(Tier::Local, InputStage::Local));
        stages.push((InputStage::Read, of_workers(run.workers.reading), None));
        stages.push((InputStage::Decode, of_workers(run.workers.decoding), None));
        stages.push((InputStage::Assemble, of_workers(run.workers.assembling), Some(decoded)));
        stages.push((InputStage::Network, part(run.sending), Some(decoded)));
        stages.push((InputStage::Copy, part(copying), Some(decoded)));
        stages.push((InputStage::Step, self.compute.secs() / self.step_time().secs().max(1e-12), None));
        let bound = bound(run.bound);
        let of = |(stage, busy, rate)| StageUse { stage, busy, rate, is_bound: bound == Some(stage) };
        stages.into_iter().filter(|&(stage, busy, _)| self.has(stage, busy)).map(of).collect()
    }

    /// Whether this way has a stage; caches that serve nothing are left out.
    fn has(&self, stage: InputStage, busy: f64) -> bool {
        match stage {
            InputStage::Metadata => self.loader.opening.time > Nanos::ZERO && self.loader.opening.files > 0.0,
            InputStage::Remote | InputStage::Drives | InputStage::Local => busy > 0.0,
            InputStage::Network => self.loader.network.is_some(),
            InputStage::Copy => self.loader.decoded > Bytes::ZERO,
            _ => true,
        }
    }
}

/// The stage that is named as what a step waits for.
fn bound(bound: InputBound) -> Option<InputStage> {
    Some(match bound {
        InputBound::None => return None,
        InputBound::Decode => InputStage::Decode,
        InputBound::Bandwidth(Tier::Local) => InputStage::Local,
        InputBound::Bandwidth(Tier::Drives) => InputStage::Drives,
        InputBound::Bandwidth(Tier::Remote) => InputStage::Remote,
        InputBound::Bandwidth(Tier::Storage) => InputStage::Storage,
        InputBound::Metadata => InputStage::Metadata,
        InputBound::Network => InputStage::Network,
        InputBound::Latency => InputStage::Read,
        InputBound::Copy => InputStage::Copy,
    })
}
