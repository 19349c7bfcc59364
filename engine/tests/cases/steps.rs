//! What tests of many strategies do with a scenario's text: open it, lower it, simulate it folded and unfolded.

use shardlab_engine::graph::{StepGraph, lower};
use shardlab_engine::scenario::{Opened, Scenario, ScenarioError, check, open};
use shardlab_engine::sim::{Folding, simulate, simulate_folded};
use shardlab_engine::trace::Trace;

/// The scenario of a text, or why it is none.
pub fn checked(text: &str) -> Result<Scenario, ScenarioError> {
    let Ok(Opened::Scenario(file)) = open(text.as_bytes()) else { panic!("a scenario: {text}") };
    check(&file)
}

/// The scenario of a text that is valid.
pub fn scenario(text: &str) -> Scenario {
    checked(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The message with which a text is refused.
#[allow(dead_code, reason = "not every test refuses")]
pub fn refusal(text: &str) -> String {
    checked(text).map_or_else(|error| error.to_string(), |_| "accepted".into())
}

/// The lowered step of a scenario, verified, with its folded and its unfolded trace, which agree.
#[allow(dead_code, reason = "not every test folds")]
pub fn folded_and_unfolded(scenario: &Scenario, text: &str) -> (StepGraph, [Trace; 2]) {
    let step = lower(scenario);
    step.verify().unwrap_or_else(|error| panic!("{error}: {text}"));
    let folded = simulate(&step, scenario);
    let unfolded = simulate_folded(&step, scenario, &Folding::unfolded(scenario.mesh()));
    assert_eq!(folded.step_time, unfolded.step_time, "folded and unfolded: {text}");
    (step, [folded, unfolded])
}
