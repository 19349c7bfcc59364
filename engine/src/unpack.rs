//! Files as they come: plain, or compressed by gzip or Zstandard, told by their first bytes.

use std::borrow::Cow;
use std::io::Read;

use crate::units::Bytes;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Why a file cannot be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// It ends too early, or was changed.
    #[error(
        "the file is compressed by {method} and cannot be unpacked ({why}): it is truncated or damaged; copy it again"
    )]
    Damaged {
        /// How it was compressed.
        method: &'static str,
        /// What was found.
        why: String,
    },
    /// It becomes too large.
    #[error("the file is compressed by {method} and unpacks to more than {limit}, which is as much as is read; cut it")]
    TooLarge {
        /// How it was compressed.
        method: &'static str,
        /// The most that is read.
        limit: Bytes,
    },
}

/// The name of a file without what says that it is compressed.
pub fn plain_name(name: &str) -> &str {
    let ends = [".gz", ".zst", ".zstd"];
    ends.iter().find_map(|end| strip(name, end)).unwrap_or(name)
}

/// Without an end, in whatever case it is written.
fn strip<'a>(name: &'a str, end: &str) -> Option<&'a str> {
    let at = name.len().checked_sub(end.len())?;
    name.get(at..).filter(|found| found.eq_ignore_ascii_case(end)).and(name.get(..at))
}

/// What is in a file: itself where it is not compressed.
///
/// # Errors
/// When it is damaged, or becomes larger than `limit`.
pub fn unpacked(bytes: &[u8], limit: Bytes) -> Result<Cow<'_, [u8]>, UnpackError> {
    if bytes.starts_with(&GZIP) {
        return read("gzip", flate2::read::MultiGzDecoder::new(bytes), limit).map(Cow::Owned);
    }
    if bytes.starts_with(&ZSTD) {
        return frames(bytes, limit).map(Cow::Owned);
    }
    Ok(Cow::Borrowed(bytes))
}

fn read(method: &'static str, source: impl Read, limit: Bytes) -> Result<Vec<u8>, UnpackError> {
    let mut content = Vec::new();
    let read = source.take(limit.0.saturating_add(1)).read_to_end(&mut content);
    read.map_err(|error| UnpackError::Damaged { method, why: error.to_string() })?;
    if content.len() as u64 > limit.0 { Err(UnpackError::TooLarge { method, limit }) } else { Ok(content) }
}

/// Frames that follow each other, as tools that compress in parallel write them.
fn frames(mut bytes: &[u8], limit: Bytes) -> Result<Vec<u8>, UnpackError> {
    const METHOD: &str = "zstd";
    let damaged = |why: String| UnpackError::Damaged { method: METHOD, why };
    let mut content = Vec::new();
    while !bytes.is_empty() {
        let left = Bytes(limit.0 - content.len() as u64);
        let decoder =
            ruzstd::decoding::StreamingDecoder::new(&mut bytes).map_err(|error| damaged(error.to_string()))?;
        let frame = read(METHOD, decoder, left);
        let frame = frame.map_err(|error| match error {
            UnpackError::TooLarge { method, .. } => UnpackError::TooLarge { method, limit },
            damaged @ UnpackError::Damaged { .. } => damaged,
        })?;
        content.extend(frame);
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LIMIT: Bytes = Bytes(1 << 20);

    fn packed(text: &[u8]) -> [Vec<u8>; 2] {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(text).expect("memory");
        let zstd = ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest);
        [gzip.finish().expect("memory"), zstd]
    }

    #[test]
    fn what_was_packed_comes_out_and_plain_files_stay() {
        let text: Vec<u8> = (0..50_000_u32).flat_map(|n| (n % 250).to_le_bytes()).collect();
        assert_eq!(unpacked(&text, LIMIT), Ok(Cow::Borrowed(text.as_slice())));
        for packed in packed(&text) {
            assert!(packed.len() < text.len());
            assert_eq!(unpacked(&packed, LIMIT).as_deref(), Ok(text.as_slice()));
            let twice = [packed.clone(), packed].concat();
            assert_eq!(unpacked(&twice, LIMIT).map(|all| all.len()), Ok(2 * text.len()));
        }
    }

    #[test]
    fn what_is_cut_or_too_large_says_so() {
        for packed in packed(&vec![7; 100_000]) {
            for length in 4..packed.len() {
                assert!(matches!(unpacked(&packed[..length], LIMIT), Err(UnpackError::Damaged { .. })), "{length}");
            }
            assert!(matches!(unpacked(&packed, Bytes(99_999)), Err(UnpackError::TooLarge { .. })));
            let mut changed = packed.clone();
            changed[packed.len() / 2] ^= 0x55;
            // A change may still unpack to something where nothing is checked; it never panics.
            let _ = unpacked(&changed, LIMIT);
        }
    }

    #[test]
    fn names_lose_what_says_that_they_are_compressed() {
        for (name, plain) in
            [("a.csv.gz", "a.csv"), ("b.oracleGeneral.ZST", "b.oracleGeneral"), ("c.json", "c.json"), (".gz", "")]
        {
            assert_eq!(plain_name(name), plain);
        }
    }
}
