//! Times of calls on a device.

use crate::exec::{Backend, Dispatch, ExecError, Recording, Scope};
use crate::trace::{LabelId, Span, Stream};
use crate::units::Nanos;

/// Repetitions of each measurement; the median counts.
pub(super) const REPEATS: usize = 5;

/// One scope of as many dispatches.
pub fn scopes_of_one(dispatches: u32) -> Vec<Scope> {
    vec![scope(0, dispatches)]
}

pub(super) fn scope(first: u32, last: u32) -> Scope {
    Scope {
        rank: 0,
        group: None,
        stream: Stream::Compute,
        label: LabelId(0),
        micro_batch: Span::NO_MICRO_BATCH,
        first,
        last,
    }
}

/// The median time of a dispatch, after one run to warm up (compile, allocate).
pub(super) async fn median(backend: &mut Backend, dispatch: &Dispatch) -> Result<Nanos, ExecError> {
    let repeats = u32::try_from(REPEATS).unwrap_or(1);
    let mut durations = timed_calls(backend, &dispatch.clone().by_default(backend.abilities()), repeats).await?;
    durations.sort_unstable();
    Ok(durations.get(durations.len() / 2).copied().unwrap_or(Nanos(1)).max(Nanos(1)))
}

/// The shortest of some calls of a dispatch, after one to warm up.
pub async fn time_calls(backend: &mut Backend, dispatch: &Dispatch, repeats: u32) -> Result<Nanos, ExecError> {
    let durations = timed_calls(backend, dispatch, repeats).await?;
    Ok(durations.into_iter().min().unwrap_or(Nanos(1)).max(Nanos(1)))
}

/// The time of a call that may be the first of its kind; compiling is no part of it.
pub async fn first_call(backend: &mut Backend, dispatch: &Dispatch) -> Result<Nanos, ExecError> {
    let times = replay_each(backend, vec![dispatch.clone()]).await?;
    Ok(times.first().copied().unwrap_or(Nanos(1)).max(Nanos(1)))
}

/// How long a device works until its clocks are what they are in a step.
const WARM_UP: Nanos = Nanos(100_000_000);

/// Calls between two looks at the time.
const WARM_UP_CALLS: i64 = 64;

/// Makes a call again and again, on devices whose clocks follow what they have to do.
pub async fn warm_up(backend: &mut Backend, dispatch: &Dispatch) -> Result<(), ExecError> {
    let mut busy = Nanos::ZERO;
    while backend.abilities().many && busy < WARM_UP {
        let one = time_calls(backend, dispatch, 1).await?;
        let calls = ((WARM_UP - busy).0 / one.0.max(1)).clamp(1, WARM_UP_CALLS);
        time_calls(backend, dispatch, u32::try_from(calls).unwrap_or(1)).await?;
        // What a call takes beside what it computes is no rest either.
        busy += (one * calls).max(Nanos(WARM_UP.0 / WARM_UP_CALLS));
    }
    Ok(())
}

/// Times of some calls of a dispatch, after one to warm up.
pub async fn timed_calls(backend: &mut Backend, dispatch: &Dispatch, repeats: u32) -> Result<Vec<Nanos>, ExecError> {
    let times = replay_each(backend, vec![dispatch.clone(); repeats as usize + 1]).await?;
    Ok(times.into_iter().skip(1).collect())
}

/// The time of every one of some calls.
pub(super) async fn replay_each(backend: &mut Backend, dispatches: Vec<Dispatch>) -> Result<Vec<Nanos>, ExecError> {
    let count = u32::try_from(dispatches.len()).unwrap_or(u32::MAX);
    let recording = Recording { dispatches, scopes: (0..count).map(|call| scope(call, call + 1)).collect() };
    backend.prepare(&recording).await?;
    let times = backend.replay(&recording).await?.of_one();
    Ok(times.iter().map(|&(start, end)| end - start).collect())
}
