//! What a key of a scenario takes, in words, from its schema.

use serde_json::Value;

use super::ScenarioError;
use super::parse::{properties, resolved};

/// The error about the value at `path` of `file`, which serde refused with `message`.
pub(super) fn wrong_type(path: String, file: &Value, schema: &Value, message: &str) -> ScenarioError {
    let found = path.split('.').try_fold(file, |value, key| value.get(key));
    let (allowed, hint) = match at(&path, schema) {
        Some(key) => (allowed(resolved(key, schema)), meaning(key)),
        None => (message.to_owned(), String::new()),
    };
    // A quantity's own error says more than its type: which units there are, what is out of range.
    let quantity = message.contains("unit") || message.contains("range") || message.contains("number");
    let is_text = found.is_some_and(Value::is_string);
    let allowed =
        if quantity && is_text && allowed.contains("such as") { format!("{allowed} ({message})") } else { allowed };
    ScenarioError::WrongType { path, value: found.map_or_else(|| "(missing)".to_owned(), value), allowed, hint }
}

/// The schema of the key at `path`.
fn at<'a>(path: &str, root: &'a Value) -> Option<&'a Value> {
    path.split('.').try_fold(root, |schema, key| properties(schema, root)?.get(key))
}

/// A value as it is written, cut to a readable length, with what it is.
pub(super) fn value(value: &Value) -> String {
    let short: String = match value {
        Value::Object(_) => return "a table".to_owned(),
        Value::Array(_) => return "an array".to_owned(),
        Value::String(text) if ["NaN", "inf", "-inf"].contains(&text.as_str()) => text.clone(),
        other => other.to_string(),
    };
    short.chars().take(80).collect()
}

/// What the schema of a key allows, in words.
fn allowed(schema: &Value) -> String {
    let names = choices(schema);
    if !names.is_empty() {
        return format!("one of {}", names.join(", "));
    }
    if let Some(example) = schema.pointer("/examples/0").and_then(Value::as_str) {
        return format!("a text such as \"{example}\"");
    }
    let kinds = schema.get("type").map_or_else(String::new, Value::to_string);
    let minimum = schema.get("minimum").and_then(Value::as_f64);
    match () {
        () if kinds.contains("integer") && minimum == Some(0.0) => format!("a whole number from 0 to {}", u32::MAX),
        () if kinds.contains("integer") => "a whole number".to_owned(),
        () if kinds.contains("number") => "a finite number".to_owned(),
        () if kinds.contains("boolean") => "true or false".to_owned(),
        () if kinds.contains("string") => "a text in quotes".to_owned(),
        () if kinds.contains("array") => "an array".to_owned(),
        () => "a table".to_owned(),
    }
}

/// The names among which a key chooses.
fn choices(schema: &Value) -> Vec<String> {
    let constants = ["oneOf", "anyOf"].iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    let constants = constants.filter_map(|option| option.get("const"));
    let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    constants.chain(listed).filter_map(Value::as_str).map(|name| format!("`{name}`")).collect()
}

/// The first sentence of a key's description.
fn meaning(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let first = text.split(". ").next().unwrap_or_default().trim_end_matches('.').replace('\n', " ");
    if first.is_empty() { String::new() } else { format!("It is: {first}.") }
}
