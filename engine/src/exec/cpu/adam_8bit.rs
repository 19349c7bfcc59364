//! One AdamW update whose moments lie in eight bits with a scale for every block of 2048 elements (Dettmers et al. 2022,
//! "8-bit optimizers via block-wise quantization").
//!
//! Moments are widened, updated and applied as `adamw` does, then divided by the largest of their block and put into the
//! nearest of the numbers that eight bits stand for: powers of ten, each with an even spread of digits, fewer for smaller
//! ones (section 1.3, "dynamic tree quantization"). `m` and `v` hold four codes in a word, `scales` those of both moments
//! for each block.

use super::adamw::{gradient_factor, step};
use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, folded_grid};
use crate::scenario::optimizer::BLOCK;

/// Parameters of [`adam_8bit`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Adam8BitParams {
    /// Number of elements.
    pub n: u32,
    /// Elements with weight decay; they come first.
    pub decayed: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for Adam8BitParams {
    const KERNEL: Kernel = Kernel::Adam8Bit;

    fn grid(&self) -> [u32; 3] {
        folded_grid(self.n.div_ceil(BLOCK))
    }
}

/// Updates `param`, `m`, `v` and `scales`.
#[expect(clippy::too_many_arguments, reason = "as many as the shader has bindings")]
pub fn adam_8bit<T: Real>(
    grad: &[T],
    norm_sq: &[T],
    hyper: &[T],
    param: &mut [T],
    m: &mut [u32],
    v: &mut [u32],
    scales: &mut [T],
    p: &Adam8BitParams,
) {
    if !norm_sq[0].is_finite() {
        return;
    }
    let factor = gradient_factor(hyper[7], hyper[8], norm_sq[0]);
    let (n, size) = (p.n as usize, BLOCK as usize);
    for (block, scales) in scales.chunks_mut(2).enumerate().take(n.div_ceil(size)) {
        let elements = block * size..n.min((block + 1) * size);
        let mut moments = Vec::with_capacity(size);
        for i in elements.clone() {
            let old = [Code::Signed.value(byte(m, i)), Code::Unsigned.value(byte(v, i))];
            let old = [0, 1].map(|which| real::<T>(old[which]) * scales[which]);
            moments.push(step(grad[i] * factor, hyper, old, &mut param[i], i < p.decayed as usize));
        }
        for (which, (code, codes)) in [(Code::Signed, &mut *m), (Code::Unsigned, &mut *v)].into_iter().enumerate() {
            let most = moments.iter().fold(T::zero(), |most, moment| most.max(moment[which].abs()));
            for (i, moment) in elements.clone().zip(&moments) {
                let share = if most > T::zero() { moment[which] / most } else { T::zero() };
                put(codes, i, code.nearest(share.to_f32().unwrap_or(0.0)));
            }
            scales[which] = most;
        }
    }
    // What is left of the last words.
    for i in n..n.next_multiple_of(4) {
        put(m, i, 0);
        put(v, i, 0);
    }
}

fn byte(words: &[u32], i: usize) -> u32 {
    (words[i / 4] >> (i % 4 * 8)) & 0xff
}

fn put(words: &mut [u32], i: usize, byte: u32) {
    let shift = i % 4 * 8;
    words[i / 4] = (words[i / 4] & !(0xff << shift)) | byte << shift;
}

/// What the codes of a moment stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// From -1 to 1: a sign, and 127 magnitudes besides zero; minus zero stands for one.
    Signed,
    /// From 0 to 1.
    Unsigned,
}

impl Code {
    /// How many magnitudes there are.
    fn magnitudes(self) -> u32 {
        if self == Self::Signed { 129 } else { 256 }
    }

    /// The magnitudes in their order. Of power `i` there are `2^i` signed ones, twice as many unsigned.
    pub fn magnitude(self, rank: u32) -> f32 {
        if rank == 0 || rank == self.magnitudes() - 1 {
            return if rank == 0 { 0.0 } else { 1.0 };
        }
        let wider = u32::from(self == Self::Unsigned);
        let cell = rank + wider;
        let bits = cell.ilog2();
        let (digit, digits) = (cell - (1 << bits), (1 << bits) as f32);
        TENS[(bits - wider) as usize] * (0.1 + 0.9 * (digit as f32 + 0.5) / digits)
    }

    /// The number of a code.
    pub fn value(self, code: u32) -> f32 {
        match (self, code) {
            (Self::Unsigned, _) => self.magnitude(code),
            (Self::Signed, 0x80) => 1.0,
            (Self::Signed, _) if code > 0x80 => -self.magnitude(code & 0x7f),
            (Self::Signed, _) => self.magnitude(code),
        }
    }

    /// The code of the nearest number to one from -1 to 1. No code stands for -1.
    pub fn nearest(self, value: f32) -> u32 {
        let negative = self == Self::Signed && value < 0.0;
        let mut low = 0;
        let mut high = self.magnitudes() - if negative { 2 } else { 1 };
        while low < high {
            let middle = (low + high).div_ceil(2);
            let border = (self.magnitude(middle - 1) + self.magnitude(middle)) * 0.5;
            if value.abs() >= border {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        match low {
            0 => 0,
            _ if negative => low | 0x80,
            // The 129th magnitude of signed codes is 0x80.
            _ => low,
        }
    }
}

/// Powers of ten of the decades.
const TENS: [f32; 7] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_for_256_numbers_in_order_and_are_their_own_nearest() {
        for code in [Code::Signed, Code::Unsigned] {
            let mut values: Vec<f32> = (0..256).map(|byte| code.value(byte)).collect();
            for (byte, &value) in (0..256).zip(&values) {
                assert_eq!(code.nearest(value), byte, "{code:?} {value}");
            }
            values.sort_by(f32::total_cmp);
            assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "{code:?}");
            assert_eq!(values[255], 1.0);
        }
        // What the dynamic map of the paper's library begins and ends with.
        assert!((Code::Unsigned.value(1) - 3.25e-7).abs() < 1e-12);
        assert!((Code::Signed.value(1) - 5.5e-7).abs() < 1e-12);
        assert!((Code::Unsigned.value(254) - 0.996_484_4).abs() < 1e-6);
        assert!((Code::Signed.value(0x7f) - 0.992_968_8).abs() < 1e-6);
    }

    #[test]
    fn what_lies_between_two_codes_goes_to_the_nearer() {
        for code in [Code::Signed, Code::Unsigned] {
            for rank in 1..code.magnitudes() - 1 {
                let (below, above) = (code.magnitude(rank - 1), code.magnitude(rank));
                let at = |share: f32| below + (above - below) * share;
                assert_eq!(code.nearest(at(0.49)), rank - 1, "{code:?} {rank}");
                assert_eq!(code.nearest(at(0.51)), rank, "{code:?} {rank}");
            }
        }
        assert_eq!(Code::Signed.nearest(-1.0), 0xff, "the nearest to -1");
    }
}
