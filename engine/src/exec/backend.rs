//! Where a recording runs: on the CPU twins, or on a wgpu device.

use super::cpu::backend::CpuBackend;
#[cfg(feature = "gpu")]
use super::gpu::GpuBackend;
use super::{BufferId, ExecError, Recording};
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

impl Backend {
    /// What it is.
    pub fn info(&self) -> &BackendInfo {
        match &self.0 {
            Inner::Cpu(backend) => backend.info(),
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => backend.info(),
        }
    }

    /// Bytes of all buffers that were created.
    pub fn created_bytes(&self) -> u64 {
        match &self.0 {
            Inner::Cpu(backend) => backend.created_bytes(),
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => backend.created_bytes(),
        }
    }

    /// Creates a buffer of `bytes`, filled with zeros.
    pub fn create(&mut self, bytes: u64) -> BufferId {
        match &mut self.0 {
            Inner::Cpu(backend) => backend.create(bytes),
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => backend.create(bytes),
        }
    }

    /// Writes words to a buffer from byte `offset` on, before any recording that is replayed later.
    pub fn write(&mut self, buffer: BufferId, offset: u64, words: &[u32]) {
        match &mut self.0 {
            Inner::Cpu(backend) => backend.write(buffer, offset, words),
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => backend.write(buffer, offset, words),
        }
    }

    /// Gets ready to replay `recording` many times: compiles its kernels and binds its buffers.
    pub async fn prepare(&mut self, recording: &Recording) -> Result<(), ExecError> {
        match &mut self.0 {
            Inner::Cpu(backend) => backend.prepare(recording),
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => backend.prepare(recording).await,
        }
    }

    /// Replays the recording that was prepared last; returns start and end of every scope.
    pub async fn replay(&mut self, recording: &Recording) -> Result<Vec<(Nanos, Nanos)>, ExecError> {
        match &mut self.0 {
            Inner::Cpu(backend) => backend.replay(recording),
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => backend.replay(recording).await,
        }
    }

    /// Reads `words` words from byte `offset` of a buffer.
    pub async fn read(&mut self, buffer: BufferId, offset: u64, words: usize) -> Result<Vec<f32>, ExecError> {
        match &mut self.0 {
            Inner::Cpu(backend) => Ok(backend.read(buffer, offset, words)),
            #[cfg(feature = "gpu")]
            Inner::Gpu(backend) => backend.read(buffer, offset, words).await,
        }
    }
}
