//! What a step sends where: the cluster with how busy its links are, traffic by axis as a matrix, collectives.

use egui::{Align2, Color32, FontId, Grid, Rect, Sense, Stroke, Ui, pos2, vec2};
use shardlab_engine::analysis::NetworkReport;
use shardlab_engine::cluster::Network;
use shardlab_engine::report;
use shardlab_engine::trace::Origin;
use shardlab_engine::units::{Bytes, Nanos};

use super::change::{right_bytes_change_ui, right_change_ui};
use super::design_tokens::{load_color, span_color};
use super::i18n::{t, t_or_name, t_with};
use super::session::{Run, Session};
use super::widgets::{end_row_ui, heading_ui, origin_ui, right_head_ui, right_ui, swatch_ui};

/// Side of the traffic matrix.
const MATRIX: f32 = 340.0;
/// Room for the numbers of its rows and columns, in points.
const NUMBERS: f32 = 18.0;
/// Width from which on the tables have room beside the matrix.
const BESIDE: f32 = 960.0;
/// Height of the picture of the cluster.
const PICTURE: f32 = 190.0;

/// The state of the view.
#[derive(Debug, Default)]
pub struct NetworkView {
    /// The axis whose traffic is shown; all of them when none.
    axis: Option<&'static str>,
}

impl NetworkView {
    /// Draws the view.
    pub fn ui(&mut self, ui: &mut Ui, session: &mut Session) {
        let run = session.shown().clone();
        let report = run.network();
        let base = session.baseline().cloned();
        // What is counted of an execution has nothing to do with what a cluster would send.
        let base = base.as_ref().map(|base| base.network()).filter(|base| base.origin == report.origin);
        egui::ScrollArea::both().auto_shrink(false).show(ui, |ui| {
            ui.horizontal(|ui| {
                heading_ui(ui, t("network.title"));
                origin_ui(ui, report.origin);
            });
            if report.origin == Origin::Modelled {
                ui.weak(t("network.about"));
                picture_ui(ui, &run, report);
            } else {
                ui.weak(t("network.executed"));
            }
            if ui.available_width() > BESIDE {
                ui.horizontal_top(|ui| {
                    ui.vertical(|ui| self.matrix_ui(ui, report));
                    ui.add_space(18.0);
                    ui.vertical(|ui| {
                        axes_ui(ui, report, base);
                        collectives_ui(ui, report, base);
                    });
                });
            } else {
                axes_ui(ui, report, base);
                collectives_ui(ui, report, base);
                ui.scope(|ui| self.matrix_ui(ui, report));
            }
            if !report.links.is_empty() {
                links_ui(ui, report);
            }
            ui.horizontal(|ui| {
                let name = run.scenario.name();
                if ui.button(t("network.save")).clicked() {
                    session.save(format!("{name}.traffic.csv"), report::traffic_csv(report));
                }
                if ui.button(t("network.save_json")).clicked() {
                    session.save(format!("{name}.network.json"), report::network_json(name, report));
                }
            });
        });
    }

    /// Who sends to whom; a cell is as bright as what it sends, over the most that any does.
    fn matrix_ui(&mut self, ui: &mut Ui, report: &NetworkReport) {
        heading_ui(ui, t("network.matrix")).on_hover_text(t("network.matrix.tip"));
        ui.set_max_width(MATRIX);
        let is_there = |axis: &str| report.axes.iter().any(|known| known.axis == axis);
        self.axis = self.axis.filter(|axis| is_there(axis));
        ui.horizontal_wrapped(|ui| {
            ui.selectable_value(&mut self.axis, None, t("network.all"));
            for axis in &report.axes {
                ui.selectable_value(&mut self.axis, Some(axis.axis), t_or_name("axis", axis.axis));
            }
        });
        let rows = report.rows.max(1) as usize;
        let mut cells = vec![0_u64; rows * rows];
        for cell in report.matrix.iter().filter(|cell| self.axis.is_none_or(|axis| axis == cell.axis)) {
            cells[cell.from as usize * rows + cell.to as usize] += cell.bytes.0;
        }
        let fullest = cells.iter().copied().max().unwrap_or(0);
        let most = fullest.max(1);
        let (outer, response) = ui.allocate_exact_size(vec2(MATRIX + NUMBERS, MATRIX + NUMBERS), Sense::hover());
        response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Figure, true, t("network.matrix")));
        let rect = Rect::from_min_max(outer.min + vec2(NUMBERS, NUMBERS), outer.max);
        let side = MATRIX / rows as f32;
        numbers_ui(ui, rect, rows);
        for (index, &bytes) in cells.iter().enumerate() {
            let (from, to) = (index / rows, index % rows);
            let at = rect.min + vec2(to as f32 * side, from as f32 * side);
            // What is small against the most would not be seen on an even scale.
            let share = (bytes as f64 / most as f64).sqrt();
            let gap = if side > 6.0 { 1.0 } else { 0.0 };
            let cell = Rect::from_min_size(at, vec2(side - gap, side - gap));
            ui.painter().rect_filled(cell, 0.0, load_color(share, ui.visuals()));
        }
        if let Some(at) = response.hover_pos().filter(|at| rect.contains(*at)) {
            let (to, from) = (((at.x - rect.left()) / side) as usize, ((at.y - rect.top()) / side) as usize);
            let bytes = Bytes(cells.get(from * rows + to).copied().unwrap_or(0));
            let unit = t_or_name("network.unit", report.unit);
            response.on_hover_text(format!("{unit} {from} → {unit} {to}: {bytes}"));
        }
        let (unit, most) = (t_or_name("network.unit", report.unit), Bytes(fullest));
        ui.weak(t_with("network.matrix.about", unit)).on_hover_text(most.to_string());
        ui.weak(t_with("network.matrix.most", most));
        // On the scale of the cells: what is small against the most would not be seen on an even one.
        ui.horizontal_wrapped(|ui| {
            for parts in [16_u64, 4, 1] {
                let share = (1.0 / parts as f64).sqrt();
                swatch_ui(ui, load_color(share, ui.visuals()), &Bytes(fullest / parts).to_string());
            }
        });
    }
}

/// Numbers of rows and columns of a matrix, as many as there is room for.
fn numbers_ui(ui: &Ui, rect: Rect, rows: usize) {
    let side = rect.width() / rows as f32;
    let every = (NUMBERS / side).ceil().max(1.0) as usize;
    let (font, color) = (FontId::proportional(10.0), ui.visuals().weak_text_color());
    for row in (0..rows).step_by(every) {
        let along = (row as f32 + 0.5) * side;
        let column = rect.left_top() + vec2(along, -2.0);
        ui.painter().text(column, Align2::CENTER_BOTTOM, row.to_string(), font.clone(), color);
        let line = rect.left_top() + vec2(-3.0, along);
        ui.painter().text(line, Align2::RIGHT_CENTER, row.to_string(), font.clone(), color);
    }
}

/// Nodes under what joins them, coloured by how busy their links are.
fn picture_ui(ui: &mut Ui, run: &Run, report: &NetworkReport) {
    let width = ui.available_width().max(400.0);
    let (rect, response) = ui.allocate_exact_size(vec2(width, PICTURE), Sense::hover());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Figure, true, t("network.title")));
    let rows = report.nodes.len().max(1);
    let step = (rect.width() / rows as f32).min(150.0);
    let left = rect.center().x - step * rows as f32 / 2.0;
    let (fabric, leaves) = (rect.top() + 8.0, rect.top() + 72.0);
    let bottom = rect.bottom() - 62.0;
    let top = Rect::from_min_max(pos2(left, fabric), pos2(left + step * rows as f32, fabric + 26.0));
    let per_leaf = leaf_rows(run, report);
    let color =
        report.fabric.map_or(ui.visuals().widgets.noninteractive.bg_fill, |share| load_color(share, ui.visuals()));
    let cluster = run.scenario.cluster();
    let is_inside = report.unit == "device" && cluster.nodes == 1;
    let name = if is_inside { cluster.intra_link.name.clone() } else { fabric_name(&cluster.network, report.fabric) };
    box_ui(ui, top, color, &name);
    let mut hovered = None;
    for (row, node) in report.nodes.iter().enumerate() {
        let x = left + (row as f32 + 0.5) * step;
        let size = vec2((step - 4.0).clamp(3.0, 120.0), 54.0);
        let frame = Rect::from_min_size(pos2(x - size.x / 2.0, bottom), size);
        let up = if per_leaf.is_some() { leaves + 22.0 } else { top.bottom() };
        if report.unit != "device" {
            ui.painter().line_segment([pos2(x, bottom), pos2(x, up)], link(node.adapter, ui));
        } else {
            ui.painter().line_segment([pos2(x, bottom), pos2(x, top.bottom())], link(node.inside, ui));
        }
        let text =
            if step > 44.0 { format!("{} {row}", t_or_name("network.unit", report.unit)) } else { row.to_string() };
        box_ui(ui, frame, load_color(node.inside, ui.visuals()), if step > 16.0 { &text } else { "" });
        if response.hover_pos().is_some_and(|at| frame.contains(at)) {
            hovered = Some((row, *node));
        }
    }
    if let Some(per_leaf) = per_leaf {
        for (number, first) in (0..rows).step_by(per_leaf).enumerate() {
            let from = left + first as f32 * step;
            let until = left + (first + per_leaf).min(rows) as f32 * step;
            let leaf = Rect::from_min_max(pos2(from + 2.0, leaves), pos2(until - 2.0, leaves + 22.0));
            let x = leaf.center().x;
            ui.painter().line_segment([pos2(x, leaves), pos2(x, top.bottom())], link(report.fabric.unwrap_or(0.0), ui));
            box_ui(ui, leaf, ui.visuals().widgets.inactive.bg_fill, &t_with("network.switch", number));
        }
    }
    legend_ui(ui);
    if let Some((row, node)) = hovered {
        response.on_hover_text(format!(
            "{} {row}: {} {:.1} % · {} {:.1} %",
            t_or_name("network.unit", report.unit),
            t("network.link.inside"),
            node.inside * 100.0,
            t("network.link.adapter"),
            node.adapter * 100.0
        ));
    }
}

/// Rows of the picture under one leaf switch, where there are such.
fn leaf_rows(run: &Run, report: &NetworkReport) -> Option<usize> {
    let per_node = run.scenario.cluster().devices_per_node;
    match run.scenario.cluster().network {
        Network::LeafSpine { nodes, .. } if report.unit != "device" => {
            usize::try_from((nodes * per_node / report.per_row.max(1)).max(1)).ok()
        }
        _ => None,
    }
}

fn fabric_name(network: &Network, busy: Option<f64>) -> String {
    let name = match network {
        Network::NonBlocking => t("network.fabric.non_blocking"),
        Network::LeafSpine { .. } => t("network.fabric.spine"),
        Network::Rails { .. } => t("network.fabric.rails"),
        Network::Torus { .. } => t("network.fabric.torus"),
        Network::Dragonfly { .. } => t("network.fabric.dragonfly"),
    };
    busy.map_or_else(|| name.to_owned(), |share| format!("{name} · {:.1} %", share * 100.0))
}

fn link(share: f64, ui: &Ui) -> Stroke {
    let width = 1.0 + 3.0 * share.clamp(0.0, 1.0) as f32;
    Stroke::new(width, load_color(share.max(0.15), ui.visuals()))
}

fn box_ui(ui: &Ui, rect: Rect, fill: Color32, text: &str) {
    ui.painter().rect_filled(rect, 3.0, fill);
    ui.painter().rect_stroke(rect, 3.0, ui.visuals().widgets.noninteractive.bg_stroke, egui::StrokeKind::Inside);
    let color = super::design_tokens::on_fill(fill);
    ui.painter().with_clip_rect(rect).text(
        rect.center(),
        Align2::CENTER_CENTER,
        text,
        FontId::proportional(11.0),
        color,
    );
}

fn legend_ui(ui: &mut Ui) {
    ui.horizontal_wrapped(|ui| {
        ui.weak(t("network.legend")).on_hover_text(t("network.legend.tip"));
        for percent in [0_u32, 25, 50, 75, 100] {
            swatch_ui(ui, load_color(f64::from(percent) / 100.0, ui.visuals()), &format!("{percent} %"));
        }
    });
}

fn axes_ui(ui: &mut Ui, report: &NetworkReport, base: Option<&NetworkReport>) {
    heading_ui(ui, t("network.axes"));
    let columns: &[&str] = match report.origin {
        Origin::Modelled => &["network.inside", "network.between"],
        _ => &["network.bytes"],
    };
    Grid::new("axes")
        .striped(true)
        .num_columns(columns.len() + 2 + usize::from(base.is_some()))
        .spacing([18.0, 3.0])
        .show(ui, |ui| {
            ui.weak(t("network.axis"));
            columns.iter().for_each(|key| right_head_ui(ui, t(key)));
            base.is_some().then(|| right_head_ui(ui, t("network.change.bytes")));
            end_row_ui(ui);
            for axis in &report.axes {
                ui.label(t_or_name("axis", axis.axis));
                [axis.inside, axis.between][..columns.len()].iter().for_each(|bytes| right_ui(ui, &bytes.to_string()));
                if let Some(base) = base {
                    let before = base.axes.iter().find(|before| before.axis == axis.axis);
                    let before = before.map_or(Bytes::ZERO, |before| before.inside + before.between);
                    right_bytes_change_ui(ui, axis.inside + axis.between, before);
                }
                end_row_ui(ui);
            }
        });
}

fn collectives_ui(ui: &mut Ui, report: &NetworkReport, base: Option<&NetworkReport>) {
    heading_ui(ui, t("network.collectives"));
    Grid::new("collectives").striped(true).num_columns(7 + usize::from(base.is_some())).spacing([18.0, 3.0]).show(
        ui,
        |ui| {
            ["network.stream", "network.class"].into_iter().for_each(|key| drop(ui.weak(t(key))));
            for key in ["network.count", "network.bytes", "network.time", "network.exposed"] {
                right_head_ui(ui, t(key));
            }
            base.is_some().then(|| right_head_ui(ui, t("network.change.exposed")));
            end_row_ui(ui);
            for of in &report.collectives {
                ui.label(t_or_name("stream", of.stream.name()));
                ui.horizontal(|ui| swatch_ui(ui, span_color(of.stream, of.class), t_or_name("class", of.class)));
                right_ui(ui, &of.count.to_string());
                right_ui(ui, &of.bytes.to_string());
                right_ui(ui, &of.time.to_string());
                right_ui(ui, &of.exposed.to_string());
                if let Some(base) = base {
                    let before =
                        base.collectives.iter().find(|before| (before.stream, before.class) == (of.stream, of.class));
                    right_change_ui(ui, of.exposed, before.map_or(Nanos::ZERO, |before| before.exposed));
                }
                end_row_ui(ui);
            }
        },
    );
}

fn links_ui(ui: &mut Ui, report: &NetworkReport) {
    heading_ui(ui, t("network.links"));
    Grid::new("links").striped(true).num_columns(6).spacing([18.0, 3.0]).show(ui, |ui| {
        ["network.link", "network.kind"].into_iter().for_each(|key| drop(ui.weak(t(key))));
        for key in ["network.bytes", "network.capacity", "network.busy"] {
            right_head_ui(ui, t(key));
        }
        end_row_ui(ui);
        for link in &report.links {
            ui.monospace(&link.name);
            ui.label(t_or_name("network.link", link.kind.name()));
            right_ui(ui, &link.bytes.to_string());
            right_ui(ui, &link.capacity.to_string());
            right_ui(ui, &format!("{:.1} %", link.share * 100.0));
            end_row_ui(ui);
        }
    });
}
