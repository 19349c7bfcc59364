//! Errors, ranks and choices.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Prediction, Row};

/// How far predictions of a set of rows are from their measurements.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// What the rows have in common.
    pub name: String,
    /// Rows in all.
    pub rows: usize,
    /// Rows that were simulated.
    pub predicted: usize,
    /// Mean absolute error of step time, relative to the measurement.
    pub mean_error: f64,
    /// Median of the same.
    pub median_error: f64,
    /// Mean of the signed error: above zero where predictions are too slow.
    pub bias: f64,
    /// Spearman's rank correlation of predicted and measured throughput per device; none below five rows.
    pub rank_correlation: Option<f64>,
    /// Rows with measured peak memory.
    pub memory_rows: usize,
    /// Mean absolute error of peak memory over them.
    pub memory_error: Option<f64>,
}

/// Sums up rows under a name; none where no row was simulated.
pub fn summarise<'a>(name: &str, rows: impl Iterator<Item = &'a Row>) -> Option<Summary> {
    let all: Vec<&Row> = rows.collect();
    let predictions: Vec<&Prediction> = all.iter().filter_map(|row| row.prediction()).collect();
    let mut errors: Vec<f64> = predictions.iter().map(|p| p.error().abs()).collect();
    errors.sort_by(f64::total_cmp);
    let n = errors.len();
    let memory: Vec<f64> = predictions.iter().filter_map(|p| p.memory_error()).map(f64::abs).collect();
    (n > 0).then(|| Summary {
        name: name.to_owned(),
        rows: all.len(),
        predicted: n,
        mean_error: errors.iter().sum::<f64>() / n as f64,
        median_error: f64::midpoint(errors[n / 2], errors[(n - 1) / 2]),
        bias: predictions.iter().map(|p| p.error()).sum::<f64>() / n as f64,
        rank_correlation: rank_correlation(&predictions),
        memory_rows: memory.len(),
        memory_error: (!memory.is_empty()).then(|| memory.iter().sum::<f64>() / memory.len() as f64),
    })
}

/// Spearman's correlation of step times.
fn rank_correlation(predictions: &[&Prediction]) -> Option<f64> {
    if predictions.len() < 5 {
        return None;
    }
    let of = |value: fn(&Prediction) -> f64| ranks(&predictions.iter().map(|p| value(p)).collect::<Vec<_>>());
    pearson(&of(|p| p.predicted_step_s), &of(|p| p.measured_step_s))
}

/// Ranks of values; equal ones share their mean rank.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let below = order.iter().position(|index| index == &tied[0]).unwrap_or(0);
        let rank = below as f64 + (tied.len() as f64 - 1.0) / 2.0;
        tied.iter().for_each(|&index| ranks[index] = rank);
    }
    ranks
}

fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (mx, my) = (mean(x), mean(y));
    let covariance: f64 = x.iter().zip(y).map(|(a, b)| (a - mx) * (b - my)).sum();
    let deviation = |v: &[f64], m: f64| v.iter().map(|a| (a - m).powi(2)).sum::<f64>().sqrt();
    let scale = deviation(x, mx) * deviation(y, my);
    (scale > 0.0).then(|| covariance / scale)
}

/// What choosing by prediction costs in a group of rows that differ in strategy alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Regret {
    /// What the rows have in common.
    pub workload: String,
    /// Strategies in the group.
    pub strategies: usize,
    /// Measured time of the strategy that is predicted fastest over the measured best, minus one.
    pub regret: f64,
}

/// The regret of every group with at least four strategies.
pub fn regrets(rows: &[Row]) -> Vec<Regret> {
    let mut groups: BTreeMap<&str, Vec<&Prediction>> = BTreeMap::new();
    for row in rows {
        groups.entry(&row.workload).or_default().extend(row.prediction());
    }
    let of_group = |(workload, group): (&str, Vec<&Prediction>)| {
        let by = |value: fn(&Prediction) -> f64| group.iter().min_by(|a, b| value(a).total_cmp(&value(b)));
        let (chosen, best) = (by(|p| p.predicted_step_s)?, by(|p| p.measured_step_s)?);
        let regret = chosen.measured_step_s / best.measured_step_s - 1.0;
        (group.len() >= 4).then(|| Regret { workload: workload.to_owned(), strategies: group.len(), regret })
    };
    groups.into_iter().filter_map(of_group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_a_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [2.5, 0.0, 2.5, 1.0]);
        let reversed = pearson(&ranks(&[1.0, 2.0, 3.0]), &ranks(&[3.0, 2.0, 1.0]));
        assert!(reversed.is_some_and(|r| (r + 1.0).abs() < 1e-12));
        assert_eq!(pearson(&[1.0, 1.0], &[1.0, 2.0]), None, "no spread, no correlation");
    }
}
