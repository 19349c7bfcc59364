//! A part of the time as a trace of its own, so that every figure of a trace can be had of it.

use crate::trace::{HostWait, Label, LabelId, MemoryCurve, MemorySample, Span, Trace};
use crate::units::Nanos;

/// What happens between two moments, with the first of them as zero. Spans that reach over an end are cut; arrows are left
/// out, since one of their ends may be outside.
pub fn window(trace: &Trace, from: Nanos, until: Nanos) -> Trace {
    let (from, until) = (from.max(Nanos::ZERO), until.min(trace.step_time).max(from));
    let cut = |start: Nanos, end: Nanos| {
        let (start, end) = (start.max(from), end.min(until));
        (end > start).then_some((start - from, end - from))
    };
    let mut labels = trace.labels.clone();
    let span = |span: &Span| {
        let (start, end) = cut(span.start, span.end())?;
        let (duration, whole) = (end - start, span.duration);
        let label = if duration < whole { part_of(&mut labels, span.label, duration, whole) } else { span.label };
        Some(Span { start, duration, label, ..*span })
    };
    let spans: Vec<Span> = trace.spans.iter().filter_map(span).collect();
    let wait = |wait: &HostWait| {
        let (from, until) = cut(wait.from, wait.until)?;
        Some(HostWait { from, until, ..*wait })
    };
    Trace {
        origin: trace.origin,
        labels,
        tracks: trace.tracks.clone(),
        spans,
        flows: Vec::new(),
        host_waits: trace.host_waits.iter().filter_map(wait).collect(),
        memory: trace.memory.iter().map(|curve| cut_curve(curve, from, until)).collect(),
        traffic: Vec::new(),
        step_time: until - from,
    }
}

/// A label with the part of the work that lies within, so that rates stay what they are.
fn part_of(labels: &mut Vec<Label>, label: LabelId, kept: Nanos, whole: Nanos) -> LabelId {
    let of = &labels[label.0 as usize];
    let share = |work: u64| {
        let part = u128::from(work) * u128::from(kept.0.unsigned_abs()) / u128::from(whole.0.unsigned_abs().max(1));
        u64::try_from(part).unwrap_or(work)
    };
    let part = Label { flops: share(of.flops), bytes: share(of.bytes), ..of.clone() };
    labels.push(part);
    LabelId(u32::try_from(labels.len() - 1).unwrap_or(label.0))
}

/// What holds at the beginning is the last sample before it.
fn cut_curve(curve: &MemoryCurve, from: Nanos, until: Nanos) -> MemoryCurve {
    let first = curve.samples.partition_point(|sample| sample.at <= from);
    let before = first.checked_sub(1).map(|place| MemorySample { at: Nanos::ZERO, ..curve.samples[place] });
    let inside = curve.samples[first..].iter().take_while(|sample| sample.at < until);
    let inside = inside.map(|sample| MemorySample { at: sample.at - from, ..*sample });
    MemoryCurve { group: curve.group, stage: curve.stage, samples: before.into_iter().chain(inside).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::breakdowns;
    use crate::graph::lower;
    use crate::scenario::Scenario;
    use crate::sim::simulate;

    #[test]
    fn parts_add_up_to_the_whole() {
        let scenario = Scenario::preset("llama2-7b-8xh100").expect("a preset");
        let trace = simulate(&lower(&scenario), &scenario);
        assert_eq!(window(&trace, Nanos::ZERO, trace.step_time).spans.len(), trace.spans.len());
        let ends = [0, 3, 7, 10].map(|tenth| Nanos(trace.step_time.0 * tenth / 10));
        let parts: Vec<Trace> = ends.windows(2).map(|ends| window(&trace, ends[0], ends[1])).collect();
        for (group, whole) in breakdowns(&trace) {
            let of = |name: &str| -> i64 {
                let time = |part: &Trace| {
                    let part = breakdowns(part)[&group];
                    part.parts().into_iter().find(|(key, _)| *key == name).map_or(0, |(_, time)| time.0)
                };
                parts.iter().map(time).sum()
            };
            for (name, time) in whole.parts() {
                // Where two streams communicate at once, a cut may charge the other one.
                let compute = ["forward", "backward", "update", "bubble", "host"].contains(&name);
                assert!(!compute || of(name) == time.0, "{name}: {} of {time}", of(name));
            }
        }
        for part in &parts {
            for curve in part.memory.iter().filter(|curve| !curve.samples.is_empty()) {
                assert!(curve.samples.iter().all(|sample| sample.at < part.step_time));
            }
        }
    }
}
