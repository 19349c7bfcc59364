//! What is trained: decoder transformers of the GPT and the Llama kind.
//!
//! A [`Model`] is checked: its sizes are not zero and agree with each other.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod hf_config;
mod parameters;

pub use hf_config::{HfConfigError, from_hf_config};
pub use parameters::ParameterCount;

/// The family of a decoder transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Learned positions, LayerNorm, biases, GELU (Radford et al. 2019, Brown et al. 2020).
    Gpt,
    /// Rotary positions, RMSNorm, no biases, SwiGLU, grouped-query attention (Touvron et al. 2023).
    Llama,
}

/// A model as it is written in a file: every field may be left out where a preset gives it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Start from this preset; the other fields change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// `gpt` or `llama`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
    /// Number of transformer layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<u32>,
    /// Width of the residual stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<u32>,
    /// Query heads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<u32>,
    /// Key and value heads (grouped-query attention); as many as query heads when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_heads: Option<u32>,
    /// Width of a head; `hidden / heads` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<u32>,
    /// Inner width of the feed-forward block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ffn_hidden: Option<u32>,
    /// Vocabulary size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocab: Option<u32>,
    /// Longest sequence; the length of the learned position table of GPT models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions: Option<u32>,
    /// Whether the output head shares the embedding's weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tied_embeddings: Option<bool>,
    /// Base of the rotary angles (Llama).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// Published parameter count, of presets only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub parameters: Option<u64>,
}

impl ModelFile {
    /// The fields of `self`, and those of `base` where `self` says nothing.
    pub fn over(self, base: &Self) -> Self {
        Self {
            preset: self.preset.or_else(|| base.preset.clone()),
            architecture: self.architecture.or(base.architecture),
            layers: self.layers.or(base.layers),
            hidden: self.hidden.or(base.hidden),
            heads: self.heads.or(base.heads),
            kv_heads: self.kv_heads.or(base.kv_heads),
            head_dim: self.head_dim.or(base.head_dim),
            ffn_hidden: self.ffn_hidden.or(base.ffn_hidden),
            vocab: self.vocab.or(base.vocab),
            positions: self.positions.or(base.positions),
            tied_embeddings: self.tied_embeddings.or(base.tied_embeddings),
            rope_theta: self.rope_theta.or(base.rope_theta),
            parameters: self.parameters.or(base.parameters),
        }
    }
}

/// A checked decoder transformer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    /// The preset it came from, or `custom`.
    pub name: String,
    /// Its family.
    pub architecture: Architecture,
    /// Number of transformer layers.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads; divides `heads`.
    pub kv_heads: u32,
    /// Width of a head; even.
    pub head_dim: u32,
    /// Inner width of the feed-forward block.
    pub ffn_hidden: u32,
    /// Vocabulary size.
    pub vocab: u32,
    /// Longest sequence.
    pub positions: u32,
    /// Whether the output head shares the embedding's weights.
    pub tied_embeddings: bool,
    /// Base of the rotary angles (Llama).
    pub rope_theta: f64,
}

impl Model {
    /// Query heads that share one key and value head.
    pub fn queries_per_group(&self) -> u32 {
        self.heads / self.kv_heads
    }

    /// Width of the fused query, key and value projection.
    pub fn qkv_width(&self) -> u32 {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }

    /// Width of the attention output before its projection.
    pub fn attention_width(&self) -> u32 {
        self.heads * self.head_dim
    }

    /// Whether linear layers have biases, norms a shift, and positions are learned.
    pub fn is_gpt(&self) -> bool {
        self.architecture == Architecture::Gpt
    }
}

/// The models that ship with the program, by name.
pub fn presets() -> &'static BTreeMap<String, ModelFile> {
    static PRESETS: LazyLock<BTreeMap<String, ModelFile>> = LazyLock::new(|| {
        // The table is part of the program and a test reads it, so an error cannot reach a user.
        toml::from_str(include_str!("../../../assets/models.toml")).unwrap_or_default()
    });
    &PRESETS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::check_model;

    #[test]
    fn the_preset_table_parses() {
        let table: BTreeMap<String, ModelFile> =
            toml::from_str(include_str!("../../../assets/models.toml")).expect("assets/models.toml parses");
        assert_eq!(&table, presets());
        assert!(table.len() >= 12, "all promised models are there");
    }

    #[test]
    fn parameter_counts_match_the_published_ones() {
        for (name, preset) in presets() {
            let model = check_model(&ModelFile { preset: Some(name.clone()), ..ModelFile::default() })
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            if let Some(published) = preset.parameters {
                assert_eq!(ParameterCount::of(&model).total(), published, "{name}");
            }
        }
    }

    #[test]
    fn gpt3_has_the_size_that_its_name_says() {
        let file = ModelFile { preset: Some("gpt3-175b".into()), ..ModelFile::default() };
        let model = check_model(&file).expect("the preset is valid");
        let billions = ParameterCount::of(&model).total() as f64 / 1e9;
        // Brown et al. 2020, Table 2.1 prints 175.0B, rounded up from the tied-embedding count.
        assert!((174.0..175.5).contains(&billions), "{billions} billion");
    }
}
