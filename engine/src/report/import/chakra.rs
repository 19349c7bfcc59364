//! Execution traces of Chakra (MLCommons, `et_def.proto`): protobuf messages, each behind its length.
//!
//! A trace that was measured has times. One that was converted for a simulator often has durations alone: then a node begins
//! when all that it depends on has ended and its kind of stream is free.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

use super::TraceImportError;
use super::events::About;
use super::slices::{Collector, RawSlice};
use crate::trace::Imported;

/// Nodes of a file, at most.
const MAX_NODES: usize = 10_000_000;

/// A node as it is read; what nobody needs is skipped.
#[derive(Clone, Debug, Default)]
struct Node<'a> {
    id: u64,
    name: &'a str,
    kind: u64,
    waits_for: Vec<u64>,
    start: u64,
    duration: u64,
    /// `comm_type`: Chakra's number of a collective.
    collective: Option<u64>,
    /// `comm_size`.
    bytes: u64,
}

/// Whether a file is such a trace, by its name and its beginning.
pub(super) fn is_chakra(name: &str, bytes: &[u8]) -> bool {
    name.ends_with(".et") || (name.ends_with(".chakra") && Reader { bytes, at: 0 }.message().is_ok())
}

/// Reads a trace.
pub(super) fn read(name: &str, bytes: &[u8]) -> Result<Imported, TraceImportError> {
    let mut reader = Reader { bytes, at: 0 };
    // The first message is about the file as a whole.
    reader.message()?;
    let mut nodes = Vec::new();
    while reader.at < bytes.len() {
        if nodes.len() >= MAX_NODES {
            return Err(TraceImportError::TooMany { what: "nodes", limit: MAX_NODES });
        }
        nodes.push(node(reader.message()?)?);
    }
    let starts = if nodes.iter().any(|node| node.start > 0) { None } else { Some(earliest(&nodes)) };
    let mut collector = Collector::default();
    for (place, node) in nodes.iter().enumerate().filter(|(_, node)| node.kind > 1) {
        let start = starts.as_ref().map_or(node.start, |starts| starts[place]);
        let micros = |time: u64| i64::try_from(time).unwrap_or(i64::MAX).saturating_mul(1000);
        let communicates = is_communication(node.kind);
        collector.slice(&RawSlice {
            process: "",
            thread: "",
            thread_name: Some(stream_name(node.kind)),
            stream: Some((0, i64::from(communicates))),
            name: if node.name.is_empty() { "(no name)" } else { node.name },
            category: "kernel",
            collective: communicates.then(|| collective_name(node)),
            bytes: i64::try_from(node.bytes).unwrap_or(i64::MAX),
            correlation: 0,
            start: micros(start),
            duration: micros(node.duration),
        })?;
    }
    let mut imported = collector.finish(name, &About::default())?;
    if starts.is_some() {
        imported.notes.push("the trace has no times: nodes begin as early as what they depend on allows".to_owned());
    }
    Ok(imported)
}

fn is_communication(kind: u64) -> bool {
    (5..=7).contains(&kind)
}

fn stream_name(kind: u64) -> &'static str {
    if is_communication(kind) { "communication" } else { "compute" }
}

fn collective_name(node: &Node<'_>) -> &'static str {
    match (node.kind, node.collective) {
        (5, _) => "send",
        (6, _) => "recv",
        (_, Some(0 | 1)) => "allreduce",
        (_, Some(2 | 3)) => "allgather",
        (_, Some(6)) => "alltoall",
        (_, Some(7 | 8)) => "reducescatter",
        _ => "",
    }
}

/// The earliest starts in microseconds. Nodes are taken when all that they wait for has been, those first that stand first in
/// the file; what waits in a circle is taken in the order of the file, and what is not in the file is not waited for.
fn earliest(nodes: &[Node<'_>]) -> Vec<u64> {
    let place_of: FxHashMap<u64, usize> = nodes.iter().enumerate().map(|(place, node)| (node.id, place)).collect();
    let (mut open, mut behind) = (vec![0_usize; nodes.len()], vec![Vec::new(); nodes.len()]);
    for (place, node) in nodes.iter().enumerate() {
        for &before in node.waits_for.iter().filter_map(|id| place_of.get(id)).filter(|before| **before != place) {
            open[place] += 1;
            behind[before].push(place);
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..nodes.len()).filter(|&place| open[place] == 0).map(Reverse).collect();
    let (mut ends, mut starts, mut taken) =
        (vec![0_u64; nodes.len()], vec![0_u64; nodes.len()], vec![false; nodes.len()]);
    let (mut free, mut first) = ([0_u64; 2], 0);
    loop {
        while first < nodes.len() && taken[first] {
            first += 1;
        }
        let Some(place) = ready.pop().map(|Reverse(place)| place).or((first < nodes.len()).then_some(first)) else {
            break;
        };
        if std::mem::replace(&mut taken[place], true) {
            continue;
        }
        let node = &nodes[place];
        let (stream, is_work) = (usize::from(is_communication(node.kind)), node.kind > 1);
        let waited = node.waits_for.iter().filter_map(|id| place_of.get(id)).map(|&before| ends[before]).max();
        let begin = waited.unwrap_or(0);
        starts[place] = if is_work { begin.max(free[stream]) } else { begin };
        ends[place] = starts[place].saturating_add(if is_work { node.duration } else { 0 });
        if is_work {
            free[stream] = ends[place];
        }
        for &next in &behind[place] {
            open[next] = open[next].saturating_sub(1);
            if open[next] == 0 {
                ready.push(Reverse(next));
            }
        }
    }
    starts
}

/// Protobuf's wire format: fields with their number and kind.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A field's value, as far as it is read.
enum Value<'a> {
    Number(u64),
    Bytes(Reader<'a>),
    Skipped,
}

impl<'a> Reader<'a> {
    fn wrong(&self, what: &'static str) -> TraceImportError {
        TraceImportError::Chakra { at: self.at, what }
    }

    fn varint(&mut self) -> Result<u64, TraceImportError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or_else(|| self.wrong("it ends in the middle of a number"))?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.wrong("a number has more than ten bytes"))
    }

    /// The bytes behind their length.
    fn message(&mut self) -> Result<Self, TraceImportError> {
        let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Result<Self, TraceImportError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| self.wrong("it ends before a message does"))?;
        let part = Self { bytes: &self.bytes[..end], at: self.at };
        self.at = end;
        Ok(part)
    }

    /// The next field; none at the end.
    fn field(&mut self) -> Result<Option<(u64, Value<'a>)>, TraceImportError> {
        if self.at >= self.bytes.len() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Skipped)?,
            2 => Value::Bytes(self.message()?),
            5 => self.take(4).map(|_| Value::Skipped)?,
            _ => return Err(self.wrong("a field is of an unknown kind")),
        };
        Ok(Some((key >> 3, value)))
    }

    fn text(&self) -> &'a str {
        self.bytes.get(self.at..).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("")
    }
}

fn node(mut reader: Reader<'_>) -> Result<Node<'_>, TraceImportError> {
    let mut node = Node::default();
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Number(id)) => node.id = id,
            (2, Value::Bytes(text)) => node.name = text.text(),
            (3, Value::Number(kind)) => node.kind = kind,
            (4 | 5, Value::Number(id)) => node.waits_for.push(id),
            // Repeated numbers are packed.
            (4 | 5, Value::Bytes(mut packed)) => {
                while packed.at < packed.bytes.len() {
                    node.waits_for.push(packed.varint()?);
                }
            }
            (6, Value::Number(micros)) => node.start = micros,
            (7, Value::Number(micros)) => node.duration = micros,
            (10, Value::Bytes(attribute)) => take_attribute(attribute, &mut node)?,
            _ => {}
        }
    }
    Ok(node)
}

/// `comm_type` and `comm_size`, in any of the integer types.
fn take_attribute(mut reader: Reader<'_>, node: &mut Node<'_>) -> Result<(), TraceImportError> {
    let (mut name, mut number) = ("", None);
    while let Some((field, value)) = reader.field()? {
        match (field, value) {
            (1, Value::Bytes(text)) => name = text.text(),
            (7 | 9 | 11 | 13, Value::Number(value)) => number = Some(value),
            _ => {}
        }
    }
    match name {
        "comm_type" => node.collective = number,
        "comm_size" => node.bytes = number.unwrap_or(0),
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Activity;

    fn varint(mut value: u64, out: &mut Vec<u8>) {
        while value >= 0x80 {
            out.push((value as u8) | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    fn number(field: u64, value: u64, out: &mut Vec<u8>) {
        varint(field << 3, out);
        varint(value, out);
    }

    fn bytes(field: u64, value: &[u8], out: &mut Vec<u8>) {
        varint(field << 3 | 2, out);
        varint(value.len() as u64, out);
        out.extend(value);
    }

    fn framed(message: &[u8], out: &mut Vec<u8>) {
        varint(message.len() as u64, out);
        out.extend(message);
    }

    /// A node in the wire format of `et_def.proto`.
    fn node(id: u64, name: &str, kind: u64, waits_for: &[u64], times: [u64; 2]) -> Vec<u8> {
        let mut out = Vec::new();
        number(1, id, &mut out);
        bytes(2, name.as_bytes(), &mut out);
        number(3, kind, &mut out);
        let mut packed = Vec::new();
        waits_for.iter().for_each(|&id| varint(id, &mut packed));
        bytes(5, &packed, &mut out);
        number(6, times[0], &mut out);
        number(7, times[1], &mut out);
        if kind == 7 {
            let mut attribute = Vec::new();
            bytes(1, b"comm_size", &mut attribute);
            number(9, 4096, &mut attribute);
            bytes(10, &attribute, &mut out);
            let mut attribute = Vec::new();
            bytes(1, b"comm_type", &mut attribute);
            number(9, 7, &mut attribute);
            bytes(10, &attribute, &mut out);
        }
        out
    }

    fn file(nodes: &[Vec<u8>]) -> Vec<u8> {
        let (mut out, mut about) = (Vec::new(), Vec::new());
        bytes(1, b"0.0.4", &mut about);
        framed(&about, &mut out);
        nodes.iter().for_each(|node| framed(node, &mut out));
        out
    }

    #[test]
    fn nodes_without_times_begin_when_what_they_wait_for_has_ended() {
        let nodes =
            [node(1, "gemm", 4, &[], [0, 100]), node(2, "reduce", 7, &[1], [0, 50]), node(3, "gemm", 4, &[1], [0, 30])];
        let imported = read("x.et", &file(&nodes)).expect("a trace");
        let trace = &imported.trace;
        let times: Vec<(i64, i64)> =
            trace.spans.iter().map(|span| (span.start.0 / 1000, span.duration.0 / 1000)).collect();
        let mut sorted = times;
        sorted.sort_unstable();
        assert_eq!(sorted, [(0, 100), (100, 30), (100, 50)]);
        let reduce = trace.spans.iter().find(|span| &*trace.label(span).name == "reduce").expect("it is there");
        assert_eq!(imported.activity(reduce), Activity::Communication);
        assert_eq!((trace.label(reduce).class, trace.label(reduce).bytes), ("reduce_scatter", 4096));
        assert_eq!(imported.notes.len(), 1);
    }

    #[test]
    fn the_order_of_the_file_does_not_matter_and_circles_end() {
        let late = [node(2, "reduce", 7, &[1], [0, 50]), node(1, "gemm", 4, &[], [0, 100])];
        let imported = read("x.et", &file(&late)).expect("a trace");
        assert_eq!(imported.trace.step_time.0, 150_000, "the reduction waits");
        let circle = [node(1, "a", 4, &[2], [0, 10]), node(2, "b", 4, &[1], [0, 10])];
        assert_eq!(read("x.et", &file(&circle)).expect("a trace").trace.step_time.0, 20_000);
    }

    #[test]
    fn times_that_were_measured_are_kept() {
        let nodes = [node(1, "a", 4, &[], [500, 100]), node(2, "b", 5, &[1], [700, 50])];
        let imported = read("x.et", &file(&nodes)).expect("a trace");
        assert!(imported.notes.is_empty());
        assert_eq!(imported.trace.step_time.0, 250_000);
    }

    #[test]
    fn damaged_files_are_refused_at_every_length() {
        let whole = file(&[node(1, "gemm", 4, &[], [1, 100]), node(2, "reduce", 7, &[1], [2, 50])]);
        for length in 0..whole.len() {
            // What ends between two messages is a shorter trace.
            let _ = read("x.et", &whole[..length]);
        }
        let error = read("x.et", &[5, 1, 2]).expect_err("too short").to_string();
        assert!(error.contains("GlobalMetadata"), "{error}");
        assert!(read("x.et", &[0xff; 40]).is_err());
    }
}
