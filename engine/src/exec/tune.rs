//! Chooses for every shape the fastest way to compute a kernel, by measuring on the device.
//!
//! Candidates take turns: one run to compile and warm up, then some rounds, after each of which those that are far behind
//! the leader leave (as CubeCL's tuner does). What is found is kept by device and shape, so that it is measured once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::calibrate::{first_call, time_calls, warm_up};
use super::{Abilities, Backend, Dispatch, ExecError, Format, Kernel, Recording};
use crate::units::Nanos;

/// Rounds after the warm-up.
const ROUNDS: u32 = 3;

/// Who takes this many times as long as the leader leaves.
const TOO_SLOW: f64 = 1.5;

/// Calls that take longer are timed once, and once more: starting them does not count.
const LONG: Nanos = Nanos(100_000_000);

/// Of those that take longer, what needs so many times as long in its first call is not called again.
const HOPELESS: f64 = 3.0;

/// Some devices compile when a kernel is first called: what took no longer than this may have been that, and is called again
/// before it is given up.
const COMPILING: Nanos = Nanos(2_000_000_000);

/// A way to compute a shape and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// The name of the shader.
    pub family: String,
    /// The shortest of its calls, in nanoseconds.
    pub nanos: Nanos,
}

/// What was measured of a shape: all candidates, the fastest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// Floating-point operations of a call.
    pub flops: u64,
    /// Times.
    pub candidates: Vec<Timed>,
}

impl Tuned {
    /// Whether there is a way to make a call that was not there when its shape was measured.
    fn misses(&self, dispatch: &Dispatch, device: Abilities) -> bool {
        let is_known = |name: &str| self.candidates.iter().any(|known| known.family == name);
        dispatch.ways(device).any(|family| !is_known(dispatch.kernel.name_of(family)))
    }

    /// Operations per second of the fastest.
    pub fn best_rate(&self) -> f64 {
        self.candidates.first().map_or(0.0, |best| self.flops as f64 / best.nanos.secs().max(1e-9))
    }
}

/// What was measured, by device and shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tuning(pub BTreeMap<String, BTreeMap<String, Tuned>>);

impl Tuning {
    /// What is known of a device.
    pub fn of_device(&self, backend: &Backend) -> Option<&BTreeMap<String, Tuned>> {
        self.0.get(&device_key(backend))
    }

    /// The way to compute a call on a device, the device's default where nothing is known.
    fn family(&self, backend: &Backend, dispatch: &Dispatch) -> u8 {
        let tuned = self.of_device(backend).and_then(|shapes| shapes.get(&shape_key(dispatch)?));
        let families = dispatch.kernel.families();
        let place = |timed: &Timed| {
            let place = families.iter().position(|family| family.name == timed.family)?;
            let family = u8::try_from(place).ok()?;
            let can = dispatch.allows(family, backend.abilities()) && dispatch.kernel.is_tested(family);
            can.then_some(family)
        };
        let known = tuned.and_then(|tuned| tuned.candidates.iter().find_map(place));
        known.unwrap_or_else(|| dispatch.default_family(backend.abilities()))
    }

    /// Gives every call of a recording the fastest known way.
    pub fn apply(&self, backend: &Backend, recording: &mut Recording) {
        for dispatch in &mut recording.dispatches {
            let family = self.family(backend, dispatch);
            if family != dispatch.family {
                *dispatch = dispatch.clone().by(family);
            }
        }
    }

    /// Measures the shapes of a recording of which nothing is known yet, or not of all ways that there are, on its own
    /// buffers: what it writes must not be needed. Kernels on the CPU have one way only.
    ///
    /// `progress` is told how many of how many shapes are done, and returns whether to go on.
    ///
    /// # Errors
    /// When a kernel cannot run, or `progress` stops it; what was measured until then is kept.
    pub async fn measure(
        &mut self,
        backend: &mut Backend,
        recording: &Recording,
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<(), ExecError> {
        if backend.info().kind == super::BackendKind::Cpu {
            return Ok(());
        }
        let (device, abilities) = (device_key(backend), backend.abilities());
        let known = self.0.entry(device.clone()).or_default();
        let mut open: BTreeMap<String, &Dispatch> = BTreeMap::new();
        for dispatch in &recording.dispatches {
            let is_open = |key: &String| known.get(key).is_none_or(|tuned| tuned.misses(dispatch, abilities));
            if let Some(key) = shape_key(dispatch).filter(is_open) {
                open.entry(key).or_insert(dispatch);
            }
        }
        let all = open.len();
        for (done, (key, dispatch)) in open.into_iter().enumerate() {
            if !progress(done, all) {
                return Err(ExecError::Cancelled);
            }
            let tuned = race(backend, dispatch).await?;
            self.0.entry(device.clone()).or_default().insert(key, tuned);
        }
        Ok(())
    }
}

/// Times all ways to make a call.
async fn race(backend: &mut Backend, dispatch: &Dispatch) -> Result<Tuned, ExecError> {
    let mut best: Vec<Option<Nanos>> = vec![None; dispatch.kernel.families().len()];
    let mut racing: Vec<u8> = dispatch.ways(backend.abilities()).collect();
    // All are compiled before one is timed: a device that has waited for a compiler has lowered its clocks.
    for &family in &racing {
        best[usize::from(family)] = Some(first_call(backend, &dispatch.clone().by(family)).await?);
    }
    let hopeless = |time: Nanos, leader: Nanos| time > LONG && time.secs() > leader.secs() * HOPELESS;
    let first = leader(&best);
    for &family in &racing {
        let known = &mut best[usize::from(family)];
        if let Some(time) = known.filter(|&time| hopeless(time, first) && time <= COMPILING) {
            *known = Some(time.min(first_call(backend, &dispatch.clone().by(family)).await?));
        }
    }
    drop_slow(&mut racing, &best, hopeless);
    let long = leader(&best) > LONG;
    if !long {
        racing.iter().for_each(|&family| best[usize::from(family)] = None);
        warm_up(backend, &dispatch.clone().by(racing.first().copied().unwrap_or(0))).await?;
    }
    for _ in 0..if long { 1 } else { ROUNDS } {
        for &family in &racing {
            let call = dispatch.clone().by(family);
            let time = if long { first_call(backend, &call).await? } else { time_calls(backend, &call, 2).await? };
            let known = &mut best[usize::from(family)];
            *known = Some(known.map_or(time, |known| known.min(time)));
        }
        drop_slow(&mut racing, &best, |time, leader| time.secs() > leader.secs() * TOO_SLOW);
    }
    let named = |(family, time): (u8, Option<Nanos>)| {
        Some(Timed { family: dispatch.kernel.name_of(family).to_owned(), nanos: time? })
    };
    let mut candidates: Vec<Timed> = (0..).zip(best).filter_map(named).collect();
    candidates.sort_by(|a, b| a.nanos.cmp(&b.nanos).then_with(|| a.family.cmp(&b.family)));
    Ok(Tuned { flops: flops(dispatch), candidates })
}

/// The shortest time so far.
fn leader(best: &[Option<Nanos>]) -> Nanos {
    best.iter().flatten().min().copied().unwrap_or(Nanos(1))
}

/// Takes those out of the race that are too slow beside the leader.
fn drop_slow(racing: &mut Vec<u8>, best: &[Option<Nanos>], too_slow: impl Fn(Nanos, Nanos) -> bool) {
    let leader = leader(best);
    racing.retain(|&family| best[usize::from(family)].is_some_and(|time| !too_slow(time, leader)));
}

/// Operations of a matrix product, or of attention to all keys: sizes are among their parameters. Of what is bound by memory
/// they are not counted.
fn flops(dispatch: &Dispatch) -> u64 {
    let product = |sizes: &[u32]| sizes.iter().map(|&size| u64::from(size)).product::<u64>();
    match (dispatch.kernel, &dispatch.params[..]) {
        (Kernel::Matmul | Kernel::MatmulHalf, &[m, n, k, .., batches]) => 2 * product(&[m, n, k, batches]),
        (kernel, &[batch, queries, keys, groups, heads, head_dim, value_dim, ..]) => {
            let Some([of_head, of_value]) = products_of_attention(kernel) else { return 0 };
            2 * product(&[batch, queries, keys, groups, heads]) * u64::from(of_head * head_dim + of_value * value_dim)
        }
        _ => 0,
    }
}

/// How many products of queries by keys are as deep as a head of these, and how many as one of values.
fn products_of_attention(kernel: Kernel) -> Option<[u32; 2]> {
    match kernel {
        Kernel::Attention => Some([1, 1]),
        Kernel::AttentionGradQ => Some([2, 1]),
        Kernel::AttentionGradKv => Some([2, 2]),
        _ => None,
    }
}

fn device_key(backend: &Backend) -> String {
    let info = backend.info();
    format!("{} ({})", info.name, info.detail)
}

/// What calls have in common that are computed in the same way: sizes, which rows are contiguous, number of products;
/// none where there is only one way.
pub fn shape_key(dispatch: &Dispatch) -> Option<String> {
    match dispatch.kernel {
        kernel if kernel.families().is_empty() => None,
        Kernel::Matmul | Kernel::MatmulHalf => product_key(dispatch),
        // Which of these is the fastest is what they are measured for.
        Kernel::Peak | Kernel::PeakHalf | Kernel::PeakInt32 => None,
        Kernel::Attention | Kernel::AttentionGradQ | Kernel::AttentionGradKv => attention_key(dispatch),
        _ => rows_key(dispatch),
    }
}

/// Of norms, their gradients, sums of columns and what a loss needs of its rows: rows and columns, which come first, and how
/// far rows are apart where they are not dense.
fn rows_key(dispatch: &Dispatch) -> Option<String> {
    let [rows, cols, third, ..] = dispatch.params[..] else { return None };
    let is_dense = dispatch.kernel != Kernel::ColumnSum || third == cols;
    let apart = if is_dense { String::new() } else { format!(" of {third}") };
    Some(format!("{} {rows}x{cols}{apart}{}", dispatch.kernel.name(), formats_key(dispatch)))
}

/// Sizes, which rows are contiguous, and the number of products.
fn product_key(dispatch: &Dispatch) -> Option<String> {
    let [m, n, k, _, a_col, _, b_col, .., batches] = dispatch.params[..] else { return None };
    let letter = |contiguous: bool| if contiguous { 'n' } else { 't' };
    let (a, b) = (letter(a_col == 1), letter(b_col == 1));
    Some(format!("{} {m}x{n}x{k} {a}{b} x{batches}{}", dispatch.kernel.name(), formats_key(dispatch)))
}

/// Sizes, and which keys are seen.
fn attention_key(dispatch: &Dispatch) -> Option<String> {
    let [batch, queries, keys, groups, heads, head_dim, value_dim, ..] = dispatch.params[..] else { return None };
    let [.., window, flags, _, _] = dispatch.params[..] else { return None };
    let (name, formats) = (dispatch.kernel.name(), formats_key(dispatch));
    let sizes = format!("{queries}x{keys} {groups}x{heads}x{head_dim}+{value_dim} x{batch}");
    Some(format!("{name} {sizes} w{window} f{flags}{formats}"))
}

/// The formats of a call's buffers, where they are not all fp32.
fn formats_key(dispatch: &Dispatch) -> String {
    let formats = dispatch.formats();
    let names: Vec<&str> = formats.iter().map(|format| format.name()).collect();
    if formats.iter().all(|&format| format == Format::Word) { String::new() } else { format!(" {}", names.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::cpu::matmul::MatmulParams;
    use crate::exec::{BufferId, Slice};

    fn call(side: u32) -> Dispatch {
        let slice = Slice::of_words(BufferId(0), 0, 4);
        Dispatch::new(&MatmulParams::square(side), [slice; 4])
    }

    #[test]
    fn the_fastest_known_way_is_taken_and_all_else_stays() {
        let backend = pollster::block_on(crate::exec::open(crate::exec::BackendKind::Cpu)).expect("always there");
        let mut tuning = Tuning::default();
        let timed = |family: &str, nanos| Timed { family: family.to_owned(), nanos: Nanos(nanos) };
        let candidates = vec![timed("matmul_tiled", 5), timed("matmul", 9)];
        let shapes = BTreeMap::from([("matmul 96x96x96 nn x1".to_owned(), Tuned { flops: 10, candidates })]);
        tuning.0.insert(device_key(&backend), shapes);
        let mut recording = Recording { dispatches: vec![call(96), call(95)], scopes: Vec::new() };
        tuning.apply(&backend, &mut recording);
        let ways: Vec<_> = recording.dispatches.iter().map(|d| d.kernel.name_of(d.family)).collect();
        assert_eq!(ways, ["matmul_tiled", "matmul"]);
        assert_eq!(recording.dispatches[0].grid, [2, 2, 1], "tiles of 64 by 64");
    }

    #[test]
    fn what_is_not_tested_gives_way_to_the_next() {
        let backend = pollster::block_on(crate::exec::open(crate::exec::BackendKind::Cpu)).expect("always there");
        let mut tuning = Tuning::default();
        let timed = |family: &str, nanos| Timed { family: family.to_owned(), nanos: Nanos(nanos) };
        let candidates = vec![timed("matmul_cooperative", 1), timed("matmul_large", 5), timed("matmul", 9)];
        let shapes = BTreeMap::from([("matmul 96x96x96 nn x1".to_owned(), Tuned { flops: 10, candidates })]);
        tuning.0.insert(device_key(&backend), shapes);
        assert_eq!(call(96).kernel.name_of(tuning.family(&backend, &call(96))), "matmul_large");
    }

    #[test]
    fn a_family_that_is_gone_gives_way_to_the_default() {
        let backend = pollster::block_on(crate::exec::open(crate::exec::BackendKind::Cpu)).expect("always there");
        let gone = r#"{"CPU (kernels' CPU twins, one thread)": {"matmul 8x8x8 nn x1":
            {"flops": 1, "candidates": [{"family": "matmul_of_yesterday", "nanos": 3}]}}}"#;
        let tuning: Tuning = serde_json::from_str(gone).expect("it is read");
        assert_eq!(tuning.family(&backend, &call(8)), 0);
    }
}
