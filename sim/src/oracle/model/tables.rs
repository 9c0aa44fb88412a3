//! The tables that inputs must end in: of one key, or all of them.
//!
//! # Invariants
//! - A key that waits for its instrument has no snapshot.

use std::collections::{BTreeMap, BTreeSet};

use backdate_engine::domain::ids::{Key, PortfolioId, TransactionId};
use backdate_engine::domain::records::Cashflow;
use backdate_engine::domain::records::{Costs, Lot, ParkReason, Place, Position};
use backdate_engine::domain::records::{PortfolioSeries, PositionSeries};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::log::Topic;
use smol_str::SmolStr;

use super::fold::FoldedKey;
use super::inputs::{Inputs, Taken};
use super::read::{Code, read};
use super::value::Valued;

/// A message that was rejected, once however often it came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadLetter {
    /// Its topic.
    pub topic: Topic,
    /// Its key.
    pub key: SmolStr,
    /// Its payload.
    pub value: Vec<u8>,
    /// Why.
    pub error: Code,
}

/// What the inputs say of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyTables {
    /// Costs, parked transactions, positions and lots.
    pub folded: FoldedKey,
    /// One snapshot per due business date of the range that was asked for.
    pub snapshots: BTreeMap<Date, Valued>,
    /// Whether snapshots are due that cannot be made because the instrument is not known.
    pub waits: bool,
}

/// All tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Keys with the watermark at which they rest; none without any business date.
    pub position_state: BTreeMap<Key, Option<Date>>,
    /// Cost columns of applied transactions.
    pub costs: BTreeMap<TransactionId, Costs>,
    /// Parked transactions.
    pub parked: BTreeMap<TransactionId, ParkReason>,
    /// Positions after each applied transaction.
    pub position_history: BTreeMap<(Key, Place), Position>,
    /// Cash flows of applied transactions.
    pub cashflows: BTreeMap<(Key, Place), Cashflow>,
    /// Series of keys.
    pub position_series: BTreeMap<(Key, Date), PositionSeries>,
    /// Series of portfolios.
    pub portfolio_series: BTreeMap<(PortfolioId, Date), PortfolioSeries>,
    /// Open lots.
    pub lots: BTreeMap<Key, Vec<Lot>>,
    /// Snapshots.
    pub snapshots: BTreeMap<(Key, Date), Valued>,
    /// Keys that rest as they are because their instrument is not known.
    pub waiting: BTreeSet<Key>,
    /// Rejected messages.
    pub dead_letters: BTreeSet<DeadLetter>,
}

impl Inputs {
    /// One key, with snapshots of the due business dates in `(after, upto]` (no bound: from the
    /// first, up to the latest business date).
    pub fn key_tables(&self, key: &Key, after: Option<Date>, upto: Option<Date>) -> KeyTables {
        let folded = self.fold(key);
        let mut snapshots = BTreeMap::new();
        let mut waits = false;
        if let (Some(first), Some(latest)) = (folded.first_applied(), self.latest_business_date()) {
            let from = after.map_or(first, |after| first.max(after.next()));
            let to = upto.map_or(latest, |upto| latest.min(upto));
            for day in self.dates(from, to) {
                let position = folded.position_on(day).unwrap_or_default();
                match self.value(key, position, day) {
                    Some(valued) => drop(snapshots.insert(day, valued)),
                    None => waits = true,
                }
            }
        }
        KeyTables { folded, snapshots, waits }
    }
}

/// Inputs as they arrive on the raw topics, with what was rejected on the way.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The inputs that count.
    pub inputs: Inputs,
    /// Rejected messages.
    pub dead_letters: BTreeSet<DeadLetter>,
}

impl Model {
    /// All tables from messages, given in the order of the log at least per identity.
    pub fn from_inputs<'a>(
        messages: impl IntoIterator<Item = (Topic, &'a str, &'a [u8])>,
    ) -> Tables {
        let mut model = Model::default();
        for (topic, key, value) in messages {
            model.take(topic, key, value);
        }
        model.tables()
    }

    /// Takes a message; none if its topic is not raw.
    pub fn take(&mut self, topic: Topic, key: &str, value: &[u8]) -> Option<Taken> {
        let taken = match read(topic, value)? {
            Ok((input, version)) => self.inputs.take(input, version),
            Err(code) => Taken::Rejected(code),
        };
        if let Taken::Rejected(error) = taken {
            self.reject(topic, key, value, error);
        }
        Some(taken)
    }

    /// Notes a message that has no effect.
    pub fn reject(&mut self, topic: Topic, key: &str, value: &[u8], error: Code) {
        self.dead_letters.insert(DeadLetter {
            topic,
            key: SmolStr::new(key),
            value: value.to_vec(),
            error,
        });
    }

    /// All tables.
    pub fn tables(&self) -> Tables {
        let mut tables = Tables { dead_letters: self.dead_letters.clone(), ..Tables::default() };
        let latest = self.inputs.latest_business_date();
        let inputs = &self.inputs;
        let of_keys: BTreeMap<&Key, KeyTables> =
            inputs.keys().map(|key| (key, inputs.key_tables(key, None, None))).collect();
        for id in inputs.portfolios.keys() {
            for (day, row) in inputs.portfolio_series(id, &of_keys) {
                tables.portfolio_series.insert((id.clone(), day), row);
            }
        }
        for (key, of_key) in of_keys {
            for (day, row) in inputs.position_series(key, &of_key) {
                tables.position_series.insert((key.clone(), day), row);
            }
            for (place, flow) in self.inputs.flows(key, &of_key.folded) {
                tables.cashflows.insert((key.clone(), place), flow);
            }
            for row in of_key.folded.rows {
                let id = row.place.transaction_id.clone();
                match row.outcome {
                    Ok((costs, position)) => {
                        tables.costs.insert(id, costs);
                        let at = (key.clone(), row.place);
                        tables.position_history.insert(at, position);
                    }
                    Err(reason) => drop(tables.parked.insert(id, reason)),
                }
            }
            tables.lots.insert(key.clone(), of_key.folded.lots);
            tables.position_state.insert(key.clone(), latest);
            if of_key.waits {
                tables.waiting.insert(key.clone());
            }
            for (day, valued) in of_key.snapshots {
                tables.snapshots.insert((key.clone(), day), valued);
            }
        }
        tables
    }
}
