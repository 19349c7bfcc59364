//! What a trace tells: where the time goes, how well the hardware is used, whether it fits.
//!
//! Written once, for modelled, executed and imported traces alike.

mod beside;
mod breakdown;
mod caching;
mod device_memory;
pub mod explain;
mod goodput;
pub mod hta;
mod input;
mod input_stages;
mod metrics;
mod network;
mod report;
mod roofline;
mod run_cost;
mod training_log;
mod transfer;
mod what_if;
mod window;

pub use beside::{Beside, beside_tensors};
pub use breakdown::{
    Breakdown, HeatRow, OpClassTime, Straggler, breakdowns, communication_by_class, exposed_communication, heat_map,
    op_classes, slow_groups,
};
pub use caching::{CacheReport, CacheStudy, Capacities, PLAYED, PolicyCurve, StudyOptions, suited};
pub use device_memory::{
    AllocatorRow, Breaks, DeviceMemory, MapValue, MemoryPicture, Reserved, fits, replayed, reserved,
};
pub use goodput::{GoodputPoint, GoodputReport, GoodputStudy, Hop, ModeReport, goodput};
pub use input::{Feed, InputReport, input_report};
pub use input_stages::{InputStage, StageUse};
pub use metrics::{Better, Measure, Unit, metrics, part_is_better, trace_metrics};
pub use network::{
    AxisTraffic, CollectiveUse, LinkKind, LinkUse, NetworkReport, NodeUse, TrafficCell, executed_network, network,
};
pub use report::{ExposedCommunication, Fit, GroupBreakdown, StagePeak, StepReport, peak_rate, step_report};
pub use roofline::{Roofs, StepKernel, StepRoofline, kernel_name, step_roofline};
pub use run_cost::{RunCost, Spent, run_cost};
pub use training_log::{LogEvent, LogFindings, log_findings};
pub use transfer::{MethodCurve, TransferPoint, TransferReport, TransferStudy, transfer};
pub use what_if::{WhatIf, WhatIfStudy, what_if};
pub use window::window;
