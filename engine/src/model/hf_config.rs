//! Reads a Hugging Face `config.json` into a [`ModelFile`].

use serde_json::{Map, Value};

use super::{Architecture, ModelFile};

/// Why a `config.json` is not a model that can be used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HfConfigError {
    /// The text is not JSON.
    #[error("expected a Hugging Face config.json, but the text is not JSON: {0}")]
    NotJson(String),
    /// The document is JSON but not a model configuration.
    #[error("expected a Hugging Face config.json with the key `model_type`, but it has none")]
    NotAConfig,
    /// The family is not one of those that are modelled.
    #[error(
        "`model_type` is `{0}`; models that can be read here are bert, gpt2, llama, mistral, mixtral, qwen2, qwen3, qwen3_moe, deepseek_v2, deepseek_v3 and vit"
    )]
    UnknownFamily(String),
    /// A key that the family needs is missing or has the wrong type.
    #[error("config.json: `{key}` must be a whole number between 1 and 4294967295, but is {found}")]
    BadNumber {
        /// The key.
        key: &'static str,
        /// What was there.
        found: String,
    },
    /// The configuration asks for something that would change the computation and is not modelled.
    #[error("config.json: `{key}` = {found} is not supported; expected {expected}")]
    Unsupported {
        /// The key.
        key: &'static str,
        /// What was there.
        found: String,
        /// What is supported.
        expected: &'static str,
    },
}

/// Whether a JSON document looks like a Hugging Face configuration rather than a scenario.
pub fn from_hf_config(text: &str) -> Result<ModelFile, HfConfigError> {
    let value: Value = serde_json::from_str(text).map_err(|error| HfConfigError::NotJson(error.to_string()))?;
    let Some(config) = value.as_object() else { return Err(HfConfigError::NotAConfig) };
    match config.get("model_type").and_then(Value::as_str) {
        Some("gpt2") => gpt2(config),
        Some("bert") => bert(config),
        Some("vit") => vit(config),
        Some("llama") => llama(config),
        Some("mistral") => Ok(ModelFile { window: optional_number(config, "sliding_window")?, ..llama(config)? }),
        Some("qwen3") => Ok(ModelFile { window: optional_window(config)?, ..llama(config)? }),
        Some("qwen2") => Ok(ModelFile { qkv_bias: Some(true), window: optional_window(config)?, ..llama(config)? }),
        Some("mixtral") => mixtral(config),
        Some("qwen3_moe") => qwen3_moe(config),
        Some("deepseek_v2" | "deepseek_v3") => deepseek(config),
        Some(other) => Err(HfConfigError::UnknownFamily(other.to_owned())),
        None => Err(HfConfigError::NotAConfig),
    }
}

fn gpt2(config: &Map<String, Value>) -> Result<ModelFile, HfConfigError> {
    let hidden = number(config, "n_embd")?;
    expect_text(config, "activation_function", "gelu_new")?;
    Ok(ModelFile {
        architecture: Some(Architecture::Gpt),
        layers: Some(number(config, "n_layer")?),
        hidden: Some(hidden),
        heads: Some(number(config, "n_head")?),
        ffn_hidden: Some(optional_number(config, "n_inner")?.unwrap_or(hidden.saturating_mul(4))),
        vocab: Some(number(config, "vocab_size")?),
        positions: Some(number(config, "n_positions")?),
        tied_embeddings: Some(flag(config, "tie_word_embeddings", true)),
        dropout: share(config, "resid_pdrop"),
        ..ModelFile::default()
    })
}

/// Sizes that encoders name alike.
fn encoder(config: &Map<String, Value>) -> Result<ModelFile, HfConfigError> {
    expect_text(config, "hidden_act", "gelu")?;
    Ok(ModelFile {
        layers: Some(number(config, "num_hidden_layers")?),
        hidden: Some(number(config, "hidden_size")?),
        heads: Some(number(config, "num_attention_heads")?),
        ffn_hidden: Some(number(config, "intermediate_size")?),
        dropout: share(config, "hidden_dropout_prob"),
        ..ModelFile::default()
    })
}

fn bert(config: &Map<String, Value>) -> Result<ModelFile, HfConfigError> {
    Ok(ModelFile {
        architecture: Some(Architecture::Bert),
        vocab: Some(number(config, "vocab_size")?),
        positions: Some(number(config, "max_position_embeddings")?),
        ..encoder(config)?
    })
}

fn vit(config: &Map<String, Value>) -> Result<ModelFile, HfConfigError> {
    Ok(ModelFile {
        architecture: Some(Architecture::Vit),
        image_size: Some(number(config, "image_size")?),
        patch_size: Some(number(config, "patch_size")?),
        ..encoder(config)?
    })
}

fn llama(config: &Map<String, Value>) -> Result<ModelFile, HfConfigError> {
    for key in ["attention_bias", "mlp_bias"] {
        if flag(config, key, false) {
            return Err(HfConfigError::Unsupported { key, found: "true".into(), expected: "false" });
        }
    }
    expect_text(config, "hidden_act", "silu")?;
    Ok(ModelFile {
        architecture: Some(Architecture::Llama),
        layers: Some(number(config, "num_hidden_layers")?),
        hidden: Some(number(config, "hidden_size")?),
        heads: Some(number(config, "num_attention_heads")?),
        kv_heads: optional_number(config, "num_key_value_heads")?,
        head_dim: optional_number(config, "head_dim")?,
        ffn_hidden: Some(number(config, "intermediate_size")?),
        vocab: Some(number(config, "vocab_size")?),
        positions: Some(number(config, "max_position_embeddings")?),
        tied_embeddings: Some(flag(config, "tie_word_embeddings", false)),
        rope_theta: config.get("rope_theta").and_then(Value::as_f64),
        ..ModelFile::default()
    })
}

/// Qwen's configurations state a window also where it is not used; where it is, layers below one have none.
fn optional_window(config: &Map<String, Value>) -> Result<Option<u32>, HfConfigError> {
    if !flag(config, "use_sliding_window", false) {
        return Ok(None);
    }
    let (key, first) = ("max_window_layers", optional_number(config, "max_window_layers")?.unwrap_or(0));
    if first > 0 && first < number(config, "num_hidden_layers")? {
        let expected = "0, or use_sliding_window = false: windows of only the last layers are not modelled";
        return Err(HfConfigError::Unsupported { key, found: first.to_string(), expected });
    }
    if first > 0 { Ok(None) } else { optional_number(config, "sliding_window") }
}

fn mixtral(config: &Map<String, Value>) -> Result<ModelFile, HfConfigError> {
    Ok(ModelFile {
        experts: Some(number(config, "num_local_experts")?),
        experts_per_token: Some(number(config, "num_experts_per_tok")?),
        ..llama(config)?
    })
}

fn qwen3_moe(config: &Map<String, Value>) -> Result<ModelFile, HfConfigError> {
    Ok(ModelFile {
        experts: Some(number(config, "num_experts")?),
        experts_per_token: Some(number(config, "num_experts_per_tok")?),
        expert_ffn_hidden: Some(number(config, "moe_intermediate_size")?),
        expert_interval: optional_number(config, "decoder_sparse_step")?,
        ..llama(config)?
    })
}

/// Latent attention; `head_dim` is the part of a head that is not rotated, and every head has its own keys.
fn deepseek(config: &Map<String, Value>) -> Result<ModelFile, HfConfigError> {
    Ok(ModelFile {
        kv_heads: None,
        head_dim: Some(number(config, "qk_nope_head_dim")?),
        experts: Some(number(config, "n_routed_experts")?),
        experts_per_token: Some(number(config, "num_experts_per_tok")?),
        expert_ffn_hidden: Some(number(config, "moe_intermediate_size")?),
        shared_experts: optional_number(config, "n_shared_experts")?,
        dense_layers: optional_number(config, "first_k_dense_replace")?,
        expert_interval: optional_number(config, "moe_layer_freq")?,
        query_rank: optional_number(config, "q_lora_rank")?,
        kv_rank: Some(number(config, "kv_lora_rank")?),
        rope_dim: Some(number(config, "qk_rope_head_dim")?),
        value_dim: Some(number(config, "v_head_dim")?),
        ..llama(config)?
    })
}

fn number(config: &Map<String, Value>, key: &'static str) -> Result<u32, HfConfigError> {
    optional_number(config, key)?.ok_or(HfConfigError::BadNumber { key, found: "missing".into() })
}

fn optional_number(config: &Map<String, Value>, key: &'static str) -> Result<Option<u32>, HfConfigError> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|n| u32::try_from(n).ok()) {
            Some(n) if n > 0 => Ok(Some(n)),
            _ => Err(HfConfigError::BadNumber { key, found: shorten(&value.to_string()) }),
        },
    }
}

fn flag(config: &Map<String, Value>, key: &str, default: bool) -> bool {
    config.get(key).and_then(Value::as_bool).unwrap_or(default)
}

/// A share that the file may leave out; nothing is dropped where it says 0.
fn share(config: &Map<String, Value>, key: &str) -> Option<f64> {
    config.get(key).and_then(Value::as_f64).filter(|&share| share > 0.0)
}

fn expect_text(config: &Map<String, Value>, key: &'static str, expected: &'static str) -> Result<(), HfConfigError> {
    match config.get(key).and_then(Value::as_str) {
        Some(found) if found != expected => Err(HfConfigError::Unsupported { key, found: shorten(found), expected }),
        _ => Ok(()),
    }
}

/// At most 40 characters of a text that somebody else wrote.
fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ParameterCount;
    use crate::scenario::check_model;

    #[test]
    fn a_llama_config_gives_the_published_count() {
        let text = r#"{"model_type":"llama","hidden_size":4096,"intermediate_size":14336,"num_hidden_layers":32,
            "num_attention_heads":32,"num_key_value_heads":8,"vocab_size":128256,"max_position_embeddings":8192,
            "rope_theta":500000.0,"hidden_act":"silu","tie_word_embeddings":false}"#;
        let model = check_model(&from_hf_config(text).expect("a known family")).expect("valid sizes");
        assert_eq!(ParameterCount::of(&model).total(), 8_030_261_248);
    }

    #[test]
    fn mixtures_of_experts_give_the_published_counts() {
        let count = |text: &str| {
            let model = check_model(&from_hf_config(text).expect("a known family")).expect("valid sizes");
            ParameterCount::of(&model)
        };
        let mixtral = r#"{"model_type":"mixtral","hidden_size":4096,"intermediate_size":14336,"num_hidden_layers":32,
            "num_attention_heads":32,"num_key_value_heads":8,"vocab_size":32000,"max_position_embeddings":32768,
            "rope_theta":1000000.0,"hidden_act":"silu","num_local_experts":8,"num_experts_per_tok":2}"#;
        assert_eq!(count(mixtral).total(), 46_702_792_704);
        let deepseek = r#"{"model_type":"deepseek_v3","hidden_size":7168,"intermediate_size":18432,
            "num_hidden_layers":61,"num_attention_heads":128,"num_key_value_heads":128,"vocab_size":129280,
            "max_position_embeddings":163840,"hidden_act":"silu","n_routed_experts":256,"num_experts_per_tok":8,
            "moe_intermediate_size":2048,"n_shared_experts":1,"first_k_dense_replace":3,"moe_layer_freq":1,
            "q_lora_rank":1536,"kv_lora_rank":512,"qk_nope_head_dim":128,"qk_rope_head_dim":64,"v_head_dim":128}"#;
        // DeepSeek-AI 2024, section 4.2: "671B total parameters, of which 37B are activated for each token"; its
        // count of active parameters leaves the embedding out.
        assert_eq!(count(deepseek).total() / 1_000_000_000, 671);
        assert!((36.5e9..37.6e9).contains(&(count(deepseek).active() as f64)), "{}", count(deepseek).active());
    }

    #[test]
    fn windows_are_read_where_they_are_used() {
        let sizes = r#""hidden_size":4096,"intermediate_size":14336,"num_hidden_layers":32,"num_attention_heads":32,
            "num_key_value_heads":8,"vocab_size":32000,"max_position_embeddings":32768,"hidden_act":"silu""#;
        let window = |family: &str, rest: &str| {
            from_hf_config(&format!(r#"{{"model_type":"{family}",{sizes},{rest}}}"#)).map(|file| file.window)
        };
        assert_eq!(window("mistral", r#""sliding_window":4096"#), Ok(Some(4096)));
        assert_eq!(window("mistral", r#""sliding_window":null"#), Ok(None));
        let stated = r#""sliding_window":4096,"max_window_layers":32"#;
        assert_eq!(window("qwen2", stated), Ok(None), "stated, but not used");
        assert_eq!(window("qwen2", &format!(r#""use_sliding_window":true,{stated}"#)), Ok(None), "in no layer");
        assert_eq!(window("qwen2", r#""use_sliding_window":true,"sliding_window":4096"#), Ok(Some(4096)));
        let some = r#""use_sliding_window":true,"sliding_window":4096,"max_window_layers":28"#;
        assert!(window("qwen2", some).is_err_and(|error| error.to_string().contains("max_window_layers")));
    }

    #[test]
    fn encoders_give_the_published_counts() {
        let bert = r#"{"model_type":"bert","hidden_size":768,"intermediate_size":3072,"num_hidden_layers":12,
            "num_attention_heads":12,"vocab_size":30522,"max_position_embeddings":512,"hidden_act":"gelu"}"#;
        let vit = r#"{"model_type":"vit","hidden_size":768,"intermediate_size":3072,"num_hidden_layers":12,
            "num_attention_heads":12,"image_size":224,"patch_size":16,"hidden_act":"gelu"}"#;
        for (text, parameters) in [(bert, 110_106_428), (vit, 86_567_656)] {
            let model = check_model(&from_hf_config(text).expect("a known family")).expect("valid sizes");
            assert_eq!(ParameterCount::of(&model).total(), parameters);
        }
    }

    #[test]
    fn bad_configs_are_refused_with_the_key() {
        let error = |text: &str| from_hf_config(text).map_or_else(|e| e.to_string(), |_| "ok".into());
        assert!(error("{}").contains("model_type"));
        assert!(error("[]").contains("model_type"));
        assert!(error(r#"{"model_type":"t5"}"#).contains("t5"));
        assert!(error(r#"{"model_type":"gpt2","n_embd":-3}"#).contains("n_embd"));
        assert!(error("\u{0}").contains("not JSON"));
    }
}
