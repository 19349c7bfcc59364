//! The step graph as text: DOT for Graphviz, and a JSON document.

use std::fmt::Write as _;

use petgraph::dot::{Config, Dot};
use serde::Serialize;

use super::{Dims, Op, StageMemory, StepGraph, Task, Tensor};
use crate::cluster::Mesh;

/// The step graph as a document: `serde_json` writes it.
#[derive(Debug, Serialize)]
pub struct StepGraphDocument<'a> {
    /// Version of this layout.
    pub schema_version: u32,
    /// The ranks.
    pub mesh: Mesh,
    /// Sizes of a micro-batch.
    pub dims: Dims,
    /// Micro-batches per step.
    pub micro_batches: u32,
    /// All values; ops refer to them by index.
    pub tensors: &'a [Tensor],
    /// One program per stage.
    pub stages: Vec<StageDocument<'a>>,
}

/// A stage of [`StepGraphDocument`].
#[derive(Debug, Serialize)]
pub struct StageDocument<'a> {
    chunks: &'a [Option<(u32, u32)>],
    memory: StageMemory,
    tasks: &'a [Task],
    segments: Vec<SegmentDocument<'a>>,
}

/// A segment of [`StageDocument`]; edges are pairs of op indices.
#[derive(Debug, Serialize)]
pub struct SegmentDocument<'a> {
    kind: super::SegmentKind,
    chunk: u32,
    ops: Vec<&'a Op>,
    edges: Vec<(usize, usize)>,
}

impl StepGraph {
    /// The graph as a document.
    pub fn document(&self) -> StepGraphDocument<'_> {
        let segment = |segment: &'_ super::Segment| {
            (
                segment.kind,
                segment.graph.raw_edges().iter().map(|e| (e.source().index(), e.target().index())).collect::<Vec<_>>(),
            )
        };
        let stages = self.stages.iter().map(|stage| StageDocument {
            chunks: &stage.chunks,
            memory: stage.memory,
            tasks: &stage.tasks,
            segments: stage
                .segments
                .iter()
                .map(|s| {
                    let (kind, edges) = segment(s);
                    SegmentDocument { kind, chunk: s.chunk, ops: s.ops().collect(), edges }
                })
                .collect(),
        });
        StepGraphDocument {
            schema_version: 1,
            mesh: self.mesh,
            dims: self.dims,
            micro_batches: self.micro_batches,
            tensors: &self.tensors,
            stages: stages.collect(),
        }
    }
}

/// All segments of all stages in the language of Graphviz, one cluster per segment.
pub fn dot(step: &StepGraph) -> String {
    let mut text = String::from("digraph step {\n  node [shape=box, fontname=\"sans-serif\"];\n");
    for (s, stage) in step.stages.iter().enumerate() {
        for (g, segment) in stage.segments.iter().enumerate() {
            let chunk = if stage.chunks.len() > 1 { format!(" of chunk {}", segment.chunk) } else { String::new() };
            let kind = format!("{}{chunk}", segment.kind.name());
            let _ = writeln!(text, "  subgraph cluster_{s}_{g} {{\n    label=\"stage {s} {kind}\";");
            let named = segment.graph.map(|_, op| op.name.clone(), |_, &id| step.tensor(id).name.clone());
            let body = format!("{:?}", Dot::with_config(&named, &[Config::GraphContentOnly]));
            for line in body.lines() {
                let _ = writeln!(text, "  {}", prefixed(line, &format!("s{s}g{g}n")));
            }
            text.push_str("  }\n");
        }
    }
    text.push_str("}\n");
    text
}

/// Node numbers start anew in every segment; this makes them unique: `  0 -> 1 […]` to `  s0g1n0 -> s0g1n1 […]`.
fn prefixed(line: &str, prefix: &str) -> String {
    let (nodes, rest) = line.split_once('[').unwrap_or((line, ""));
    let nodes = nodes.split(" -> ").map(|node| format!("{prefix}{}", node.trim())).collect::<Vec<_>>().join(" -> ");
    if rest.is_empty() { String::new() } else { format!("  {nodes} [{rest}") }
}
