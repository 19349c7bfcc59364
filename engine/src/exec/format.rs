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
    /// As [`Format::E4m3`], with a scale for every 128 numbers, all of which stand behind the last number (DeepSeek-AI 2024,
    /// "DeepSeek-V3", section 3.3.2; the scales are powers of two).
    E4m3Blocks,
    /// Four bits with two of exponent and one of mantissa, in the lower halves of bytes. Every 16 have a scale in E4M3, whose
    /// halves lie in the upper ones of their first two bytes, and all have one behind the last (NVIDIA 2025, "Pretraining
    /// large language models with NVFP4", section 2).
    E2m1Blocks,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 8] =
        [Self::Word, Self::Tf32, Self::Bf16, Self::F16, Self::E4m3, Self::E5m2, Self::E4m3Blocks, Self::E2m1Blocks];

    /// How tensors of a type are kept.
    pub fn of(dtype: DType) -> Self {
        match dtype {
            // Bytes lie four in a word; kernels that read them take the words.
            DType::F32 | DType::U32 | DType::Tf32 | DType::U8 => Self::Word,
            DType::Bf16 => Self::Bf16,
            DType::F16 => Self::F16,
            DType::F8 => Self::E4m3,
            DType::F8Gradient => Self::E5m2,
            DType::F8Block => Self::E4m3Blocks,
            DType::F4 => Self::E2m1Blocks,
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
            Self::E4m3Blocks => "e4m3_blocks",
            Self::E2m1Blocks => "e2m1_blocks",
        }
    }

    /// The precision of scenarios that keep numbers so.
    pub fn precision(self) -> &'static str {
        match self {
            Self::Word => "fp32",
            Self::F16 => "fp16",
            Self::E4m3 | Self::E5m2 => "fp8",
            Self::E4m3Blocks => "fp8_block",
            Self::E2m1Blocks => "nvfp4",
            Self::Tf32 | Self::Bf16 => self.name(),
        }
    }

    /// Bytes of one number.
    pub fn size(self) -> u64 {
        match self {
            Self::Word | Self::Tf32 => 4,
            Self::Bf16 | Self::F16 => 2,
            Self::E4m3 | Self::E5m2 | Self::E4m3Blocks | Self::E2m1Blocks => 1,
        }
    }

    /// Whether several share a word.
    pub fn is_packed(self) -> bool {
        self.size() < 4
    }

    /// Whether numbers of a tensor have factors in common: only a kernel that sees all of them can write such a tensor.
    pub fn is_scaled(self) -> bool {
        self.size() == 1
    }

    /// Whether any kernel may write numbers one by one.
    pub fn is_written(self) -> bool {
        self != Self::Tf32 && !self.is_scaled()
    }

    /// Numbers in some bytes.
    pub fn elements(self, bytes: u64) -> u64 {
        let scales = match self {
            Self::E4m3Blocks => bytes.div_ceil(SCALED_BLOCK + 4) * 4,
            _ if self.is_scaled() => 4,
            _ => 0,
        };
        bytes.saturating_sub(scales) / self.size()
    }

    /// The relative error of rounding to it, at most (unit roundoff; Higham 2002, section 2.1).
    pub fn unit_roundoff(self) -> f64 {
        match self {
            Self::Word => 2.0_f64.powi(-24),
            Self::Tf32 | Self::F16 => 2.0_f64.powi(-11),
            Self::Bf16 => 2.0_f64.powi(-8),
            Self::E4m3 | Self::E4m3Blocks => 2.0_f64.powi(-4),
            Self::E5m2 => 2.0_f64.powi(-3),
            Self::E2m1Blocks => 2.0_f64.powi(-2),
        }
    }

    /// The bits of a number.
    pub fn encode(self, value: f32) -> u32 {
        match self {
            Self::Word | Self::Tf32 => value.to_bits(),
            Self::Bf16 => to_bf16(value),
            Self::F16 => to_f16(value),
            Self::E4m3 | Self::E4m3Blocks => to_byte(value, E4M3),
            Self::E5m2 => to_byte(value, E5M2),
            Self::E2m1Blocks => to_e2m1(value, 1.0),
        }
    }

    /// The number of some bits.
    pub fn decode(self, code: u32) -> f32 {
        match self {
            Self::Word => f32::from_bits(code),
            Self::Tf32 => from_tf32(f32::from_bits(code)),
            Self::Bf16 => f32::from_bits(code << 16),
            Self::F16 => from_f16(code),
            Self::E4m3 | Self::E4m3Blocks => from_byte(code, E4M3),
            Self::E5m2 => from_byte(code, E5M2),
            Self::E2m1Blocks => from_e2m1(code & 15),
        }
    }

    /// Writes numbers into words, from the first on; what else is in the last word stays.
    pub fn pack(self, values: &[f32], words: &mut [u32]) {
        match self {
            Self::E4m3Blocks => return pack_blocks(values, words),
            Self::E2m1Blocks => return pack_e2m1(values, words),
            _ => {}
        }
        let (per_word, bits, mask) = self.layout();
        let scale = self.scale(values);
        // Dividing by one would change bits that are no number.
        let scaled = |value: f32| if self.is_scaled() { value / scale } else { value };
        for (values, word) in values.chunks(per_word).zip(words.iter_mut()) {
            for (place, &value) in values.iter().enumerate() {
                let shift = place * bits;
                *word = (*word & !(mask << shift)) | ((self.encode(scaled(value)) & mask) << shift);
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
        let code = |i: usize| (words[i / per_word] >> (i % per_word * bits)) & mask;
        let scale = |index: usize| words.get(last + index).map_or(1.0, |&bits| f32::from_bits(bits));
        // Numbers are multiplied by the scales in the order in which shaders do it.
        let number = |i: usize| match self {
            Self::E4m3Blocks => self.decode(code(i)) * scale(i / SCALED_BLOCK as usize),
            Self::E2m1Blocks => {
                let first = i - i % SHORT_BLOCK;
                let of_block = code(first) >> 4 | (code(first + 1) >> 4) << 4;
                self.decode(code(i)) * (from_byte(of_block, E4M3) * scale(0))
            }
            _ if self.is_scaled() => self.decode(code(i)) * scale(0),
            _ => self.decode(code(i)),
        };
        (0..n.min(words.len() * per_word)).map(number).collect()
    }

    /// By what numbers are divided so that the largest of them is among the largest that there are: a power of two, which
    /// changes no digit; one where there is nothing to scale.
    pub fn scale(self, values: &[f32]) -> f32 {
        let Some([.., largest]) = self.byte() else { return 1.0 };
        power_below(largest_finite(values), self.decode(largest))
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
        let scales = match self {
            Self::E4m3Blocks => n.div_ceil(SCALED_BLOCK as usize),
            _ => usize::from(self.is_scaled()),
        };
        (n * usize::try_from(self.size()).unwrap_or(4)).div_ceil(4) + scales
    }
}

/// Numbers that share a scale: of eight bits, and of four.
const SCALED_BLOCK: u64 = 128;
pub(super) const SHORT_BLOCK: usize = 16;

/// The largest magnitude in four bits, by the largest scale in E4M3.
pub(super) const MOST_E2M1: f32 = 6.0 * 448.0;

fn largest_finite(values: &[f32]) -> f32 {
    values.iter().filter(|x| x.is_finite()).fold(0.0, |most: f32, x| most.max(x.abs()))
}

fn pack_blocks(values: &[f32], words: &mut [u32]) {
    let (codes, scales) = words.split_at_mut(values.len().div_ceil(4));
    let blocks = values.chunks(SCALED_BLOCK as usize).zip(codes.chunks_mut(SCALED_BLOCK as usize / 4));
    for ((values, codes), scale) in blocks.zip(scales) {
        let of_block = Format::E4m3.scale(values);
        *scale = of_block.to_bits();
        for (values, word) in values.chunks(4).zip(codes) {
            *word = values.iter().rev().fold(0, |word, value| word << 8 | to_byte(value / of_block, E4M3));
        }
    }
}

fn pack_e2m1(values: &[f32], words: &mut [u32]) {
    let scale = power_below(largest_finite(values), MOST_E2M1);
    let last = values.len().div_ceil(4);
    for (values, words) in values.chunks(SHORT_BLOCK).zip(words[..last].chunks_mut(SHORT_BLOCK / 4)) {
        short_block(values, scale, words);
    }
    words[last] = scale.to_bits();
}

/// Writes a block of 16 numbers in four bits: the scale in E4M3 is the least with which the largest fits. Only products that
/// are exact are compared, so that no device rounds otherwise.
pub(super) fn short_block(values: &[f32], scale: f32, words: &mut [u32]) {
    // What is too small to be a normal number is nothing on some devices.
    let normal = values.iter().filter(|x| x.is_normal());
    let most = normal.fold(0.0, |most: f32, x| most.max(x.abs()));
    let (mut low, mut high) = (0, E4M3[2]);
    while low < high {
        let middle = u32::midpoint(low, high);
        if from_byte(middle, E4M3) * scale * 6.0 >= most {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let unit = from_byte(low, E4M3) * scale;
    let mut bytes = [0; SHORT_BLOCK];
    for (byte, &value) in bytes.iter_mut().zip(values) {
        *byte = to_e2m1(value, unit);
    }
    bytes[0] |= (low & 15) << 4;
    bytes[1] |= (low >> 4) << 4;
    for (word, bytes) in words.iter_mut().zip(bytes.chunks(4)) {
        *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | byte);
    }
}

/// The magnitudes of three bits.
const E2M1: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

fn from_e2m1(code: u32) -> f32 {
    let size = E2M1[code as usize & 7];
    if code & 8 == 0 { size } else { -size }
}

/// The code of the nearest multiple of `unit`, of two that are as near the even code; what is no number becomes zero.
fn to_e2m1(value: f32, unit: f32) -> u32 {
    let size = value.abs();
    let middle = |code: usize| (E2M1[code] + E2M1[code + 1]) * 0.5 * unit;
    let below = |code: &usize| if code.is_multiple_of(2) { size > middle(*code) } else { size >= middle(*code) };
    let code = u32::try_from((0..7).take_while(below).count()).unwrap_or(7);
    if value.is_sign_negative() && code > 0 { code | 8 } else { code }
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
    fn blocks_are_scaled_by_themselves() {
        let values: Vec<f32> = (0..300).map(|i| (i as f32 - 140.0) * if i < 128 { 1e-2 } else { 10.0 }).collect();
        for format in [Format::E4m3Blocks, Format::E2m1Blocks] {
            let mut words = vec![0; format.words(values.len())];
            format.pack(&values, &mut words);
            let read = format.unpack(&words, values.len());
            assert_eq!(format.elements(words.len() as u64 * 4), 300);
            for (block, read) in values.chunks(16).zip(read.chunks(16)) {
                let most = block.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                for (value, read) in block.iter().zip(read) {
                    // Below the least normal number the steps are as wide as there; a scale is rounded up by an eighth.
                    let step = if format == Format::E2m1Blocks { most / 12.0 * 1.125 } else { 0.0 };
                    let bound = (format.unit_roundoff() as f32 * value.abs()).max(step * 0.5);
                    assert!((value - read).abs() <= bound * 1.0001, "{} {value} became {read}", format.name());
                }
            }
        }
        // As few as there may be: the bytes of both halves of a scale are there.
        for n in 1..40 {
            let values = vec![3.0; n];
            let mut words = vec![0; Format::E2m1Blocks.words(n)];
            Format::E2m1Blocks.pack(&values, &mut words);
            assert_eq!(Format::E2m1Blocks.unpack(&words, n), values);
        }
    }

    #[test]
    fn four_bits_go_to_the_nearest_and_of_two_to_the_even() {
        let of = |value: f32| Format::E2m1Blocks.encode(value);
        let cases =
            [(0.25, 0), (0.26, 1), (0.75, 2), (1.25, 2), (1.26, 3), (1.75, 4), (2.5, 4), (3.5, 6), (5.0, 6), (5.1, 7)];
        for (value, code) in cases {
            assert_eq!((of(value), of(-value)), (code, if code > 0 { code | 8 } else { 0 }), "{value}");
        }
        assert_eq!((of(100.0), of(f32::NAN)), (7, 0));
    }

    #[test]
    fn tf32_keeps_ten_bits() {
        let value = 1.0 + 2.0_f32.powi(-10) + 2.0_f32.powi(-12);
        assert_eq!(Format::Tf32.decode(value.to_bits()), 1.0 + 2.0_f32.powi(-10));
    }
}
