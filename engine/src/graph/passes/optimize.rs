//! Third pass: appends the update: gradient norm, clipping and AdamW (Loshchilov & Hutter 2019).

use super::differentiate::parameter_gradients;
use crate::cluster::Group;
use crate::graph::{
    Collective, DType, Op, OpGraph, OpKind, Part, Placement, Reduction, Role, Shape, Spread, Storage, Tensor, TensorId,
};
use crate::trace::Phase;

/// Number of hyper-parameters that the AdamW kernel reads.
pub const HYPER_PARAMETERS: u32 = 8;

/// Appends the update of every parameter.
///
/// Matrices decay, vectors (norms and biases) do not, as in Megatron-LM and nanoGPT.
pub fn optimize(mut graph: OpGraph) -> OpGraph {
    let norm = scalar(&mut graph, "gradient norm squared", 1);
    let hyper = scalar(&mut graph, "hyper-parameters", HYPER_PARAMETERS);
    let pairs = parameter_gradients(&graph);
    for &(parameter, gradient) in &pairs {
        push(&mut graph, OpKind::SumSquares { copies: 1 }, "norm", parameter, vec![gradient], vec![norm]);
    }
    let kind = OpKind::Collective { collective: Collective::AllReduce(Reduction::Sum), group: Group::Model };
    let name = "gradient norm".to_owned();
    graph.ops.push(Op {
        kind,
        name: name.into(),
        part: Part::Head,
        phase: Phase::Update,
        reads: vec![norm],
        writes: vec![norm],
    });
    for (parameter, gradient) in pairs {
        let (first, second) = (moment(&mut graph, parameter, "first"), moment(&mut graph, parameter, "second"));
        let decayed = if graph.tensor(parameter).shape.cols > 1 { u64::MAX } else { 0 };
        let writes = vec![parameter, first, second];
        push(
            &mut graph,
            OpKind::AdamW { decayed, sliced: false },
            "update",
            parameter,
            vec![gradient, norm, hyper],
            writes,
        );
    }
    graph
}

fn scalar(graph: &mut OpGraph, name: &str, n: u32) -> TensorId {
    let shape = Shape::vector(n);
    graph.add_tensor(Tensor {
        name: name.to_owned().into(),
        shape,
        local: shape,
        dtype: DType::F32,
        role: Role::Scalar,
        part: Part::Head,
        placement: Placement::Replicate,
        spread: Spread::Tensor,
        storage: Storage::Own,
    })
}

fn moment(graph: &mut OpGraph, parameter: TensorId, which: &str) -> TensorId {
    let tensor = graph.tensor(parameter).clone();
    let name = format!("{which} moment of {}", tensor.name);
    graph.add_tensor(Tensor { name: name.into(), role: Role::Moment, ..tensor })
}

fn push(graph: &mut OpGraph, kind: OpKind, what: &str, of: TensorId, reads: Vec<TensorId>, writes: Vec<TensorId>) {
    let tensor = graph.tensor(of);
    let (name, part) = (format!("{} {what}", tensor.name), tensor.part);
    graph.ops.push(Op { kind, name: name.into(), part, phase: Phase::Update, reads, writes });
}
