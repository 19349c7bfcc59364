//! Micro-benchmarks of a device: what it can do at most, and what kernels reach of it.
//!
//! * `figures` has the result: one figure for each measurement, and the roofline that follows from them,
//! * `device` measures arithmetic, memory, transfers and latencies,
//! * `kernels` measures matrix products in all their ways, and the kernels of a transformer block,
//! * `exchange` measures collectives between ranks that share the device.
//!
//! Kernels are timed as every op of a step is (`BackendInfo::timing`), latencies on the host's clock. A figure is the median
//! of several calls after one that compiles and warms up. Sweeps over sizes end where a call would take too long.

mod device;
mod exchange;
mod figures;
mod kernels;

pub use figures::{BenchReport, Clock, Exchanged, Figure, Quanta, RooflinePoint, Section, Unit};

use web_time::Instant;

use super::calibrate::{timed_calls, warm_up};
use super::{Backend, BackendKind, Dispatch, ExecError, Format, Slice, Tuning};
use crate::units::Nanos;

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchOptions {
    /// In this order.
    pub sections: Vec<Section>,
    /// The largest side of a matrix product.
    pub largest: u32,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self { sections: Section::ALL.to_vec(), largest: 1024 }
    }
}

/// Sweeps go on to the next size while a call takes less than this.
const LONGEST_CALL: Nanos = Nanos(150_000_000);

/// Calls are repeated for about this long.
const REPEAT_FOR: Nanos = Nanos(30_000_000);

/// Steps of the host's clock that are looked at.
const QUANTA: u32 = 16;

/// Told what is measured and the share that is done; returns whether to go on.
pub type Progress<'a> = &'a mut dyn FnMut(&str, f32) -> bool;

/// Measures a device; what was found of matrix products is kept in `tuning`. Gives the device back.
///
/// # Errors
/// When a kernel cannot run, the device is lost, or `progress` stops it.
pub async fn bench(
    backend: Backend,
    options: &BenchOptions,
    tuning: &mut Tuning,
    progress: Progress<'_>,
) -> Result<(BenchReport, Backend), ExecError> {
    let mut bench = Bench::new(backend, options, progress);
    for &section in &options.sections {
        match section {
            Section::Peak => bench.peak().await?,
            Section::Memory => bench.memory().await?,
            Section::Transfer => bench.transfer().await?,
            Section::Latency => bench.latency().await?,
            Section::Matmul => bench.matmul(options.largest, tuning).await?,
            Section::Block => bench = bench.block(tuning).await?,
            Section::Collectives => bench.collectives().await?,
        }
        bench.sections_done += 1;
    }
    let (info, quanta) =
        (bench.backend.info().clone(), Quanta { device: bench.backend.quantum(), host: host_quantum() });
    Ok((BenchReport { backend: info, quanta: Some(quanta), figures: bench.figures }, bench.backend))
}

/// The smallest step of the host's clock, of some: what a page may read is coarse.
fn host_quantum() -> Nanos {
    let step = || {
        let begin = Instant::now();
        loop {
            let passed = begin.elapsed();
            if !passed.is_zero() {
                return Nanos::from(passed);
            }
        }
    };
    (0..QUANTA).map(|_| step()).min().unwrap_or(Nanos(1)).max(Nanos(1))
}

/// The part of the sections that is done.
fn share(done: usize, all: usize) -> f32 {
    done as f32 / all.max(1) as f32
}

/// A benchmark that runs.
struct Bench<'a> {
    backend: Backend,
    /// Three buffers that all kernels work on.
    buffers: [super::BufferId; 3],
    bytes: u64,
    figures: Vec<Figure>,
    progress: Progress<'a>,
    sections: usize,
    sections_done: usize,
}

impl<'a> Bench<'a> {
    fn new(mut backend: Backend, options: &BenchOptions, progress: Progress<'a>) -> Self {
        let side = u64::from(options.largest);
        // Beyond what caches hold: of the host, of a processor that stands in for a device, of a device.
        let least = match backend.info().kind {
            BackendKind::Cpu => 16 << 20,
            BackendKind::Wgpu if backend.abilities().many => 512 << 20,
            BackendKind::Wgpu => 64 << 20,
        };
        let bytes = (side * side * 4).max(least).min(backend.most_bytes());
        let buffers = [(); 3].map(|()| backend.create(bytes));
        let sections = options.sections.len();
        Self { backend, buffers, bytes, figures: Vec::new(), progress, sections, sections_done: 0 }
    }

    /// The first bytes of one of the buffers.
    fn slice(&self, buffer: usize, elements: u64) -> Slice {
        self.slice_in(Format::Word, buffer, elements)
    }

    /// The same of numbers in another format.
    fn slice_in(&self, format: Format, buffer: usize, elements: u64) -> Slice {
        Slice { buffer: self.buffers[buffer], offset: 0, size: elements * format.size(), format }
    }

    fn tell(&mut self, what: &str) -> Result<(), ExecError> {
        let share = share(self.sections_done, self.sections);
        if (self.progress)(what, share) { Ok(()) } else { Err(ExecError::Cancelled) }
    }

    /// The median time of a call as a step makes it.
    async fn time_by_default(&mut self, call: Dispatch) -> Result<Nanos, ExecError> {
        self.time(&call.by_default(self.backend.abilities())).await
    }

    /// The median time of a call, repeated as often as there is time for.
    async fn time(&mut self, dispatch: &Dispatch) -> Result<Nanos, ExecError> {
        let first = timed_calls(&mut self.backend, dispatch, 1).await?;
        warm_up(&mut self.backend, dispatch).await?;
        let first = first.first().copied().unwrap_or(Nanos(1)).max(Nanos(1));
        if first > LONGEST_CALL {
            return Ok(first);
        }
        let repeats = u32::try_from((REPEAT_FOR.0 / first.0).clamp(3, 20)).unwrap_or(3);
        let mut times = timed_calls(&mut self.backend, dispatch, repeats).await?;
        times.sort_unstable();
        Ok(times.get(times.len() / 2).copied().unwrap_or(first).max(Nanos(1)))
    }

    fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }
}
