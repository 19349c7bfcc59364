//! What the conductor asks of a worker, and what that answers.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::split::Program;
use crate::exec::{Abilities, BackendInfo, BackendKind, BufferId};
use crate::units::Nanos;

/// The first thing on every connection: who it is, and that it belongs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The worker's number.
    pub number: u32,
    /// The secret of the run.
    pub token: u64,
    /// Where other workers reach it.
    pub address: Option<SocketAddr>,
}

/// What the conductor asks. What a worker cannot do it tells with the next answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Open a device of a kind. Answered by [`Reply::Opened`].
    Open(BackendKind),
    /// Connect to the other workers, which are reached there, in order. Answered by [`Reply::Ready`].
    Meet(Vec<SocketAddr>),
    /// Create a buffer, the next in number. Not answered.
    Create {
        /// Its size.
        bytes: u64,
    },
    /// Write the words of the frame that follows. Not answered.
    Write {
        /// Where to.
        buffer: BufferId,
        /// First byte.
        offset: u64,
    },
    /// Get ready to run a program. Answered by [`Reply::Ready`].
    Prepare(Box<Program>),
    /// Run it. Answered by [`Reply::Times`].
    Replay,
    /// Read. Answered by [`Reply::Words`].
    Read {
        /// Where from.
        buffer: BufferId,
        /// First byte.
        offset: u64,
        /// How many words.
        words: usize,
    },
}

/// What a worker answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// A device is open: what it is, and what it can do.
    Opened(BackendInfo, Abilities),
    /// That is done.
    Ready,
    /// Start and end of every scope of the program, since the Unix epoch.
    Times(Vec<(Nanos, Nanos)>),
    /// Words were read; they are the frame that follows.
    Words,
    /// It did not work, and the worker ends.
    Failed {
        /// Why.
        reason: String,
        /// Whether only since another worker is gone.
        follows: bool,
    },
}
