//! From bytes to [`ScenarioFile`]: size, encoding, syntax, unknown keys and types, in this order.

use schemars::schema_for;
use serde_json::{Map, Value};

use super::settings::{FrameworkSettings, from_megatron, from_torchtitan, is_megatron, is_torchtitan};
use super::{ScenarioError, ScenarioFile, describe};
use crate::model::{ModelFile, from_hf_config};

/// No scenario is larger; what is larger was opened by mistake.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// Levels of tables in a file that are read; a scenario has four.
const MAX_DEPTH: usize = 32;

/// What a file turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Opened {
    /// A scenario.
    Scenario(Box<ScenarioFile>),
    /// A Hugging Face `config.json`: a model without cluster and strategy.
    Model(Box<ModelFile>),
    /// Settings of a training framework.
    Settings(Box<FrameworkSettings>),
}

/// Reads a scenario (TOML or JSON) or a Hugging Face `config.json` from the bytes of a file.
pub fn open(bytes: &[u8]) -> Result<Opened, ScenarioError> {
    let size = bytes.len() as u64;
    if size > MAX_FILE_BYTES {
        return Err(ScenarioError::TooLarge { limit: MAX_FILE_BYTES });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| ScenarioError::NotText { at: error.valid_up_to() })?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(ScenarioError::Empty);
    }
    let value =
        if text.trim_start().starts_with(['{', '[']) && !looks_like_toml(text) { json(text) } else { toml(text) };
    let value = match value {
        // What is no document may be a script; a document that speaks of arguments is still a document.
        Err(_) if is_megatron(text) => {
            return from_megatron(text).map(|settings| Opened::Settings(Box::new(settings)));
        }
        other => other?,
    };
    if value.get("model_type").is_some() {
        return Ok(Opened::Model(Box::new(from_hf_config(text)?)));
    }
    if is_torchtitan(&value) {
        return from_torchtitan(&value).map(|settings| Opened::Settings(Box::new(settings)));
    }
    checked_file(&value).map(|file| Opened::Scenario(Box::new(file)))
}

/// A TOML file may start with a table header, which looks like a JSON array: `[model]`.
fn looks_like_toml(text: &str) -> bool {
    text.trim_start()
        .strip_prefix('[')
        .is_some_and(|rest| rest.trim_start().starts_with(|c: char| c.is_ascii_alphabetic()))
}

fn json(text: &str) -> Result<Value, ScenarioError> {
    serde_json::from_str(text).map_err(|error| ScenarioError::Syntax { format: "JSON", message: error.to_string() })
}

fn toml(text: &str) -> Result<Value, ScenarioError> {
    let syntax = |message: String| ScenarioError::Syntax { format: "TOML", message };
    if nesting(text) > MAX_DEPTH {
        return Err(syntax(format!("brackets are nested more than {MAX_DEPTH} deep; a scenario has four levels")));
    }
    let table: toml::Table =
        toml::from_str(text).map_err(|error| syntax(error.to_string().trim().replace('\n', "\n  ")))?;
    Ok(Value::Object(table.into_iter().map(|(key, value)| (key, from_toml(value))).collect()))
}

/// Depth of brackets; checked before parsing so that no parser's stack is put to the test.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for c in text.bytes() {
        match c {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// JSON has no NaN and no dates: both become texts, which the type check then refuses with the path.
fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(n) => Value::from(n),
        toml::Value::Float(x) => {
            serde_json::Number::from_f64(x).map_or_else(|| Value::String(x.to_string()), Value::Number)
        }
        toml::Value::Boolean(b) => Value::Bool(b),
        toml::Value::Datetime(date) => Value::String(date.to_string()),
        toml::Value::Array(items) => Value::Array(items.into_iter().map(from_toml).collect()),
        toml::Value::Table(table) => Value::Object(table.into_iter().map(|(k, v)| (k, from_toml(v))).collect()),
    }
}

/// The scenario in a document, or what of it is not known or of another type.
pub(super) fn checked_file(value: &Value) -> Result<ScenarioFile, ScenarioError> {
    let schema = schema();
    if !value.is_object() {
        let allowed = "a table with [model] and [cluster]".to_owned();
        let hint = "`shardlab presets --show NAME` prints one to start from.".to_owned();
        return Err(ScenarioError::WrongType { path: "(file)".into(), value: describe::value(value), allowed, hint });
    }
    unknown_keys(value, &schema, &schema, "")?;
    serde_path_to_error::deserialize(value.clone()).map_err(|error| {
        let path = match error.path().to_string() {
            path if path == "." => missing_field(&error.inner().to_string()).unwrap_or_else(|| "(file)".to_owned()),
            path => path,
        };
        describe::wrong_type(path, value, &schema, &error.inner().to_string())
    })
}

/// The field in serde's message about one that is missing at the top.
fn missing_field(message: &str) -> Option<String> {
    message.strip_prefix("missing field `")?.split('`').next().map(str::to_owned)
}

/// Walks the file beside its schema and refuses the first key that the schema does not have.
fn unknown_keys(value: &Value, schema: &Value, root: &Value, path: &str) -> Result<(), ScenarioError> {
    let (Some(table), Some(properties)) = (value.as_object(), properties(schema, root)) else { return Ok(()) };
    for (key, inner) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match properties.get(key) {
            Some(schema) => unknown_keys(inner, schema, root, &path)?,
            None => {
                let known = properties.keys().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
                return Err(ScenarioError::UnknownKey { path, nearest: nearest(key, properties), known });
            }
        }
    }
    Ok(())
}

/// Leaves out the keys of a document that no scenario has, and names them.
pub(super) fn known_keys(value: &mut Value, left_out: &mut Vec<String>) {
    let schema = schema();
    keep_known(value, &schema, &schema, "", left_out);
}

fn keep_known(value: &mut Value, schema: &Value, root: &Value, path: &str, left_out: &mut Vec<String>) {
    let (Some(table), Some(properties)) = (value.as_object_mut(), properties(schema, root)) else { return };
    table.retain(|key, inner| {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match properties.get(key) {
            Some(schema) => keep_known(inner, schema, root, &path, left_out),
            None => left_out.push(path),
        }
        properties.contains_key(key)
    });
}

/// The `properties` of a schema, through references.
pub(super) fn properties<'a>(schema: &'a Value, root: &'a Value) -> Option<&'a Map<String, Value>> {
    resolved(schema, root).get("properties")?.as_object()
}

/// The schema behind a `$ref`, or behind the one of an optional value.
pub(super) fn resolved<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let of_option = schema
        .get("anyOf")
        .and_then(Value::as_array)
        .and_then(|options| options.iter().find(|o| o.get("$ref").is_some()));
    let reference = of_option.unwrap_or(schema).get("$ref").and_then(Value::as_str);
    reference.and_then(|name| root.pointer(name.strip_prefix('#')?)).unwrap_or(schema)
}

/// The known key that is at most a third of its letters away.
fn nearest(key: &str, known: &Map<String, Value>) -> Option<String> {
    let key: String = key.chars().take(64).collect();
    known
        .keys()
        .map(|candidate| (strsim::damerau_levenshtein(&key, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3 + 1)
        .min()
        .map(|(_, candidate)| candidate.clone())
}

/// The JSON Schema of a scenario file.
pub fn schema() -> Value {
    schema_for!(ScenarioFile).to_value()
}
