//! What is wrong with a scenario, where, and what to do.

/// Why a text is not a scenario that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// The file is far larger than any scenario.
    #[error("the file has {bytes} bytes, a scenario at most {limit}; is this the right file?")]
    TooLarge {
        /// Its size.
        bytes: u64,
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
    #[error("`{path}` is not a known key{}", hint(.nearest))]
    UnknownKey {
        /// Where.
        path: String,
        /// The nearest known key, if one is near.
        nearest: Option<String>,
    },
    /// A value of the wrong type, or a missing key.
    #[error("`{path}`: {message}")]
    WrongType {
        /// Where.
        path: String,
        /// What was expected and found.
        message: String,
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

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |key| format!("; did you mean `{key}`?"))
}
