//! Ranks on several devices: every worker, a thread or a process, has a device of its own and the buffers of its ranks;
//! what ranks of different workers exchange is read back, sent over loopback TCP, and uploaded.
//!
//! * `split` takes a recording apart: each worker gets its own, in parts that start and end with messages,
//! * `protocol` says what the conductor (the trainer's side) asks of a worker, and `worker` does it,
//! * `link` holds the sockets: to the conductor, and between any two workers,
//! * `conduct` starts workers and is the [`super::Backend`] of which the trainer knows.
//!
//! **Invariant:** a recording does not know where its ranks run. Only copies cross from one to another, so only copies are
//! taken apart; the bits are those of one device.

mod conduct;
mod link;
mod protocol;
mod split;
mod worker;

pub use conduct::{Launcher, Sent, Workers};
pub use worker::{Launch, run_worker};
