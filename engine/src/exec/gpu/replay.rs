//! Replays a prepared recording and times its scopes.

use web_time::Instant;

use super::OpenDevice;
use super::prepare::Prepared;
use super::timing::TimingMode;
use crate::exec::backend::HostTime;
use crate::exec::{ExecError, Recording, Scope};
use crate::units::Nanos;

/// Scopes in one submission: two timestamps each (where they share none) stay below the 4096 of a query set, and a
/// submission stays short.
const SCOPES_PER_SUBMISSION: usize = 512;

/// Submissions that may be unfinished at once.
const SUBMISSIONS_IN_FLIGHT: usize = 4;

/// Start and end of every scope, on the recording's clock.
pub type ScopeTimes = Vec<(Nanos, Nanos)>;

/// Times every scope by a submission of its own.
pub async fn by_queue_time(
    device: &OpenDevice,
    prepared: &Prepared,
    recording: &Recording,
    scopes: &[Scope],
) -> Result<ScopeTimes, ExecError> {
    let origin = Instant::now();
    let now = || Nanos::from(origin.elapsed());
    let mut times = Vec::with_capacity(scopes.len());
    for scope in scopes {
        let start = now();
        let mut encoder = device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            dispatch_scope(&mut pass, scope, prepared, recording);
        }
        device.queue.submit([encoder.finish()]);
        device.wait().await?;
        times.push((start, now()));
    }
    Ok(times)
}

/// What times scopes by timestamp queries.
#[derive(Debug, Default)]
pub struct Timer {
    /// The queries of each submission of a recording, made once.
    queries: Vec<Queries>,
    /// What the last replay cost the host.
    pub host: HostTime,
    /// Ticks of which all times between timestamps were multiples so far; 0 before any.
    pub quantum: u64,
}

/// Times scopes by timestamp queries, in submissions of many scopes.
pub async fn by_timestamps(
    device: &OpenDevice,
    prepared: &Prepared,
    recording: &Recording,
    scopes: &[Scope],
    Timer { queries: all, host, quantum }: &mut Timer,
) -> Result<ScopeTimes, ExecError> {
    let count = scopes.len().div_ceil(SCOPES_PER_SUBMISSION);
    while all.len() < count {
        all.push(Queries::new(device));
    }
    let parts = || scopes.chunks(SCOPES_PER_SUBMISSION).zip(all.iter());
    for (number, (scopes, queries)) in parts().enumerate() {
        let begin = Instant::now();
        let mut encoder = device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        match device.timing {
            TimingMode::InsidePasses => one_pass(&mut encoder, queries, scopes, prepared, recording),
            _ => pass_for_each(&mut encoder, queries, scopes, prepared, recording),
        }
        queries.resolve(&mut encoder, scopes.len());
        let commands = encoder.finish();
        let encoded = Instant::now();
        device.queue.submit([commands]);
        host.encoding += Nanos::from(encoded - begin);
        host.submitting += Nanos::from(encoded.elapsed());
        if (number + 1) % SUBMISSIONS_IN_FLIGHT == 0 {
            device.wait().await?;
        }
    }
    let mut ticks = Vec::with_capacity(scopes.len());
    for (scopes, queries) in parts() {
        ticks.extend(queries.read(device, scopes.len()).await?);
    }
    // It only becomes smaller, and cannot below one.
    if *quantum != 1 {
        let origin = ticks.first().map_or(0, |&(start, _)| start);
        *quantum = ticks.iter().fold(*quantum, |quantum, &(_, end)| divisor(quantum, end.abs_diff(origin)));
    }
    Ok(on_one_clock(&ticks, f64::from(device.queue.get_timestamp_period())))
}

/// The greatest common divisor; of 0 and another, the other.
fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// All scopes in one open pass, a timestamp before the first and after each: where one ends the next begins.
fn one_pass(
    encoder: &mut wgpu::CommandEncoder,
    queries: &Queries,
    scopes: &[Scope],
    prepared: &Prepared,
    recording: &Recording,
) {
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.write_timestamp(&queries.set, 0);
    for (index, scope) in (1_u32..).zip(scopes) {
        dispatch_scope(&mut pass, scope, prepared, recording);
        pass.write_timestamp(&queries.set, index);
    }
}

/// A pass for every scope, timed at its ends.
fn pass_for_each(
    encoder: &mut wgpu::CommandEncoder,
    queries: &Queries,
    scopes: &[Scope],
    prepared: &Prepared,
    recording: &Recording,
) {
    for (index, scope) in (0_u32..).zip(scopes) {
        let timestamp_writes = Some(wgpu::ComputePassTimestampWrites {
            query_set: &queries.set,
            beginning_of_pass_write_index: Some(2 * index),
            end_of_pass_write_index: Some(2 * index + 1),
        });
        let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        dispatch_scope(&mut pass, scope, prepared, recording);
    }
}

fn dispatch_scope(pass: &mut wgpu::ComputePass<'_>, scope: &Scope, prepared: &Prepared, recording: &Recording) {
    let range = scope.first as usize..scope.last as usize;
    let mut last = None;
    for (dispatch, (pipeline, bind_group)) in recording.dispatches[range.clone()].iter().zip(&prepared.calls[range]) {
        let [x, y, z] = dispatch.grid;
        if last.replace(pipeline) != Some(pipeline) {
            pass.set_pipeline(pipeline);
        }
        pass.set_bind_group(0, bind_group, &[]);
        pass.dispatch_workgroups(x, y, z);
    }
}

/// The timestamps of one submission.
#[derive(Debug)]
struct Queries {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    /// Whether a scope begins with the timestamp that ends the one before.
    shared: bool,
}

impl Queries {
    fn new(device: &OpenDevice) -> Self {
        let shared = device.timing == TimingMode::InsidePasses;
        let count = timestamps(SCOPES_PER_SUBMISSION, shared);
        let descriptor = wgpu::QuerySetDescriptor { label: None, ty: wgpu::QueryType::Timestamp, count };
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = device.buffer("timestamps", u64::from(count) * 8, usage);
        Self { set: device.device.create_query_set(&descriptor), resolved, shared }
    }

    fn resolve(&self, encoder: &mut wgpu::CommandEncoder, scopes: usize) {
        encoder.resolve_query_set(&self.set, 0..timestamps(scopes, self.shared), &self.resolved, 0);
    }

    /// Start and end of every scope in ticks.
    async fn read(&self, device: &OpenDevice, scopes: usize) -> Result<Vec<(u64, u64)>, ExecError> {
        let bytes = device.read(&self.resolved, 0, u64::from(timestamps(scopes, self.shared)) * 8).await?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
        let step = if self.shared { 1 } else { 2 };
        Ok(ticks.windows(2).step_by(step).map(|pair| (pair[0], pair[1])).collect())
    }
}

/// How many timestamps some scopes have.
fn timestamps(scopes: usize, shared: bool) -> u32 {
    u32::try_from(if shared { scopes + 1 } else { 2 * scopes }).unwrap_or(u32::MAX)
}

/// Ticks as nanoseconds since the first; a scope starts no earlier than the one before ended, since both run on one
/// in-order queue (timestamps are quantised, and their order may be lost within a quantum).
fn on_one_clock(ticks: &[(u64, u64)], period: f64) -> ScopeTimes {
    let origin = ticks.first().map_or(0, |(start, _)| *start);
    let nanos = |tick: u64| Nanos::from_secs(tick.saturating_sub(origin) as f64 * period / 1e9);
    let mut last = Nanos::ZERO;
    let clamp = |(start, end): &(u64, u64)| {
        let start = nanos(*start).max(last);
        last = nanos(*end).max(start);
        (start, last)
    };
    ticks.iter().map(clamp).collect()
}
