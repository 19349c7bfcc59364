//! What is wrong with a scenario, where, and what to do.

/// Why a text is not a scenario that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// The file is far larger than any scenario.
    #[error("the file has more than {limit} bytes, which no scenario needs; is this the right file?")]
    TooLarge {
        /// What is read at most.
        limit: u64,
    },
    /// The file is empty or blank.
    #[error(
        "the file is empty; expected a scenario with at least [model] and [cluster]. `shardlab presets --show NAME` prints one to start from"
    )]
    Empty,
    /// The file is not UTF-8 text.
    #[error("the file is not text (byte {at} is not UTF-8); expected a scenario in TOML or JSON")]
    NotText {
        /// Offset of the first bad byte.
        at: usize,
    },
    /// The text is neither well-formed TOML nor JSON.
    #[error("not well-formed {format}: {message}")]
    Syntax {
        /// `TOML` or `JSON`.
        format: &'static str,
        /// What the parser says, with line and column.
        message: String,
    },
    /// A key that is not known.
    #[error("`{path}` is not a known key; {}", hint(.nearest, .known))]
    UnknownKey {
        /// Where.
        path: String,
        /// The nearest known key, if one is near.
        nearest: Option<String>,
        /// All keys that are known there.
        known: String,
    },
    /// A value of the wrong type, or a missing key.
    #[error("`{path}` = {value} is not allowed: expected {allowed}. {hint}")]
    WrongType {
        /// Where.
        path: String,
        /// What was written.
        value: String,
        /// What is allowed.
        allowed: String,
        /// What the key means.
        hint: String,
    },
    /// A value that is not allowed here.
    #[error("`{path}` = {value} is not allowed: expected {allowed}. {hint}")]
    Invalid {
        /// Where.
        path: &'static str,
        /// What was written.
        value: String,
        /// What is allowed.
        allowed: String,
        /// What to do next.
        hint: String,
    },
    /// A dropped Hugging Face configuration that cannot be used.
    #[error(transparent)]
    HfConfig(#[from] crate::model::HfConfigError),
}

fn hint(nearest: &Option<String>, known: &str) -> String {
    nearest.as_ref().map_or_else(|| format!("known here are {known}"), |key| format!("did you mean `{key}`?"))
}
