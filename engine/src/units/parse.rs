//! Quantities as people write them in a scenario file: `"80 GB"`, `"400 Gb/s"`, `"1.5 us"`.

use std::borrow::Cow;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Bytes, BytesPerSec, Flops, FlopsPerSec, Nanos, Watts};

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseQuantityError {
    /// The number in front of the unit is missing or malformed.
    #[error("`{text}` does not start with a number; write for example `{example}`")]
    NotANumber {
        /// What was written.
        text: String,
        /// A well-formed quantity of the same kind.
        example: &'static str,
    },
    /// The unit is missing or unknown.
    #[error("`{unit}` is not a unit here; write for example `{example}` (units: {known})")]
    UnknownUnit {
        /// The unit that was written.
        unit: String,
        /// A well-formed quantity of the same kind.
        example: &'static str,
        /// All units that are understood.
        known: String,
    },
    /// The number is negative, not finite, or too large for the quantity.
    #[error("`{text}` is out of range: a quantity is finite, not negative, and below 2^63")]
    OutOfRange {
        /// What was written.
        text: String,
    },
}

/// A unit's name and how many base units it is.
type Units = &'static [(&'static str, f64)];

const TIME: Units =
    &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("min", 6e10), ("h", 3.6e12), ("d", 8.64e13)];
const SIZE: Units = &[
    ("B", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];
const WORK: Units = &[("FLOP", 1.0), ("GFLOP", 1e9), ("TFLOP", 1e12), ("PFLOP", 1e15)];
const COMPUTE_RATE: Units = &[
    ("FLOP/s", 1.0),
    ("GFLOP/s", 1e9),
    ("GFLOPS", 1e9),
    ("TFLOP/s", 1e12),
    ("TFLOPS", 1e12),
    ("PFLOP/s", 1e15),
    ("PFLOPS", 1e15),
];
const TRANSFER_RATE: Units = &[
    ("B/s", 1.0),
    ("kB/s", 1e3),
    ("MB/s", 1e6),
    ("GB/s", 1e9),
    ("TB/s", 1e12),
    ("Mb/s", 1e6 / 8.0),
    ("Gb/s", 1e9 / 8.0),
    ("Tb/s", 1e12 / 8.0),
];

const POWER: Units = &[("W", 1.0), ("kW", 1e3)];

/// Splits `text` into number and unit and returns the number in base units.
fn parse(text: &str, units: Units, example: &'static str) -> Result<f64, ParseQuantityError> {
    let text = text.trim();
    let digits = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+' | '_')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number
        .replace('_', "")
        .parse()
        .map_err(|_| ParseQuantityError::NotANumber { text: text.to_owned(), example })?;
    let unit = unit.trim();
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let known: Vec<_> = units.iter().map(|(name, _)| *name).collect();
        return Err(ParseQuantityError::UnknownUnit { unit: unit.to_owned(), example, known: known.join(", ") });
    };
    let value = number * factor;
    if value.is_finite() && (0.0..9.2e18).contains(&value) {
        Ok(value)
    } else {
        Err(ParseQuantityError::OutOfRange { text: text.to_owned() })
    }
}

/// The shortest way to write `value` exactly: in the largest unit in which it has few digits.
fn write(value: f64, units: Units) -> String {
    let mut by_size: Vec<_> = units.iter().collect();
    by_size.sort_by(|a, b| b.1.total_cmp(&a.1));
    let candidates = by_size.iter().filter(|(_, factor)| value >= *factor);
    let exact = |(unit, factor): &&&(&str, f64)| {
        let text = format!("{}", value / factor);
        (text.len() <= 7 && text.parse().is_ok_and(|number: f64| number * factor == value))
            .then(|| format!("{text} {unit}"))
    };
    let base = units.first().map_or(("", 1.0), |unit| *unit);
    candidates
        .clone()
        .find_map(|candidate| exact(&candidate))
        .unwrap_or_else(|| format!("{} {}", value / base.1, base.0))
}

/// A quantity that is read and written with its unit.
pub trait Quantity: FromStr<Err = ParseQuantityError> + Copy {
    /// The quantity as it is written in a file: exact, and as short as can be.
    fn written(self) -> String;
}

macro_rules! quantity {
    ($name:ident, $units:expr, $example:literal, $from:expr, $write:expr) => {
        impl FromStr for $name {
            type Err = ParseQuantityError;

            fn from_str(text: &str) -> Result<Self, ParseQuantityError> {
                parse(text, $units, $example).map($from)
            }
        }

        impl Quantity for $name {
            fn written(self) -> String {
                write($write(self), $units)
            }
        }

        impl $name {
            /// Reads the quantity from a text with a unit; for `#[serde(with)]`-like use in scenario files.
            pub fn deserialize_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }

            /// Reads the quantity where it may be left out.
            pub fn deserialize_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
                Self::deserialize_text(deserializer).map(Some)
            }

            /// Writes the quantity so that `deserialize_text` reads the same value back.
            pub fn serialize_option<S: Serializer>(value: &Option<Self>, serializer: S) -> Result<S::Ok, S::Error> {
                value.map(Quantity::written).serialize(serializer)
            }

            /// Writes the quantity with its unit.
            pub fn serialize_text<S: Serializer>(value: &Self, serializer: S) -> Result<S::Ok, S::Error> {
                value.written().serialize(serializer)
            }

            /// The schema of the text: a number and a unit.
            pub fn text_schema(_: &mut SchemaGenerator) -> Schema {
                let units: Vec<_> = $units.iter().map(|(name, _)| *name).collect();
                json_schema!({ "type": "string", "examples": [$example], "description": format!("a number and a unit: {}", units.join(", ")) })
            }
        }
    };
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`parse` has checked the range")]
mod conversions {
    use super::*;

    quantity!(Nanos, TIME, "1.5 us", |ns| Nanos(ns.round() as i64), |v: Nanos| v.0 as f64);
    quantity!(Bytes, SIZE, "80 GB", |b| Bytes(b.round() as u64), |v: Bytes| v.as_f64());
    quantity!(Flops, WORK, "1 TFLOP", Flops, |v: Flops| v.0);
    quantity!(FlopsPerSec, COMPUTE_RATE, "312 TFLOP/s", FlopsPerSec, |v: FlopsPerSec| v.0);
    quantity!(Watts, POWER, "700 W", Watts, |v: Watts| v.0);
    quantity!(BytesPerSec, TRANSFER_RATE, "400 Gb/s", BytesPerSec, |v: BytesPerSec| v.0);
}

impl JsonSchema for Bytes {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Self::text_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!("80 GB".parse(), Ok(Bytes(80_000_000_000)));
        assert_eq!("64KiB".parse(), Ok(Bytes(65_536)));
        assert_eq!("400 Gb/s".parse(), Ok(BytesPerSec(50e9)));
        assert_eq!("1.5 us".parse(), Ok(Nanos(1500)));
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["80 GB", "64 KiB", "1.5 TiB", "0 B", "123456789 B"] {
            assert_eq!(text.parse::<Bytes>().map(Quantity::written), Ok(text.to_owned()));
        }
        assert_eq!("400 Gb/s".parse::<BytesPerSec>().map(Quantity::written), Ok("50 GB/s".to_owned()));
        assert_eq!("989.4 TFLOP/s".parse::<FlopsPerSec>().map(Quantity::written), Ok("989.4 TFLOP/s".to_owned()));
        assert_eq!("1500 ns".parse::<Nanos>().map(Quantity::written), Ok("1.5 us".to_owned()));
    }

    /// Units that are no powers of two lose a bit now and then; the first of each kind is one and loses none.
    #[test]
    fn measured_figures_are_written_exactly() {
        for (number, rate) in [67_147_540_983.606_55, 6.1, 1e9 / 3.0].into_iter().map(|n| (n, FlopsPerSec(n))) {
            assert_eq!(rate.written().parse::<FlopsPerSec>(), Ok(rate), "{number}");
        }
        for units in [TIME, SIZE, WORK, COMPUTE_RATE, TRANSFER_RATE, POWER] {
            assert_eq!(units.first().map(|unit| unit.1), Some(1.0));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let error = |text: &str| text.parse::<Bytes>().map_or_else(|e| e.to_string(), |v| v.to_string());
        assert!(error("80").contains("is not a unit"), "a bare number has no unit");
        assert!(error("eighty GB").contains("does not start with a number"), "words are not numbers");
        assert!(error("-1 GB").contains("out of range"), "sizes are not negative");
        assert!(error("99999999999999 TB").contains("out of range"), "more than 2^63 bytes");
    }
}
