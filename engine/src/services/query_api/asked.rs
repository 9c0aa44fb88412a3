//! What a request says, checked before anybody acts upon it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use axum::body::Bytes;
use axum::extract::RawPathParams;
use axum::extract::rejection::RawPathParamsRejection;
use axum::http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::problem::Problem;
use super::routes::Route;
use crate::domain::ids::{Key, PortfolioId, SecurityId};
use crate::domain::time::Date;

/// Bytes of an identity: as long as an index of the database can take, with room for the rest.
const ID_MAX: usize = 512;
/// Rows of a page, unless a request says otherwise.
const PAGE: u32 = 100;
/// Rows of a page at the most.
const PAGE_MAX: u32 = 1_000;

/// What no page before has given.
pub(super) const NO_CURSOR: Problem =
    Problem::InvalidParameter { name: "after", reason: "must be from a `next` link" };

/// All that is not unreserved in an address (RFC 3986).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as part of an address.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// JSON.
    Json,
    /// A table with a header.
    Csv,
}

/// A request, as handlers see it.
pub(super) struct Asked {
    /// Of its path and of its query.
    parameters: BTreeMap<&'static str, String>,
    media: Option<Media>,
    body: Bytes,
    correlation_id: String,
    is_sending: Rc<Cell<bool>>,
}

impl Asked {
    /// Reads them.
    ///
    /// # Errors
    /// What is no parameter of the route, comes twice, or is no text that the database can hold.
    pub(super) fn read(
        route: &'static Route,
        path: Option<Result<RawPathParams, RawPathParamsRejection>>,
        query: Option<&str>,
    ) -> Result<Self, Problem> {
        let mut asked = Self {
            parameters: BTreeMap::new(),
            media: None,
            body: Bytes::new(),
            correlation_id: String::new(),
            is_sending: Rc::default(),
        };
        match path {
            Some(Ok(path)) => {
                for (name, value) in &path {
                    asked.put(route.path_parameters(), name, value)?;
                }
            }
            Some(Err(RawPathParamsRejection::InvalidUtf8InPathParam(_))) => {
                return Err(Problem::InvalidParameter { name: "path", reason: "must be UTF-8" });
            }
            // A path without parameters.
            Some(Err(_)) | None => {}
        }
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            asked.put(route.parameters.iter().copied(), &name, &value)?;
        }
        Ok(asked)
    }

    /// Adds the body, the header that says what it is, and the id that travels through.
    pub(super) fn with_body(
        self,
        kind: Option<&HeaderValue>,
        body: Bytes,
        correlation_id: &str,
    ) -> Self {
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let media = match kind.as_str() {
            "application/json" => Some(Media::Json),
            "text/csv" => Some(Media::Csv),
            _ => None,
        };
        Self { media, body, correlation_id: correlation_id.to_owned(), ..self }
    }

    /// What the body is.
    pub(super) fn media(&self) -> Result<Media, Problem> {
        self.media.ok_or(Problem::UnsupportedMedia)
    }

    /// The body.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Takes note that from now on something of it may be published.
    pub(super) fn note_sending(&self) {
        self.is_sending.set(true);
    }

    /// Whether something of it may be published; it goes on telling when the request is given away.
    pub(super) fn sending(&self) -> Rc<Cell<bool>> {
        self.is_sending.clone()
    }

    /// The id that travels through.
    pub(super) fn correlation_id(&self) -> &str {
        &self.correlation_id
    }

    fn put(
        &mut self,
        mut known: impl Iterator<Item = &'static str>,
        name: &str,
        value: &str,
    ) -> Result<(), Problem> {
        let found = known.find(|known| *known == name);
        let name = found.ok_or_else(|| Problem::UnknownParameter(name.to_owned()))?;
        // The replacement character stands for bytes that were no UTF-8.
        if value.contains(['\0', '\u{FFFD}']) {
            return Err(Problem::InvalidParameter { name, reason: "must be UTF-8 without NUL" });
        }
        match self.parameters.insert(name, value.to_owned()) {
            None => Ok(()),
            Some(_) => Err(Problem::InvalidParameter { name, reason: "is there twice" }),
        }
    }

    /// A parameter as it was given.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    fn id(&self, name: &'static str) -> Result<&str, Problem> {
        let id = self.text(name).filter(|id| !id.is_empty() && id.len() <= ID_MAX);
        id.ok_or(Problem::InvalidParameter { name, reason: "must have 1 to 512 bytes" })
    }

    /// The portfolio of the path.
    pub(super) fn portfolio_id(&self) -> Result<PortfolioId, Problem> {
        self.id("portfolio_id").map(PortfolioId::new)
    }

    /// The security of the path.
    pub(super) fn security_id(&self) -> Result<SecurityId, Problem> {
        self.id("security_id").map(SecurityId::new)
    }

    /// A date.
    pub(super) fn date(&self, name: &'static str) -> Result<Option<Date>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        // Four digits of a year and no sign: what the calendar and the database have in common.
        let is_plain = text.len() == 10 && text.as_bytes().iter().all(u8::is_ascii_graphic);
        let date = Date::parse(text).filter(|date| is_plain && *date >= Date::FIRST);
        let wrong = Problem::InvalidParameter { name, reason: "must be a date, YYYY-MM-DD" };
        date.map(Some).ok_or(wrong)
    }

    /// First and last date.
    pub(super) fn dates(&self) -> Result<(Option<Date>, Option<Date>), Problem> {
        let (from, to) = (self.date("from")?, self.date("to")?);
        let is_empty = from.zip(to).is_some_and(|(from, to)| from > to);
        let reason = "must not be before `from`";
        match is_empty {
            true => Err(Problem::InvalidParameter { name: "to", reason }),
            false => Ok((from, to)),
        }
    }

    /// How long ago, in milliseconds; zero unless it is said.
    pub(super) fn age_ms(&self) -> Result<u64, Problem> {
        let Some(text) = self.text("older_than") else { return Ok(0) };
        let reason = "must be a number with a unit: s, m, h or d";
        milliseconds(text).ok_or(Problem::InvalidParameter { name: "older_than", reason })
    }

    /// The last key of the page before.
    pub(super) fn key_after(&self) -> Result<Option<Key>, Problem> {
        let Some(text) = self.text("after") else { return Ok(None) };
        let part = |part: &str| {
            let part = percent_decode_str(part).decode_utf8().ok()?;
            (part.len() <= ID_MAX && !part.contains('\0')).then(|| part.into_owned())
        };
        let parts = text.split_once('/');
        let parts = parts.and_then(|(first, second)| part(first).zip(part(second)));
        let (portfolio, security) = parts.ok_or(NO_CURSOR)?;
        Ok(Some(Key::new(portfolio.as_str(), security.as_str())))
    }

    /// The last id of the page before; none has id 0.
    pub(super) fn id_after(&self) -> Result<u64, Problem> {
        let Some(text) = self.text("after") else { return Ok(0) };
        let id = text.parse().ok().filter(|id| *id <= i64::MAX.unsigned_abs());
        id.ok_or(NO_CURSOR)
    }

    /// Rows of a page.
    pub(super) fn limit(&self) -> Result<u32, Problem> {
        let Some(text) = self.text("limit") else { return Ok(PAGE) };
        let limit = text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
        limit.ok_or(Problem::InvalidParameter { name: "limit", reason: "must be 1 to 1000" })
    }
}

/// Reads e.g. `90s`, `15m`, `1h`, `2d` as milliseconds, up to a hundred years.
fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|last: char| last.is_ascii_lowercase());
    let unit = match &text[digits.len()..] {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let number: u64 =
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    number.checked_mul(unit).filter(|age| *age <= 36_525 * 86_400_000)
}

#[test]
fn an_age_has_a_unit() {
    assert_eq!(milliseconds("90s"), Some(90_000));
    assert_eq!(milliseconds("2d"), Some(172_800_000));
    for wrong in ["", "h", "1", "1 h", "-1h", "+1h", "1.5h", "1H", "99999999999999999999s", "1hh"] {
        assert_eq!(milliseconds(wrong), None, "{wrong:?}");
    }
}
