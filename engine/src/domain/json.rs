//! Fields of JSON messages, read without a detour through binary floats.
//!
//! A message is read in two steps: its object is split into the raw text of its known fields, then
//! each field is read as what it has to be. So a decimal keeps all of its digits, and a missing
//! field can be told from a malformed one. Nothing here panics, whatever the bytes.
//!
//! # Invariants
//! - `null` and the empty string are the same as an absent field.
//! - A text that is accepted can be stored: no NUL, at most [`TEXT_BYTES_MAX`] bytes.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::intake::Rejection;
use super::money::{Amount, ParseAmountError};
use super::time::{Date, Timestamp};

/// A field as it stands in the message; none if it is absent or null.
pub(super) type Field<'a> = Option<&'a RawValue>;

/// Longest text: four of them fit into one PostgreSQL index row (2,704 bytes).
pub(super) const TEXT_BYTES_MAX: usize = 512;

/// Last date of four digits; later ones have no agreed text form.
const LAST_DATE: Date = Date::from_days(2_932_896);

/// Declares a message by its fields; each is a [`Field`], others are ignored, doubled ones refused.
macro_rules! message {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        #[derive(::serde::Deserialize)]
        struct $name<'a> {
            $(#[serde(borrow)] $field: Option<&'a ::serde_json::value::RawValue>),+
        }
    };
}

pub(super) use message;

/// Splits an object into its fields.
pub(super) fn object<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, Rejection> {
    // The whole text is checked, since fields that are skipped are not decoded.
    let text = std::str::from_utf8(value).map_err(|_| Rejection::Malformed)?;
    let blank = [' ', '\t', '\n', '\r'];
    if !text.trim_start_matches(blank).starts_with('{') {
        return Err(Rejection::Malformed);
    }
    serde_json::from_str(text).map_err(|_| Rejection::Malformed)
}

/// Whether a field says anything.
pub(super) fn present(field: Field<'_>) -> bool {
    field.is_some_and(|raw| raw.get() != "\"\"")
}

/// Refuses a message in which one of the fields is missing.
pub(super) fn require(fields: &[Field<'_>]) -> Result<(), Rejection> {
    if fields.iter().all(|field| present(*field)) { Ok(()) } else { Err(Rejection::MissingField) }
}

/// A text.
pub(super) fn text<'a>(field: Field<'a>) -> Result<Cow<'a, str>, Rejection> {
    let text = string(field)?;
    if is_storable(&text) { Ok(text) } else { Err(Rejection::BadField) }
}

/// Whether a text can be stored: PostgreSQL refuses NUL, and an index a long text.
pub(super) fn is_storable(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX && !text.contains('\0')
}

/// A text of any length and content.
pub(super) fn string<'a>(field: Field<'a>) -> Result<Cow<'a, str>, Rejection> {
    let raw = field.ok_or(Rejection::MissingField)?.get();
    let quoted = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match quoted {
        None => Err(Rejection::BadField),
        Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
        Some(_) => serde_json::from_str(raw).map(Cow::Owned).map_err(|_| Rejection::BadField),
    }
}

/// A text that may be absent.
pub(super) fn optional_text<'a>(field: Field<'a>) -> Result<Option<Cow<'a, str>>, Rejection> {
    if present(field) { text(field).map(Some) } else { Ok(None) }
}

/// A decimal, given as a number or a text, rounded as persisted; `None` if it is too large.
pub(super) fn decimal(field: Field<'_>) -> Result<Option<Amount>, Rejection> {
    let raw = field.ok_or(Rejection::MissingField)?.get();
    let parsed =
        if raw.starts_with('"') { Amount::parse(&string(field)?) } else { Amount::parse(raw) };
    match parsed {
        Ok(amount) => Ok(amount.fits_input().then_some(amount)),
        Err(ParseAmountError::TooLarge) => Ok(None),
        Err(ParseAmountError::NotANumber) => Err(Rejection::BadField),
    }
}

/// A whole number, given as a number or a text.
pub(super) fn integer<T: std::str::FromStr>(field: Field<'_>) -> Result<T, Rejection> {
    let raw = field.ok_or(Rejection::MissingField)?.get();
    let digits = if raw.starts_with('"') { string(field)? } else { Cow::Borrowed(raw) };
    digits.trim().parse().map_err(|_| Rejection::BadField)
}

/// A timestamp, or the midnight of a date.
pub(super) fn timestamp(field: Field<'_>) -> Result<Timestamp, Rejection> {
    let parsed = Timestamp::parse(&text(field)?).ok_or(Rejection::BadField)?;
    // The first date stands for "before all dates"; a record cannot have it.
    if parsed < Date::FIRST.next().start() || parsed >= LAST_DATE.next().start() {
        return Err(Rejection::BadField);
    }
    Ok(parsed)
}

/// A date, or the UTC date of a timestamp.
pub(super) fn date(field: Field<'_>) -> Result<Date, Rejection> {
    timestamp(field).map(Timestamp::date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_date_has_four_digits() {
        assert_eq!(LAST_DATE.to_string(), "9999-12-31");
        assert_eq!(LAST_DATE.next().to_string(), "+10000-01-01");
    }
}
