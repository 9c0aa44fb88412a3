//! Dates and timestamps of records, exact to the microsecond and always UTC.
//!
//! They are content, not clocks: nothing here can tell what time it is.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, SecondsFormat};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Days from 0001-01-01 (day 1 of the common era) to 1970-01-01.
const EPOCH_FROM_CE: i32 = 719_163;

/// A calendar day, as days since 1970-01-01.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i32);

impl Date {
    /// Earlier than any date of a record: 0001-01-01, which stands for "from the first date on".
    pub const FIRST: Date = Date(1 - EPOCH_FROM_CE);

    /// The day that many days after 1970-01-01.
    pub const fn from_days(days: i32) -> Self {
        Self(days)
    }

    /// Days since 1970-01-01.
    pub const fn days(self) -> i32 {
        self.0
    }

    /// Parses `YYYY-MM-DD`; of a longer timestamp, see [`Timestamp::parse`].
    pub fn parse(text: &str) -> Option<Self> {
        let date = NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d").ok()?;
        Some(Self(date.num_days_from_ce() - EPOCH_FROM_CE))
    }

    /// The day before.
    pub fn previous(self) -> Self {
        Self(self.0 - 1)
    }

    /// The day after.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Midnight (UTC) at which the day begins.
    pub fn start(self) -> Timestamp {
        Timestamp(i64::from(self.0) * MICROS_PER_DAY)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NaiveDate::from_num_days_from_ce_opt(self.0 + EPOCH_FROM_CE) {
            Some(date) => write!(f, "{date}"),
            None => write!(f, "day {}", self.0),
        }
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i32(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
            Self::parse(&text)
                .ok_or_else(|| de::Error::custom(format!("{text:?} is not a date YYYY-MM-DD")))
        } else {
            i32::deserialize(deserializer).map(Self)
        }
    }
}

/// An instant of a record: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant that many microseconds after 1970-01-01T00:00:00Z.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The UTC date of the instant.
    pub fn date(self) -> Date {
        let days = self.0.div_euclid(MICROS_PER_DAY);
        Date(i32::try_from(days).expect("parsed timestamps stay within chrono's range"))
    }

    /// Parses ISO 8601: a date, or a date and a time with an optional offset (none means UTC).
    /// Digits beyond microseconds are cut off.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(date) = Date::parse(text) {
            return Some(date.start());
        }
        const WITH_OFFSET: [&str; 4] = [
            "%Y-%m-%dT%H:%M:%S%.f%#z",
            "%Y-%m-%d %H:%M:%S%.f%#z",
            "%Y-%m-%dT%H:%M%#z",
            "%Y-%m-%d %H:%M%#z",
        ];
        const WITHOUT: [&str; 4] =
            ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
        let upper = text.replace('t', "T").replace('z', "Z");
        let zoned = upper.strip_suffix('Z').map(|bare| format!("{bare}+00:00"));
        let candidate = zoned.as_deref().unwrap_or(&upper);
        WITH_OFFSET
            .iter()
            .find_map(|format| DateTime::parse_from_str(candidate, format).ok())
            .map(|instant| instant.naive_utc())
            .or_else(|| {
                WITHOUT.iter().find_map(|f| NaiveDateTime::parse_from_str(candidate, f).ok())
            })
            .map(|utc| {
                let seconds = utc.and_utc().timestamp();
                let micros = i64::from(utc.and_utc().timestamp_subsec_nanos() / 1_000);
                Self(seconds * 1_000_000 + micros)
            })
    }
}

impl fmt::Display for Timestamp {
    /// `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`, with the fraction only where it is not zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(instant) = DateTime::from_timestamp_micros(self.0) else {
            return write!(f, "instant {}", self.0);
        };
        let digits = match self.0.rem_euclid(1_000_000) {
            0 => SecondsFormat::Secs,
            _ => SecondsFormat::Micros,
        };
        f.write_str(&instant.to_rfc3339_opts(digits, true))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
            Self::parse(&text)
                .ok_or_else(|| de::Error::custom(format!("{text:?} is not a timestamp")))
        } else {
            i64::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_utc_to_the_microsecond() {
        for (text, expected) in [
            ("2025-09-01", "2025-09-01T00:00:00Z"),
            ("2025-09-01T10:00:00Z", "2025-09-01T10:00:00Z"),
            ("2025-09-01T10:00Z", "2025-09-01T10:00:00Z"),
            ("2025-09-01T10:00", "2025-09-01T10:00:00Z"),
            ("2025-09-01T10:00:00", "2025-09-01T10:00:00Z"),
            ("2023-01-10T00:30:00+02:00", "2023-01-09T22:30:00Z"),
            ("2023-01-10 00:30:00.1234569+0200", "2023-01-09T22:30:00.123456Z"),
            ("1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999999Z"),
        ] {
            let parsed = Timestamp::parse(text).map(|instant| instant.to_string());
            assert_eq!(parsed.as_deref(), Some(expected), "{text}");
        }
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    #[test]
    fn a_date_is_the_utc_date_of_its_timestamp() {
        let instant = Timestamp::parse("1969-12-31T23:00:00-02:00").expect("valid");
        assert_eq!(instant.date().to_string(), "1970-01-01");
        assert_eq!(Date::parse("1969-12-31").map(Date::days), Some(-1));
        assert_eq!(Date::FIRST.to_string(), "0001-01-01");
    }
}
