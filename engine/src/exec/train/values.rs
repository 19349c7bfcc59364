//! Whole parameters and gradients, put together from what ranks hold of them, and dealt out to ranks.

use std::collections::{BTreeMap, BTreeSet};

use super::Trainer;
use crate::cluster::{Group, RankId};
use crate::exec::{BufferId, ExecError, Format, parameters};
use crate::graph::{CompressionStep, FlatPlace, Op, OpKind, Role, Spread, Tensor, TensorId};
use crate::model::Recommender;

impl Trainer {
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
    pub(super) fn counts(&self, rank: RankId, id: TensorId, replica: u32) -> bool {
        let mesh = self.step_graph.mesh;
        match self.step_graph.tensor(id).spread {
            Spread::Experts => mesh.expert_place(rank).1 == replica % mesh.expert_copies(),
            _ => mesh.coordinates(rank).dp == replica,
        }
    }

    /// What a rank holds of whole tensors.
    pub(super) fn holding(&self, rank: RankId) -> parameters::Holding {
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
    pub(super) fn placed(&self, rank: RankId, role: Role) -> Vec<(TensorId, BufferId, u64)> {
        let place = |index: usize| {
            let id = TensorId::new(index);
            self.place(rank, id).map(|(buffer, offset)| (id, buffer, offset))
        };
        let of_role = |index: &usize| self.step_graph.tensors[*index].role == role;
        (0..self.step_graph.tensors.len()).filter(of_role).filter_map(place).collect()
    }

    /// Buffer and first byte of a tensor on a rank, if it lives there through the step.
    pub(super) fn place(&self, rank: RankId, id: TensorId) -> Option<(BufferId, u64)> {
        let (root, offset) = self.step_graph.place_of(id, self.shard_index(rank, id));
        Some((*self.recorded.persistent[rank.0 as usize].get(&root)?, offset))
    }

    pub(super) fn write_parameters(&mut self) {
        let (seed, model) = (self.scenario.run().seed, self.scenario.model().clone());
        for rank in (0..self.step_graph.mesh.ranks()).map(RankId) {
            self.write_to(rank, &mut |tensor| Some(parameters::initial(tensor, seed, &model)));
        }
    }

    /// The second factors of compressed gradients start at random, alike on every replica, and are kept from step to step
    /// (Vogels et al. 2019, algorithm 1).
    pub(super) fn write_factors(&mut self) {
        let projects = |op: &&Op| matches!(op.kind, OpKind::Compression(CompressionStep::Project { .. }));
        let projections = self.step_graph.ops().filter(projects);
        let factors: BTreeSet<TensorId> = projections.filter_map(|op| op.reads.get(1).copied()).collect();
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
}

/// Numbers as they lie in the buffer of a tensor.
fn packed(tensor: &Tensor, values: &[f32]) -> Vec<u32> {
    let format = Format::of(tensor.dtype);
    let mut words = vec![0; format.words(values.len())];
    format.pack(values, &mut words);
    words
}
