//! The Chrome trace format that the Perfetto UI opens: a process per group of ranks, a thread per stream.
//!
//! Slices on a thread must nest or be disjoint; ours are disjoint. Times are in microseconds with three decimals,
//! which keeps every nanosecond. Flows join a send to its receive; counters carry memory by category.

use std::fmt::Write as _;

use serde_json::json;

use crate::trace::{Flow, Label, MemoryCategory, Origin, Span, Stream, Trace, Track};
use crate::units::Nanos;

/// The trace as one JSON document.
pub fn perfetto_json(trace: &Trace) -> String {
    let mut text = String::with_capacity(trace.spans.len() * 180 + 4096);
    let origin = match trace.origin {
        Origin::Modelled => "modelled",
        Origin::Executed => "executed",
        Origin::Imported => "imported",
    };
    let _ = writeln!(text, "{{\"otherData\":{{\"origin\":\"{origin}\"}},\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
    names(trace, &mut text);
    slices(trace, &mut text);
    for (id, flow) in trace.flows.iter().enumerate() {
        arrow(trace, id, *flow, &mut text);
    }
    counters(trace, &mut text);
    // The events above each end in a comma; an empty metadata event closes the list.
    text.push_str("{\"ph\":\"M\",\"pid\":0,\"name\":\"process_labels\",\"args\":{\"labels\":\"shardlab\"}}\n]}\n");
    text
}

/// Names of processes and threads.
fn names(trace: &Trace, text: &mut String) {
    let mut named = None;
    for (index, track) in trace.tracks.iter().enumerate() {
        let (pid, tid) = place(track, index);
        if named.replace(pid) != Some(pid) {
            let name = json!(process_name(track));
            let _ = writeln!(
                text,
                "{{\"ph\":\"M\",\"pid\":{pid},\"name\":\"process_name\",\"args\":{{\"name\":{name}}}}},"
            );
        }
        let name = json!(track.name());
        let _ = writeln!(
            text,
            "{{\"ph\":\"M\",\"pid\":{pid},\"tid\":{tid},\"name\":\"thread_name\",\"args\":{{\"name\":{name}}}}},"
        );
    }
}

fn process_name(track: &Track) -> String {
    match track.ranks {
        1 => format!("stage {} rank {}", track.stage, track.rank),
        n => format!("stage {} rank {} (× {n} identical ranks)", track.stage, track.rank),
    }
}

/// Process and thread: streams of ours have the same numbers everywhere, tracks of other tools those of the trace.
fn place(track: &Track, index: usize) -> (u32, usize) {
    let own = track.name.as_ref().map_or(track.stream.index(), |_| Stream::ALL.len() + index);
    (track.group + 1, own + 1)
}

/// Writes numbers; half a million spans are worth not going through a formatter.
struct Numbers(itoa::Buffer);

impl Numbers {
    fn whole(&mut self, number: u64, text: &mut String) {
        text.push_str(self.0.format(number));
    }

    /// A time in microseconds, exact to the nanosecond.
    fn micros(&mut self, time: Nanos, text: &mut String) {
        let nanos = time.0.unsigned_abs();
        if time.0 < 0 {
            text.push('-');
        }
        self.whole(nanos / 1000, text);
        text.push('.');
        let rest = nanos % 1000;
        text.push_str(if rest < 10 {
            "00"
        } else if rest < 100 {
            "0"
        } else {
            ""
        });
        self.whole(rest, text);
    }
}

/// One event per span. What is the same for all spans of a track or a label is put together once.
fn slices(trace: &Trace, text: &mut String) {
    let head = |(index, track): (usize, &Track)| {
        let (pid, tid) = place(track, index);
        format!("{{\"ph\":\"X\",\"pid\":{pid},\"tid\":{tid},\"name\":")
    };
    let heads: Vec<String> = trace.tracks.iter().enumerate().map(head).collect();
    let labels: Vec<(String, String)> = trace.labels.iter().map(label).collect();
    let mut numbers = Numbers(itoa::Buffer::new());
    for span in &trace.spans {
        let (name, arguments) = &labels[span.label.0 as usize];
        text.push_str(&heads[span.track.0 as usize]);
        text.push_str(name);
        numbers.micros(span.start, text);
        text.push_str(",\"dur\":");
        numbers.micros(span.duration, text);
        text.push_str(arguments);
        if span.micro_batch != Span::NO_MICRO_BATCH {
            text.push_str(",\"micro_batch\":");
            numbers.whole(span.micro_batch.into(), text);
        }
        text.push_str("}},\n");
    }
}

/// What stands before and after the times of a label's spans.
fn label(label: &Label) -> (String, String) {
    let before = format!("{},\"cat\":\"{}\",\"ts\":", json!(label.name), label.class);
    let (phase, flops, bytes) = (label.phase.name(), label.flops, label.bytes);
    (before, format!(",\"args\":{{\"phase\":\"{phase}\",\"flops\":{flops},\"bytes\":{bytes}"))
}

fn arrow(trace: &Trace, id: usize, flow: Flow, text: &mut String) {
    let ends = [("s", flow.from, ""), ("f", flow.to, ",\"bp\":\"e\"")];
    for (phase, span, binding) in ends {
        let span = &trace.spans[span as usize];
        let (pid, tid) = place(trace.track(span), span.track.0 as usize);
        let mut at = String::new();
        Numbers(itoa::Buffer::new()).micros(span.start, &mut at);
        let _ = writeln!(
            text,
            "{{\"ph\":\"{phase}\",\"pid\":{pid},\"tid\":{tid},\"id\":{id},\"name\":\"transfer\",\"cat\":\"flow\",\"ts\":{at}{binding}}},"
        );
    }
}

fn counters(trace: &Trace, text: &mut String) {
    let mut numbers = Numbers(itoa::Buffer::new());
    for curve in &trace.memory {
        let pid = curve.group + 1;
        for sample in &curve.samples {
            let _ = write!(text, "{{\"ph\":\"C\",\"pid\":{pid},\"name\":\"memory (bytes)\",\"ts\":");
            numbers.micros(sample.at, text);
            let mut before = ",\"args\":{\"";
            for category in MemoryCategory::ALL {
                text.push_str(before);
                text.push_str(category.name());
                text.push_str("\":");
                numbers.whole(sample.used.get(category).0, text);
                before = ",\"";
            }
            text.push_str("}},\n");
        }
    }
}
