//! What the host does for an op: kernels of frameworks are called from Python, which takes longer than small kernels do.

use super::chunks;
use crate::cluster::{Device, Group, Mesh};
use crate::graph::{Collective, Dims, Op, OpKind, Tensor};
use crate::scenario::Place;
use crate::trace::{Phase, Stream};
use crate::units::{Bytes, Nanos};

/// Tensors that one kernel of a fused optimizer works on: apex's and PyTorch's multi-tensor kernels take 36 with four
/// lists, and so do norms and casts of lists of tensors.
const TENSORS_PER_LAUNCH: i64 = 36;

/// What the host does to exchange a message with a neighbouring stage, in calls of a kernel: in Megatron-LM's
/// `p2p_communication` an allocation, a batched send or receive, a wait and a synchronisation of the device.
const CALLS_OF_AN_EXCHANGE: i64 = 8;

/// Kernels that the host issues in the time of a call: those of a linear layer, its bias and what autograd does around them.
const KERNELS_OF_A_CALL: i64 = 8;

/// Calls of a router (softmax, best experts, loss of balance, map of the routes), and to bring rows into the order of the
/// experts and back: counted in Megatron-Core's `router` and `token_dispatcher`, about eight kernels each.
const CALLS_OF_A_ROUTER: i64 = 3;
const CALLS_OF_A_PERMUTATION: i64 = 2;

/// Ops of a backward pass that the host issues in the time of one of the forward pass: autograd walks what was recorded,
/// in C++, while modules are called from Python.
const CALLS_OF_BACKWARD: i64 = 4;

/// Whether autograd issues the ops of a phase.
fn is_replayed(phase: Phase) -> bool {
    matches!(phase, Phase::Backward | Phase::WeightGradient)
}

/// Calls of a softmax that is not one kernel: to fp32, scale, mask, maximum and sum, division, and back.
const CALLS_OF_A_SOFTMAX: i64 = 6;

/// Whether scale, mask and softmax are one kernel: Megatron-LM's works on four heads of sequences at a time
/// (`FusedScaleMaskSoftmax.is_kernel_available`).
fn has_fused_softmax(dims: &Dims, tensors: &[Tensor], op: &Op) -> bool {
    let scores = op.writes.first().map_or(0, |id| tensors[id.index()].local.elements());
    let matrix = u64::from(dims.sequence) * u64::from(dims.sequence);
    (scores / matrix.max(1)).is_multiple_of(4)
}

/// Whether the host goes on only when the op is done.
///
/// How many rows each expert gets is known on the device alone: Megatron-Core's dispatchers copy it to the host before
/// they allocate. All-reduces of a tensor group in the forward pass are waited for too: in vTrain's rows (Bang et al. 2024)
/// a layer then takes what its host takes forward and its device backward, at whatever micro-batch, while hosts of
/// devices without a tensor group run ahead. Where sequences are cut there are no all-reduces, and no such waits are seen.
pub fn is_awaited(op: &Op) -> bool {
    let all_reduce =
        matches!(op.kind, OpKind::Collective { collective: Collective::AllReduce(_), group: Group::Tensor });
    op.kind == OpKind::Dispatch || all_reduce && matches!(op.phase, Phase::Forward | Phase::Recompute)
}

/// Whether an op is done for a list of tensors at once: those of the optimizer.
pub fn is_batched(op: &Op) -> bool {
    let of_tensors =
        matches!(op.kind, OpKind::SumSquares { .. } | OpKind::Update { .. } | OpKind::Cast | OpKind::Fill(_));
    of_tensors && op.phase == Phase::Update
}

/// The time that the host takes to issue an op. All chunks of a matmul, with what belongs to them, are one call.
pub fn issue_time(device: &Device, mesh: &Mesh, dims: &Dims, tensors: &[Tensor], op: &Op) -> Nanos {
    let ends = op.reads.first().into_iter().chain(op.writes.first());
    let together = ends.map(|&id| chunks(tensors, id)).max().unwrap_or(1);
    let of_phase =
        if is_replayed(op.phase) { device.host_dispatch.0 / CALLS_OF_BACKWARD } else { device.host_dispatch.0 };
    let call = Nanos(of_phase / i64::try_from(together).unwrap_or(i64::MAX).max(1));
    match op.kind {
        OpKind::Collective { group, .. } if mesh.group_size(group) == 1 => Nanos::ZERO,
        // One kernel and no autograd of its own.
        OpKind::Collective { .. } => Nanos(call.0 / 2),
        OpKind::AttentionSoftmax | OpKind::AttentionSoftmaxGrad if !has_fused_softmax(dims, tensors, op) => {
            call * CALLS_OF_A_SOFTMAX
        }
        OpKind::Split | OpKind::Join | OpKind::Rotate | OpKind::Load => Nanos::ZERO,
        OpKind::Route | OpKind::RouteGrad => call * CALLS_OF_A_ROUTER,
        OpKind::Dispatch | OpKind::DispatchGrad | OpKind::Combine | OpKind::CombineGrad => {
            call * CALLS_OF_A_PERMUTATION
        }
        // A matmul for every expert, issued in a loop (Transformer Engine's `GroupedLinear`).
        OpKind::GroupedMatmul { .. } => call + Nanos(call.0 * i64::from(dims.local_experts) / KERNELS_OF_A_CALL),
        OpKind::Send(_) | OpKind::Receive(_) => call * CALLS_OF_AN_EXCHANGE,
        // A value is cast in the call of the layer that reads it (Transformer Engine).
        OpKind::Cast if op.phase != Phase::Update => Nanos::ZERO,
        _ if is_batched(op) => Nanos(call.0 / TENSORS_PER_LAUNCH),
        _ => call,
    }
}

/// Blocks of threads of a collective's kernel, each on a multiprocessor of its own: NCCL's rings have 16 channels where
/// links are as fast as NVLink (its `NCCL_MAX_CTAS` bounds them).
const CHANNELS: f64 = 16.0;

/// What a device loses of its compute, in time, to an op that takes `time` beside it: a collective over replicas runs on
/// some of its multiprocessors.
pub fn lent_time(device: &Device, mesh: &Mesh, op: &Op, time: Nanos) -> Nanos {
    let OpKind::Collective { collective, group } = op.kind else { return Nanos::ZERO };
    let copies = matches!(collective, Collective::Push | Collective::Pull);
    if op.kind.stream() != Stream::DataComm || copies || mesh.group_size(group) == 1 || device.multiprocessors == 0 {
        return Nanos::ZERO;
    }
    let share = (CHANNELS / f64::from(device.multiprocessors)).min(0.5);
    #[expect(clippy::cast_possible_truncation, reason = "shorter than the collective")]
    Nanos((time.0 as f64 * share).round() as i64)
}

/// The time of a copy of `bytes` to the host, or from where it keeps them: from drives at their rate, behind which the
/// way through the host's memory hides.
pub fn copy_time(device: &Device, bytes: Bytes, from: Place) -> Nanos {
    let copied = bytes / device.host.bandwidth;
    let read = if from == Place::Nvme { bytes / device.host.storage_bandwidth } else { Nanos::ZERO };
    device.launch_overhead + copied.max(read)
}

/// The time in which the host updates states, touching `bytes` of its memory: its cores are faster than that. Drives are
/// read and written while the host updates what is there.
pub fn host_update_time(device: &Device, bytes: Bytes, states: Bytes, place: Place) -> Nanos {
    let updated = bytes / device.host.memory_bandwidth;
    if place == Place::Nvme { updated.max(states / device.host.storage_bandwidth * 2) } else { updated }
}

/// The part of a kernel's launch that falls to one op.
pub fn launch_time(device: &Device, batched: bool) -> Nanos {
    if batched { Nanos(device.launch_overhead.0 / TENSORS_PER_LAUNCH) } else { device.launch_overhead }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::lower;
    use crate::scenario::{Scenario, check, preset_file};

    /// The time that the host takes for all ops of a phase and a kind, for some head count.
    fn issued(phase: Phase, softmax: bool, heads: u32) -> Nanos {
        let mut file = preset_file("gpt2-124m-8xa100").expect("a preset");
        file.model.heads = Some(heads);
        file.strategy.micro_batch = 1;
        file.strategy.attention = crate::scenario::AttentionKernel::Unfused;
        let scenario: Scenario = check(&file).expect("valid");
        let step = lower(&scenario);
        let device = &scenario.cluster().device;
        let ops = step.stages[0].segments.iter().flat_map(|segment| segment.ops());
        let chosen = ops.filter(|op| op.phase == phase && (op.kind == OpKind::AttentionSoftmax) == softmax);
        chosen.map(|op| issue_time(device, &step.mesh, &step.dims, &step.tensors, op)).sum()
    }

    #[test]
    fn a_backward_pass_is_issued_faster_than_its_forward() {
        assert!(issued(Phase::Backward, false, 12).0 < issued(Phase::Forward, false, 12).0);
    }

    #[test]
    fn a_softmax_of_heads_that_are_no_multiple_of_four_is_issued_in_parts() {
        let (fused, parts) = (issued(Phase::Forward, true, 12), issued(Phase::Forward, true, 6));
        assert_eq!(parts.0, fused.0 * CALLS_OF_A_SOFTMAX);
    }
}
