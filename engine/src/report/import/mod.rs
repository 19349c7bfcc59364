//! Traces of other tools as traces of ours: Chrome's format as PyTorch's profiler (Kineto), Perfetto's own tools, and this
//! one write it; plain or compressed.
//!
//! * `events` reads a document event by event, `times` and `classes` what its values mean,
//! * `nsys` reads the databases of Nsight Systems, `chakra` execution traces,
//! * `slices` collects what it says, `lanes` puts slices of a thread beside each other where they overlap.

mod chakra;
mod classes;
mod events;
mod lanes;
#[cfg(not(target_arch = "wasm32"))]
mod nsys;
mod slices;
mod times;

use crate::trace::Imported;
use crate::units::Bytes;
use crate::unpack::{UnpackError, unpacked};

use slices::Collector;

/// Bytes of a trace that was unpacked, at most.
const MAX_TRACE_BYTES: Bytes = Bytes(if cfg!(target_arch = "wasm32") { 1 << 30 } else { 8 << 30 });

/// Slices of a file, at most.
const MAX_SLICES: usize = 20_000_000;

/// Threads and streams of a file, at most.
const MAX_TRACKS: usize = 10_000;

/// Why a file is no trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceImportError {
    /// It is compressed, and cannot be unpacked.
    #[error(transparent)]
    Packed(#[from] UnpackError),
    /// It is no JSON, or ends too early.
    #[error("the trace cannot be read in line {line}, column {column}: {what}. {hint}")]
    Json {
        /// What was found.
        what: String,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What to do.
        hint: &'static str,
    },
    /// Nothing in it has a beginning and an end.
    #[error(
        "the file has no slices: expected a list `traceEvents` with events of kind `X`, or `B` and `E`, as torch.profiler's export_chrome_trace writes them"
    )]
    NoSlices,
    /// It is a database without what is looked for.
    #[error("the database cannot be read: {0}")]
    Database(String),
    /// It is no execution trace of Chakra.
    #[error(
        "the execution trace cannot be read at byte {at}: {what}; expected Chakra's protobuf messages, each behind its length (`GlobalMetadata`, then `Node`s)"
    )]
    Chakra {
        /// Where.
        at: usize,
        /// What was found.
        what: &'static str,
    },
    /// Too much of something.
    #[error("the trace has more than {limit} {what}, which is as many as are read; export fewer steps")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
}

/// Reads a trace; `name` is the file's, by which what it holds is called where it says nothing itself.
///
/// # Errors
/// When the file is no trace; the message says where and what to do.
pub fn import_trace(name: &str, bytes: &[u8]) -> Result<Imported, TraceImportError> {
    let json = unpacked(bytes, MAX_TRACE_BYTES)?;
    if json.starts_with(SQLITE) {
        return from_database(name, &json);
    }
    if chakra::is_chakra(name, &json) {
        return chakra::read(name, &json);
    }
    let mut collector = Collector::default();
    let mut stopped = None;
    let read =
        events::read(&json, &mut |event| collector.take(&event).inspect_err(|error| stopped = Some(error.clone())));
    match (read, stopped) {
        (_, Some(error)) => Err(error),
        (Err(error), None) => Err(malformed(&error)),
        (Ok(about), None) => collector.finish(name, &about),
    }
}

/// How a file of SQLite begins.
const SQLITE: &[u8] = b"SQLite format 3\0";

#[cfg(not(target_arch = "wasm32"))]
fn from_database(name: &str, bytes: &[u8]) -> Result<Imported, TraceImportError> {
    nsys::read(name, bytes)
}

#[cfg(target_arch = "wasm32")]
fn from_database(_: &str, _: &[u8]) -> Result<Imported, TraceImportError> {
    Err(TraceImportError::Database(
        "a page cannot read databases; open it with the desktop app or `shardlab trace`".to_owned(),
    ))
}

fn malformed(error: &serde_json::Error) -> TraceImportError {
    let hint = match error.classify() {
        serde_json::error::Category::Eof => "It is truncated: copy it again, or let the profiler finish writing",
        serde_json::error::Category::Syntax => "It is no JSON: expected a trace as torch.profiler writes it",
        _ => "Expected a list `traceEvents` of objects with `ph`, `name`, `ts` and `dur`",
    };
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default().to_owned();
    TraceImportError::Json { what, line: error.line(), column: error.column(), hint }
}
