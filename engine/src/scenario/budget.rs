//! What a whole training run takes: how long it trains, and what a device costs. As written and as checked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{Checked, invalid};

/// The whole run as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetFile {
    /// Tokens to train on (images or samples, for models that read them), for example 15.6e12.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<f64>,
    /// What a device costs for an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<f64>,
    /// In which money; `"USD"` when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Power of the whole facility over that of the devices (hosts, network, cooling); 1 when left out: devices alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_overhead: Option<f64>,
}

/// The whole run, checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Budget {
    /// Tokens (images, samples) to train on.
    pub tokens: Option<f64>,
    /// Money for a device and an hour.
    pub price: Option<f64>,
    /// Its currency.
    pub currency: String,
    /// Power of the facility over that of the devices.
    pub power_overhead: f64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { tokens: None, price: None, currency: "USD".to_owned(), power_overhead: 1.0 }
    }
}

/// Letters of a currency, at most.
const CURRENCY_LETTERS: usize = 8;

/// Checks it.
///
/// # Errors
/// When a number is not positive, or the currency no short word.
pub(super) fn check_budget(file: Option<&BudgetFile>) -> Checked<Budget> {
    let Some(file) = file else { return Ok(Budget::default()) };
    let number = |value: Option<f64>, path, [least, most]: [f64; 2]| match value {
        Some(value) if !(least..=most).contains(&value) => {
            Err(invalid(path, value, format!("a number from {least} to {most:e}"), "Leave it out if it is not known."))
        }
        other => Ok(other),
    };
    let currency = file.currency.clone().unwrap_or_else(|| "USD".to_owned());
    let is_word = !currency.is_empty() && currency.chars().all(char::is_alphabetic);
    if !is_word || currency.chars().count() > CURRENCY_LETTERS {
        let allowed = format!("a word of at most {CURRENCY_LETTERS} letters");
        return Err(invalid("budget.currency", currency, allowed, "For example \"EUR\"."));
    }
    Ok(Budget {
        tokens: number(file.tokens, "budget.tokens", [1.0, 1e18])?,
        price: number(file.price, "budget.price", [0.0, 1e6])?,
        currency,
        power_overhead: number(file.power_overhead, "budget.power_overhead", [1.0, 10.0])?.unwrap_or(1.0),
    })
}
