//! The training loop: feeds batches, replays the recorded step, reads loss, times and gradients.

mod result;
mod resume;
mod times;
mod values;

pub use result::StepResult;

use std::collections::BTreeMap;

use web_time::Instant;

use crate::cluster::{Coordinates, RankId};
use crate::exec::calibrate::scopes_of_one;
use crate::exec::checkpoint::Made;
use crate::exec::cpu::binary_loss_grad::BinaryLossGradParams;
use crate::exec::cpu::class_sums_grad::ClassSumsGradParams;
use crate::exec::cpu::cross_entropy_grad::CrossEntropyGradParams;
use crate::exec::cpu::embedding_bag_update::EmbeddingBagUpdateParams;
use crate::exec::data::{Sample, Source};
use crate::exec::limits::within_limits;
use crate::exec::loss_scale::LossScale;
use crate::exec::record::{Recorded, record};
use crate::exec::{
    Backend, BackendInfo, BufferId, Calibration, Calibrator, ExecError, Kernel, PoolStatistics, Recording, Tuning,
    executable_graph,
};
use crate::graph::passes::forward::RANDOM_STATE;
use crate::graph::passes::optimize::HYPER_PARAMETERS;
use crate::graph::{Role, StepGraph, TensorId};
use crate::model::Architecture;
use crate::scenario::{Scenario, UpdateRule};
use crate::trace::{Label, Traffic};
use crate::units::{Bytes, Nanos};

/// AdamW's decay rates of the moments and its stabiliser (Kingma & Ba 2015; the rates of GPT-3).
const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.95;
const EPSILON: f64 = 1e-8;

/// A model in training, on ranks that share one device.
#[derive(Debug)]
pub struct Trainer {
    scenario: Scenario,
    step_graph: StepGraph,
    backend: Backend,
    recorded: Recorded,
    source: Source,
    /// What the next step reads, where it was brought from elsewhere.
    given: Option<Vec<Sample>>,
    labels: Vec<Label>,
    steps: u32,
    /// Steps that were not skipped.
    updates: u32,
    loss_scale: LossScale,
    /// The loss scale of the step that is recorded.
    recorded_scale: f64,
    /// Whether parameters were written since their copies outside the device were made.
    stale_masters: bool,
    /// What the run was trained with before, where it went on from a checkpoint that says so.
    resumed_from: Option<Made>,
    /// The recording without outer steps, where it is the one that is prepared.
    between: Option<Recording>,
}

impl Trainer {
    /// Lowers the scenario, creates all buffers, and writes the initial weights.
    pub async fn new(scenario: &Scenario, backend: Backend) -> Result<Self, ExecError> {
        Self::of_graph(scenario, executable_graph(scenario)?, backend).await
    }

    /// As [`Trainer::new`], of a graph that was lowered already; tests give it broken ones.
    pub async fn of_graph(scenario: &Scenario, step_graph: StepGraph, mut backend: Backend) -> Result<Self, ExecError> {
        within_limits(&step_graph, scenario)?;
        let mut recorded = record(&step_graph, scenario, &mut backend)?;
        Tuning::default().apply(&backend, &mut recorded.recording);
        let labels = labels(&step_graph, &recorded.pages);
        let mut trainer = Self {
            scenario: scenario.clone(),
            step_graph,
            backend,
            recorded,
            source: Source::of(scenario),
            given: None,
            labels,
            steps: 0,
            updates: 0,
            loss_scale: LossScale::new(scenario.strategy().precision),
            recorded_scale: 1.0,
            stale_masters: true,
            resumed_from: None,
            between: None,
        };
        trainer.write_parameters();
        trainer.write_factors();
        trainer.prepare_whole().await?;
        Ok(trainer)
    }

    /// Gives every kernel the fastest way that `tuning` knows; with `measure`, after measuring the shapes that it does not
    /// know. That overwrites activations and gradients, which every step does anyway.
    ///
    /// # Errors
    /// When a kernel cannot run, or `progress`, which is told how many of how many shapes are done, stops it.
    pub async fn tune(
        &mut self,
        tuning: &mut Tuning,
        measure: bool,
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<(), ExecError> {
        if measure {
            tuning.measure(&mut self.backend, &self.recorded.recording, progress).await?;
        }
        tuning.apply(&self.backend, &mut self.recorded.recording);
        self.prepare_whole().await
    }

    /// In how many ways kernels are computed that have several: calls of a step by shader.
    pub fn ways(&self) -> BTreeMap<&'static str, usize> {
        let mut ways = BTreeMap::new();
        for dispatch in self.recorded.recording.dispatches.iter().filter(|d| !d.kernel.families().is_empty()) {
            *ways.entry(dispatch.kernel.name_of(dispatch.family)).or_default() += 1;
        }
        ways
    }

    /// The device.
    pub fn backend(&self) -> &BackendInfo {
        self.backend.info()
    }

    /// The graph that runs.
    pub fn step_graph(&self) -> &StepGraph {
        &self.step_graph
    }

    /// Gives the device back.
    pub fn into_backend(self) -> Backend {
        self.backend
    }

    /// Measures the device between steps.
    ///
    /// # Errors
    /// When a kernel cannot run, or the device is lost.
    pub async fn calibrate(&mut self, calibrator: &Calibrator) -> Result<Calibration, ExecError> {
        let measured = calibrator.measure(&mut self.backend).await?;
        self.prepare_whole().await?;
        Ok(measured)
    }

    /// Gives the samples that the next step trains on: as many as a batch has, of the kind that the model reads.
    pub fn give(&mut self, batch: Vec<Sample>) {
        if batch.len() == self.scenario.strategy().global_batch as usize {
            self.given = Some(batch);
        }
    }

    /// Trains one step.
    pub async fn step(&mut self) -> Result<StepResult, ExecError> {
        self.copy_masters().await?;
        self.record_scale().await?;
        self.prepare_next().await?;
        let begin = Instant::now();
        self.steps += 1;
        self.feed();
        self.write_hyper_parameters();
        let recording = self.between.as_ref().unwrap_or(&self.recorded.recording);
        let times = self.backend.replay(recording).await?;
        let loss = self.loss().await?;
        let gradient_norm = self.scalar("gradient norm squared", 0).await?.sqrt() / self.recorded_scale;
        let (loss_scale, skipped) = (self.loss_scale.shown(), !gradient_norm.is_finite());
        self.updates += u32::from(!skipped);
        self.loss_scale.after(!skipped);
        let wall = Nanos::from(begin.elapsed());
        Ok(StepResult {
            step: self.steps,
            loss,
            gradient_norm,
            loss_scale,
            skipped,
            wall,
            calls: self.recording().dispatches.len(),
            host: self.backend.host().filter(|host| host.encoding > Nanos::ZERO),
            tokens_per_s: self.scenario.step_tokens() as f64 / wall.secs().max(1e-9),
            pools: self.recorded.pools.clone(),
            pool_reserved: self.reserved_curves(&times),
            reserved: self.created(),
            trace: self.trace(&times),
        })
    }

    async fn prepare_whole(&mut self) -> Result<(), ExecError> {
        self.between = None;
        self.backend.prepare(&self.recorded.recording).await
    }

    /// Gets ready for the next step, with an outer one or without.
    async fn prepare_next(&mut self) -> Result<(), ExecError> {
        let is_outer = match self.scenario.strategy().update {
            UpdateRule::LocalSgd { interval: Some(interval) } => (self.steps + 1).is_multiple_of(interval),
            _ => true,
        };
        match (is_outer, &self.between) {
            (true, Some(_)) => self.prepare_whole().await,
            (false, None) => {
                let between = self.recorded.recording.without(&self.recorded.outer);
                self.backend.prepare(&between).await?;
                self.between = Some(between);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What the next step, or the last, replays.
    fn recording(&self) -> &Recording {
        self.between.as_ref().unwrap_or(&self.recorded.recording)
    }

    /// What ranks send each other in it.
    fn traffic(&self) -> Vec<Traffic> {
        let is_between = self.between.is_some();
        let of = |(&(axis, from, to), &[all, outer]): (&(&'static str, RankId, RankId), &[u64; 2])| Traffic {
            axis,
            from: from.0,
            to: to.0,
            bytes: Bytes(if is_between { all - outer } else { all }),
        };
        self.recorded.sent.iter().map(of).filter(|sent| sent.bytes > Bytes::ZERO).collect()
    }

    /// Writes the loss scale into the recorded step, where it has changed.
    async fn record_scale(&mut self) -> Result<(), ExecError> {
        let scale = self.loss_scale.value();
        if scale == self.recorded_scale {
            return Ok(());
        }
        let by = (scale / self.recorded_scale) as f32;
        for dispatch in &mut self.recorded.recording.dispatches {
            let (word, by) = match dispatch.kernel {
                Kernel::CrossEntropyGrad => (CrossEntropyGradParams::SCALE, by),
                Kernel::ClassSumsGrad => (ClassSumsGradParams::SCALE, by),
                Kernel::BinaryLossGrad => (BinaryLossGradParams::SCALE, by),
                Kernel::EmbeddingBagUpdate => (EmbeddingBagUpdateParams::UNSCALE, 1.0 / by),
                _ => continue,
            };
            dispatch.params[word] = (f32::from_bits(dispatch.params[word]) * by).to_bits();
        }
        self.recorded_scale = scale;
        self.prepare_whole().await
    }

    /// Makes the copies of parameters that are updated outside the device.
    async fn copy_masters(&mut self) -> Result<(), ExecError> {
        if !std::mem::take(&mut self.stale_masters) || self.recorded.masters.is_empty() {
            return Ok(());
        }
        let dispatches = self.recorded.masters.clone();
        let scopes = scopes_of_one(u32::try_from(dispatches.len()).unwrap_or(u32::MAX));
        let copies = Recording { dispatches, scopes };
        self.backend.prepare(&copies).await?;
        self.backend.replay(&copies).await?;
        self.prepare_whole().await
    }

    /// Statistics of what stands for the host's memory and its drives, of every rank.
    pub fn outside(&self) -> &[PoolStatistics] {
        &self.recorded.outside
    }

    /// What goes over sockets in a step; none where all ranks are on one device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn sent(&self) -> Option<super::Sent> {
        self.backend.sent()
    }

    /// Statistics of every rank's pool.
    pub fn pools(&self) -> &[PoolStatistics] {
        &self.recorded.pools
    }

    /// Bytes of all buffers on the device.
    pub fn created(&self) -> Bytes {
        Bytes(self.backend.created_bytes())
    }

    /// Bytes of buffers that belong to no rank: batches that are fed, and messages on their way between stages.
    pub fn staging(&self) -> Bytes {
        self.recorded.staging
    }

    /// Writes the step's batch: sample `(m·dp + d)·b + i` goes to micro-batch `m` of replica `d`, so that every mesh trains
    /// on the same samples.
    fn feed(&mut self) {
        let (strategy, data) = (self.scenario.strategy(), self.scenario.data());
        let seed = self.scenario.run().seed;
        let made = || self.source.batch(seed, self.steps, strategy.global_batch, data.sequence_length);
        let batch = self.given.take().unwrap_or_else(made);
        let (replicas, per_batch) = (strategy.data_parallel as usize, strategy.micro_batch as usize);
        let context = self.step_graph.mesh.cp as usize;
        let owners = self.scenario.model().recommender.as_ref().map_or(1, |_| self.step_graph.mesh.ep as usize);
        for (&(feed, _), &buffer) in &self.recorded.feeds {
            // Ranks that share a sequence have every n-th token of it, so that each has as much to attend to.
            let (replica, rank) = (feed as usize / context, feed as usize % context);
            let samples = |m: u32| &batch[(m as usize * replicas + replica) * per_batch..][..per_batch];
            let words = self.recorded.layout.words(samples, |input, parts| match input {
                "embedding ids" => by_owner(parts, owners),
                _ => parts.iter().flat_map(|part| part.iter().skip(rank).step_by(context).copied()).collect(),
            });
            self.backend.write(buffer, 0, &words);
        }
    }

    fn write_hyper_parameters(&mut self) {
        let run = self.scenario.run();
        // Owners apply what every replica pushes: the count of updates is that after the last of them.
        let pushes = match self.scenario.strategy().update {
            UpdateRule::Asynchronous => self.scenario.strategy().copies(),
            _ => 1,
        };
        let step = f64::from(self.updates + 1) * f64::from(pushes);
        let values: [f64; HYPER_PARAMETERS as usize] = [
            run.learning_rate,
            BETA_1,
            BETA_2,
            EPSILON,
            run.weight_decay,
            1.0 - BETA_1.powf(step),
            1.0 - BETA_2.powf(step),
            run.gradient_clip,
            1.0 / self.recorded_scale,
        ];
        let words = values.map(|value| (value as f32).to_bits());
        for rank in (0..self.step_graph.mesh.ranks()).map(RankId) {
            for (id, buffer, _) in self.placed(rank, Role::Scalar) {
                let tensor = self.step_graph.tensor(id);
                if tensor.shape.rows == HYPER_PARAMETERS {
                    self.backend.write(buffer, 0, &words);
                } else if &*tensor.name == RANDOM_STATE {
                    self.backend.write(buffer, 0, &[self.steps]);
                }
            }
        }
    }

    /// The loss, after its reduction over the replicas, on the stage that has the head.
    /// A model may have several losses, which are added.
    /// Where groups of replicas step by themselves, each has the sum of its own.
    async fn loss(&mut self) -> Result<f64, ExecError> {
        let groups = self.scenario.strategy().separate_groups();
        let replicas = if groups > 1 { self.step_graph.mesh.dp } else { 1 };
        let mut loss = 0.0;
        for replica in 0..replicas {
            loss += self.scalar("head loss", replica).await?;
            if self.scenario.model().architecture == Architecture::Bert {
                loss += self.scalar("head pair loss", replica).await?;
            }
        }
        Ok(loss / f64::from(groups))
    }

    /// A number by its name, from the first rank of replica `replica` that has it.
    async fn scalar(&mut self, name: &str, replica: u32) -> Result<f64, ExecError> {
        let mesh = self.step_graph.mesh;
        let ranks = (0..mesh.pp).map(|pp| mesh.rank(Coordinates { pp, dp: replica, cp: 0, tp: 0 }));
        let named = |(id, _, _): &(TensorId, BufferId, u64)| &*self.step_graph.tensor(*id).name == name;
        let found = ranks.rev().find_map(|rank| self.placed(rank, Role::Scalar).into_iter().find(named));
        let Some((_, buffer, _)) = found else {
            return Err(ExecError::Kernel(format!("the graph has no `{name}`")));
        };
        let words = self.backend.read(buffer, 0, 1).await?;
        Ok(words.first().map_or(f64::NAN, |&value| f64::from(value)))
    }
}

/// What samples look up, by the ranks that have the tables: all samples' of the first rank, then of the next.
fn by_owner(samples: &[&[u32]], owners: usize) -> Vec<u32> {
    let of_owner = |owner: usize, ids: &[u32]| {
        let share = ids.len() / owners;
        ids[owner * share..(owner + 1) * share].to_vec()
    };
    (0..owners).flat_map(|owner| samples.iter().flat_map(move |ids| of_owner(owner, ids))).collect()
}

/// Labels in the order in which the recorder numbers ops.
fn labels(step: &StepGraph, pages: &[Label]) -> Vec<Label> {
    let ops = step.ops().map(|op| crate::cost::label(step, op));
    ops.chain(pages.iter().cloned()).collect()
}
