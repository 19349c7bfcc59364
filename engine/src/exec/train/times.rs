//! What ran when, and what was in memory then.

use super::Trainer;
use crate::cluster::RankId;
use crate::exec::{Scope, ScopeTimes};
use crate::trace::{Flow, MemoryCurve, MemorySample, MemoryUse, Origin, Span, Stream, Trace, Track, TrackId};
use crate::units::{Bytes, Nanos};

impl Trainer {
    pub(super) fn trace(&self, times: &ScopeTimes) -> Trace {
        let mesh = self.step_graph.mesh;
        let ranks = (0..mesh.ranks()).map(RankId);
        let tracks = ranks.flat_map(|rank| {
            let stage = mesh.coordinates(rank).pp;
            Stream::ALL.map(|stream| Track { group: rank.0, stage, rank: rank.0, ranks: 1, stream, name: None })
        });
        let scopes = &self.recorded.recording.scopes;
        let mut spans = Vec::with_capacity(scopes.len());
        // The first span of every scope.
        let mut first = Vec::with_capacity(scopes.len());
        for (number, scope) in scopes.iter().enumerate() {
            first.push(u32::try_from(spans.len()).unwrap_or(u32::MAX));
            if self.between.is_some() && self.recorded.outer.contains(&number) {
                continue;
            }
            for rank in self.ranks_of(scope) {
                let Some(&(start, end)) = self.times_of(rank.0, times).get(number) else { continue };
                let index = rank.0 as usize * Stream::ALL.len() + scope.stream.index();
                let track = TrackId(u32::try_from(index).unwrap_or(u32::MAX));
                let (label, micro_batch) = (scope.label, scope.micro_batch);
                spans.push(Span { track, label, start, duration: end - start, micro_batch });
            }
        }
        let step_time = times.end();
        Trace {
            origin: Origin::Executed,
            labels: self.labels.clone(),
            tracks: tracks.collect(),
            spans,
            flows: self.recorded.flows.iter().map(|&(from, to)| Flow { from: first[from], to: first[to] }).collect(),
            host_waits: Vec::new(),
            memory: self.memory_curves(times),
            traffic: self.traffic(),
            step_time,
        }
    }

    fn ranks_of(&self, scope: &Scope) -> Vec<RankId> {
        match scope.group {
            Some(group) => self.step_graph.mesh.members(group, RankId(scope.rank)),
            None => vec![RankId(scope.rank)],
        }
    }

    /// The times of the scopes on the device of a rank.
    fn times_of<'a>(&self, rank: u32, times: &'a ScopeTimes) -> &'a [(Nanos, Nanos)] {
        times.at(self.backend.place_of(rank, self.step_graph.mesh.ranks()))
    }

    pub(super) fn reserved_curves(&self, times: &ScopeTimes) -> Vec<Vec<(Nanos, Bytes)>> {
        let curve = |(rank, reserved): (u32, &Vec<(usize, Bytes)>)| {
            let times = self.times_of(rank, times);
            let at = |scope: usize| times.get(scope).or(times.last()).map_or(Nanos::ZERO, |&(start, _)| start);
            reserved.iter().map(|&(scope, bytes)| (at(scope), bytes)).collect()
        };
        (0..).zip(&self.recorded.reserved).map(curve).collect()
    }

    fn memory_curves(&self, times: &ScopeTimes) -> Vec<MemoryCurve> {
        let curve = |(rank, memory): (u32, &Vec<(usize, MemoryUse)>)| {
            let of_rank = self.times_of(rank, times);
            let at = |scope: usize| of_rank.get(scope).map_or(times.end(), |&(start, _)| start);
            let stage = self.step_graph.mesh.coordinates(RankId(rank)).pp;
            let samples = memory.iter().map(|&(scope, used)| MemorySample { at: at(scope), used }).collect();
            MemoryCurve { group: rank, stage, samples }
        };
        (0..).zip(&self.recorded.memory).map(curve).collect()
    }
}
