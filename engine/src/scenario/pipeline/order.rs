//! The published orders.

use super::{Layout, Pass, PipelineSchedule, Slot};

/// The slots of every stage. When `paired`, a backward stands before the forward that runs beside it.
pub fn slots(schedule: &PipelineSchedule, layout: Layout, micro_batches: u32, paired: bool) -> Vec<Vec<Slot>> {
    let (p, m) = (layout.stages, micro_batches);
    let each = |of_stage: &dyn Fn(u32) -> Vec<Slot>| (0..p).map(of_stage).collect();
    match schedule {
        PipelineSchedule::GPipe => each(&|_| gpipe(m)),
        PipelineSchedule::OneFOneB if paired => each(&|stage| one_b_one_f(2 * (p - 1 - stage) + 1, m)),
        PipelineSchedule::OneFOneB => each(&|stage| one_f_one_b(p - 1 - stage, m)),
        PipelineSchedule::Interleaved => each(&|stage| interleaved(stage, layout, m, paired)),
        PipelineSchedule::ZeroBubbleH1 => each(&|stage| zero_bubble(p - 1 - stage, stage, m)),
        PipelineSchedule::ZeroBubbleH2 => each(&|stage| zero_bubble(2 * (p - 1 - stage), 2 * stage, m)),
        PipelineSchedule::ZeroBubbleV => each(&|stage| zero_bubble_v(stage, p, m)),
        PipelineSchedule::DualPipeV => each(&|stage| dual_pipe_v(stage, p, m)),
        PipelineSchedule::DualPipe => each(&|stage| dual_pipe(stage, p, m)),
        PipelineSchedule::Custom { slots, .. } => slots.clone(),
    }
}

pub(super) fn slot(pass: Pass, chunk: u32, micro_batch: u32) -> Slot {
    Slot { pass, chunk, micro_batch }
}

pub(super) fn forward(m: u32) -> Slot {
    slot(Pass::Forward, 0, m)
}

pub(super) fn backward(m: u32) -> Slot {
    slot(Pass::Backward, 0, m)
}

fn gpipe(m: u32) -> Vec<Slot> {
    (0..m).map(forward).chain((0..m).map(backward)).collect()
}

/// One forward, one backward after `warm_up` forwards.
fn one_f_one_b(warm_up: u32, m: u32) -> Vec<Slot> {
    let warm_up = warm_up.min(m);
    let steady = (warm_up..m).flat_map(|i| [forward(i), backward(i - warm_up)]);
    (0..warm_up).map(forward).chain(steady).chain((m - warm_up..m).map(backward)).collect()
}

/// A pair of backward and forward takes as long as both, and hands both on when it ends. So what comes back to a stage
/// was sent there twice as many pairs before as there are stages behind it, and one for the pair itself.
fn one_b_one_f(warm_up: u32, m: u32) -> Vec<Slot> {
    let warm_up = warm_up.min(m);
    let steady = (warm_up..m).flat_map(|i| [backward(i - warm_up), forward(i)]);
    (0..warm_up).map(forward).chain(steady).chain((m - warm_up..m).map(backward)).collect()
}

/// Narayanan et al. 2021, section 2.2: micro-batches go in rounds of `p` through one chunk after the other. Paired,
/// one more is in flight.
fn interleaved(stage: u32, layout: Layout, m: u32, paired: bool) -> Vec<Slot> {
    let (p, v) = (layout.stages, layout.chunks);
    let total = m * v;
    let at = |k: u32| (k % (p * v) / p, k / (p * v) * p + k % p);
    let forward = |k: u32| slot(Pass::Forward, at(k).0, at(k).1);
    let backward = |k: u32| slot(Pass::Backward, v - 1 - at(k).0, at(k).1);
    let one_more = u32::from(paired);
    let warm_up = if m == p { total } else { ((p - 1 - stage) * 2 + (v - 1) * p + one_more).min(total) };
    let steady = (warm_up..total).flat_map(|k| {
        let pair = [forward(k), backward(k - warm_up)];
        if paired { [pair[1], pair[0]] } else { pair }
    });
    (0..warm_up).map(forward).chain(steady).chain((total - warm_up..total).map(backward)).collect()
}

/// Qi et al. 2023, section 2: 1F1B with weight gradients taken out of the backward and put off by `delay` micro-batches.
/// With the warm-up of 1F1B and a delay by stage, every stage holds as many micro-batches as the first (ZB-H1); with both
/// twice as long no stage waits for its first backward, nor for its last (ZB-H2).
fn zero_bubble(warm_up: u32, delay: u32, m: u32) -> Vec<Slot> {
    let (warm_up, delay) = (warm_up.min(m), delay.min(m));
    let mut slots: Vec<Slot> = (0..warm_up).map(forward).collect();
    for i in 0..m {
        slots.extend((i + warm_up < m).then(|| forward(i + warm_up)));
        slots.push(backward(i));
        slots.extend(i.checked_sub(delay).map(|w| slot(Pass::Weight, 0, w)));
    }
    slots.extend((m - delay..m).map(|w| slot(Pass::Weight, 0, w)));
    slots
}

/// Qi et al. 2024 (ZB-V): two chunks in a V, so that the first stage also has the last layers. The order is the
/// published one for passes of equal length: warm-up by stage, a steady pattern, a cool-down that fills with weights.
fn zero_bubble_v(stage: u32, p: u32, m: u32) -> Vec<Slot> {
    let mut slots = VSlots { slots: Vec::new(), done: [[0; 2]; 3], m };
    for _ in 0..2 * (p - stage) - 1 {
        slots.push(Pass::Forward, 0);
    }
    for _ in 0..stage {
        slots.push(Pass::Forward, 1);
        slots.push(Pass::Forward, 0);
    }
    for _ in 0..p - stage {
        slots.push(Pass::Forward, 1);
        slots.push(Pass::Backward, 1);
        slots.push(Pass::Weight, 1);
    }
    while slots.count(Pass::Forward, 1) < m {
        slots.push(Pass::Forward, 0);
        slots.push(Pass::Backward, 0);
        slots.push(Pass::Weight, 0);
        slots.push(Pass::Forward, 1);
        slots.push(Pass::Backward, 1);
        slots.push(Pass::Weight, 1);
    }
    for _ in 0..stage {
        slots.push(Pass::Backward, 0);
        slots.push(Pass::Backward, 1);
    }
    for _ in 0..p - stage {
        slots.push(Pass::Backward, 0);
        slots.push(Pass::Weight, 0);
    }
    slots.rest()
}

/// DualPipeV: micro-batches pass the V, and come back, while others start; in between a backward of one chunk runs beside
/// a forward of the other. The eight parts are those of the published schedule (deepseek-ai/DualPipe); weight gradients
/// that it computes with the backward follow it at once, those of its zero-bubble parts later.
fn dual_pipe_v(stage: u32, p: u32, m: u32) -> Vec<Slot> {
    use Pass::{Backward, Forward, Weight};
    let behind = p - 1 - stage;
    let mut slots = VSlots { slots: Vec::new(), done: [[0; 2]; 3], m };
    (0..2 * behind).for_each(|_| slots.push(Forward, 0));
    (0..=stage).for_each(|_| slots.all(&[(Forward, 0), (Forward, 1)]));
    (0..behind).for_each(|_| slots.all(&[(Backward, 1), (Weight, 1), (Forward, 1)]));
    for pair in 0..(m + stage + 1).saturating_sub(2 * p) {
        if pair == 0 && behind == 0 {
            // The last stage turns its first micro-batch around: what it pairs must be there already.
            slots.all(&[(Forward, 0), (Backward, 1), (Weight, 1)]);
        } else {
            slots.all(&[(Backward, 1), (Forward, 0), (Weight, 1)]);
        }
        slots.all(&[(Backward, 0), (Forward, 1), (Weight, 0)]);
    }
    (0..behind).for_each(|_| slots.all(&[(Backward, 1), (Weight, 1), (Backward, 0), (Forward, 1), (Weight, 0)]));
    for half in 0..=stage {
        // The weights of the second half are left for the end.
        let late = [half > stage.div_ceil(2) || half == stage.div_ceil(2) && stage % 2 == 1, half >= stage.div_ceil(2)];
        slots.push(Backward, 1);
        (!late[0]).then(|| slots.push(Weight, 1));
        slots.push(Backward, 0);
        (!late[1]).then(|| slots.push(Weight, 0));
    }
    for _ in 0..behind {
        slots.oldest_weight();
        slots.push(Backward, 0);
    }
    slots.rest()
}

/// DualPipe: a stage and its mirror image have the same two sets of layers, each the other's chunk. What DualPipeV does
/// with the two ends of a V half as long, a stage does with its chunks: the near end is the one that is fewer stages away.
fn dual_pipe(stage: u32, p: u32, m: u32) -> Vec<Slot> {
    let far = stage >= p / 2;
    let near = if far { p - 1 - stage } else { stage };
    let of_copy = |Slot { pass, chunk, micro_batch }| {
        let chunk = if far { 1 - chunk } else { chunk };
        slot(pass, chunk, micro_batch + chunk * (m / 2))
    };
    dual_pipe_v(near, p / 2, m / 2).into_iter().map(of_copy).collect()
}

/// Slots of a stage with two chunks; counts what was done, and leaves out what there is no micro-batch for.
struct VSlots {
    slots: Vec<Slot>,
    done: [[u32; 2]; 3],
    m: u32,
}

impl VSlots {
    fn count(&self, pass: Pass, chunk: u32) -> u32 {
        self.done[pass as usize][chunk as usize]
    }

    fn push(&mut self, pass: Pass, chunk: u32) {
        let next = self.count(pass, chunk);
        let ready = match pass {
            Pass::Forward => self.m,
            Pass::Backward => self.count(Pass::Forward, chunk),
            Pass::Weight => self.count(Pass::Backward, chunk),
        };
        if next < ready {
            self.done[pass as usize][chunk as usize] += 1;
            self.slots.push(slot(pass, chunk, next));
        }
    }

    fn all(&mut self, passes: &[(Pass, u32)]) {
        passes.iter().for_each(|&(pass, chunk)| self.push(pass, chunk));
    }

    /// The weight gradients that were put off first.
    fn oldest_weight(&mut self) {
        let waiting =
            |slot: &&Slot| slot.pass == Pass::Backward && slot.micro_batch >= self.count(Pass::Weight, slot.chunk);
        if let Some(chunk) = self.slots.iter().find(waiting).map(|slot| slot.chunk) {
            self.push(Pass::Weight, chunk);
        }
    }

    /// All slots, with those that are still missing at the end.
    fn rest(mut self) -> Vec<Slot> {
        for (pass, chunk) in [(Pass::Backward, 1), (Pass::Backward, 0), (Pass::Weight, 1), (Pass::Weight, 0)] {
            while self.count(pass, chunk) < self.m {
                self.push(pass, chunk);
            }
        }
        self.slots
    }
}
