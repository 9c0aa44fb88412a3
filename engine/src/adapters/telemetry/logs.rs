//! JSON logs: one object a line on stderr.
//!
//! Every line has `time` (RFC 3339, UTC), `level` and `message`, then what it is about. A line that
//! stems from a [`Signal`](crate::ports::host::Signal) has the whole signal in the field `signal`.
//!
//! An error that repeats itself is written once: as long as it goes on, only another error is news.
//!
//! # Invariants
//! - A line is written in one piece, so lines of several threads do not mix.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt as lines};

pub use super::signals::SignalLog;
use crate::ports::host::Answered;

/// Writes logs from now on; what libraries say only from warnings on.
pub fn install() {
    let layer = lines::layer().with_writer(std::io::stderr).event_format(JsonLine);
    let wanted = filter_fn(|line| {
        let ours = line.target().starts_with("backdate") && *line.level() <= Level::INFO;
        ours || *line.level() <= Level::WARN
    });
    // Somebody else who logs already is as good.
    let _ = tracing_subscriber::registry().with(layer.with_filter(wanted)).try_init();
}

/// Says what happened to a process.
pub fn note(message: &str, details: &str) {
    let details = Some(details).filter(|text| !text.is_empty());
    tracing::info!(target: "backdate", details, "{message}");
}

/// Says what a person should look at.
pub fn warn(message: &str, details: &str) {
    let details = Some(details).filter(|text| !text.is_empty());
    tracing::warn!(target: "backdate", details, "{message}");
}

/// Says what broke.
pub fn fail(message: &str, instance: Option<&str>, details: &str) {
    tracing::error!(target: "backdate", instance, details, "{message}");
}

/// Says what was asked of an instance and how it was answered. Nothing of a query or a header is
/// written but the correlation id.
pub fn access(instance: &str, request: Answered<'_>) {
    let took_us = u64::try_from(request.took.as_micros()).unwrap_or(u64::MAX);
    let (bytes, status) = (request.bytes as u64, u64::from(request.status));
    tracing::info!(
        target: "backdate",
        instance,
        route = request.route,
        path = request.path,
        status,
        code = request.code,
        bytes,
        took_us,
        correlation_id = request.correlation_id,
        "Answered"
    );
}

/// As long as an error comes again within this time, it goes on.
const GOES_ON: Duration = Duration::from_secs(60);

/// The errors that go on in a process; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Repeats(Arc<Mutex<BTreeMap<String, Repeat>>>);

#[derive(Clone, Copy, Debug)]
struct Repeat {
    last: SystemTime,
    times: u64,
}

impl Repeats {
    /// How often the error was held back since it was written last; none if it is to be held back.
    pub(super) fn news(&self, error: &str, now: SystemTime) -> Option<u64> {
        let mut errors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_on =
            |last: SystemTime| now.duration_since(last).is_ok_and(|passed| passed < GOES_ON);
        if let Some(known) = errors.get_mut(error)
            && goes_on(known.last)
        {
            *known = Repeat { last: now, times: known.times + 1 };
            return None;
        }
        let held_back = errors.get(error).map_or(0, |known| known.times);
        errors.retain(|_, known| goes_on(known.last));
        errors.insert(error.to_owned(), Repeat { last: now, times: 0 });
        Some(held_back)
    }

    /// Forgets all: whatever comes next is news.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The machine's time.
#[allow(clippy::disallowed_methods, reason = "a log says when something happened on the machine")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Writes an event as one JSON object.
struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let is_ours = metadata.target().starts_with("backdate");
        let mut fields = Fields { is_ours, texts: BTreeMap::new() };
        event.record(&mut fields);
        let mut texts = fields.texts;
        let time = chrono::DateTime::<chrono::Utc>::from(now());
        let time = time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        write!(writer, "{{\"time\":\"{time}\",\"level\":\"{}\"", metadata.level())?;
        if !is_ours {
            texts.insert("library", json(metadata.target()));
        }
        for first in ["message", "instance"] {
            if let Some(text) = texts.remove(first) {
                write!(writer, ",\"{first}\":{text}")?;
            }
        }
        for (name, text) in texts {
            write!(writer, ",\"{name}\":{text}")?;
        }
        writer.write_str("}\n")
    }
}

/// The fields of an event by name, each as JSON. Under load there are several lines for each
/// transaction, so nothing is made twice.
struct Fields {
    is_ours: bool,
    texts: BTreeMap<&'static str, String>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        // A signal comes as JSON already.
        let is_json = self.is_ours && field.name() == "signal";
        self.texts.insert(field.name(), if is_json { value.to_owned() } else { json(value) });
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.texts.insert(field.name(), value.to_string());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.texts.insert(field.name(), value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.texts.insert(field.name(), value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        write!(text, "{value:?}").expect("writing into a text does not fail");
        self.texts.insert(field.name(), json(&text));
    }
}

fn json(text: &str) -> String {
    serde_json::to_string(text).expect("any text can be written as JSON")
}

#[test]
fn an_error_that_goes_on_is_written_once() {
    let repeats = Repeats::default();
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    assert_eq!(repeats.news("refused", at(0)), Some(0));
    assert_eq!(repeats.news("refused", at(40)), None);
    assert_eq!(repeats.news("wrong password", at(41)), Some(0));
    assert_eq!(repeats.news("refused", at(80)), None, "it has never stopped");
    assert_eq!(repeats.news("refused", at(150)), Some(2), "it came back");
    repeats.clear();
    assert_eq!(repeats.news("refused", at(151)), Some(0));
}
