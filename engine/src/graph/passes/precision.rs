//! Sixth pass: number formats. Mixed precision keeps fp32 master weights and accumulates gradients in fp32
//! (Micikevicius et al. 2018; bf16 needs no loss scale).

use crate::graph::{DType, Op, OpGraph, OpKind, Role, Storage, Tensor, TensorId};
use crate::scenario::Precision;

/// Applies the strategy's precision.
pub fn precision(graph: OpGraph, precision: Precision) -> OpGraph {
    match precision {
        Precision::Fp32 => graph,
        Precision::Bf16 => bf16(graph),
    }
}

fn bf16(mut graph: OpGraph) -> OpGraph {
    let kept = statistics(&graph);
    for (index, tensor) in graph.tensors.iter_mut().enumerate() {
        let rounded = matches!(tensor.role, Role::Parameter | Role::Activation | Role::Scratch);
        if rounded && !kept[index] {
            tensor.dtype = DType::Bf16;
        }
    }
    master_weights(graph)
}

/// Which tensors stay in fp32: row statistics, on which every element of a row depends.
fn statistics(graph: &OpGraph) -> Vec<bool> {
    let mut kept = vec![false; graph.tensors.len()];
    for op in &graph.ops {
        let small: &[TensorId] = match op.kind {
            OpKind::Norm | OpKind::Attention | OpKind::AttentionGrad => &op.writes[1..],
            OpKind::RowMax | OpKind::SumExp => &op.writes,
            OpKind::Collective { .. } if kept[op.reads[0].index()] => &op.writes,
            OpKind::Collective { .. } if graph.tensor(op.reads[0]).role != Role::Activation => &op.writes,
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
        let OpKind::AdamW { .. } = op.kind else {
            graph.ops.push(op);
            continue;
        };
        let parameter = op.writes[0];
        let tensor = graph.tensor(parameter).clone();
        let name = format!("master of {}", tensor.name);
        let master = graph.add_tensor(Tensor { name, dtype: DType::F32, role: Role::MasterWeight, ..tensor });
        op.writes[0] = master;
        let name = format!("{} cast", op.name);
        let cast = Op { kind: OpKind::Cast, name, reads: vec![master], writes: vec![parameter], ..op.clone() };
        graph.ops.extend([op, cast]);
    }
    graph
}
