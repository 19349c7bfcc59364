//! The figures by which runs are compared, each with its unit and which way is better.

use serde::Serialize;

use super::{Breakdown, StepReport, breakdowns, exposed_communication, run_cost};
use crate::scenario::Scenario;
use crate::trace::{Origin, Trace};
use crate::units::{Bytes, Joules, Nanos};

/// What a figure counts, which decides how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Nanoseconds.
    Time,
    /// Bytes.
    Size,
    /// A share of one.
    Share,
    /// Tokens or samples in a second.
    PerSecond,
    /// Things.
    Count,
    /// Joules.
    Energy,
    /// Device-hours.
    Hours,
    /// Money.
    Money,
}

/// Which way a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Less.
    Less,
    /// More.
    More,
    /// It is neither good nor bad.
    Neither,
}

/// A figure of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// Its name, such as `step_time` or `exposed_tp`.
    pub key: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Which way is better.
    pub better: Better,
    /// The figure, where the run has it.
    pub value: Option<f64>,
}

impl Measure {
    /// A value of this figure, written with its unit.
    pub fn text(&self, value: f64) -> String {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was an integer before")]
        match self.unit {
            Unit::Time => Nanos(value as i64).to_string(),
            Unit::Size => Bytes(value as u64).to_string(),
            Unit::Share => format!("{:.2} %", value * 100.0),
            Unit::PerSecond | Unit::Count => thousands(value),
            Unit::Energy => Joules(value).to_string(),
            Unit::Hours => format!("{value:.3}"),
            Unit::Money => format!("{value:.2}"),
        }
    }

    /// Whether `a` is better than `b`.
    pub fn prefers(&self, a: f64, b: f64) -> bool {
        match self.better {
            Better::Less => a < b,
            Better::More => a > b,
            Better::Neither => false,
        }
    }
}

/// A whole number in groups of three digits, or three digits of a small one.
fn thousands(value: f64) -> String {
    if value.abs() < 100.0 && value.fract() != 0.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

/// Which way a part of the time is better. What is computed moves from one part to another with the schedule: that is neither good nor bad.
pub fn part_is_better(key: &str) -> Better {
    if ["forward", "backward", "weight_gradient"].contains(&key) { Better::Neither } else { Better::Less }
}

/// The figures before the parts of the step time, in their order.
const FIGURES: [(&str, Unit, Better); 16] = [
    ("step_time", Unit::Time, Better::Less),
    ("tokens_per_s", Unit::PerSecond, Better::More),
    ("samples_per_s", Unit::PerSecond, Better::More),
    ("mfu", Unit::Share, Better::More),
    ("hfu", Unit::Share, Better::Neither),
    ("bubble_fraction", Unit::Share, Better::Less),
    ("peak_memory", Unit::Size, Better::Less),
    ("outside", Unit::Size, Better::Less),
    ("devices", Unit::Count, Better::Less),
    ("device_hours_per_million", Unit::Hours, Better::Less),
    ("energy_per_million", Unit::Energy, Better::Less),
    ("money_per_million", Unit::Money, Better::Less),
    ("device_hours_of_run", Unit::Hours, Better::Less),
    ("money_of_run", Unit::Money, Better::Less),
    ("computing", Unit::Time, Better::Neither),
    ("exposed_in_all", Unit::Time, Better::Less),
];

/// All figures of a run: those of the step, what it costs, and the parts of its time.
pub fn metrics(scenario: &Scenario, report: &StepReport) -> Vec<Measure> {
    let modelled = report.origin == Origin::Modelled;
    let cost = run_cost(scenario, report);
    // Ranks that share a device say nothing about a cluster.
    let cluster = |value: f64| modelled.then_some(value);
    let values: [Option<f64>; FIGURES.len()] = [
        Some(report.mean_step_time.0 as f64),
        Some(report.tokens_per_s),
        Some(report.samples_per_s),
        cluster(report.mfu),
        cluster(report.hfu),
        cluster(report.bubble_fraction),
        Some(report.fit.needed.as_f64()),
        Some(report.outside.as_f64()),
        Some(f64::from(scenario.mesh().ranks())),
        cluster(cost.million.device_hours),
        cost.million.energy.map(|energy| energy.0).filter(|_| modelled),
        cost.million.money.filter(|_| modelled),
        cost.run.map(|run| run.device_hours).filter(|_| modelled),
        cost.run.and_then(|run| run.money).filter(|_| modelled),
        Some(report.breakdown.compute().0 as f64),
        Some(exposed(&report.breakdown).0 as f64),
    ];
    let figure = |(&(key, unit, better), value)| Measure { key, unit, better, value };
    let mut rows: Vec<Measure> = FIGURES.iter().zip(values).map(figure).collect();
    let part = |(key, time): (&'static str, Nanos)| Measure {
        key,
        unit: Unit::Time,
        better: part_is_better(key),
        value: Some(time.0 as f64),
    };
    rows.extend(report.breakdown.parts().map(part));
    rows
}

/// What of communication nothing is computed beside.
fn exposed(parts: &Breakdown) -> Nanos {
    exposed_communication(parts).into_iter().map(|(_, time)| time).sum()
}

/// The same figures of a trace of which no scenario is known: its time, what it computes in it and what of communication is
/// exposed, of the group of ranks that computes the most. Other tools know neither phases nor axes, so all else is missing.
pub fn trace_metrics(trace: &Trace) -> Vec<Measure> {
    let groups = breakdowns(trace);
    let critical = groups.values().rev().max_by_key(|parts| parts.compute()).copied().unwrap_or_default();
    let known = |key: &str| match key {
        "step_time" => Some(trace.step_time),
        "computing" => Some(critical.compute()),
        "exposed_in_all" => Some(exposed(&critical)),
        _ => None,
    };
    let row = |&(key, unit, better): &(&'static str, Unit, Better)| Measure {
        key,
        unit,
        better,
        value: known(key).map(|time| time.0 as f64),
    };
    let parts = Breakdown::default().parts().map(|(key, _)| (key, Unit::Time, part_is_better(key)));
    FIGURES.iter().chain(&parts).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_with_their_units() {
        let measure = |unit| Measure { key: "x", unit, better: Better::Less, value: None };
        assert_eq!(measure(Unit::Time).text(1.5e6), "1.50 ms");
        assert_eq!(measure(Unit::Share).text(0.4567), "45.67 %");
        assert_eq!(measure(Unit::PerSecond).text(1_234_567.0), "1 234 567");
        assert_eq!(measure(Unit::Energy).text(3.6e6), "1.00 kWh");
        assert!(measure(Unit::Time).prefers(1.0, 2.0) && !measure(Unit::Time).prefers(2.0, 1.0));
    }
}
