//! Logs of training runs: the lines that Megatron-LM, torchtitan and NeMo write for every step.

use std::fmt::Write as _;

use serde_json::json;

use super::SCHEMA_VERSION;
use crate::analysis::{LogFindings, log_findings};
use crate::trace::{LogStep, TrainingLog};
use crate::units::Bytes;
use crate::unpack::{UnpackError, unpacked};

/// Bytes of a log that was unpacked, at most.
const MAX_BYTES: Bytes = Bytes(1 << 30);
/// Steps that are read, at most.
const MAX_STEPS: usize = 5_000_000;

/// Why a file is no log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrainingLogError {
    /// It is compressed, and cannot be unpacked.
    #[error(transparent)]
    Packed(#[from] UnpackError),
    /// No line is one of a step.
    #[error(
        "none of the {lines} lines is one of a training step; expected lines of Megatron-LM (`iteration 10/ 100 | … | lm loss: 2.5E+00 |`), torchtitan (`step: 10  loss: 2.5  … tps: 1,234`) or NeMo (`global_step: 10 | reduced_train_loss: 2.5`)"
    )]
    NoSteps {
        /// Lines of the file.
        lines: usize,
    },
    /// There are too many.
    #[error("the log has more than {MAX_STEPS} steps, which is as many as are read; cut it")]
    TooMany,
}

/// Whether a text has a line of a step near its beginning.
pub fn is_training_log(bytes: &[u8]) -> bool {
    /// Bytes that are looked at: frameworks write their settings first.
    const HEAD: usize = 1 << 20;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(HEAD)]);
    text.split(['\n', '\r']).any(|line| step_of(&plain(line)).is_some())
}

/// Reads a log, plain or compressed.
///
/// # Errors
/// When it cannot be unpacked, or no line is one of a step.
pub fn training_log(bytes: &[u8]) -> Result<TrainingLog, TrainingLogError> {
    let bytes = unpacked(bytes, MAX_BYTES)?;
    let text = String::from_utf8_lossy(&bytes);
    let (mut log, mut lines, mut clock) = (TrainingLog::default(), 0, None);
    // Progress bars write over themselves.
    for line in text.split(['\n', '\r']).filter(|line| !line.trim().is_empty()) {
        lines += 1;
        let line = plain(line);
        let Some((framework, mut step)) = step_of(&line) else {
            log.other_lines += 1;
            continue;
        };
        // Every rank may write the same step, and a log of a run that went on begins again where it was.
        if log.steps.last().is_some_and(|last| last.step == step.step) {
            continue;
        }
        if log.steps.len() >= MAX_STEPS {
            return Err(TrainingLogError::TooMany);
        }
        log.framework = framework;
        let (now, last) = (time_of(&line), log.steps.last().map(|last| last.step));
        step.seconds = step.seconds.or_else(|| between(clock, now, last, step.step));
        clock = now.or(clock);
        log.steps.push(step);
    }
    if log.steps.is_empty() { Err(TrainingLogError::NoSteps { lines }) } else { Ok(log) }
}

/// Seconds of a step from the times of two lines.
fn between(before: Option<i64>, now: Option<i64>, last: Option<u64>, step: u64) -> Option<f64> {
    let (before, now, steps) = (before?, now?, step.checked_sub(last?)?);
    (steps > 0 && now >= before).then(|| (now - before) as f64 / 1e6 / steps as f64)
}

/// A line without the codes that colour it.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        if character != '\u{1b}' {
            text.push(character);
            continue;
        }
        // `ESC [ 32 m`: up to the first letter.
        let _ = rest.by_ref().find(char::is_ascii_alphabetic);
    }
    text
}

fn step_of(line: &str) -> Option<(&'static str, LogStep)> {
    megatron(line)
        .map(|step| ("Megatron-LM", step))
        .or_else(|| torchtitan(line).map(|step| ("torchtitan", step)))
        .or_else(|| nemo(line).map(|step| ("NeMo", step)))
}

/// The number behind a name and a separator, wherever they stand; a word of more letters that ends so is none.
fn number_after(line: &str, name: &str, separator: char) -> Option<f64> {
    let mut from = 0;
    while let Some(found) = line.get(from..)?.find(name) {
        let begin = from + found;
        let rest = line[begin + name.len()..].trim_start();
        let before = line[..begin].chars().next_back();
        let is_word = before.is_none_or(|before| !before.is_alphanumeric() && before != '_');
        if is_word && let Some(value) = rest.strip_prefix(separator) {
            return number(value);
        }
        from = begin + name.len();
    }
    None
}

/// A number at the beginning of a text, with commas between thousands.
fn number(text: &str) -> Option<f64> {
    let text = text.trim_start();
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | ',');
    let word: String = text.chars().take(64).take_while(|&c| is_part(c)).filter(|&c| c != ',').collect();
    // `9.46GiB`, `13.99%`, `1.5s`: what is behind the digits is a unit.
    (1..=word.len()).rev().find_map(|end| word.get(..end)?.parse::<f64>().ok())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of a step")]
fn whole(value: f64) -> Option<u64> {
    (value.is_finite() && value >= 0.0).then_some(value as u64)
}

/// ` iteration  122/ 250000 | consumed samples: … | elapsed time per iteration (ms): 86545.2 | … | lm loss: 2.5E+00 | …`
fn megatron(line: &str) -> Option<LogStep> {
    let (_, behind) = line.split_once("iteration ")?;
    if !line.contains('|') || !behind.split('|').next()?.contains('/') || line.contains("Training epoch") {
        return None;
    }
    let of = |name: &str| number_after(line, name, ':');
    let loss = of("lm loss").or_else(|| of("loss"));
    loss.or_else(|| of("elapsed time per iteration (ms)"))?;
    Some(LogStep {
        step: whole(number(behind)?)?,
        loss,
        gradient_norm: of("grad norm"),
        learning_rate: of("learning rate"),
        seconds: of("elapsed time per iteration (ms)").map(|ms| ms / 1e3),
        tokens_per_s: of("tokens-per-second-per-gpu").or_else(|| of("tokens/sec/GPU")),
        tflops: of("throughput per GPU (TFLOP/s/GPU)").or_else(|| of("TFLOPs")),
        mfu: None,
        skipped: of("number of skipped iterations").and_then(whole),
    })
}

/// `… - INFO - step:  4  loss:  7.62585  grad_norm: 26.6  memory: 66.91GiB(37.51%)  tps: 10,050  tflops: 314.71  mfu: 13.99%`
fn torchtitan(line: &str) -> Option<LogStep> {
    let of = |name: &str| number_after(line, name, ':');
    let (step, loss, tokens_per_s) = (of("step")?, of("loss")?, of("tps").or_else(|| of("wps")));
    tokens_per_s.or_else(|| of("memory"))?;
    Some(LogStep {
        step: whole(step)?,
        loss: Some(loss),
        gradient_norm: of("grad_norm"),
        learning_rate: of("lr"),
        seconds: None,
        tokens_per_s,
        tflops: of("tflops"),
        mfu: of("mfu").map(|percent| percent / 100.0),
        skipped: None,
    })
}

/// `Training epoch 0, iteration 120/149 | lr: 3e-05 | … | global_step: 120 | reduced_train_loss: 1.233 | train_step_timing in s: 0.03`
/// and `…, reduced_train_loss=3.090, global_step=794.0, …]`
fn nemo(line: &str) -> Option<LogStep> {
    let of = |name: &str| number_after(line, name, ':').or_else(|| number_after(line, name, '='));
    let loss = of("reduced_train_loss")?;
    Some(LogStep {
        step: whole(of("global_step")?)?,
        loss: Some(loss),
        gradient_norm: of("grad_norm"),
        learning_rate: of("lr"),
        seconds: of("train_step_timing in s"),
        tokens_per_s: None,
        tflops: of("TFLOPS_per_GPU"),
        mfu: None,
        skipped: None,
    })
}

/// Microseconds since some day of `2026-02-24 19:46:17,508`, wherever it stands in the line.
fn time_of(line: &str) -> Option<i64> {
    let bytes = line.as_bytes();
    let is_date = |at: usize| {
        let part = bytes.get(at..at + 19)?;
        let fits = |place: usize, sign: u8| part[place] == sign;
        let signs =
            fits(4, b'-') && fits(7, b'-') && (fits(10, b' ') || fits(10, b'T')) && fits(13, b':') && fits(16, b':');
        let digits = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18];
        (signs && digits.into_iter().all(|place| part[place].is_ascii_digit())).then_some(at)
    };
    let at = (0..bytes.len().saturating_sub(18).min(200)).find_map(is_date)?;
    let part = |from: usize, length: usize| line.get(at + from..at + from + length)?.parse::<i64>().ok();
    let [year, month, day] = [part(0, 4)?, part(5, 2)?, part(8, 2)?];
    let seconds = part(11, 2)? * 3600 + part(14, 2)? * 60 + part(17, 2)?;
    let fraction = line.get(at + 19..).and_then(|rest| rest.strip_prefix([',', '.'])).map_or(0, |rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).take(6).collect();
        format!("{digits:0<6}").parse().unwrap_or(0)
    });
    Some((days(year, month, day) * 86_400 + seconds) * 1_000_000 + fraction)
}

/// Days since 0000-03-01 in the proleptic Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, month) = (year.div_euclid(400), (month + 9) % 12);
    let of_era = year.rem_euclid(400);
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 1
}

/// For people.
pub fn training_log_table(name: &str, log: &TrainingLog) -> String {
    let found = log_findings(log);
    let mut text = format!("{name}   [imported]\n\n  {}, {} steps", log.framework, log.steps.len());
    if let (Some(first), Some(last)) = (log.steps.first(), log.steps.last()) {
        let _ = write!(text, ", from {} to {}", first.step, last.step);
    }
    text.push('\n');
    let mut line = |name: &str, value: Option<f64>, unit: &str| {
        if let Some(value) = value {
            let _ = writeln!(text, "  {name:<26} {value:>12.4} {unit}");
        }
    };
    line("last loss", log.steps.iter().rev().find_map(|step| step.loss), "");
    line("median step", found.median_seconds, "s");
    line("median tokens/s of a device", found.median_tokens_per_s, "");
    line("median FLOP/s of a device", found.median_tflops, "TFLOP/s");
    line("lost to slow steps", Some(found.stalled_seconds).filter(|lost| *lost > 0.0), "s");
    events(&mut text, &found);
    text
}

fn events(text: &mut String, found: &LogFindings) {
    for (title, list) in [("slow steps", &found.stalls), ("loss spikes", &found.spikes)] {
        if list.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n  {title}: {}", list.len());
        for event in list.iter().take(10) {
            let (step, value, usual) = (event.step, event.value, event.usual);
            let _ = writeln!(text, "    step {step:>8}   {value:.4}, usually {usual:.4}");
        }
    }
    if !found.not_finite.is_empty() {
        let steps: Vec<String> = found.not_finite.iter().take(10).map(ToString::to_string).collect();
        let _ = writeln!(text, "\n  loss not finite at step {}", steps.join(", "));
    }
    if found.skipped > 0 {
        let _ = writeln!(text, "\n  {} steps were skipped", found.skipped);
    }
}

/// Every step, a line each.
pub fn training_log_csv(log: &TrainingLog) -> String {
    let mut text = String::from("step,loss,gradient_norm,learning_rate,seconds,tokens_per_s,tflops,mfu\n");
    let cell = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for of in &log.steps {
        let cells = [of.loss, of.gradient_norm, of.learning_rate, of.seconds, of.tokens_per_s, of.tflops, of.mfu];
        let _ = writeln!(text, "{},{}", of.step, cells.map(cell).join(","));
    }
    text
}

/// For machines.
pub fn training_log_json(name: &str, log: &TrainingLog) -> String {
    let document = json!({
        "schema_version": SCHEMA_VERSION,
        "origin": "imported",
        "name": name,
        "log": log,
        "findings": log_findings(log),
    });
    format!("{document:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_megatron_are_read() {
        let text = " [2024-05-01 12:00:00] iteration        2/  500000 | consumed samples:          512 | elapsed time per iteration (ms): 12345.6 | throughput per GPU (TFLOP/s/GPU): 123.4 | learning rate: 1.5E-05 | global batch size:   256 | lm loss: 1.08E+01 | loss scale: 1.0 | grad norm: 12.3 | number of skipped iterations:   1 | number of nan iterations:   0 |\n";
        let log = training_log(text.as_bytes()).expect("a log");
        let expected = LogStep {
            step: 2,
            loss: Some(10.8),
            gradient_norm: Some(12.3),
            learning_rate: Some(1.5e-5),
            seconds: Some(12_345.6 / 1e3),
            tflops: Some(123.4),
            skipped: Some(1),
            ..LogStep::default()
        };
        assert_eq!((log.framework, log.steps.as_slice()), ("Megatron-LM", [expected].as_slice()));
    }

    #[test]
    fn lines_of_torchtitan_are_read_with_colours_and_once_for_all_ranks() {
        let line = |second: &str, step: u32| {
            format!(
                "[rank0]:[titan] 2026-02-24 19:46:{second} - root - INFO - \u{1b}[31mstep: {step:2}  \u{1b}[32mloss:  7.62585  \u{1b}[38;2;180;60;0mgrad_norm: 26.6250  memory: 66.91GiB(37.51%)  tps: 10,050  tflops: 314.71  mfu: 13.99%\u{1b}[39m\n"
            )
        };
        let text = [line("17,500", 4), line("17,500", 4), line("19,100", 5)].concat();
        let log = training_log(text.as_bytes()).expect("a log");
        assert_eq!((log.framework, log.steps.len()), ("torchtitan", 2));
        let step = log.steps[1];
        assert_eq!((step.step, step.loss, step.tokens_per_s), (5, Some(7.62585), Some(10_050.0)));
        assert!((step.mfu.expect("a share") - 0.1399).abs() < 1e-9);
        assert!((step.seconds.expect("from the clock") - 1.6).abs() < 1e-6);
        assert_eq!(log.steps[0].seconds, None, "nothing was before");
    }

    #[test]
    fn lines_and_bars_of_nemo_are_read() {
        let text = "Training epoch 0, iteration 120/149 | lr: 3e-05 | consumed_samples: 121 | global_batch_size: 1 | global_step: 120 | reduced_train_loss: 1.233 | train_step_timing in s: 0.03146 | val_loss: 4.106\n";
        let log = training_log(text.as_bytes()).expect("a log");
        assert_eq!((log.framework, log.steps[0].step, log.steps[0].seconds), ("NeMo", 120, Some(0.03146)));
        let bar = "Epoch 0:   1%| | 795/77225 [9:07:58<878:01:48, 41.36s/it, loss=3.1, v_num=, reduced_train_loss=3.090, global_step=794.0, consumed_samples=1.63e+6]\rEpoch 0: 1%| | 796/77225 [41.36s/it, reduced_train_loss=3.080, global_step=795.0]";
        let log = training_log(bar.as_bytes()).expect("a log");
        assert_eq!(
            log.steps.iter().map(|step| (step.step, step.loss)).collect::<Vec<_>>(),
            [(794, Some(3.09)), (795, Some(3.08))]
        );
    }

    #[test]
    fn what_is_no_log_is_said_to_be_none() {
        for text in ["", "hello\nworld\n", "step: many loss: few tps: none\n", "iteration | loss\n", "\u{1b}[\u{1b}[31"]
        {
            let error = training_log(text.as_bytes()).expect_err("no log").to_string();
            assert!(error.contains("Megatron-LM") && error.contains("torchtitan"), "{error}");
        }
        assert!(!is_training_log(b"a,b,c\n1,2,3\n"));
    }

    #[test]
    fn midnight_and_leap_days_are_passed() {
        let at = |text: &str| time_of(text).expect("a time");
        assert_eq!(at("2024-03-01 00:00:01") - at("x 2024-02-29 23:59:59,5"), 1_500_000);
        assert_eq!(at("2027-01-01T00:00:00") - at("2026-12-31 23:59:58"), 2_000_000);
        assert_eq!(time_of("2024-03-01 00:00"), None);
    }
}
