//! Files as they come: plain, or compressed by gzip or Zstandard, told by their first bytes.

use std::borrow::Cow;
use std::io::Read;

use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::FrameDecoderError;

use crate::units::Bytes;

/// With the only method there is: two bytes alone may begin a record of a trace.
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];
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
    /// It refers to what lies further back than is kept.
    #[error(
        "the file is compressed by zstd with a window of {requested}, which is more than is kept; compress it without --long"
    )]
    Window {
        /// How far back.
        requested: Bytes,
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
        return members(bytes, limit).map(Cow::Owned);
    }
    if bytes.starts_with(&ZSTD) || skippable(bytes).is_some() {
        return frames(bytes, limit).map(Cow::Owned);
    }
    Ok(Cow::Borrowed(bytes))
}

/// Adds what a source has to `content`, which may not become larger than `limit`.
fn read(method: &'static str, source: impl Read, content: &mut Vec<u8>, limit: Bytes) -> Result<(), UnpackError> {
    let left = limit.0.saturating_sub(content.len() as u64);
    let read = source.take(left.saturating_add(1)).read_to_end(content);
    read.map_err(|error| UnpackError::Damaged { method, why: error.to_string() })?;
    if content.len() as u64 > limit.0 { Err(UnpackError::TooLarge { method, limit }) } else { Ok(()) }
}

/// Members that follow each other; tapes and disks fill up the last block with zeros.
fn members(mut bytes: &[u8], limit: Bytes) -> Result<Vec<u8>, UnpackError> {
    let mut content = Vec::new();
    while bytes.iter().any(|&byte| byte != 0) {
        read("gzip", flate2::bufread::GzDecoder::new(&mut bytes), &mut content, limit)?;
    }
    Ok(content)
}

/// The length of a frame that holds nothing to unpack, where there is one: parallel tools write some.
fn skippable(bytes: &[u8]) -> Option<usize> {
    let [m0, m1, m2, m3, l0, l1, l2, l3, ..] = *bytes else { return None };
    let is_one = u32::from_le_bytes([m0, m1, m2, m3]) & 0xffff_fff0 == 0x184d_2a50;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    is_one.then(|| length.saturating_add(8).min(bytes.len()))
}

/// Frames that follow each other, as tools that compress in parallel write them.
fn frames(mut bytes: &[u8], limit: Bytes) -> Result<Vec<u8>, UnpackError> {
    const METHOD: &str = "zstd";
    let damaged = |why: String| UnpackError::Damaged { method: METHOD, why };
    let mut content = Vec::new();
    while !bytes.is_empty() {
        if let Some(length) = skippable(bytes) {
            bytes = &bytes[length..];
            continue;
        }
        let mut decoder = StreamingDecoder::new(&mut bytes).map_err(|error| match error {
            FrameDecoderError::WindowSizeTooBig { requested, .. } => {
                UnpackError::Window { requested: Bytes(requested) }
            }
            other => damaged(other.to_string()),
        })?;
        read(METHOD, &mut decoder, &mut content, limit)?;
        let decoder = decoder.decoder;
        let (said, found) = (decoder.get_checksum_from_data(), decoder.get_calculated_checksum());
        if let Some(said) = said.filter(|said| found != Some(*said)) {
            return Err(damaged(format!("its checksum is not {said:08x}")));
        }
    }
    Ok(content)
}

/// The same bytes compressed by gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    // Writing to a vector cannot fail.
    let written = std::io::Write::write_all(&mut encoder, bytes).and_then(|()| encoder.finish());
    written.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LIMIT: Bytes = Bytes(1 << 20);
    /// A frame of zstd that holds four bytes of no meaning.
    const SKIPPED: [u8; 12] = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];

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
            let padded = [packed.clone(), if packed[0] == 0x1f { vec![0; 512] } else { SKIPPED.to_vec() }].concat();
            assert_eq!(unpacked(&padded, LIMIT).as_deref(), Ok(text.as_slice()));
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
            assert!(unpacked(&changed, LIMIT).is_err(), "both have checksums");
        }
    }

    #[test]
    fn frames_of_nothing_are_skipped_and_records_are_no_gzip() {
        let [_, zstd] = packed(b"object,size");
        let parallel = [SKIPPED.to_vec(), zstd].concat();
        assert_eq!(unpacked(&parallel, LIMIT).as_deref(), Ok(&b"object,size"[..]));
        let record = [0x1f, 0x8b, 0, 0, 7];
        assert_eq!(unpacked(&record, LIMIT), Ok(Cow::Borrowed(&record[..])));
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
