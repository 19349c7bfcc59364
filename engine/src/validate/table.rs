//! The validation as a text for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Fitted, Outcome, Row, Summary, regrets, summarise};

/// Summaries by source and by device, choices, what was left out and why, and the worst rows.
pub fn validation_table(rows: &[Row]) -> String {
    let mut text = String::from("predicted step times against measured ones   [modelled / published]\n\n");
    let _ = writeln!(
        text,
        "  {:<24} {:>6} {:>9} {:>9} {:>9} {:>9} {:>8} {:>9}",
        "source", "rows", "predicted", "mean", "median", "bias", "rank", "memory"
    );
    for summary in summaries(rows) {
        line(&mut text, &summary);
    }
    choices(&mut text, rows);
    left_out(&mut text, rows);
    worst(&mut text, rows);
    text
}

/// By source, by device, and in all.
pub fn summaries(rows: &[Row]) -> Vec<Summary> {
    let keys = |key: fn(&Row) -> &str| {
        let mut names: Vec<&str> = rows.iter().map(key).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    let sources = keys(|row| &row.source).into_iter();
    let by_source = sources.filter_map(|name| summarise(name, rows.iter().filter(|row| row.source == name)));
    let devices = keys(|row| &row.gpu).into_iter();
    let by_device = devices.filter_map(|name| summarise(name, rows.iter().filter(|row| row.gpu == name)));
    by_source.chain(by_device).chain(summarise("all", rows.iter())).collect()
}

fn line(text: &mut String, s: &Summary) {
    let percent = |x: f64| format!("{:.1} %", x * 100.0);
    let rank = s.rank_correlation.map_or_else(|| "-".to_owned(), |r| format!("{r:.3}"));
    let (mean, median, bias) = (percent(s.mean_error), percent(s.median_error), percent(s.bias));
    let memory = s.memory_error.map_or_else(|| "-".to_owned(), percent);
    let name: String = s.name.chars().take(24).collect();
    let (rows, predicted) = (s.rows, s.predicted);
    // Writing to a String cannot fail.
    let _ =
        writeln!(text, "  {name:<24} {rows:>6} {predicted:>9} {mean:>9} {median:>9} {bias:>9} {rank:>8} {memory:>9}");
}

fn choices(text: &mut String, rows: &[Row]) {
    let regrets = regrets(rows);
    if regrets.is_empty() {
        return;
    }
    let mean = regrets.iter().map(|r| r.regret).sum::<f64>() / regrets.len() as f64;
    let largest = regrets.iter().map(|r| r.regret).fold(0.0, f64::max);
    let _ = writeln!(
        text,
        "\n  choosing the strategy predicted fastest, in {} groups of four and more: {:.1} % slower than the best on average, {:.1} % at worst",
        regrets.len(),
        mean * 100.0,
        largest * 100.0
    );
}

fn left_out(text: &mut String, rows: &[Row]) {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        if let Outcome::LeftOut { left_out } = &row.outcome {
            *reasons.entry(left_out).or_default() += 1;
        }
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|&(reason, count)| (std::cmp::Reverse(count), reason));
    let _ = writeln!(text, "\n  left out:");
    for (reason, count) in reasons.into_iter().take(20) {
        let _ = writeln!(text, "    {count:>5}  {}", reason.lines().next().unwrap_or_default());
    }
}

fn worst(text: &mut String, rows: &[Row]) {
    let mut predicted: Vec<_> = rows.iter().filter_map(|row| Some((row, row.prediction()?))).collect();
    predicted.sort_by(|a, b| b.1.error().abs().total_cmp(&a.1.error().abs()));
    let _ = writeln!(text, "\n  the ten farthest apart:");
    for (row, prediction) in predicted.into_iter().take(10) {
        let _ = writeln!(
            text,
            "    {:<24} measured {:>9.3} s, predicted {:>9.3} s ({:+.0} %)",
            row.id,
            prediction.measured_step_s,
            prediction.predicted_step_s,
            prediction.error() * 100.0
        );
        let parts = prediction.breakdown.parts().into_iter().filter(|(_, time)| time.0 > 0);
        let parts: Vec<_> = parts.map(|(name, time)| format!("{name} {time}")).collect();
        let _ = writeln!(text, "      {}", parts.join(", "));
    }
}

/// Fitted devices as `assets/calibration.toml` holds them, with what they were fitted on.
pub fn calibration_toml(fitted: &[Fitted]) -> String {
    let mut text = String::from(
        "# What was fitted to published measurements, laid over assets/devices.toml. Written by `shardlab fit`.\n#\n\
         # Errors are means over sources, weighted by the root of their rows, of the mean absolute logarithm of predicted\n\
         # over measured step time: 0.10 is about 10 %; a row counts 0.4 at most. Half of the rows were fitted, the other half only scored. `before` is\n\
         # with what this file held before.\n",
    );
    for family in fitted {
        let [[fit_before, held_before], [fit_after, held_after]] = [family.before, family.after];
        let [rows, held] = family.rows;
        let _ = write!(
            text,
            "\n# {rows} rows fitted: error {fit_before:.3} before, {fit_after:.3} after; {held} rows held out: \
             {held_before:.3} before, {held_after:.3} after.\n"
        );
        for device in &family.devices {
            let _ = write!(
                text,
                "[{device}]\nmatmul_efficiency = {:.3}\neager_share = {:.3}\nattention_efficiency = {:.3}\nmemory_efficiency = {:.3}\n\
                 host_dispatch = \"{:.1} us\"\nlaunch_overhead = \"{:.1} us\"\nresiduals = [{:.3}, {:.3}]\n",
                family.matmul_efficiency,
                family.eager_share,
                family.attention_efficiency,
                family.memory_efficiency,
                family.host_dispatch.secs() * 1e6,
                family.launch_overhead.secs() * 1e6,
                family.residuals[0],
                family.residuals[1]
            );
        }
    }
    text
}
