//! The order in which the records of a folder are sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use smol_str::SmolStr;

use super::inputs::FeedRecord;

/// Permutes all records, but keeps the order within one identity.
pub fn shuffle(records: Vec<FeedRecord>, rng: &mut ChaCha8Rng) -> Vec<FeedRecord> {
    let mut slots: Vec<SmolStr> = records.iter().map(|record| record.identity.clone()).collect();
    slots.shuffle(rng);
    let mut by_identity: BTreeMap<SmolStr, VecDeque<FeedRecord>> = BTreeMap::new();
    for record in records {
        by_identity.entry(record.identity.clone()).or_default().push_back(record);
    }
    let next = |identity: SmolStr| {
        let versions = by_identity.get_mut(&identity).expect("a slot stands for a record");
        versions.pop_front().expect("there are as many slots as records")
    };
    slots.into_iter().map(next).collect()
}

/// Records that wait to be sent; the next record of an identity waits until the one before it is
/// persisted.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<FeedRecord>,
    in_flight: BTreeSet<SmolStr>,
}

impl Queue {
    /// A queue of records in order.
    pub fn new(records: impl IntoIterator<Item = FeedRecord>) -> Self {
        Self { waiting: records.into_iter().collect(), in_flight: BTreeSet::new() }
    }

    /// Takes at most `max` records that may be sent now.
    pub fn take(&mut self, max: usize) -> Vec<FeedRecord> {
        let mut taken = Vec::new();
        let mut held = VecDeque::new();
        let mut blocked = BTreeSet::new();
        while let Some(record) = self.waiting.pop_front() {
            if taken.len() >= max {
                held.push_back(record);
                break;
            }
            let id = &record.identity;
            if self.in_flight.contains(id) || blocked.contains(id) {
                blocked.insert(id.clone());
                held.push_back(record);
            } else {
                self.in_flight.insert(id.clone());
                taken.push(record);
            }
        }
        held.append(&mut self.waiting);
        self.waiting = held;
        taken
    }

    /// All that was taken is persisted.
    pub fn persisted(&mut self) {
        self.in_flight.clear();
    }

    /// Whether everything was taken.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use backdate_engine::ports::log::Topic;
    use rand::SeedableRng;

    use super::*;

    fn record(identity: &str, value: &str) -> FeedRecord {
        FeedRecord {
            step: 1,
            file: 0,
            topic: Topic::MarketPrices,
            key: "S".into(),
            identity: identity.into(),
            value: value.into(),
        }
    }

    #[test]
    fn a_shuffle_keeps_the_order_within_an_identity() {
        let records: Vec<FeedRecord> =
            (0..40).map(|n| record(["a", "b", "c", "d"][n % 4], &n.to_string())).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let shuffled = shuffle(records.clone(), &mut rng);
        assert_ne!(shuffled, records);
        for identity in ["a", "b", "c", "d"] {
            let of = |list: &[FeedRecord]| -> Vec<String> {
                let own = list.iter().filter(|r| r.identity == identity);
                own.map(|r| r.value.clone()).collect()
            };
            assert_eq!(of(&shuffled), of(&records));
        }
    }

    #[test]
    fn the_next_version_waits_until_the_one_before_is_persisted() {
        let mut queue = Queue::new([record("a", "1"), record("a", "2"), record("b", "3")]);
        let values = |records: Vec<FeedRecord>| -> Vec<String> {
            records.into_iter().map(|r| r.value).collect()
        };
        assert_eq!(values(queue.take(10)), ["1", "3"]);
        assert!(queue.take(10).is_empty() && !queue.is_empty());
        queue.persisted();
        assert_eq!(values(queue.take(10)), ["2"]);
        assert!(queue.is_empty());
    }
}
