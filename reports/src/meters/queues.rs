//! Lengths of queues: tables of pending work, and what consumer groups have not read yet.

use std::collections::{BTreeMap, BTreeSet};

use backdate_engine::domain::ids::Key;
use backdate_engine::domain::records::KeyStatus;
use backdate_engine::ports::log::{Position, Record, Topic};
use backdate_engine::ports::store::rows::Subject;
use smol_str::SmolStr;

use crate::recording::{Change, Row};

/// A length, and the longest it ever was.
#[derive(Clone, Copy, Default)]
struct Length {
    now: u64,
    longest: u64,
}

impl Length {
    fn grow(&mut self) {
        self.now += 1;
        self.longest = self.longest.max(self.now);
    }

    fn shrink(&mut self, by: u64) {
        self.now = self.now.saturating_sub(by);
    }
}

/// Rows of a table, told apart from rewrites by their identity.
struct Rows<K>(BTreeSet<K>, Length);

impl<K> Default for Rows<K> {
    fn default() -> Self {
        Self(BTreeSet::new(), Length::default())
    }
}

impl<K: Ord> Rows<K> {
    fn change(&mut self, key: K, deleted: bool) {
        if deleted {
            if self.0.remove(&key) {
                self.1.shrink(1);
            }
        } else if self.0.insert(key) {
            self.1.grow();
        }
    }
}

/// All queues.
#[derive(Default)]
pub(super) struct Queues {
    outbox: Rows<u64>,
    triggers: Rows<Subject>,
    reprocessing_jobs: Rows<u64>,
    valuation_jobs: Rows<u64>,
    replays: Rows<Key>,
    keys: Rows<Key>,
    lags: [Length; GROUPS.len()],
    /// First offset that is not done, by group, topic and partition.
    done: BTreeMap<(usize, Topic, u32), u64>,
}

/// Consumer groups with the name of their queue.
const GROUPS: [(&str, &str); 6] = [
    ("persistence", "lag_persistence"),
    ("position-calculator", "lag_position_calculator"),
    ("price-watcher", "lag_price_watcher"),
    ("position-valuation-calculator", "lag_position_valuation_calculator"),
    ("cashflow-calculator", "lag_cashflow_calculator"),
    ("timeseries-generator", "lag_timeseries_generator"),
];

/// The group that reads a topic.
fn group_of(topic: Topic) -> Option<usize> {
    Some(match topic {
        Topic::RawPortfolios
        | Topic::Instruments
        | Topic::RawTransactions
        | Topic::MarketPrices
        | Topic::FxRates
        | Topic::RawBusinessDates => 0,
        Topic::RawTransactionsCompleted => 1,
        Topic::MarketPricePersisted | Topic::FxRatePersisted => 2,
        Topic::ValuationRequired => 3,
        Topic::ProcessedTransactionsCompleted => 4,
        Topic::DailyPositionSnapshotPersisted | Topic::PortfolioAggregationRequired => 5,
        Topic::DeadLetters => return None,
    })
}

impl Queues {
    pub(super) fn appended(&mut self, record: &Record) {
        if let Some(group) = group_of(record.topic) {
            self.lags[group].grow();
        }
    }

    pub(super) fn offsets(&mut self, group: &SmolStr, positions: &[Position]) {
        let Some(group) = GROUPS.iter().position(|(name, _)| *name == group.as_str()) else {
            return;
        };
        for position in positions {
            let key = (group, position.topic, position.partition);
            let done = self.done.entry(key).or_default();
            self.lags[group].shrink(position.next_offset.saturating_sub(*done));
            *done = position.next_offset.max(*done);
        }
    }

    pub(super) fn committed(&mut self, changes: &[Change]) {
        for Change { row, deleted } in changes {
            match row {
                Row::Outbox(row) => self.outbox.change(row.id, *deleted),
                Row::Trigger(row) => self.triggers.change(row.subject.clone(), *deleted),
                Row::ReprocessingJob(row) => self.reprocessing_jobs.change(row.id, *deleted),
                Row::ValuationJob(row) => self.valuation_jobs.change(row.id, *deleted),
                Row::Replay(row) => self.replays.change(row.key.clone(), *deleted),
                Row::Key(state) => {
                    self.keys.change(state.key.clone(), state.status == KeyStatus::Current);
                }
                _ => {}
            }
        }
    }

    /// Open replays now.
    pub(super) fn replays(&self) -> u64 {
        self.replays.1.now
    }

    /// How long a queue is now; 0 for one that is none.
    pub(super) fn now(&self, name: &str) -> u64 {
        self.lengths().find(|(queue, _)| *queue == name).map_or(0, |(_, length)| length.now)
    }

    /// The longest that each queue was.
    pub(super) fn longest(&self) -> BTreeMap<String, u64> {
        self.lengths().map(|(queue, length)| (queue.to_owned(), length.longest)).collect()
    }

    fn lengths(&self) -> impl Iterator<Item = (&'static str, Length)> {
        let tables = [
            ("keys_reprocessing", self.keys.1),
            ("outbox", self.outbox.1),
            ("replays", self.replays.1),
            ("reprocessing_jobs", self.reprocessing_jobs.1),
            ("triggers", self.triggers.1),
            ("valuation_jobs", self.valuation_jobs.1),
        ];
        let lags = GROUPS.iter().zip(self.lags).map(|((_, queue), length)| (*queue, length));
        tables.into_iter().chain(lags)
    }
}
