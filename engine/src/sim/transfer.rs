//! Something large on its way to many nodes, chunk by chunk.
//!
//! A connection has streams; each sends a chunk, and the next when the receiver has checked and acknowledged it. A node hands
//! a chunk on when it has all of it. Programs are fixed, so a chunk starts at the latest of its arrival at the sender and its
//! stream: no event queue is needed. A stream goes as fast as its share of the sender's adapter, its window in a round trip,
//! and loss allow (Mathis et al. 1997, "The macroscopic behavior of the TCP congestion avoidance algorithm", equation 3).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde::Serialize;

use super::draw::unit;
use crate::scenario::transfer::{Transfer, TransferMethod};
use crate::units::{Bytes, BytesPerSec, Nanos};

/// Bytes of a packet's content: an Ethernet frame's 1500 less headers of IP and TCP.
const PACKET: f64 = 1460.0;
/// How often a chunk is sent again before the connection is given up.
const TRIES: u32 = 100;

/// What became of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Handed {
    /// Who handed it on to whom.
    pub method: TransferMethod,
    /// Until every node has all of it, checked and decompressed.
    pub time: Nanos,
    /// Until the first has.
    pub first: Nanos,
    /// Bytes that all nodes sent.
    pub sent: Bytes,
    /// Of these, those that were sent again since a checksum did not match.
    pub resent: Bytes,
    /// What one stream reaches.
    pub stream: BytesPerSec,
    /// What holds a stream back: `bandwidth`, `window` or `loss`.
    pub bound: &'static str,
    /// The chance that any node ends up with a copy that is wrong and nobody knows.
    pub wrong: f64,
}

/// The time in which no way of handing it out can be faster: every node receives all the time at its adapter's rate.
pub fn ideal(transfer: &Transfer) -> Nanos {
    transfer.size / transfer.bandwidth + transfer.latency
}

/// What a stream reaches where `share` is its part of an adapter, and what holds it back.
pub fn stream_rate(transfer: &Transfer, share: f64) -> (BytesPerSec, &'static str) {
    let trip = 2.0 * transfer.latency.secs();
    let limits = [
        (share, "bandwidth"),
        (if trip > 0.0 { transfer.window.as_f64() / trip } else { f64::INFINITY }, "window"),
        (
            if trip > 0.0 && transfer.loss > 0.0 {
                PACKET / trip * libm::sqrt(1.5 / transfer.loss)
            } else {
                f64::INFINITY
            },
            "loss",
        ),
    ];
    let least = limits.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or(limits[0]);
    (BytesPerSec(least.0.max(1.0)), least.1)
}

/// Plays a transfer by a method; the same seed draws the same.
pub fn hand_out(transfer: &Transfer, method: TransferMethod, seed: u64) -> Handed {
    let mut player = Player::new(transfer, method, seed);
    match method {
        TransferMethod::ScatterGather => player.scatter_gather(),
        TransferMethod::Direct | TransferMethod::Tree | TransferMethod::Chain => player.hand_on(),
    }
    player.finish()
}

/// Of a tree in which every node sends to `fanout` others, who sends to node `receiver` (from 1; 0 is the source).
fn parent(method: TransferMethod, fanout: u32, receiver: u32) -> u32 {
    match method {
        TransferMethod::Direct | TransferMethod::ScatterGather => 0,
        TransferMethod::Chain => receiver - 1,
        TransferMethod::Tree => (receiver - 1) / fanout,
    }
}

struct Player<'a> {
    transfer: &'a Transfer,
    method: TransferMethod,
    random: ChaCha8Rng,
    /// The chance that a chunk arrives changed.
    changed: f64,
    /// When every node has all of it.
    done: Vec<Nanos>,
    sent: u64,
    resent: u64,
    slowest: (BytesPerSec, &'static str),
}

impl<'a> Player<'a> {
    fn new(transfer: &'a Transfer, method: TransferMethod, seed: u64) -> Self {
        let changed = changed(transfer, transfer.chunk.as_f64() * transfer.compression);
        let slowest = (BytesPerSec(f64::INFINITY), "bandwidth");
        let random = ChaCha8Rng::seed_from_u64(seed);
        Self { transfer, method, random, changed, done: Vec::new(), sent: 0, resent: 0, slowest }
    }

    /// Bytes of every chunk on the wire: the last is what is left.
    fn chunks(&self) -> Vec<Bytes> {
        let Transfer { size, chunk, compression, .. } = *self.transfer;
        let count = size.0.div_ceil(chunk.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a size")]
        let wire = |bytes: u64| Bytes(((bytes as f64 * compression) as u64).max(1));
        (0..count).map(|number| wire(chunk.0.min(size.0 - number * chunk.0))).collect()
    }

    /// When the source has each chunk ready: at once, or as it is compressed.
    fn at_source(&self, chunks: &[Bytes]) -> Vec<Nanos> {
        let Transfer { size, chunk, compression, compress_rate, .. } = *self.transfer;
        let ready = |number: usize| {
            let bytes = Bytes(chunk.0.saturating_mul(number as u64 + 1).min(size.0));
            if compression < 1.0 { bytes / compress_rate } else { Nanos::ZERO }
        };
        (0..chunks.len()).map(ready).collect()
    }

    /// Every node gets all chunks from its parent, in order.
    fn hand_on(&mut self) {
        let (chunks, receivers, fanout) = (self.chunks(), self.transfer.receivers, self.transfer.fanout);
        let mut children = vec![0_u32; receivers as usize + 1];
        (1..=receivers).for_each(|node| children[parent(self.method, fanout, node) as usize] += 1);
        let mut left = children.clone();
        let mut arrived: Vec<Vec<Nanos>> = vec![Vec::new(); receivers as usize + 1];
        arrived[0] = self.at_source(&chunks);
        for node in 1..=receivers {
            let from = parent(self.method, fanout, node) as usize;
            let times = self.connection(&chunks, &arrived[from], children[from]);
            self.done.push(self.usable(&times));
            left[from] -= 1;
            if left[from] == 0 {
                arrived[from] = Vec::new();
            }
            if children[node as usize] > 0 {
                arrived[node as usize] = times;
            }
        }
    }

    /// When chunks arrive over a connection whose sender has as many of them.
    fn connection(&mut self, chunks: &[Bytes], there: &[Nanos], connections: u32) -> Vec<Nanos> {
        let Transfer { streams, latency, checksums, checksum_rate, bandwidth, .. } = *self.transfer;
        let share = bandwidth.0 / (f64::from(streams) * f64::from(connections.max(1)));
        let (rate, bound) = stream_rate(self.transfer, share);
        if rate.0 < self.slowest.0.0 {
            self.slowest = (rate, bound);
        }
        let mut free = vec![Nanos::ZERO; streams as usize];
        let mut arrived = Vec::with_capacity(chunks.len());
        for (&bytes, &there) in chunks.iter().zip(there) {
            let stream = (0..free.len()).min_by_key(|&stream| free[stream]).unwrap_or(0);
            let check = if checksums { bytes / checksum_rate } else { Nanos::ZERO };
            let once = bytes / rate + latency + check;
            let times = if checksums { 1 + self.repeats() } else { 1 };
            self.sent += bytes.0 * u64::from(times);
            self.resent += bytes.0 * u64::from(times - 1);
            // Each time the sender hears of it before it goes on.
            let start = there.max(free[stream]);
            let last = start + (once + latency) * i64::from(times - 1) + once;
            free[stream] = last + latency;
            arrived.push(last);
        }
        arrived
    }

    /// How often a chunk is sent again.
    fn repeats(&mut self) -> u32 {
        if self.changed <= 0.0 {
            return 0;
        }
        (0..TRIES).take_while(|_| unit(&mut self.random) < self.changed).count().try_into().unwrap_or(TRIES)
    }

    /// When a node has decompressed what arrives.
    fn usable(&self, arrived: &[Nanos]) -> Nanos {
        let Transfer { size, chunk, compression, decompress_rate, .. } = *self.transfer;
        let mut end = Nanos::ZERO;
        for (number, &at) in arrived.iter().enumerate() {
            let bytes = Bytes(chunk.0.min(size.0 - number as u64 * chunk.0));
            let work = if compression < 1.0 { bytes / decompress_rate } else { Nanos::ZERO };
            end = end.max(at) + work;
        }
        end
    }

    /// Every node gets a part of the chunks, and the parts go around. A node has a stream's share of its adapter for what it
    /// sends on, and as much for what it receives.
    fn scatter_gather(&mut self) {
        let (chunks, receivers) = (self.chunks(), self.transfer.receivers as usize);
        let there = self.at_source(&chunks);
        // The source sends one part after the other, each node's chunks in turn.
        let first = self.connection(&chunks, &there, 1);
        let part = |node: usize| (chunks.len() * node / receivers, chunks.len() * (node + 1) / receivers);
        let mut last: Vec<Nanos> = Vec::with_capacity(receivers);
        let mut held: Vec<Vec<Nanos>> = Vec::with_capacity(receivers);
        for node in 0..receivers {
            let (from, until) = part(node);
            held.push(first[from..until].to_vec());
            last.push(first[from..until].iter().copied().max().unwrap_or(Nanos::ZERO));
        }
        // In every round each node hands on to the next what it got in the round before.
        for round in 1..receivers {
            let mut next: Vec<Vec<Nanos>> = vec![Vec::new(); receivers];
            for node in 0..receivers {
                let to = (node + 1) % receivers;
                // It came from so many nodes before.
                let (from, until) = part((node + receivers - (round - 1)) % receivers);
                // The receiver's adapter is taken until it has what came in the round before.
                let there: Vec<Nanos> = held[node].iter().map(|&at| at.max(last[node])).collect();
                let times = self.connection(&chunks[from..until], &there, 1);
                next[to] = times;
            }
            for (node, times) in next.into_iter().enumerate() {
                last[node] = times.iter().copied().max().unwrap_or(Nanos::ZERO).max(last[node]);
                held[node] = times;
            }
        }
        let Transfer { chunk, compression, decompress_rate, .. } = *self.transfer;
        // Decompressing goes beside what arrives; the last chunk's is what is left.
        let tail = if compression < 1.0 { chunk / decompress_rate } else { Nanos::ZERO };
        let all = if compression < 1.0 { self.transfer.size / decompress_rate } else { Nanos::ZERO };
        self.done = last.into_iter().map(|at| (at + tail).max(all)).collect();
    }

    fn finish(self) -> Handed {
        let Transfer { receivers, size, compression, checksums, .. } = *self.transfer;
        let time = self.done.iter().copied().max().unwrap_or(Nanos::ZERO);
        let all = changed(self.transfer, size.as_f64() * compression * f64::from(receivers));
        Handed {
            method: self.method,
            time,
            first: self.done.iter().copied().min().unwrap_or(Nanos::ZERO),
            sent: Bytes(self.sent),
            resent: Bytes(self.resent),
            stream: self.slowest.0,
            bound: self.slowest.1,
            // A checksum of 32 bits passes one of 2³² changed chunks.
            wrong: if checksums { all * 2.0_f64.powi(-32) } else { all },
        }
    }
}

/// The chance that any packet of some bytes arrives changed.
fn changed(transfer: &Transfer, bytes: f64) -> f64 {
    let packets = (bytes / PACKET).max(1.0);
    -libm::expm1(packets * libm::log1p(-transfer.corruption))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer() -> Transfer {
        Transfer {
            method: TransferMethod::Chain,
            size: Bytes(1_000_000_000),
            receivers: 8,
            fanout: 2,
            bandwidth: BytesPerSec(1e9),
            latency: Nanos(10_000),
            loss: 0.0,
            window: Bytes(1 << 40),
            streams: 4,
            chunk: Bytes(1_000_000),
            compression: 1.0,
            compress_rate: BytesPerSec(1e12),
            decompress_rate: BytesPerSec(1e12),
            checksums: false,
            checksum_rate: BytesPerSec(1e12),
            corruption: 0.0,
        }
    }

    fn time(transfer: &Transfer, method: TransferMethod) -> f64 {
        hand_out(transfer, method, 1).time.secs()
    }

    #[test]
    fn methods_take_what_their_closed_forms_say() {
        let transfer = transfer();
        let near = |found: f64, said: f64| assert!((found / said - 1.0).abs() < 0.03, "{found} s, {said} s are said");
        let (size, chunk) = (1.0, 0.001);
        // The source's adapter has to send everything to everyone.
        near(time(&transfer, TransferMethod::Direct), 8.0 * size);
        // A chain is as fast as its slowest link, and each link adds the chunks that its streams have under way.
        near(time(&transfer, TransferMethod::Chain), size + 7.0 * 4.0 * chunk);
        // A tree sends everything twice: two levels of it wait for a chunk each.
        near(time(&transfer, TransferMethod::Tree), 2.0 * size);
        // Everything once out of the source, and all but a node's own part around.
        near(time(&transfer, TransferMethod::ScatterGather), size * (1.0 + 7.0 / 8.0));
        for &method in TransferMethod::ALL {
            let handed = hand_out(&transfer, method, 1);
            assert!(handed.time >= ideal(&transfer), "{method:?}");
            assert!(handed.first <= handed.time && handed.resent == Bytes::ZERO);
        }
    }

    #[test]
    fn windows_and_loss_hold_a_stream_back_and_more_streams_help() {
        let slow = Transfer { latency: Nanos(10_000_000), ..transfer() };
        let window = Transfer { window: Bytes(2_000_000), ..slow };
        assert_eq!(stream_rate(&window, 1e9), (BytesPerSec(1e8), "window"));
        let lossy = Transfer { loss: 1.5e-4, ..slow };
        let (rate, bound) = stream_rate(&lossy, 1e9);
        assert_eq!(bound, "loss");
        assert!((rate.0 - 1460.0 / 0.02 * 100.0).abs() < 1.0, "1460 B in a round trip, times √(3/2p)");
        let one = time(&Transfer { streams: 1, ..lossy }, TransferMethod::Chain);
        let many = time(&Transfer { streams: 64, ..lossy }, TransferMethod::Chain);
        assert!(many * 20.0 < one, "{many} and {one} s");
    }

    #[test]
    fn what_arrives_changed_is_sent_again_and_nothing_is_wrong_then() {
        let changed = Transfer { corruption: 1e-4, ..transfer() };
        let blind = hand_out(&changed, TransferMethod::Chain, 1);
        assert!(blind.wrong > 0.999 && blind.resent == Bytes::ZERO);
        let checked = hand_out(&Transfer { checksums: true, ..changed }, TransferMethod::Chain, 1);
        assert!(checked.wrong < 1e-9 && checked.time > blind.time);
        // One packet of ten thousand: a chunk of 685 packets arrives changed with 6.6 %.
        let share = checked.resent.as_f64() / (checked.sent.as_f64() - checked.resent.as_f64());
        assert!((share - 0.0662 / (1.0 - 0.0662)).abs() < 0.01, "{share}");
        assert_eq!(checked, hand_out(&Transfer { checksums: true, ..changed }, TransferMethod::Chain, 1));
    }

    #[test]
    fn compression_pays_where_the_link_is_slower_than_the_compressor() {
        let with = |bandwidth: f64, compression: f64| {
            let rates = (BytesPerSec(2e9), BytesPerSec(4e9));
            let (compress_rate, decompress_rate) = rates;
            let transfer = Transfer {
                bandwidth: BytesPerSec(bandwidth),
                compression,
                compress_rate,
                decompress_rate,
                ..transfer()
            };
            time(&transfer, TransferMethod::Chain)
        };
        assert!(with(1e9, 0.5) < 0.6 * with(1e9, 1.0));
        assert!(with(1e10, 0.5) > 2.0 * with(1e10, 1.0));
    }
}
