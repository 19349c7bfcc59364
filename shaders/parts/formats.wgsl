// Numbers in 16 and 8 bits. All rounding is to the nearest, ties to even, in integers: so every device rounds alike, and as
// the CPU does (engine/src/exec/format.rs).

// The upper half of an f32.
fn from_bf16(code: u32) -> f32 {
    return bitcast<f32>(code << 16u);
}

fn to_bf16(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    if (bits & 0x7fffffffu) > 0x7f800000u {
        return (bits >> 16u) | 0x40u;
    }
    return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}

// IEEE 754 half precision: 5 bits of exponent, 10 of mantissa.
fn from_f16(code: u32) -> f32 {
    let sign = (code & 0x8000u) << 16u;
    let exponent = (code >> 10u) & 31u;
    let mantissa = code & 1023u;
    if exponent == 0u {
        let small = bitcast<u32>(f32(mantissa) * 0x1p-24f);
        return bitcast<f32>(sign | small);
    }
    let raised = select(exponent + 112u, 255u, exponent == 31u);
    return bitcast<f32>(sign | (raised << 23u) | (mantissa << 13u));
}

fn to_f16(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    let sign = (bits >> 16u) & 0x8000u;
    let size = bits & 0x7fffffffu;
    if size > 0x7f800000u {
        return sign | 0x7e00u;
    }
    let exponent = size >> 23u;
    if exponent < 113u {
        // Below 2^-14 the mantissa moves down; below half of the least, nothing is left.
        let shift = 126u - exponent;
        if shift > 24u {
            return sign;
        }
        let mantissa = (size & 0x7fffffu) | 0x800000u;
        return sign | ((mantissa + ((1u << (shift - 1u)) - 1u) + ((mantissa >> shift) & 1u)) >> shift);
    }
    let code = ((size + 0xfffu + ((size >> 13u) & 1u)) >> 13u) - (112u << 10u);
    return sign | min(code, 0x7c00u);
}

// What matrix units keep of an f32: 10 bits of mantissa.
fn from_tf32(value: f32) -> f32 {
    let bits = bitcast<u32>(value);
    if (bits & 0x7f800000u) == 0x7f800000u {
        return value;
    }
    return bitcast<f32>((bits + 0xfffu + ((bits >> 13u) & 1u)) & 0xffffe000u);
}

// Eight bits with `mantissa` of mantissa: E4M3 and E5M2. Codes above the largest number are none (but for infinities of
// the latter).
fn from_byte(code: u32, mantissa: u32, bias: u32, largest: u32) -> f32 {
    let sign = (code & 0x80u) << 24u;
    let size = code & 0x7fu;
    if size > largest {
        return bitcast<f32>(sign | select(0x7fc00000u, 0x7f800000u, mantissa == 2u && size == 0x7cu));
    }
    let exponent = size >> mantissa;
    let digits = size & ((1u << mantissa) - 1u);
    if exponent == 0u {
        let small = bitcast<u32>(f32(digits) * bitcast<f32>((128u - bias - mantissa) << 23u));
        return bitcast<f32>(sign | small);
    }
    return bitcast<f32>(sign | ((exponent + 127u - bias) << 23u) | (digits << (23u - mantissa)));
}

fn from_e4m3(code: u32) -> f32 {
    return from_byte(code, 3u, 7u, 0x7eu);
}

fn from_e5m2(code: u32) -> f32 {
    return from_byte(code, 2u, 15u, 0x7bu);
}

// Four bits: a sign, and 0, 0.5, 1, 1.5, 2, 3, 4 or 6. The upper half of the byte is not theirs.
fn from_e2m1_blocks(code: u32) -> f32 {
    let size = code & 7u;
    var value = f32(size) * 0.5;
    if size > 4u {
        value = select(f32(size) - 2.0, 6.0, size == 7u);
    }
    return select(value, -value, (code & 8u) != 0u);
}
