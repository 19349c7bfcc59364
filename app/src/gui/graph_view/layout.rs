//! Which ops are a node, and where it stands.

use std::collections::{BTreeMap, BTreeSet};

use egui::{Pos2, Rect, pos2};
use shardlab_engine::graph::{Op, Segment};
use shardlab_engine::trace::Stream;

use super::{COLUMN, NODE, ROW};
use crate::gui::i18n::t_with;

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeKind {
    /// An op, by its number in the segment.
    Op(usize),
    /// All ops of a layer.
    Layer(u32),
}

/// A node on screen.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub kind: NodeKind,
    /// Its ops by their numbers in the segment.
    pub ops: Vec<usize>,
    pub name: String,
    pub rect: Rect,
}

/// Where the nodes are on screen.
pub(super) struct Layout {
    pub nodes: Vec<Node>,
    /// The node of every op.
    pub node_of: Vec<usize>,
    pub columns: Vec<(Stream, f32)>,
}

/// The layer that an op's name tells.
pub(super) fn layer_of(name: &str) -> Option<u32> {
    let (_, behind) = name.split_once("layer ")?;
    let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

impl Layout {
    /// Places the ops of a segment: those of a layer that is not `open` as one node, where the first of them would stand.
    pub fn new(segment: &Segment, open: &BTreeSet<u32>, origin: Pos2, zoom: f32) -> Self {
        let x = |column: usize| origin.x + column as f32 * COLUMN * zoom;
        let (mut nodes, mut node_of) = (Vec::<Node>::new(), Vec::new());
        let mut folded: BTreeMap<u32, usize> = BTreeMap::new();
        for (number, op) in segment.ops().enumerate() {
            let layer = layer_of(&op.name).filter(|layer| !open.contains(layer));
            if let Some(place) = layer.and_then(|layer| folded.get(&layer).copied()) {
                nodes[place].ops.push(number);
                node_of.push(place);
                continue;
            }
            let place = nodes.len();
            folded.extend(layer.map(|layer| (layer, place)));
            nodes.push(node(number, op, layer));
            node_of.push(place);
        }
        let of_op: Vec<Stream> = segment.ops().map(|op| op.kind.stream()).collect();
        let stream_of = |node: &Node| match node.kind {
            NodeKind::Op(op) => of_op[op],
            NodeKind::Layer(_) => Stream::Compute,
        };
        // Streams whose ops all lie in folded layers have no column.
        let used: BTreeSet<Stream> = nodes.iter().map(stream_of).collect();
        let streams: Vec<Stream> = Stream::ALL.into_iter().filter(|stream| used.contains(stream)).collect();
        for (row, node) in nodes.iter_mut().enumerate() {
            let stream = stream_of(node);
            let column = streams.iter().position(|of| *of == stream).unwrap_or(0);
            let at = pos2(x(column) + 8.0 * zoom, origin.y + row as f32 * ROW * zoom);
            node.rect = Rect::from_min_size(at, NODE * zoom);
            if let NodeKind::Layer(layer) = node.kind {
                node.name = t_with("graph.layer", layer).replace("{ops}", &node.ops.len().to_string());
            }
        }
        let columns = streams.iter().enumerate().map(|(column, &stream)| (stream, x(column))).collect();
        Self { nodes, node_of, columns }
    }
}

fn node(number: usize, op: &Op, layer: Option<u32>) -> Node {
    let kind = layer.map_or(NodeKind::Op(number), NodeKind::Layer);
    Node { kind, ops: vec![number], name: op.name.to_string(), rect: Rect::NOTHING }
}

#[cfg(test)]
mod tests {
    use super::layer_of;

    #[test]
    fn layers_are_read_off_names() {
        assert_eq!(layer_of("layer 12 qkv"), Some(12));
        assert_eq!(layer_of("recompute layer 3 norm"), Some(3));
        assert_eq!(layer_of("embedding tokens"), None);
        assert_eq!(layer_of("layer norm"), None);
    }
}
