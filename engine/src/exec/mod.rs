//! The real executor: runs the step graph with numbers, on wgpu or on the CPU.
//!
//! * `limits` says what can be executed, `data` what it reads,
//! * `record` walks the programs of all ranks and writes the step down as data: dispatches with their bindings,
//! * `backend` replays a [`Recording`]: the wgpu device in `gpu`, the CPU twins in `cpu`,
//! * `pool` plans by one of several policies which buffer holds what, and accounts for it by category,
//! * `collectives` writes rings: chunks really move between the buffers of ranks,
//! * `train` feeds batches, replays the step and reads the results; `checkpoint` is what a run can go on from,
//! * `format` and `packed` are about numbers in fewer bits than 32,
//! * `families` and `tune` are about kernels that can be computed in several ways,
//! * `bench` measures what a device can do, and what kernels reach of it,
//! * `calibrate` measures the rates that the cost model needs.
//!
//! Ranks are sets of buffers on one device, so a step on N ranks takes about N times as long as on one;
//! scaling is never derived from it. Natively they may also run on several devices, each in a thread or process (`workers`).
//!
//! **Invariant:** no wgpu type appears outside `exec::gpu`. Everything is async: a browser can never block.

mod backend;
mod bench;
mod calibrate;
mod checkpoint;
mod collectives;
pub mod cpu;
mod data;
#[cfg(not(target_arch = "wasm32"))]
mod disk;
mod error;
mod families;
mod format;
#[cfg(feature = "gpu")]
mod gpu;
mod kernel;
mod limits;
mod loss_scale;
mod ops;
mod packed;
mod parameters;
mod pool;
mod record;
mod recording;
mod train;
mod tune;
#[cfg(not(target_arch = "wasm32"))]
mod workers;

#[cfg(not(target_arch = "wasm32"))]
pub use backend::open_placed;
pub use backend::{Backend, BackendInfo, BackendKind, HostTime, ScopeTimes, open};
pub use bench::{BenchOptions, BenchReport, Clock, Exchanged, Figure, Quanta, RooflinePoint, Section, Unit, bench};
pub use calibrate::{Calibration, Calibrator, Measured, calibrate};
pub use checkpoint::{Checkpoint, CheckpointForm, FileEntry, INDEX, Index, Packed, Progress, Stored};
#[cfg(not(target_arch = "wasm32"))]
pub use checkpoint::{CheckpointFolder, Found, write_aside};
pub use data::{Digits, Sample, Text, dataset};
#[cfg(not(target_arch = "wasm32"))]
pub use disk::{Asked, DiskLoader, DiskSamples, Loaded, LoaderOptions};
pub use error::ExecError;
pub use families::{Abilities, Family, WIDE};
pub use format::Format;
pub use kernel::{Access, Kernel, KernelParams, elementwise_grid};
pub use limits::{executable, executable_graph, executable_step};
pub use pool::{PoolForecast, PoolStatistics, Traffic, forecast};
pub use record::record;
pub use recording::{BufferId, Dispatch, Recording, Scope, Slice};
pub use train::{StepResult, Trainer};
pub use tune::{Timed, Tuned, Tuning, shape_key};
#[cfg(not(target_arch = "wasm32"))]
pub use workers::{Launch, Launcher, Sent, run_worker};
