//! G7, nothing lost: what was acknowledged is reflected, superseded, parked or dead-lettered.
//!
//! - Execution: every acknowledgement of an input, every committed position of persistence, and the
//!   end of a run that has settled.
//! - Allowed interference: anything; an input that was never acknowledged may be missing.
//! - Assertion: what the broker acknowledged it has appended; a record that persistence has
//!   declared done is stored (or content that supersedes it), or stands in the dead letters with
//!   its code. At the end no record is left, the stored inputs are those that the log says win,
//!   and nothing was rejected that is acceptable. (Parked transactions with their reasons are
//!   compared by G1.)

use std::collections::HashMap;
use std::hash::Hasher;

use backdate_engine::ports::log::Topic;
use backdate_reports::recording::EventKind;
use xxhash_rust::xxh3::Xxh3Default;

use super::mirror::{Mirror, RawRecord};
use super::model::Taken;
use super::rule::{End, Rule, RuleReport, Scene};

#[derive(Default)]
pub(super) struct NothingLost {
    /// Inputs under way, by their number in the plan: a hash of topic, key and payload.
    sent: HashMap<u64, u64>,
    /// Appended records less acknowledged inputs, by that hash.
    appended: HashMap<u64, i64>,
}

impl Rule for NothingLost {
    fn observe(&mut self, scene: &Scene<'_>, report: &mut RuleReport) {
        match &scene.event.kind {
            EventKind::InputSent { id, topic, key, value } => {
                self.sent.insert(*id, fingerprint(*topic, key, value));
            }
            EventKind::Appended(record) => {
                let print = fingerprint(record.topic, &record.key, &record.value);
                *self.appended.entry(print).or_default() += 1;
            }
            EventKind::InputAcknowledged { id } => {
                let count = self.sent.remove(id).map(|print| {
                    let count = self.appended.entry(print).or_default();
                    *count -= 1;
                    *count
                });
                report.check(count.is_some_and(|count| count >= 0), scene.event, || {
                    format!("input {id} was acknowledged and never appended")
                });
            }
            EventKind::OffsetsCommitted { .. } => {
                for record in &scene.step.done {
                    let lost = lost(record, scene.mirror);
                    report.check(lost.is_none(), scene.event, || {
                        let text = lost.unwrap_or_default();
                        format!("persistence is done with {}: {text}", name(record))
                    });
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, end: &End<'_>, report: &mut RuleReport) {
        if !end.settled {
            return;
        }
        let mirror = end.mirror;
        let left = mirror.records.first_raw();
        report.check_end(left.is_none(), end, || {
            let name = left.map(name).unwrap_or_default();
            format!("all has settled and persistence is not done with {name}")
        });
        let differs = mirror.raw.inputs.first_difference(&mirror.inputs);
        report.check_end(differs.is_none(), end, || {
            format!("a stored input is not what wins in the log: {}", differs.unwrap_or_default())
        });
        for letter in &mirror.raw.dead_letters {
            let code = mirror.dead_letters.code(letter.topic, &letter.key, &letter.value);
            let holds = code.is_some_and(|code| code == letter.error);
            report.check_end(holds, end, || {
                format!("the dead letters must hold {letter:?} and have {code:?} for it")
            });
        }
        for ((topic, key, value), code) in mirror.dead_letters.iter() {
            let raw = Topic::parse(topic).is_some_and(is_raw);
            let expected = mirror.raw.dead_letters.iter().any(|letter| {
                letter.topic.as_str() == topic
                    && letter.key == *key
                    && String::from_utf8_lossy(&letter.value) == *value
            });
            report.check_end(!raw || expected, end, || {
                format!("a message of {topic} was rejected as {code} and is acceptable: {value}")
            });
        }
    }
}

/// What is wrong with a record that persistence has declared done.
fn lost(record: &RawRecord, mirror: &Mirror) -> Option<String> {
    let raw = &record.record;
    let code = mirror.dead_letters.code(raw.topic, &raw.key, &raw.value);
    let (input, version) = match &record.content {
        Ok(content) => content,
        Err(must) => {
            return (code.is_none_or(|code| code != must))
                .then(|| format!("it must be dead-lettered as {must} and is {code:?}"));
        }
    };
    if code.is_some() {
        // Whether it was acceptable is judged once all messages are known.
        return None;
    }
    if let Taken::Rejected(must) = record.taken {
        return Some(format!("it must be dead-lettered as {must} and is not"));
    }
    let Some((same, stored)) = mirror.inputs.stored(input) else {
        return Some("nothing is stored for it".to_owned());
    };
    let wins = mirror.raw.inputs.stored(input).is_some_and(|(same, _)| same);
    let covered = stored > *version || (stored == *version && (same || !wins));
    (!covered).then(|| format!("version {version} is neither stored nor superseded by {stored}"))
}

fn name(record: &RawRecord) -> String {
    let raw = &record.record;
    format!("{}[{}]@{} ({})", raw.topic, raw.partition, raw.offset, raw.key)
}

fn is_raw(topic: Topic) -> bool {
    matches!(
        topic,
        Topic::RawPortfolios
            | Topic::Instruments
            | Topic::RawTransactions
            | Topic::MarketPrices
            | Topic::FxRates
            | Topic::RawBusinessDates
    )
}

fn fingerprint(topic: Topic, key: &str, value: &[u8]) -> u64 {
    let mut hasher = Xxh3Default::new();
    hasher.write_u8(topic as u8);
    hasher.write_usize(key.len());
    hasher.write(key.as_bytes());
    hasher.write(value);
    hasher.finish()
}
