//! Spans by track, for binary search.

use shardlab_engine::trace::{Span, Stream, Trace};

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
    /// Indices of its spans in the order of time.
    pub spans: Vec<u32>,
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
            Track { index, group, stage, ranks, stream, spans }
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

impl Track {
    /// The place of the first span that ends after `at` nanoseconds.
    pub fn first_after(&self, trace: &Trace, at: f64) -> usize {
        self.spans.partition_point(|&span| (trace.spans[span as usize].end().0 as f64) <= at)
    }

    /// The span at a place.
    pub fn span<'a>(&self, trace: &'a Trace, place: usize) -> Option<&'a Span> {
        self.spans.get(place).map(|&span| &trace.spans[span as usize])
    }
}
