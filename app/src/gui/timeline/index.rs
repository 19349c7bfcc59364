//! Spans by track, for binary search.

use shardlab_engine::trace::{Name, Phase, Span, Stream, Trace};
use shardlab_engine::units::Nanos;

/// Neighbouring kernels of the same micro-batch and phase: what is drawn where single ones are too narrow.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// Start of the first.
    pub start: Nanos,
    /// End of the last.
    pub end: Nanos,
    /// The part of the step.
    pub phase: Phase,
    /// The micro-batch, or [`Span::NO_MICRO_BATCH`].
    pub micro_batch: u32,
}

/// A stream with its spans.
#[derive(Debug)]
pub struct Track {
    /// Index in the trace.
    pub index: usize,
    /// The group of ranks.
    pub group: u32,
    /// Its pipeline stage.
    pub stage: u32,
    /// How many ranks it stands for.
    pub ranks: u32,
    /// The stream.
    pub stream: Stream,
    /// What another tool calls it.
    pub name: Option<Name>,
    /// Indices of its spans in the order of time.
    pub spans: Vec<u32>,
    /// The same in blocks; only of kernels.
    pub blocks: Vec<Block>,
}

/// The streams that have spans.
#[derive(Debug, Default)]
pub struct TrackIndex {
    /// In the order of the trace.
    pub tracks: Vec<Track>,
}

impl TrackIndex {
    /// Sorts the spans of a trace into tracks.
    pub fn new(trace: &Trace) -> Self {
        let mut spans: Vec<Vec<u32>> = vec![Vec::new(); trace.tracks.len()];
        for (index, span) in (0..).zip(&trace.spans) {
            spans[span.track.0 as usize].push(index);
        }
        let tracks = spans.into_iter().enumerate().zip(&trace.tracks).filter(|((_, spans), _)| !spans.is_empty());
        let tracks = tracks.map(|((index, mut spans), track)| {
            spans.sort_by_key(|&span| trace.spans[span as usize].start);
            let (group, stage, ranks, stream) = (track.group, track.stage, track.ranks, track.stream);
            let has_blocks = stream == Stream::Compute && track.name.is_none();
            let blocks = if has_blocks { blocks(trace, &spans) } else { Vec::new() };
            Track { index, group, stage, ranks, stream, name: track.name.clone(), spans, blocks }
        });
        Self { tracks: tracks.collect() }
    }

    /// The track of a span and its place on it.
    pub fn find(&self, trace: &Trace, span: u32) -> Option<(&Track, usize)> {
        let wanted = &trace.spans[span as usize];
        let track = self.tracks.iter().find(|track| track.index == wanted.track.0 as usize)?;
        let place = track.spans.iter().position(|&other| other == span)?;
        Some((track, place))
    }
}

/// A wait that is longer than this share of the step is seen when all of the step is, and ends a block.
const VISIBLE: i64 = 400;

/// Joins neighbours of the same micro-batch and phase. Recomputation belongs to the backward pass that needs it.
fn blocks(trace: &Trace, spans: &[u32]) -> Vec<Block> {
    let visible = Nanos(trace.step_time.0 / VISIBLE);
    let joins = |last: &Block, phase: Phase, span: &Span| {
        last.phase == phase && last.micro_batch == span.micro_batch && span.start - last.end <= visible
    };
    let mut blocks: Vec<Block> = Vec::new();
    for span in spans.iter().map(|&index| &trace.spans[index as usize]) {
        let phase = match trace.label(span).phase {
            Phase::Recompute => Phase::Backward,
            phase => phase,
        };
        match blocks.last_mut() {
            Some(last) if joins(last, phase, span) => last.end = span.end(),
            _ => blocks.push(Block { start: span.start, end: span.end(), phase, micro_batch: span.micro_batch }),
        }
    }
    blocks
}

impl Track {
    /// The place of the first span that ends after `at` nanoseconds.
    pub fn first_after(&self, trace: &Trace, at: f64) -> usize {
        self.spans.partition_point(|&span| (trace.spans[span as usize].end().0 as f64) <= at)
    }

    /// The same from a place on, in steps that double: what is near is found without looking far in memory.
    pub fn next_after(&self, trace: &Trace, place: usize, at: f64) -> usize {
        let is_before = |span: &u32| (trace.spans[*span as usize].end().0 as f64) <= at;
        let mut reach = 1;
        while self.spans.get(place + reach).is_some_and(is_before) {
            reach *= 2;
        }
        let (from, to) = (place + reach / 2, (place + reach).min(self.spans.len()));
        from + self.spans[from..to].partition_point(is_before)
    }

    /// The span at a place.
    pub fn span<'a>(&self, trace: &'a Trace, place: usize) -> Option<&'a Span> {
        self.spans.get(place).map(|&span| &trace.spans[span as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::TrackIndex;
    use shardlab_engine::report::import_trace;

    #[test]
    fn from_a_place_on_the_same_span_is_found_as_among_all() {
        let slices: Vec<String> = (0..70)
            .map(|slice| {
                format!(r#"{{"ph":"X","name":"a","pid":1,"tid":1,"ts":{},"dur":{}}}"#, slice * 10, 1 + slice % 9)
            })
            .collect();
        let imported = import_trace("a.json", format!("[{}]", slices.join(",")).as_bytes()).expect("a trace");
        let index = TrackIndex::new(&imported.trace);
        let track = &index.tracks[0];
        for place in 0..70 {
            for at in (0..720_000).step_by(500).map(f64::from) {
                let found = track.first_after(&imported.trace, at);
                assert_eq!(track.next_after(&imported.trace, place, at), found.max(place), "{place} {at}");
            }
        }
    }
}
