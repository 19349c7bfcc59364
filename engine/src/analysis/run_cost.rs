//! What a run costs: time, device-hours, energy, money.

use serde::Serialize;

use super::StepReport;
use crate::scenario::Scenario;
use crate::units::{Joules, Nanos};

/// Seconds of an hour.
const HOUR: f64 = 3600.0;

/// What some steps cost on all devices of the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spent {
    /// From the first step to the last, without failures and restarts (`shardlab goodput` has those).
    pub seconds: f64,
    /// Devices times hours.
    pub device_hours: f64,
    /// What devices draw at the most, at their power limit, times the facility's overhead; where their power is known.
    pub energy: Option<Joules>,
    /// Device-hours times their price, where one is named.
    pub money: Option<f64>,
}

/// What a step costs, a million tokens, and the whole run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunCost {
    /// One step.
    pub step: Spent,
    /// A million tokens (or images, samples).
    pub million: Spent,
    /// All of `budget.tokens`, where it is named.
    pub run: Option<Spent>,
    /// Steps of the whole run.
    pub steps: Option<f64>,
    /// In which money.
    pub currency: String,
}

/// Counts what a scenario's run costs at the pace of its step.
pub fn run_cost(scenario: &Scenario, report: &StepReport) -> RunCost {
    let budget = scenario.budget();
    let step = spent(scenario, report.mean_step_time);
    let per_step = if scenario.data().sequence_length > 1 { scenario.step_tokens() } else { scenario.step_samples() };
    let per_step = (per_step as f64).max(1.0);
    let steps = budget.tokens.map(|tokens| (tokens / per_step).ceil());
    RunCost {
        step,
        million: step.times(1e6 / per_step),
        run: steps.map(|steps| step.times(steps)),
        steps,
        currency: budget.currency.clone(),
    }
}

fn spent(scenario: &Scenario, time: Nanos) -> Spent {
    let (devices, seconds) = (f64::from(scenario.mesh().ranks()), time.secs());
    let device_hours = devices * seconds / HOUR;
    let budget = scenario.budget();
    let draws = |watts: f64| Joules(watts * devices * seconds * budget.power_overhead);
    Spent {
        seconds,
        device_hours,
        energy: scenario.cluster().device.power.map(|power| draws(power.limit.0.min(power.nominal.0))),
        money: budget.price.map(|price| price * device_hours),
    }
}

impl Spent {
    /// So many times as much.
    #[must_use]
    pub fn times(self, n: f64) -> Self {
        Self {
            seconds: self.seconds * n,
            device_hours: self.device_hours * n,
            energy: self.energy.map(|energy| Joules(energy.0 * n)),
            money: self.money.map(|money| money * n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::step_report;
    use crate::graph::lower;
    use crate::scenario::{BudgetFile, check, preset_file};
    use crate::sim::simulate;

    #[test]
    fn a_run_costs_its_steps() {
        let mut file = preset_file("llama2-7b-8xh100").expect("a preset");
        let tokens = 2e12;
        file.budget = Some(BudgetFile { tokens: Some(tokens), price: Some(2.5), ..BudgetFile::default() });
        let scenario = check(&file).expect("valid");
        let step = lower(&scenario);
        let report = step_report(&step, &scenario, &simulate(&step, &scenario));
        let cost = run_cost(&scenario, &report);
        let run = cost.run.expect("tokens are named");
        let hours = tokens / report.tokens_per_s / 3600.0 * 8.0;
        assert!((run.device_hours / hours - 1.0).abs() < 1e-6, "{} hours, expected {hours}", run.device_hours);
        assert!((run.money.expect("a price") / (hours * 2.5) - 1.0).abs() < 1e-6);
        // An H100 draws 700 W at the most.
        assert!((run.energy.expect("its power is known").0 / (hours * 3600.0 * 700.0) - 1.0).abs() < 1e-6);
        assert!((cost.million.device_hours * tokens / 1e6 / hours - 1.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_not_named_is_not_made_up() {
        let scenario = Scenario::preset("llama2-7b-8xh100").expect("a preset");
        let step = lower(&scenario);
        let cost = run_cost(&scenario, &step_report(&step, &scenario, &simulate(&step, &scenario)));
        assert_eq!((cost.run, cost.steps, cost.step.money), (None, None, None));
        assert!(cost.step.energy.is_some());
    }
}
