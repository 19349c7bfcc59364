//! The reads of a job, as its scenario describes them.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use super::sketch::mixed;
use super::{ObjectId, Requests, Sizes};
use crate::scenario::{Access, AccessPattern, Input, SampleFormat, Samples, Sampling};
use crate::sim::draw::unit;
use crate::units::Bytes;

/// The trace of what `nodes` nodes read; the same for the same seed, on every platform.
pub fn requests_of(input: &Input, nodes: u32, seed: u64) -> Requests {
    let sizes = sizes(&input.samples, seed);
    let (objects, readers) = match input.access.pattern {
        AccessPattern::Zipf => zipf(&input.access, input.samples.count, nodes, seed),
        AccessPattern::Epochs => {
            let orders = Orders { access: input.access, samples: input.samples, nodes, seed };
            orders.job(0, input.access.epochs).into_iter().unzip()
        }
        AccessPattern::Jobs | AccessPattern::Search => jobs(input, nodes, seed),
    };
    Requests { objects, sizes, readers }
}

/// Log-normal sizes whose mean is as wanted: of `exp(σz − σ²/2)` the mean is one.
fn sizes(samples: &Samples, seed: u64) -> Sizes {
    let (objects, size, spread) = (samples.count, samples.size, samples.size_spread);
    if spread == 0.0 {
        return Sizes::Alike { objects, size };
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x5129);
    let mut drawn = || {
        let factor = libm::exp(spread * normal(&mut random) - spread * spread / 2.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is positive and saturates")]
        Bytes(((size.as_f64() * factor).round() as u64).max(1))
    };
    Sizes::Each((0..objects).map(|_| drawn()).collect())
}

/// A number of the standard normal distribution (Box and Muller 1958), by functions that are alike on every platform.
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(1.0 - unit(random)));
    radius * libm::cos(std::f64::consts::TAU * unit(random))
}

/// A number below a bound.
#[expect(clippy::cast_possible_truncation, reason = "it is less than the bound")]
fn below(random: &mut ChaCha8Rng, bound: usize) -> usize {
    ((u128::from(random.next_u64()) * bound as u128) >> 64) as usize
}

/// A read: of what, and by whom.
type Read = (ObjectId, u16);

/// Orders in which jobs read samples.
struct Orders {
    access: Access,
    samples: Samples,
    nodes: u32,
    seed: u64,
}

impl Orders {
    /// What a job reads in some epochs.
    fn job(&self, job: u32, epochs: u32) -> Vec<Read> {
        (0..epochs).flat_map(|epoch| self.epoch(job, epoch)).collect()
    }

    /// What a job reads in one epoch: all nodes at the same pace.
    fn epoch(&self, job: u32, epoch: u32) -> Vec<Read> {
        let job = if self.access.coordinated { 0 } else { job };
        let random = |part: u32| {
            let key = mixed(self.seed ^ mixed(u64::from(job) << 40 | u64::from(epoch) << 20 | u64::from(part)));
            ChaCha8Rng::seed_from_u64(key)
        };
        if self.samples.format == SampleFormat::Shards {
            return in_turn(&self.of_shards(random));
        }
        let order = |part: u32, samples: Vec<ObjectId>| shuffled(samples, self.access.window, &mut random(part));
        let all = || (0..self.samples.count).map(ObjectId);
        match self.access.sampling {
            Sampling::Global => {
                let dealt = order(0, all().collect()).into_iter().zip((0..self.nodes).cycle());
                dealt.map(|(object, node)| (object, reader(node))).collect()
            }
            Sampling::Sharded => {
                let shard = |node: u32| all().skip(node as usize).step_by(self.nodes as usize).collect();
                in_turn(&(0..self.nodes).map(|node| order(node, shard(node))).collect::<Vec<_>>())
            }
            Sampling::Node => in_turn(&(0..self.nodes).map(|node| order(node, all().collect())).collect::<Vec<_>>()),
        }
    }

    /// What each node reads: its shards in a new order, each from begin to end, through a buffer to shuffle in.
    fn of_shards(&self, random: impl Fn(u32) -> ChaCha8Rng) -> Vec<Vec<ObjectId>> {
        let Samples { count, per_shard, .. } = self.samples;
        let shards: Vec<ObjectId> = (0..count.div_ceil(per_shard)).map(ObjectId).collect();
        let common = shuffled(shards.clone(), None, &mut random(0));
        let dealt = |of: &[ObjectId], node: u32| -> Vec<ObjectId> {
            of.iter().copied().skip(node as usize).step_by(self.nodes as usize).collect()
        };
        let of_node = |node: u32| {
            // A number of its own for what is shuffled in the buffer.
            let (own, buffer) = (&mut random(node + 1), &mut random(node + 1 + self.nodes));
            let shards = match self.access.sampling {
                Sampling::Global => dealt(&common, node),
                Sampling::Sharded => shuffled(dealt(&shards, node), None, own),
                Sampling::Node => shuffled(shards.clone(), None, own),
            };
            let first = |shard: ObjectId| shard.0.saturating_mul(per_shard);
            let samples = shards.into_iter().flat_map(|s| first(s)..first(s).saturating_add(per_shard).min(count));
            shuffled(samples.map(ObjectId).collect(), self.access.window.or(Some(per_shard)), buffer)
        };
        (0..self.nodes).map(of_node).collect()
    }
}

fn reader(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// Reads of several readers, one of each after the other.
fn in_turn(orders: &[Vec<ObjectId>]) -> Vec<Read> {
    let longest = orders.iter().map(Vec::len).max().unwrap_or(0);
    let of_place =
        |place: usize| orders.iter().zip(0..).filter_map(move |(order, node)| Some((*order.get(place)?, reader(node))));
    (0..longest).flat_map(of_place).collect()
}

/// Another order (Fisher and Yates). With a window the next one is drawn from the first so many that were not yet.
fn shuffled(mut samples: Vec<ObjectId>, window: Option<u32>, random: &mut ChaCha8Rng) -> Vec<ObjectId> {
    let Some(window) = window.map(|window| window as usize).filter(|&window| window < samples.len()) else {
        for place in (1..samples.len()).rev() {
            samples.swap(place, below(random, place + 1));
        }
        return samples;
    };
    let mut buffer: Vec<ObjectId> = samples[..window].to_vec();
    let mut order = Vec::with_capacity(samples.len());
    for &next in &samples[window..] {
        let drawn = below(random, window);
        order.push(std::mem::replace(&mut buffer[drawn], next));
    }
    order.extend(shuffled(buffer, None, random));
    order
}

/// Jobs that read the same samples, dealt out to nodes: one read of each that runs after the other.
fn jobs(input: &Input, nodes: u32, seed: u64) -> (Vec<ObjectId>, Vec<u16>) {
    let access = input.access;
    let access_of_one = Access { sampling: Sampling::Global, ..access };
    let orders = Orders { access: access_of_one, samples: input.samples, nodes: 1, seed };
    let epoch = f64::from(input.samples.count);
    let stagger = if access.pattern == AccessPattern::Jobs { access.stagger } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the epoch times the jobs")]
    let start = |job: u32| (f64::from(job) * stagger * epoch) as usize;
    let mut waiting = (0..access.jobs).map(|job| (start(job), job)).peekable();
    let mut running = Vec::new();
    let (mut reads, mut round): (Vec<Read>, usize) = (Vec::new(), 0);
    loop {
        if running.is_empty() {
            let Some(&(start, _)) = waiting.peek() else { return reads.into_iter().unzip() };
            round = round.max(start);
        }
        while let Some((_, job)) = waiting.next_if(|&(start, _)| start <= round) {
            running.push((reader(job % nodes), orders.job(job, rounds(&access, job)).into_iter()));
        }
        running.retain_mut(|(node, order)| {
            let next = order.next();
            reads.extend(next.map(|(object, _)| (object, *node)));
            next.is_some()
        });
        round += 1;
    }
}

/// Epochs of a job: of a search, the better half goes on after each, the better quarter after two.
fn rounds(access: &Access, job: u32) -> u32 {
    if access.pattern != AccessPattern::Search {
        return access.epochs;
    }
    (1..=access.epochs).rev().find(|&round| job < access.jobs.div_ceil(1 << (round - 1).min(31))).unwrap_or(1)
}

/// Independent lookups of which number `k` has a probability like `1 / k^skew`; hot numbers lie anywhere.
fn zipf(access: &Access, count: u32, nodes: u32, seed: u64) -> (Vec<ObjectId>, Vec<u16>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let law = Zipf::new(count, access.skew);
    let numbers = shuffled((0..count).map(ObjectId).collect(), None, &mut random);
    let objects = (0..access.requests).map(|_| numbers[law.draw(&mut random) as usize]).collect();
    let readers = if nodes == 1 { Vec::new() } else { (0..access.requests).map(|n| reader(n % nodes)).collect() };
    (objects, readers)
}

/// Zipf's law by rejection-inversion (Hörmann and Derflinger 1996): no table of as many numbers.
struct Zipf {
    count: f64,
    skew: f64,
    /// The integral of the hat up to the first number, and to the last.
    ends: [f64; 2],
    /// How near to a number a draw is taken without a look at the law.
    near: f64,
}

impl Zipf {
    fn new(count: u32, skew: f64) -> Self {
        let count = f64::from(count);
        let of = Self { count, skew, ends: [0.0; 2], near: 0.0 };
        let ends = [of.integral(1.5) - 1.0, of.integral(count + 0.5)];
        let near = 2.0 - of.inverse(of.integral(2.5) - of.law(2.0));
        Self { ends, near, ..of }
    }

    fn law(&self, x: f64) -> f64 {
        libm::exp(-self.skew * libm::log(x))
    }

    /// `(x^(1−s) − 1) / (1 − s)`, and `ln x` where s is one.
    fn integral(&self, x: f64) -> f64 {
        let log = libm::log(x);
        ratio(libm::expm1, (1.0 - self.skew) * log) * log
    }

    fn inverse(&self, y: f64) -> f64 {
        let t = (y * (1.0 - self.skew)).max(-1.0);
        libm::exp(ratio(libm::log1p, t) * y)
    }

    /// A number from zero.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies between one and the count")]
    fn draw(&self, random: &mut ChaCha8Rng) -> u32 {
        let [first, last] = self.ends;
        loop {
            let y = last + unit(random) * (first - last);
            let x = self.inverse(y);
            let k = (x + 0.5).floor().clamp(1.0, self.count);
            if k - x <= self.near || y >= self.integral(k + 0.5) - self.law(k) {
                return k as u32 - 1;
            }
        }
    }
}

/// `f(x) / x`, of functions for which that is one at zero.
fn ratio(f: fn(f64) -> f64, x: f64) -> f64 {
    if x.abs() > 1e-8 { f(x) / x } else { 1.0 }
}
