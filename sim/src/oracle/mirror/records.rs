//! Records of the log that their consumers have not declared done, and dead letters.
//!
//! # Invariants
//! - A record leaves when a committed position of its consumer group has passed it, never before.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use backdate_engine::domain::time::Date;
use backdate_engine::ports::log::{Position, Record, Topic};
use serde_json::Value;
use smol_str::SmolStr;

use super::Step;
use super::pending::{About, Pending, about};
use crate::oracle::model::{Code, Input, Model, Taken, read};

/// A record of a raw topic.
#[derive(Clone, Debug)]
pub(crate) struct RawRecord {
    pub(crate) record: Rc<Record>,
    /// What it says, as the model reads it.
    pub(crate) content: Result<(Input, i64), Code>,
    /// What became of it in the model when it was appended.
    pub(crate) taken: Taken,
}

#[derive(Debug)]
enum Open {
    Raw(Box<RawRecord>),
    News(About, Date),
}

/// Records that are not done, by topic and partition in offset order.
#[derive(Debug, Default)]
pub(crate) struct Records {
    open: BTreeMap<(Topic, u32), VecDeque<(u64, Open)>>,
}

/// The group that a topic's records wait for.
fn group_of(topic: Topic) -> Option<&'static str> {
    match topic {
        Topic::RawPortfolios
        | Topic::Instruments
        | Topic::RawTransactions
        | Topic::MarketPrices
        | Topic::FxRates
        | Topic::RawBusinessDates => Some("persistence"),
        Topic::RawTransactionsCompleted => Some("position-calculator"),
        Topic::MarketPricePersisted | Topic::FxRatePersisted => Some("price-watcher"),
        Topic::ProcessedTransactionsCompleted => Some("cashflow-calculator"),
        Topic::DailyPositionSnapshotPersisted | Topic::PortfolioAggregationRequired => {
            Some("timeseries-generator")
        }
        _ => None,
    }
}

impl Records {
    /// Whether anything is not done.
    pub(crate) fn any(&self) -> bool {
        self.open.values().any(|records| !records.is_empty())
    }

    /// The first record of a raw topic that is not done.
    pub(crate) fn first_raw(&self) -> Option<&RawRecord> {
        self.open.values().flatten().find_map(|(_, open)| match open {
            Open::Raw(raw) => Some(&**raw),
            Open::News(..) => None,
        })
    }

    pub(super) fn append(&mut self, record: &Rc<Record>, raw: &mut Model, pending: &mut Pending) {
        let open = match read(record.topic, &record.value) {
            Some(content) => {
                let taken = match &content {
                    Ok((input, version)) => raw.inputs.take(input.clone(), *version),
                    Err(code) => Taken::Rejected(code),
                };
                if let Taken::Rejected(code) = taken {
                    raw.reject(record.topic, &record.key, &record.value, code);
                }
                Open::Raw(Box::new(RawRecord { record: Rc::clone(record), content, taken }))
            }
            None => {
                let Some((about, date)) = about(record.topic, &record.value) else {
                    return;
                };
                pending.add_news(&about, date);
                Open::News(about, date)
            }
        };
        self.open
            .entry((record.topic, record.partition))
            .or_default()
            .push_back((record.offset, open));
    }

    pub(super) fn commit(
        &mut self,
        group: &str,
        positions: &[Position],
        pending: &mut Pending,
        step: &mut Step,
    ) {
        for position in positions {
            if group_of(position.topic) != Some(group) {
                continue;
            }
            let Some(records) = self.open.get_mut(&(position.topic, position.partition)) else {
                continue;
            };
            while let Some((offset, _)) = records.front()
                && *offset < position.next_offset
            {
                step.progress = true;
                match records.pop_front() {
                    Some((_, Open::Raw(raw))) => step.done.push(*raw),
                    Some((_, Open::News(about, date))) => {
                        pending.remove_news(about, date, &mut step.freed);
                    }
                    None => {}
                }
            }
        }
    }
}

/// A dead letter as it stands in the log: topic, key and payload of the message, and the code.
type Letter = (SmolStr, SmolStr, String);

/// Dead letters by message.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    letters: BTreeMap<Letter, SmolStr>,
    /// The last one, and whether it was appended by the latest event.
    pub(crate) last: Option<(SmolStr, String)>,
}

impl DeadLetters {
    /// Takes a record of the topic of dead letters.
    pub(super) fn note(&mut self, record: &Record) {
        self.last = None;
        if record.topic != Topic::DeadLetters {
            return;
        }
        let Ok(Value::Object(fields)) = serde_json::from_slice(&record.value) else {
            return;
        };
        let text = |names: [&str; 2]| {
            let value = names.iter().find_map(|name| fields.get(*name));
            value.map_or_else(String::new, |value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
        };
        let topic = SmolStr::new(text(["original_topic", "topic"]));
        let value = text(["original_value", "value"]);
        let letter = (topic.clone(), SmolStr::new(text(["original_key", "key"])), value.clone());
        self.letters.insert(letter, SmolStr::new(text(["error", "error_code"])));
        self.last = Some((topic, value));
    }

    /// The code with which a message was rejected, if it was.
    pub(crate) fn code(&self, topic: Topic, key: &str, value: &[u8]) -> Option<&SmolStr> {
        let value = String::from_utf8_lossy(value).into_owned();
        let letter = (SmolStr::new(topic.as_str()), SmolStr::new(key), value);
        self.letters.get(&letter)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Letter, &SmolStr)> {
        self.letters.iter()
    }
}
