//! Checks that a trace is one that any viewer can draw.

use super::{Nanos, Trace};

/// Why a trace is malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// Two spans of one track are on it at the same time.
    #[error("spans {first} and {second} overlap on track {track}")]
    Overlap {
        /// Index of the earlier span.
        first: usize,
        /// Index of the later span.
        second: usize,
        /// Index of the track.
        track: u32,
    },
    /// A span lies outside the step.
    #[error("span {span} starts before zero, has a negative duration or ends after the step")]
    OutsideStep {
        /// Index of the span.
        span: usize,
    },
    /// A receive ends before its send has started.
    #[error("flow {flow} arrives before it was sent")]
    FlowBackwards {
        /// Index of the flow.
        flow: usize,
    },
}

impl Trace {
    /// Checks that spans lie within the step, do not overlap on a track, and that flows go forward in time.
    pub fn verify(&self) -> Result<(), TraceError> {
        self.verify_spans()?;
        for (flow, ends) in self.flows.iter().enumerate() {
            if self.spans[ends.to as usize].end() < self.spans[ends.from as usize].start {
                return Err(TraceError::FlowBackwards { flow });
            }
        }
        Ok(())
    }

    /// Whether spans and flows refer to labels, tracks and spans that are there: of a trace that was read, before anything
    /// else is asked of it.
    pub fn refers_to_itself(&self) -> bool {
        let (labels, tracks, spans) = (self.labels.len(), self.tracks.len(), self.spans.len());
        let is_span = |index: u32| (index as usize) < spans;
        self.spans.iter().all(|span| (span.label.0 as usize) < labels && (span.track.0 as usize) < tracks)
            && self.spans.iter().all(|span| span.start.0.checked_add(span.duration.0).is_some())
            && self.flows.iter().all(|flow| is_span(flow.from) && is_span(flow.to))
    }

    fn verify_spans(&self) -> Result<(), TraceError> {
        let mut order: Vec<usize> = (0..self.spans.len()).collect();
        order.sort_by_key(|&i| (self.spans[i].track, self.spans[i].start, self.spans[i].end()));
        for &span in &order {
            let s = &self.spans[span];
            if s.start < Nanos::ZERO || s.duration < Nanos::ZERO || s.end() > self.step_time {
                return Err(TraceError::OutsideStep { span });
            }
        }
        for pair in order.windows(2) {
            let (a, b) = (&self.spans[pair[0]], &self.spans[pair[1]]);
            if a.track == b.track && b.start < a.end() {
                return Err(TraceError::Overlap { first: pair[0], second: pair[1], track: a.track.0 });
            }
        }
        Ok(())
    }
}
