//! A row of the database as the texts of its cells, read from the left to the right.
//!
//! It refuses to guess: a cell that does not read as its type is an error that names it.

use std::str::FromStr;

use backdate_engine::domain::money::Amount;
use backdate_engine::domain::time::{Date, Timestamp};
use smol_str::SmolStr;

/// Cells of one row, in the order in which they are read.
pub(super) struct Cells<'a> {
    values: &'a [Option<&'a str>],
    next: usize,
}

/// What is wrong with a cell.
pub(super) type BadCell = String;

impl<'a> Cells<'a> {
    /// The cells of a row.
    pub(super) fn new(values: &'a [Option<&'a str>]) -> Self {
        Self { values, next: 0 }
    }

    /// The next cell, or nothing.
    pub(super) fn optional(&mut self) -> Option<&'a str> {
        let value = self.values.get(self.next).copied().flatten();
        self.next += 1;
        value
    }

    /// The next cell.
    pub(super) fn text(&mut self) -> Result<&'a str, BadCell> {
        self.optional().ok_or_else(|| format!("cell {} is null", self.next))
    }

    /// The next cell as a number.
    pub(super) fn number<T: FromStr>(&mut self) -> Result<T, BadCell> {
        let text = self.text()?;
        text.parse().map_err(|_| self.wrong(text))
    }

    /// The next cell as one of fixed names.
    pub(super) fn named<T>(&mut self, parse: fn(&str) -> Option<T>) -> Result<T, BadCell> {
        let text = self.text()?;
        parse(text).ok_or_else(|| self.wrong(text))
    }

    /// The next cell as an amount.
    pub(super) fn amount(&mut self) -> Result<Amount, BadCell> {
        let text = self.text()?;
        Amount::parse(text).map_err(|_| self.wrong(text))
    }

    /// The next cell as an amount, or nothing.
    pub(super) fn optional_amount(&mut self) -> Result<Option<Amount>, BadCell> {
        let Some(text) = self.optional() else { return Ok(None) };
        Amount::parse(text).map(Some).map_err(|_| self.wrong(text))
    }

    /// The next cell as a truth value.
    pub(super) fn flag(&mut self) -> Result<bool, BadCell> {
        match self.text()? {
            "t" => Ok(true),
            "f" => Ok(false),
            text => Err(self.wrong(text)),
        }
    }

    /// The next cell as a date.
    pub(super) fn date(&mut self) -> Result<Date, BadCell> {
        let text = self.text()?;
        Date::parse(text).ok_or_else(|| self.wrong(text))
    }

    /// The next cell as an instant.
    pub(super) fn instant(&mut self) -> Result<Timestamp, BadCell> {
        let text = self.text()?;
        instant(text).ok_or_else(|| self.wrong(text))
    }

    /// The next cell as an instant, or nothing.
    pub(super) fn optional_instant(&mut self) -> Result<Option<Timestamp>, BadCell> {
        let Some(text) = self.optional() else { return Ok(None) };
        instant(text).map(Some).ok_or_else(|| self.wrong(text))
    }

    /// The next cell as a text of its own, or nothing.
    pub(super) fn optional_text(&mut self) -> Option<SmolStr> {
        self.optional().map(SmolStr::new)
    }

    /// The next cell as a list.
    pub(super) fn list(&mut self) -> Result<Vec<String>, BadCell> {
        let text = self.text()?;
        list(text).ok_or_else(|| self.wrong(text))
    }

    fn wrong(&self, text: &str) -> BadCell {
        format!("cell {} is {text:?}", self.next)
    }
}

/// An instant as a session in UTC with ISO dates writes it.
fn instant(text: &str) -> Option<Timestamp> {
    let bare = text.strip_suffix("+00")?;
    let (date, time) = bare.split_once(' ')?;
    let date = Date::parse(date)?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut seconds = 0_i64;
    for part in clock.split(':') {
        seconds = seconds * 60 + part.parse::<i64>().ok()?;
    }
    let micros = match fraction.is_empty() {
        true => 0,
        false => format!("{fraction:0<6}").parse::<i64>().ok()?,
    };
    let midnight = date.start().micros();
    Some(Timestamp::from_micros(midnight + seconds * 1_000_000 + micros))
}

/// The elements of an array as the server writes it: `{a,"b c"}`.
fn list(text: &str) -> Option<Vec<String>> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut elements = Vec::new();
    let mut element = String::new();
    let mut is_quoted = false;
    let mut letters = inner.chars();
    if inner.is_empty() {
        return Some(elements);
    }
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => element.push(letters.next()?),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => elements.push(std::mem::take(&mut element)),
            other => element.push(other),
        }
    }
    elements.push(element);
    Some(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_as_a_session_in_utc_writes_them() {
        for (text, expected) in [
            ("2025-09-01 10:00:00+00", "2025-09-01T10:00:00Z"),
            ("2025-09-01 10:00:00.5+00", "2025-09-01T10:00:00.500000Z"),
            ("0001-01-01 00:00:00.000001+00", "0001-01-01T00:00:00.000001Z"),
        ] {
            assert_eq!(instant(text).expect(text).to_string(), expected);
        }
        assert_eq!(instant("2025-09-01 10:00:00+02"), None);
    }

    #[test]
    fn lists_are_read_with_their_quotes() {
        let read = |text: &str| list(text).expect("a list");
        assert_eq!(read("{}"), Vec::<String>::new());
        assert_eq!(read("{a,b}"), ["a", "b"]);
        assert_eq!(read(r#"{"a,b","c\"d\\",""}"#), ["a,b", "c\"d\\", ""]);
        assert_eq!(list("a"), None);
    }
}
