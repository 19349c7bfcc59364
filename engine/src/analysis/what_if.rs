//! What a step would gain from better hardware or faster kernels: each change is simulated.

use std::collections::VecDeque;

use serde::Serialize;

use crate::cluster::Cluster;
use crate::graph::StepGraph;
use crate::scenario::Scenario;
use crate::sim::{step_time, step_time_if_faster};
use crate::trace::Trace;
use crate::units::{BytesPerSec, FlopsPerSec, Nanos, Watts};

/// A change and what the step takes with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WhatIf {
    /// What is better: a number of the hardware, or a class of ops.
    pub what: &'static str,
    /// Whether it is a class of ops.
    pub is_class: bool,
    /// The step time then.
    pub step_time: Nanos,
    /// The share of the step time that is saved.
    pub gain: f64,
}

/// A number of the hardware, with how it becomes better by a factor.
type Change = (&'static str, fn(&mut Cluster, f64));

/// Rates are multiplied, latencies divided.
const HARDWARE: &[Change] = &[
    ("matmul rate", |cluster, by| {
        for rate in cluster.device.matmul_rates_mut() {
            *rate = FlopsPerSec(rate.0 * by);
        }
    }),
    ("vector rate", |cluster, by| cluster.device.fp32 = FlopsPerSec(cluster.device.fp32.0 * by)),
    ("power limit", |cluster, by| {
        if let Some(power) = &mut cluster.device.power {
            power.limit = Watts((power.limit.0 * by).min(power.nominal.0));
        }
    }),
    ("memory bandwidth", |cluster, by| {
        cluster.device.memory_bandwidth = BytesPerSec(cluster.device.memory_bandwidth.0 * by);
    }),
    ("launch overhead", |cluster, by| shorten(&mut cluster.device.launch_overhead, by)),
    ("host dispatch", |cluster, by| shorten(&mut cluster.device.host_dispatch, by)),
    ("copies to and from the host", |cluster, by| {
        cluster.device.host.bandwidth = BytesPerSec(cluster.device.host.bandwidth.0 * by);
    }),
    ("memory bandwidth of the host", |cluster, by| {
        cluster.device.host.memory_bandwidth = BytesPerSec(cluster.device.host.memory_bandwidth.0 * by);
    }),
    ("drives of the host", |cluster, by| {
        cluster.device.host.storage_bandwidth = BytesPerSec(cluster.device.host.storage_bandwidth.0 * by);
    }),
    ("link bandwidth inside nodes", |cluster, by| {
        cluster.intra_link.bandwidth = BytesPerSec(cluster.intra_link.bandwidth.0 * by);
    }),
    ("link latency inside nodes", |cluster, by| shorten(&mut cluster.intra_link.latency, by)),
    ("network bandwidth", |cluster, by| {
        cluster.inter_link.bandwidth = BytesPerSec(cluster.inter_link.bandwidth.0 * by);
    }),
    ("network latency", |cluster, by| shorten(&mut cluster.inter_link.latency, by)),
];

#[expect(clippy::cast_possible_truncation, reason = "shorter than before")]
fn shorten(time: &mut Nanos, by: f64) {
    *time = Nanos((time.0 as f64 / by).round() as i64);
}

/// What is to be tried.
#[derive(Clone, Copy, Debug)]
enum Trial {
    Hardware(usize),
    Class(&'static str),
}

/// Every number of the hardware and every class of ops better by a factor, one simulation after the other.
#[derive(Clone, Debug)]
pub struct WhatIfStudy {
    left: VecDeque<Trial>,
    step_time: Nanos,
    factor: f64,
    found: Vec<WhatIf>,
}

impl WhatIfStudy {
    /// Of a simulated step.
    pub fn new(trace: &Trace, factor: f64) -> Self {
        let mut classes: Vec<&'static str> = trace.labels.iter().map(|label| label.class).collect();
        classes.sort_unstable();
        classes.dedup();
        let left = (0..HARDWARE.len()).map(Trial::Hardware).chain(classes.into_iter().map(Trial::Class)).collect();
        Self { left, step_time: trace.step_time, factor, found: Vec::new() }
    }

    /// The share that is done.
    pub fn share(&self) -> f32 {
        self.found.len() as f32 / (self.found.len() + self.left.len()).max(1) as f32
    }

    /// Tries the next; false when there is none.
    pub fn advance(&mut self, step: &StepGraph, scenario: &Scenario) -> bool {
        let Some(trial) = self.left.pop_front() else { return false };
        let (what, is_class, time) = match trial {
            Trial::Hardware(number) => {
                let (what, change) = HARDWARE[number];
                let mut cluster = scenario.cluster().clone();
                change(&mut cluster, self.factor);
                (what, false, step_time(step, &scenario.on_cluster(cluster)))
            }
            Trial::Class(class) => (class, true, step_time_if_faster(step, scenario, class, self.factor)),
        };
        let gain = 1.0 - time.secs() / self.step_time.secs().max(1e-12);
        self.found.push(WhatIf { what, is_class, step_time: time, gain });
        true
    }

    /// What was found so far, the largest gain first.
    pub fn found(&self) -> Vec<WhatIf> {
        let mut found = self.found.clone();
        found.sort_by(|a, b| b.gain.total_cmp(&a.gain).then(a.what.cmp(b.what)));
        found
    }
}

/// The whole study. `progress` is told the share done and returns whether to go on.
pub fn what_if(
    step: &StepGraph,
    scenario: &Scenario,
    trace: &Trace,
    factor: f64,
    progress: &mut dyn FnMut(f32) -> bool,
) -> Vec<WhatIf> {
    let mut study = WhatIfStudy::new(trace, factor);
    while progress(study.share()) && study.advance(step, scenario) {}
    study.found()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::lower;
    use crate::scenario::{check, preset_file};
    use crate::sim::simulate;

    fn matmul_gain_without_host() -> f64 {
        let mut file = preset_file("llama2-7b-8xh100").expect("a preset");
        file.strategy.cuda_graphs = true;
        let scenario = check(&file).expect("valid");
        let step = lower(&scenario);
        let list = what_if(&step, &scenario, &simulate(&step, &scenario), 2.0, &mut |_| true);
        list.iter().find(|change| change.what == "matmul rate").map_or(0.0, |change| change.gain)
    }

    #[test]
    fn better_hardware_is_never_slower_and_the_bottleneck_comes_first() {
        let scenario = Scenario::preset("llama2-7b-8xh100").expect("a preset");
        let step = lower(&scenario);
        let trace = simulate(&step, &scenario);
        let list = what_if(&step, &scenario, &trace, 2.0, &mut |_| true);
        assert!(list.iter().all(|change| change.gain >= 0.0), "{list:?}");
        let hardware: Vec<&WhatIf> = list.iter().filter(|change| !change.is_class).collect();
        assert_eq!(hardware[0].what, "matmul rate");
        // Twice the rate halves the matmuls at best; behind them the host decides how long the forward pass takes.
        let matmuls = list.iter().find(|change| change.what == "matmul").map_or(0.0, |change| change.gain);
        assert!(hardware[0].gain >= matmuls && hardware[0].gain < 0.5, "{list:?}");
        assert!(hardware[0].gain > 2.0 * hardware[1].gain, "{list:?}");
        assert!((0.3..0.5).contains(&matmul_gain_without_host()), "recorded graphs wait for no host");
        let again = what_if(&step, &scenario, &trace, 1.0, &mut |_| true);
        assert!(again.iter().all(|change| change.step_time == trace.step_time), "{again:?}");
    }
}
