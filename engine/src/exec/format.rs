//! How numbers lie in buffers. Kernels compute in fp32; what is kept in fewer bits is widened when it is read and rounded
//! when it is written, to the nearest, ties to even.
//!
//! Shader twin: `shaders/parts/formats.wgsl`. Both round in integers, so that no device differs from another.

use crate::graph::DType;

/// Numbers as they lie in a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Format {
    /// 32 bits: floats, or numbers of tokens and rows.
    #[default]
    Word,
    /// 32 bits, of which matrix units read 19 (NVIDIA A100 whitepaper 2020): rounded when read.
    Tf32,
    /// The upper half of an f32, two in a word.
    Bf16,
    /// IEEE 754 half precision, two in a word.
    F16,
    /// Eight bits with four of exponent and three of mantissa, four in a word; behind the last stands what all of them are
    /// multiplied by (Micikevicius et al. 2022, "FP8 formats for deep learning", table 1).
    E4m3,
    /// The same with five and two, for gradients.
    E5m2,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 6] = [Self::Word, Self::Tf32, Self::Bf16, Self::F16, Self::E4m3, Self::E5m2];

    /// How tensors of a type are kept; none where kernels cannot read them yet.
    pub fn of(dtype: DType) -> Option<Self> {
        match dtype {
            // Bytes lie four in a word; kernels that read them take the words.
            DType::F32 | DType::U32 | DType::Tf32 | DType::U8 => Some(Self::Word),
            DType::Bf16 => Some(Self::Bf16),
            DType::F16 => Some(Self::F16),
            DType::F8 => Some(Self::E4m3),
            DType::F8Gradient => Some(Self::E5m2),
            DType::F8Block | DType::F4 => None,
        }
    }

    /// Its name in sources and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Word => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::E4m3 => "e4m3",
            Self::E5m2 => "e5m2",
        }
    }

    /// The precision of scenarios that keep numbers so.
    pub fn precision(self) -> &'static str {
        match self {
            Self::Word => "fp32",
            Self::F16 => "fp16",
            Self::E4m3 | Self::E5m2 => "fp8",
            Self::Tf32 | Self::Bf16 => self.name(),
        }
    }

    /// Bytes of one number.
    pub fn size(self) -> u64 {
        match self {
            Self::Word | Self::Tf32 => 4,
            Self::Bf16 | Self::F16 => 2,
            Self::E4m3 | Self::E5m2 => 1,
        }
    }

    /// Whether several share a word.
    pub fn is_packed(self) -> bool {
        self.size() < 4
    }

    /// Whether all numbers of a tensor have a factor in common: only a kernel that sees all of them can write such a tensor.
    pub fn is_scaled(self) -> bool {
        matches!(self, Self::E4m3 | Self::E5m2)
    }

    /// Whether any kernel may write numbers one by one.
    pub fn is_written(self) -> bool {
        self != Self::Tf32 && !self.is_scaled()
    }

    /// Numbers in some bytes.
    pub fn elements(self, bytes: u64) -> u64 {
        bytes.saturating_sub(if self.is_scaled() { 4 } else { 0 }) / self.size()
    }

    /// The relative error of rounding to it, at most (unit roundoff; Higham 2002, section 2.1).
    pub fn unit_roundoff(self) -> f64 {
        match self {
            Self::Word => 2.0_f64.powi(-24),
            Self::Tf32 | Self::F16 => 2.0_f64.powi(-11),
            Self::Bf16 => 2.0_f64.powi(-8),
            Self::E4m3 => 2.0_f64.powi(-4),
            Self::E5m2 => 2.0_f64.powi(-3),
        }
    }

    /// The bits of a number.
    pub fn encode(self, value: f32) -> u32 {
        match self {
            Self::Word | Self::Tf32 => value.to_bits(),
            Self::Bf16 => to_bf16(value),
            Self::F16 => to_f16(value),
            Self::E4m3 => to_byte(value, E4M3),
            Self::E5m2 => to_byte(value, E5M2),
        }
    }

    /// The number of some bits.
    pub fn decode(self, code: u32) -> f32 {
        match self {
            Self::Word => f32::from_bits(code),
            Self::Tf32 => from_tf32(f32::from_bits(code)),
            Self::Bf16 => f32::from_bits(code << 16),
            Self::F16 => from_f16(code),
            Self::E4m3 => from_byte(code, E4M3),
            Self::E5m2 => from_byte(code, E5M2),
        }
    }

    /// Writes numbers into words, from the first on; what else is in the last word stays.
    pub fn pack(self, values: &[f32], words: &mut [u32]) {
        let (per_word, bits, mask) = self.layout();
        let scale = self.scale(values);
        for (values, word) in values.chunks(per_word).zip(words.iter_mut()) {
            for (place, &value) in values.iter().enumerate() {
                let shift = place * bits;
                *word = (*word & !(mask << shift)) | ((self.encode(value / scale) & mask) << shift);
            }
        }
        if let Some(last) = self.words(values.len()).checked_sub(1).filter(|_| self.is_scaled()) {
            words.get_mut(last).into_iter().for_each(|word| *word = scale.to_bits());
        }
    }

    /// The first `n` numbers of some words.
    pub fn unpack(self, words: &[u32], n: usize) -> Vec<f32> {
        let (per_word, bits, mask) = self.layout();
        let last = n.div_ceil(per_word);
        let scale = words.get(last).filter(|_| self.is_scaled()).map_or(1.0, |&bits| f32::from_bits(bits));
        let number = |i: usize| self.decode((words[i / per_word] >> (i % per_word * bits)) & mask);
        let numbers = (0..n.min(words.len() * per_word)).map(number);
        if self.is_scaled() { numbers.map(|x| x * scale).collect() } else { numbers.collect() }
    }

    /// By what numbers are divided so that the largest of them is among the largest that there are: a power of two, which
    /// changes no digit; one where there is nothing to scale.
    pub fn scale(self, values: &[f32]) -> f32 {
        let Some([.., largest]) = self.byte() else { return 1.0 };
        let finite = values.iter().filter(|x| x.is_finite());
        power_below(finite.fold(0.0, |most: f32, x| most.max(x.abs())), self.decode(largest))
    }

    /// Of eight bits: those of the mantissa, the bias of the exponent, and the code of the largest number.
    pub fn byte(self) -> Option<[u32; 3]> {
        match self {
            Self::E4m3 => Some(E4M3),
            Self::E5m2 => Some(E5M2),
            _ => None,
        }
    }

    /// Numbers in a word, bits of each, and the bits of the first.
    fn layout(self) -> (usize, usize, u32) {
        let per_word = usize::try_from(4 / self.size()).unwrap_or(1);
        let bits = 32 / per_word;
        (per_word, bits, u32::MAX >> (32 - bits))
    }

    /// Words that `n` numbers take.
    pub fn words(self, n: usize) -> usize {
        (n * usize::try_from(self.size()).unwrap_or(4)).div_ceil(4) + usize::from(self.is_scaled())
    }
}

fn to_bf16(value: f32) -> u32 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) | 0x40;
    }
    nearest(bits, 16)
}

fn from_f16(code: u32) -> f32 {
    let (sign, exponent, mantissa) = ((code & 0x8000) << 16, (code >> 10) & 31, code & 1023);
    let size = match exponent {
        0 => (mantissa as f32 * f32::from_bits(0x3380_0000)).to_bits(),
        31 => 0x7f80_0000 | (mantissa << 13),
        _ => ((exponent + 112) << 23) | (mantissa << 13),
    };
    f32::from_bits(sign | size)
}

fn to_f16(value: f32) -> u32 {
    let bits = value.to_bits();
    let (sign, size) = ((bits >> 16) & 0x8000, bits & 0x7fff_ffff);
    if value.is_nan() {
        return sign | 0x7e00;
    }
    let exponent = size >> 23;
    if exponent < 113 {
        // Below 2^-14 the mantissa moves down; below half of the least, nothing is left.
        let (shift, mantissa) = (126 - exponent, (size & 0x7f_ffff) | 0x80_0000);
        return if shift > 24 { sign } else { sign | nearest(mantissa, shift) };
    }
    sign | (nearest(size, 13) - (112 << 10)).min(0x7c00)
}

/// Bits of the mantissa, the bias of the exponent, the code of the largest number.
type Byte = [u32; 3];

/// E4M3 has no infinities and one code that is no number; E5M2 is as IEEE 754 would have it (Micikevicius et al. 2022).
const E4M3: Byte = [3, 7, 0x7e];
const E5M2: Byte = [2, 15, 0x7b];

fn from_byte(code: u32, [bits, bias, largest]: Byte) -> f32 {
    let (sign, size) = ((code & 0x80) << 24, code & 0x7f);
    if size > largest {
        let infinite = bits == 2 && size == 0x7c;
        return f32::from_bits(sign | if infinite { 0x7f80_0000 } else { 0x7fc0_0000 });
    }
    let (exponent, mantissa) = (size >> bits, size & ((1 << bits) - 1));
    let value = if exponent == 0 {
        // The least of them: 2^(1 - bias - bits).
        (mantissa as f32 * f32::from_bits((128 - bias - bits) << 23)).to_bits()
    } else {
        ((exponent + 127 - bias) << 23) | (mantissa << (23 - bits))
    };
    f32::from_bits(sign | value)
}

/// What is too large becomes the largest number (saturating, as Transformer Engine's casts do).
fn to_byte(value: f32, [bits, bias, largest]: Byte) -> u32 {
    let all = value.to_bits();
    let (sign, size) = ((all >> 24) & 0x80, all & 0x7fff_ffff);
    if size > 0x7f80_0000 {
        return sign | 0x7f;
    }
    let exponent = size >> 23;
    let least = 128 - bias;
    if exponent < least {
        // Below the normal numbers the mantissa moves down; below half of the least, nothing is left.
        let (shift, mantissa) = (23 - bits + least - exponent, (size & 0x7f_ffff) | 0x80_0000);
        return if shift > 24 { sign } else { sign | nearest(mantissa, shift) };
    }
    sign | (nearest(size, 23 - bits) - ((127 - bias) << bits)).min(largest)
}

/// The power of two by which the largest magnitude of a tensor is divided to lie in the highest binade of numbers up to
/// `most`; one for a tensor of zeros.
pub(super) fn power_below(largest: f32, most: f32) -> f32 {
    let (most, size) = (most.to_bits(), largest.to_bits());
    let beyond = u32::from(size & 0x7f_ffff > most & 0x7f_ffff);
    let (own, highest) = (size >> 23, most >> 23);
    // Powers of two that are normal numbers, so that no device flushes them.
    let exponent = (own + beyond + 127).saturating_sub(highest).clamp(1, 254);
    if own == 0 { 1.0 } else { f32::from_bits(exponent << 23) }
}

fn from_tf32(value: f32) -> f32 {
    let bits = value.to_bits();
    if value.is_finite() { f32::from_bits((bits + 0xfff + ((bits >> 13) & 1)) & 0xffff_e000) } else { value }
}

/// `bits / 2^shift`, to the nearest, ties to even.
fn nearest(bits: u32, shift: u32) -> u32 {
    (bits + ((1 << (shift - 1)) - 1) + ((bits >> shift) & 1)) >> shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_in_16_bits_survives_the_way_through_fp32() {
        for format in [Format::Bf16, Format::F16] {
            for code in 0..=0xffff_u32 {
                let value = format.decode(code);
                if !value.is_nan() {
                    assert_eq!(format.encode(value), code, "{} {code:#x} is {value}", format.name());
                }
            }
        }
    }

    /// The nearest of two neighbours, and the even one of two that are as near.
    #[test]
    fn numbers_between_codes_go_to_the_nearest() {
        for format in [Format::Bf16, Format::F16] {
            for code in 0..0x7bff_u32 {
                let (below, above) = (f64::from(format.decode(code)), f64::from(format.decode(code + 1)));
                let part = |share: f64| (below + (above - below) * share) as f32;
                let name = format.name();
                assert_eq!(format.encode(part(0.49)), code, "{name}, a bit less than halfway above {code:#x}");
                assert_eq!(format.encode(part(0.5)), code + (code & 1), "{name}, halfway above {code:#x}");
                assert_eq!(format.encode(part(0.51)), code + 1, "{name}, a bit more than halfway above {code:#x}");
            }
        }
    }

    #[test]
    fn what_is_too_large_and_what_is_no_number_stays_so() {
        assert_eq!(Format::F16.encode(65_519.0), 0x7bff);
        assert_eq!(Format::F16.encode(65_520.0), 0x7c00);
        assert_eq!(Format::F16.encode(f32::NEG_INFINITY), 0xfc00);
        assert!(Format::F16.decode(Format::F16.encode(f32::NAN)).is_nan());
        assert!(Format::Bf16.decode(Format::Bf16.encode(f32::NAN)).is_nan());
        assert_eq!(Format::Bf16.encode(f32::MAX), 0x7f80);
        assert_eq!(Format::F16.encode(2.0_f32.powi(-25)), 0, "halfway to the least, to even");
        assert_eq!(Format::F16.encode(2.1_f32 * 2.0_f32.powi(-25)), 1);
        assert_eq!(Format::F16.encode(f32::MIN_POSITIVE / 4.0), 0);
    }

    #[test]
    fn an_odd_number_of_halves_leaves_its_neighbour_alone() {
        let mut words = [u32::MAX; 2];
        Format::Bf16.pack(&[1.0, 2.0, 3.0], &mut words);
        assert_eq!(words[1] >> 16, 0xffff);
        assert_eq!(Format::Bf16.unpack(&words, 3), [1.0, 2.0, 3.0]);
        assert_eq!(Format::Bf16.words(3), 2);
    }

    /// The numbers of Micikevicius et al. 2022, table 1.
    #[test]
    fn bytes_have_the_published_extremes() {
        let of = |format: Format, code: u32| format.decode(code);
        assert_eq!((of(Format::E4m3, 0x7e), of(Format::E4m3, 0x08)), (448.0, 2.0_f32.powi(-6)));
        assert_eq!((of(Format::E4m3, 0x01), of(Format::E4m3, 0x87)), (2.0_f32.powi(-9), -1.75 * 2.0_f32.powi(-7)));
        assert_eq!((of(Format::E5m2, 0x7b), of(Format::E5m2, 0x04)), (57_344.0, 2.0_f32.powi(-14)));
        assert_eq!((of(Format::E5m2, 0x01), of(Format::E5m2, 0xfc)), (2.0_f32.powi(-16), f32::NEG_INFINITY));
        assert!(of(Format::E4m3, 0x7f).is_nan() && of(Format::E5m2, 0x7d).is_nan());
    }

    #[test]
    fn every_byte_survives_and_what_lies_between_goes_to_the_nearest() {
        for (format, largest) in [(Format::E4m3, 0x7e_u32), (Format::E5m2, 0x7b)] {
            for code in 0..=largest {
                for sign in [0, 0x80] {
                    assert_eq!(format.encode(format.decode(sign | code)), sign | code, "{} {code:#x}", format.name());
                }
            }
            for code in 0..largest {
                let (below, above) = (f64::from(format.decode(code)), f64::from(format.decode(code + 1)));
                let part = |share: f64| (below + (above - below) * share) as f32;
                assert_eq!(format.encode(part(0.49)), code, "{} {code:#x}", format.name());
                assert_eq!(format.encode(part(0.5)), code + (code & 1), "{} {code:#x}", format.name());
                assert_eq!(format.encode(part(0.51)), code + 1, "{} {code:#x}", format.name());
            }
            let most = format.decode(largest);
            assert_eq!((format.encode(most * 8.0), format.encode(f32::INFINITY)), (largest, largest));
            assert!(format.decode(format.encode(f32::NAN)).is_nan());
        }
    }

    #[test]
    fn a_tensor_is_scaled_so_that_its_largest_number_fits_and_stays_precise() {
        for format in [Format::E4m3, Format::E5m2] {
            for largest in [1e-30_f32, 3e-5, 0.02, 1.0, 447.0, 449.0, 1e20] {
                let values = [0.3 * largest, -largest, 0.9 * largest, 0.0, 0.01 * largest];
                let mut words = vec![0; format.words(values.len())];
                assert_eq!(words.len(), 3, "two words of bytes and the scale");
                format.pack(&values, &mut words);
                let read = format.unpack(&words, values.len());
                for (value, read) in values.iter().zip(read) {
                    let apart = f64::from((value - read).abs());
                    assert!(apart <= format.unit_roundoff() * f64::from(value.abs()), "{} {value}", format.name());
                }
            }
            assert_eq!(format.scale(&[0.0, 0.0]), 1.0);
        }
    }

    #[test]
    fn tf32_keeps_ten_bits() {
        let value = 1.0 + 2.0_f32.powi(-10) + 2.0_f32.powi(-12);
        assert_eq!(Format::Tf32.decode(value.to_bits()), 1.0 + 2.0_f32.powi(-10));
    }
}
