//! Third pass: appends the update: gradient norm, clipping and the optimizer's rule.

use super::differentiate::parameter_gradients;
use crate::cluster::Group;
use crate::graph::{
    Collective, DType, Op, OpGraph, OpKind, Part, Placement, Reduction, Role, Shape, Spread, Storage, Tensor, TensorId,
};
use crate::scenario::optimizer::BLOCK;
use crate::scenario::{Optimizer, Place};
use crate::trace::{Phase, name};

/// How what an optimizer keeps of a parameter lies beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateLayout {
    /// An element for each of the parameter's.
    Whole,
    /// An element for each row.
    Rows,
    /// An element for each column, of every expert where there are some.
    Columns,
    /// Two elements for each block of the parameter's: the scales of both moments.
    Blocks,
}

/// What an optimizer keeps of a parameter from step to step, or for Muon's result while it works.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// What it is called.
    pub name: &'static str,
    /// Its shape.
    pub layout: StateLayout,
    /// Its number format.
    pub dtype: DType,
    /// A moment, or space.
    pub role: Role,
}

const fn state(name: &'static str, layout: StateLayout, dtype: DType) -> State {
    State { name, layout, dtype, role: Role::Moment }
}

const FIRST: State = state("first moment", StateLayout::Whole, DType::F32);
const SECOND: State = state("second moment", StateLayout::Whole, DType::F32);
const ADAM_8BIT: [State; 3] = [
    state("first moment", StateLayout::Whole, DType::U8),
    state("second moment", StateLayout::Whole, DType::U8),
    state("scales of the moments", StateLayout::Blocks, DType::F32),
];
const ADAFACTOR: [State; 2] = [
    state("row sums of the second moment", StateLayout::Rows, DType::F32),
    state("column sums of the second moment", StateLayout::Columns, DType::F32),
];
const MUON: [State; 2] =
    [FIRST, State { name: "orthogonal update", layout: StateLayout::Whole, dtype: DType::Bf16, role: Role::Scratch }];

/// What `optimizer` keeps of a parameter of `shape`.
pub fn states(optimizer: Optimizer, shape: Shape) -> &'static [State] {
    match optimizer {
        Optimizer::Sgd => &[],
        Optimizer::Momentum => &[FIRST],
        Optimizer::Adam | Optimizer::AdamW => &[FIRST, SECOND],
        Optimizer::Adam8Bit => &ADAM_8BIT,
        Optimizer::Adafactor if shape.cols > 1 => &ADAFACTOR,
        Optimizer::Adafactor => &[SECOND],
        Optimizer::Muon => &MUON,
    }
}

impl StateLayout {
    /// The shape beside a parameter of `shape` that consists of `matrices` below each other.
    pub fn shape(self, shape: Shape, matrices: u32) -> Shape {
        match self {
            Self::Whole => shape,
            Self::Rows => Shape::vector(shape.rows),
            Self::Columns => Shape::vector(shape.cols.saturating_mul(matrices)),
            Self::Blocks => {
                let blocks = shape.elements().div_ceil(u64::from(BLOCK)) * 2;
                Shape::vector(u32::try_from(blocks).unwrap_or(u32::MAX))
            }
        }
    }
}

/// Number of hyper-parameters that the AdamW kernel reads.
pub const HYPER_PARAMETERS: u32 = 9;

/// Appends the update of every parameter.
///
/// Matrices decay, vectors (norms and biases) do not, as in Megatron-LM and nanoGPT.
pub fn optimize(mut graph: OpGraph, optimizer: Optimizer) -> OpGraph {
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
        let matrix = graph.tensor(parameter).shape.cols > 1;
        let optimizer = rule(&graph, parameter, optimizer);
        let mut writes = vec![parameter];
        for state in states(optimizer, graph.tensor(parameter).shape) {
            writes.push(add_state(&mut graph, parameter, state));
        }
        let decayed = if matrix && optimizer.decays() { u64::MAX } else { 0 };
        let kind = OpKind::Update { optimizer, decayed, sliced: false, times: 1 };
        push(&mut graph, kind, "update", parameter, vec![gradient, norm, hyper], writes);
    }
    graph
}

/// The rule for a parameter: Muon leaves all but the matrices of layers to AdamW (Jordan et al. 2024).
fn rule(graph: &OpGraph, parameter: TensorId, optimizer: Optimizer) -> Optimizer {
    let tensor = graph.tensor(parameter);
    let matrix_of_layer = tensor.shape.cols > 1 && matches!(tensor.part, Part::Layer(_));
    if optimizer == Optimizer::Muon && !matrix_of_layer { Optimizer::AdamW } else { optimizer }
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
        place: Place::Device,
    })
}

fn add_state(graph: &mut OpGraph, parameter: TensorId, state: &State) -> TensorId {
    let tensor = graph.tensor(parameter).clone();
    let matrices = if tensor.spread == Spread::Experts { graph.dims.experts.max(1) } else { 1 };
    let name = name(&[state.name, " of ", &tensor.name]);
    let shape = state.layout.shape(tensor.shape, matrices);
    let State { dtype, role, .. } = *state;
    graph.add_tensor(Tensor { name, shape, local: shape, dtype, role, ..tensor })
}

fn push(graph: &mut OpGraph, kind: OpKind, what: &str, of: TensorId, reads: Vec<TensorId>, writes: Vec<TensorId>) {
    let tensor = graph.tensor(of);
    let (name, part) = (name(&[&tensor.name, " ", what]), tensor.part);
    graph.ops.push(Op { kind, name, part, phase: Phase::Update, reads, writes });
}
