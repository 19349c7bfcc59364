//! Quantities that carry their unit in the type: time, sizes, work and rates.
//!
//! Time is integer nanoseconds so that sums are exact and equal on every platform.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Sub, SubAssign};

use serde::{Deserialize, Serialize};

mod parse;

pub use parse::{ParseQuantityError, Quantity};

/// A span of time or a point on a trace's clock, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanos(pub i64);

impl From<std::time::Duration> for Nanos {
    /// As the host's clock measured it; the longest there is where it is longer.
    fn from(time: std::time::Duration) -> Self {
        Self(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl Nanos {
    /// No time at all; also the origin of every trace.
    pub const ZERO: Self = Self(0);

    /// The nearest nanosecond to `secs`; saturates, and a NaN becomes zero.
    pub fn from_secs(secs: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "a float-to-int cast saturates, which is what is wanted")]
        Self((secs * 1e9).round() as i64)
    }

    /// The same time in seconds, for formulas and display.
    pub fn secs(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

/// A size in memory or on a wire, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The next multiple of `alignment` (which must not be zero).
    pub fn align_up(self, alignment: u64) -> Self {
        Self(self.0.div_ceil(alignment) * alignment)
    }

    /// The size as a float, for rates and ratios.
    pub fn as_f64(self) -> f64 {
        self.0 as f64
    }
}

/// An amount of floating-point work. A multiply-add counts as two.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Flops(pub f64);

impl Flops {
    /// No work.
    pub const ZERO: Self = Self(0.0);
}

/// A compute rate in floating-point operations per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FlopsPerSec(pub f64);

/// A transfer rate in bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BytesPerSec(pub f64);

/// Electric power in watts.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Watts(pub f64);

/// Energy in joules.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Joules(pub f64);

impl Div<FlopsPerSec> for Flops {
    type Output = Nanos;

    fn div(self, rate: FlopsPerSec) -> Nanos {
        Nanos::from_secs(self.0 / rate.0)
    }
}

impl Div<BytesPerSec> for Bytes {
    type Output = Nanos;

    fn div(self, rate: BytesPerSec) -> Nanos {
        Nanos::from_secs(self.as_f64() / rate.0)
    }
}

/// Sums of times are never more than the longest there is: what a user writes may be added up as often as they like.
fn time_sum(a: i64, b: i64) -> i64 {
    a.saturating_add(b)
}

fn time_difference(a: i64, b: i64) -> i64 {
    a.saturating_sub(b)
}

macro_rules! additive {
    ($($name:ident: $sum:expr, $difference:expr);*) => {$(
        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self($sum(self.0, other.0))
            }
        }
        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 = $sum(self.0, other.0);
            }
        }
        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self($difference(self.0, other.0))
            }
        }
        impl SubAssign for $name {
            fn sub_assign(&mut self, other: Self) {
                self.0 = $difference(self.0, other.0);
            }
        }
        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
                parts.fold(Self::default(), Add::add)
            }
        }
    )*};
}
additive!(Nanos: time_sum, time_difference; Bytes: u64::add, u64::sub; Flops: f64::add, f64::sub);

impl Mul<i64> for Nanos {
    type Output = Self;

    fn mul(self, times: i64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl Mul<u64> for Bytes {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self(self.0 * times)
    }
}

/// Writes `value` with three significant digits and the largest of `units` that keeps it at least one.
fn scaled(f: &mut fmt::Formatter<'_>, value: f64, base: f64, units: &[&str]) -> fmt::Result {
    let (mut value, mut unit) = (value, 0);
    while value.abs() >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let decimals = match value.abs() {
        v if v >= 100.0 || v == v.trunc() && unit == 0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    write!(f, "{value:.decimals$} {}", units[unit])
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0 as f64, 1e3, &["ns", "µs", "ms", "s"])
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.as_f64(), 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
    }
}

impl fmt::Display for Flops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0, 1e3, &["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP", "ZFLOP"])
    }
}

impl fmt::Display for FlopsPerSec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0, 1e3, &["FLOP/s", "kFLOP/s", "MFLOP/s", "GFLOP/s", "TFLOP/s", "PFLOP/s"])
    }
}

impl fmt::Display for BytesPerSec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0, 1e3, &["B/s", "kB/s", "MB/s", "GB/s", "TB/s"])
    }
}

impl fmt::Display for Watts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0, 1e3, &["W", "kW", "MW"])
    }
}

impl fmt::Display for Joules {
    /// In watt-hours, as energy is sold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0 / 3600.0, 1e3, &["Wh", "kWh", "MWh", "GWh"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_print_with_three_digits_and_a_unit() {
        assert_eq!(Nanos(1_234_567).to_string(), "1.23 ms");
        assert_eq!(Nanos(999).to_string(), "999 ns");
        assert_eq!(Bytes(80 << 30).to_string(), "80.0 GiB");
        assert_eq!(FlopsPerSec(312e12).to_string(), "312 TFLOP/s");
    }

    #[test]
    fn a_rate_turns_work_into_time() {
        assert_eq!(Flops(312e12) / FlopsPerSec(312e12), Nanos(1_000_000_000));
        assert_eq!(Bytes(1000) / BytesPerSec(1e9), Nanos(1000));
    }
}
