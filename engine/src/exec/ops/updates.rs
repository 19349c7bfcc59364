//! How gradients of other replicas reach the parameters where not every step sums them.

use super::{Call, elements, written_as};
use crate::exec::collectives::copy;
use crate::exec::cpu::blend::BlendParams;
use crate::exec::{Dispatch, Slice};

/// Learning rate and momentum of the outer step (Douillard et al. 2023, "DiLoCo", section 3).
const OUTER_RATE: f32 = 0.7;
const OUTER_MOMENTUM: f32 = 0.9;

impl Call<'_> {
    /// Every value becomes a step older, the oldest first.
    pub(super) fn rotate(&self) -> Vec<Dispatch> {
        let n = self.written(0);
        let pairs = self.reads.iter().zip(self.writes).rev();
        pairs.map(|(&from, &to)| copy(from, 0, to, 0, n)).collect()
    }

    /// How far each parameter has come from where the last outer step left it.
    pub(super) fn outer_gradient(&self) -> Vec<Dispatch> {
        let (anchors, masters) = self.reads.split_at(self.reads.len() / 2);
        let of_parameter = |(number, ((&anchor, &master), &delta)): (usize, ((&Slice, &Slice), &Slice))| {
            let n = elements(self.write_shape(number + 1));
            [copy(anchor, 0, delta, 0, n), blend(n, master, -1.0, delta, 1.0)]
        };
        let all = anchors.iter().zip(masters).zip(&self.writes[1..]).enumerate();
        all.flat_map(of_parameter).collect()
    }

    /// Nesterov's momentum (Sutskever et al. 2013, as PyTorch has it) on the mean of the replicas' outer gradients.
    pub(super) fn outer_step(&self, replicas: u32) -> Vec<Dispatch> {
        let deltas = &self.reads[1..];
        let count = deltas.len();
        let [anchors, momenta, masters, copies] = [0, 1, 2, 3].map(|at| {
            let from = (2 + at * count).min(self.writes.len());
            &self.writes[from..(from + count).min(self.writes.len())]
        });
        let share = 1.0 / replicas as f32;
        let of_parameter = |number: usize| {
            let n = elements(self.read_shape(number + 1));
            let [delta, anchor, momentum, master] = [deltas[number], anchors[number], momenta[number], masters[number]];
            let mut calls = vec![
                blend(n, delta, share, momentum, OUTER_MOMENTUM),
                blend(n, delta, -OUTER_RATE * share, anchor, 1.0),
                blend(n, momentum, -OUTER_RATE * OUTER_MOMENTUM, anchor, 1.0),
                copy(anchor, 0, master, 0, n),
            ];
            calls.extend(copies.get(number).into_iter().flat_map(|&short| written_as(anchor, short, n)));
            calls
        };
        (0..count).flat_map(of_parameter).collect()
    }
}

/// `to = factor * from + keep * to`, wherever they begin.
fn blend(n: u32, from: Slice, factor: f32, to: Slice, keep: f32) -> Dispatch {
    let ((from, src_offset), (to, dst_offset)) = (from.aligned(), to.aligned());
    let params = BlendParams { n, from: factor, keep, src_offset, dst_offset, pad: [0; 3] };
    Dispatch::new(&params, [from, to])
}
