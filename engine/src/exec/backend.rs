//! Where a recording runs: on the CPU twins, on a wgpu device, or on several of either.

use std::ops::Range;

use super::cpu::backend::CpuBackend;
#[cfg(feature = "gpu")]
use super::gpu::GpuBackend;
#[cfg(not(target_arch = "wasm32"))]
use super::workers::{Launcher, Sent, Workers};
use super::{Abilities, BufferId, ExecError, Recording};
#[cfg(not(target_arch = "wasm32"))]
use crate::scenario::{Placement, PlacementName};
use crate::units::Nanos;

/// The kinds of backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendKind {
    /// The kernels' CPU twins: works everywhere, and is the oracle of tests.
    Cpu,
    /// Compute shaders by wgpu: Vulkan, Metal, DirectX 12 or the browser's WebGPU.
    Wgpu,
}

impl BackendKind {
    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Wgpu => "wgpu",
        }
    }
}

/// What a backend is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BackendInfo {
    /// Its kind.
    pub kind: BackendKind,
    /// The device's name.
    pub name: String,
    /// Driver and API.
    pub detail: String,
    /// How ops are timed: `timestamp queries`, `queue time` or `cpu clock`.
    pub timing: &'static str,
}

impl BackendInfo {
    /// What is known of a device that is not open yet.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn unknown(kind: BackendKind) -> Self {
        Self { kind, name: String::new(), detail: String::new(), timing: TIMINGS[0] }
    }
}

/// Ways to time ops, as they are written.
const TIMINGS: [&str; 4] = ["timestamp queries", "timestamp queries at pass ends", "queue time", "cpu clock"];

impl<'de> serde::Deserialize<'de> for BackendInfo {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Written {
            kind: BackendKind,
            name: String,
            detail: String,
            timing: String,
        }
        let Written { kind, name, detail, timing } = Written::deserialize(deserializer)?;
        let known = TIMINGS.into_iter().find(|known| *known == timing).ok_or_else(|| {
            serde::de::Error::custom(format!("`{timing}` is no way to time ops; expected one of {TIMINGS:?}"))
        })?;
        Ok(Self { kind, name, detail, timing: known })
    }
}

/// A device that replays recordings.
#[derive(Debug)]
pub struct Backend(Inner);

#[derive(Debug)]
enum Inner {
    Cpu(CpuBackend),
    #[cfg(feature = "gpu")]
    Gpu(Box<GpuBackend>),
    #[cfg(not(target_arch = "wasm32"))]
    Workers(Box<Workers>),
}

/// Opens a device.
pub async fn open(kind: BackendKind) -> Result<Backend, ExecError> {
    match kind {
        BackendKind::Cpu => Ok(Backend(Inner::Cpu(CpuBackend::new()))),
        #[cfg(feature = "gpu")]
        BackendKind::Wgpu => Ok(Backend(Inner::Gpu(Box::new(GpuBackend::open().await?)))),
        #[cfg(not(feature = "gpu"))]
        BackendKind::Wgpu => Err(ExecError::NotBuiltIn),
    }
}

/// Opens a device for worker `number`: adapters are dealt out in turn.
#[cfg(not(target_arch = "wasm32"))]
pub(super) async fn open_nth(kind: BackendKind, number: u32) -> Result<Backend, ExecError> {
    match kind {
        #[cfg(feature = "gpu")]
        BackendKind::Wgpu => Ok(Backend(Inner::Gpu(Box::new(GpuBackend::open_nth(number).await?)))),
        _ => {
            let _ = number;
            open(kind).await
        }
    }
}

/// Opens a device, or as many workers as `placement` asks for with one each.
///
/// # Errors
/// When there is no device, or a worker cannot be started.
#[cfg(not(target_arch = "wasm32"))]
pub async fn open_placed(
    kind: BackendKind,
    placement: Placement,
    ranks: u32,
    launcher: &Launcher,
) -> Result<Backend, ExecError> {
    match (placement.kind, placement.workers(ranks)) {
        (PlacementName::Device, _) => open(kind).await,
        (name, count) => Ok(Backend(Inner::Workers(Box::new(Workers::start(kind, name, count, launcher)?)))),
    }
}

/// What the host does before a device can run a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct HostTime {
    /// Writing kernel calls into command buffers.
    pub encoding: Nanos,
    /// Handing these to the driver.
    pub submitting: Nanos,
}

/// Start and end of every scope of a recording, on each of the devices that replayed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeTimes(Vec<Vec<(Nanos, Nanos)>>);

impl ScopeTimes {
    /// From the times on every device.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn of_places(places: Vec<Vec<(Nanos, Nanos)>>) -> Self {
        Self(places)
    }

    /// The times on a device.
    pub fn at(&self, place: u32) -> &[(Nanos, Nanos)] {
        self.0.get(place as usize).map_or(&[], Vec::as_slice)
    }

    /// The times where there is one device only.
    pub fn of_one(self) -> Vec<(Nanos, Nanos)> {
        self.0.into_iter().next().unwrap_or_default()
    }

    /// When the last scope has ended everywhere.
    pub fn end(&self) -> Nanos {
        self.0.iter().filter_map(|times| times.last()).map(|(_, end)| *end).max().unwrap_or(Nanos::ZERO)
    }
}

impl Backend {
    /// Of a device that a test has opened.
    #[cfg(all(test, feature = "gpu"))]
    pub(super) fn of_gpu(gpu: GpuBackend) -> Self {
        Self(Inner::Gpu(Box::new(gpu)))
    }

    /// What it is.
    pub fn info(&self) -> &BackendInfo {
        match &self.0 {
            Inner::Cpu(backend) => backend.info(),
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => backend.info(),
            #[cfg(not(target_arch = "wasm32"))]
            Inner::Workers(backend) => backend.info(),
        }
    }

    /// How many devices it has, among which ranks are dealt out.
    pub fn places(&self) -> u32 {
        match &self.0 {
            #[cfg(not(target_arch = "wasm32"))]
            Inner::Workers(backend) => backend.count(),
            _ => 1,
        }
    }

    /// The device of a rank: neighbours share one.
    pub fn place_of(&self, rank: u32, ranks: u32) -> u32 {
        rank * self.places() / ranks.max(1)
    }

    /// What goes over sockets each time that the prepared recording is replayed; none where there is one device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn sent(&self) -> Option<Sent> {
        match &self.0 {
            Inner::Workers(backend) => Some(backend.sent()),
            _ => None,
        }
    }

    /// Bytes of all buffers that were created.
    pub fn created_bytes(&self) -> u64 {
        match &self.0 {
            Inner::Cpu(backend) => backend.created_bytes(),
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => backend.created_bytes(),
            #[cfg(not(target_arch = "wasm32"))]
            Inner::Workers(backend) => backend.created_bytes(),
        }
    }

    /// Creates a buffer of `bytes`, filled with zeros, on the first device.
    pub fn create(&mut self, bytes: u64) -> BufferId {
        self.create_at(0, bytes)
    }

    /// The same on another.
    pub fn create_at(&mut self, place: u32, bytes: u64) -> BufferId {
        let _ = place;
        match &mut self.0 {
            Inner::Cpu(backend) => backend.create(bytes),
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => backend.create(bytes),
            #[cfg(not(target_arch = "wasm32"))]
            Inner::Workers(backend) => backend.create(place, bytes),
        }
    }

    /// Writes words to a buffer from byte `offset` on, before any recording that is replayed later.
    pub fn write(&mut self, buffer: BufferId, offset: u64, words: &[u32]) {
        match &mut self.0 {
            Inner::Cpu(backend) => backend.write(buffer, offset, words),
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => backend.write(buffer, offset, words),
            #[cfg(not(target_arch = "wasm32"))]
            Inner::Workers(backend) => backend.write(buffer, offset, words),
        }
    }

    /// Gets ready to replay `recording` many times: compiles its kernels and binds its buffers.
    pub async fn prepare(&mut self, recording: &Recording) -> Result<(), ExecError> {
        match &mut self.0 {
            Inner::Cpu(backend) => backend.prepare(recording),
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => backend.prepare(recording).await,
            #[cfg(not(target_arch = "wasm32"))]
            Inner::Workers(backend) => backend.prepare(recording),
        }
    }

    /// Replays the recording that was prepared last; returns start and end of every scope.
    pub async fn replay(&mut self, recording: &Recording) -> Result<ScopeTimes, ExecError> {
        #[cfg(not(target_arch = "wasm32"))]
        if let Inner::Workers(backend) = &mut self.0 {
            return backend.replay(recording);
        }
        let times = self.replay_scopes(recording, 0..recording.scopes.len()).await?;
        Ok(ScopeTimes(vec![times]))
    }

    /// Whether a device computes in half precision; twins only round so.
    pub fn computes_halves(&self) -> bool {
        match &self.0 {
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => backend.computes_halves(),
            _ => false,
        }
    }

    /// What kernels may make use of.
    pub fn abilities(&self) -> Abilities {
        match &self.0 {
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => backend.abilities(),
            #[cfg(not(target_arch = "wasm32"))]
            Inner::Workers(backend) => backend.abilities(),
            _ => Abilities::default(),
        }
    }

    /// Bytes of which a buffer can be that a kernel is given whole.
    pub(super) fn most_bytes(&self) -> u64 {
        match &self.0 {
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => backend.most_bytes(),
            _ => u64::MAX,
        }
    }

    /// What all times between timestamps of the device were multiples of so far; none where it has no timestamps.
    pub fn quantum(&self) -> Option<Nanos> {
        match &self.0 {
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => backend.quantum(),
            _ => None,
        }
    }

    /// What the last replay cost the host, where that is measured.
    pub fn host(&self) -> Option<HostTime> {
        match &self.0 {
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => Some(backend.host()),
            _ => None,
        }
    }

    /// Replays some scopes of the recording that was prepared last, on one device.
    pub(super) async fn replay_scopes(
        &mut self,
        recording: &Recording,
        scopes: Range<usize>,
    ) -> Result<Vec<(Nanos, Nanos)>, ExecError> {
        match &mut self.0 {
            Inner::Cpu(backend) => backend.replay(recording, scopes),
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => backend.replay(recording, scopes).await,
            #[cfg(not(target_arch = "wasm32"))]
            Inner::Workers(_) => Err(ExecError::Kernel("workers have no workers".to_owned())),
        }
    }

    /// Reads `words` words from byte `offset` of a buffer.
    pub async fn read(&mut self, buffer: BufferId, offset: u64, words: usize) -> Result<Vec<f32>, ExecError> {
        match &mut self.0 {
            Inner::Cpu(backend) => Ok(backend.read(buffer, offset, words)),
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => backend.read(buffer, offset, words).await,
            #[cfg(not(target_arch = "wasm32"))]
            Inner::Workers(backend) => backend.read(buffer, offset, words),
        }
    }
}
