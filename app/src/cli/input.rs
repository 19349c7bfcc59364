//! From a word on the command line to a scenario.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use anyhow::Context as _;
use shardlab_engine::scenario::{
    DEFAULT_PRESET, MAX_FILE_BYTES, Opened, Scenario, ScenarioFile, check, is_link, linked, open, preset_file, presets,
};

use super::output::note;

/// The scenario that `word` names: a preset, a file, or `-`.
pub fn scenario(word: &str) -> anyhow::Result<Scenario> {
    checked(word, &scenario_file(word)?)
}

/// The scenario that is written in a file, which `word` names.
pub fn checked(word: &str, file: &ScenarioFile) -> anyhow::Result<Scenario> {
    let checked = check(file);
    // A preset is its own name; a file's errors stand in it.
    if presets().iter().any(|preset| preset.name == word) {
        return Ok(checked?);
    }
    checked.with_context(|| if word == "-" { "standard input".to_owned() } else { word.to_owned() })
}

/// The same as it is written.
pub fn scenario_file(word: &str) -> anyhow::Result<ScenarioFile> {
    if word == "-" {
        return parse(&read(stdin().lock())?).context("standard input");
    }
    if presets().iter().any(|preset| preset.name == word) {
        return Ok(preset_file(word)?);
    }
    if is_link(word) && !Path::new(word).exists() {
        let found = linked(word)?;
        found
            .left_out
            .iter()
            .for_each(|key| note(&format!("shardlab: `{key}` of the link is not known here and is left out")));
        return Ok(found.file);
    }
    let path = Path::new(word);
    let looks_like_a_file = path.extension().is_some() || word.contains(std::path::MAIN_SEPARATOR);
    if !path.exists() && !looks_like_a_file {
        // The error lists the presets and names the nearest.
        return Ok(preset_file(word)?);
    }
    let file = File::open(path).with_context(|| format!("cannot open `{word}`"))?;
    parse(&read(file).with_context(|| word.to_owned())?).with_context(|| word.to_owned())
}

/// Reads one byte more than a scenario may have, so that a longer one is noticed and never read whole.
fn read(source: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A Hugging Face `config.json` is a model without a cluster: it takes those of the default scenario.
fn parse(bytes: &[u8]) -> anyhow::Result<ScenarioFile> {
    Ok(match open(bytes)? {
        Opened::Scenario(file) => *file,
        Opened::Settings(settings) => {
            note(&format!("shardlab: settings of {}; the device is that of `{DEFAULT_PRESET}`", settings.framework));
            for left_out in &settings.left_out {
                note(&format!("shardlab: `{left_out}` has no counterpart here and is left out"));
            }
            settings.file
        }
        Opened::Model(model) => {
            note(&format!("shardlab: a model without a cluster; cluster and strategy are those of `{DEFAULT_PRESET}`"));
            preset_file(DEFAULT_PRESET)?.with_model(*model)
        }
    })
}
