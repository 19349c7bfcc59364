//! Small pieces that several views share.

use std::ops::RangeInclusive;

use egui::{Color32, Rangef, Rect, Response, Sense, Ui, vec2};
use egui_plot::{GridInput, GridMark, Plot};
use shardlab_engine::trace::Origin;

use super::design_tokens::{chart_grid, signals};
use super::i18n::{message, t, tip};

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

/// A coloured square with a name: one item, so that a row which wraps never parts them.
pub fn swatch_ui(ui: &mut Ui, color: Color32, name: &str) {
    let (square, gap) = (10.0, ui.spacing().item_spacing.x);
    let text = egui::WidgetText::from(name);
    let galley = text.into_galley(ui, Some(egui::TextWrapMode::Extend), f32::INFINITY, egui::TextStyle::Body);
    let size = vec2(square + gap + galley.size().x, galley.size().y.max(square));
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let at = egui::pos2(rect.left() + square / 2.0, rect.center().y);
    ui.painter().rect_filled(Rect::from_center_size(at, egui::Vec2::splat(square)), 2.0, color);
    let start = egui::pos2(rect.left() + square + gap, rect.center().y - galley.size().y / 2.0);
    ui.painter().galley(start, galley, ui.visuals().text_color());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, ui.is_enabled(), name));
}

/// A horizontal bar of coloured shares; hovering one tells its name.
pub fn stacked_bar_ui(ui: &mut Ui, parts: &[(String, f64, Color32)]) {
    stacked_bar_of_ui(ui, parts, parts.iter().map(|(_, value, _)| value).sum());
}

/// As [`stacked_bar_ui`], with the width standing for `total`: several bars can share a scale.
pub fn stacked_bar_of_ui(ui: &mut Ui, parts: &[(String, f64, Color32)], total: f64) {
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

/// A value at the right of its cell.
pub fn right_ui(ui: &mut Ui, text: &str) {
    ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| ui.monospace(text));
}

/// What went wrong, as the engine says it.
pub fn error_ui(ui: &mut Ui, error: &str) {
    ui.colored_label(signals(ui.visuals()).bad, message(error));
}

/// Why something cannot be done as it stands, as the engine says it.
pub fn warning_ui(ui: &mut Ui, warning: &str) {
    ui.colored_label(signals(ui.visuals()).warn, message(warning));
}

/// The head of a column of values.
pub fn right_head_ui(ui: &mut Ui, text: &str) {
    ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| ui.weak(text));
}

/// Ends a row whose last value stands at the right of its cell: a grid gives its last column all the room there is.
pub fn end_row_ui(ui: &mut Ui) {
    ui.label("");
    ui.end_row();
}

/// A number without fraction, its digits in groups of three (a thin space between, as ISO 80000-1 has it).
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = if number < 0.0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && digits.len() > 4 {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

/// The least of 1, 2 or 5 times a power of ten that is not below `rough`.
pub fn even_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|&n| n >= rough).unwrap_or(rough)
}

/// Lines of a chart 1, 2 or 5 times a power of ten apart, each with its number.
pub fn even_grid<'a>(plot: Plot<'a>, visuals: &egui::Visuals) -> Plot<'a> {
    let spacer = |input: GridInput| {
        let (from, to) = input.bounds;
        let rough = ((to - from) / 6.0).max(input.base_step_size).max(f64::MIN_POSITIVE);
        let step = even_step(rough);
        let first = (from / step).ceil();
        (0..16)
            .map(|n| GridMark { value: (first + f64::from(n)) * step, step_size: step })
            .take_while(|mark| mark.value <= to)
            .collect()
    };
    let text = |mark: GridMark, _: &RangeInclusive<f64>| format!("{:.*}", decimals(mark.step_size), mark.value);
    plot.x_grid_spacer(spacer)
        .y_grid_spacer(spacer)
        .x_axis_formatter(text)
        .y_axis_formatter(text)
        .grid_color(chart_grid(visuals))
        .grid_spacing(Rangef::new(8.0, 30.0))
}

/// Digits behind the point that tell apart what is `step` from one another.
fn decimals(step: f64) -> usize {
    (0..9).find(|&digits| step * 10_f64.powi(digits) >= 0.999).map_or(9, |digits| usize::try_from(digits).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::{decimals, grouped};

    #[test]
    fn neighbours_on_an_axis_have_different_numbers() {
        assert_eq!([100.0, 2.0, 1.0, 0.5, 0.2, 0.05, 0.001].map(decimals), [0, 0, 0, 1, 1, 2, 3]);
    }

    #[test]
    fn digits_stand_in_groups_of_three() {
        let texts = [0.4, 999.0, 4096.0, 106_345.2, -1_234_567.0].map(grouped);
        assert_eq!(texts, ["0", "999", "4096", "106\u{2009}345", "-1\u{2009}234\u{2009}567"]);
    }
}
