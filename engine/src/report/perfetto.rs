//! The Chrome trace format that the Perfetto UI opens: a process per group of ranks, a thread per stream.
//!
//! Slices on a thread must nest or be disjoint; ours are disjoint. Times are in microseconds with three decimals,
//! which keeps every nanosecond. Flows join a send to its receive; counters carry memory by category.

use std::fmt::Write as _;

use serde_json::json;

use crate::trace::{Flow, MemoryCategory, Origin, Span, Trace, Track};
use crate::units::Nanos;

/// The trace as one JSON document.
pub fn perfetto_json(trace: &Trace) -> String {
    let mut text = String::with_capacity(trace.spans.len() * 120 + 4096);
    let origin = match trace.origin {
        Origin::Modelled => "modelled",
        Origin::Executed => "executed",
        Origin::Imported => "imported",
    };
    let _ = writeln!(text, "{{\"otherData\":{{\"origin\":\"{origin}\"}},\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
    names(trace, &mut text);
    let labels: Vec<String> = trace.labels.iter().map(|label| json!(label.name).to_string()).collect();
    for span in &trace.spans {
        slice(trace, span, &labels, &mut text);
    }
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
    for track in &trace.tracks {
        let (pid, tid) = place(track);
        if named.replace(pid) != Some(pid) {
            let name = json!(process_name(track));
            let _ = writeln!(
                text,
                "{{\"ph\":\"M\",\"pid\":{pid},\"name\":\"process_name\",\"args\":{{\"name\":{name}}}}},"
            );
        }
        let name = json!(track.stream.name());
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

fn place(track: &Track) -> (u32, usize) {
    (track.group + 1, track.stream.index() + 1)
}

/// A time in microseconds, exact to the nanosecond.
fn micros(time: Nanos) -> String {
    format!("{}.{:03}", time.0 / 1000, time.0 % 1000)
}

fn slice(trace: &Trace, span: &Span, labels: &[String], text: &mut String) {
    let (pid, tid) = place(trace.track(span));
    let label = trace.label(span);
    let (name, start, duration) = (&labels[span.label.0 as usize], micros(span.start), micros(span.duration));
    let _ = write!(
        text,
        "{{\"ph\":\"X\",\"pid\":{pid},\"tid\":{tid},\"name\":{name},\"cat\":\"{}\",\"ts\":{start},\"dur\":{duration},\"args\":{{\"phase\":\"{}\"",
        label.class,
        label.phase.name()
    );
    if span.micro_batch != Span::NO_MICRO_BATCH {
        let _ = write!(text, ",\"micro_batch\":{}", span.micro_batch);
    }
    let _ = writeln!(text, ",\"flops\":{},\"bytes\":{}}}}},", label.flops, label.bytes);
}

fn arrow(trace: &Trace, id: usize, flow: Flow, text: &mut String) {
    let ends = [("s", flow.from, ""), ("f", flow.to, ",\"bp\":\"e\"")];
    for (phase, span, binding) in ends {
        let span = &trace.spans[span as usize];
        let (pid, tid) = place(trace.track(span));
        let at = micros(span.start);
        let _ = writeln!(
            text,
            "{{\"ph\":\"{phase}\",\"pid\":{pid},\"tid\":{tid},\"id\":{id},\"name\":\"transfer\",\"cat\":\"flow\",\"ts\":{at}{binding}}},"
        );
    }
}

fn counters(trace: &Trace, text: &mut String) {
    for curve in &trace.memory {
        for sample in &curve.samples {
            let (pid, at) = (curve.group + 1, micros(sample.at));
            let _ = write!(text, "{{\"ph\":\"C\",\"pid\":{pid},\"name\":\"memory (bytes)\",\"ts\":{at},\"args\":{{");
            for (index, category) in MemoryCategory::ALL.into_iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let _ = write!(text, "{comma}\"{}\":{}", category.name(), sample.used.get(category).0);
            }
            text.push_str("}},\n");
        }
    }
}
