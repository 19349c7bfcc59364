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
    #[error("`model_type` is `{0}`; models that can be read here are gpt2, llama and mistral")]
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
        Some("llama" | "mistral") => llama(config),
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
        ..ModelFile::default()
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
    fn bad_configs_are_refused_with_the_key() {
        let error = |text: &str| from_hf_config(text).map_or_else(|e| e.to_string(), |_| "ok".into());
        assert!(error("{}").contains("model_type"));
        assert!(error("[]").contains("model_type"));
        assert!(error(r#"{"model_type":"t5"}"#).contains("t5"));
        assert!(error(r#"{"model_type":"gpt2","n_embd":-3}"#).contains("n_embd"));
        assert!(error("\u{0}").contains("not JSON"));
    }
}
