//! The step graph: the ops of one segment in program order, in columns by stream, with their data edges; layers are
//! folded until they are clicked.
//!
//! * `layout` says what is a node and where it stands, `paint` what a node's colour means.

mod layout;
mod paint;

use std::collections::BTreeSet;
use std::sync::Arc;

use egui::{Align2, ComboBox, FontId, Pos2, Rect, Sense, Ui, Vec2, pos2, vec2};
use shardlab_engine::graph::{Segment, SegmentKind};

use crate::gui::design_tokens::{edge_stroke, grid_stroke, on_fill, selection_stroke};
use crate::gui::i18n::{t, t_or_name, t_with};
use crate::gui::inspector::Selection;
use crate::gui::session::Run;
use layout::{Layout, Node, NodeKind, layer_of};
use paint::{Colours, Costs};

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
    /// Layers that are shown op by op.
    open: BTreeSet<u32>,
    colours: Colours,
    /// What ops of a segment of a run cost.
    costs: Option<(Arc<Run>, (usize, usize), Costs)>,
}

impl Default for GraphView {
    fn default() -> Self {
        Self {
            stage: 0,
            segment: 1,
            offset: vec2(12.0, 26.0),
            zoom: 1.0,
            search: String::new(),
            open: BTreeSet::new(),
            colours: Colours::Class,
            costs: None,
        }
    }
}

impl GraphView {
    /// Draws the view.
    pub fn ui(&mut self, ui: &mut Ui, run: &Arc<Run>, selection: &mut Selection) {
        self.stage = self.stage.min(run.step.stages.len().saturating_sub(1));
        let Some(stage) = run.step.stages.get(self.stage) else { return };
        self.segment = self.segment.min(stage.segments.len().saturating_sub(1));
        ui.horizontal_wrapped(|ui| self.choosers_ui(ui, run));
        let Some(segment) = stage.segments.get(self.segment) else { return };
        self.colours.legend_ui(ui, segment);
        let (rect, response) = ui.allocate_exact_size(ui.available_size(), Sense::click_and_drag());
        response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Figure, true, t("graph.name")));
        self.navigate(ui, &response, rect);
        let layout = Layout::new(segment, &self.open, rect.min + self.offset, self.zoom);
        self.cost(run);
        let Some((_, _, costs)) = &self.costs else { return };
        self.paint(ui, rect, segment, &layout, costs, *selection);
        let hovered = response.hover_pos().and_then(|at| layout.nodes.iter().find(|node| node.rect.contains(at)));
        if let Some(node) = hovered {
            response.clone().on_hover_text_at_pointer(costs.text(node, segment));
        }
        if !response.clicked() {
            return;
        }
        match hovered.map(|node| &node.kind) {
            Some(NodeKind::Op(op)) => {
                *selection = Selection::Op { stage: self.stage, segment: self.segment, op: *op };
            }
            Some(NodeKind::Layer(layer)) => {
                self.open.insert(*layer);
            }
            None => *selection = Selection::Summary,
        }
    }

    /// Finds what ops of the segment cost, once for every run and segment.
    fn cost(&mut self, run: &Arc<Run>) {
        let place = (self.stage, self.segment);
        let known = self.costs.as_ref().is_some_and(|(of, at, _)| Arc::ptr_eq(of, run) && *at == place);
        if !known {
            self.costs = Some((Arc::clone(run), place, Costs::of(run, self.stage, self.segment)));
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
        ui.separator();
        ui.label(t("graph.colours"));
        for colours in Colours::ALL {
            ui.selectable_value(&mut self.colours, colours, t(colours.key())).on_hover_text(t(colours.tip()));
        }
        ui.separator();
        if ui.button(t("graph.open_all")).clicked() {
            let segment = segments.get(self.segment);
            self.open = segment.into_iter().flat_map(Segment::ops).filter_map(|op| layer_of(&op.name)).collect();
        }
        if ui.button(t("graph.fold_all")).clicked() {
            self.open.clear();
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

    fn paint(&self, ui: &Ui, rect: Rect, segment: &Segment, layout: &Layout, costs: &Costs, selection: Selection) {
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
        let mut drawn = BTreeSet::new();
        for edge in segment.graph.raw_edges() {
            let [from, to] = [edge.source(), edge.target()].map(|end| layout.node_of[end.index()]);
            // Of edges between the same two nodes, and of those inside a layer, nothing would be seen.
            if from == to || !drawn.insert((from, to)) {
                continue;
            }
            let (a, b) = (layout.nodes[from].rect.center_bottom(), layout.nodes[to].rect.center_top());
            if rect.y_range().intersects(egui::Rangef::new(a.y.min(b.y), a.y.max(b.y))) {
                edge_ui(&painter, a, b, self.zoom, edge_stroke(visuals));
            }
        }
        let search = self.search.to_lowercase();
        let most = costs.most(&layout.nodes);
        let names: Vec<String> = segment.ops().map(|op| op.name.to_lowercase()).collect();
        for node in layout.nodes.iter().filter(|node| rect.intersects(node.rect)) {
            let found = search.is_empty() || node.ops.iter().any(|&op| names[op].contains(&search));
            let color = costs.color((self.colours, most), node, segment, visuals);
            self.node_ui(&painter, node, if found { color } else { color.gamma_multiply(0.25) });
            let is_selected = matches!(node.kind, NodeKind::Op(op)
                if selection == Selection::Op { stage: self.stage, segment: self.segment, op });
            if is_selected || (found && !search.is_empty()) {
                painter.rect_stroke(node.rect, 3.0, selection_stroke(visuals), egui::StrokeKind::Outside);
            }
        }
    }

    fn node_ui(&self, painter: &egui::Painter, node: &Node, color: egui::Color32) {
        painter.rect_filled(node.rect, 3.0, color);
        if self.zoom >= READABLE {
            let clipped = painter.with_clip_rect(node.rect.intersect(painter.clip_rect()));
            let font = FontId::proportional(11.5 * self.zoom.min(1.5));
            let at = node.rect.left_center() + vec2(6.0, 0.0);
            clipped.text(at, Align2::LEFT_CENTER, &node.name, font, on_fill(color));
        }
    }
}

/// A smooth line; one that skips rows swings out, so that it does not run through the nodes between.
fn edge_ui(painter: &egui::Painter, a: Pos2, b: Pos2, zoom: f32, stroke: egui::Stroke) {
    let skipped = ((b.y - a.y) / (ROW * zoom)).max(1.0);
    let swing = if (a.x - b.x).abs() < 1.0 && skipped > 1.5 {
        // A curve reaches three quarters of the way to its handles.
        (NODE.x * 0.5 + 8.0 + skipped.min(12.0) * 3.0) * zoom * 4.0 / 3.0
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
