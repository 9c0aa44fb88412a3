//! `timeseries-generator`: series of positions and of portfolios.
//!
//! Two stages in one consumer. News of a key's snapshots stages the rows of those dates and the row
//! after them, whose beginning they are; news that a portfolio's rows are due sums up what is
//! staged. Both say only that there is news, and both write what they read under the lock: a key's,
//! then a portfolio's, never one within the other.

mod plan;
mod portfolios;
mod positions;

use std::collections::BTreeMap;

use self::plan::{Ranges, batches};
pub(super) use self::positions::event as aggregation_event;
use super::ServiceError;
use super::consume::{Handler, consume};
use super::instance::Instance;
use crate::domain::ids::{Key, PortfolioId, Token};
use crate::domain::intake::Rejection;
use crate::domain::messages;
use crate::ports::Ports;
use crate::ports::log::{Record, Topic};

/// Name of the process in crash points.
pub const PROCESS: &str = "timeseries-generator";

/// Its port calls.
pub const CALLS: &[&str] = &[
    "LockKeys",
    "ReadSnapshots",
    "ReadCashflows",
    "ReadInstruments",
    "DeletePositionSeries",
    "CopyPositionSeries",
    "AppendOutbox",
    "LockPortfolios",
    "ReadDaySums",
    "ReadPortfolioEdges",
    "ReadRates",
    "DeletePortfolioSeries",
    "CopyPortfolioSeries",
    "Commit",
    "Send",
    "CommitOffsets",
];

/// Runs the process.
pub(crate) async fn run<P: Ports>(instance: Instance<P>) {
    consume(instance, Generator).await;
}

struct Generator;

/// What a batch says about a key's snapshots.
struct KeyNews<'r> {
    ranges: Ranges,
    /// Its messages with the token of each.
    messages: Vec<(&'r Record, Token)>,
}

impl<P: Ports> Handler<P> for Generator {
    const GROUP: &'static str = "timeseries-generator";
    const TOPICS: &'static [Topic] =
        &[Topic::DailyPositionSnapshotPersisted, Topic::PortfolioAggregationRequired];

    async fn handle<'r>(
        &self,
        instance: &Instance<P>,
        records: &'r [Record],
    ) -> Result<Vec<(&'r Record, Rejection)>, ServiceError> {
        let mut poison = Vec::new();
        let mut keys: BTreeMap<Key, KeyNews<'r>> = BTreeMap::new();
        let mut portfolios: BTreeMap<PortfolioId, Ranges> = BTreeMap::new();
        for record in records {
            let read = match record.topic {
                Topic::PortfolioAggregationRequired => {
                    messages::read_aggregation_required(&record.value).map(|news| {
                        let ranges = portfolios.entry(news.portfolio_id).or_default();
                        ranges.add(news.date_from, news.date_to);
                    })
                }
                _ => messages::read_snapshots_persisted(&record.value).map(|news| {
                    let none = || KeyNews { ranges: Ranges::default(), messages: Vec::new() };
                    let of_key = keys.entry(news.key).or_insert_with(none);
                    of_key.ranges.add(news.date_from, news.date_to);
                    of_key.messages.push((record, news.token));
                }),
            };
            if let Err(rejection) = read {
                poison.push((record, rejection));
            }
        }
        let ranges = keys.iter().map(|(key, news)| (key.clone(), news.ranges.clone()));
        for batch in batches(ranges, plan::days_of_keys(&instance.knobs)) {
            // What is left of a batch may take longer than a stop may.
            if instance.is_stopping() {
                return Err(ServiceError::Stopping);
            }
            positions::stage(instance, batch, &keys).await?;
        }
        for batch in batches(portfolios, plan::days_of_portfolios(&instance.knobs)) {
            if instance.is_stopping() {
                return Err(ServiceError::Stopping);
            }
            portfolios::sum_up(instance, batch).await?;
        }
        Ok(poison)
    }
}
