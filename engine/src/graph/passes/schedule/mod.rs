//! Seventh pass: pipeline stages, micro-batches, gradient buckets and their order.

mod buckets;
mod order;
mod split;

use std::collections::BTreeMap;

use petgraph::graph::DiGraph;

use crate::graph::{Op, OpGraph, OpKind, SegmentKind, Stage, StageMemory, StepGraph, TensorId};
use crate::graph::{Segment, SegmentMemory};
use crate::scenario::Scenario;
pub use order::task_order;
pub use split::{StagePlan, layers_of_stages};

/// Splits the ops of one rank into the programs of all stages.
pub fn schedule(graph: OpGraph, scenario: &Scenario) -> StepGraph {
    let mesh = scenario.mesh();
    let (mut tensors, mut plans) = split::split(graph, scenario);
    let dims = crate::graph::Dims::of(scenario);
    for plan in &mut plans.stages {
        buckets::bucket(&mut tensors, plan, scenario);
    }
    let stages = plans.stages.into_iter().enumerate().map(|(stage, plan)| build(stage, plan, scenario)).collect();
    StepGraph { mesh, dims, micro_batches: scenario.micro_batches(), tensors, stages }
}

/// Turns the op lists of a stage into segments and puts them in order.
fn build(stage: usize, plan: StagePlan, scenario: &Scenario) -> Stage {
    let mut segments = vec![
        segment(SegmentKind::Begin, plan.begin),
        segment(SegmentKind::Forward, plan.forward),
        segment(SegmentKind::Backward, plan.backward),
    ];
    if let Some(last) = plan.backward_last {
        segments.push(segment(SegmentKind::BackwardLast, last));
    }
    segments.push(segment(SegmentKind::Update, plan.update));
    let tasks = order::tasks(stage, &segments, scenario);
    Stage { layers: plan.layers, segments, tasks, memory: StageMemory::default() }
}

/// Builds the DAG of a list of ops: an edge from the last writer of each tensor that an op mentions.
fn segment(kind: SegmentKind, ops: Vec<Op>) -> Segment {
    let mut graph = DiGraph::with_capacity(ops.len(), 2 * ops.len());
    let mut writer = BTreeMap::new();
    for op in ops {
        let (reads, writes) = (op.reads.clone(), op.writes.clone());
        let node = graph.add_node(op);
        for id in reads.iter().chain(&writes) {
            if let Some(&from) = writer.get(id)
                && from != node
            {
                graph.update_edge(from, node, *id);
            }
        }
        writer.extend(writes.into_iter().map(|id| (id, node)));
    }
    Segment { kind, graph, memory: SegmentMemory::default() }
}

/// An op of the update that clears `tensor`.
fn clear(name: &str, tensor: TensorId, like: &Op) -> Op {
    Op {
        kind: OpKind::Fill(0.0),
        name: format!("{name} clear"),
        reads: Vec::new(),
        writes: vec![tensor],
        ..like.clone()
    }
}
