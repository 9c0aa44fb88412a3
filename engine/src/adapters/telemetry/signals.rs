//! What an instance reports, as lines of a log.

use super::logs::{Repeats, now};
use crate::domain::ids::{Epoch, Key, Revision};
use crate::domain::time::Date;
use crate::ports::host::Signal;

/// Writes what one instance reports.
pub struct SignalLog {
    instance: String,
    repeats: Repeats,
}

impl SignalLog {
    /// For the instance of that name; errors that go on are shared with the process.
    pub fn new(instance: &str, repeats: Repeats) -> Self {
        Self { instance: instance.to_owned(), repeats }
    }

    /// Writes one line, unless it is an error that goes on.
    pub fn write(&self, signal: &Signal) {
        let mut facts = Facts::of(signal);
        if let Signal::Trouble { error, .. } = signal {
            match self.repeats.news(error, now()) {
                None => return,
                Some(times) => facts.repeated = Some(times).filter(|times| *times > 0),
            }
        }
        let signal = serde_json::to_string(signal).expect("a signal is plain data");
        /// One line; the level of an event is fixed where it is written.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "backdate",
                    instance = self.instance.as_str(),
                    portfolio_id = facts.key.map(|key| key.portfolio_id.as_str()),
                    security_id = facts.security,
                    epoch = facts.epoch,
                    revision = facts.revision,
                    watermark_date = facts.watermark_date.map(|date| date.to_string()),
                    producer = facts.producer,
                    topic = facts.topic,
                    error = facts.error,
                    repeated = facts.repeated,
                    signal = signal.as_str(),
                    "{}",
                    facts.message
                )
            };
        }
        match facts.severity {
            Severity::Info => line!(info),
            Severity::Warning => line!(warn),
            Severity::Error => line!(error),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Info,
    Warning,
    Error,
}

/// What a line says beside the signal itself.
struct Facts<'a> {
    severity: Severity,
    message: &'static str,
    key: Option<&'a Key>,
    security: Option<&'a str>,
    epoch: Option<u64>,
    revision: Option<u64>,
    watermark_date: Option<Date>,
    producer: Option<&'a str>,
    topic: Option<&'static str>,
    error: Option<&'a str>,
    repeated: Option<u64>,
}

impl<'a> Facts<'a> {
    fn of(signal: &'a Signal) -> Self {
        let about = |message| Self::new(Severity::Info, message);
        let alarm = |message| Self::new(Severity::Warning, message);
        match signal {
            Signal::Fenced { topic, key, state, producer, .. } => Self {
                topic: Some(topic.as_str()),
                producer: producer.as_deref(),
                ..alarm("Stale message dropped").at(key, Some(state.epoch), Some(state.revision))
            },
            Signal::IntegrityError { topic, key, state, .. } => Self {
                severity: Severity::Error,
                topic: Some(topic.as_str()),
                ..alarm("Message with a token newer than its key").at(
                    key,
                    Some(state.epoch),
                    Some(state.revision),
                )
            },
            Signal::DeadLettered { topic, error } => Self {
                topic: Some(topic.as_str()),
                error: Some(error),
                ..alarm("Message refused and sent to the dead letters")
            },
            Signal::BackdatedPrice { subject, .. } => {
                Self { security: Some(subject), ..about("Back-dated price event detected") }
            }
            Signal::EpochBumped { key, epoch, revision, .. } => {
                about("History is rebuilt under a new epoch").at(key, Some(*epoch), Some(*revision))
            }
            Signal::WatermarkReset { key, revision, watermark_date } => Self {
                watermark_date: Some(*watermark_date),
                ..about("Watermark reset").at(key, None, Some(*revision))
            },
            Signal::Replayed { key, epoch, done, .. } => {
                let message = if *done { "Replay finished" } else { "Replay went on" };
                about(message).at(key, Some(*epoch), None)
            }
            Signal::Parked { key, reason, .. } => Self {
                error: Some(reason.as_str()),
                ..alarm("Transaction parked").at(key, None, None)
            },
            Signal::CurrencyMismatch { key } => {
                alarm("Trade currency differs from the instrument's").at(key, None, None)
            }
            Signal::JobsCreated { .. } => about("Valuation jobs created"),
            Signal::JobCompleted { .. } => about("Valuation job completed"),
            Signal::JobsSuperseded { .. } => about("Superseded valuation jobs dropped"),
            Signal::KeysWait { missing, .. } => {
                Self { error: Some(missing), ..alarm("Keys wait for missing data") }
            }
            Signal::BecameCurrent { key, token, watermark_date } => Self {
                watermark_date: Some(*watermark_date),
                ..about("Key is current").at(key, Some(token.epoch), Some(token.revision))
            },
            Signal::Trouble { error, .. } => {
                Self { error: Some(error), ..alarm("An attempt failed and is repeated") }
            }
        }
    }

    fn new(severity: Severity, message: &'static str) -> Self {
        Self {
            severity,
            message,
            key: None,
            security: None,
            epoch: None,
            revision: None,
            watermark_date: None,
            producer: None,
            topic: None,
            error: None,
            repeated: None,
        }
    }

    fn at(self, key: &'a Key, epoch: Option<Epoch>, revision: Option<Revision>) -> Self {
        Self {
            key: Some(key),
            security: Some(key.security_id.as_str()),
            epoch: epoch.map(|epoch| epoch.0.into()),
            revision: revision.map(|revision| revision.0),
            ..self
        }
    }
}
