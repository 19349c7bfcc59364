//! Measures what the cost model needs to know of this device: matmul and vector rate, bandwidths, time per kernel call,
//! and how fast ranks that share it exchange data.

use serde::Serialize;

use super::cpu::add::AddParams;
use super::cpu::attention::AttentionParams;
use super::cpu::fill::FillParams;
use super::cpu::gelu::GeluParams;
use super::cpu::matmul::MatmulParams;
use super::cpu::peak::PeakParams;
use super::cpu::read::ReadParams;
use super::kernel::WORKGROUP_SIZE;
use super::{Backend, BackendInfo, Dispatch, ExecError, Format, Recording, Scope, Slice, collectives};
use crate::cluster::{
    AlgorithmChoice, Cluster, Device, DeviceFile, Host, Link, LinkFile, LinkLayout, Network, ShaderRates,
};
use crate::cost;
use crate::trace::{LabelId, Span, Stream};
use crate::units::{Bytes, BytesPerSec, FlopsPerSec, Nanos};

/// Repetitions of each measurement; the median counts.
const REPEATS: usize = 5;

/// Calls whose mean is the time of a kernel call, each of another kernel than the one before it.
const SMALL_CALLS: usize = 64;

/// Elements of elementwise measurements: enough for all multiprocessors, few enough for a cache.
const ELEMENTS: u32 = 1 << 18;

/// Rounds of arithmetic that tell how many workgroups run at once.
const ROUNDS: u32 = 1024;

/// Workgroups of that measurement, which cannot tell of more.
const MANY: u32 = 1024;

/// Contracted lengths of the two matrix products.
const DEPTHS: [u32; 2] = [32, 512];

/// Measured rates of a device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// What was measured, and how it was timed.
    pub backend: BackendInfo,
    /// fp32 matmul whose rows and columns are about those of the scenario, with a contraction that never ends.
    pub matmul: FlopsPerSec,
    /// The same of numbers in bf16, multiplied and added up in fp32.
    pub half_matmul: FlopsPerSec,
    /// The side of that matmul's square result.
    pub matmul_side: u32,
    /// Attention forward, four heads of width 16.
    pub attention: FlopsPerSec,
    /// Elementwise fp32 arithmetic: GELU, counted as eight operations an element as the cost model does.
    pub vector: FlopsPerSec,
    /// Bytes that kernels read and write per second at best.
    pub memory_bandwidth: BytesPerSec,
    /// Time of a kernel call that does nothing.
    pub launch_overhead: Nanos,
    /// Bytes copied from one buffer to another, per second.
    pub copy_bandwidth: BytesPerSec,
    /// What kernels cost beside that.
    pub shaders: ShaderRates,
}

impl Calibration {
    /// The median of each figure of several measurements; none of none.
    pub fn median(all: &[Self]) -> Option<Self> {
        fn middle<T: Copy>(all: &[Calibration], of: impl Fn(&Calibration) -> T, key: impl Fn(&T) -> f64) -> T {
            let mut values: Vec<T> = all.iter().map(of).collect();
            values.sort_by(|a, b| key(a).total_cmp(&key(b)));
            values[values.len() / 2]
        }
        let first = all.first()?;
        let rate = |of: fn(&Self) -> FlopsPerSec| middle(all, of, |rate| rate.0);
        let bandwidth = |of: fn(&Self) -> BytesPerSec| middle(all, of, |rate| rate.0);
        let time = |of: fn(&Self) -> Nanos| middle(all, of, |time| time.secs());
        Some(Self {
            backend: first.backend.clone(),
            matmul_side: first.matmul_side,
            matmul: rate(|c| c.matmul),
            half_matmul: rate(|c| c.half_matmul),
            attention: rate(|c| c.attention),
            vector: rate(|c| c.vector),
            memory_bandwidth: bandwidth(|c| c.memory_bandwidth),
            copy_bandwidth: bandwidth(|c| c.copy_bandwidth),
            launch_overhead: time(|c| c.launch_overhead),
            shaders: ShaderRates {
                at_once: middle(all, |c| c.shaders.at_once, |&count| f64::from(count)),
                workgroup: time(|c| c.shaders.workgroup),
                chained: time(|c| c.shaders.chained),
                shared: first.shaders.shared,
                words_per_second: middle(all, |c| c.shaders.words_per_second, |&rate| rate),
                halves_per_second: middle(all, |c| c.shaders.halves_per_second, |&rate| rate),
                depth: middle(all, |c| c.shaders.depth, |&depth| depth),
            },
        })
    }

    /// The device as a scenario names it, under `[cluster.custom]`: `ranks` of them, which share it, with `memory` each.
    pub fn device_file(&self, ranks: u32, memory: Bytes) -> DeviceFile {
        let link = LinkFile {
            name: Some("buffers of one device".to_owned()),
            bandwidth: Some(self.copy_bandwidth),
            latency: Some(self.launch_overhead),
            efficiency: Some(1.0),
            ..LinkFile::default()
        };
        DeviceFile {
            title: Some(self.backend.name.clone()),
            fp32: Some(self.vector),
            tf32: Some(self.matmul),
            fp32_matmul: Some(self.matmul),
            bf16: Some(self.half_matmul),
            matmul_efficiency: Some(1.0),
            attention_efficiency: Some((self.attention.0 / self.matmul.0).min(1.0)),
            flash_2_share: Some(1.0),
            eager_share: Some(1.0),
            memory: Some(memory),
            memory_bandwidth: Some(self.memory_bandwidth),
            memory_efficiency: Some(1.0),
            launch_overhead: Some(self.launch_overhead),
            shaders: Some(self.shaders),
            devices_per_node: Some(ranks),
            intra_link: Some(link.clone()),
            inter_link: Some(link),
            ..DeviceFile::default()
        }
    }

    /// The device as the cost model sees it. Its rates were measured, so its efficiencies are 1.
    pub fn cluster(&self, ranks: u32, memory: Bytes) -> Cluster {
        let link = Link {
            name: "buffers of one device".to_owned(),
            bandwidth: self.copy_bandwidth,
            latency: self.launch_overhead,
            efficiency: 1.0,
            layout: LinkLayout::Switch,
            in_network: None,
        };
        let device = Device {
            name: self.backend.name.clone(),
            fp32: self.vector,
            fp32_matmul: self.matmul,
            bf16_matmul: self.half_matmul,
            host_dispatch: Nanos::ZERO,
            residuals: None,
            multiprocessors: 0,
            shaders: Some(self.shaders),
            tf32_matmul: self.matmul,
            fp16_matmul: self.half_matmul,
            fp8_matmul: self.matmul,
            fp4_matmul: self.matmul,
            matmul_efficiency: 1.0,
            attention_efficiency: self.attention.0 / self.matmul.0,
            flash_2_share: 1.0,
            eager_share: 1.0,
            power: None,
            memory,
            memory_bandwidth: self.memory_bandwidth,
            memory_efficiency: 1.0,
            launch_overhead: self.launch_overhead,
            context: Bytes::ZERO,
            host: Host::ASSUMED,
        };
        Cluster {
            device,
            nodes: 1,
            devices_per_node: ranks,
            intra_link: link.clone(),
            inter_link: link,
            network: Network::NonBlocking,
            contention: false,
            all_reduce: AlgorithmChoice::Auto,
            topology: None,
            exceptions: Vec::new(),
            kind_of_device: Vec::new(),
            device_of_rank: Vec::new(),
        }
    }
}

/// Measures the device with a matmul of side `matmul_side`; takes about a second.
pub async fn calibrate(backend: &mut Backend, matmul_side: u32) -> Result<Calibration, ExecError> {
    Calibrator::new(backend, matmul_side).measure(backend).await
}

/// Measures a device, also again: what else runs on a machine changes from second to second.
#[derive(Clone, Copy, Debug)]
pub struct Calibrator {
    buffers: [Slice; 3],
    side: u32,
}

impl Calibrator {
    /// Creates the buffers that are measured on.
    pub fn new(backend: &mut Backend, matmul_side: u32) -> Self {
        let side = matmul_side.clamp(16, 512);
        let elements = u64::from(4 * ELEMENTS).max(u64::from(side) * u64::from(DEPTHS[1]));
        Self { buffers: [0; 3].map(|_| whole(backend, elements * 4)), side }
    }

    /// Measures everything once.
    ///
    /// # Errors
    /// When a kernel cannot run, or the device is lost.
    pub async fn measure(&self, backend: &mut Backend) -> Result<Calibration, ExecError> {
        let [a, b, _] = self.buffers;
        let launch = self.launch(backend).await?;
        let shaders = self.shaders(backend, launch).await?;
        let (matmul, depth) = self.matmul(backend, launch, shaders.at_once).await?;
        let (attention, attention_flops) = attention(self.side, self.buffers);
        let attention = attention.by_default(backend.runs_many());
        let filled = filled(shaders.at_once, attention.grid);
        let attention = median(backend, &attention).await?;
        let copy = median(backend, &collectives::copy(a, 0, b, 0, ELEMENTS)).await?;
        Ok(Calibration {
            backend: backend.info().clone(),
            matmul,
            half_matmul: self.half_matmul(backend, launch, matmul).await?,
            matmul_side: self.side,
            attention: FlopsPerSec(attention_flops / busy(attention, launch) / filled),
            vector: self.vector(backend, launch, &shaders).await?,
            memory_bandwidth: self.bandwidth(backend, launch).await?,
            launch_overhead: launch,
            copy_bandwidth: BytesPerSec(f64::from(ELEMENTS) * 4.0 / busy(copy, launch)),
            shaders: ShaderRates { depth, ..shaders },
        })
    }

    /// Time of a call that does nothing, between calls of other kernels as in a step: the mean of most of them.
    async fn launch(&self, backend: &mut Backend) -> Result<Nanos, ExecError> {
        let [a, b, c] = self.buffers;
        let (n, pad) = (1, [0; 3]);
        let kinds = [
            Dispatch::new(&FillParams { n, value: 0.0, pad: [0; 2] }, [c]),
            Dispatch::new(&AddParams { n, pad }, [a, b, c]),
            Dispatch::new(&GeluParams { n, pad }, [a, c]),
            collectives::copy(a, 0, b, 0, n),
        ];
        let calls: Vec<_> = kinds.into_iter().cycle().take(SMALL_CALLS).collect();
        let mut times = replay_each(backend, calls).await?;
        times.sort_unstable();
        let most = &times[times.len() / 10..times.len() - times.len() / 10];
        let all: i64 = most.iter().map(|time| time.0).sum();
        Ok(Nanos(all / i64::try_from(most.len()).unwrap_or(1).max(1)).max(Nanos(1)))
    }

    /// Time of a call between others of the same scope.
    async fn chained(&self, backend: &mut Backend) -> Result<Nanos, ExecError> {
        let nothing = Dispatch::new(&FillParams { n: 1, value: 0.0, pad: [0; 2] }, [self.buffers[2]]);
        let calls = u32::try_from(SMALL_CALLS).unwrap_or(u32::MAX);
        let chain = Recording { dispatches: vec![nothing; SMALL_CALLS], scopes: scopes_of_one(calls) };
        backend.prepare(&chain).await?;
        let mut times = Vec::with_capacity(REPEATS);
        for _ in 0..=REPEATS {
            let of_chain = backend.replay(&chain).await?.of_one();
            times.extend(of_chain.first().map(|&(start, end)| end - start));
        }
        // The first one compiles.
        let times = &mut times[1..];
        times.sort_unstable();
        Ok(Nanos(times[times.len() / 2].0 / i64::from(calls)).max(Nanos(1)))
    }

    /// What workgroups cost, how many run at once, and how fast they read.
    async fn shaders(&self, backend: &mut Backend, launch: Nanos) -> Result<ShaderRates, ExecError> {
        let [a, _, c] = self.buffers;
        let arithmetic = |workgroups: u32| {
            let params = PeakParams { n: workgroups * WORKGROUP_SIZE, rounds: ROUNDS, factor: 0.5, pad: [0] };
            Dispatch::new(&params, [c])
        };
        let one = busy(median(backend, &arithmetic(1)).await?, launch);
        let many = busy(median(backend, &arithmetic(MANY)).await?, launch);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
        let at_once = (f64::from(MANY) * one / many).round().clamp(1.0, f64::from(MANY)) as u32;
        let lanes = ELEMENTS / 64;
        let read = Dispatch::new(&ReadParams { rows: 64, lanes, pad: [0; 2] }, [a, c]);
        let filled = filled(at_once, read.grid);
        let words_per_second = f64::from(ELEMENTS) / busy(median(backend, &read).await?, launch) / filled;
        let fill = Dispatch::new(&FillParams { n: ELEMENTS, value: 0.0, pad: [0; 2] }, [c]);
        let writing = f64::from(ELEMENTS) / words_per_second;
        let starting = (busy(median(backend, &fill).await?, launch) - writing).max(0.0);
        let workgroup = Nanos::from_secs(starting * f64::from(at_once) / f64::from(ELEMENTS / WORKGROUP_SIZE));
        let (chained, shared) = (self.chained(backend).await?, backend.runs_many());
        let rates =
            ShaderRates { at_once, workgroup, words_per_second, chained, shared, halves_per_second: 0.0, depth: 0.0 };
        Ok(ShaderRates { halves_per_second: self.halves(backend, launch, &rates).await?, ..rates })
    }

    /// Numbers in 16 bits that are read or written per second, when two are added.
    async fn halves(&self, backend: &mut Backend, launch: Nanos, shaders: &ShaderRates) -> Result<f64, ExecError> {
        let add = Dispatch::new(&AddParams { n: ELEMENTS, pad: [0; 3] }, self.buffers.map(in_bf16));
        let all = busy(median(backend, &add).await?, launch);
        let starting = starting(shaders);
        Ok(3.0 * f64::from(ELEMENTS) / (all - starting).max(all / 10.0))
    }

    /// The rate of a matrix product in bf16, by how much longer it takes than one in fp32.
    async fn half_matmul(
        &self,
        backend: &mut Backend,
        launch: Nanos,
        matmul_rate: FlopsPerSec,
    ) -> Result<FlopsPerSec, ExecError> {
        let sizes = [self.side, self.side, DEPTHS[1]];
        let whole = busy(median(backend, &matmul(sizes, self.buffers)).await?, launch);
        let halves = busy(median(backend, &matmul(sizes, self.buffers.map(in_bf16))).await?, launch);
        Ok(FlopsPerSec(matmul_rate.0 * whole / halves))
    }

    /// The rate of a matrix product, and the length of its contraction at which it reaches half of that.
    async fn matmul(
        &self,
        backend: &mut Backend,
        launch: Nanos,
        at_once: u32,
    ) -> Result<(FlopsPerSec, f64), ExecError> {
        let mut seconds = [0.0; 2];
        for (seconds, k) in seconds.iter_mut().zip(DEPTHS) {
            *seconds = busy(median(backend, &matmul([self.side, self.side, k], self.buffers)).await?, launch);
        }
        let [short, long] = DEPTHS.map(f64::from);
        let of_one = ((seconds[1] - seconds[0]) / (long - short)).max(1e-12);
        let depth = (seconds[0] / of_one - short).max(0.0);
        let rate = 2.0 * f64::from(self.side).powi(2) / of_one;
        Ok((FlopsPerSec(rate / cost::tiles_filled(at_once, self.side)), depth))
    }

    /// Arithmetic of GELU beside what its workgroups cost and what they read.
    async fn vector(
        &self,
        backend: &mut Backend,
        launch: Nanos,
        shaders: &ShaderRates,
    ) -> Result<FlopsPerSec, ExecError> {
        let [a, b, _] = self.buffers;
        let gelu = Dispatch::new(&GeluParams { n: ELEMENTS, pad: [0; 3] }, [a, b]);
        let all = busy(median(backend, &gelu).await?, launch);
        let starting = starting(shaders);
        let moving = 2.0 * f64::from(ELEMENTS) / shaders.words_per_second;
        // At least a tenth is arithmetic, whatever the noise.
        Ok(FlopsPerSec(8.0 * f64::from(ELEMENTS) / (all - starting - moving).max(all / 10.0)))
    }

    /// The best of reading, and of adding.
    async fn bandwidth(&self, backend: &mut Backend, launch: Nanos) -> Result<BytesPerSec, ExecError> {
        let [a, b, c] = self.buffers;
        let elements = 4 * ELEMENTS;
        let lanes = elements / 64;
        let read = Dispatch::new(&ReadParams { rows: 64, lanes, pad: [0; 2] }, [a, c]);
        let add = Dispatch::new(&AddParams { n: elements, pad: [0; 3] }, [a, b, c]);
        let read = f64::from(elements) * 4.0 / busy(median(backend, &read).await?, launch);
        let add = f64::from(elements) * 12.0 / busy(median(backend, &add).await?, launch);
        Ok(BytesPerSec(read.max(add)))
    }
}

/// The share of a device that so many workgroups keep busy until the last of them ends.
fn filled(at_once: u32, grid: [u32; 3]) -> f64 {
    let workgroups = grid.iter().product::<u32>().max(1);
    f64::from(workgroups) / f64::from(workgroups.next_multiple_of(at_once.max(1)))
}

/// Seconds beyond the launch overhead, at least a nanosecond.
fn busy(time: Nanos, launch: Nanos) -> f64 {
    (time - launch).max(Nanos(1)).secs()
}

/// Seconds that the workgroups of an elementwise kernel take to start and end.
fn starting(shaders: &ShaderRates) -> f64 {
    shaders.workgroup.secs() * f64::from(ELEMENTS / WORKGROUP_SIZE) / f64::from(shaders.at_once)
}

fn in_bf16(slice: Slice) -> Slice {
    Slice { format: Format::Bf16, ..slice }
}

fn whole(backend: &mut Backend, bytes: u64) -> Slice {
    Slice::of_words(backend.create(bytes), 0, bytes)
}

fn matmul([m, n, k]: [u32; 3], [a, b, c]: [Slice; 3]) -> Dispatch {
    let square = MatmulParams::square(m);
    Dispatch::new(&MatmulParams { m, n, k, a_row_stride: k, b_row_stride: n, ..square }, [a, b, a, c])
}

/// Causal attention over `seq` tokens, and its work.
fn attention(seq: u32, buffers: [Slice; 3]) -> (Dispatch, f64) {
    let (groups, head_dim) = (4, 16);
    let params = AttentionParams::causal([1, seq, groups, 1, head_dim], 0.25);
    let pairs = f64::from(seq) * (f64::from(seq) + 1.0) / 2.0;
    let [qkv, out, lse] = buffers;
    (Dispatch::new(&params, [qkv, qkv, out, lse]), 4.0 * pairs * f64::from(groups * head_dim))
}

/// One scope of as many dispatches.
pub(super) fn scopes_of_one(dispatches: u32) -> Vec<Scope> {
    vec![scope(0, dispatches)]
}

fn scope(first: u32, last: u32) -> Scope {
    Scope {
        rank: 0,
        group: None,
        stream: Stream::Compute,
        label: LabelId(0),
        micro_batch: Span::NO_MICRO_BATCH,
        first,
        last,
    }
}

/// The median time of a dispatch, after one run to warm up (compile, allocate).
async fn median(backend: &mut Backend, dispatch: &Dispatch) -> Result<Nanos, ExecError> {
    let repeats = u32::try_from(REPEATS).unwrap_or(1);
    let mut durations = timed_calls(backend, &dispatch.clone().by_default(backend.runs_many()), repeats).await?;
    durations.sort_unstable();
    Ok(durations.get(durations.len() / 2).copied().unwrap_or(Nanos(1)).max(Nanos(1)))
}

/// The shortest of some calls of a dispatch, after one to warm up.
pub(super) async fn time_calls(backend: &mut Backend, dispatch: &Dispatch, repeats: u32) -> Result<Nanos, ExecError> {
    let durations = timed_calls(backend, dispatch, repeats).await?;
    Ok(durations.into_iter().min().unwrap_or(Nanos(1)).max(Nanos(1)))
}

/// The time of a call that may be the first of its kind; compiling is no part of it.
pub(super) async fn first_call(backend: &mut Backend, dispatch: &Dispatch) -> Result<Nanos, ExecError> {
    let times = replay_each(backend, vec![dispatch.clone()]).await?;
    Ok(times.first().copied().unwrap_or(Nanos(1)).max(Nanos(1)))
}

/// How long a device works until its clocks are what they are in a step.
const WARM_UP: Nanos = Nanos(100_000_000);

/// Calls between two looks at the time.
const WARM_UP_CALLS: i64 = 64;

/// Makes a call again and again, on devices whose clocks follow what they have to do.
pub(super) async fn warm_up(backend: &mut Backend, dispatch: &Dispatch) -> Result<(), ExecError> {
    let mut busy = Nanos::ZERO;
    while backend.runs_many() && busy < WARM_UP {
        let one = time_calls(backend, dispatch, 1).await?;
        let calls = ((WARM_UP - busy).0 / one.0.max(1)).clamp(1, WARM_UP_CALLS);
        time_calls(backend, dispatch, u32::try_from(calls).unwrap_or(1)).await?;
        // What a call takes beside what it computes is no rest either.
        busy += (one * calls).max(Nanos(WARM_UP.0 / WARM_UP_CALLS));
    }
    Ok(())
}

/// Times of some calls of a dispatch, after one to warm up.
pub(super) async fn timed_calls(
    backend: &mut Backend,
    dispatch: &Dispatch,
    repeats: u32,
) -> Result<Vec<Nanos>, ExecError> {
    let times = replay_each(backend, vec![dispatch.clone(); repeats as usize + 1]).await?;
    Ok(times.into_iter().skip(1).collect())
}

/// The time of every one of some calls.
async fn replay_each(backend: &mut Backend, dispatches: Vec<Dispatch>) -> Result<Vec<Nanos>, ExecError> {
    let count = u32::try_from(dispatches.len()).unwrap_or(u32::MAX);
    let recording = Recording { dispatches, scopes: (0..count).map(|call| scope(call, call + 1)).collect() };
    backend.prepare(&recording).await?;
    let times = backend.replay(&recording).await?.of_one();
    Ok(times.iter().map(|&(start, end)| end - start).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::{BackendKind, open};
    use crate::scenario::{Scenario, ScenarioFile, check, preset_file};

    #[test]
    fn a_measured_device_is_the_same_in_a_scenario() {
        let measured = pollster::block_on(async {
            let mut backend = open(BackendKind::Cpu).await.expect("the twins run anywhere");
            calibrate(&mut backend, 16).await.expect("kernels run")
        });
        let mut file = preset_file("tiny-gpt-dp2-tp2").expect("a preset");
        let ranks = Scenario::preset("tiny-gpt-dp2-tp2").expect("a preset").mesh().ranks();
        let memory = Bytes(1 << 30);
        file.cluster.device = None;
        file.cluster.nodes = 1;
        file.cluster.custom = Some(measured.device_file(ranks, memory));
        let text = toml::to_string(&file).expect("it can be written");
        let read: ScenarioFile = toml::from_str(&text).expect("it can be read");
        let scenario = check(&read).expect("it is complete");
        let (here, there) = (measured.cluster(ranks, memory).device, &scenario.cluster().device);
        assert_eq!(here.fp32_matmul, there.fp32_matmul);
        assert_eq!((here.fp32, here.memory_bandwidth), (there.fp32, there.memory_bandwidth));
        assert_eq!((here.launch_overhead, here.shaders), (there.launch_overhead, there.shaders));
        assert!(there.shaders.is_some_and(|rates| rates.at_once >= 1 && rates.words_per_second > 0.0));
    }

    #[test]
    fn medians_are_taken_of_every_figure_apart() {
        let measured = |matmul: f64, launch: i64| Calibration {
            backend: BackendInfo {
                kind: BackendKind::Cpu,
                name: "a device".to_owned(),
                detail: String::new(),
                timing: "cpu clock",
            },
            matmul: FlopsPerSec(matmul),
            half_matmul: FlopsPerSec(1.0),
            matmul_side: 16,
            attention: FlopsPerSec(1.0),
            vector: FlopsPerSec(1.0),
            memory_bandwidth: BytesPerSec(1.0),
            launch_overhead: Nanos(launch),
            copy_bandwidth: BytesPerSec(1.0),
            shaders: ShaderRates {
                chained: Nanos(1),
                shared: false,
                at_once: 2,
                workgroup: Nanos(1),
                words_per_second: 1.0,
                halves_per_second: 1.0,
                depth: 1.0,
            },
        };
        let median = Calibration::median(&[measured(3.0, 10), measured(1.0, 30), measured(2.0, 20)]);
        assert_eq!(median, Some(measured(2.0, 20)));
        assert_eq!(Calibration::median(&[]), None);
    }
}
