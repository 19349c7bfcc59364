//! What is trained: transformers (decoders of the GPT and the Llama kind, dense or with mixtures of experts; the
//! encoders BERT and ViT), residual networks of convolutions, and recommenders with embedding tables.
//!
//! A [`Model`] is checked: its sizes are not zero and agree with each other.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod convolutional;
mod hf_config;
mod parameters;
mod recommender;

pub use convolutional::{Block, ConvNet, Image, STEM_KERNEL};
pub use hf_config::{HfConfigError, from_hf_config};
pub use parameters::ParameterCount;
pub use recommender::{Interaction, Recommender};

/// The family of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Learned positions, LayerNorm, biases, GELU (Radford et al. 2019, Brown et al. 2020).
    Gpt,
    /// Rotary positions, RMSNorm, no biases, SwiGLU, grouped-query attention (Touvron et al. 2023).
    Llama,
    /// An encoder of text: every token attends to every other, norms stand behind their blocks, and a part of the tokens
    /// is predicted (Devlin et al. 2019).
    Bert,
    /// An encoder of images: patches are its tokens (Dosovitskiy et al. 2021).
    Vit,
    /// A residual network of convolutions (He et al. 2016; strides in the 3 × 3 convolutions, as torchvision has it).
    Resnet,
    /// A recommender: embedding tables, and perceptrons around their interaction (Naumov et al. 2019).
    Dlrm,
}

impl Architecture {
    /// All families.
    pub const ALL: [Self; 6] = [Self::Gpt, Self::Llama, Self::Bert, Self::Vit, Self::Resnet, Self::Dlrm];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpt => "gpt",
            Self::Llama => "llama",
            Self::Bert => "bert",
            Self::Vit => "vit",
            Self::Resnet => "resnet",
            Self::Dlrm => "dlrm",
        }
    }

    /// Whether it predicts the next token of a text.
    pub fn is_decoder(self) -> bool {
        matches!(self, Self::Gpt | Self::Llama)
    }

    /// Whether its layers are transformer layers.
    pub fn is_transformer(self) -> bool {
        !matches!(self, Self::Resnet | Self::Dlrm)
    }
}

/// A model as it is written in a file: every field may be left out where a preset gives it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Start from this preset; the other fields change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// `gpt`, `llama`, `bert`, `vit`, `resnet` or `dlrm`.
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
    /// Experts of a mixture-of-experts layer; 0 or left out for a dense model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experts: Option<u32>,
    /// Experts that a token is routed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experts_per_token: Option<u32>,
    /// Inner width of one expert; `ffn_hidden` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expert_ffn_hidden: Option<u32>,
    /// Experts that every token passes besides, as one block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_experts: Option<u32>,
    /// Layers at the start whose feed-forward block is dense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dense_layers: Option<u32>,
    /// Every how many layers there is a mixture of experts; 1 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expert_interval: Option<u32>,
    /// Rank of the keys and values of multi-head latent attention; 0 or left out for plain attention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_rank: Option<u32>,
    /// Rank of its queries; a full projection when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_rank: Option<u32>,
    /// Rotated part of a head of latent attention; `head_dim` is the part that is not rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_dim: Option<u32>,
    /// Width of the values of a head of latent attention; `head_dim` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_dim: Option<u32>,
    /// Biases of the query, key and value projection of Llama models (Qwen2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qkv_bias: Option<bool>,
    /// Tokens to which a token attends, itself and those right before it; all of them when left out (sliding window
    /// attention: Beltagy et al. 2020; Jiang et al. 2023, "Mistral 7B").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// Every how many layers tokens attend to all before them despite a window; 0 or left out for no layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_interval: Option<u32>,
    /// Share of the activations that training sets to zero (Srivastava et al. 2014): behind the embedding, of attention's
    /// probabilities, and before each addition to the residual stream; 0 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Side of the square images of `vit` and `resnet`; 224 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_size: Option<u32>,
    /// Side of the square patches of `vit`; 16 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_size: Option<u32>,
    /// Classes of images; 1000 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<u32>,
    /// Residual blocks of each of the four stages of `resnet`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<u32>,
    /// Whether its blocks are bottlenecks of three convolutions, as from ResNet-50 on; else of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bottleneck: Option<bool>,
    /// Groups of channels that its norms treat by themselves in every image (Wu & He 2018, "Group normalization"), a divisor
    /// of `hidden`; norms of each channel over a batch when 0 or left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm_groups: Option<u32>,
    /// Rows of each embedding table of `dlrm`, whose width is `hidden`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub table_rows: Vec<u32>,
    /// Rows of each table that a sample looks up and adds; one each when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lookups: Vec<u32>,
    /// Numbers of a sample besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dense_features: Option<u32>,
    /// Widths of the layers through which they go; the last is `hidden`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bottom_mlp: Vec<u32>,
    /// Widths of the layers behind the interaction, without the last, which has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top_mlp: Vec<u32>,
    /// Layers of a low-rank cross network as the interaction (Wang et al. 2021, "DCN V2"); 0 or left out for all dot
    /// products of a sample's vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_layers: Option<u32>,
    /// Rank of its layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_rank: Option<u32>,
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
            experts: self.experts.or(base.experts),
            experts_per_token: self.experts_per_token.or(base.experts_per_token),
            expert_ffn_hidden: self.expert_ffn_hidden.or(base.expert_ffn_hidden),
            shared_experts: self.shared_experts.or(base.shared_experts),
            dense_layers: self.dense_layers.or(base.dense_layers),
            expert_interval: self.expert_interval.or(base.expert_interval),
            kv_rank: self.kv_rank.or(base.kv_rank),
            query_rank: self.query_rank.or(base.query_rank),
            rope_dim: self.rope_dim.or(base.rope_dim),
            value_dim: self.value_dim.or(base.value_dim),
            qkv_bias: self.qkv_bias.or(base.qkv_bias),
            window: self.window.or(base.window),
            window_interval: self.window_interval.or(base.window_interval),
            dropout: self.dropout.or(base.dropout),
            image_size: self.image_size.or(base.image_size),
            patch_size: self.patch_size.or(base.patch_size),
            classes: self.classes.or(base.classes),
            blocks: listed(self.blocks, &base.blocks),
            bottleneck: self.bottleneck.or(base.bottleneck),
            norm_groups: self.norm_groups.or(base.norm_groups),
            table_rows: listed(self.table_rows, &base.table_rows),
            lookups: listed(self.lookups, &base.lookups),
            dense_features: self.dense_features.or(base.dense_features),
            bottom_mlp: listed(self.bottom_mlp, &base.bottom_mlp),
            top_mlp: listed(self.top_mlp, &base.top_mlp),
            cross_layers: self.cross_layers.or(base.cross_layers),
            cross_rank: self.cross_rank.or(base.cross_rank),
            parameters: self.parameters.or(base.parameters),
        }
    }
}

/// A list, or that of the base where there is none.
fn listed(list: Vec<u32>, base: &[u32]) -> Vec<u32> {
    if list.is_empty() { base.to_vec() } else { list }
}

/// A token attends to itself and those right before it, in all layers but some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    /// How many tokens these are.
    pub tokens: u32,
    /// Every how many layers a token attends to all before it; 0 for no layer.
    pub interval: u32,
}

impl Window {
    /// Whether a layer has it.
    pub fn is_in(&self, layer: u32) -> bool {
        self.interval == 0 || !(layer + 1).is_multiple_of(self.interval)
    }
}

/// A mixture of experts in place of the feed-forward block (Shazeer et al. 2017; Lepikhin et al. 2021, "GShard").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Mixture {
    /// Experts of a layer.
    pub experts: u32,
    /// Experts that a token is routed to.
    pub per_token: u32,
    /// Inner width of one expert.
    pub ffn_hidden: u32,
    /// Inner width of the block that every token passes besides; 0 for none.
    pub shared_ffn_hidden: u32,
    /// Layers at the start that are dense.
    pub dense_layers: u32,
    /// Every how many layers there is a mixture.
    pub interval: u32,
}

impl Mixture {
    /// Whether a layer has one.
    pub fn is_in(&self, layer: u32) -> bool {
        layer >= self.dense_layers && (layer + 1).is_multiple_of(self.interval)
    }
}

/// Multi-head latent attention: queries, keys and values are projected from short vectors (DeepSeek-AI 2024,
/// "DeepSeek-V2", section 2.1). A head has `head_dim` unrotated and `rope_dim` rotated features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Latent {
    /// Length of the vector from which queries come; 0 for a full projection.
    pub query_rank: u32,
    /// Length of the vector from which keys and values come.
    pub kv_rank: u32,
    /// Rotated features of a head; keys share them.
    pub rope_dim: u32,
    /// Features of a value.
    pub value_dim: u32,
}

/// A checked model. What only transformers have is 1 for others: a block or a perceptron layer counts as a layer, a
/// sample as a sequence of one token.
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
    /// Biases of the query, key and value projection besides those of GPT.
    pub qkv_bias: bool,
    /// Share of the activations that training sets to zero; below 1.
    pub dropout: f64,
    /// To how many tokens a token attends, where not to all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Mixtures of experts, where it has them.
    pub mixture: Option<Mixture>,
    /// Latent attention, where it has it.
    pub latent: Option<Latent>,
    /// The images that it sees, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Its convolutions, of residual networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub convolutions: Option<ConvNet>,
    /// Its tables and perceptrons, of recommenders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recommender: Option<Recommender>,
}

impl Model {
    /// Query heads that share one key and value head.
    pub fn queries_per_group(&self) -> u32 {
        self.heads / self.kv_heads
    }

    /// Features of a query and a key of one head.
    pub fn key_dim(&self) -> u32 {
        self.head_dim + self.latent.map_or(0, |latent| latent.rope_dim)
    }

    /// Features of a value of one head.
    pub fn value_dim(&self) -> u32 {
        self.latent.map_or(self.head_dim, |latent| latent.value_dim)
    }

    /// Width of the fused queries, keys and values.
    pub fn qkv_width(&self) -> u32 {
        self.heads * self.key_dim() + self.kv_heads * (self.key_dim() + self.value_dim())
    }

    /// Width of the attention output before its projection.
    pub fn attention_width(&self) -> u32 {
        self.heads * self.value_dim()
    }

    /// The mixture of experts of a layer, if it has one.
    pub fn mixture_in(&self, layer: u32) -> Option<&Mixture> {
        self.mixture.as_ref().filter(|mixture| mixture.is_in(layer))
    }

    /// Layers with a mixture of experts.
    pub fn mixture_layers(&self) -> u32 {
        u32::try_from((0..self.layers).filter(|&layer| self.mixture_in(layer).is_some()).count()).unwrap_or(u32::MAX)
    }

    /// Whether linear layers have biases, norms a shift, and positions are learned: all but models of the Llama kind.
    pub fn has_biases(&self) -> bool {
        self.architecture != Architecture::Llama
    }

    /// Whether a token attends only to those before it.
    pub fn is_causal(&self) -> bool {
        self.architecture.is_decoder()
    }

    /// What a sequence is called where the model knows none: images and users' clicks are samples.
    pub fn has_sequences(&self) -> bool {
        matches!(self.architecture, Architecture::Gpt | Architecture::Llama | Architecture::Bert)
    }

    /// Tokens of a sequence of which BERT predicts what they were: of each seven about one (Devlin et al. 2019, section
    /// 3.1: 15 %).
    pub fn masked_tokens(sequence: u32) -> u32 {
        (sequence.saturating_mul(3)).div_ceil(20).max(1)
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
