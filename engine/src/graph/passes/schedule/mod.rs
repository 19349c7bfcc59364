//! Seventh pass: pipeline stages, micro-batches, gradient buckets and their order.

mod buckets;
mod compression;
mod flat;
mod gathers;
mod matrices;
mod offload;
mod pieces;
mod single;
mod split;
mod states;
mod updates;
mod weights;
mod zero;

use std::collections::BTreeMap;

use petgraph::graph::{DiGraph, NodeIndex};

use crate::cluster::Group;
use crate::graph::{
    Op, OpGraph, OpKind, Piece, SegmentId, SegmentKind, Stage, StageMemory, StepGraph, Task, TensorId, TensorMap,
};
use crate::graph::{Segment, SegmentMemory};
use crate::scenario::pipeline::{Pass, Slot, slots};
use crate::scenario::{Scenario, Strategy, UpdateRule};
pub use compression::{is_factored, is_piece, lies_in};
pub use split::{ChunkPlan, StagePlan};
pub use states::matrices;

/// Splits the ops of one rank into the programs of all stages.
pub fn schedule(graph: OpGraph, scenario: &Scenario) -> StepGraph {
    let strategy = scenario.strategy();
    let (mut tensors, mut plans) = split::split(graph, scenario);
    let dims = crate::graph::Dims::of(scenario);
    let mut flats = Vec::new();
    for (stage, plan) in plans.stages.iter_mut().enumerate() {
        if strategy.schedule.splits_backward() {
            plan.chunks.iter_mut().for_each(|chunk| weights::take_out(&tensors, chunk));
        }
        let of_stage = buckets::bucket(&mut tensors, plan, scenario, turns(strategy, stage));
        updates::apply(&mut tensors, plan, scenario);
        compression::compress(&mut tensors, plan, scenario);
        offload::offload(&mut tensors, plan, strategy);
        single::copy_gradients(&mut tensors, plan);
        states::fit(&mut tensors, plan, &dims);
        flats.extend(of_stage.iter().map(|flat| flat.place(stage)));
    }
    let micro_batches = scenario.micro_batches();
    // Of every chunk.
    let own = micro_batches / strategy.layout().copies();
    let paired = strategy.overlap_micro_batches;
    let slots = slots(&strategy.schedule, strategy.layout(), micro_batches, paired);
    let cut = paired.then(|| pieces::hidden_group(strategy)).flatten();
    let mut writers = TensorMap::new(tensors.len());
    let build = |(plan, slots): (StagePlan, Vec<Slot>)| build(plan, &slots, own, paired, cut, &mut writers);
    let stages = plans.stages.into_iter().zip(slots).map(build).collect();
    let sums_replicas = matches!(strategy.update, UpdateRule::Synchronous | UpdateRule::Asynchronous);
    let (mesh, transfers) = (scenario.mesh(), plans.transfers);
    StepGraph { mesh, dims, micro_batches, sums_replicas, transfers, tensors, flats, stages }
}

/// The chunks of a stage in the order in which they are communicated about. A stage and its mirror image have the same
/// layers in different chunks: both start with those of the copy whose first stage is nearer.
fn turns(strategy: &Strategy, stage: usize) -> impl Iterator<Item = usize> + use<> {
    let layout = strategy.layout();
    let (count, far) = (layout.chunks as usize, layout.copies() > 1 && stage >= layout.stages as usize / 2);
    (0..count).map(move |chunk| if far { count - 1 - chunk } else { chunk })
}

/// Turns the op lists of a stage into segments and puts them in order. What is to run side by side is cut behind the
/// collectives of a group.
fn build(
    plan: StagePlan,
    slots: &[Slot],
    micro_batches: u32,
    paired: bool,
    cut: Option<Group>,
    writers: &mut TensorMap<NodeIndex>,
) -> Stage {
    let mut segments = vec![segment(SegmentKind::Begin, 0, Piece::WHOLE, plan.begin, writers)];
    let mut layers = Vec::new();
    for (number, chunk) in (0..).zip(plan.chunks) {
        layers.push(chunk.layers);
        let lists = [
            (SegmentKind::Forward, Some(chunk.forward)),
            (SegmentKind::Backward, Some(chunk.backward)),
            (SegmentKind::Weight, chunk.weight),
            (SegmentKind::BackwardLast, chunk.backward_last),
            (SegmentKind::WeightLast, chunk.weight_last),
        ];
        for (kind, ops) in lists.into_iter().filter_map(|(kind, ops)| Some((kind, ops?))) {
            let pieces = pieces::cut(ops, cut.filter(|_| pieces::runs_beside(kind)));
            segments.extend(pieces.into_iter().map(|(piece, ops)| segment(kind, number, piece, ops, writers)));
        }
    }
    segments.push(segment(SegmentKind::Update, 0, Piece::WHOLE, plan.update, writers));
    let tasks = tasks(&segments, slots, micro_batches, paired);
    Stage { chunks: layers, segments, tasks, memory: StageMemory::default() }
}

/// Begin, the slots of the schedule, update.
fn tasks(segments: &[Segment], slots: &[Slot], micro_batches: u32, paired: bool) -> Vec<Task> {
    let find = |kind: SegmentKind, chunk: u32| -> Vec<SegmentId> {
        #[expect(clippy::cast_possible_truncation, reason = "segments are few")]
        let numbered = segments.iter().enumerate().map(|(number, segment)| (SegmentId(number as u32), segment));
        numbered.filter(|(_, s)| s.kind == kind && s.chunk == chunk).map(|(id, _)| id).collect()
    };
    let once = |kind| find(kind, 0).into_iter().map(|segment| Task { segment, micro_batch: None });
    // The last of each kind reduces the gradients, whichever micro-batch it is.
    let mut left: BTreeMap<(Pass, u32), u32> = BTreeMap::new();
    let mut of_slot = |slot: &Slot| -> Vec<Task> {
        let kind = match slot.pass {
            Pass::Forward => SegmentKind::Forward,
            Pass::Backward => SegmentKind::Backward,
            Pass::Weight => SegmentKind::Weight,
        };
        let left = left.entry((slot.pass, slot.chunk)).or_insert(micro_batches);
        *left -= 1;
        let last = if *left == 0 { find(kind.of_last(), slot.chunk) } else { Vec::new() };
        let pieces = if last.is_empty() { find(kind, slot.chunk) } else { last };
        pieces.into_iter().map(|segment| Task { segment, micro_batch: Some(slot.micro_batch) }).collect()
    };
    let mut middle = Vec::new();
    let mut rest = slots.iter().peekable();
    while let Some(slot) = rest.next() {
        let tasks = of_slot(slot);
        match rest.next_if(|next| paired && pieces::run_together(slot, next)) {
            Some(beside) => middle.extend(pieces::side_by_side(tasks, of_slot(beside))),
            None => middle.extend(tasks),
        }
    }
    once(SegmentKind::Begin).chain(middle).chain(once(SegmentKind::Update)).collect()
}

/// Builds the DAG of a list of ops: an edge from the last writer of each tensor that an op mentions. `writers` is room
/// for these.
fn segment(kind: SegmentKind, chunk: u32, piece: Piece, ops: Vec<Op>, writers: &mut TensorMap<NodeIndex>) -> Segment {
    let mut graph = DiGraph::with_capacity(ops.len(), 2 * ops.len());
    writers.clear();
    let mut edges: Vec<(NodeIndex, TensorId)> = Vec::new();
    for op in ops {
        let node = NodeIndex::new(graph.node_count());
        for &id in op.reads.iter().chain(&op.writes) {
            let Some(from) = writers.get(id) else { continue };
            match edges.iter_mut().find(|(other, _)| *other == from) {
                Some((_, last)) => *last = id,
                None => edges.push((from, id)),
            }
        }
        op.writes.iter().for_each(|&id| writers.update(id, |_| node));
        graph.add_node(op);
        for (from, id) in edges.drain(..) {
            graph.add_edge(from, node, id);
        }
    }
    Segment { kind, chunk, piece, graph, memory: SegmentMemory::default() }
}

/// An op of the update that clears `tensor`.
fn clear(name: &str, tensor: TensorId, like: &Op) -> Op {
    Op {
        kind: OpKind::Fill(0.0),
        name: format!("{name} clear").into(),
        reads: Vec::new(),
        writes: vec![tensor],
        ..like.clone()
    }
}
