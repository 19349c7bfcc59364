//! Takes a recording apart: to each worker what runs on its buffers, and messages for the copies in between.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::exec::cpu::copy::CopyParams;
use crate::exec::{BufferId, Dispatch, ExecError, Format, Kernel, Recording, Scope, Slice};

/// Stands for the buffer into which a worker's messages are received.
pub const INBOX: BufferId = BufferId(u32::MAX - 1);

/// Stands for the buffer from which a worker's messages are sent.
pub const OUTBOX: BufferId = BufferId(u32::MAX);

/// Messages start at multiples of this in their buffer, as bindings must.
const ALIGNMENT: u64 = 256;

/// Bytes that one worker sends to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The other worker.
    pub peer: u32,
    /// Where it lies in the outbox or inbox, in bytes.
    pub offset: u64,
    /// Its length in words of 32 bits.
    pub words: u32,
}

/// What a worker does without waiting for others, between the messages that come before and those that go after.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What must have come.
    pub receives: Vec<Message>,
    /// What runs then, by numbers of scopes.
    pub scopes: Range<usize>,
    /// What goes out when that has run.
    pub sends: Vec<Message>,
}

/// What a worker does in a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Its share of the recording, on its own buffers.
    pub recording: Recording,
    /// In which order it runs, receives and sends.
    pub parts: Vec<Part>,
    /// Bytes of the inbox.
    pub inbox: u64,
    /// Bytes of the outbox.
    pub outbox: u64,
}

/// A worker's program, and for each of its scopes the number of the scope of the whole recording that it is a piece of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Share {
    /// What it does.
    pub program: Program,
    /// Pieces of what.
    pub pieces: Vec<usize>,
}

/// Takes `recording` apart for `workers`; `home` says on which of them a buffer lies, and as which of its buffers.
///
/// # Errors
/// When a kernel that is no copy reads or writes buffers of several workers.
pub fn split(recording: &Recording, home: &[(u32, BufferId)], workers: u32) -> Result<Vec<Share>, ExecError> {
    let mut shares: Vec<Writer> = (0..workers).map(|_| Writer::default()).collect();
    for (number, scope) in recording.scopes.iter().enumerate() {
        for dispatch in &recording.dispatches[scope.first as usize..scope.last as usize] {
            let (places, local) = at_home(dispatch, home)?;
            let writer = |place: u32| place as usize;
            match places[..] {
                [first, ..] if places.iter().all(|place| *place == first) => {
                    shares[writer(first)].run(number, scope, local);
                }
                [from, to] if dispatch.kernel == Kernel::Copy => {
                    let (gather, scatter) = halves(&local)?;
                    shares[writer(from)].send(number, scope, to, gather);
                    shares[writer(to)].receive(number, scope, from, scatter);
                }
                _ => return Err(ExecError::Kernel(format!("`{}` reaches several workers", dispatch.kernel.name()))),
            }
        }
    }
    Ok(shares.into_iter().map(Writer::finish).collect())
}

/// The workers of a call's buffers, and the call with their own names for these.
fn at_home(dispatch: &Dispatch, home: &[(u32, BufferId)]) -> Result<(Vec<u32>, Dispatch), ExecError> {
    let mut local = dispatch.clone();
    let mut places = Vec::with_capacity(local.bindings.len());
    for slice in &mut local.bindings {
        let unknown = || ExecError::Kernel(format!("`{}` binds an unknown buffer", dispatch.kernel.name()));
        let (place, buffer) = home.get(slice.buffer.0 as usize).copied().ok_or_else(unknown)?;
        places.push(place);
        slice.buffer = buffer;
    }
    Ok((places, local))
}

/// A copy as two: from its source to a message without gaps, and from the message to its target.
fn halves(copy: &Dispatch) -> Result<(Dispatch, Dispatch), ExecError> {
    let params: CopyParams = bytemuck::try_pod_read_unaligned(bytemuck::cast_slice(&copy.params))
        .map_err(|error| ExecError::Kernel(format!("a copy's parameters: {error}")))?;
    let [from, to] = copy.bindings[..] else { return Err(ExecError::Kernel("a copy binds two buffers".into())) };
    let size = words(to.format, params.rows * params.cols) * 4;
    let message = |buffer| Slice { buffer, offset: 0, size, format: to.format };
    let gather = CopyParams { dst_offset: 0, dst_stride: params.cols, ..params };
    let scatter = CopyParams { src_offset: 0, src_stride: params.cols, ..params };
    Ok((Dispatch::new(&gather, [from, message(OUTBOX)]), Dispatch::new(&scatter, [message(INBOX), to])))
}

fn words(format: Format, elements: u32) -> u64 {
    format.words(elements as usize) as u64
}

/// What an unfinished part has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Messages came in and were put where they belong.
    #[default]
    Receiving,
    /// Kernels run.
    Running,
    /// Messages go out.
    Sending,
}

/// Writes a worker's program.
#[derive(Debug, Default)]
struct Writer {
    share: Share,
    part: Part,
    stage: Stage,
    /// Bytes of the inbox and the outbox that this part uses.
    received: u64,
    sent: u64,
}

impl Writer {
    fn run(&mut self, number: usize, scope: &Scope, dispatch: Dispatch) {
        if self.stage == Stage::Sending {
            // What goes out should not wait for what is computed after it.
            self.close();
        }
        self.stage = Stage::Running;
        self.push(number, scope, dispatch);
    }

    fn send(&mut self, number: usize, scope: &Scope, peer: u32, mut gather: Dispatch) {
        self.stage = Stage::Sending;
        let message = place(&mut gather.bindings[1], &mut self.sent, peer);
        self.part.sends.push(message);
        self.push(number, scope, gather);
    }

    fn receive(&mut self, number: usize, scope: &Scope, peer: u32, mut scatter: Dispatch) {
        if self.stage > Stage::Receiving {
            self.close();
        }
        let message = place(&mut scatter.bindings[0], &mut self.received, peer);
        self.part.receives.push(message);
        self.push(number, scope, scatter);
    }

    /// Appends a call to the piece of the scope, or starts one.
    fn push(&mut self, number: usize, scope: &Scope, dispatch: Dispatch) {
        let recording = &mut self.share.program.recording;
        recording.dispatches.push(dispatch);
        let last = u32::try_from(recording.dispatches.len()).unwrap_or(u32::MAX);
        let in_part = recording.scopes.len() > self.part.scopes.start;
        if in_part && self.share.pieces.last() == Some(&number) {
            recording.scopes.iter_mut().last().into_iter().for_each(|piece| piece.last = last);
            return;
        }
        recording.scopes.push(Scope { first: last - 1, last, ..*scope });
        self.share.pieces.push(number);
    }

    fn close(&mut self) {
        let end = self.share.program.recording.scopes.len();
        let program = &mut self.share.program;
        program.inbox = program.inbox.max(self.received);
        program.outbox = program.outbox.max(self.sent);
        let next = Part { scopes: end..end, ..Part::default() };
        let done = std::mem::replace(&mut self.part, next);
        self.share.program.parts.push(Part { scopes: done.scopes.start..end, ..done });
        (self.stage, self.received, self.sent) = (Stage::Receiving, 0, 0);
    }

    fn finish(mut self) -> Share {
        self.close();
        self.share
    }
}

/// Gives a message its place behind those before it.
fn place(slice: &mut Slice, used: &mut u64, peer: u32) -> Message {
    slice.offset = *used;
    *used = (*used + slice.size).next_multiple_of(ALIGNMENT);
    Message { peer, offset: slice.offset, words: u32::try_from(slice.size / 4).unwrap_or(u32::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::cpu::add::AddParams;
    use crate::trace::{LabelId, Stream};

    fn scope(first: u32, last: u32) -> Scope {
        Scope { rank: 0, group: None, stream: Stream::Compute, label: LabelId(0), micro_batch: 0, first, last }
    }

    fn slice(buffer: u32) -> Slice {
        Slice::of_words(BufferId(buffer), 0, 16)
    }

    fn add(buffer: u32) -> Dispatch {
        let [a, b, c] = [slice(buffer), slice(buffer), slice(buffer)];
        Dispatch::new(&AddParams { n: 4, pad: [0; 3] }, [a, b, c])
    }

    fn copy(from: u32, to: u32) -> Dispatch {
        let params = CopyParams { rows: 1, cols: 4, src_stride: 4, dst_stride: 4, ..CopyParams::default() };
        Dispatch::new(&params, [slice(from), slice(to)])
    }

    /// Buffer `n` lies on worker `n`.
    const HOME: [(u32, BufferId); 2] = [(0, BufferId(0)), (1, BufferId(0))];

    fn shares(dispatches: Vec<Dispatch>) -> Vec<Share> {
        let scopes = (0..).zip(&dispatches).map(|(n, _)| scope(n, n + 1)).collect();
        split(&Recording { dispatches, scopes }, &HOME, 2).expect("only copies cross")
    }

    #[test]
    fn what_goes_out_does_not_wait_for_what_comes_after_it() {
        let of = shares(vec![add(0), copy(0, 1), add(0), add(1)]);
        let parts = |worker: usize| {
            let part = |part: &Part| (part.receives.len(), part.scopes.clone(), part.sends.len());
            of[worker].program.parts.iter().map(part).collect::<Vec<_>>()
        };
        assert_eq!(parts(0), [(0, 0..2, 1), (0, 2..3, 0)]);
        assert_eq!(parts(1), [(1, 0..2, 0)]);
        assert_eq!((&of[0].pieces[..], &of[1].pieces[..]), (&[0, 1, 2][..], &[1, 3][..]));
    }

    #[test]
    fn messages_that_follow_each_other_share_a_part() {
        let of = shares(vec![copy(0, 1), copy(0, 1), copy(1, 0)]);
        assert_eq!(of[0].program.parts.len(), 2);
        assert_eq!(of[0].program.parts[0].sends.iter().map(|m| m.offset).collect::<Vec<_>>(), [0, 256]);
        assert_eq!((of[0].program.outbox, of[1].program.inbox, of[1].program.outbox), (512, 512, 256));
        // Both come in before anything goes out.
        assert_eq!(of[1].program.parts.len(), 1);
    }

    #[test]
    fn only_copies_may_cross() {
        let mut crossing = add(0);
        crossing.bindings[1] = slice(1);
        let recording = Recording { dispatches: vec![crossing], scopes: vec![scope(0, 1)] };
        let error = split(&recording, &HOME, 2).expect_err("an addition reaches both").to_string();
        assert!(error.contains("`add` reaches several workers"), "{error}");
    }
}
