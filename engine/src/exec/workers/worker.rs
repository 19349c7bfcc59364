//! A worker: does what the conductor asks, on a device of its own.

use std::net::SocketAddr;

use pollster::block_on;
use web_time::Instant;

use super::link::{Broken, Door, Link};
use super::protocol::{Hello, Reply, Request};
use super::split::{INBOX, Message, OUTBOX, Part, Program};
use crate::exec::backend::open_nth;
use crate::exec::{Backend, BufferId, ExecError};
use crate::units::Nanos;

/// How a worker finds its conductor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Where the conductor waits.
    pub address: SocketAddr,
    /// Which worker it is.
    pub number: u32,
    /// The secret of the run.
    pub token: u64,
}

impl Launch {
    /// The environment variable that tells a process that it is a worker. It holds a secret, and others cannot read it.
    pub const VARIABLE: &str = "SHARDLAB_WORKER";

    /// As it stands in the environment.
    pub fn text(&self) -> String {
        format!("{} {} {}", self.address, self.number, self.token)
    }

    /// What the environment of this process says, if it is a worker.
    pub fn of_this_process() -> Option<Self> {
        Self::parse(&std::env::var(Self::VARIABLE).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (address, number, token) = (words.next()?, words.next()?, words.next()?);
        Some(Self { address: address.parse().ok()?, number: number.parse().ok()?, token: token.parse().ok()? })
    }
}

/// Why a worker ends.
enum End {
    /// Of itself.
    Error(ExecError),
    /// Another worker is gone.
    Alone(Broken),
}

impl From<ExecError> for End {
    fn from(error: ExecError) -> Self {
        Self::Error(error)
    }
}

impl From<Broken> for End {
    fn from(broken: Broken) -> Self {
        Self::Error(ExecError::Workers(broken.to_string()))
    }
}

/// Works until the conductor hangs up.
///
/// # Errors
/// When the conductor cannot be reached, or the work cannot be done; the conductor has been told.
pub fn run_worker(launch: &Launch) -> Result<(), ExecError> {
    let broken = |error: Broken| ExecError::Workers(error.to_string());
    let door = Door::open(launch.token).map_err(broken)?;
    let mut link = Link::connect(launch.address).map_err(broken)?;
    let hello = Hello { number: launch.number, token: launch.token, address: Some(door.address().map_err(broken)?) };
    link.send(&hello).map_err(broken)?;
    let mut worker = Worker { launch: *launch, peers: Vec::new(), state: None };
    loop {
        let Ok(request) = link.receive() else { return Ok(()) };
        match worker.answer(request, &door, &mut link) {
            Ok(()) => {}
            Err(end) => {
                let (reason, follows) = match end {
                    End::Error(error) => (error.to_string(), false),
                    End::Alone(broken) => (broken.to_string(), true),
                };
                link.send(&Reply::Failed { reason: reason.clone(), follows }).ok();
                return Err(ExecError::Workers(reason));
            }
        }
    }
}

struct Worker {
    launch: Launch,
    /// Connections to the others, by number; none to itself.
    peers: Vec<Option<Peer>>,
    state: Option<State>,
}

/// What there is when the device is open.
struct State {
    backend: Backend,
    /// What the conductor calls by number.
    buffers: Vec<BufferId>,
    program: Program,
    /// Buffers of messages, and their sizes in bytes.
    inbox: (BufferId, u64),
    outbox: (BufferId, u64),
}

impl Worker {
    fn answer(&mut self, request: Request, door: &Door, link: &mut Link) -> Result<(), End> {
        if let Request::Open(kind) = request {
            let mut backend = block_on(open_nth(kind, self.launch.number))?;
            let opened = Reply::Opened(backend.info().clone(), backend.abilities());
            let empty = backend.create(4);
            let (inbox, outbox) = ((empty, 4), (empty, 4));
            let (buffers, program) = (Vec::new(), Program::default());
            self.state = Some(State { backend, buffers, program, inbox, outbox });
            return Ok(link.send(&opened)?);
        }
        if let Request::Meet(addresses) = request {
            self.peers = self.meet(door, &addresses)?;
            return Ok(link.send(&Reply::Ready)?);
        }
        let state = self.state.as_mut().ok_or_else(|| ExecError::Workers("no device was opened".into()))?;
        match request {
            Request::Open(_) | Request::Meet(_) => {}
            Request::Create { bytes } => state.buffers.push(state.backend.create(bytes)),
            Request::Write { buffer, offset } => {
                let words = link.receive_words()?;
                state.backend.write(state.buffer(buffer)?, offset, &words);
            }
            Request::Prepare(program) => {
                state.prepare(*program)?;
                link.send(&Reply::Ready)?;
            }
            Request::Replay => {
                let times = state.replay(&mut self.peers)?;
                link.send(&Reply::Times(times))?;
            }
            Request::Read { buffer, offset, words } => {
                let read = block_on(state.backend.read(state.buffer(buffer)?, offset, words))?;
                link.send(&Reply::Words)?;
                link.send_words(bytemuck::cast_slice(&read))?;
            }
        }
        Ok(())
    }

    /// Connects to those before it, and lets those after it in.
    fn meet(&self, door: &Door, addresses: &[SocketAddr]) -> Result<Vec<Option<Peer>>, End> {
        let me = self.launch.number as usize;
        let mut peers: Vec<Option<Peer>> = addresses.iter().map(|_| None).collect();
        for (peer, address) in peers.iter_mut().zip(addresses).take(me) {
            let mut link = Link::connect(*address)?;
            link.send(&Hello { number: self.launch.number, token: self.launch.token, address: None })?;
            *peer = Some(Peer::new(link)?);
        }
        for _ in me + 1..addresses.len() {
            let (link, hello) = door.welcome(&mut || Ok(()))?;
            if let Some(peer) = peers.get_mut(hello.number as usize) {
                *peer = Some(Peer::new(link)?);
            }
        }
        Ok(peers)
    }
}

impl State {
    /// This worker's own name of a buffer.
    fn buffer(&self, buffer: BufferId) -> Result<BufferId, ExecError> {
        let unknown = || ExecError::Workers(format!("there is no buffer {}", buffer.0));
        match buffer {
            INBOX => Ok(self.inbox.0),
            OUTBOX => Ok(self.outbox.0),
            _ => self.buffers.get(buffer.0 as usize).copied().ok_or_else(unknown),
        }
    }

    fn prepare(&mut self, mut program: Program) -> Result<(), ExecError> {
        let backend = &mut self.backend;
        let mut grow = |(buffer, size): (BufferId, u64), needed: u64| {
            if needed <= size { (buffer, size) } else { (backend.create(needed), needed) }
        };
        (self.inbox, self.outbox) = (grow(self.inbox, program.inbox), grow(self.outbox, program.outbox));
        for slice in program.recording.dispatches.iter_mut().flat_map(|dispatch| &mut dispatch.bindings) {
            slice.buffer = self.buffer(slice.buffer)?;
        }
        block_on(self.backend.prepare(&program.recording))?;
        self.program = program;
        Ok(())
    }

    /// Runs the parts in order; returns start and end of every scope.
    fn replay(&mut self, peers: &mut [Option<Peer>]) -> Result<Vec<(Nanos, Nanos)>, End> {
        let (origin, epoch) = (Instant::now(), since_the_epoch());
        let mut times = Vec::with_capacity(self.program.recording.scopes.len());
        for part in &self.program.parts {
            for message in &part.receives {
                let words = peer(peers, message)?.receive.receive_words().map_err(End::Alone)?;
                self.backend.write(self.inbox.0, message.offset, &words);
            }
            let start = Nanos::from(epoch + origin.elapsed());
            let of_part = block_on(self.backend.replay_scopes(&self.program.recording, part.scopes.clone()))?;
            times.extend(of_part.into_iter().map(|(from, to)| (start + from, start + to)));
            send(&mut self.backend, self.outbox.0, part, peers)?;
        }
        Ok(times)
    }
}

/// The clock that all processes of a machine share.
#[expect(clippy::disallowed_types, reason = "no page has workers, and only times that are reported depend on it")]
fn since_the_epoch() -> std::time::Duration {
    let now = web_time::SystemTime::now();
    now.duration_since(web_time::UNIX_EPOCH).unwrap_or_default()
}

/// Sends the messages of a part that has run.
fn send(backend: &mut Backend, outbox: BufferId, part: &Part, peers: &mut [Option<Peer>]) -> Result<(), End> {
    let word = |bytes: u64| usize::try_from(bytes / 4).unwrap_or(usize::MAX);
    let end = part.sends.iter().map(|message| word(message.offset) + message.words as usize).max();
    let Some(end) = end else { return Ok(()) };
    let words = block_on(backend.read(outbox, 0, end))?;
    for message in &part.sends {
        let start = word(message.offset);
        let of_message: &[u32] = bytemuck::cast_slice(&words[start..start + message.words as usize]);
        // Who is gone is found out when something is expected of it.
        peer(peers, message)?.send.send(of_message.to_vec()).ok();
    }
    Ok(())
}

fn peer<'a>(peers: &'a mut [Option<Peer>], message: &Message) -> Result<&'a mut Peer, ExecError> {
    let unknown = || ExecError::Workers(format!("there is no worker {}", message.peer));
    peers.get_mut(message.peer as usize).and_then(Option::as_mut).ok_or_else(unknown)
}

/// A connection to another worker. A thread of its own sends, so that two that send to each other do not wait for ever.
struct Peer {
    receive: Link,
    send: flume::Sender<Vec<u32>>,
}

impl Peer {
    fn new(link: Link) -> Result<Self, Broken> {
        let mut twin = link.twin()?;
        let (send, queue) = flume::unbounded::<Vec<u32>>();
        std::thread::spawn(move || queue.iter().try_for_each(|words| twin.send_words(&words)));
        Ok(Self { receive: link, send })
    }
}

#[cfg(test)]
mod tests {
    use super::Launch;

    #[test]
    fn how_a_worker_is_launched_can_be_written_and_read() {
        let launch = Launch { address: ([127, 0, 0, 1], 4711).into(), number: 2, token: u64::MAX };
        assert_eq!(Launch::parse(&launch.text()), Some(launch));
        assert_eq!(Launch::parse("127.0.0.1:1 2"), None);
        assert_eq!(Launch::parse("nowhere 2 3"), None);
    }
}
