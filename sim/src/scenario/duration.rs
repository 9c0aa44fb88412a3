//! Durations and decimals as people write them in scenario files.
//!
//! `250ms`, `2s`, `1.5s`, `5m`, `1h`; no bare numbers, because nobody remembers which unit a bare
//! number had.
//!
//! # Invariants
//! - A duration is a whole number of milliseconds below 10^12.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use backdate_engine::domain::money::Amount;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// A span of simulated time in milliseconds, written with its unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

const LIMIT_MS: u64 = 1_000_000_000_000;
const UNITS: [(&str, u64); 4] = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

impl FromStr for Millis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no duration: write it like 250ms, 2s, 1.5s, 5m or 1h");
        let trimmed = text.trim();
        let (number, unit_ms) = UNITS
            .iter()
            .find_map(|(unit, ms)| Some((trimmed.strip_suffix(unit)?, *ms)))
            .ok_or_else(wrong)?;
        let amount = Amount::parse(number).map_err(|_| wrong())?;
        if amount.is_negative() {
            return Err(format!("{text:?} is negative: a duration must be at least 0"));
        }
        let scale = Amount::ONE.raw();
        let raw_ms = amount.raw().checked_mul(i128::from(unit_ms)).ok_or_else(wrong)?;
        let ms = u64::try_from(raw_ms / scale).map_err(|_| wrong())?;
        if raw_ms % scale != 0 || ms >= LIMIT_MS {
            return Err(wrong());
        }
        Ok(Self(ms))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms > 0 && ms % 3_600_000 == 0 => write!(f, "{}h", ms / 3_600_000),
            ms if ms > 0 && ms % 60_000 == 0 => write!(f, "{}m", ms / 60_000),
            ms if ms % 1_000 == 0 => write!(f, "{}s", ms / 1_000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Millis;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration in quotes, like \"250ms\" or \"2s\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Millis, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// When something happens: at a time since the storm began, or at a time that the seed draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At that time.
    At(Millis),
    /// `"drawn"`.
    Drawn,
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            When::At(at) => at.serialize(serializer),
            When::Drawn => serializer.serialize_str("drawn"),
        }
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = When;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration in quotes, like \"2s\", or \"drawn\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<When, E> {
                if text == "drawn" {
                    return Ok(When::Drawn);
                }
                text.parse().map(When::At).map_err(|why| E::custom(format!("{why}, or \"drawn\"")))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// An exact decimal, written as a text or as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(pub Amount);

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Number {
            fn parse<E: de::Error>(text: &str) -> Result<Decimal, E> {
                let amount = Amount::parse(text);
                amount.map(Decimal).map_err(|why| E::custom(format!("{text:?} is {why}")))
            }
        }
        impl Visitor<'_> for Number {
            type Value = Decimal;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal number, like \"1.02\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Decimal, E> {
                Self::parse(text)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Decimal, E> {
                Self::parse(&number.to_string())
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Decimal, E> {
                Self::parse(&number.to_string())
            }
        }
        deserializer.deserialize_any(Number)
    }
}

/// What a file may say for a value, in the schema of scenarios.
macro_rules! described {
    ($name:ident, $schema:tt) => {
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

described!(Millis, {
    "description": "a span of time with its unit: 250ms, 2s, 1.5s, 5m, 1h",
    "type": "string",
    "pattern": r"^\s*[0-9]+(\.[0-9]+)?(ms|s|m|h)\s*$"
});
described!(When, {
    "description": "a time since the storm began, or drawn by the seed",
    "type": "string",
    "pattern": r"^(drawn|\s*[0-9]+(\.[0-9]+)?(ms|s|m|h)\s*)$"
});
described!(Decimal, {
    "description": "an exact decimal",
    "anyOf": [{ "type": "number" }, { "type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$" }]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        for (text, expected) in [
            ("250ms", Some(250)),
            ("2s", Some(2_000)),
            ("1.5s", Some(1_500)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("0s", Some(0)),
            ("5", None),
            ("-5s", None),
            ("0.5ms", None),
            ("s", None),
            ("5 minutes", None),
            ("1000000000000s", None),
        ] {
            let parsed = text.parse::<Millis>();
            assert_eq!(parsed.as_ref().ok().map(|ms| ms.0), expected, "{text}: {parsed:?}");
        }
        for ms in [0, 1, 250, 2_000, 90_000, 120_000, 3_600_000] {
            assert_eq!(Millis(ms).to_string().parse(), Ok(Millis(ms)));
        }
    }
}
