//! A sweep as table, CSV and JSON.

use std::fmt::Write as _;

use serde_json::json;

use super::SCHEMA_VERSION;
use super::csv::quoted;
use super::variants::value_text;
use crate::search::{Against, Space, SweepOutcome, SweepPoint, importance, pareto};

/// The front and what matters, for people.
pub fn sweep_table(space: &Space, points: &[SweepPoint], against: Against) -> String {
    let simulated = points.iter().filter(|point| point.figures().is_some()).count();
    let fitting = points.iter().filter(|point| point.figures().is_some_and(|figures| figures.fits)).count();
    let mut text = format!(
        "{} combinations: {simulated} simulated, {fitting} fit, {} are no valid scenario   [modelled]\n",
        points.len(),
        points.len() - simulated
    );
    text.push_str("\n  What matters (share of the variance of log step time, first order):\n");
    for (path, share) in importance(space, points) {
        let _ = writeln!(text, "    {:>5.1} %  {path}", share * 100.0);
    }
    let _ = writeln!(text, "\n  Fitting combinations that none beats in step time and {}:\n", against.name());
    let names: Vec<&str> = space.axes.iter().map(|axis| axis.path.rsplit('.').next().unwrap_or_default()).collect();
    let heads: String = names.iter().map(|name| format!(" {:>width$}", name, width = name.len().max(8))).collect();
    let _ = writeln!(text, "  {:>10} {:>10} {:>8} {:>12} {:>7}{heads}", "step", "memory", "devices", "tokens/s", "MFU");
    for place in pareto(points, against) {
        let Some(figures) = points[place].figures() else { continue };
        let values: String = names
            .iter()
            .zip(&points[place].values)
            .map(|(name, value)| format!(" {:>width$}", value_text(value), width = name.len().max(8)))
            .collect();
        let (step, memory, mfu) = (figures.step_time.to_string(), figures.memory.to_string(), figures.mfu * 100.0);
        let _ = writeln!(
            text,
            "  {step:>10} {memory:>10} {:>8} {:>12.0} {mfu:>5.1} %{values}",
            figures.devices, figures.tokens_per_s
        );
    }
    text
}

/// Every combination, a line each.
pub fn sweep_csv(space: &Space, points: &[SweepPoint]) -> String {
    let paths: Vec<&str> = space.axes.iter().map(|axis| axis.path.as_str()).collect();
    let mut text = format!(
        "index,{},step_time_ns,memory_bytes,fits,devices,tokens_per_s,mfu,device_hours_per_million,money_per_million,error\n",
        paths.join(",")
    );
    for point in sorted(points) {
        let values: Vec<String> = point.values.iter().map(|value| quoted(&value_text(value))).collect();
        let _ = write!(text, "{},{},", point.index, values.join(","));
        let _ = match &point.outcome {
            SweepOutcome::Figures(f) => writeln!(
                text,
                "{},{},{},{},{},{},{},{},",
                f.step_time.0,
                f.memory.0,
                f.fits,
                f.devices,
                f.tokens_per_s,
                f.mfu,
                f.device_hours,
                f.money.map_or_else(String::new, |money| money.to_string())
            ),
            SweepOutcome::Invalid(error) => writeln!(text, ",,,,,,,,{}", quoted(error)),
        };
    }
    text
}

/// All of it for machines.
pub fn sweep_json(space: &Space, points: &[SweepPoint], against: Against) -> String {
    let front: Vec<u64> = pareto(points, against).into_iter().map(|place| points[place].index).collect();
    let document = json!({
        "schema_version": SCHEMA_VERSION,
        "origin": "modelled",
        "axes": space.axes,
        "points": sorted(points),
        "pareto": { "against": against, "indices": front },
        "importance": importance(space, points).into_iter().collect::<std::collections::BTreeMap<_, _>>(),
    });
    format!("{document:#}\n")
}

fn sorted(points: &[SweepPoint]) -> Vec<&SweepPoint> {
    let mut points: Vec<&SweepPoint> = points.iter().collect();
    points.sort_by_key(|point| point.index);
    points
}
