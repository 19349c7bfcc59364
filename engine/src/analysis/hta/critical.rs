//! The critical path of a measured trace: from what ends last back to what it waited for.

use serde::Serialize;

use crate::trace::{Activity, Imported};
use crate::units::Nanos;

/// The critical path of a trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CriticalPath {
    /// Whether each span is on it.
    #[serde(skip)]
    pub spans: Vec<bool>,
    /// Spans on it.
    pub count: u64,
    /// Its time by what its spans are, where it is on them.
    pub by_activity: Vec<(Activity, Nanos)>,
    /// Its time on none: between two spans of it nothing that is known happened.
    pub waiting: Nanos,
    /// Names that it spends most time on, the longest first.
    pub longest: Vec<(String, Nanos)>,
}

/// Names that are listed.
const LISTED: usize = 12;

/// Goes back from the work that ends last. What a piece of work waited for is what ended last before it began, of: the work
/// before it on its stream, the call that put it there, and what arrows lead to it from. A call on the host follows the one
/// before it on its thread. Times that overlap (a call that ends behind the work it has put on a stream) count once.
pub fn critical_path(imported: &Imported) -> CriticalPath {
    let (trace, count) = (&imported.trace, imported.trace.spans.len());
    let mut before: Vec<Vec<u32>> = vec![Vec::new(); count];
    let mut call_of: Vec<Option<u32>> = vec![None; count];
    let mut of_track: Vec<Vec<u32>> = vec![Vec::new(); trace.tracks.len()];
    for (number, span) in (0..).zip(&trace.spans) {
        of_track[span.track.0 as usize].push(number);
    }
    for track in &mut of_track {
        track.sort_by_key(|&span| trace.spans[span as usize].start);
        for pair in track.windows(2) {
            before[pair[1] as usize].push(pair[0]);
        }
    }
    for launch in &imported.launches {
        if let Some(call) = call_of.get_mut(launch.work as usize) {
            *call = Some(launch.call);
        }
    }
    for (from, to) in trace.flows.iter().map(|flow| (flow.from, flow.to)) {
        if let Some(list) = before.get_mut(to as usize) {
            list.push(from);
        }
    }
    let is_work = |span: &u32| imported.activity(&trace.spans[*span as usize]).is_on_device();
    let all = 0..u32::try_from(count).unwrap_or(u32::MAX);
    let last = |span: &u32| (trace.spans[*span as usize].end(), std::cmp::Reverse(*span));
    let end = all.clone().filter(is_work).max_by_key(last).or_else(|| all.max_by_key(last));
    walk(imported, &before, &call_of, end)
}

fn walk(imported: &Imported, before: &[Vec<u32>], call_of: &[Option<u32>], end: Option<u32>) -> CriticalPath {
    let trace = &imported.trace;
    let mut path = CriticalPath {
        spans: vec![false; trace.spans.len()],
        count: 0,
        by_activity: Vec::new(),
        waiting: Nanos::ZERO,
        longest: Vec::new(),
    };
    let mut times = [Nanos::ZERO; Activity::ALL.len()];
    let mut names: std::collections::BTreeMap<u32, Nanos> = std::collections::BTreeMap::new();
    let (mut next, mut until) = (end, None);
    while let Some(number) = next {
        let span = &trace.spans[number as usize];
        if std::mem::replace(&mut path.spans[number as usize], true) {
            break;
        }
        path.count += 1;
        let from = until.unwrap_or(span.end());
        path.waiting += (from - span.end()).max(Nanos::ZERO);
        let time = (span.end().min(from) - span.start).max(Nanos::ZERO);
        times[imported.activity(span) as usize] += time;
        *names.entry(span.label.0).or_default() += time;
        until = Some(span.start.min(from));
        // What began later cannot have been waited for, even where a file says that an arrow leads here from it.
        let earlier = before[number as usize].iter().copied().filter(|&other| {
            let other = &trace.spans[other as usize];
            other.start < span.start && !(other.duration > Nanos::ZERO && other.end() > span.end())
        });
        // A call may end behind the short work that it has put on a stream.
        let call = call_of[number as usize].filter(|&call| trace.spans[call as usize].start < span.start);
        let earlier = earlier.filter(|other| Some(*other) != call).chain(call);
        next = earlier.max_by_key(|&other| (trace.spans[other as usize].end(), std::cmp::Reverse(other)));
    }
    path.by_activity = Activity::ALL.into_iter().zip(times).filter(|(_, time)| *time > Nanos::ZERO).collect();
    let mut longest: Vec<(String, Nanos)> =
        names.into_iter().map(|(label, time)| (trace.labels[label as usize].name.to_string(), time)).collect();
    longest.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    longest.truncate(LISTED);
    path.longest = longest;
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::import_trace;

    fn path(events: &[(&str, &str, i64, i64, i64, i64)]) -> (CriticalPath, Vec<String>) {
        let event = |&(name, cat, ts, dur, stream, correlation): &(&str, &str, i64, i64, i64, i64)| {
            serde_json::json!({ "ph": "X", "cat": cat, "name": name, "pid": 0, "tid": stream, "ts": ts, "dur": dur,
                "args": { "device": 0, "stream": stream, "correlation": correlation } })
        };
        let text = serde_json::json!({ "traceEvents": events.iter().map(event).collect::<Vec<_>>() }).to_string();
        let imported = import_trace("x.json", text.as_bytes()).expect("a trace");
        let path = critical_path(&imported);
        let on: Vec<String> = imported
            .trace
            .spans
            .iter()
            .zip(&path.spans)
            .filter(|(_, on)| **on)
            .map(|(span, _)| imported.trace.label(span).name.to_string())
            .collect();
        (path, on)
    }

    #[test]
    fn the_path_goes_through_what_was_waited_for() {
        // The second kernel waits for its launch, not for the first; the reduction beside it is not waited for.
        let (path, on) = path(&[
            ("launch one", "cuda_runtime", 0, 10, 1, 1),
            ("gemm one", "kernel", 10, 20, 7, 1),
            ("launch two", "cuda_runtime", 50, 10, 1, 2),
            ("gemm two", "kernel", 60, 100, 7, 2),
            ("ncclAllReduce", "kernel", 60, 20, 20, 3),
        ]);
        let mut on = on;
        on.sort();
        assert_eq!(on, ["gemm two", "launch one", "launch two"]);
        assert_eq!(path.waiting, Nanos(40_000), "between the two launches");
        let time: Nanos = path.by_activity.iter().map(|(_, time)| *time).sum();
        assert_eq!(time + path.waiting, Nanos(160_000), "all of the time is told");
        assert_eq!(path.longest[0].0, "gemm two");
    }

    #[test]
    fn arrows_in_circles_end() {
        let text = r#"{"traceEvents": [
            {"ph":"X","name":"a","pid":1,"tid":1,"ts":0,"dur":10},{"ph":"X","name":"b","pid":1,"tid":2,"ts":0,"dur":10},
            {"ph":"s","id":1,"pid":1,"tid":1,"ts":5,"name":"x"},{"ph":"f","bp":"e","id":1,"pid":1,"tid":2,"ts":5,"name":"x"},
            {"ph":"s","id":2,"pid":1,"tid":2,"ts":5,"name":"x"},{"ph":"f","bp":"e","id":2,"pid":1,"tid":1,"ts":5,"name":"x"}]}"#;
        let path = critical_path(&import_trace("x.json", text.as_bytes()).expect("a trace"));
        assert_eq!(path.count, 1);
    }
}
