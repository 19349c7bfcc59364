//! The training loop: feeds batches, replays the recorded step, reads loss, times and gradients.

use std::collections::{BTreeMap, BTreeSet};

use web_time::Instant;

use super::calibrate::scopes_of_one;
use super::checkpoint::{Checkpoint, Progress, Saved, unusable};
use super::cpu::binary_loss_grad::BinaryLossGradParams;
use super::cpu::class_sums_grad::ClassSumsGradParams;
use super::cpu::cross_entropy_grad::CrossEntropyGradParams;
use super::cpu::embedding_bag_update::EmbeddingBagUpdateParams;
use super::data::Source;
use super::limits::within_limits;
use super::loss_scale::LossScale;
use super::record::{Recorded, record};
use super::{
    Backend, BackendInfo, BufferId, ExecError, Format, HostTime, Kernel, PoolStatistics, Recording, Scope, ScopeTimes,
    Tuning, executable_graph, parameters,
};
use super::{Calibration, Calibrator};
use crate::cluster::{Coordinates, Group, RankId};
use crate::graph::passes::forward::RANDOM_STATE;
use crate::graph::passes::optimize::HYPER_PARAMETERS;
use crate::graph::{CompressionStep, DType, FlatPlace, Op, OpKind, Role, Segment, Spread, StepGraph, Tensor, TensorId};
use crate::model::{Architecture, Recommender};
use crate::scenario::{Scenario, UpdateRule};
use crate::trace::{Flow, Label, MemoryCurve, MemorySample, MemoryUse, Origin, Span, Stream, Trace, Track, TrackId};
use crate::units::{Bytes, Nanos};

/// AdamW's decay rates of the moments and its stabiliser (Kingma & Ba 2015; the rates of GPT-3).
const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.95;
const EPSILON: f64 = 1e-8;

/// What one training step gave.
#[derive(Clone, Debug)]
pub struct StepResult {
    /// Its number, from 1.
    pub step: u32,
    /// Mean cross-entropy over the batch in nats, before the update.
    pub loss: f64,
    /// Norm of the whole gradient, before clipping.
    pub gradient_norm: f64,
    /// The loss scale, in fp16.
    pub loss_scale: Option<f64>,
    /// Whether gradients were not finite, so that nothing was updated.
    pub skipped: bool,
    /// From feeding the batch to having the loss, on the host's clock.
    pub wall: Nanos,
    /// Kernel calls.
    pub calls: usize,
    /// What they cost the host, where that is measured.
    pub host: Option<HostTime>,
    /// Tokens of the batch over `wall`.
    pub tokens_per_s: f64,
    /// What the pool of every rank handed out.
    pub pools: Vec<PoolStatistics>,
    /// Bytes of the buffers that every rank needed, from a moment of the trace on.
    pub pool_reserved: Vec<Vec<(Nanos, Bytes)>>,
    /// Bytes of all buffers on the device.
    pub reserved: Bytes,
    /// Bytes moved between ranks, by axis.
    pub moved: Vec<(&'static str, Bytes)>,
    /// What ran when.
    pub trace: Trace,
}

impl StepResult {
    /// The share of the step in which no rank ran anything: feeding, reading back, and gaps between ops.
    pub fn outside_kernels(&self) -> f64 {
        let mut spans: Vec<(Nanos, Nanos)> =
            self.trace.spans.iter().map(|span| (span.start, span.start + span.duration)).collect();
        spans.sort_unstable();
        let (mut busy, mut last) = (Nanos::ZERO, Nanos::ZERO);
        for (start, end) in spans {
            busy += (end - start.max(last)).max(Nanos::ZERO);
            last = last.max(end);
        }
        1.0 - busy.secs() / self.wall.secs().max(1e-12)
    }

    /// Nanoseconds in which the host writes one call down, where that is measured.
    pub fn encoding_per_call(&self) -> Option<f64> {
        let host = self.host?;
        Some(host.encoding.0 as f64 / self.calls.max(1) as f64)
    }

    /// Tokens per second, or samples where the model knows no sequences.
    pub fn throughput(&self, scenario: &Scenario) -> f64 {
        if scenario.model().has_sequences() {
            return self.tokens_per_s;
        }
        self.tokens_per_s * scenario.step_samples() as f64 / scenario.step_tokens() as f64
    }
}

/// A model in training, on ranks that share one device.
#[derive(Debug)]
pub struct Trainer {
    scenario: Scenario,
    step_graph: StepGraph,
    backend: Backend,
    recorded: Recorded,
    source: Source,
    labels: Vec<Label>,
    steps: u32,
    /// Steps that were not skipped.
    updates: u32,
    loss_scale: LossScale,
    /// The loss scale of the step that is recorded.
    recorded_scale: f64,
    /// Whether parameters were written since their copies outside the device were made.
    stale_masters: bool,
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
        within_limits(&step_graph)?;
        let recorded = record(&step_graph, scenario, &mut backend)?;
        let labels = labels(&step_graph, &recorded.pages);
        let mut trainer = Self {
            scenario: scenario.clone(),
            step_graph,
            backend,
            recorded,
            source: Source::of(scenario),
            labels,
            steps: 0,
            updates: 0,
            loss_scale: LossScale::new(scenario.strategy().precision),
            recorded_scale: 1.0,
            stale_masters: true,
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
        let wall = Nanos(i64::try_from(begin.elapsed().as_nanos()).unwrap_or(i64::MAX));
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
            moved: self.moved(),
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

    /// Bytes moved between ranks in it, by axis.
    fn moved(&self) -> Vec<(&'static str, Bytes)> {
        let left_out = |axis| self.recorded.moved_outer.get(axis).copied().filter(|_| self.between.is_some());
        let of_axis = |(&axis, &bytes): (&&'static str, &u64)| match left_out(axis) {
            Some(outer) => Some((axis, Bytes(bytes - outer))).filter(|(_, rest)| rest.0 > 0),
            None => Some((axis, Bytes(bytes))),
        };
        self.recorded.moved.iter().filter_map(of_axis).collect()
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

    /// What the run can go on from, as a safetensors file: what every rank keeps from step to step.
    ///
    /// # Errors
    /// When the device is lost.
    pub async fn checkpoint(&mut self) -> Result<Vec<u8>, ExecError> {
        // Masters are made from parameters before the first step.
        self.copy_masters().await?;
        let mut tensors = Vec::new();
        for (blank, buffer) in self.kept() {
            let words = self.backend.read(buffer, 0, blank.words()).await?;
            tensors.push(Saved { words: bytemuck::cast_slice(&words).to_vec(), ..blank });
        }
        let progress = Progress { steps: self.steps, updates: self.updates, loss_scale: self.loss_scale };
        Checkpoint { progress, tensors }.to_bytes()
    }

    /// Goes on from a checkpoint of the same scenario; returns how many steps were trained.
    ///
    /// # Errors
    /// When it cannot be read, or is of another model or strategy; then nothing has changed.
    pub async fn resume(&mut self, bytes: &[u8]) -> Result<u32, ExecError> {
        let Checkpoint { progress, tensors } = Checkpoint::of_bytes(bytes)?;
        let mut saved: BTreeMap<String, Saved> = tensors.into_iter().map(|saved| (saved.name.clone(), saved)).collect();
        let mut fitting = Vec::new();
        for (blank, buffer) in self.kept() {
            let same = |saved: &Saved| (saved.shape, saved.format) == (blank.shape, blank.format);
            let Some(saved) = saved.remove(&blank.name).filter(same) else {
                let Saved { name, shape, .. } = blank;
                return Err(unusable(format!(
                    "it has no `{name}` of {shape:?}, so it is of another model or strategy"
                )));
            };
            fitting.push((buffer, saved.words));
        }
        if let Some(name) = saved.keys().next() {
            return Err(unusable(format!("it has `{name}` too, so it is of another model or strategy")));
        }
        for (buffer, words) in fitting {
            self.backend.write(buffer, 0, &words);
        }
        (self.steps, self.updates, self.loss_scale) = (progress.steps, progress.updates, progress.loss_scale);
        self.stale_masters = false;
        Ok(self.steps)
    }

    /// What a step needs of the one before: each as it stands in a file, and where it lies.
    fn kept(&self) -> Vec<(Saved, BufferId)> {
        let ops = self.step_graph.stages.iter().flat_map(|stage| &stage.segments).flat_map(Segment::ops);
        // What is applied steps later.
        let older: BTreeSet<TensorId> =
            ops.filter(|op| op.kind == OpKind::Rotate).flat_map(|op| op.writes.iter().copied()).collect();
        let is_kept = |id: TensorId| {
            let written_anew = [Role::Gradient, Role::ComputedGradient, Role::Bucket, Role::Scalar];
            older.contains(&id) || !written_anew.contains(&self.step_graph.tensor(id).role)
        };
        let blank = |rank: usize, id: TensorId| {
            let tensor = self.step_graph.tensor(id);
            let bytes = [usize::try_from(tensor.bytes().0.div_ceil(4)).unwrap_or(0), 1];
            let sides = [tensor.local.rows, tensor.local.cols].map(|size| size as usize);
            let shape = if tensor.dtype == DType::U8 { bytes } else { sides };
            let name = format!("{rank}/{}/{}", id.index(), tensor.name);
            Saved::blank(name, Format::of(tensor.dtype), shape)
        };
        let of_rank = |(rank, persistent): (usize, &BTreeMap<TensorId, BufferId>)| {
            let kept = persistent.iter().filter(|(id, _)| is_kept(**id));
            kept.map(|(&id, &buffer)| (blank(rank, id), buffer)).collect::<Vec<_>>()
        };
        self.recorded.persistent.iter().enumerate().flat_map(of_rank).collect()
    }

    /// The whole gradient of every parameter after the last step, by name, put together from the shards of the
    /// first replica.
    pub async fn gradients(&mut self) -> Result<BTreeMap<String, Vec<f32>>, ExecError> {
        let mut gradients = self.gather(Role::Gradient, 0).await?;
        let unscale = (1.0 / self.recorded_scale) as f32;
        gradients.values_mut().flatten().for_each(|gradient| *gradient *= unscale);
        Ok(gradients)
    }

    /// The whole value of every parameter on a replica, by name.
    pub async fn parameters(&mut self, replica: u32) -> Result<BTreeMap<String, Vec<f32>>, ExecError> {
        self.gather(Role::Parameter, replica).await
    }

    async fn gather(&mut self, role: Role, replica: u32) -> Result<BTreeMap<String, Vec<f32>>, ExecError> {
        let mut whole: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        for rank in (0..self.step_graph.mesh.ranks()).map(RankId) {
            for (id, buffer, offset) in self.placed(rank, role) {
                if !self.counts(rank, id, replica) {
                    continue;
                }
                let part = self.read(id, buffer, offset).await?;
                self.put(id, &part, rank, &mut whole);
            }
            // What is sharded over replicas is put together last: the whole may lie elsewhere out of date.
            for index in 0..self.step_graph.flats.len() {
                if self.counts(rank, self.step_graph.flats[index].gradients, replica) {
                    self.gather_flat(index, rank, role, &mut whole).await?;
                }
            }
        }
        Ok(whole)
    }

    /// The numbers of a tensor that lies in a buffer from a byte on.
    async fn read(&mut self, id: TensorId, buffer: BufferId, offset: u64) -> Result<Vec<f32>, ExecError> {
        let tensor = self.step_graph.tensor(id);
        let (n, format) = (tensor.local.elements(), Format::of(tensor.dtype));
        let n = usize::try_from(n).unwrap_or(0);
        let words = self.backend.read(buffer, offset, format.words(n)).await?;
        Ok(if format == Format::Word { words } else { format.unpack(bytemuck::cast_slice(&words), n) })
    }

    /// Whether what a rank holds of a tensor belongs to a replica: to its copy of dense weights, or of experts, of which
    /// there may be fewer copies.
    fn counts(&self, rank: RankId, id: TensorId, replica: u32) -> bool {
        let mesh = self.step_graph.mesh;
        match self.step_graph.tensor(id).spread {
            Spread::Experts => mesh.expert_place(rank).1 == replica % mesh.expert_copies(),
            _ => mesh.coordinates(rank).dp == replica,
        }
    }

    /// What a rank holds of whole tensors.
    fn holding(&self, rank: RankId) -> parameters::Holding {
        let (mesh, dims) = (self.step_graph.mesh, &self.step_graph.dims);
        let tables = self.scenario.model().recommender.as_ref().map_or(0, Recommender::tables);
        // Tables are spread as experts are.
        let (experts, local_experts) =
            if mesh.ep > 1 && tables > 0 { (tables, tables / mesh.ep) } else { (dims.experts, dims.local_experts) };
        let first_expert = mesh.expert_place(rank).0 * local_experts;
        parameters::Holding { slice: mesh.coordinates(rank).tp, experts, local_experts, first_expert }
    }

    /// The place of a rank among those that share what is sharded of a tensor.
    fn shard_index(&self, rank: RankId, id: TensorId) -> u32 {
        self.step_graph.mesh.shard_index(rank, self.step_graph.tensor(id).spread == Spread::Experts)
    }

    /// Writes what a rank holds of a tensor into the whole of that name.
    fn put(&self, id: TensorId, part: &[f32], rank: RankId, whole: &mut BTreeMap<String, Vec<f32>>) {
        let tensor = self.step_graph.tensor(id);
        let size = usize::try_from(tensor.shape.elements()).unwrap_or(0);
        let value = whole.entry(tensor.name.to_string()).or_insert_with(|| vec![0.0; size]);
        parameters::unshard(part, tensor, self.holding(rank), value);
    }

    /// Reads the slices of a flat buffer from the sharding group of a rank.
    async fn gather_flat(
        &mut self,
        index: usize,
        rank: RankId,
        role: Role,
        whole: &mut BTreeMap<String, Vec<f32>>,
    ) -> Result<(), ExecError> {
        let (mesh, flat) = (self.step_graph.mesh, self.step_graph.flats[index].clone());
        let at = mesh.coordinates(rank);
        if at.pp as usize != flat.stage {
            return Ok(());
        }
        let slice = |flat: &FlatPlace| if role == Role::Gradient { flat.gradients } else { flat.parameters };
        let mut all = Vec::new();
        let of_experts = self.step_graph.tensor(flat.gradients).spread == Spread::Experts;
        let group = if of_experts { Group::ExpertShard } else { Group::Shard };
        for member in mesh.members(group, rank) {
            let of_member = self.flat_on(mesh.coordinates(member).pp as usize, &flat);
            if let Some((buffer, offset)) = of_member.and_then(|flat| self.place(member, slice(flat))) {
                all.extend(self.read(slice(&flat), buffer, offset).await?);
            }
        }
        for (gradient, parameter, offset) in flat.pieces {
            let id = if role == Role::Gradient { gradient } else { parameter };
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let length = usize::try_from(self.step_graph.tensor(id).local.elements()).unwrap_or(0);
            if let Some(part) = all.get(start..start + length) {
                self.put(id, part, rank, whole);
            }
        }
        Ok(())
    }

    /// The flat buffers of the same parameters on a stage: where there are two copies of the model, the other's too.
    fn flat_on(&self, stage: usize, like: &FlatPlace) -> Option<&FlatPlace> {
        let first = |flat: &FlatPlace| flat.pieces.first().map(|&(_, id, _)| self.step_graph.tensor(id).name.clone());
        let wanted = first(like);
        self.step_graph.flats.iter().find(|flat| flat.stage == stage && first(flat) == wanted)
    }

    /// Writes the whole value of a parameter to all ranks that hold a part of it.
    ///
    /// # Errors
    /// When there is no parameter of this name, or when it has another number of elements.
    pub fn set_parameter(&mut self, name: &str, whole: &[f32]) -> Result<(), ExecError> {
        let mut written = false;
        for rank in (0..self.step_graph.mesh.ranks()).map(RankId) {
            written |= self.write_to(rank, &mut |tensor| {
                let fits = &*tensor.name == name && tensor.shape.elements() == whole.len() as u64;
                fits.then(|| whole.to_vec())
            });
        }
        if written {
            return Ok(());
        }
        Err(ExecError::Kernel(format!("there is no parameter `{name}` of {} elements", whole.len())))
    }

    /// Tensors of a role on a rank: handle, buffer and first byte.
    fn placed(&self, rank: RankId, role: Role) -> Vec<(TensorId, BufferId, u64)> {
        let place = |index: usize| {
            let id = TensorId::new(index);
            self.place(rank, id).map(|(buffer, offset)| (id, buffer, offset))
        };
        let of_role = |index: &usize| self.step_graph.tensors[*index].role == role;
        (0..self.step_graph.tensors.len()).filter(of_role).filter_map(place).collect()
    }

    /// Buffer and first byte of a tensor on a rank, if it lives there through the step.
    fn place(&self, rank: RankId, id: TensorId) -> Option<(BufferId, u64)> {
        let (root, offset) = self.step_graph.place_of(id, self.shard_index(rank, id));
        Some((*self.recorded.persistent[rank.0 as usize].get(&root)?, offset))
    }

    fn write_parameters(&mut self) {
        let (seed, model) = (self.scenario.run().seed, self.scenario.model().clone());
        for rank in (0..self.step_graph.mesh.ranks()).map(RankId) {
            self.write_to(rank, &mut |tensor| Some(parameters::initial(tensor, seed, &model)));
        }
    }

    /// The second factors of compressed gradients start at random, alike on every replica, and are kept from step to step
    /// (Vogels et al. 2019, algorithm 1).
    fn write_factors(&mut self) {
        let projects = |op: &&Op| matches!(op.kind, OpKind::Compression(CompressionStep::Project { .. }));
        let ops = self.step_graph.stages.iter().flat_map(|stage| &stage.segments).flat_map(Segment::ops);
        let factors: BTreeSet<TensorId> = ops.filter(projects).filter_map(|op| op.reads.last().copied()).collect();
        for rank in (0..self.step_graph.mesh.ranks()).map(RankId) {
            for &id in &factors {
                let Some((buffer, offset)) = self.place(rank, id) else { continue };
                let tensor = self.step_graph.tensor(id);
                let n = usize::try_from(tensor.local.elements()).unwrap_or(0);
                let values = parameters::random(&tensor.name, n, self.scenario.run().seed);
                self.backend.write(buffer, offset, &packed(tensor, &values));
            }
        }
    }

    /// Writes whole parameters, as far as there are values, to the parts and slices that a rank holds; returns
    /// whether there were any.
    fn write_to(&mut self, rank: RankId, value: &mut dyn FnMut(&Tensor) -> Option<Vec<f32>>) -> bool {
        self.stale_masters = true;
        let holding = self.holding(rank);
        let mut written = false;
        for (id, buffer, offset) in self.placed(rank, Role::Parameter) {
            let tensor = self.step_graph.tensor(id);
            if let Some(whole) = value(tensor) {
                let part = parameters::shard(&whole, tensor, holding);
                self.backend.write(buffer, offset, &packed(tensor, &part));
                written = true;
            }
        }
        for index in 0..self.step_graph.flats.len() {
            written |= self.write_flat(index, rank, value);
        }
        written
    }

    /// Writes the pieces of a flat buffer of which a rank owns elements.
    fn write_flat(&mut self, index: usize, rank: RankId, value: &mut dyn FnMut(&Tensor) -> Option<Vec<f32>>) -> bool {
        let (mesh, flat) = (self.step_graph.mesh, &self.step_graph.flats[index]);
        let (at, length) = (mesh.coordinates(rank), self.step_graph.tensor(flat.parameters).local.elements());
        let (first, holding) = (u64::from(self.shard_index(rank, flat.parameters)) * length, self.holding(rank));
        let Some((buffer, offset)) = self.place(rank, flat.parameters).filter(|_| at.pp as usize == flat.stage) else {
            return false;
        };
        let mut written = false;
        for &(_, parameter, start) in &flat.pieces {
            let tensor = self.step_graph.tensor(parameter);
            let Some(whole) = value(tensor) else { continue };
            let part = parameters::shard(&whole, tensor, holding);
            let (from, to) = (start.max(first), (start + part.len() as u64).min(first + length));
            if from < to {
                let range = |n: u64| usize::try_from(n - start).unwrap_or(usize::MAX);
                // Parameters and slices start at whole words; what is behind a parameter up to the next is not used.
                let words = packed(tensor, &part[range(from)..range(to)]);
                self.backend.write(buffer, offset + (from - first) * tensor.dtype.size(), &words);
            }
            written = true;
        }
        written
    }

    /// Writes the step's batch: sample `(m·dp + d)·b + i` goes to micro-batch `m` of replica `d`, so that every mesh trains
    /// on the same samples.
    fn feed(&mut self) {
        let (strategy, data) = (self.scenario.strategy(), self.scenario.data());
        let seed = self.scenario.run().seed;
        let batch = self.source.batch(seed, self.steps, strategy.global_batch, data.sequence_length);
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

    fn trace(&self, times: &ScopeTimes) -> Trace {
        let mesh = self.step_graph.mesh;
        let ranks = (0..mesh.ranks()).map(RankId);
        let tracks = ranks.flat_map(|rank| {
            let stage = mesh.coordinates(rank).pp;
            Stream::ALL.map(|stream| Track { group: rank.0, stage, rank: rank.0, ranks: 1, stream })
        });
        let scopes = &self.recorded.recording.scopes;
        let mut spans = Vec::with_capacity(scopes.len());
        // The first span of every scope.
        let mut first = Vec::with_capacity(scopes.len());
        for (number, scope) in scopes.iter().enumerate() {
            first.push(u32::try_from(spans.len()).unwrap_or(u32::MAX));
            if self.between.is_some() && self.recorded.outer.contains(&number) {
                continue;
            }
            for rank in self.ranks_of(scope) {
                let Some(&(start, end)) = self.times_of(rank.0, times).get(number) else { continue };
                let index = rank.0 as usize * Stream::ALL.len() + scope.stream.index();
                let track = TrackId(u32::try_from(index).unwrap_or(u32::MAX));
                let (label, micro_batch) = (scope.label, scope.micro_batch);
                spans.push(Span { track, label, start, duration: end - start, micro_batch });
            }
        }
        let step_time = times.end();
        Trace {
            origin: Origin::Executed,
            labels: self.labels.clone(),
            tracks: tracks.collect(),
            spans,
            flows: self.recorded.flows.iter().map(|&(from, to)| Flow { from: first[from], to: first[to] }).collect(),
            host_waits: Vec::new(),
            memory: self.memory_curves(times),
            step_time,
        }
    }

    fn ranks_of(&self, scope: &Scope) -> Vec<RankId> {
        match scope.group {
            Some(group) => self.step_graph.mesh.members(group, RankId(scope.rank)),
            None => vec![RankId(scope.rank)],
        }
    }

    /// The times of the scopes on the device of a rank.
    fn times_of<'a>(&self, rank: u32, times: &'a ScopeTimes) -> &'a [(Nanos, Nanos)] {
        times.at(self.backend.place_of(rank, self.step_graph.mesh.ranks()))
    }

    fn reserved_curves(&self, times: &ScopeTimes) -> Vec<Vec<(Nanos, Bytes)>> {
        let curve = |(rank, reserved): (u32, &Vec<(usize, Bytes)>)| {
            let times = self.times_of(rank, times);
            let at = |scope: usize| times.get(scope).or(times.last()).map_or(Nanos::ZERO, |&(start, _)| start);
            reserved.iter().map(|&(scope, bytes)| (at(scope), bytes)).collect()
        };
        (0..).zip(&self.recorded.reserved).map(curve).collect()
    }

    fn memory_curves(&self, times: &ScopeTimes) -> Vec<MemoryCurve> {
        let curve = |(rank, memory): (u32, &Vec<(usize, MemoryUse)>)| {
            let of_rank = self.times_of(rank, times);
            let at = |scope: usize| of_rank.get(scope).map_or(times.end(), |&(start, _)| start);
            let stage = self.step_graph.mesh.coordinates(RankId(rank)).pp;
            let samples = memory.iter().map(|&(scope, used)| MemorySample { at: at(scope), used }).collect();
            MemoryCurve { group: rank, stage, samples }
        };
        (0..).zip(&self.recorded.memory).map(curve).collect()
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

/// Numbers as they lie in the buffer of a tensor.
fn packed(tensor: &Tensor, values: &[f32]) -> Vec<u32> {
    let format = Format::of(tensor.dtype);
    let mut words = vec![0; format.words(values.len())];
    format.pack(values, &mut words);
    words
}

/// Labels in the order in which the recorder numbers ops.
fn labels(step: &StepGraph, pages: &[Label]) -> Vec<Label> {
    let segments = step.stages.iter().flat_map(|stage| &stage.segments);
    let ops = segments.flat_map(Segment::ops).map(|op| crate::cost::label(step, op));
    ops.chain(pages.iter().cloned()).collect()
}
