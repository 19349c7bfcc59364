//! Replays recordings on the CPU twins.

use std::ops::Range;

use web_time::Instant;

use super::{Binding, execute};
use crate::exec::{Access, BackendInfo, BackendKind, BufferId, Dispatch, ExecError, Format, Recording, Slice};
use crate::units::Nanos;

/// Buffers in main memory and a clock.
#[derive(Debug)]
pub struct CpuBackend {
    info: BackendInfo,
    buffers: Vec<Vec<f32>>,
}

impl CpuBackend {
    /// A backend without buffers.
    pub fn new() -> Self {
        let info = BackendInfo {
            kind: BackendKind::Cpu,
            name: "CPU".to_owned(),
            detail: "kernels' CPU twins, one thread".to_owned(),
            timing: "cpu clock",
        };
        Self { info, buffers: Vec::new() }
    }

    /// What it is.
    pub fn info(&self) -> &BackendInfo {
        &self.info
    }

    /// Bytes of all buffers.
    pub fn created_bytes(&self) -> u64 {
        self.buffers.iter().map(|buffer| buffer.len() as u64 * 4).sum()
    }

    /// Creates a buffer of zeros.
    pub fn create(&mut self, bytes: u64) -> BufferId {
        let id = BufferId(u32::try_from(self.buffers.len()).unwrap_or(u32::MAX));
        self.buffers.push(vec![0.0; usize::try_from(bytes / 4).unwrap_or(0)]);
        id
    }

    /// Writes words to the start of a buffer.
    pub fn write(&mut self, buffer: BufferId, offset: u64, words: &[u32]) {
        let target = &mut self.buffers[buffer.0 as usize];
        let start = usize::try_from(offset / 4).unwrap_or(usize::MAX).min(target.len());
        let target = &mut target[start..];
        let n = words.len().min(target.len());
        target[..n].copy_from_slice(bytemuck::cast_slice(&words[..n]));
    }

    /// Reads words.
    pub fn read(&self, buffer: BufferId, offset: u64, words: usize) -> Vec<f32> {
        let start = usize::try_from(offset / 4).unwrap_or(0);
        self.buffers[buffer.0 as usize][start..start + words].to_vec()
    }

    /// Checks that every dispatch binds as many buffers as its kernel takes.
    pub fn prepare(&self, recording: &Recording) -> Result<(), ExecError> {
        let wrong = |dispatch: &&Dispatch| dispatch.bindings.len() != dispatch.kernel.bindings().len();
        recording.dispatches.iter().find(wrong).map_or(Ok(()), |dispatch| Err(aliased(dispatch)))
    }

    /// Runs every dispatch of some scopes in order.
    pub fn replay(&mut self, recording: &Recording, scopes: Range<usize>) -> Result<Vec<(Nanos, Nanos)>, ExecError> {
        let origin = Instant::now();
        let now = || Nanos::from(origin.elapsed());
        let mut times = Vec::with_capacity(scopes.len());
        for scope in &recording.scopes[scopes] {
            let start = now();
            for dispatch in &recording.dispatches[scope.first as usize..scope.last as usize] {
                self.dispatch(dispatch)?;
            }
            times.push((start, now()));
        }
        Ok(times)
    }

    /// Takes the written parts out of their buffers, so that they can be bound beside the read ones.
    fn dispatch(&mut self, dispatch: &Dispatch) -> Result<(), ExecError> {
        let access = dispatch.kernel.bindings();
        let written: Vec<Slice> = dispatch
            .bindings
            .iter()
            .zip(access)
            .filter_map(|(slice, access)| (*access == Access::ReadWrite).then_some(*slice))
            .collect();
        let mut taken = Vec::with_capacity(written.len());
        for slice in &written {
            taken.push(self.take(slice, &written).ok_or_else(|| aliased(dispatch))?);
        }
        let result = self.call(dispatch, &mut taken);
        for (slice, part) in written.iter().zip(taken) {
            self.put_back(slice, part);
        }
        result
    }

    fn call(&self, dispatch: &Dispatch, taken: &mut [Taken]) -> Result<(), ExecError> {
        let mut taken = taken.iter_mut();
        let mut bindings = Vec::with_capacity(dispatch.bindings.len());
        let bound = || dispatch.bindings.iter().zip(dispatch.kernel.bindings());
        let read = |slice, access: &Access| if *access == Access::Read { self.widened(slice) } else { None };
        let widened: Vec<_> = bound().map(|(slice, access)| read(slice, access)).collect();
        for ((slice, access), widened) in bound().zip(&widened) {
            let bound = match (access, widened) {
                (Access::ReadWrite, _) => taken.next().and_then(|part| part.bound(slice)).map(Binding::Write),
                (Access::Read, Some(numbers)) => Some(Binding::Read(numbers)),
                (Access::Read, None) => self.buffers[slice.buffer.0 as usize].get(words(slice)).map(Binding::Read),
            };
            bindings.push(bound.ok_or_else(|| aliased(dispatch))?);
        }
        execute(dispatch.kernel, &dispatch.params, &mut bindings).map_err(|error| ExecError::Kernel(error.to_string()))
    }

    /// What a kernel reads of a slice whose numbers are not fp32; none where they are, or where the buffer has been taken.
    fn widened(&self, slice: &Slice) -> Option<Vec<f32>> {
        let packed = slice.format != Format::Word;
        let part = self.buffers[slice.buffer.0 as usize].get(words(slice)).filter(|_| packed)?;
        Some(slice.format.unpack(bytemuck::cast_slice(part), slice.elements() as usize))
    }

    /// The whole buffer, or a copy of the part where two parts of one buffer are written (gradients in a bucket) or where
    /// its numbers are not fp32.
    fn take(&mut self, slice: &Slice, written: &[Slice]) -> Option<Taken> {
        if slice.format != Format::Word {
            return self.widened(slice).map(Taken::Part);
        }
        let buffer = &mut self.buffers[slice.buffer.0 as usize];
        if written.iter().filter(|other| other.buffer == slice.buffer).count() == 1 {
            return Some(Taken::Whole(std::mem::take(buffer)));
        }
        buffer.get(words(slice)).map(|part| Taken::Part(part.to_vec()))
    }

    fn put_back(&mut self, slice: &Slice, taken: Taken) {
        let buffer = &mut self.buffers[slice.buffer.0 as usize];
        match taken {
            Taken::Whole(whole) => *buffer = whole,
            Taken::Part(part) => slice.format.pack(&part, bytemuck::cast_slice_mut(&mut buffer[words(slice)])),
        }
    }
}

/// What a kernel writes, taken out of the buffers.
enum Taken {
    Whole(Vec<f32>),
    Part(Vec<f32>),
}

impl Taken {
    fn bound(&mut self, slice: &Slice) -> Option<&mut [f32]> {
        match self {
            Self::Whole(whole) => whole.get_mut(words(slice)),
            Self::Part(part) => Some(part),
        }
    }
}

impl Default for CpuBackend {
    fn default() -> Self {
        Self::new()
    }
}

fn words(slice: &Slice) -> Range<usize> {
    let word = |bytes: u64| usize::try_from(bytes / 4).unwrap_or(usize::MAX);
    word(slice.offset)..word(slice.offset.saturating_add(slice.size).saturating_add(3))
}

fn aliased(dispatch: &Dispatch) -> ExecError {
    let (name, bindings) = (dispatch.kernel.name(), &dispatch.bindings);
    ExecError::Kernel(format!("a buffer of `{name}` is bound twice or beyond its end: {bindings:?}"))
}
