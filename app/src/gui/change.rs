//! A figure beside that of the baseline: by how much it differs, and whether that is good.

use egui::{RichText, Ui};
use shardlab_engine::analysis::Better;
use shardlab_engine::units::{Bytes, Nanos};

use super::design_tokens::signals;
use super::i18n::{t, t_with};

/// The difference with its sign, which says the same as its colour; what it was before when it is pointed at.
pub fn change_ui(ui: &mut Ui, now: f64, before: f64, better: Better, was: &str) {
    text_ui(ui, &change_text(now, before), (now, before), better, was);
}

/// The same of two shares: in percentage points.
pub fn share_change_ui(ui: &mut Ui, now: f64, before: f64, better: Better, was: &str) {
    text_ui(ui, &points_text(now, before), (now, before), better, was);
}

fn text_ui(ui: &mut Ui, text: &str, (now, before): (f64, f64), better: Better, was: &str) {
    let colors = signals(ui.visuals());
    let text = RichText::new(text).small().monospace();
    let is_good = if now > before { Better::More } else { Better::Less };
    let text = match better {
        Better::Neither => text.weak(),
        _ if now == before => text.weak(),
        better if better == is_good => text.color(colors.good),
        _ => text.color(colors.bad),
    };
    ui.label(text).on_hover_text(t_with("inspector.before", was));
}

/// The difference of two times, of which less is better.
pub fn time_change_ui(ui: &mut Ui, now: Nanos, before: Nanos) {
    change_ui(ui, now.secs(), before.secs(), Better::Less, &before.to_string());
}

/// The same at the right of a cell of a table.
pub fn right_change_ui(ui: &mut Ui, now: Nanos, before: Nanos) {
    right_change_of_ui(ui, now, before, Better::Less);
}

/// The same of times of which less may not be better.
pub fn right_change_of_ui(ui: &mut Ui, now: Nanos, before: Nanos, better: Better) {
    ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
        change_ui(ui, now.secs(), before.secs(), better, &before.to_string());
    });
}

/// The difference of two sizes, of which less is better, at the right of a cell of a table.
pub fn right_bytes_change_ui(ui: &mut Ui, now: Bytes, before: Bytes) {
    ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
        change_ui(ui, now.as_f64(), before.as_f64(), Better::Less, &before.to_string());
    });
}

fn sign(now: f64, before: f64) -> &'static str {
    if now > before { "▲" } else { "▼" }
}

/// `▲ 1.23 pp`, or `=` where both are alike.
fn points_text(now: f64, before: f64) -> String {
    if now == before { "=".to_owned() } else { format!("{} {:.2} pp", sign(now, before), (now - before).abs() * 100.0) }
}

/// `▲ 12.3 %`, or `=` where both are alike.
fn change_text(now: f64, before: f64) -> String {
    let sign = sign(now, before);
    match now / before - 1.0 {
        _ if now == before => "=".to_owned(),
        share if share.is_finite() => format!("{sign} {:.1} %", share.abs() * 100.0),
        _ => t("change.new").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{change_text, points_text};

    #[test]
    fn a_change_has_its_sign_and_its_share() {
        assert_eq!(change_text(1.1, 1.0), "▲ 10.0 %");
        assert_eq!(change_text(0.0, 2.0), "▼ 100.0 %");
        assert_eq!(points_text(0.35, 0.4), "▼ 5.00 pp");
        assert_eq!(change_text(3.0, 3.0), "=");
        assert_eq!(change_text(0.0, 0.0), "=");
        assert_eq!(change_text(1.0, 0.0), "new");
    }
}
