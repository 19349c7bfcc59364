//! Small pieces that several views share.

use egui::{Color32, Rect, Response, Sense, Ui, vec2};
use shardlab_engine::trace::Origin;

use super::design_tokens::signals;
use super::i18n::{t, tip};

/// A small label that says where figures come from.
pub fn origin_ui(ui: &mut Ui, origin: Origin) {
    let (key, tip) = match origin {
        Origin::Modelled => ("origin.modelled", "origin.modelled.tip"),
        Origin::Executed => ("origin.executed", "origin.executed.tip"),
        Origin::Imported => ("origin.imported", "origin.imported.tip"),
    };
    let text = egui::RichText::new(t(key)).small().color(signals(ui.visuals()).warn);
    ui.label(text).on_hover_text(t(tip));
}

/// A coloured square with a name.
pub fn swatch_ui(ui: &mut Ui, color: Color32, name: &str) {
    let (rect, _) = ui.allocate_exact_size(vec2(10.0, 10.0), Sense::hover());
    ui.painter().rect_filled(rect, 2.0, color);
    ui.label(name);
}

/// A horizontal bar of coloured shares; hovering one tells its name.
pub fn stacked_bar_ui(ui: &mut Ui, parts: &[(String, f64, Color32)]) {
    let total: f64 = parts.iter().map(|(_, value, _)| value).sum();
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 16.0), Sense::hover());
    let mut left = rect.left();
    let mut hovered = None;
    for (name, value, color) in parts {
        let width = (value / total.max(1e-12)) as f32 * rect.width();
        let part = Rect::from_min_size(egui::pos2(left, rect.top()), vec2(width, rect.height()));
        ui.painter().rect_filled(part, 0.0, *color);
        if response.hover_pos().is_some_and(|at| part.contains(at)) {
            hovered = Some(format!("{name}  {:.1} %", value / total.max(1e-12) * 100.0));
        }
        left += width;
    }
    if let Some(text) = hovered {
        response.on_hover_text(text);
    }
}

/// A row: a name with its explanation on the left, a value on the right.
pub fn figure_ui(ui: &mut Ui, key: &'static str, value: &str) {
    let row = |ui: &mut Ui| {
        ui.label(t(key));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| ui.monospace(value));
    };
    let response = ui.horizontal(row).response;
    if let Some(tip) = tip(key) {
        response.on_hover_text(tip);
    }
}

/// A heading inside a panel.
pub fn heading_ui(ui: &mut Ui, text: &str) -> Response {
    ui.add_space(4.0);
    ui.strong(text)
}
