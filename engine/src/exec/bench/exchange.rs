//! Collectives between ranks that share the device, with the columns of nccl-tests.

use super::figures::size;
use super::{Bench, Exchanged, Figure, LONGEST_CALL, Section};
use crate::exec::calibrate::scopes_of_one;
use crate::exec::collectives::{Member, Ring};
use crate::exec::{BufferId, Dispatch, ExecError, Recording, Slice};
use crate::graph::{Collective, Reduction};
use crate::units::{BytesPerSec, Nanos};

/// Ranks that take part.
const RANKS: u32 = 4;

/// A way to exchange, its name in nccl-tests, and what a ring sends at least of the bytes that count, for `n` ranks: by
/// that algorithm bandwidth becomes bus bandwidth (nccl-tests, PERFORMANCE.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exchange {
    Collective(Collective),
    TreeAllReduce,
    Broadcast,
}

const EXCHANGES: [(&str, Exchange); 7] = [
    ("all_reduce", Exchange::Collective(Collective::AllReduce(Reduction::Sum))),
    ("all_reduce, tree", Exchange::TreeAllReduce),
    ("reduce_scatter", Exchange::Collective(Collective::ReduceScatter)),
    ("all_gather", Exchange::Collective(Collective::AllGather)),
    ("alltoall", Exchange::Collective(Collective::AllToAll)),
    ("broadcast", Exchange::Broadcast),
    ("sendrecv", Exchange::Collective(Collective::Shift)),
];

fn bus_factor(exchange: Exchange) -> f64 {
    let n = f64::from(RANKS);
    match exchange {
        Exchange::Collective(Collective::AllReduce(_)) | Exchange::TreeAllReduce => 2.0 * (n - 1.0) / n,
        Exchange::Collective(Collective::Shift) | Exchange::Broadcast => 1.0,
        Exchange::Collective(_) => (n - 1.0) / n,
    }
}

impl Bench<'_> {
    /// Every way to exchange over sizes.
    pub(super) async fn collectives(&mut self) -> Result<(), ExecError> {
        let largest = 4_u64 << 20;
        let buffers: Vec<[BufferId; 3]> = (0..RANKS).map(|_| [(); 3].map(|()| self.backend.create(largest))).collect();
        for (name, exchange) in EXCHANGES {
            let mut bytes = 64_u64 << 10;
            while bytes <= largest {
                self.tell("collectives")?;
                let nanos = self.exchange(name, exchange, bytes, &buffers).await?;
                if nanos > LONGEST_CALL {
                    break;
                }
                bytes *= 8;
            }
        }
        Ok(())
    }

    async fn exchange(
        &mut self,
        name: &str,
        exchange: Exchange,
        bytes: u64,
        buffers: &[[BufferId; 3]],
    ) -> Result<Nanos, ExecError> {
        let members: Vec<Member> = buffers.iter().map(|buffers| member(exchange, bytes, *buffers)).collect();
        let mut calls: Vec<Dispatch> = Vec::new();
        let mut ring = Ring::new(&members, &mut calls);
        match exchange {
            Exchange::Collective(collective) => ring.run(collective),
            Exchange::TreeAllReduce => ring.tree_all_reduce(),
            Exchange::Broadcast => ring.broadcast(),
        }
        let moved = ring.moved();
        let scopes = scopes_of_one(u32::try_from(calls.len()).unwrap_or(u32::MAX));
        let recording = Recording { dispatches: calls, scopes };
        self.backend.prepare(&recording).await?;
        let mut times = Vec::new();
        let mut wrong = 0;
        for round in 0..4 {
            self.fill(&members);
            let of_scopes = self.backend.replay(&recording).await?.of_one();
            if round == 0 {
                wrong = self.wrong(exchange, &members).await?;
            } else {
                times.push(of_scopes.first().map_or(Nanos(1), |&(start, end)| end - start));
            }
        }
        times.sort_unstable();
        let nanos = times[times.len() / 2].max(Nanos(1));
        let mut figure = Figure::bandwidth(Section::Collectives, format!("{name} {}", size(bytes)), nanos, bytes);
        let (algbw, busbw, count) = (figure.value, figure.value * bus_factor(exchange), bytes / 4);
        figure.exchanged = Some(Exchanged { ranks: RANKS, count, algbw, busbw, moved, wrong });
        figure.detail = format!(
            "{RANKS} ranks, count {count}, type float, algbw {}, busbw {}, moved {}, #wrong {wrong}",
            BytesPerSec(algbw),
            BytesPerSec(busbw),
            size(moved)
        );
        self.add(figure);
        Ok(nanos)
    }

    /// Rank `r` brings `(r + 1)·(1 + i mod 97)`: whole numbers, whose sums are exact.
    fn fill(&mut self, members: &[Member]) {
        for (rank, member) in members.iter().enumerate() {
            let n = member.input.size / 4;
            let words: Vec<u32> = (0..n).map(|i| brought(rank, i).to_bits()).collect();
            self.backend.write(member.input.buffer, member.input.offset, &words);
        }
    }

    /// Elements that are not what they should be, over all ranks.
    async fn wrong(&mut self, exchange: Exchange, members: &[Member]) -> Result<u64, ExecError> {
        let mut wrong = 0;
        for (rank, member) in members.iter().enumerate() {
            let (output, of_rank) = (member.output, member.input.size / 4);
            let words = usize::try_from(output.size / 4).unwrap_or(0);
            let found = self.backend.read(output.buffer, output.offset, words).await?;
            let expected = (0_u64..).map(|i| expected(exchange, rank, i, of_rank));
            wrong += found.iter().zip(expected).filter(|(found, expected)| **found != *expected).count() as u64;
        }
        Ok(wrong)
    }
}

fn brought(rank: usize, i: u64) -> f32 {
    ((rank as u64 + 1) * (1 + i % 97)) as f32
}

/// Element `i` of what `rank` has afterwards, where every rank brought `of_rank` elements.
fn expected(exchange: Exchange, rank: usize, i: u64, of_rank: u64) -> f32 {
    let n = RANKS as usize;
    let sum = |i: u64| (0..n).map(|rank| brought(rank, i)).sum();
    let chunk = of_rank / u64::from(RANKS);
    match exchange {
        Exchange::Collective(Collective::AllReduce(_)) | Exchange::TreeAllReduce => sum(i),
        Exchange::Collective(Collective::ReduceScatter | Collective::Push) => sum(rank as u64 * chunk + i),
        Exchange::Collective(Collective::AllGather | Collective::Pull) => {
            brought(usize::try_from(i / of_rank).unwrap_or(0), i % of_rank)
        }
        Exchange::Collective(Collective::AllToAll | Collective::AllToAllOnce { .. }) => {
            brought(usize::try_from(i / chunk).unwrap_or(0), rank as u64 * chunk + i % chunk)
        }
        Exchange::Collective(Collective::Shift) => brought((rank + n - 1) % n, i),
        Exchange::Broadcast => brought(0, i),
    }
}

/// The buffers of a rank: what it brings, what it gets, and room for a chunk. `bytes` are those that nccl-tests counts: the
/// larger of both.
fn member(exchange: Exchange, bytes: u64, [input, output, scratch]: [BufferId; 3]) -> Member {
    let part = bytes / u64::from(RANKS);
    let slice = |buffer, size| Slice::of_words(buffer, 0, size);
    let (brings, gets) = match exchange {
        Exchange::Collective(Collective::ReduceScatter) => (bytes, part),
        Exchange::Collective(Collective::AllGather) => (part, bytes),
        _ => (bytes, bytes),
    };
    let in_place = matches!(
        exchange,
        Exchange::Collective(Collective::AllReduce(_)) | Exchange::TreeAllReduce | Exchange::Broadcast
    );
    let output = if in_place { slice(input, gets) } else { slice(output, gets) };
    Member { input: slice(input, brings), output, scratch: Some(slice(scratch, bytes)) }
}
