//! What an op costs on a cluster: a roofline for kernels, alpha-beta for communication.
//!
//! Every formula stands beside its function with its source; every constant comes from the scenario's device and
//! links, whose table says where each was read.

mod collective;
mod communicator;
mod host;
mod label;
mod roofline;
mod shader;
mod work;

pub use collective::{Algorithm, GroupSpan, chunked_time, collective_bytes_per_rank, collective_time, transfer_time};
pub use communicator::{collective_buffers, exchange_buffers, neighbour_buffers};
pub use host::{copy_time, host_update_time, is_awaited, issue_time, launch_time, lent_time};
pub use label::{bytes_moved, communicated_bytes, full_size, input_type, label};
pub use roofline::{Bound, kernel_bound, kernel_time, matmul_efficiency, matmul_peak, peak_of, tiles_filled};
pub use shader::Calls;
pub use work::{Work, chunks, work, work_on};
