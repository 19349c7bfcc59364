//! Dropout (Srivastava et al. 2014), scaled so that sums stay as large on average: `y = x * scale` where the mask says 1,
//! 0 elsewhere. The mask has a byte for each element, four in a word.
//!
//! What is kept depends on the seed, the step, and the number of the element in the whole batch, so that every way of
//! sharding drops the same. Random numbers are those of Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy
//! as 1, 2, 3"), four for each counter.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`dropout`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct DropoutParams {
    /// Number of elements.
    pub n: u32,
    /// Columns of a row.
    pub cols: u32,
    /// The first element; a multiple of four.
    pub offset: u32,
    /// The row of the micro-batch in which it stands.
    pub row: u32,
    /// Rows of a sample that this rank has.
    pub own_rows: u32,
    /// From one of them to the next.
    pub stride: u32,
    /// The first of them.
    pub first: u32,
    /// Rows of a sample.
    pub sample_rows: u32,
    /// Number of the micro-batch's first sample in the batch.
    pub sample: u32,
    /// The first column that this rank has.
    pub column: u32,
    /// Numbers below it drop: the share that is dropped, of 2³².
    pub threshold: u32,
    /// Factor on what is kept: one over its share.
    pub scale: f32,
    /// The key of the random numbers: of the seed and the op.
    pub key: [u32; 2],
    /// 1 if there is a bias; only where something is added to the residual stream.
    pub has_bias: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 1],
}

impl KernelParams for DropoutParams {
    const KERNEL: Kernel = Kernel::Dropout;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n.div_ceil(4))
    }
}

impl DropoutParams {
    /// Whether element `i` of them is kept in a step.
    pub(super) fn keeps(&self, i: u32, step: u32) -> bool {
        let column = self.column + i % self.cols;
        let whole = self.row + i / self.cols;
        let token = whole % self.own_rows * self.stride + self.first;
        let row = (self.sample + whole / self.own_rows) * self.sample_rows + token;
        philox([column / 4, row, step, 0], self.key)[column as usize % 4] >= self.threshold
    }
}

/// Writes `y` and `mask`.
pub fn dropout<T: Real>(x: &[T], step: &[u32], y: &mut [T], mask: &mut [u32], p: &DropoutParams) {
    for i in 0..p.n {
        let (at, kept) = ((p.offset + i) as usize, p.keeps(i, step[0]));
        y[at] = if kept { x[at] * real(p.scale) } else { T::zero() };
        put(mask, at, kept);
    }
}

/// Writes a byte; that of a word's first element clears the others.
pub(super) fn put(mask: &mut [u32], at: usize, kept: bool) {
    let before = if at.is_multiple_of(4) { 0 } else { mask[at / 4] };
    mask[at / 4] = before | u32::from(kept) << (at % 4 * 8);
}

/// Four random numbers of a counter and a key.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    let wide = |a: u32, b: u32| {
        let product = (u64::from(a) * u64::from(b)).to_le_bytes();
        let word =
            |from: usize| u32::from_le_bytes([product[from], product[from + 1], product[from + 2], product[from + 3]]);
        (word(0), word(4))
    };
    for _ in 0..10 {
        let (first_low, first_high) = wide(0xd251_1f53, counter[0]);
        let (second_low, second_high) = wide(0xcd9e_8d57, counter[2]);
        counter = [second_high ^ counter[1] ^ key[0], second_low, first_high ^ counter[3] ^ key[1], first_low];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that come with the authors' library.
    #[test]
    fn random_numbers_are_those_of_the_paper() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let (counter, key) = ([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]);
        assert_eq!(philox(counter, key), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn the_share_that_is_dropped_is_that_which_was_asked_for() {
        let p = DropoutParams {
            n: 100_000,
            cols: 100,
            own_rows: 1000,
            stride: 1,
            sample_rows: 1000,
            threshold: (0.1 * 2.0_f64.powi(32)) as u32,
            scale: 1.0 / 0.9,
            ..DropoutParams::default()
        };
        let dropped = (0..p.n).filter(|&i| !p.keeps(i, 1)).count();
        // Four standard deviations of a binomial distribution.
        let deviation = (f64::from(p.n) * 0.1 * 0.9).sqrt();
        assert!((dropped as f64 - 10_000.0).abs() < 4.0 * deviation, "{dropped}");
        let again = (0..p.n).filter(|&i| p.keeps(i, 1) != p.keeps(i, 2)).count();
        assert!((again as f64 - 18_000.0).abs() < 1_000.0, "another step drops others: {again}");
    }
}
