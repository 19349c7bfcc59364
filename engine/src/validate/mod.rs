//! Predictions against published measurements: for every measured run its scenario, its simulated step, and how far
//! apart they are.
//!
//! * `measurement` is a row of the file as it is written,
//! * `build` makes a scenario of it, or says what is missing,
//! * `framework` knows what frameworks do unless they are told otherwise,
//! * `collectives` does the same with bandwidths in the style of nccl-tests,
//! * `score` sums up errors, ranks and choices.

mod build;
mod collectives;
mod fit;
mod framework;
mod measurement;
mod score;
mod table;

pub use build::{Built, build};
pub use collectives::{
    CollectiveOutcome, CollectiveRow, CollectiveScore, collectives_table, is_collectives, predict_collective,
    read_collectives, score_collectives,
};
pub use fit::{Fitted, fit};
pub use measurement::{CountedMemory, Measurement, ReadError, read};
pub use score::{Regret, Summary, regrets, summarise};
use serde::Serialize;
pub use table::{calibration_toml, summaries, validation_table};

use crate::analysis::{Breakdown, reserved, step_report};
use crate::graph::lower;
use crate::sim::simulate;
use crate::units::Bytes;

/// A prediction beside its measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Prediction {
    /// Step time in seconds.
    pub predicted_step_s: f64,
    /// Measured step time in seconds.
    pub measured_step_s: f64,
    /// Tokens per second and device.
    pub predicted_tokens_per_s_per_gpu: f64,
    /// Model FLOPs utilisation.
    pub predicted_mfu: f64,
    /// Peak of the stage that needs the most: what the source counts.
    pub predicted_peak_memory_bytes: Bytes,
    /// Measured peak.
    pub measured_peak_memory_bytes: Option<Bytes>,
    /// Where the predicted time goes on the busiest stage.
    pub breakdown: Breakdown,
    /// What the source does not say and was taken to be.
    pub assumed: Vec<String>,
}

impl Prediction {
    /// Predicted over measured step time, minus one.
    pub fn error(&self) -> f64 {
        self.predicted_step_s / self.measured_step_s - 1.0
    }

    /// The same of peak memory, where it was measured.
    pub fn memory_error(&self) -> Option<f64> {
        let measured = self.measured_peak_memory_bytes.filter(|bytes| bytes.0 > 0)?;
        Some(self.predicted_peak_memory_bytes.as_f64() / measured.as_f64() - 1.0)
    }
}

/// A row of the file and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its identifier in the file.
    pub id: String,
    /// Its source.
    pub source: String,
    /// The device as the file names it.
    pub gpu: String,
    /// `A`, `B` or `C`.
    pub quality: String,
    /// The prediction, or why there is none.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What is the same in rows that differ in strategy alone.
    #[serde(skip)]
    pub workload: String,
}

/// The prediction of a row, or why there is none.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// It was simulated.
    Predicted(Box<Prediction>),
    /// It was left out.
    LeftOut {
        /// Why.
        left_out: String,
    },
}

impl Row {
    /// The prediction, if there is one.
    pub fn prediction(&self) -> Option<&Prediction> {
        match &self.outcome {
            Outcome::Predicted(prediction) => Some(prediction),
            Outcome::LeftOut { .. } => None,
        }
    }
}

/// Simulates one measured run.
pub fn predict(measurement: &Measurement) -> Row {
    let outcome = match build(measurement) {
        Ok(built) => Outcome::Predicted(Box::new(simulate_built(&built))),
        Err(left_out) => Outcome::LeftOut { left_out },
    };
    Row {
        id: measurement.id.clone(),
        source: measurement.source_key.clone(),
        gpu: measurement.gpu_type.clone(),
        quality: measurement.quality.clone(),
        outcome,
        workload: measurement.workload(),
    }
}

fn simulate_built(built: &Built) -> Prediction {
    let step = lower(&built.scenario);
    let trace = simulate(&step, &built.scenario);
    let report = step_report(&step, &built.scenario, &trace);
    Prediction {
        predicted_step_s: report.step_time.secs(),
        measured_step_s: built.measured_step_s,
        predicted_tokens_per_s_per_gpu: report.tokens_per_s / f64::from(built.scenario.mesh().ranks()),
        predicted_mfu: report.mfu,
        predicted_peak_memory_bytes: match built.counted_memory {
            CountedMemory::InUse => report.fit.needed,
            CountedMemory::Reserved => reserved(&step, report.fit.stage).reserved,
            CountedMemory::Device => reserved(&step, report.fit.stage).reserved + report.fit.beside.total(),
        },
        measured_peak_memory_bytes: built.measured_peak_memory,
        breakdown: report.breakdown,
        assumed: built.assumed.clone(),
    }
}
