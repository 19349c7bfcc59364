//! The dataflow graph of a training step, and the passes that lower a scenario to it.
//!
//! [`lower`] is a compiler. Each pass takes a graph, returns a graph, and knows nothing of cost:
//!
//! ```text
//! forward → differentiate → optimize → recompute → shard → experts → context → precision → schedule → plan_memory
//! └──────────────── OpGraph: one micro-batch, then one update ───────────────┘   └─ StepGraph ─┘
//! ```
//!
//! An [`OpGraph`] is what one replica does with one micro-batch and then in the update, first on one device,
//! after `shard`, `experts` and `context` on one rank.
//! A [`StepGraph`] is the SPMD program of every pipeline stage: segments (petgraph DAGs of ops) and the order in
//! which they run over micro-batches. It does not grow with the number of ranks.

mod dims;
mod exchange;
mod op;
pub mod passes;
mod print;
mod step;
mod tensor;
mod tensor_map;
mod verify;

pub use dims::Dims;
pub use exchange::{Collective, Direction, Reduction, Transfer};
pub use op::{CompressionStep, Epilogue, Op, OpKind, Part, Window};
pub use print::{StepGraphDocument, dot};
pub use step::{FlatPlace, Piece, Segment, SegmentId, SegmentKind, SegmentMemory, Stage, StageMemory, StepGraph, Task};
pub use tensor::{ALLOCATION_ALIGNMENT, DType, Dim, Placement, Role, Shape, Spread, Storage, Tensor, TensorId};
pub(crate) use tensor_map::TensorMap;
pub use verify::GraphError;

use crate::scenario::{Recompute, Scenario};

pub use passes::budget::Repeats;

/// The ops of one micro-batch and of the update, in program order.
#[derive(Clone, Debug, PartialEq)]
pub struct OpGraph {
    /// Sizes that kernels need beside their tensors' shapes.
    pub dims: Dims,
    /// All values.
    pub tensors: Vec<Tensor>,
    /// Ops in an order in which they may run.
    pub ops: Vec<Op>,
}

impl OpGraph {
    /// The tensor with this handle.
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.index()]
    }

    /// Adds a tensor.
    pub fn add_tensor(&mut self, tensor: Tensor) -> TensorId {
        let id = TensorId::new(self.tensors.len());
        self.tensors.push(tensor);
        id
    }
}

/// Lowers a scenario through all passes.
pub fn lower(scenario: &Scenario) -> StepGraph {
    let strategy = scenario.strategy();
    match strategy.recompute {
        Recompute::Budget => {
            passes::budget::within(scenario, strategy.recompute_budget, |repeats| lower_repeating(scenario, repeats))
        }
        _ => lower_repeating(scenario, &Repeats::default()),
    }
}

/// The same with a choice of what is computed again in the backward pass, where a budget decides about it.
pub fn lower_repeating(scenario: &Scenario, repeats: &Repeats) -> StepGraph {
    let graph = passes::forward::forward(scenario);
    let graph = passes::differentiate::differentiate(graph);
    let graph = passes::optimize::optimize(graph, scenario.strategy().optimizer);
    let graph = passes::recompute::recompute(graph, scenario.strategy(), repeats);
    let graph = passes::shard::shard(graph, scenario.strategy());
    let graph = passes::overlap::overlap(graph, scenario.strategy().tensor_chunks, scenario.mesh().tp);
    let graph = passes::experts::experts(graph, scenario.strategy(), scenario.experts_per_token());
    let graph = passes::context::context(graph, scenario.strategy());
    let graph = passes::precision::precision(graph, scenario.strategy());
    let graph = passes::offload::offload(graph, scenario.strategy());
    let graph = passes::compress::compress(graph, scenario.strategy());
    let graph = passes::load::load(graph, scenario);
    let step = passes::schedule::schedule(graph, scenario);
    passes::plan_memory::plan_memory(step)
}
