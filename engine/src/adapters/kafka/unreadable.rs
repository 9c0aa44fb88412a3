//! Partitions that cannot be read: which errors say so, which partition is meant, how often it is
//! told.
//!
//! librdkafka asks for such a partition ten times a second and complains each time; it never skips
//! what it could not read. Its complaint names an offset, but no partition: the one whose next
//! offset it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode as Code;

use super::context::Place;
use super::names::Names;

/// How often the same complaint is told.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Complaints that are to be told, and when they were told last.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    due: BTreeSet<String>,
    told: BTreeMap<String, Instant>,
}

impl Complaints {
    /// Takes note of a complaint.
    pub(super) fn add(&mut self, complaint: String, now: Instant) {
        self.told.retain(|_, told| now.saturating_duration_since(*told) < TELL_EVERY);
        if !self.told.contains_key(&complaint) {
            self.due.insert(complaint);
        }
    }

    /// A complaint that is to be told now.
    pub(super) fn next(&mut self, now: Instant) -> Option<String> {
        let complaint = self.due.pop_first()?;
        self.told.insert(complaint.clone(), now);
        Some(complaint)
    }
}

/// Whether an error of a partition lasts until a person removes its cause.
pub(super) fn is_lasting(code: Code) -> bool {
    matches!(
        code,
        Code::AutoOffsetReset
            | Code::BadCompression
            | Code::BadMessage
            | Code::InvalidMessage
            | Code::InvalidMessageSize
            | Code::InvalidRecord
            | Code::MessageSizeTooLarge
            | Code::NotImplemented
            | Code::UnsupportedCompressionType
            | Code::UnsupportedFeature
            | Code::UnsupportedForMessageFormat
    )
}

/// The offset that a complaint is about.
pub(super) fn offset(reason: &str) -> Option<u64> {
    let number = |text: &str| {
        let text = text.strip_prefix("offset ").unwrap_or(text);
        text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    reason.match_indices("at ").find_map(|(at, found)| number(&reason[at + found.len()..]))
}

/// What is told of a complaint about one of these partitions.
pub(super) fn text(names: &Names, places: &[Place], code: Code, reason: &str) -> String {
    let name = |&(topic, partition): &Place| format!("{} [{partition}]", names.topic(topic));
    let which = match places {
        [only] => format!("the partition {}", name(only)),
        several => {
            let several: Vec<String> = several.iter().map(name).collect();
            format!("one of the partitions {}", several.join(", "))
        }
    };
    let cure = match code {
        Code::MessageSizeTooLarge => "raise `receive.message.max.bytes` in the Kafka properties",
        Code::NotImplemented | Code::UnsupportedCompressionType | Code::UnsupportedFeature => {
            "write the records anew, compressed with gzip, snappy, lz4 or zstd, and delete these"
        }
        Code::AutoOffsetReset => "set the group's position with `kafka-consumer-groups`",
        _ => {
            "write the records anew and delete these with `kafka-delete-records`, or restore them \
             from a replica"
        }
    };
    format!("{which} cannot be read: {reason} ({code}); the others are; {cure}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::kafka::config::KafkaConfig;
    use crate::ports::log::Topic;

    #[test]
    fn the_offset_is_found_in_what_librdkafka_says() {
        for (reason, found) in [
            ("Decompression (codec 0x4) of message at 17 of 123 bytes failed: no", Some(17)),
            ("MessageSet at offset 18 (99 bytes) failed CRC32C check", Some(18)),
            ("Unsupported Message(Set) MagicByte 9 at offset 19", Some(19)),
            ("Fetch from broker 1 failed at offset 20 (leader epoch 0): no", Some(20)),
            ("Fetch from broker 1 failed: no", None),
        ] {
            assert_eq!(offset(reason), found, "{reason}");
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "an instant has no other beginning")]
    fn a_complaint_is_told_once_in_a_while() {
        let (mut complaints, begun) = (Complaints::default(), Instant::now());
        for complaint in ["a", "b", "a"] {
            complaints.add(complaint.to_owned(), begun);
        }
        let told = |complaints: &mut Complaints, at| complaints.next(at);
        assert_eq!(told(&mut complaints, begun).as_deref(), Some("a"));
        assert_eq!(told(&mut complaints, begun).as_deref(), Some("b"));
        complaints.add("a".to_owned(), begun + Duration::from_secs(1));
        assert_eq!(told(&mut complaints, begun + Duration::from_secs(1)), None);
        complaints.add("a".to_owned(), begun + TELL_EVERY);
        assert_eq!(told(&mut complaints, begun + TELL_EVERY).as_deref(), Some("a"));
    }

    #[test]
    fn a_complaint_names_partition_code_and_cure() {
        let names = Names::of(&KafkaConfig::default());
        let places = [(Topic::RawTransactions, 3)];
        let said = text(&names, &places, Code::MessageSizeTooLarge, "too large at offset 7");
        for word in ["raw_transactions [3]", "offset 7", "MessageSizeTooLarge", "receive.message"] {
            assert!(said.contains(word), "no {word}: {said}");
        }
    }
}
