//! How evenly reads load the servers of a distributed file system.
//!
//! A read goes to the servers that hold its stripes; while some have a queue, others idle. What all deliver together is
//! found by playing a closed system once: so many reads are under way, and when one ends the next begins. With one
//! server for a read, drawn at random, and exponential times this is a product-form network, of which the servers are
//! busy for `C / (C + S − 1)` of the time with `C` reads on `S` servers (Gordon & Newell 1967; a test holds it to that).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::scenario::Servers;
use crate::sim::draw::unit;
use crate::units::Bytes;

/// Servers that are played, at most: more in the same proportion change little.
const MOST: u32 = 256;

/// Reads that are played for each that is under way, and at least.
const ROUNDS: u32 = 60;
const LEAST: u32 = 4_000;

/// The part of what all servers can deliver that they do when `under_way` reads of `size` bytes are.
pub(super) fn delivered(servers: &Servers, size: Bytes, under_way: u32) -> f64 {
    let most = servers.count.max(under_way).max(MOST);
    let scale = f64::from(MOST) / f64::from(most);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most as many as are played")]
    let whole = |n: f64| n as u32;
    let count = whole((f64::from(servers.count) * scale).round()).max(1);
    // Where no whole number of reads has the same proportion, it lies between the neighbours.
    let exact = f64::from(under_way.max(1)) * scale;
    let below = exact.floor();
    let of = |reads: f64| {
        let reads = whole(reads);
        // A read's parts take as long as they are large; what differs besides is where they lie.
        if reads == 0 { 0.0 } else { Closed::of(servers, size, count, reads).busy(|_| 1.0) }
    };
    let share = exact - below;
    if share == 0.0 { of(below) } else { of(below) * (1.0 - share) + of(below + 1.0) * share }
}

/// Reads that go to servers, one behind the other.
struct Closed {
    servers: u32,
    under_way: u32,
    /// What each server of a read has of it, of the mean of them.
    parts: Vec<f64>,
    replicas: u32,
}

impl Closed {
    fn of(servers: &Servers, size: Bytes, count: u32, under_way: u32) -> Self {
        let parts = servers.parts(size);
        let mean = size.as_f64() / parts.len() as f64;
        let parts = if parts.len() > count as usize {
            vec![1.0; count as usize]
        } else {
            parts.into_iter().map(|part| part.as_f64() / mean.max(1e-9)).collect()
        };
        Self { servers: count, under_way, parts, replicas: servers.replicas.min(count) }
    }

    /// The part of the time in which a server is busy, where a part of a read takes as long as `time` draws.
    fn busy(&self, time: impl Fn(&mut ChaCha8Rng) -> f64) -> f64 {
        let reads = (self.under_way * ROUNDS).max(LEAST);
        let mut random = ChaCha8Rng::seed_from_u64(0x5e17);
        let mut free = vec![0.0_f64; self.servers as usize];
        let mut ends: BinaryHeap<Reverse<Time>> = (0..self.under_way).map(|_| Reverse(Time(0.0))).collect();
        // As many reads begin as end, so what begins between two reads is what was delivered between them.
        let (mut work, mut counted, mut since, mut until) = (0.0, 0.0, 0.0, 0.0);
        for read in 0..reads {
            let Some(Reverse(Time(now))) = ends.pop() else { break };
            if read == reads / 4 {
                (work, since) = (0.0, now);
            }
            (counted, until) = (work, now);
            let first = self.choose(&free, &mut random);
            let mut end = now;
            for (server, part) in self.hold(first).zip(&self.parts) {
                let (taken, free) = (part * time(&mut random), &mut free[server]);
                *free = free.max(now) + taken;
                work += taken;
                end = end.max(*free);
            }
            ends.push(Reverse(Time(end)));
        }
        let elapsed: f64 = until - since;
        (counted / (elapsed.max(f64::MIN_POSITIVE) * f64::from(self.servers))).min(1.0)
    }

    /// The servers of a read whose first is `first`.
    fn hold(&self, first: u32) -> impl Iterator<Item = usize> + use<> {
        let servers = self.servers as usize;
        (0..self.parts.len()).map(move |part| (first as usize + part) % servers)
    }

    /// Of the copies of a file the one whose servers are free first.
    fn choose(&self, free: &[f64], random: &mut ChaCha8Rng) -> u32 {
        let latest = |first: u32| self.hold(first).map(|server| free[server]).fold(0.0, f64::max);
        let copies = (0..self.replicas).map(|_| below(random, self.servers));
        copies.min_by(|&a, &b| latest(a).total_cmp(&latest(b))).unwrap_or(0)
    }
}

/// A number below a bound.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is less than the bound")]
fn below(random: &mut ChaCha8Rng, bound: u32) -> u32 {
    ((unit(random) * f64::from(bound)) as u32).min(bound.saturating_sub(1))
}

/// A time in parts of what a server takes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Time(f64);

impl Eq for Time {}

impl PartialOrd for Time {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Time {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::BytesPerSec;

    fn servers(count: u32, stripe_count: u32, replicas: u32) -> Servers {
        Servers { count, bandwidth: BytesPerSec(1e9), stripe_count, stripe_size: Bytes(1 << 20), replicas }
    }

    fn small(count: u32, replicas: u32, under_way: u32) -> f64 {
        delivered(&servers(count, 1, replicas), Bytes(100_000), under_way)
    }

    #[test]
    fn exponential_times_give_what_a_product_form_network_has() {
        let exponential = |random: &mut ChaCha8Rng| -libm::log(1.0 - unit(random));
        for (count, under_way) in [(16, 4), (16, 16), (16, 64), (64, 200)] {
            let closed = Closed { servers: count, under_way, parts: vec![1.0], replicas: 1 };
            let expected = f64::from(under_way) / f64::from(under_way + count - 1);
            let found = closed.busy(exponential);
            assert!((found / expected - 1.0).abs() < 0.04, "{count} {under_way}: {found}, {expected}");
        }
    }

    #[test]
    fn more_reads_copies_and_stripes_load_servers_more_evenly() {
        assert!((small(32, 1, 1) - 1.0 / 32.0).abs() < 1e-3, "one read keeps one server busy");
        assert!(small(32, 1, 16) < small(32, 1, 64) && small(32, 1, 64) < small(32, 1, 512));
        assert!(small(32, 2, 64) > small(32, 1, 64) + 0.05, "the less busy of two copies");
        let striped = |size| delivered(&servers(32, 8, 1), size, 16);
        assert!(striped(Bytes(8 << 20)) > striped(Bytes(1 << 20)) + 0.2, "a large file is at eight servers at once");
        assert_eq!(small(32, 1, 512), small(32, 1, 512));
    }

    #[test]
    fn more_servers_never_deliver_less() {
        let all = |count: u32, under_way| small(count, 1, under_way) * f64::from(count);
        for (few, many, under_way) in [(2048, 2049, 512), (896, 897, 7), (255, 257, 31), (64, 65_536, 1)] {
            assert!(all(many, under_way) > all(few, under_way) * 0.98, "{few} {many} {under_way}");
        }
        assert!((small(65_536, 1, 1) * 65_536.0 - 1.0).abs() < 0.02, "one read keeps one server busy");
    }

    #[test]
    fn a_byte_more_makes_no_read_faster() {
        let of = |size: u64| servers(32, 2, 1).alone(Bytes(size)).0;
        assert!((of((1 << 20) + 1) / of(1 << 20) - 1.0).abs() < 1e-5 && (of(2 << 20) / of(1 << 20) - 2.0).abs() < 1e-9);
        for size in [1, 1 << 20, (3 << 20) + 77, 9 << 20] {
            assert_eq!(servers(32, 4, 1).parts(Bytes(size)).into_iter().sum::<Bytes>(), Bytes(size));
        }
    }

    #[test]
    fn many_servers_are_like_fewer_in_the_same_proportion() {
        let (few, many) = (small(256, 1, 256), small(8192, 1, 8192));
        assert!((few - many).abs() < 0.02, "{few} and {many}");
        assert!(small(1, 1, 1_000_000) > 0.99 && small(65_536, 1, 1) > 0.0);
    }
}
