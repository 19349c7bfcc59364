//! What a run can go on from: what every rank keeps from step to step.

use std::collections::{BTreeMap, BTreeSet};

use super::Trainer;
use crate::exec::checkpoint::{Checkpoint, Progress, Saved, unusable};
use crate::exec::{BufferId, ExecError, Format};
use crate::graph::{DType, OpKind, Role, TensorId};

impl Trainer {
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
        // What is applied steps later.
        let rotations = self.step_graph.ops().filter(|op| op.kind == OpKind::Rotate);
        let older: BTreeSet<TensorId> = rotations.flat_map(|op| op.writes.iter().copied()).collect();
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
}
