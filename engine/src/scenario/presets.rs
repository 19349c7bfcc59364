//! The scenarios that ship with the program.

use super::{Opened, ScenarioError, ScenarioFile, open};

/// The first thing anyone sees: a 7B model on one node of eight H100.
pub const DEFAULT_PRESET: &str = "llama2-7b-8xh100";

/// A shipped scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresetInfo {
    /// Its name on the command line and in the app.
    pub name: &'static str,
    /// Its file.
    pub text: &'static str,
    /// Whether it is small enough to be executed on one device.
    pub executable: bool,
}

macro_rules! presets {
    ($($name:literal $executable:literal),* $(,)?) => {
        &[$(PresetInfo {
            name: $name,
            text: include_str!(concat!("../../../assets/presets/", $name, ".toml")),
            executable: $executable,
        }),*]
    };
}

/// All shipped scenarios, the default first.
pub fn presets() -> &'static [PresetInfo] {
    presets![
        "llama2-7b-8xh100" false,
        "gpt2-124m-8xa100" false,
        "llama3-8b-16xh100" false,
        "llama3-70b-64xh100" false,
        "gpt3-175b-1024xa100" false,
        "llama3-405b-16384xh100" false,
        "gpt3-175b-interleaved-1024xa100" false,
        "bloom-176b-384xa100" false,
        "gpt-zero-bubble-8xa100" false,
        "gpt-zero-bubble-h2-8xa100" false,
        "llama-1b-eager-8xh100" false,
        "llama3-8b-capped-8xh100" false,
        "tiny-llama-1" true,
        "tiny-llama-paged-1" true,
        "tiny-llama-chunks-tp2" true,
        "tiny-llama-processes-4" true,
        "tiny-gpt-dp2-tp2" true,
        "tiny-llama-pp2-tp2" true,
        "tiny-llama-fp8-dp2" true,
        "tiny-resnet-dp2" true,
        "tiny-resnet-groups-dp2" true,
        "tiny-resnet-folder-1" true,
        "tiny-llama-bytes-1" true,
        "tiny-vit-tp2" true,
        "tiny-bert-pp2" true,
        "tiny-dlrm-dp2" true,
        "llama3-8b-fsdp-64xh100" false,
        "llama2-70b-hsdp-128xa100" false,
        "llama2-7b-muon-8xh100" false,
        "llama3-8b-straggler-16xh100" false,
        "llama3-70b-leaf-spine-64xh100" false,
        "gpt3-13b-torus-64xh100" false,
        "mistral-7b-32k-16xh100" false,
        "mixtral-8x7b-64xh100" false,
        "deepseek-v3-2048xh800" false,
        "llama3-8b-128k-64xh100" false,
        "llama3-8b-diloco-64xh100" false,
        "gpt2-774m-powersgd-32xv100" false,
        "llama2-7b-offload-1xa100" false,
        "llama3-70b-nvme-8xh100" false,
        "llama3-8b-budget-8xh100" false,
        "bert-large-8xa100" false,
        "vit-l-16-16xh100" false,
        "resnet-50-8xa100" false,
        "dlrm-dcnv2-16xh100" false,
        "data-bound-vision" false,
        "small-files-metadata" false,
        "preprocessing-nodes" false,
        "checkpoint-goodput-16k" false,
        "checkpoint-levels-512" false,
        "checkpoint-broadcast-512" false,
        "embedding-cache" false,
        "oom-13b" false,
        "shared-dataset-search" false,
        "tiny-llama-interleaved-pp2" true,
        "tiny-llama-dualpipe-v-pp2" true,
        "tiny-llama-fsdp-dp4" true,
        "tiny-llama-ring-cp4" true,
        "tiny-mixture-ep4" true,
        "tiny-llama-offload-dp2" true,
        "tiny-llama-muon-dp2" true,
        "tiny-llama-powersgd-dp4" true,
        "tiny-llama-diloco-dp2" true,
        "tiny-gpt-dropout-tp2" true,
        "tiny-llama-nvfp4-dp2" true,
        "tiny-llama-compressed-pp2" true,
        "tiny-deepseek-dualpipe-ep2" true,
        "tiny-gpt-zero-bubble-pp4" true,
        "tiny-llama-bf16-dp2-tp2" true,
        "tiny-gpt-fp16-pp2" true,
        "small-llama-8ranks" true,
    ]
}

/// The file of the preset called `name`.
pub fn preset_file(name: &str) -> Result<ScenarioFile, ScenarioError> {
    let Some(preset) = presets().iter().find(|preset| preset.name == name) else {
        let known: Vec<_> = presets().iter().map(|preset| preset.name).collect();
        return Err(ScenarioError::Invalid {
            path: "preset",
            value: name.chars().take(80).collect(),
            allowed: format!("one of {}", known.join(", ")),
            hint: nearest_hint(name, &known),
        });
    };
    match open(preset.text.as_bytes())? {
        Opened::Scenario(file) => Ok(ScenarioFile { name: Some(preset.name.to_owned()), ..*file }),
        Opened::Model(_) | Opened::Settings(_) => Err(ScenarioError::Empty),
    }
}

/// `Did you mean …?` with the nearest of `known`.
pub(super) fn nearest_hint(name: &str, known: &[&str]) -> String {
    let name: String = name.chars().take(64).collect();
    let nearest = known.iter().max_by(|a, b| strsim::jaro_winkler(&name, a).total_cmp(&strsim::jaro_winkler(&name, b)));
    nearest.map_or_else(String::new, |nearest| format!("Did you mean `{nearest}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn every_preset_is_a_valid_scenario() {
        for preset in presets() {
            if let Err(error) = Scenario::preset(preset.name) {
                panic!("{}: {error}", preset.name);
            }
        }
        assert_eq!(presets()[0].name, DEFAULT_PRESET);
    }

    #[test]
    fn an_unknown_preset_names_the_nearest() {
        let error = preset_file("gpt3-175-1024xa100").map(|_| ()).expect_err("there is no such preset");
        assert!(error.to_string().contains("`gpt3-175b-1024xa100`"), "{error}");
    }
}
