//! What waits outside the device, and copies of parameters that are updated there.

use std::collections::BTreeMap;

use super::Recorder;
use crate::cluster::RankId;
use crate::exec::collectives::copy;
use crate::exec::{BufferId, Dispatch, Slice};
use crate::graph::passes::plan_memory::category;
use crate::graph::{Op, Role, Task, TensorId};
use crate::scenario::Place;

impl Recorder<'_> {
    /// Brings values to life that wait outside the device, where an op writes them.
    pub(super) fn allocate_outside(&mut self, rank: RankId, task: Task, op: &Op) {
        let place = self.place(rank);
        for &id in &op.writes {
            let root = self.step.storage_of(id);
            let tensor = self.step.tensor(root);
            let state = &mut self.ranks[rank.0 as usize];
            let values = &state.values_outside;
            let known = state.persistent_outside.contains_key(&root) || values.contains_key(&(root, task.micro_batch));
            if tensor.place != Place::Device && !known {
                let (backend, category) = (&mut *self.backend, category(tensor.role, true));
                let buffer = state.outside.allocate(tensor.allocated(), category, |n| backend.create_at(place, n.0));
                state.values_outside.insert((root, task.micro_batch), buffer);
            }
        }
    }

    /// What has come back need not wait any longer; and a master is as its parameter when training starts.
    pub(super) fn came_back(&mut self, rank: RankId, task: Task, op: &Op) {
        self.cast(rank, op);
        let from = self.step.storage_of(op.reads[0]);
        if self.step.tensor(from).role == Role::Activation {
            let state = self.state(rank);
            if let Some(buffer) = state.values_outside.remove(&(from, task.micro_batch)) {
                state.outside.free(buffer);
            }
        }
    }

    /// What is made from a master is what the master is copied from when training starts.
    pub(super) fn cast(&mut self, rank: RankId, op: &Op) {
        let from = self.step.storage_of(op.reads[0]);
        if self.step.tensor(from).role == Role::MasterWeight {
            self.masters.push((rank, op.writes[0], op.reads[0]));
        }
    }

    pub(super) fn is_parameter(&self, id: TensorId) -> bool {
        matches!(self.step.tensor(id).role, Role::Parameter | Role::ParameterBucket)
    }

    /// Makes the copy of a parameter that is updated outside the device, where both lie between steps.
    pub(super) fn copy_of_parameter(
        &self,
        persistent: &[BTreeMap<TensorId, BufferId>],
        (rank, parameter, master): (RankId, TensorId, TensorId),
    ) -> Dispatch {
        let [from, to] = [parameter, master].map(|id| {
            let home = persistent[rank.0 as usize].get(&self.step.storage_of(id));
            let slice = self.slice_of(rank, None, id);
            Slice { buffer: home.copied().unwrap_or(slice.buffer), ..slice }
        });
        copy(from, 0, to, 0, to.elements())
    }
}
