//! The kinds of fields: a name with an explanation on the left, the value with its unit on the right, and what is
//! wrong with it below.
//!
//! The key of a field gives its name; `.tip` its explanation and `.unit` its unit.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use egui::{DragValue, Response, Ui};
use shardlab_engine::units::Quantity;

use crate::gui::i18n::{t, t_or_name, tip, unit, unit_of};
use crate::gui::widgets::error_ui;

/// What is typed into text fields and is not yet a value, by key.
pub type Typed = BTreeMap<&'static str, String>;

/// A row: name, value, and the error below. Returns the value's response, labelled by the name.
pub fn row_ui(
    ui: &mut Ui,
    key: &'static str,
    error: Option<&str>,
    value: impl FnOnce(&mut Ui) -> Response,
) -> Response {
    let response = ui.horizontal(|ui| {
        let mut label = ui.label(t(key));
        if let Some(tip) = tip(key) {
            label = label.on_hover_text(tip);
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), value).inner.labelled_by(label.id)
    });
    if let Some(error) = error {
        error_ui(ui, error);
    }
    response.inner
}

/// A whole number.
pub fn number_ui(ui: &mut Ui, key: &'static str, value: &mut u32, range: RangeInclusive<u32>, error: Option<&str>) {
    let suffix = unit_of(key, *value);
    row_ui(ui, key, error, |ui| ui.add(DragValue::new(value).range(range).speed(0.1).suffix(suffix)));
}

/// A number with a fraction.
pub fn real_ui(ui: &mut Ui, key: &'static str, value: &mut f64, range: RangeInclusive<f64>, speed: f64) {
    ranged_real_ui(ui, key, value, range, speed, None);
}

/// The same, with what is wrong with it.
pub fn ranged_real_ui(
    ui: &mut Ui,
    key: &'static str,
    value: &mut f64,
    range: RangeInclusive<f64>,
    speed: f64,
    error: Option<&str>,
) {
    row_ui(ui, key, error, |ui| {
        ui.add(DragValue::new(value).range(range).speed(speed).max_decimals(6).suffix(unit(key)))
    });
}

/// A whole number that a preset or another field gives when it is left out.
pub fn optional_ui(
    ui: &mut Ui,
    key: &'static str,
    value: &mut Option<u32>,
    effective: u32,
    range: RangeInclusive<u32>,
    error: Option<&str>,
) {
    row_ui(ui, key, error, |ui| {
        reset_ui(ui, value);
        let mut shown = value.unwrap_or(effective);
        let suffix = unit_of(key, shown);
        let response = ui.add(DragValue::new(&mut shown).range(range).speed(0.1).suffix(suffix));
        if response.changed() {
            *value = Some(shown);
        }
        response
    });
}

/// A button that takes a value back to what is derived, where one is set.
fn reset_ui<T>(ui: &mut Ui, value: &mut Option<T>) {
    if value.is_some() && ui.small_button("×").on_hover_text(t("form.reset")).clicked() {
        *value = None;
    }
}

/// A share of a peak, which a preset gives when it is left out.
pub fn share_ui(ui: &mut Ui, key: &'static str, value: &mut Option<f64>, effective: f64, error: Option<&str>) {
    row_ui(ui, key, error, |ui| {
        reset_ui(ui, value);
        let mut shown = value.unwrap_or(effective);
        let response = ui.add(DragValue::new(&mut shown).range(0.01..=1.0).speed(0.002).max_decimals(3));
        if response.changed() {
            *value = Some(shown);
        }
        response
    });
}

/// A number that a preset gives when it is left out.
pub fn optional_real_ui(
    ui: &mut Ui,
    key: &'static str,
    value: &mut Option<f64>,
    effective: f64,
    (range, speed): (RangeInclusive<f64>, f64),
    error: Option<&str>,
) {
    row_ui(ui, key, error, |ui| {
        reset_ui(ui, value);
        let mut shown = value.unwrap_or(effective);
        // What a file says stays as it is until it is touched, also where it is wrong.
        let response = ui.add(DragValue::new(&mut shown).range(range).clamp_existing_to_range(false).speed(speed));
        if response.changed() {
            *value = Some(shown);
        }
        response
    });
}

/// Whole numbers with commas between them; none for what is derived.
pub fn list_ui(
    ui: &mut Ui,
    key: &'static str,
    value: &mut Vec<u32>,
    typed: &mut Typed,
    effective: &[u32],
    error: Option<&str>,
) {
    let written = |list: &[u32]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut text = typed.get(key).cloned().unwrap_or_else(|| written(value));
    let parsed = |text: &str| -> Option<Vec<u32>> {
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(|word| word.parse().ok()).collect()
    };
    let malformed = parsed(&text).is_none().then(|| t("form.list.malformed").to_owned());
    let response = row_ui(ui, key, malformed.as_deref().or(error), |ui| {
        let hint = if effective.len() > 12 { String::new() } else { written(effective) };
        ui.add(egui::TextEdit::singleline(&mut text).hint_text(hint).desired_width(150.0))
    });
    if response.changed() {
        if let Some(list) = parsed(&text) {
            *value = list;
        }
        typed.insert(key, text);
    } else if response.lost_focus() && malformed.is_none() {
        typed.remove(key);
    }
}

/// A text of one line.
pub fn text_ui(ui: &mut Ui, key: &'static str, value: &mut Option<String>, effective: &str) {
    row_ui(ui, key, None, |ui| {
        let mut text = value.clone().unwrap_or_else(|| effective.to_owned());
        let response = ui.add(egui::TextEdit::singleline(&mut text).desired_width(150.0).char_limit(80));
        if response.changed() {
            *value = Some(text).filter(|text| !text.is_empty());
        }
        response
    });
}

/// Yes or no.
pub fn flag_ui(ui: &mut Ui, key: &'static str, value: &mut bool) {
    row_ui(ui, key, None, |ui| ui.checkbox(value, ""));
}

/// Yes or no, where a preset says which when it is left out.
pub fn optional_flag_ui(ui: &mut Ui, key: &'static str, value: &mut Option<bool>, effective: bool) {
    let mut shown = value.unwrap_or(effective);
    if row_ui(ui, key, None, |ui| ui.checkbox(&mut shown, "")).changed() {
        *value = Some(shown);
    }
}

/// One of a few.
pub fn choice_ui<T: Copy + PartialEq>(ui: &mut Ui, key: &'static str, value: &mut T, options: &[(T, &'static str)]) {
    combo_ui(ui, key, value, options, t, None);
}

/// One of a few whose texts are `key.name`; what has no text shows its name.
pub fn named_ui<T: Copy + PartialEq>(
    ui: &mut Ui,
    key: &'static str,
    value: &mut T,
    options: &[(T, &'static str)],
    error: Option<&str>,
) {
    combo_ui(ui, key, value, options, |name| t_or_name(key, name), error);
}

/// One of a few, each with what `text` makes of its word.
fn combo_ui<T: Copy + PartialEq>(
    ui: &mut Ui,
    key: &'static str,
    value: &mut T,
    options: &[(T, &'static str)],
    text: impl Fn(&'static str) -> &'static str,
    error: Option<&str>,
) {
    let current = options.iter().find(|(option, _)| option == value).map_or("", |(_, word)| text(word));
    row_ui(ui, key, error, |ui| {
        let combo = egui::ComboBox::from_id_salt(key).selected_text(current).show_ui(ui, |ui| {
            for (option, word) in options {
                ui.selectable_value(value, *option, text(word));
            }
        });
        combo.response
    });
}

/// One of many names.
pub fn name_ui(ui: &mut Ui, key: &'static str, names: &[&str], value: &mut Option<String>, error: Option<&str>) {
    row_ui(ui, key, error, |ui| {
        let current = value.clone().unwrap_or_else(|| t("form.preset.custom").to_owned());
        let combo = egui::ComboBox::from_id_salt(key).selected_text(current).width(150.0).show_ui(ui, |ui| {
            for name in names {
                ui.selectable_value(value, Some((*name).to_owned()), *name);
            }
        });
        combo.response
    });
}

/// A quantity with its unit, as text; what is typed is kept until it is a quantity.
pub fn quantity_ui<T: Quantity>(
    ui: &mut Ui,
    key: &'static str,
    value: &mut Option<T>,
    typed: &mut Typed,
    effective: T,
    error: Option<&str>,
) {
    let mut text = typed.get(key).cloned().unwrap_or_else(|| value.unwrap_or(effective).written());
    let malformed = typed.get(key).and_then(|text| text.parse::<T>().err()).map(|error| error.to_string());
    let response = row_ui(ui, key, malformed.as_deref().or(error), |ui| {
        reset_ui(ui, value);
        ui.add(egui::TextEdit::singleline(&mut text).desired_width(96.0))
    });
    if response.changed() {
        if let Ok(parsed) = text.parse() {
            *value = Some(parsed);
        }
        typed.insert(key, text);
    } else if response.lost_focus() && malformed.is_none() {
        typed.remove(key);
    }
}
