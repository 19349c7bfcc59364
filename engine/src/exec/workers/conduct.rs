//! The trainer's side: starts workers, deals buffers out among them, and puts their times together.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::link::{Broken, Door, Link};
use super::protocol::{Reply, Request};
use super::split::{Share, split};
use super::worker::{Launch, run_worker};
use crate::exec::backend::ScopeTimes;
use crate::exec::{Abilities, BackendInfo, BackendKind, BufferId, ExecError, Recording};
use crate::scenario::PlacementName;
use crate::units::{Bytes, Nanos};

/// Which program a process runs that is to be a worker: it must call [`run_worker`] where [`Launch::of_this_process`] says
/// that it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Launcher {
    /// The program that runs now.
    ///
    /// # Errors
    /// When the system does not say which it is.
    pub fn this_program() -> Result<Self, ExecError> {
        let program = std::env::current_exe().map_err(|error| ExecError::Workers(error.to_string()))?;
        Ok(Self { program, arguments: Vec::new() })
    }
}

/// Several devices as one.
#[derive(Debug)]
pub struct Workers {
    info: BackendInfo,
    abilities: Abilities,
    links: Vec<Link>,
    children: Vec<Child>,
    /// Of every buffer, the worker that has it and its number there.
    home: Vec<(u32, BufferId)>,
    /// Buffers of each worker.
    counts: Vec<u32>,
    created_bytes: u64,
    /// Of every worker, which scopes of the prepared recording its scopes are pieces of.
    pieces: Vec<Vec<usize>>,
    /// What the workers send each other in a step of the prepared recording.
    sent: Sent,
    /// What went wrong where nothing could be said.
    failure: Option<ExecError>,
}

/// What goes over sockets in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Sent {
    /// How many messages.
    pub messages: u64,
    /// How long all of them are.
    pub bytes: Bytes,
}

impl Workers {
    /// Starts `count` workers with a device of `kind` each.
    ///
    /// # Errors
    /// When a worker cannot be started or has no device.
    pub fn start(
        kind: BackendKind,
        placement: PlacementName,
        count: u32,
        launcher: &Launcher,
    ) -> Result<Self, ExecError> {
        let token = RandomState::new().build_hasher().finish();
        let door = Door::open(token).map_err(lost)?;
        let launch = |number| -> Result<Launch, ExecError> {
            Ok(Launch { address: door.address().map_err(lost)?, number, token })
        };
        let mut children = Children(Vec::new());
        for number in 0..count {
            let launch = launch(number)?;
            if placement == PlacementName::Processes {
                children.0.push(spawn(launcher, &launch)?);
            } else {
                // What goes wrong there is told over the link.
                std::thread::spawn(move || run_worker(&launch).ok());
            }
        }
        let mut arrived = BTreeMap::new();
        while arrived.len() < count as usize {
            let (link, hello) = door.welcome(&mut || children.all_alive())?;
            arrived.insert(hello.number, (link, hello.address));
        }
        let addresses = arrived.values().filter_map(|(_, address)| *address).collect();
        let mut workers = Self {
            info: BackendInfo::unknown(kind),
            abilities: Abilities::default(),
            links: arrived.into_values().map(|(link, _)| link).collect(),
            children: std::mem::take(&mut children.0),
            home: Vec::new(),
            counts: vec![0; count as usize],
            created_bytes: 0,
            pieces: Vec::new(),
            sent: Sent::default(),
            failure: None,
        };
        workers.open(kind, placement)?;
        workers.ask_all(&Request::Meet(addresses))?;
        Ok(workers)
    }

    /// Has every worker open its device, and says what they have.
    fn open(&mut self, kind: BackendKind, placement: PlacementName) -> Result<(), ExecError> {
        let opened = self.ask_all(&Request::Open(kind))?;
        let opened = opened.into_iter().filter_map(|reply| match reply {
            Reply::Opened(info, abilities) => Some((info, abilities)),
            _ => None,
        });
        let (infos, abilities): (Vec<BackendInfo>, Vec<Abilities>) = opened.unzip();
        self.abilities = Abilities::common(abilities);
        let mut names: Vec<&str> = infos.iter().map(|info| info.name.as_str()).collect();
        names.dedup();
        let name = names.join(", ");
        if let Some(first) = infos.first() {
            let how = if placement == PlacementName::Processes { "processes" } else { "threads" };
            let detail = format!("{}, {} {how} with a device each, loopback TCP", first.detail, infos.len());
            self.info = BackendInfo { name, detail, ..first.clone() };
        }
        Ok(())
    }

    /// What all of their devices can do.
    pub fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// What they are.
    pub fn info(&self) -> &BackendInfo {
        &self.info
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        u32::try_from(self.links.len()).unwrap_or(u32::MAX)
    }

    /// Bytes of all buffers, without those of messages.
    pub fn created_bytes(&self) -> u64 {
        self.created_bytes
    }

    /// What they send each other in a step.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    /// Creates a buffer of zeros on a worker.
    pub fn create(&mut self, worker: u32, bytes: u64) -> BufferId {
        let id = BufferId(u32::try_from(self.home.len()).unwrap_or(u32::MAX));
        let count = &mut self.counts[worker as usize];
        self.home.push((worker, BufferId(*count)));
        *count += 1;
        self.created_bytes += bytes;
        let sent = self.links[worker as usize].send(&Request::Create { bytes });
        self.note(worker, sent);
        id
    }

    /// Writes to a buffer.
    pub fn write(&mut self, buffer: BufferId, offset: u64, words: &[u32]) {
        let (worker, buffer) = self.home[buffer.0 as usize];
        let link = &mut self.links[worker as usize];
        let sent = link.send(&Request::Write { buffer, offset }).and_then(|()| link.send_words(words));
        self.note(worker, sent);
    }

    fn note(&mut self, worker: u32, sent: Result<(), Broken>) {
        if let Err(error) = sent {
            self.failure.get_or_insert(gone(worker as usize, &error));
        }
    }

    /// Gives every worker its share of `recording`.
    ///
    /// # Errors
    /// When it cannot be taken apart, or a worker cannot run its share.
    pub fn prepare(&mut self, recording: &Recording) -> Result<(), ExecError> {
        let shares = split(recording, &self.home, self.count())?;
        for (worker, Share { program, .. }) in shares.iter().enumerate() {
            let sent = self.links[worker].send(&Request::Prepare(Box::new(program.clone())));
            sent.map_err(|error| gone(worker, &error))?;
        }
        self.replies()?;
        let messages = || shares.iter().flat_map(|share| &share.program.parts).flat_map(|part| &part.sends);
        let bytes = Bytes(messages().map(|message| u64::from(message.words) * 4).sum());
        self.sent = Sent { messages: messages().count() as u64, bytes };
        self.pieces = shares.into_iter().map(|share| share.pieces).collect();
        Ok(())
    }

    /// Has all run what was prepared last.
    ///
    /// # Errors
    /// When a worker stops.
    pub fn replay(&mut self, recording: &Recording) -> Result<ScopeTimes, ExecError> {
        let times = self.ask_all(&Request::Replay)?.into_iter().map(|reply| match reply {
            Reply::Times(times) => times,
            _ => Vec::new(),
        });
        let times: Vec<_> = times.collect();
        let first = times.iter().flatten().map(|(start, _)| *start).min().unwrap_or(Nanos::ZERO);
        let of_worker = |(pieces, times): (&Vec<usize>, &Vec<_>)| whole(recording.scopes.len(), pieces, times, first);
        Ok(ScopeTimes::of_places(self.pieces.iter().zip(&times).map(of_worker).collect()))
    }

    /// Reads words of a buffer.
    ///
    /// # Errors
    /// When its worker stops.
    pub fn read(&mut self, buffer: BufferId, offset: u64, words: usize) -> Result<Vec<f32>, ExecError> {
        self.check()?;
        let (worker, buffer) = self.home[buffer.0 as usize];
        let link = &mut self.links[worker as usize];
        link.send(&Request::Read { buffer, offset, words }).map_err(|error| gone(worker as usize, &error))?;
        reply(worker as usize, link).map_err(|failed| failed.error)?;
        let read = link.receive_words().map_err(|error| gone(worker as usize, &error))?;
        Ok(bytemuck::cast_slice(&read).to_vec())
    }

    fn ask_all(&mut self, request: &Request) -> Result<Vec<Reply>, ExecError> {
        self.check()?;
        for (worker, link) in self.links.iter_mut().enumerate() {
            link.send(request).map_err(|error| gone(worker, &error))?;
        }
        self.replies()
    }

    /// Everyone's answer; where some failed, of those that did so of themselves the first.
    fn replies(&mut self) -> Result<Vec<Reply>, ExecError> {
        let (mut replies, mut failed): (Vec<Reply>, Option<Failed>) = (Vec::new(), None);
        for (worker, link) in self.links.iter_mut().enumerate() {
            match reply(worker, link) {
                Ok(reply) => replies.push(reply),
                Err(new) => failed = Some(failed.filter(|old| new.follows || !old.follows).unwrap_or(new)),
            }
        }
        failed.map_or(Ok(replies), |failed| Err(failed.error))
    }

    fn check(&self) -> Result<(), ExecError> {
        self.failure.clone().map_or(Ok(()), Err)
    }
}

impl Drop for Workers {
    /// Hangs up, so that they end.
    fn drop(&mut self) {
        self.links.clear();
        Children(std::mem::take(&mut self.children)).end();
    }
}

/// Why a worker gave no answer.
struct Failed {
    error: ExecError,
    /// Whether only since another is gone.
    follows: bool,
}

fn reply(worker: usize, link: &mut Link) -> Result<Reply, Failed> {
    match link.receive() {
        Ok(Reply::Failed { reason, follows }) => {
            Err(Failed { error: ExecError::Workers(format!("worker {worker}: {reason}")), follows })
        }
        Ok(reply) => Ok(reply),
        Err(error) => Err(Failed { error: gone(worker, &error), follows: false }),
    }
}

fn gone(worker: usize, error: &Broken) -> ExecError {
    ExecError::Workers(format!("worker {worker} has ended ({error})"))
}

#[expect(clippy::needless_pass_by_value, reason = "it maps errors")]
fn lost(error: Broken) -> ExecError {
    ExecError::Workers(error.to_string())
}

/// Times of all scopes on a worker, from those of its pieces, since `origin`: from the first piece to the last. What has no
/// piece there takes no time after what came before.
fn whole(scopes: usize, pieces: &[usize], times: &[(Nanos, Nanos)], origin: Nanos) -> Vec<(Nanos, Nanos)> {
    let mut pieces = pieces.iter().zip(times).peekable();
    let mut last = Nanos::ZERO;
    let of_scope = |scope: usize| {
        let mut span: Option<(Nanos, Nanos)> = None;
        while let Some((_, &(start, end))) = pieces.next_if(|(piece, _)| **piece == scope) {
            span = Some((span.map_or(start - origin, |(first, _)| first), end - origin));
        }
        let (start, end) = span.unwrap_or((last, last));
        last = end;
        (start, end)
    };
    (0..scopes).map(of_scope).collect()
}

fn spawn(launcher: &Launcher, launch: &Launch) -> Result<Child, ExecError> {
    let mut command = Command::new(&launcher.program);
    command.args(&launcher.arguments).env(Launch::VARIABLE, launch.text());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let failed = |error| ExecError::Workers(format!("`{}` cannot be started: {error}", launcher.program.display()));
    command.spawn().map_err(failed)
}

/// Processes that are started; they do not outlive this.
struct Children(Vec<Child>);

impl Children {
    /// Whether none has ended yet.
    fn all_alive(&mut self) -> Result<(), ExecError> {
        for (worker, child) in self.0.iter_mut().enumerate() {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(ExecError::Workers(format!("worker {worker} ended before it was there ({status})")));
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        for child in &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_lasts_from_its_first_piece_to_its_last() {
        let span = |start, end| (Nanos(start), Nanos(end));
        let times = [span(110, 120), span(130, 140), span(150, 160)];
        assert_eq!(whole(4, &[1, 1, 3], &times, Nanos(100)), [span(0, 0), span(10, 40), span(40, 40), span(50, 60)]);
    }
}
