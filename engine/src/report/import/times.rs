//! Times as trace files write them: microseconds with decimals, which a float cannot hold to the nanosecond.

use serde_json::value::RawValue;

/// Nanoseconds of microseconds that stand in a file as a number or as text; none where it is neither.
pub(super) fn nanos(raw: &RawValue) -> Option<i64> {
    let text = raw.get().trim().trim_matches('"');
    decimal(text).or_else(|| {
        let micros: f64 = text.parse().ok()?;
        #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
        let nanos = (micros * 1e3).round() as i64;
        (micros.abs() < 9e15).then_some(nanos)
    })
}

/// Digits, and as many behind a point as there may be, of which three count; the fourth rounds.
fn decimal(text: &str) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !are_digits(whole) || !are_digits(part) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let digit = |place: usize| part.as_bytes().get(place).map_or(0, |byte| i64::from(byte - b'0'));
    let nanos = digit(0) * 100 + digit(1) * 10 + digit(2) + i64::from(digit(3) >= 5);
    let all = whole.checked_mul(1000)?.checked_add(nanos)?;
    Some(if negative { -all } else { all })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<i64> {
        nanos(&RawValue::from_string(text.to_owned()).ok()?)
    }

    #[test]
    fn every_nanosecond_of_this_century_is_kept() {
        assert_eq!(of("1700000000000000.123"), Some(1_700_000_000_000_000_123));
        assert_eq!(of("\"5.5\""), Some(5500));
        assert_eq!(of("-3"), Some(-3000));
        assert_eq!(of("0.0006"), Some(1));
        assert_eq!(of("1.5e3"), Some(1_500_000));
        for wrong in ["null", "\"soon\"", "1e300", "[]", "99999999999999999999"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
