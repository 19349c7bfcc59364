//! How numbers lie in buffers. Kernels compute in fp32; what is kept in fewer bits is widened when it is read and rounded
//! when it is written, to the nearest, ties to even.
//!
//! Shader twin: `shaders/parts/formats.wgsl`. Both round in integers, so that no device differs from another.

use crate::graph::DType;

/// Numbers as they lie in a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Word, Self::Tf32, Self::Bf16, Self::F16];

    /// How tensors of a type are kept; none where kernels cannot read them yet.
    pub fn of(dtype: DType) -> Option<Self> {
        match dtype {
            DType::F32 | DType::U32 | DType::Tf32 => Some(Self::Word),
            DType::Bf16 => Some(Self::Bf16),
            DType::F16 => Some(Self::F16),
            DType::F8 | DType::F8Block | DType::F4 | DType::U8 => None,
        }
    }

    /// Its name in sources and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Word => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// The precision of scenarios that keep numbers so.
    pub fn precision(self) -> &'static str {
        match self {
            Self::Word => "fp32",
            Self::F16 => "fp16",
            Self::Tf32 | Self::Bf16 => self.name(),
        }
    }

    /// Bytes of one number.
    pub fn size(self) -> u64 {
        match self {
            Self::Word | Self::Tf32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    /// Whether several share a word.
    pub fn is_packed(self) -> bool {
        self.size() < 4
    }

    /// The relative error of rounding to it, at most (unit roundoff; Higham 2002, section 2.1).
    pub fn unit_roundoff(self) -> f64 {
        match self {
            Self::Word => 2.0_f64.powi(-24),
            Self::Tf32 | Self::F16 => 2.0_f64.powi(-11),
            Self::Bf16 => 2.0_f64.powi(-8),
        }
    }

    /// The bits of a number.
    pub fn encode(self, value: f32) -> u32 {
        match self {
            Self::Word | Self::Tf32 => value.to_bits(),
            Self::Bf16 => to_bf16(value),
            Self::F16 => to_f16(value),
        }
    }

    /// The number of some bits.
    pub fn decode(self, code: u32) -> f32 {
        match self {
            Self::Word => f32::from_bits(code),
            Self::Tf32 => from_tf32(f32::from_bits(code)),
            Self::Bf16 => f32::from_bits(code << 16),
            Self::F16 => from_f16(code),
        }
    }

    /// Writes numbers into words, from the first on; what else is in the last word stays.
    pub fn pack(self, values: &[f32], words: &mut [u32]) {
        let (per_word, bits, mask) = self.layout();
        for (values, word) in values.chunks(per_word).zip(words) {
            for (place, &value) in values.iter().enumerate() {
                let shift = place * bits;
                *word = (*word & !(mask << shift)) | ((self.encode(value) & mask) << shift);
            }
        }
    }

    /// The first `n` numbers of some words.
    pub fn unpack(self, words: &[u32], n: usize) -> Vec<f32> {
        let (per_word, bits, mask) = self.layout();
        let number = |i: usize| self.decode((words[i / per_word] >> (i % per_word * bits)) & mask);
        (0..n.min(words.len() * per_word)).map(number).collect()
    }

    /// Numbers in a word, bits of each, and the bits of the first.
    fn layout(self) -> (usize, usize, u32) {
        let per_word = usize::try_from(4 / self.size()).unwrap_or(1);
        let bits = 32 / per_word;
        (per_word, bits, u32::MAX >> (32 - bits))
    }

    /// Words that `n` numbers take.
    pub fn words(self, n: usize) -> usize {
        (n * usize::try_from(self.size()).unwrap_or(4)).div_ceil(4)
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

    #[test]
    fn tf32_keeps_ten_bits() {
        let value = 1.0 + 2.0_f32.powi(-10) + 2.0_f32.powi(-12);
        assert_eq!(Format::Tf32.decode(value.to_bits()), 1.0 + 2.0_f32.powi(-10));
    }
}
