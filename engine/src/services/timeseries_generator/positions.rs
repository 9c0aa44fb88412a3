//! The first stage: rows of positions, each from its snapshot, the one before it, and the flows
//! between the two.
//!
//! A snapshot counts if it is valid now: at or below the watermark, or under the key's token. One
//! that does not is about to be valued again, and that sends news of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::super::ServiceError;
use super::super::instance::{Instance, Session};
use super::KeyNews;
use super::plan::Batch;
use crate::defects::{Defect, is_planted};
use crate::domain::ids::{Currency, Epoch, Key, PortfolioId, SecurityId, Token};
use crate::domain::messages::{self, AggregationRequired};
use crate::domain::series::position_series;
use crate::domain::time::Date;
use crate::ports::Ports;
use crate::ports::host::Signal;
use crate::ports::log::Topic;
use crate::ports::store::rows::{CashflowRow, KeyState, OutboxRow, PositionSeriesRow, SnapshotRow};
use crate::ports::store::statements::{
    AppendOutbox, CopyPositionSeries, DeletePositionSeries, LockKeys, ReadCashflows,
    ReadInstruments, ReadSnapshots,
};
use crate::services::outbox_dispatcher::lane_of;

/// One key while a batch goes over it.
struct Work {
    state: KeyState,
    /// Snapshots of its ranges, and the one on either side of each.
    snapshots: BTreeMap<Date, SnapshotRow>,
    /// Dates whose rows are written, ascending.
    staged: Vec<Date>,
}

impl Work {
    /// The snapshot before a date.
    fn before(&self, date: Date) -> Option<&SnapshotRow> {
        self.snapshots.range(..date).next_back().map(|(_, row)| row)
    }
}

/// Writes the rows of a batch in one transaction.
pub(super) async fn stage<P: Ports>(
    instance: &Instance<P>,
    batch: Batch<Key>,
    news: &BTreeMap<Key, KeyNews<'_>>,
) -> Result<(), ServiceError> {
    let mut session = instance.begin().await?;
    let keys: Vec<Key> = batch.iter().map(|(key, ..)| key.clone()).collect();
    let states = session.run(LockKeys { keys, skip_locked: false }).await?;
    let works = read(&mut session, states, &batch).await?;
    let dropped = dropped(&works, news);
    let flows = read_flows(&mut session, &works).await?;
    let currencies = read_currencies(&mut session, &works).await?;
    let rows = rows(&works, &flows, &currencies);
    if rows.is_empty() {
        session.rollback().await;
    } else {
        let events = events(&works, &rows, instance.knobs.outbox_lanes);
        session.run(DeletePositionSeries { ranges: runs(&works) }).await?;
        session.run(CopyPositionSeries { rows }).await?;
        if !events.is_empty() && !is_planted(Defect::AggregationForgotten) {
            session.run(AppendOutbox { rows: events }).await?;
        }
        session.commit().await?;
    }
    dropped.into_iter().for_each(|signal| instance.emit(signal));
    Ok(())
}

/// Reads the snapshots of the ranges, and decides which rows are to be written.
async fn read<P: Ports>(
    session: &mut Session<'_, P>,
    states: Vec<KeyState>,
    batch: &Batch<Key>,
) -> Result<Vec<Work>, ServiceError> {
    let ranges: BTreeMap<&Key, (Date, Date)> =
        batch.iter().map(|(key, from, to)| (key, (*from, *to))).collect();
    let wanted = states.iter().map(|state| {
        let (from, to) = ranges[&state.key];
        (state.key.clone(), state.epoch, from, to)
    });
    let wanted: Vec<_> = wanted.collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut snapshots: BTreeMap<Key, BTreeMap<Date, SnapshotRow>> = BTreeMap::new();
    for row in session.run(ReadSnapshots { ranges: wanted }).await? {
        snapshots.entry(row.key.clone()).or_default().insert(row.date, row);
    }
    let works = states.into_iter().map(|state| {
        let snapshots = snapshots.remove(&state.key).unwrap_or_default();
        let (from, to) = ranges[&state.key];
        // The beginning of the next row is the end of the last one.
        let next = snapshots.range(to.next()..).next();
        let next = next.filter(|_| !is_planted(Defect::NextBeginningKept));
        let of_range = snapshots.range(from..=to).chain(next);
        let staged = of_range.filter(|(_, row)| is_valid(&state, row)).map(|(date, _)| *date);
        Work { staged: staged.collect(), snapshots, state }
    });
    Ok(works.collect())
}

fn is_valid(state: &KeyState, row: &SnapshotRow) -> bool {
    let token = Token { epoch: row.epoch, revision: row.revision };
    row.date <= state.watermark_date || token == state.token()
}

/// What is to be reported about messages whose snapshots are not valid (any more).
fn dropped(works: &[Work], news: &BTreeMap<Key, KeyNews<'_>>) -> Vec<Signal> {
    let mut signals = Vec::new();
    for Work { state, staged, .. } in works {
        for (record, message) in &news[&state.key].messages {
            let (topic, key, message) = (record.topic, state.key.clone(), *message);
            let now = state.token();
            if message.revision > now.revision || message.epoch > now.epoch {
                signals.push(Signal::IntegrityError { topic, key, message, state: now });
            } else if staged.is_empty() && message != now {
                let producer = record.headers.producer.clone();
                signals.push(Signal::Fenced { topic, key, message, state: now, producer });
            }
        }
    }
    signals
}

/// Flows that may be in the rows, by key and in order.
async fn read_flows<P: Ports>(
    session: &mut Session<'_, P>,
    works: &[Work],
) -> Result<BTreeMap<Key, Vec<CashflowRow>>, ServiceError> {
    let range = |work: &Work| {
        let (first, last) = (*work.staged.first()?, *work.staged.last()?);
        let after = work.before(first).map(|row| row.date);
        Some((work.state.key.clone(), work.state.epoch, after, last))
    };
    let ranges: Vec<_> = works.iter().filter_map(range).collect();
    let mut flows: BTreeMap<Key, Vec<CashflowRow>> = BTreeMap::new();
    if !ranges.is_empty() {
        for row in session.run(ReadCashflows { ranges }).await? {
            flows.entry(row.key.clone()).or_default().push(row);
        }
    }
    Ok(flows)
}

async fn read_currencies<P: Ports>(
    session: &mut Session<'_, P>,
    works: &[Work],
) -> Result<BTreeMap<SecurityId, Currency>, ServiceError> {
    let staged = works.iter().filter(|work| !work.staged.is_empty());
    let ids: BTreeSet<SecurityId> = staged.map(|w| w.state.key.security_id.clone()).collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = session.run(ReadInstruments { ids: ids.into_iter().collect() }).await?;
    let currency = |row: crate::ports::store::rows::InstrumentRow| {
        (row.instrument.security_id, row.instrument.currency)
    };
    Ok(rows.into_iter().map(currency).collect())
}

/// The rows, in order of keys and dates.
fn rows(
    works: &[Work],
    flows: &BTreeMap<Key, Vec<CashflowRow>>,
    currencies: &BTreeMap<SecurityId, Currency>,
) -> Vec<PositionSeriesRow> {
    let mut rows = Vec::new();
    for work in works {
        let flows = flows.get(&work.state.key).map_or(&[][..], Vec::as_slice);
        for date in &work.staged {
            let snapshot = &work.snapshots[date];
            let currency = currencies.get(&snapshot.key.security_id);
            let currency = currency.expect("what is valued has its instrument").clone();
            let previous = work.before(*date);
            let after = |flow: &CashflowRow| {
                previous.is_none_or(|previous| flow.place.date() > previous.date)
            };
            let begin = flows.partition_point(|flow| !after(flow));
            let end = flows.partition_point(|flow| flow.place.date() <= *date);
            let between = flows[begin..end.max(begin)].iter();
            rows.push(PositionSeriesRow {
                key: snapshot.key.clone(),
                date: *date,
                epoch: snapshot.epoch,
                revision: snapshot.revision,
                currency,
                market_value: snapshot.values.map(|v| v.market_value).unwrap_or_default(),
                series: position_series(
                    previous.and_then(|row| row.values).map(|v| v.market_value_local),
                    &snapshot.position,
                    snapshot.values.map(|values| values.market_value_local),
                    between.map(|flow| (flow.kind, &flow.cashflow)),
                ),
            });
        }
    }
    rows
}

/// Ranges of rows that go before theirs come. A range ends at a snapshot that is not staged:
/// readers keep its row until it is valued again.
fn runs(works: &[Work]) -> Vec<(Key, Epoch, Date, Date)> {
    let mut runs: Vec<(Key, Epoch, Date, Date)> = Vec::new();
    for work in works {
        let mut is_open = false;
        for (date, row) in &work.snapshots {
            let is_staged = work.staged.binary_search(date).is_ok();
            match runs.last_mut() {
                Some((_, epoch, _, last)) if is_staged && is_open && *epoch == row.epoch => {
                    *last = *date;
                }
                _ if is_staged => runs.push((row.key.clone(), row.epoch, *date, *date)),
                _ => {}
            }
            is_open = is_staged;
        }
    }
    runs
}

/// News for the portfolios whose readers see any of the rows. What a later epoch holds is not seen
/// before it is served, and the switch sends news of its own.
fn events(works: &[Work], rows: &[PositionSeriesRow], lanes: u32) -> Vec<OutboxRow> {
    let states: BTreeMap<&Key, &KeyState> =
        works.iter().map(|work| (&work.state.key, &work.state)).collect();
    let mut news: BTreeMap<&PortfolioId, AggregationRequired> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.epoch <= states[&row.key].served_epoch) {
        let portfolio_id = &row.key.portfolio_id;
        let required = news.entry(portfolio_id).or_insert_with(|| AggregationRequired {
            portfolio_id: portfolio_id.clone(),
            date_from: row.date,
            date_to: row.date,
            keys: Vec::new(),
        });
        required.date_from = required.date_from.min(row.date);
        required.date_to = required.date_to.max(row.date);
        let security_id = &row.key.security_id;
        if required.keys.last().is_none_or(|(last, _)| last != security_id) {
            required.keys.push((security_id.clone(), states[&row.key].token()));
        }
    }
    news.into_values().map(|required| event(&required, lanes)).collect()
}

/// An event that the rows of a portfolio are due.
pub(in super::super) fn event(required: &AggregationRequired, lanes: u32) -> OutboxRow {
    let key = required.portfolio_id.as_str();
    OutboxRow {
        id: 0,
        lane: lane_of(key, lanes),
        topic: Topic::PortfolioAggregationRequired,
        key: key.into(),
        payload: messages::aggregation_required(required),
        correlation_id: None,
    }
}
