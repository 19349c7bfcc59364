//! Measures what the cost model needs to know of this device: matmul and vector rate, bandwidths, time per kernel call,
//! and how fast ranks that share it exchange data.

use serde::Serialize;

use super::cpu::add::AddParams;
use super::cpu::attention::AttentionParams;
use super::cpu::fill::FillParams;
use super::cpu::gelu::GeluParams;
use super::cpu::matmul::MatmulParams;
use super::{Backend, BackendInfo, Dispatch, ExecError, Recording, Scope, Slice, collectives};
use crate::cluster::{AlgorithmChoice, Cluster, Device, Host, Link, LinkLayout, Network};
use crate::trace::{LabelId, Span, Stream};
use crate::units::{Bytes, BytesPerSec, FlopsPerSec, Nanos};

/// Repetitions of each measurement; the median counts.
const REPEATS: usize = 5;

/// Measured rates of a device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// What was measured, and how it was timed.
    pub backend: BackendInfo,
    /// fp32 matmul of about the size of the scenario's.
    pub matmul: FlopsPerSec,
    /// The side of that square matmul.
    pub matmul_side: u32,
    /// Attention forward, four heads of width 16.
    pub attention: FlopsPerSec,
    /// Elementwise fp32 arithmetic: GELU, counted as eight operations an element as the cost model does.
    pub vector: FlopsPerSec,
    /// Bytes read and written by an elementwise kernel, per second.
    pub memory_bandwidth: BytesPerSec,
    /// Time of a kernel call that does nothing.
    pub launch_overhead: Nanos,
    /// Bytes copied from one buffer to another, per second.
    pub copy_bandwidth: BytesPerSec,
}

impl Calibration {
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
            bf16_matmul: self.matmul,
            host_dispatch: Nanos::ZERO,
            residuals: None,
            multiprocessors: 0,
            tf32_matmul: self.matmul,
            fp16_matmul: self.matmul,
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
    let side = matmul_side.clamp(16, 512);
    let elements = 1_u32 << 20;
    let [a, b, c] = [0; 3].map(|_| whole(backend, u64::from(elements.max(side * side)) * 4));
    let matmul = median(backend, &matmul(side, a, b, c)).await?;
    let (attention, attention_flops) = attention(side, [a, b, c]);
    let attention = median(backend, &attention).await?;
    let add = median(backend, &Dispatch::new(&AddParams { n: elements, pad: [0; 3] }, [a, b, c])).await?;
    let gelu = median(backend, &Dispatch::new(&GeluParams { n: elements, pad: [0; 3] }, [a, b])).await?;
    let copy = median(backend, &collectives::copy(a, 0, b, 0, elements)).await?;
    let fill = FillParams { n: 1, value: 0.0, pad: [0; 2] };
    let launch = median(backend, &Dispatch::new(&fill, [c])).await?;
    let bytes = f64::from(elements) * 4.0;
    Ok(Calibration {
        backend: backend.info().clone(),
        matmul: FlopsPerSec(2.0 * f64::from(side).powi(3) / busy(matmul, launch)),
        matmul_side: side,
        attention: FlopsPerSec(attention_flops / busy(attention, launch)),
        vector: FlopsPerSec(8.0 * f64::from(elements) / busy(gelu, launch)),
        memory_bandwidth: BytesPerSec(3.0 * bytes / busy(add, launch)),
        launch_overhead: launch,
        copy_bandwidth: BytesPerSec(bytes / busy(copy, launch)),
    })
}

/// Seconds beyond the launch overhead, at least a nanosecond.
fn busy(time: Nanos, launch: Nanos) -> f64 {
    (time - launch).max(Nanos(1)).secs()
}

fn whole(backend: &mut Backend, bytes: u64) -> Slice {
    Slice { buffer: backend.create(bytes), offset: 0, size: bytes }
}

fn matmul(side: u32, a: Slice, b: Slice, c: Slice) -> Dispatch {
    Dispatch::new(&MatmulParams::square(side), [a, b, a, c])
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
    let mut durations = timed_calls(backend, dispatch, repeats).await?;
    durations.sort_unstable();
    Ok(durations.get(durations.len() / 2).copied().unwrap_or(Nanos(1)).max(Nanos(1)))
}

/// The shortest of some calls of a dispatch, after one to warm up.
pub(super) async fn time_calls(backend: &mut Backend, dispatch: &Dispatch, repeats: u32) -> Result<Nanos, ExecError> {
    let durations = timed_calls(backend, dispatch, repeats).await?;
    Ok(durations.into_iter().min().unwrap_or(Nanos(1)).max(Nanos(1)))
}

/// Times of some calls of a dispatch, after one to warm up.
pub(super) async fn timed_calls(
    backend: &mut Backend,
    dispatch: &Dispatch,
    repeats: u32,
) -> Result<Vec<Nanos>, ExecError> {
    let repeats = repeats + 1;
    let dispatches = vec![dispatch.clone(); repeats as usize];
    let recording = Recording { dispatches, scopes: (0..repeats).map(|call| scope(call, call + 1)).collect() };
    backend.prepare(&recording).await?;
    let times = backend.replay(&recording).await?;
    Ok(times.iter().skip(1).map(|&(start, end)| end - start).collect())
}
