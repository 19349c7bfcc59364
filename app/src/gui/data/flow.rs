//! The way of samples to a step as a flow of boxes: what each stage does with its time, and which one the step waits for.

use egui::{Align2, FontId, Rect, Sense, Ui, pos2, vec2};
use shardlab_engine::analysis::{InputReport, InputStage, StageUse};

use crate::gui::design_tokens::{part_color, signals, tier_color};
use crate::gui::i18n::{t, t_or_name};

/// Height of a box, its least width, and what lies between two.
const HEIGHT: f32 = 58.0;
const LEAST: f32 = 76.0;
const GAP: f32 = 14.0;

/// Draws it, in rows where the window is narrow.
pub(super) fn flow_ui(ui: &mut Ui, input: &InputReport) {
    let stages = input.stages();
    ui.add_space(6.0);
    ui.strong(t("data.flow")).on_hover_text(t("data.flow.tip"));
    let width = ui.available_width().min(1200.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some boxes")]
    let columns = (((width + GAP) / (LEAST + GAP)) as usize).clamp(1, stages.len().max(1));
    let box_width = (width + GAP) / columns as f32 - GAP;
    for stages in stages.chunks(columns) {
        let (rect, _) = ui.allocate_exact_size(vec2(width, HEIGHT), Sense::hover());
        for (column, stage) in stages.iter().enumerate() {
            let left = rect.left() + column as f32 * (box_width + GAP);
            let frame = Rect::from_min_size(pos2(left, rect.top()), vec2(box_width, HEIGHT));
            if column > 0 {
                let arrow = pos2(left - GAP / 2.0, frame.center().y);
                let ink = ui.visuals().text_color();
                ui.painter().text(arrow, Align2::CENTER_CENTER, "→", FontId::proportional(14.0), ink);
            }
            box_ui(ui, frame, stage);
        }
    }
}

/// A stage, filled from below by how busy it is; with a strong frame where the step waits for it.
fn box_ui(ui: &Ui, frame: Rect, stage: &StageUse) {
    let visuals = ui.visuals();
    let name = t_or_name("data_stage", stage.stage.name());
    let painter = ui.painter().with_clip_rect(frame.expand(2.0));
    painter.rect_filled(frame, 4.0, visuals.extreme_bg_color);
    let color = match stage.stage {
        InputStage::Storage | InputStage::Remote | InputStage::Drives | InputStage::Local => {
            tier_color(stage.stage.name())
        }
        InputStage::Step => part_color("forward"),
        _ => visuals.selection.bg_fill,
    };
    #[expect(clippy::cast_possible_truncation, reason = "a part of a box")]
    let height = 5.0 * stage.busy.clamp(0.0, 1.0) as f32;
    let width = frame.width() * height / 5.0;
    let bar = Rect::from_min_size(pos2(frame.left(), frame.bottom() - 5.0), vec2(width, 5.0));
    painter.rect_filled(bar, 2.0, color);
    let stroke = if stage.is_bound {
        egui::Stroke::new(2.5, signals(visuals).bad)
    } else {
        visuals.widgets.noninteractive.bg_stroke
    };
    painter.rect_stroke(frame, 4.0, stroke, egui::StrokeKind::Inside);
    let ink = visuals.strong_text_color();
    let line = |y: f32, text: &str, size: f32, ink| {
        painter.text(
            pos2(frame.center().x, frame.top() + y),
            Align2::CENTER_CENTER,
            text,
            FontId::proportional(size),
            ink,
        );
    };
    line(13.0, name, 12.5, ink);
    line(29.0, &format!("{:.0} %", stage.busy * 100.0), 12.5, ink);
    if let Some(rate) = stage.rate {
        line(44.0, &rate.to_string(), 11.5, visuals.text_color());
    }
    ui.interact(frame, ui.scope_id().with(("stage", stage.stage.name())), Sense::hover())
        .on_hover_text(t_or_name("data_stage_about", stage.stage.name()));
}
