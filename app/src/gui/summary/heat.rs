//! Ranks over time: what every group of ranks does in each part of the step, boxed by pipeline stage.

use egui::{Align2, FontId, Rect, Sense, Ui, pos2, vec2};
use shardlab_engine::analysis::HeatRow;
use shardlab_engine::report::svg::heat_rgb;

use crate::gui::design_tokens::{TRACK_NAMES, from_rgb, grid_stroke};
use crate::gui::i18n::t;
use crate::gui::widgets::{heading_ui, swatch_ui};

/// Height of a row.
const ROW: f32 = 16.0;
/// Rows that are drawn.
const ROWS: usize = 40;

/// Which of the two shares are coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Share {
    /// Compute, exposed communication and waiting, mixed.
    #[default]
    All,
    /// Exposed communication alone.
    Exposed,
}

/// What of it is shown.
#[derive(Debug, Default)]
pub struct Shown {
    share: Share,
}

impl Shown {
    /// Draws it.
    pub fn ui(&mut self, ui: &mut Ui, rows: &[HeatRow]) {
        ui.horizontal(|ui| {
            heading_ui(ui, t("summary.heat")).on_hover_text(t("summary.heat.tip"));
            ui.selectable_value(&mut self.share, Share::All, t("summary.heat.all"));
            ui.selectable_value(&mut self.share, Share::Exposed, t("summary.heat.exposed"));
        });
        let rows = &rows[..rows.len().min(ROWS)];
        let size = vec2(ui.available_width(), rows.len() as f32 * ROW + 2.0);
        let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
        response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Figure, true, t("summary.heat")));
        let plot = rect.with_min_x(rect.left() + TRACK_NAMES);
        for (number, row) in rows.iter().enumerate() {
            let top = rect.top() + number as f32 * ROW;
            let name = format!("{} {} ×{}", t("timeline.stage"), row.stage, row.ranks);
            let (at, color) = (pos2(plot.left() - 6.0, top + ROW / 2.0), ui.visuals().text_color());
            ui.painter().text(at, Align2::RIGHT_CENTER, name, FontId::proportional(11.0), color);
            self.row_ui(ui, plot, top, row);
        }
        boxes_ui(ui, rect, rows);
        ui.horizontal_wrapped(|ui| {
            let parts = [
                ("summary.heat.compute", 1.0, 0.0),
                ("summary.heat.exposed", 0.0, 1.0),
                ("summary.heat.waiting", 0.0, 0.0),
            ];
            for (key, compute, exposed) in parts {
                swatch_ui(ui, from_rgb(heat_rgb(compute, exposed)), t(key));
            }
        });
        if let Some(at) = response.hover_pos().filter(|at| at.x >= plot.left()) {
            let row = ((at.y - rect.top()) / ROW) as usize;
            if let Some(row) = rows.get(row) {
                let bin = ((at.x - plot.left()) / plot.width() * row.compute.len() as f32) as usize;
                let share = |shares: &[f32]| shares.get(bin).copied().unwrap_or(0.0) * 100.0;
                let (compute, exposed) = (share(&row.compute), share(&row.exposed));
                response.on_hover_text(format!(
                    "{} {compute:.0} % · {} {exposed:.0} %",
                    t("summary.heat.compute"),
                    t("summary.heat.exposed")
                ));
            }
        }
    }

    fn row_ui(&self, ui: &Ui, plot: Rect, top: f32, row: &HeatRow) {
        let width = plot.width() / row.compute.len().max(1) as f32;
        for (bin, (&compute, &exposed)) in row.compute.iter().zip(&row.exposed).enumerate() {
            let compute = if self.share == Share::All { compute } else { 0.0 };
            let left = plot.left() + bin as f32 * width;
            let cell = Rect::from_min_size(pos2(left, top + 1.0), vec2(width + 0.5, ROW - 2.0));
            ui.painter().rect_filled(cell, 0.0, from_rgb(heat_rgb(compute, exposed)));
        }
    }
}

/// A box around the rows of each stage.
fn boxes_ui(ui: &Ui, rect: Rect, rows: &[HeatRow]) {
    let mut from = 0;
    for of_stage in rows.chunk_by(|a, b| a.stage == b.stage) {
        let top = rect.top() + from as f32 * ROW;
        let frame = Rect::from_min_size(
            pos2(rect.left() + TRACK_NAMES - 2.0, top),
            vec2(rect.width() - TRACK_NAMES + 2.0, of_stage.len() as f32 * ROW),
        );
        ui.painter().rect_stroke(frame, 0.0, grid_stroke(ui.visuals()), egui::StrokeKind::Inside);
        from += of_stage.len();
    }
}
