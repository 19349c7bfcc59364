//! Collectives by group, size and kind, with the columns of nccl-tests: algorithm bandwidth is size over time, bus bandwidth
//! what the busiest link must have carried (nccl-tests, PERFORMANCE.md).

use std::collections::BTreeMap;

use serde::Serialize;

use super::Busy;
use super::intervals::Intervals;
use crate::trace::{Activity, Imported, Name, Span};
use crate::units::{Bytes, BytesPerSec, Nanos};

/// Group, its ranks, the collective, and its size.
type Key = (Name, u32, &'static str, Bytes);

/// All runs of a collective of one size in one kind of group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CollectiveRow {
    /// What the group is called; empty where the file does not say.
    pub group: Name,
    /// Its ranks; 0 where the file does not say.
    pub ranks: u32,
    /// Which collective: `all_reduce`, `all_gather`, …
    pub class: &'static str,
    /// Of the larger side of one rank; 0 where the file does not say.
    pub size: Bytes,
    /// How often it ran, on all ranks of the trace.
    pub count: u64,
    /// How long, together.
    pub time: Nanos,
    /// The shortest run, in which nobody waits for a rank that comes late.
    pub min: Nanos,
    /// The longest.
    pub max: Nanos,
    /// Of the time, that in which its rank computes nothing.
    pub exposed: Nanos,
}

impl CollectiveRow {
    /// How long in the mean.
    pub fn mean(&self) -> Nanos {
        Nanos(self.time.0 / i64::try_from(self.count.max(1)).unwrap_or(i64::MAX))
    }

    /// Size over the mean time; none where the size is not known.
    pub fn algorithm_bandwidth(&self) -> Option<BytesPerSec> {
        let moved = self.size.as_f64() * self.count as f64;
        (self.size > Bytes::ZERO && self.time > Nanos::ZERO).then(|| BytesPerSec(moved / self.time.secs()))
    }

    /// The same times what the busiest link carries of a byte; none where the ranks are not known either.
    pub fn bus_bandwidth(&self) -> Option<BytesPerSec> {
        let ranks = f64::from(self.ranks);
        let factor = match self.class {
            _ if self.ranks == 0 => return None,
            "all_reduce" => 2.0 * (ranks - 1.0) / ranks,
            "all_gather" | "reduce_scatter" | "all_to_all" => (ranks - 1.0) / ranks,
            _ => 1.0,
        };
        self.algorithm_bandwidth().map(|bandwidth| BytesPerSec(bandwidth.0 * factor))
    }
}

/// The collectives of a trace, those first of which most is exposed.
pub fn collectives(imported: &Imported) -> Vec<CollectiveRow> {
    let computing: Vec<Intervals> =
        Busy::by_group(imported).into_iter().map(|busy| Intervals::of(busy.compute)).collect();
    let mut rows: BTreeMap<Key, CollectiveRow> = BTreeMap::new();
    let mut spans: BTreeMap<(u32, Key), Vec<(Nanos, Nanos)>> = BTreeMap::new();
    for span in imported.trace.spans.iter().filter(|span| imported.activity(span) == Activity::Communication) {
        let key = key(imported, span);
        let row = rows.entry(key.clone()).or_insert_with(|| CollectiveRow {
            group: key.0.clone(),
            ranks: key.1,
            class: key.2,
            size: key.3,
            count: 0,
            time: Nanos::ZERO,
            min: span.duration,
            max: span.duration,
            exposed: Nanos::ZERO,
        });
        (row.count, row.time) = (row.count + 1, row.time + span.duration);
        (row.min, row.max) = (row.min.min(span.duration), row.max.max(span.duration));
        spans.entry((imported.trace.track(span).group, key)).or_default().push((span.start, span.end()));
    }
    for ((group, key), spans) in spans {
        let (Some(row), Some(computing)) = (rows.get_mut(&key), computing.get(group as usize)) else { continue };
        let communicating = Intervals::of(spans);
        row.exposed += communicating.length() - communicating.common(computing);
    }
    let mut rows: Vec<CollectiveRow> = rows.into_values().collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.exposed), std::cmp::Reverse(row.time)));
    rows
}

fn key(imported: &Imported, span: &Span) -> Key {
    let (label, of) = (imported.trace.label(span), imported.collectives.get(&span.label));
    let (group, ranks) = of.map_or_else(|| ("".into(), 0), |of| (of.group.clone(), of.ranks));
    // What this program wrote says what a rank sends, not how large the message is.
    let track = imported.trace.track(span);
    let is_ours = track.name() == track.stream.name();
    (group, ranks, label.class, if is_ours { Bytes::ZERO } else { Bytes(label.bytes) })
}
