//! What a training log tells: slow steps, loss spikes, medians.

use serde::Serialize;

use crate::trace::{LogStep, TrainingLog};

/// A step that stands out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LogEvent {
    /// Its number.
    pub step: u64,
    /// What was seen.
    pub value: f64,
    /// The median of the steps around it.
    pub usual: f64,
}

/// What stands out in a log.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LogFindings {
    /// Seconds of a step.
    pub median_seconds: Option<f64>,
    /// Tokens in a second, of one device where the framework writes it so.
    pub median_tokens_per_s: Option<f64>,
    /// 10¹² FLOP/s of a device.
    pub median_tflops: Option<f64>,
    /// Steps that took more than half as long again as those around them: checkpoints, stalls, stragglers.
    pub stalls: Vec<LogEvent>,
    /// Seconds that they took beyond the usual.
    pub stalled_seconds: f64,
    /// Steps whose loss lies far above those before: more than eight times their median absolute deviation (Hampel 1974
    /// uses three; losses of neighbouring batches differ more).
    pub spikes: Vec<LogEvent>,
    /// Steps whose loss is no number.
    pub not_finite: Vec<u64>,
    /// Steps that the framework skipped.
    pub skipped: u64,
}

/// Steps on each side by which a step is judged.
const AROUND: usize = 25;
/// How much longer than usual a slow step takes.
const SLOW: f64 = 1.5;
/// Median absolute deviations that make a spike.
const SPIKE: f64 = 8.0;

/// Finds what stands out.
pub fn log_findings(log: &TrainingLog) -> LogFindings {
    let column = |of: fn(&LogStep) -> Option<f64>| -> Vec<f64> {
        log.steps.iter().filter_map(of).filter(|value| value.is_finite()).collect()
    };
    let median_of = |of| Some(column(of)).filter(|values| !values.is_empty()).map(median);
    let stalls = stalls(&log.steps);
    LogFindings {
        median_seconds: median_of(|step| step.seconds),
        median_tokens_per_s: median_of(|step| step.tokens_per_s),
        median_tflops: median_of(|step| step.tflops),
        stalled_seconds: stalls.iter().map(|(event, steps)| (event.value - event.usual) * steps).sum(),
        stalls: stalls.into_iter().map(|(event, _)| event).collect(),
        spikes: spikes(&log.steps),
        not_finite: log.steps.iter().filter(|s| s.loss.is_some_and(|loss| !loss.is_finite())).map(|s| s.step).collect(),
        skipped: log.steps.iter().filter_map(|step| step.skipped).fold(0, u64::saturating_add),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    let middle = values.len() / 2;
    let (_, median, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    *median
}

/// Slow steps, each with how many it stands for: a line tells the mean of those since the line before.
fn stalls(steps: &[LogStep]) -> Vec<(LogEvent, f64)> {
    let timed: Vec<(u64, f64)> =
        steps.iter().filter_map(|step| Some((step.step, step.seconds.filter(|s| s.is_finite())?))).collect();
    let slow = timed.iter().enumerate().filter_map(|(place, &(step, value))| {
        let window = &timed[place.saturating_sub(AROUND)..(place + AROUND + 1).min(timed.len())];
        let usual = median(window.iter().map(|(_, seconds)| *seconds).collect());
        let before = place.checked_sub(1).map_or(step, |place| timed[place].0);
        let steps = step.saturating_sub(before).max(1) as f64;
        (window.len() > 4 && value > usual * SLOW).then_some((LogEvent { step, value, usual }, steps))
    });
    slow.collect()
}

/// Judged by the steps before: a loss that has fallen is no spike.
fn spikes(steps: &[LogStep]) -> Vec<LogEvent> {
    let known: Vec<(u64, f64)> =
        steps.iter().filter_map(|step| Some((step.step, step.loss.filter(|loss| loss.is_finite())?))).collect();
    let high = known.iter().enumerate().skip(AROUND).filter_map(|(place, &(step, value))| {
        let window = known[place - AROUND..place].iter().map(|(_, loss)| *loss);
        let usual = median(window.clone().collect());
        let deviation = median(window.map(|loss| (loss - usual).abs()).collect());
        (value > usual + SPIKE * deviation.max(usual.abs() * 1e-3)).then_some(LogEvent { step, value, usual })
    });
    high.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(seconds: impl Fn(u64) -> f64, loss: impl Fn(u64) -> f64) -> TrainingLog {
        let step = |step| LogStep { step, loss: Some(loss(step)), seconds: Some(seconds(step)), ..LogStep::default() };
        TrainingLog { framework: "Megatron-LM", steps: (0..200).map(step).collect(), other_lines: 0 }
    }

    #[test]
    fn slow_steps_and_spikes_are_found_and_a_falling_loss_is_neither() {
        let falling = |step: u64| 10.0 / (1.0 + step as f64 / 20.0) + 0.01 * ((step * 7919 % 13) as f64 - 6.0);
        let found = log_findings(&log(
            |step| if step % 50 == 49 { 4.0 } else { 1.0 },
            |step| {
                if step == 150 { 9.0 } else { falling(step) }
            },
        ));
        assert_eq!(found.stalls.iter().map(|event| event.step).collect::<Vec<_>>(), [49, 99, 149, 199]);
        assert!((found.stalled_seconds - 12.0).abs() < 1e-9);
        assert_eq!(found.spikes.iter().map(|event| event.step).collect::<Vec<_>>(), [150]);
        assert_eq!(found.median_seconds, Some(1.0));
    }

    #[test]
    fn a_loss_that_is_no_number_is_named() {
        let found = log_findings(&log(|_| 1.0, |step| if step == 7 { f64::NAN } else { 2.0 }));
        assert_eq!(found.not_finite, [7]);
        assert!(found.spikes.is_empty());
    }
}
