//! The step graph: the ops of one segment in program order, in columns by stream, with their data edges.

use egui::{Align2, ComboBox, FontId, Pos2, Rect, Sense, Ui, Vec2, pos2, vec2};
use shardlab_engine::graph::{Op, Segment, SegmentKind};
use shardlab_engine::trace::Stream;

use super::design_tokens::{class_color, edge_stroke, grid_stroke, on_slice, selection_stroke};
use super::i18n::{t, t_or_name, t_with};
use super::inspector::Selection;
use super::session::Run;

/// Size of a node, and the room around it, at zoom 1.
const NODE: Vec2 = vec2(210.0, 20.0);
const ROW: f32 = 30.0;
const COLUMN: f32 = 270.0;
/// Below this zoom names are too small to read and are not drawn.
const READABLE: f32 = 0.45;

/// Which segment is shown, and from where it is looked at.
#[derive(Debug)]
pub struct GraphView {
    stage: usize,
    segment: usize,
    offset: Vec2,
    zoom: f32,
    search: String,
}

impl Default for GraphView {
    fn default() -> Self {
        Self { stage: 0, segment: 1, offset: vec2(12.0, 26.0), zoom: 1.0, search: String::new() }
    }
}

impl GraphView {
    /// Draws the view.
    pub fn ui(&mut self, ui: &mut Ui, run: &Run, selection: &mut Selection) {
        self.stage = self.stage.min(run.step.stages.len().saturating_sub(1));
        let Some(stage) = run.step.stages.get(self.stage) else { return };
        self.segment = self.segment.min(stage.segments.len().saturating_sub(1));
        ui.horizontal_wrapped(|ui| self.choosers_ui(ui, run));
        let Some(segment) = stage.segments.get(self.segment) else { return };
        let (rect, response) = ui.allocate_exact_size(ui.available_size(), Sense::click_and_drag());
        response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Figure, true, t("graph.name")));
        self.navigate(ui, &response, rect);
        let layout = Layout::new(segment, rect.min + self.offset, self.zoom);
        self.paint(ui, rect, segment, &layout, *selection);
        let hovered = response.hover_pos().and_then(|at| layout.nodes.iter().position(|node| node.contains(at)));
        if response.clicked() {
            *selection =
                hovered.map_or(Selection::Summary, |op| Selection::Op { stage: self.stage, segment: self.segment, op });
        }
        if let Some(op) = hovered.and_then(|index| segment.ops().nth(index)) {
            response.on_hover_text_at_pointer(format!(
                "{}\n{}  {}",
                op.name,
                t_or_name("class", op.kind.class()),
                t_or_name("part", op.phase.name())
            ));
        }
    }

    fn choosers_ui(&mut self, ui: &mut Ui, run: &Run) {
        let stages = &run.step.stages;
        let label = ui.label(t("timeline.stage"));
        let combo = ComboBox::from_id_salt("graph stage").selected_text(self.stage.to_string()).show_ui(ui, |ui| {
            for index in 0..stages.len() {
                ui.selectable_value(&mut self.stage, index, index.to_string());
            }
        });
        combo.response.labelled_by(label.id);
        let segments = &stages[self.stage].segments;
        self.segment = self.segment.min(segments.len().saturating_sub(1));
        for (index, segment) in segments.iter().enumerate() {
            let mut name = t_or_name("segment", segment.kind.name()).to_owned();
            if stages[self.stage].chunks.len() > 1
                && segment.kind != SegmentKind::Begin
                && segment.kind != SegmentKind::Update
            {
                name = format!("{name} · {}", t_with("graph.chunk", segment.chunk));
            }
            ui.selectable_value(&mut self.segment, index, name);
        }
        ui.add(egui::TextEdit::singleline(&mut self.search).hint_text(t("graph.search")).desired_width(140.0));
        if ui.button(t("graph.home")).on_hover_text(t("graph.home.tip")).clicked() {
            let home = Self::default();
            (self.offset, self.zoom) = (home.offset, home.zoom);
        }
        let here = t_with("graph.ops", segments.get(self.segment).map_or(0, |segment| segment.graph.node_count()));
        ui.add(egui::Label::new(egui::RichText::new(here).weak()).extend());
        let all = t_with("graph.all_ops", run.step.op_instances());
        ui.add(egui::Label::new(egui::RichText::new(all).weak()).extend());
    }

    /// Dragging and scrolling pan, Ctrl+wheel or pinching zooms at the pointer.
    fn navigate(&mut self, ui: &Ui, response: &egui::Response, rect: Rect) {
        self.offset += response.drag_delta();
        let Some(at) = response.hover_pos() else { return };
        let (factor, scroll) = ui.input(|input| (input.zoom_delta(), input.smooth_scroll_delta()));
        let zoom = (self.zoom * factor).clamp(0.05, 3.0);
        let at = at - rect.min;
        self.offset = at + (self.offset - at) * (zoom / self.zoom) + scroll;
        self.zoom = zoom;
    }

    fn paint(&self, ui: &Ui, rect: Rect, segment: &Segment, layout: &Layout, selection: Selection) {
        let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
        let visuals = ui.visuals();
        for (stream, x) in &layout.columns {
            painter.vline(*x, rect.y_range(), grid_stroke(visuals));
            painter.text(
                pos2(x + 4.0, rect.top() + 2.0),
                Align2::LEFT_TOP,
                t_or_name("stream", stream.name()),
                FontId::proportional(12.0),
                visuals.weak_text_color(),
            );
        }
        for edge in segment.graph.raw_edges() {
            let (from, to) = (layout.nodes[edge.source().index()], layout.nodes[edge.target().index()]);
            let (a, b) = (from.center_bottom(), to.center_top());
            if rect.y_range().intersects(egui::Rangef::new(a.y.min(b.y), a.y.max(b.y))) {
                edge_ui(&painter, a, b, self.zoom, edge_stroke(visuals));
            }
        }
        let search = self.search.to_lowercase();
        for (index, (op, node)) in segment.ops().zip(&layout.nodes).enumerate() {
            if rect.intersects(*node) {
                let found = search.is_empty() || op.name.to_lowercase().contains(&search);
                self.node_ui(&painter, op, *node, found);
                let this = Selection::Op { stage: self.stage, segment: self.segment, op: index };
                if selection == this || (found && !search.is_empty()) {
                    painter.rect_stroke(*node, 3.0, selection_stroke(visuals), egui::StrokeKind::Outside);
                }
            }
        }
    }

    fn node_ui(&self, painter: &egui::Painter, op: &Op, node: Rect, found: bool) {
        let color = class_color(op.kind.class());
        painter.rect_filled(node, 3.0, if found { color } else { color.gamma_multiply(0.25) });
        if self.zoom >= READABLE {
            let clipped = painter.with_clip_rect(node.intersect(painter.clip_rect()));
            let font = FontId::proportional(11.5 * self.zoom.min(1.5));
            clipped.text(node.left_center() + vec2(6.0, 0.0), Align2::LEFT_CENTER, &op.name, font, on_slice());
        }
    }
}

/// A smooth line; one that skips rows swings out, so that it does not run through the nodes between.
fn edge_ui(painter: &egui::Painter, a: Pos2, b: Pos2, zoom: f32, stroke: egui::Stroke) {
    let skipped = ((b.y - a.y) / (ROW * zoom)).max(1.0);
    let swing = if (a.x - b.x).abs() < 1.0 && skipped > 1.5 {
        (NODE.x * 0.5 + 8.0 + skipped.min(12.0) * 3.0) * zoom
    } else {
        0.0
    };
    let bend = (b.y - a.y) * 0.4;
    let points = [a, a + vec2(swing, bend.min(30.0 * zoom)), b + vec2(swing, -bend.min(30.0 * zoom)), b];
    painter.add(egui::epaint::CubicBezierShape::from_points_stroke(points, false, egui::Color32::TRANSPARENT, stroke));
    let head = (5.0 * zoom).clamp(2.0, 7.0);
    painter.add(egui::Shape::convex_polygon(
        vec![b, b + vec2(-0.6 * head, -head), b + vec2(0.6 * head, -head)],
        stroke.color,
        egui::Stroke::NONE,
    ));
}

/// Where the nodes are on screen.
struct Layout {
    nodes: Vec<Rect>,
    columns: Vec<(Stream, f32)>,
}

impl Layout {
    fn new(segment: &Segment, origin: Pos2, zoom: f32) -> Self {
        let used = |stream: &Stream| segment.ops().any(|op| op.kind.stream() == *stream);
        let streams: Vec<Stream> = Stream::ALL.into_iter().filter(used).collect();
        let x = |column: usize| origin.x + column as f32 * COLUMN * zoom;
        let node = |(row, op): (usize, &Op)| {
            let column = streams.iter().position(|stream| *stream == op.kind.stream()).unwrap_or(0);
            Rect::from_min_size(pos2(x(column) + 8.0 * zoom, origin.y + row as f32 * ROW * zoom), NODE * zoom)
        };
        let nodes = segment.ops().enumerate().map(node).collect();
        let columns = streams.iter().enumerate().map(|(column, &stream)| (stream, x(column))).collect();
        Self { nodes, columns }
    }
}
