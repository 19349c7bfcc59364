//! The adapter and device: opening, waiting, reading back, errors.

use std::sync::{Arc, Mutex};

use super::needs::{Lack, lack};
use super::timing::TimingMode;
use crate::exec::{Abilities, BackendInfo, BackendKind, ExecError};

/// An open device with its queue.
#[derive(Debug)]
pub struct OpenDevice {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub info: BackendInfo,
    pub timing: TimingMode,
    /// Whether it computes in half precision.
    pub half: bool,
    /// What kernels may make use of.
    pub abilities: Abilities,
    /// What the device reported outside of a call.
    pub(super) failure: Failure,
}

/// Why a device can no longer be used: that it has no memory left, or that it was lost, from which all others follow, or else
/// the first error.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure(Arc<Mutex<Option<ExecError>>>);

impl Failure {
    /// What a device reports from now on.
    fn of(device: &wgpu::Device) -> Self {
        let failure = Self::default();
        let (on_error, on_loss) = (failure.clone(), failure.clone());
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| on_error.note(reported(&error))));
        device.set_device_lost_callback(move |reason, message| on_loss.note(lost(reason, &message)));
        failure
    }

    pub(super) fn note(&self, error: ExecError) {
        let weight = |error: &ExecError| match error {
            ExecError::OutOfMemory(_) => 2,
            ExecError::Lost(_) => 1,
            _ => 0,
        };
        let Ok(mut slot) = self.0.lock() else { return };
        if slot.as_ref().is_none_or(|known| weight(known) < weight(&error)) {
            *slot = Some(error);
        }
    }

    pub(super) fn get(&self) -> Option<ExecError> {
        let unknown = || Some(ExecError::Device("an error handler failed".to_owned()));
        self.0.lock().map_or_else(|_| unknown(), |slot| slot.clone())
    }
}

pub(super) fn reported(error: &wgpu::Error) -> ExecError {
    match error {
        // A page is not told more.
        wgpu::Error::OutOfMemory { .. } if cfg!(target_arch = "wasm32") => {
            ExecError::OutOfMemory("a buffer was refused".to_owned())
        }
        wgpu::Error::OutOfMemory { source } => ExecError::OutOfMemory(source.to_string()),
        _ => ExecError::Device(error.to_string()),
    }
}

fn lost(reason: wgpu::DeviceLostReason, message: &str) -> ExecError {
    let why = match (message, reason) {
        ("", wgpu::DeviceLostReason::Destroyed) => "it was destroyed",
        ("", wgpu::DeviceLostReason::Unknown) => "the driver does not say why",
        _ => message.trim_end_matches('.'),
    };
    ExecError::Lost(why.to_owned())
}

impl OpenDevice {
    /// Opens the adapter that wgpu prefers.
    pub async fn open() -> Result<Self, ExecError> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..wgpu::RequestAdapterOptions::default()
        };
        let adapter =
            instance.request_adapter(&options).await.map_err(|error| ExecError::NoAdapter(error.to_string()))?;
        Self::of(&adapter).await
    }

    /// Opens adapter `number` of those that wgpu would choose from, counted round: all of the API of the one that it
    /// prefers, and software only where there is nothing else.
    #[cfg(not(target_arch = "wasm32"))]
    pub async fn open_nth(number: u32) -> Result<Self, ExecError> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let all = instance.enumerate_adapters(wgpu::Backends::all()).await;
        let computes = |adapter: &&wgpu::Adapter| {
            adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
        };
        let software = |adapter: &wgpu::Adapter| adapter.get_info().device_type == wgpu::DeviceType::Cpu;
        let mut known: Vec<&wgpu::Adapter> = all.iter().filter(computes).collect();
        if known.iter().any(|adapter| !software(adapter)) {
            known.retain(|adapter| !software(adapter));
        }
        let api = known.first().map(|adapter| adapter.get_info().backend);
        known.retain(|adapter| Some(adapter.get_info().backend) == api);
        match known.get(number as usize % known.len().max(1)) {
            Some(adapter) => Self::of(adapter).await,
            None => Err(ExecError::NoAdapter("there is none".to_owned())),
        }
    }

    async fn of(adapter: &wgpu::Adapter) -> Result<Self, ExecError> {
        if !adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS) {
            return Err(ExecError::NoAdapter("the adapter has no compute shaders".to_owned()));
        }
        if let Some(Lack { limit, needed, allowed }) = lack(&adapter.limits()) {
            return Err(ExecError::Limit { adapter: adapter.get_info().name, limit, needed, allowed });
        }
        let timing = TimingMode::of(adapter.features());
        let half = adapter.features().contains(wgpu::Features::SHADER_F16);
        let cooperates = half && has_matrix_units(adapter);
        let wanted = wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP;
        let mut features = timing.features() | (adapter.features() & wanted);
        features.set(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, cooperates);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("shardlab"),
            required_features: features,
            required_limits: adapter.limits(),
            experimental_features: if cooperates { experimental() } else { wgpu::ExperimentalFeatures::disabled() },
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) =
            adapter.request_device(&descriptor).await.map_err(|error| ExecError::NoAdapter(error.to_string()))?;
        let info = describe(&adapter.get_info(), timing);
        let failure = Failure::of(&device);
        let many = adapter.get_info().device_type != wgpu::DeviceType::Cpu;
        let workgroup_memory = adapter.limits().max_compute_workgroup_storage_size;
        let abilities = Abilities { many, cooperates, subgroup: subgroup(adapter), workgroup_memory };
        Ok(Self { half, abilities, device, queue, info, timing, failure })
    }

    /// A buffer, at least four bytes long.
    pub fn buffer(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let size = bytes.max(4);
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: false,
        })
    }

    /// Waits until everything submitted so far is done.
    pub async fn wait(&self) -> Result<(), ExecError> {
        let submitted = self.submitted();
        self.poll()?;
        submitted.recv_async().await.map_err(|_| self.stopped(&"it did not answer"))?;
        self.check()
    }

    /// Is told when everything submitted so far is done.
    fn submitted(&self) -> flume::Receiver<()> {
        let (done, receive) = flume::bounded(1);
        self.queue.on_submitted_work_done(move || {
            done.send(()).ok();
        });
        receive
    }

    /// Copies bytes of a buffer to the host.
    pub async fn read(&self, buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> Result<Vec<u8>, ExecError> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.buffer("read back", bytes, usage);
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(buffer, offset, &staging, 0, bytes);
        self.queue.submit([encoder.finish()]);
        let (done, receive) = flume::bounded(1);
        staging.slice(..).map_async(wgpu::MapMode::Read, move |result| {
            done.send(result).ok();
        });
        self.poll()?;
        match receive.recv_async().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                // A browser says that a device is lost after all that fails with it has failed.
                if cfg!(target_arch = "wasm32") {
                    self.submitted().recv_async().await.ok();
                }
                return Err(self.stopped(&error));
            }
            Err(_) => return Err(self.stopped(&"it did not answer")),
        }
        let view = staging.slice(..).get_mapped_range().map_err(|error| self.stopped(&error))?;
        let copied = view.to_vec();
        self.check()?;
        Ok(copied)
    }

    /// Lets callbacks run. In a browser they run by themselves.
    fn poll(&self) -> Result<(), ExecError> {
        let poll = || self.device.poll(wgpu::PollType::wait_indefinitely());
        // Where a driver gives a device up while it is waited for, wgpu says so, and then panics.
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(poll)) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.stopped(&error)),
            Err(_) => Err(self.stopped(&"it could not be waited for")),
        }
    }

    /// Why a call failed: what the device has reported, or else what the call says.
    fn stopped(&self, said: &dyn std::fmt::Display) -> ExecError {
        self.failure.get().unwrap_or_else(|| ExecError::Device(said.to_string()))
    }

    /// The error that the device has reported meanwhile, if any.
    pub fn check(&self) -> Result<(), ExecError> {
        self.failure.get().map_or(Ok(()), Err)
    }
}

/// Invocations of every subgroup of compute shaders; 0 where they cannot read each other's numbers, or it varies.
fn subgroup(adapter: &wgpu::Adapter) -> u32 {
    let info = adapter.get_info();
    let known =
        adapter.features().contains(wgpu::Features::SUBGROUP) && info.subgroup_min_size == info.subgroup_max_size;
    if known { info.subgroup_max_size } else { 0 }
}

/// Whether halves are multiplied 16 by 16 and added up in fp32, by subgroups that always have 32 invocations.
fn has_matrix_units(adapter: &wgpu::Adapter) -> bool {
    let info = adapter.get_info();
    let fits = |unit: &wgpu::CooperativeMatrixProperties| {
        [unit.m_size, unit.n_size, unit.k_size] == [16; 3]
            && unit.ab_type == wgpu::CooperativeScalarType::F16
            && unit.cr_type == wgpu::CooperativeScalarType::F32
    };
    adapter.features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX)
        && [info.subgroup_min_size, info.subgroup_max_size] == [32; 2]
        && adapter.cooperative_matrix_properties().iter().any(fits)
}

#[expect(unsafe_code, reason = "wgpu asks for it where a feature is not final yet")]
fn experimental() -> wgpu::ExperimentalFeatures {
    // SAFETY: cooperative matrices may change or have errors; the one kernel that uses them is not taken for a step before it
    // is tested where they are (`Kernel::is_tested`).
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

fn describe(info: &wgpu::AdapterInfo, timing: TimingMode) -> BackendInfo {
    let name = if info.name.is_empty() { format!("{:?} adapter", info.device_type) } else { info.name.clone() };
    let detail = format!("{:?} {} {}", info.backend, info.driver, info.driver_info).trim().to_owned();
    BackendInfo { kind: BackendKind::Wgpu, name, detail, timing: timing.name() }
}
