//! A scenario as a part of a link: what stands behind `#` never leaves the browser.
//!
//! `s=1.DATA`: the version, then JSON, made smaller (RFC 1951) and written in letters that links may have (RFC 4648,
//! section 5). Keys that this version does not know are left out and named, so that links of other versions go on working.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::parse::{checked_file, known_keys};
use super::{ScenarioError, ScenarioFile};

/// Characters of a link, at most: longer ones are cut by what they are sent with.
pub const MAX_LINK: usize = 8 * 1024;

/// The version that is written, and the newest that is read.
const VERSION: &str = "1";

/// Bytes of what was made smaller, at most.
const MAX_BYTES: u64 = 1 << 20;

/// Why a link cannot be made, or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The scenario is too large for one.
    #[error(
        "the link would have {length} characters, and {MAX_LINK} is as many as are sent safely; save the scenario as a file"
    )]
    TooLong {
        /// How many.
        length: usize,
    },
    /// It is no link of this program.
    #[error("this is no link to a scenario; expected `#s=1.` and letters behind it")]
    NoLink,
    /// It was made by a newer version.
    #[error("the link is of version {0}, and this program reads version {VERSION}; open it with a newer one")]
    Newer(String),
    /// It was cut, or changed.
    #[error("the link is damaged: {0}; copy all of it, up to its last letter")]
    Damaged(String),
    /// What it holds is no scenario.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
}

/// What a link holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Linked {
    /// The scenario.
    pub file: ScenarioFile,
    /// The view that was in front.
    pub view: Option<String>,
    /// Keys that are not known here, and were left out.
    pub left_out: Vec<String>,
}

/// The part of a link behind `#`.
///
/// # Errors
/// When the scenario is too large for one.
pub fn link(file: &ScenarioFile, view: &str) -> Result<String, LinkError> {
    let document = json!({ "scenario": file, "view": view }).to_string();
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    let packed = encoder.write_all(document.as_bytes()).and_then(|()| encoder.finish());
    let packed = packed.map_err(|error| LinkError::Damaged(error.to_string()))?;
    let text = format!("s={VERSION}.{}", URL_SAFE_NO_PAD.encode(packed));
    if text.len() > MAX_LINK { Err(LinkError::TooLong { length: text.len() }) } else { Ok(text) }
}

/// Whether a text is, or has, a link to a scenario.
pub fn is_link(text: &str) -> bool {
    data(text).is_some()
}

/// What stands behind `s=`.
fn data(text: &str) -> Option<&str> {
    let text = text.trim();
    let behind = text.split_once('#').map_or(text, |(_, behind)| behind);
    behind.split('&').find_map(|part| part.strip_prefix("s="))
}

/// Reads a link, or the part of it behind `#`.
///
/// # Errors
/// When it is none, was cut or changed, or is of a newer version.
pub fn linked(text: &str) -> Result<Linked, LinkError> {
    let (version, data) = data(text).and_then(|data| data.split_once('.')).ok_or(LinkError::NoLink)?;
    if version != VERSION {
        return Err(LinkError::Newer(version.chars().take(20).collect()));
    }
    let damaged = |error: &dyn std::fmt::Display| LinkError::Damaged(error.to_string());
    let packed = URL_SAFE_NO_PAD.decode(data.trim()).map_err(|error| damaged(&error))?;
    let mut document = Vec::new();
    let decoder = flate2::read::DeflateDecoder::new(packed.as_slice());
    decoder.take(MAX_BYTES).read_to_end(&mut document).map_err(|error| damaged(&error))?;
    let mut document: Map<String, Value> = serde_json::from_slice(&document).map_err(|error| damaged(&error))?;
    let (mut scenario, mut left_out) = (document.remove("scenario").unwrap_or_default(), Vec::new());
    known_keys(&mut scenario, &mut left_out);
    let view = document.remove("view").and_then(|view| Some(view.as_str()?.chars().take(40).collect()));
    Ok(Linked { file: checked_file(&scenario)?, view, left_out })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{check, preset_file, presets};

    #[test]
    fn every_preset_goes_through_a_link_and_is_short() {
        for preset in presets() {
            let file = preset_file(preset.name).expect("a preset");
            let text = link(&file, "memory").expect("short enough");
            assert!(text.len() < 2000, "{}: {}", preset.name, text.len());
            let read = linked(&format!("https://example.org/app/?x=1#{text}")).expect("the same");
            assert_eq!((read.file, read.view.as_deref()), (file, Some("memory")), "{}", preset.name);
            assert!(read.left_out.is_empty());
        }
    }

    /// This link must go on working.
    #[test]
    fn a_link_of_the_first_version_is_read() {
        let old = include_str!("link_v1.txt");
        let read = linked(old).expect("an old link");
        assert!(check(&read.file).is_ok() && read.file.cluster.nodes == 2);
    }

    fn packed(document: &str) -> String {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(document.as_bytes()).expect("memory");
        format!("#s=1.{}", URL_SAFE_NO_PAD.encode(encoder.finish().expect("memory")))
    }

    #[test]
    fn what_is_not_known_is_left_out_and_named() {
        let text = packed(
            r#"{"scenario": {"model": {"preset": "llama2-7b", "flavour": 3}, "cluster": {"device": "h100-80gb-sxm"}, "strategy": {"global_batch": 8}, "moon": {}}, "tide": 1}"#,
        );
        let read = linked(&text).expect("a link");
        assert_eq!(read.left_out, ["model.flavour", "moon"]);
        assert!(check(&read.file).is_ok() && read.view.is_none());
    }

    #[test]
    fn rubbish_is_refused_with_a_sentence() {
        let good = link(&preset_file("llama2-7b-8xh100").expect("a preset"), "timeline").expect("short");
        for (text, said) in [
            (String::new(), "no link"),
            ("#s=".to_owned(), "no link"),
            ("#s=1".to_owned(), "no link"),
            ("#s=2.abc".to_owned(), "version 2"),
            ("#s=1.%%%".to_owned(), "damaged"),
            ("#s=1.abcd".to_owned(), "damaged"),
            (good[..good.len() / 2].to_owned(), "damaged"),
            (packed("[]"), "damaged"),
            (packed("{}"), "[model]"),
            (packed(r#"{"scenario": {"model": 7}}"#), "model"),
        ] {
            let error = linked(&text).expect_err(&text).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(!is_link("[model]\npreset = \"x\"") && is_link(&good));
    }
}
