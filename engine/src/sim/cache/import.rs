//! Cache traces from files: CSV, and the binary layout `oracleGeneral` of libCacheSim.

use rustc_hash::FxHashMap;

use super::{ObjectId, Requests, Sizes};
use crate::units::Bytes;
use crate::unpack::{UnpackError, plain_name, unpacked};

/// Requests that are read, at most.
const MAX_REQUESTS: usize = 200_000_000;

/// The layout of a trace file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceFormat {
    /// A header, then a line for every request: columns `object` and `size`, and where there are several readers
    /// `reader`.
    Csv,
    /// Records of 24 bytes without a header, little-endian: seconds (u32), object (u64), size (u32), and the number of the
    /// next request of the same object (i64), which is not read.
    OracleGeneral,
}

impl TraceFormat {
    /// What a file is by its name: CSV where it ends so, else records.
    pub fn of_name(name: &str) -> Self {
        let ends_so = plain_name(name)
            .rsplit('.')
            .next()
            .is_some_and(|end| ["csv", "txt"].contains(&end.to_ascii_lowercase().as_str()));
        if ends_so { Self::Csv } else { Self::OracleGeneral }
    }
}

/// Why a file is no cache trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It is compressed, and cannot be unpacked.
    #[error(transparent)]
    Packed(#[from] UnpackError),
    /// There is nothing in it.
    #[error("the trace is empty; expected a request in every line behind a header, or records of 24 bytes")]
    Empty,
    /// A column is not there.
    #[error("the trace has no column `{column}`; its columns are {known}. Name one `{column}`, or one of {others}")]
    NoColumn {
        /// Which.
        column: &'static str,
        /// Names that are there.
        known: String,
        /// Names that are understood too.
        others: String,
    },
    /// A value that cannot be.
    #[error("line {line}: `{column}` is `{value}`; expected {expected}")]
    Value {
        /// Counted from 1, with the header.
        line: u64,
        /// In which column.
        column: &'static str,
        /// What is there.
        value: String,
        /// What may be there.
        expected: &'static str,
    },
    /// A line with too few or too many values.
    #[error("not well-formed CSV: {0}")]
    Csv(String),
    /// The file ends in the middle of a record.
    #[error(
        "the trace has {bytes} bytes, which is no multiple of 24, the length of a record: it is truncated, or of another layout"
    )]
    Truncated {
        /// How long it is.
        bytes: usize,
    },
    /// A record with an object of no bytes, or of more than any.
    #[error("record {record} has a size of 0 bytes; expected at least 1: the file may have another layout")]
    NoSize {
        /// Counted from 0.
        record: usize,
    },
    /// Too many requests.
    #[error("the trace has more than {limit} requests; cut it, or take every n-th object")]
    TooLong {
        /// How many are read at most.
        limit: usize,
    },
}

/// Bytes of a trace that was unpacked, at most.
const MAX_BYTES: Bytes = Bytes(if cfg!(target_arch = "wasm32") { 256 << 20 } else { 2 << 30 });

/// Reads a trace, plain or compressed by gzip or Zstandard. Objects keep the size that they have first.
///
/// # Errors
/// When the file is not of that layout; the message says where and what to do.
pub fn import(bytes: &[u8], format: TraceFormat) -> Result<Requests, ImportError> {
    let bytes = unpacked(bytes, MAX_BYTES)?;
    let requests = match format {
        TraceFormat::Csv => csv(&bytes)?,
        TraceFormat::OracleGeneral => oracle_general(&bytes)?,
    };
    if requests.objects.is_empty() { Err(ImportError::Empty) } else { Ok(requests) }
}

/// Numbers what is read in the order in which it comes first.
#[derive(Default)]
struct Numbering<K> {
    known: FxHashMap<K, ObjectId>,
    objects: Vec<ObjectId>,
    sizes: Vec<Bytes>,
}

impl<K: std::hash::Hash + Eq> Numbering<K> {
    fn add(&mut self, key: K, size: Bytes) -> Result<(), ImportError> {
        if self.objects.len() >= MAX_REQUESTS {
            return Err(ImportError::TooLong { limit: MAX_REQUESTS });
        }
        let next = ObjectId(u32::try_from(self.sizes.len()).unwrap_or(u32::MAX));
        let object = *self.known.entry(key).or_insert(next);
        if object == next {
            self.sizes.push(size);
        }
        self.objects.push(object);
        Ok(())
    }

    fn finish(self, readers: Vec<u16>) -> Requests {
        let first = self.sizes.first().copied().unwrap_or_default();
        let alike = self.sizes.iter().all(|&size| size == first);
        let objects = u32::try_from(self.sizes.len()).unwrap_or(u32::MAX);
        let sizes = if alike { Sizes::Alike { objects, size: first } } else { Sizes::Each(self.sizes) };
        Requests { objects: self.objects, sizes, readers }
    }
}

/// The largest object of a trace; sums of as many as there may be do not overflow.
const MAX_SIZE: u64 = 1 << 36;

const OBJECT: (&str, [&str; 4]) = ("object", ["id", "obj_id", "key", "block"]);
const SIZE: (&str, [&str; 4]) = ("size", ["obj_size", "bytes", "length", "object_size"]);
const READER: (&str, [&str; 4]) = ("reader", ["node", "job", "client", "host"]);

fn csv(bytes: &[u8]) -> Result<Requests, ImportError> {
    let malformed = |error: csv::Error| ImportError::Csv(error.to_string());
    let mut table = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let header = table.byte_headers().map_err(malformed)?.clone();
    let place = |(name, others): (&'static str, [&str; 4])| {
        let is_it = |column: &[u8]| {
            std::iter::once(name).chain(others).any(|known| column.eq_ignore_ascii_case(known.as_bytes()))
        };
        header.iter().position(is_it)
    };
    let needed = |column: (&'static str, [&str; 4])| {
        let known = header.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(", ");
        place(column).ok_or(ImportError::NoColumn { column: column.0, known, others: column.1.join(", ") })
    };
    let (object, size, reader) = (needed(OBJECT)?, needed(SIZE)?, place(READER));
    let (mut numbering, mut readers) = (Numbering::<Vec<u8>>::default(), Vec::new());
    let mut reader_numbers: FxHashMap<u64, u16> = FxHashMap::default();
    let mut record = csv::ByteRecord::new();
    while table.read_byte_record(&mut record).map_err(malformed)? {
        let line = record.position().map_or(0, csv::Position::line);
        let number = |place: usize, column, most: u64, expected| {
            let text = String::from_utf8_lossy(record.get(place).unwrap_or_default());
            let value = text.parse::<u64>().ok().filter(|value| *value <= most);
            value.ok_or_else(|| ImportError::Value { line, column, value: text.chars().take(40).collect(), expected })
        };
        let bytes = number(size, "size", MAX_SIZE, "a whole number of bytes from 1 to 68719476736")?;
        if bytes == 0 {
            let (value, expected) = ("0".to_owned(), "a whole number of bytes from 1 to 68719476736");
            return Err(ImportError::Value { line, column: "size", value, expected });
        }
        if let Some(place) = reader {
            let of = number(place, "reader", u64::from(u16::MAX), "a whole number from 0 to 65535")?;
            // As they come, so that no number is left out.
            let next = u16::try_from(reader_numbers.len()).unwrap_or(u16::MAX);
            readers.push(*reader_numbers.entry(of).or_insert(next));
        }
        numbering.add(record.get(object).unwrap_or_default().to_vec(), Bytes(bytes))?;
    }
    Ok(numbering.finish(readers))
}

const RECORD: usize = 24;

fn oracle_general(bytes: &[u8]) -> Result<Requests, ImportError> {
    let (records, rest) = bytes.as_chunks::<RECORD>();
    if !rest.is_empty() {
        return Err(ImportError::Truncated { bytes: bytes.len() });
    }
    let mut numbering = Numbering::<u64>::default();
    for (record, fields) in records.iter().enumerate() {
        let [_, _, _, _, o0, o1, o2, o3, o4, o5, o6, o7, s0, s1, s2, s3, ..] = *fields;
        let size = u32::from_le_bytes([s0, s1, s2, s3]);
        if size == 0 {
            return Err(ImportError::NoSize { record });
        }
        numbering.add(u64::from_le_bytes([o0, o1, o2, o3, o4, o5, o6, o7]), Bytes(u64::from(size)))?;
    }
    Ok(numbering.finish(Vec::new()))
}
