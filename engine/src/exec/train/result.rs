//! What a step gave.

use std::collections::BTreeMap;

use crate::exec::{HostTime, PoolStatistics};
use crate::scenario::Scenario;
use crate::trace::Trace;
use crate::units::{Bytes, Nanos};

/// What one training step gave.
#[derive(Clone, Debug)]
pub struct StepResult {
    /// Its number, from 1.
    pub step: u32,
    /// Mean cross-entropy over the batch in nats, before the update.
    pub loss: f64,
    /// Norm of the whole gradient, before clipping.
    pub gradient_norm: f64,
    /// The loss scale, in fp16.
    pub loss_scale: Option<f64>,
    /// Whether gradients were not finite, so that nothing was updated.
    pub skipped: bool,
    /// From feeding the batch to having the loss, on the host's clock.
    pub wall: Nanos,
    /// Kernel calls.
    pub calls: usize,
    /// What they cost the host, where that is measured.
    pub host: Option<HostTime>,
    /// Tokens of the batch over `wall`.
    pub tokens_per_s: f64,
    /// What the pool of every rank handed out.
    pub pools: Vec<PoolStatistics>,
    /// Bytes of the buffers that every rank needed, from a moment of the trace on.
    pub pool_reserved: Vec<Vec<(Nanos, Bytes)>>,
    /// Bytes of all buffers on the device.
    pub reserved: Bytes,
    /// What ran when.
    pub trace: Trace,
}

impl StepResult {
    /// The share of the step in which no rank ran anything: feeding, reading back, and gaps between ops.
    pub fn outside_kernels(&self) -> f64 {
        let mut spans: Vec<(Nanos, Nanos)> =
            self.trace.spans.iter().map(|span| (span.start, span.start + span.duration)).collect();
        spans.sort_unstable();
        let (mut busy, mut last) = (Nanos::ZERO, Nanos::ZERO);
        for (start, end) in spans {
            busy += (end - start.max(last)).max(Nanos::ZERO);
            last = last.max(end);
        }
        1.0 - busy.secs() / self.wall.secs().max(1e-12)
    }

    /// Bytes moved between ranks, by axis.
    pub fn moved(&self) -> Vec<(&'static str, Bytes)> {
        let mut moved: BTreeMap<&'static str, Bytes> = BTreeMap::new();
        for sent in &self.trace.traffic {
            *moved.entry(sent.axis).or_default() += sent.bytes;
        }
        moved.into_iter().collect()
    }

    /// Nanoseconds in which the host writes one call down, where that is measured.
    pub fn encoding_per_call(&self) -> Option<f64> {
        let host = self.host?;
        Some(host.encoding.0 as f64 / self.calls.max(1) as f64)
    }

    /// Tokens per second, or samples where the model knows no sequences.
    pub fn throughput(&self, scenario: &Scenario) -> f64 {
        if scenario.model().has_sequences() {
            return self.tokens_per_s;
        }
        self.tokens_per_s * scenario.step_samples() as f64 / scenario.step_tokens() as f64
    }
}
