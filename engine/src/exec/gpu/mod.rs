//! Replays recordings on a wgpu device: Vulkan, Metal, DirectX 12, or the browser's WebGPU.
//!
//! One compute pass stays open across the dispatches of a submission; parameters ride in one uniform buffer;
//! submissions in flight are capped. Ops are timed by timestamps inside the pass, where the device has none by
//! timestamps at pass ends, and where it has none at all by queue time.

mod device;
#[cfg(test)]
mod failures;
mod needs;
mod prepare;
mod replay;
mod timing;

use std::collections::BTreeMap;
use std::ops::Range;

pub(super) use device::OpenDevice;

use super::backend::HostTime;
use super::{Abilities, BackendInfo, BufferId, Dispatch, ExecError, Format, Kernel, Recording};
use crate::units::{Bytes, Nanos};
use prepare::Prepared;
use replay::Timer;
use timing::TimingMode;

/// A kernel in one of its ways, on buffers of some formats, with room for some sums.
type Way = (Kernel, u8, Vec<Format>, u32);

/// Compiled kernels, in each way that was asked for.
type Pipelines = BTreeMap<Way, wgpu::ComputePipeline>;

/// How a call is computed.
fn way(dispatch: &Dispatch) -> Way {
    (dispatch.kernel, dispatch.family, dispatch.formats(), dispatch.sums())
}

/// A device, its buffers, and the pipelines compiled so far.
#[derive(Debug)]
pub struct GpuBackend {
    device: OpenDevice,
    buffers: Vec<wgpu::Buffer>,
    created_bytes: u64,
    /// The first buffer that was larger than the device allows, and is not there.
    too_large: Option<u64>,
    pipelines: Pipelines,
    prepared: Option<Prepared>,
    timer: Timer,
}

impl GpuBackend {
    /// Opens the default adapter.
    pub async fn open() -> Result<Self, ExecError> {
        Ok(Self::of(OpenDevice::open().await?))
    }

    /// Opens adapter `number` of those that can compute, counted round.
    #[cfg(not(target_arch = "wasm32"))]
    pub async fn open_nth(number: u32) -> Result<Self, ExecError> {
        Ok(Self::of(OpenDevice::open_nth(number).await?))
    }

    fn of(device: OpenDevice) -> Self {
        let (buffers, pipelines) = (Vec::new(), BTreeMap::new());
        Self { device, buffers, created_bytes: 0, too_large: None, pipelines, prepared: None, timer: Timer::default() }
    }

    /// What it is.
    pub fn info(&self) -> &BackendInfo {
        &self.device.info
    }

    /// Whether it computes in half precision.
    pub fn computes_halves(&self) -> bool {
        self.device.half
    }

    /// What kernels may make use of.
    pub fn abilities(&self) -> Abilities {
        self.device.abilities
    }

    /// Bytes of all buffers.
    pub fn created_bytes(&self) -> u64 {
        self.created_bytes
    }

    /// Bytes of which a buffer can be that a kernel is given whole.
    pub fn most_bytes(&self) -> u64 {
        let limits = self.device.device.limits();
        limits.max_buffer_size.min(limits.max_storage_buffer_binding_size)
    }

    /// Whether all buffers, and what a recording gives kernels of them, are as large as the device allows at most.
    fn fits(&self, recording: &Recording) -> Result<(), ExecError> {
        let limits = self.device.device.limits();
        let given = recording.dispatches.iter().flat_map(|call| &call.bindings).map(|slice| slice.size).max();
        within(self.too_large.unwrap_or(0), limits.max_buffer_size)?;
        within(given.unwrap_or(0), limits.max_storage_buffer_binding_size)
    }

    /// Creates a buffer of zeros (WebGPU clears buffers). One that is larger than the device allows is noted and not there.
    pub fn create(&mut self, bytes: u64) -> BufferId {
        let id = BufferId(u32::try_from(self.buffers.len()).unwrap_or(u32::MAX));
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let fits = bytes <= self.device.device.limits().max_buffer_size;
        if !fits {
            self.too_large.get_or_insert(bytes);
        }
        self.buffers.push(self.device.buffer("tensor", if fits { bytes } else { 0 }, usage));
        self.created_bytes += bytes;
        id
    }

    /// Queues a write to the start of a buffer; the queue keeps it in order with submissions.
    pub fn write(&mut self, buffer: BufferId, offset: u64, words: &[u32]) {
        self.device.queue.write_buffer(&self.buffers[buffer.0 as usize], offset, bytemuck::cast_slice(words));
    }

    /// Compiles the kernels of `recording` and binds its buffers.
    pub async fn prepare(&mut self, recording: &Recording) -> Result<(), ExecError> {
        self.fits(recording)?;
        for dispatch in &recording.dispatches {
            if dispatch.kernel.needs_half() && !self.device.half {
                return Err(ExecError::Kernel(format!(
                    "the device has no half precision for `{}`",
                    dispatch.kernel.name()
                )));
            }
            let way = way(dispatch);
            if !self.pipelines.contains_key(&way) {
                self.pipelines.insert(way.clone(), prepare::pipeline(&self.device.device, &way));
            }
        }
        self.prepared = Some(Prepared::new(&self.device, &self.pipelines, &self.buffers, recording));
        self.device.wait().await
    }

    /// Runs some scopes of the recording; returns start and end of each.
    pub async fn replay(
        &mut self,
        recording: &Recording,
        scopes: Range<usize>,
    ) -> Result<Vec<(Nanos, Nanos)>, ExecError> {
        let Some(prepared) = &self.prepared else { return Err(ExecError::Kernel("nothing is prepared".into())) };
        let scopes = &recording.scopes[scopes];
        self.timer.host = HostTime::default();
        match self.device.timing {
            TimingMode::Queue => replay::by_queue_time(&self.device, prepared, recording, scopes).await,
            _ => replay::by_timestamps(&self.device, prepared, recording, scopes, &mut self.timer).await,
        }
    }

    /// What all times between timestamps were multiples of so far.
    pub fn quantum(&self) -> Option<Nanos> {
        let period = f64::from(self.device.queue.get_timestamp_period());
        (self.timer.quantum > 0).then(|| Nanos::from_secs(self.timer.quantum as f64 * period / 1e9).max(Nanos(1)))
    }

    /// What the last replay cost the host; nothing where ops are timed by the queue.
    pub fn host(&self) -> HostTime {
        self.timer.host
    }

    /// Reads words back.
    pub async fn read(&mut self, buffer: BufferId, offset: u64, words: usize) -> Result<Vec<f32>, ExecError> {
        let bytes = self.device.read(&self.buffers[buffer.0 as usize], offset, words as u64 * 4).await?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }
}

/// Whether so many bytes are allowed.
fn within(needed: u64, allowed: u64) -> Result<(), ExecError> {
    let [needed, allowed] = [needed, allowed].map(Bytes);
    if needed <= allowed { Ok(()) } else { Err(ExecError::TooLarge { needed, allowed }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_refused_with_both_figures() {
        assert_eq!(within(256, 256), Ok(()));
        let message = within(3 << 20, 1 << 20).err().map(|error| error.to_string());
        let said = message.is_some_and(|message| message.contains("3.00 MiB") && message.contains("1.00 MiB"));
        assert!(said, "needed and allowed are named");
    }
}
