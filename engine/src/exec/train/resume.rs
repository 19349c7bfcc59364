//! What a run can go on from: what every rank keeps from step to step.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use web_time::Instant;

use super::Trainer;
use crate::exec::checkpoint::{Checkpoint, CheckpointForm, Made, Packed, Progress, Saved, Stored, unusable};
use crate::exec::{BufferId, ExecError, Format};
use crate::graph::{DType, OpKind, Role, TensorId};
use crate::units::{Bytes, Nanos};

/// A tensor that a step needs of the one before.
struct Kept {
    /// As it stands in a file, without its numbers.
    blank: Saved,
    /// Where it lies.
    buffer: BufferId,
    /// Whether its numbers are floats of 32 bits.
    single: bool,
}

impl Trainer {
    /// What the run can go on from, as a safetensors file: what every rank keeps from step to step.
    ///
    /// # Errors
    /// When the device is lost.
    pub async fn checkpoint(&mut self) -> Result<Vec<u8>, ExecError> {
        self.state(false).await?.to_bytes()
    }

    /// What the run can go on from, to be packed; with `reduced`, numbers of 32 bits are rounded to bf16.
    ///
    /// # Errors
    /// When the device is lost.
    pub async fn state(&mut self, reduced: bool) -> Result<Checkpoint, ExecError> {
        // Masters are made from parameters before the first step.
        self.copy_masters().await?;
        let mut tensors = Vec::new();
        for Kept { blank, buffer, single } in self.kept() {
            let words = self.backend.read(buffer, 0, blank.words()).await?;
            let saved = Saved { words: bytemuck::cast_slice(&words).to_vec(), ..blank };
            tensors.push(if reduced && single { saved.rounded() } else { saved });
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let (steps, updates, loss_scale) = (self.steps, self.updates, self.loss_scale);
        let progress = Progress { steps, updates, loss_scale, made: Some(self.made()) };
        Ok(Checkpoint { progress, tensors })
    }

    /// Packs what the run can go on from; `keep` puts it where it stays. Says what each took.
    ///
    /// # Errors
    /// When the device is lost, or it cannot be kept.
    pub async fn store<Kept: Future<Output = Result<(), ExecError>>>(
        &mut self,
        form: CheckpointForm,
        keep: impl FnOnce(Packed) -> Kept,
    ) -> Result<Stored, ExecError> {
        let begin = Instant::now();
        let state = self.state(form.reduced).await?;
        let read = Instant::now();
        let packed = Packed::of(&state, form)?;
        let (steps, raw, stored) = (packed.index.steps, packed.raw_bytes(), packed.bytes());
        let files = u32::try_from(packed.files.len()).unwrap_or(u32::MAX);
        let made = Instant::now();
        keep(packed).await?;
        let (reading, packing) = (Nanos::from(read - begin), Nanos::from(made - read));
        let writing = Nanos::from(made.elapsed());
        Ok(Stored { steps, form, files, raw, stored, reading, packing, writing })
    }

    /// Goes on from a checkpoint of the same scenario; returns how many steps were trained.
    ///
    /// # Errors
    /// When it cannot be read, or is of another model or strategy; then nothing has changed.
    pub async fn resume(&mut self, bytes: &[u8]) -> Result<u32, ExecError> {
        self.go_on_from(Checkpoint::of_bytes(bytes)?)
    }

    /// The same of a checkpoint that was read.
    ///
    /// # Errors
    /// When it is of another model or strategy; then nothing has changed.
    pub fn go_on_from(&mut self, checkpoint: Checkpoint) -> Result<u32, ExecError> {
        let Checkpoint { progress, tensors } = checkpoint;
        let mut saved: BTreeMap<String, Saved> = tensors.into_iter().map(|saved| (saved.name.clone(), saved)).collect();
        let mut fitting = Vec::new();
        for Kept { blank, buffer, single } in self.kept() {
            // What was kept in fewer bits is filled up.
            let widened = |saved: Saved| if single && saved.format == Format::Bf16 { saved.widened() } else { saved };
            let same = |saved: &Saved| (saved.shape, saved.format) == (blank.shape, blank.format);
            let Some(saved) = saved.remove(&blank.name).map(widened).filter(same) else {
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
        if progress.loss_scale.shown().is_some() != self.loss_scale.shown().is_some() {
            return Err(unusable("it is of another precision"));
        }
        for (buffer, words) in fitting {
            self.backend.write(buffer, 0, &words);
        }
        (self.steps, self.updates, self.loss_scale) = (progress.steps, progress.updates, progress.loss_scale);
        self.stale_masters = false;
        self.resumed_from = progress.made;
        Ok(self.steps)
    }

    /// What this run trains with.
    fn made(&self) -> Made {
        let run = self.scenario.run();
        Made { seed: run.seed, learning_rate: run.learning_rate }
    }

    /// Where a run went on from a checkpoint that was made with something else: what that is, in words.
    pub fn goes_on_otherwise(&self) -> Option<String> {
        let (now, then) = (self.made(), self.resumed_from?);
        let differ =
            |name: &str, now: String, then: String| (now != then).then(|| format!("{name} = {then}, now {now}"));
        let all = [
            differ("run.seed", now.seed.to_string(), then.seed.to_string()),
            differ("run.learning_rate", now.learning_rate.to_string(), then.learning_rate.to_string()),
        ];
        let said: Vec<String> = all.into_iter().flatten().collect();
        (!said.is_empty()).then(|| format!("the checkpoint was made with {}", said.join(", and with ")))
    }

    /// Bytes that no checkpoint of this run exceeds, whatever its form: what ranks keep, names and shapes, and more.
    pub fn most_kept(&self) -> Bytes {
        let words: usize = self.kept().iter().map(|kept| kept.blank.words() + kept.blank.name.len() + 64).sum();
        Bytes(words as u64 * 8 + (1 << 20))
    }

    /// What a step needs of the one before: each as it stands in a file, and where it lies.
    fn kept(&self) -> Vec<Kept> {
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
            let single = matches!(tensor.dtype, DType::F32 | DType::Tf32);
            (Saved::blank(name, Format::of(tensor.dtype), shape), single)
        };
        let of_rank = |(rank, persistent): (usize, &BTreeMap<TensorId, BufferId>)| {
            let kept = persistent.iter().filter(|(id, _)| is_kept(**id));
            let with = |(blank, single), buffer| Kept { blank, buffer, single };
            kept.map(|(&id, &buffer)| with(blank(rank, id), buffer)).collect::<Vec<_>>()
        };
        self.recorded.persistent.iter().enumerate().flat_map(of_rank).collect()
    }
}
