//! Sixth pass: number formats. Mixed precision keeps fp32 master weights and accumulates gradients in fp32
//! (Micikevicius et al. 2018; bf16 needs no loss scale).

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::{DType, Op, OpGraph, OpKind, Part, Role, Storage, Tensor, TensorId};
use crate::scenario::{GradientFormat, Precision, Strategy};
use crate::trace::{Phase, name};

/// Applies the strategy's precision.
pub fn precision(graph: OpGraph, strategy: &Strategy) -> OpGraph {
    let half = |graph, format| half(graph, format, strategy.gradient_format);
    match strategy.precision {
        Precision::Fp32 => graph,
        Precision::Tf32 => tf32(graph),
        Precision::Fp16 => half(graph, DType::F16),
        Precision::Bf16 => half(graph, DType::Bf16),
        Precision::Fp8 => narrow(half(graph, DType::Bf16), DType::F8),
        Precision::Fp8Block => narrow(half(graph, DType::Bf16), DType::F8Block),
        Precision::Nvfp4 => narrow(half(graph, DType::Bf16), DType::F4),
    }
}

/// Matmul inputs are rounded on their way into the matrix units; nothing changes in memory.
fn tf32(mut graph: OpGraph) -> OpGraph {
    for tensor in &mut graph.tensors {
        if matches!(tensor.role, Role::Parameter | Role::Activation) && tensor.dtype == DType::F32 {
            tensor.dtype = DType::Tf32;
        }
    }
    graph
}

/// Casts what the layers' matmuls read to fp8 or less, each value once. Weights are cast with the update, so that every
/// micro-batch finds them; embedding and head stay in 16 bits, as Transformer Engine leaves them.
fn narrow(mut graph: OpGraph, format: DType) -> OpGraph {
    let mut casts: BTreeMap<TensorId, TensorId> = BTreeMap::new();
    let mut gradients: BTreeSet<TensorId> = BTreeSet::new();
    for mut op in std::mem::take(&mut graph.ops) {
        // Of what was computed backwards, and what of it was handed around.
        let backward = match op.kind {
            OpKind::Collective { .. } => op.reads.first().is_some_and(|id| gradients.contains(id)),
            _ => op.phase == Phase::Backward,
        };
        gradients.extend(op.writes.iter().filter(|_| backward));
        if matches!(op.kind, OpKind::Matmul { .. } | OpKind::GroupedMatmul { .. }) && matches!(op.part, Part::Layer(_))
        {
            for read in 0..2 {
                let id = op.reads[read];
                // Gradients need range more than digits (Micikevicius et al. 2022, section 3.2).
                let of_gradient = format == DType::F8 && gradients.contains(&id);
                let format = if of_gradient { DType::F8Gradient } else { format };
                let cast = casts.get(&id).copied().unwrap_or_else(|| cast_to(&mut graph, id, &op, format));
                casts.insert(id, cast);
                op.reads[read] = cast;
            }
        }
        graph.ops.push(op);
    }
    graph
}

/// Appends the cast of a value, or for a weight puts it into the update.
fn cast_to(graph: &mut OpGraph, id: TensorId, reader: &Op, format: DType) -> TensorId {
    let tensor = graph.tensor(id).clone();
    if tensor.role == Role::Parameter {
        // The bf16 copy of a weight gives way to a narrow one of the same role.
        graph.tensors[id.index()].dtype = format;
        return id;
    }
    let short = match format {
        DType::F32 => "fp32",
        DType::F4 => "fp4",
        _ => "fp8",
    };
    let name = format!("{} in {short}", tensor.name);
    let cast = graph.add_tensor(Tensor { name: name.clone().into(), dtype: format, storage: Storage::Own, ..tensor });
    let op = Op { kind: OpKind::Cast, name: name.into(), reads: vec![id], writes: vec![cast], ..reader.clone() };
    graph.ops.push(op);
    cast
}

fn half(mut graph: OpGraph, format: DType, gradients: GradientFormat) -> OpGraph {
    let kept = statistics(&graph, gradients);
    for (index, tensor) in graph.tensors.iter_mut().enumerate() {
        let rounded = matches!(tensor.role, Role::Parameter | Role::Activation | Role::Scratch)
            || tensor.role == Role::Gradient && gradients == GradientFormat::Compute;
        if rounded && tensor.dtype == DType::F32 && !kept[index] {
            tensor.dtype = format;
        }
    }
    let graph = master_weights(single_loss(graph));
    if gradients == GradientFormat::Both { summed_apart(graph, format) } else { graph }
}

/// The loss is computed in fp32: it reads a copy of the logits, which waits for the backward pass in their place
/// (Micikevicius et al. 2018, section 3.3; Megatron-LM's and PyTorch's cross-entropy cast them first).
fn single_loss(mut graph: OpGraph) -> OpGraph {
    let mut copies: BTreeMap<TensorId, TensorId> = BTreeMap::new();
    for mut op in std::mem::take(&mut graph.ops) {
        if matches!(op.kind, OpKind::RowMax | OpKind::SumExp | OpKind::CrossEntropyGrad) {
            let logits = op.reads[0];
            op.reads[0] = copies.get(&logits).copied().unwrap_or_else(|| cast_to(&mut graph, logits, &op, DType::F32));
            copies.insert(logits, op.reads[0]);
        }
        graph.ops.push(op);
    }
    graph
}

/// Backward ops add to gradients in 16 bits, beside the sums in fp32 to which each micro-batch then adds them. These are
/// cleared for the next one (DeepSpeed's `BF16_Optimizer.update_hp_grad`).
fn summed_apart(mut graph: OpGraph, format: DType) -> OpGraph {
    let mut copies: BTreeMap<TensorId, TensorId> = BTreeMap::new();
    for mut op in std::mem::take(&mut graph.ops) {
        if op.phase != Phase::Backward {
            graph.ops.push(op);
            continue;
        }
        let mut sums = Vec::new();
        for id in &mut op.writes {
            let sum = graph.tensor(*id).clone();
            if sum.role == Role::Gradient {
                let name = name(&[&sum.name, " as computed"]);
                let copy = Tensor { name, dtype: format, role: Role::ComputedGradient, ..sum };
                let copy = *copies.entry(*id).or_insert_with(|| graph.add_tensor(copy));
                sums.push((copy, std::mem::replace(id, copy)));
            }
        }
        let add = |(copy, sum)| Op {
            kind: OpKind::Add,
            name: name(&[&op.name, " sum"]),
            reads: vec![copy, sum],
            writes: vec![sum],
            ..op.clone()
        };
        let clear = |copy| Op {
            kind: OpKind::Fill(0.0),
            name: name(&[&op.name, " clear"]),
            reads: Vec::new(),
            writes: vec![copy],
            ..op.clone()
        };
        let sums: Vec<Op> = sums.into_iter().flat_map(|pair| [add(pair), clear(pair.0)]).collect();
        graph.ops.push(op);
        graph.ops.extend(sums);
    }
    graph
}

/// Which tensors stay in fp32: row statistics, on which every element of a row depends.
fn statistics(graph: &OpGraph, gradients: GradientFormat) -> Vec<bool> {
    let summed_in_single = |id: TensorId| match graph.tensor(id).role {
        Role::Activation => false,
        Role::Gradient => gradients != GradientFormat::Compute,
        _ => true,
    };
    let mut kept = vec![false; graph.tensors.len()];
    for op in &graph.ops {
        let small: &[TensorId] = match op.kind {
            OpKind::Norm | OpKind::Attention | OpKind::AttentionGrad => &op.writes[1..],
            OpKind::ContextAttention { .. } => &op.writes[1..],
            OpKind::ContextAttentionGrad { .. } => &op.writes[2..],
            OpKind::RowMax | OpKind::SumExp | OpKind::ClassSums | OpKind::Route => &op.writes,
            OpKind::BatchNorm | OpKind::BatchNormGrad | OpKind::GroupNorm(_) => &op.writes[1..],
            // Tables are updated as they are.
            OpKind::EmbeddingBag => &op.reads[1..],
            OpKind::Collective { .. } if kept[op.reads[0].index()] => &op.writes,
            OpKind::Collective { .. } if summed_in_single(op.reads[0]) => &op.writes,
            _ => &[],
        };
        for id in small {
            kept[id.index()] = true;
        }
    }
    for (index, tensor) in graph.tensors.iter().enumerate() {
        if let Storage::View { of, .. } | Storage::Slice { of } = tensor.storage {
            kept[index] |= kept[of.index()];
        }
    }
    kept
}

/// The optimizer updates an fp32 copy of each parameter, from which the bf16 one is cast.
fn master_weights(mut graph: OpGraph) -> OpGraph {
    for mut op in std::mem::take(&mut graph.ops) {
        let OpKind::Update { .. } = op.kind else {
            graph.ops.push(op);
            continue;
        };
        let parameter = op.writes[0];
        let tensor = graph.tensor(parameter).clone();
        let master = name(&["master of ", &tensor.name]);
        let master = graph.add_tensor(Tensor { name: master, dtype: DType::F32, role: Role::MasterWeight, ..tensor });
        op.writes[0] = master;
        let name = name(&[&op.name, " cast"]);
        let cast = Op { kind: OpKind::Cast, name, reads: vec![master], writes: vec![parameter], ..op.clone() };
        graph.ops.extend([op, cast]);
    }
    graph
}
