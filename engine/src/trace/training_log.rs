//! What a training run has written down about itself.

use serde::Serialize;

/// A step of a run as its log tells it; what a log does not say is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LogStep {
    /// Its number.
    pub step: u64,
    /// Training loss.
    pub loss: Option<f64>,
    /// Norm of all gradients.
    pub gradient_norm: Option<f64>,
    /// Learning rate.
    pub learning_rate: Option<f64>,
    /// Seconds of the step: as written, or between this line and the one before, divided by the steps between them.
    pub seconds: Option<f64>,
    /// Tokens in a second: of one device as torchtitan writes it.
    pub tokens_per_s: Option<f64>,
    /// FLOP/s of one device, in units of 10¹².
    pub tflops: Option<f64>,
    /// Model FLOPs utilisation, as a share of one.
    pub mfu: Option<f64>,
    /// Steps that were skipped since the last line, for example because a gradient was not finite.
    pub skipped: Option<u64>,
}

/// A run as its log tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TrainingLog {
    /// Whose lines they are: `Megatron-LM`, `torchtitan` or `NeMo`.
    pub framework: &'static str,
    /// In their order, each step once.
    pub steps: Vec<LogStep>,
    /// Lines that were no steps.
    pub other_lines: usize,
}
