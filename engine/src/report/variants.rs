//! Scenarios side by side, why they differ, and what to change: as table, CSV and JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::csv::quoted;
use super::{SCHEMA_VERSION, edits_text};
use crate::analysis::{Measure, Unit};
use crate::search::{Advice, Attribution, Cause, Setting};
use crate::trace::Origin;
use crate::units::{Bytes, Nanos};

/// A run in a comparison.
#[derive(Clone, Debug)]
pub struct Variant {
    /// What it is called.
    pub name: String,
    /// Where its figures come from.
    pub origin: Origin,
    /// Its figures, the same in every variant and in the same order.
    pub measures: Vec<Measure>,
}

/// Variants beside each other; the first is the baseline.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    /// The runs.
    pub variants: &'a [Variant],
    /// The settings in which they differ.
    pub settings: &'a [Setting],
    /// Why each but the first differs from it, where that was asked for.
    pub causes: &'a [Option<Attribution>],
}

/// The rows of figures that any variant has and that are not zero in all of them.
pub fn compared_rows(variants: &[Variant]) -> Vec<usize> {
    let count = variants.first().map_or(0, |variant| variant.measures.len());
    let shown = |row: &usize| {
        variants
            .iter()
            .any(|variant| variant.measures.get(*row).and_then(|m| m.value).is_some_and(|value| value != 0.0))
    };
    (0..count).filter(shown).collect()
}

/// The variants whose figure is best in a row; none where all are equal.
pub fn best_of(variants: &[Variant], row: usize) -> Vec<usize> {
    let values: Vec<Option<f64>> = variants.iter().map(|v| v.measures.get(row).and_then(|m| m.value)).collect();
    let Some(measure) = variants.first().and_then(|variant| variant.measures.get(row)) else { return Vec::new() };
    let known = || values.iter().copied().flatten();
    let beaten = |value: f64| known().any(|other| measure.prefers(other, value));
    if !known().any(beaten) {
        return Vec::new();
    }
    (0..values.len()).filter(|&index| values[index].is_some_and(|value| !beaten(value))).collect()
}

/// How a figure differs from the baseline's: a sign for the direction, and the percentage.
pub fn change_text(measure: &Measure, before: f64, after: f64) -> String {
    if before == after {
        return "=".to_owned();
    }
    let sign = if after > before { "▲" } else { "▼" };
    if measure.unit == Unit::Share {
        // A difference of percentages is in percentage points.
        return format!("{sign}{:.2} pp", (after - before).abs() * 100.0);
    }
    if before == 0.0 {
        return format!("{sign}{}", measure.text((after - before).abs()));
    }
    format!("{sign}{:.1} %", (after / before - 1.0).abs() * 100.0)
}

/// All of it for people.
pub fn variants_table(comparison: &Comparison<'_>) -> String {
    let variants = comparison.variants;
    let mut text = String::new();
    for (number, variant) in variants.iter().enumerate() {
        let _ = writeln!(text, "  [{number}] {}   [{}]", variant.name, variant.origin.name());
    }
    let heads: String = (0..variants.len()).map(|number| format!(" {:>24}", format!("[{number}]"))).collect();
    let _ = writeln!(text, "\n  {:<26}{heads}", "figure");
    for row in compared_rows(variants) {
        let best = best_of(variants, row);
        let key = variants[0].measures[row].key;
        let cells: String =
            (0..variants.len()).map(|index| cell(variants, row, index, best.contains(&index))).collect();
        let _ = writeln!(text, "  {key:<26}{cells}");
    }
    text.push_str("\n  * the best of the row; ▲ more and ▼ less than [0]\n");
    if !comparison.settings.is_empty() {
        let _ = writeln!(text, "\n  {:<34}{heads}", "setting that differs");
        for setting in comparison.settings {
            let cells: String = setting.values.iter().map(|value| format!(" {:>24}", value_text(value))).collect();
            let _ = writeln!(text, "  {:<34}{cells}", setting.path);
        }
    }
    for (number, why) in (1..).zip(comparison.causes) {
        causes(&mut text, number, why.as_ref());
    }
    text
}

fn cell(variants: &[Variant], row: usize, index: usize, best: bool) -> String {
    let measure = &variants[index].measures[row];
    let Some(value) = measure.value else { return format!(" {:>24}", "-") };
    let base = variants[0].measures[row].value.filter(|_| index > 0);
    let change = base.map_or_else(String::new, |base| format!(" {}", change_text(measure, base, value)));
    let mark = if best { "*" } else { "" };
    format!(" {:>24}", format!("{mark}{}{change}", measure.text(value)))
}

/// A value as it is written; a default for what is left out.
pub fn value_text(value: &Value) -> String {
    match value {
        Value::Null => "(default)".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What a cause changes, in words.
pub fn cause_text(cause: &Cause) -> String {
    let one = |(path, from, to): &(String, Value, Value)| format!("{path}: {} → {}", value_text(from), value_text(to));
    let shown: Vec<String> = cause.settings.iter().take(3).map(one).collect();
    let more = cause.settings.len().saturating_sub(3);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}

/// A time with its sign.
pub(super) fn signed_time(time: Nanos) -> String {
    let sign = if time.0 < 0 { "-" } else { "+" };
    format!("{sign}{}", Nanos(time.0.saturating_abs()))
}

/// A size with its sign.
pub fn signed_bytes(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "+" };
    format!("{sign}{}", Bytes(bytes.unsigned_abs()))
}

fn causes(text: &mut String, number: usize, why: Option<&Attribution>) {
    let Some(why) = why else { return };
    let how = if why.exact { "every order of the settings" } else { "two orders of the settings" };
    let _ = writeln!(
        text,
        "\n  Why [{number}] differs from [0]: step {}, memory {} (mean over {how}, {} scenarios simulated)",
        signed_time(why.time),
        signed_bytes(why.memory),
        why.simulated
    );
    for cause in &why.causes {
        let alone = cause.alone.map_or_else(|| "not valid alone".to_owned(), |t| format!("alone {}", signed_time(t)));
        let (time, memory) = (signed_time(cause.time), signed_bytes(cause.memory));
        let _ = writeln!(text, "    {time:>12} {memory:>12}   {}   ({alone})", cause_text(cause));
    }
}

/// The matrix of figures: numbers, not as they are shown.
pub fn variants_csv(variants: &[Variant]) -> String {
    let names: Vec<String> = variants.iter().map(|variant| quoted(&variant.name)).collect();
    let mut text = format!("figure,unit,{}\n", names.join(","));
    for row in compared_rows(variants) {
        let measure = &variants[0].measures[row];
        let unit = json!(measure.unit);
        let cells = variants.iter().map(|v| v.measures[row].value.map_or_else(String::new, |value| value.to_string()));
        let cells: Vec<String> = cells.collect();
        let _ = writeln!(text, "{},{},{}", measure.key, unit.as_str().unwrap_or_default(), cells.join(","));
    }
    text
}

/// All of it for machines.
pub fn variants_json(comparison: &Comparison<'_>) -> String {
    let variants: Vec<Value> = comparison
        .variants
        .iter()
        .map(|variant| {
            let figures: serde_json::Map<String, Value> =
                variant.measures.iter().map(|m| (m.key.to_owned(), json!(m.value))).collect();
            json!({ "name": variant.name, "origin": variant.origin, "figures": figures })
        })
        .collect();
    let document = json!({
        "schema_version": SCHEMA_VERSION,
        "variants": variants,
        "settings": comparison.settings,
        "causes": comparison.causes,
    });
    format!("{document:#}\n")
}

/// Advice for people.
pub fn advice_table(name: &str, now: &crate::search::Way, found: &[Advice], together: Option<&Advice>) -> String {
    let mut text = format!("{name}   [modelled]\n\n");
    let fits = if now.fits { "" } else { "; it does not fit" };
    let _ = writeln!(text, "  now       step {}, peak {}{fits}", now.step_time, now.peak);
    if found.is_empty() {
        text.push_str("\n  No single change that was tried makes it faster and fits.\n");
        return text;
    }
    let _ = writeln!(text, "\n  {:>9} {:>10} {:>12}  change", "gain", "step", "memory");
    let mut line = |advice: &Advice| {
        let gain = format!("{:+.1} %", advice.gain * 100.0);
        let rounding = if advice.effect == crate::search::Effect::Rounding { "   (rounds otherwise)" } else { "" };
        let (step, memory) = (advice.way.step_time.to_string(), signed_bytes(advice.memory));
        let _ = writeln!(text, "  {gain:>9} {step:>10} {memory:>12}  {}{rounding}", edits_text(&advice.way.edits));
    };
    found.iter().for_each(&mut line);
    if let Some(all) = together {
        line(all);
    }
    text.push_str(
        "\n  Each change is simulated by itself; the last line, where it has several, is the best of them together.\n",
    );
    text
}

/// Advice for machines.
pub fn advice_json(name: &str, now: &crate::search::Way, found: &[Advice], together: Option<&Advice>) -> String {
    let document = json!({
        "schema_version": SCHEMA_VERSION,
        "scenario": name,
        "origin": Origin::Modelled,
        "now": now,
        "advice": found,
        "together": together,
    });
    format!("{document:#}\n")
}

/// Advice as CSV.
pub fn advice_csv(found: &[Advice]) -> String {
    let mut text = String::from("change,gain,step_time_ns,memory_bytes,effect\n");
    for advice in found {
        let change = quoted(&edits_text(&advice.way.edits));
        let (gain, time, memory) = (advice.gain, advice.way.step_time.0, advice.memory);
        let _ = writeln!(text, "{change},{gain},{time},{memory},{}", advice.effect.name());
    }
    text
}
