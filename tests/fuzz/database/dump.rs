//! What the tables hold in the end: by statements of the port where they read rows as they are, by
//! rows of the tables where they do not.

use std::fmt::Display;

use backdate_engine::domain::ids::Key;
use backdate_engine::domain::money::Amount;
use backdate_engine::ports::store::AnyStatement;
use backdate_engine::ports::store::rows::{Subject, Table};
use backdate_engine::ports::store::statements::{
    LockInstruments, LockKeys, LockPortfolios, LockPrices, LockRates, ReadBusinessDates, ReadLots,
    ReadOutbox, ReadReplays, ReadTimelineChunks, ReadTransactions, TakeTriggers,
};
use backdate_reports::recording::Row;

use super::universe::{CURRENCIES, DAYS, IDS, LANES, PORTFOLIOS, SECURITIES, keys};
use crate::contract::fixtures::date;

/// Reads of all that a schedule can write.
pub(super) fn reads() -> Vec<AnyStatement> {
    let days = || (0..=DAYS).map(date);
    let prices = SECURITIES.iter().flat_map(|s| days().map(|day| ((*s).into(), day)));
    let pairs = CURRENCIES.iter().flat_map(|a| CURRENCIES.iter().map(move |b| (*a, *b)));
    let rates = pairs.flat_map(|(a, b)| days().map(move |day| (a.into(), b.into(), day)));
    let ranges = keys().into_iter().map(|key| (key, None)).collect();
    let mut reads: Vec<AnyStatement> = vec![
        LockKeys { keys: keys(), skip_locked: false }.into(),
        ReadTransactions { ids: IDS.iter().map(|id| (*id).into()).collect() }.into(),
        LockPrices { ids: prices.collect() }.into(),
        LockRates { ids: rates.collect() }.into(),
        LockPortfolios { ids: PORTFOLIOS.iter().map(|id| (*id).into()).collect() }.into(),
        LockInstruments { ids: SECURITIES.iter().map(|id| (*id).into()).collect() }.into(),
        ReadBusinessDates { from: date(-99), to: date(99) }.into(),
        ReadTimelineChunks { ranges, limit: 99 }.into(),
        ReadLots { keys: keys().into_iter().map(|key| (key, Amount::from_units(9_999))).collect() }
            .into(),
        ReadReplays { keys: keys() }.into(),
        TakeTriggers { limit: 99 }.into(),
    ];
    reads.extend((0..LANES).map(|lane| ReadOutbox { lane, limit: 99 }.into()));
    reads
}

/// The other tables, each with the query that writes its rows as [`line`] does.
pub(super) const TABLES: [(Table, &str); 8] = [
    (
        Table::PositionHistory,
        "SELECT concat_ws('|', portfolio_id, security_id, (transaction_date AT TIME ZONE \
         'UTC')::date, transaction_id, epoch, trim_scale(quantity)) FROM position_history \
         ORDER BY portfolio_id, security_id, transaction_date, place_rank, transaction_id, epoch",
    ),
    (
        Table::Cashflows,
        "SELECT concat_ws('|', portfolio_id, security_id, (transaction_date AT TIME ZONE \
         'UTC')::date, transaction_id, epoch, trim_scale(amount)) FROM cashflows \
         ORDER BY portfolio_id, security_id, transaction_date, place_rank, transaction_id, epoch",
    ),
    (
        Table::DailyPositionSnapshots,
        "SELECT concat_ws('|', portfolio_id, security_id, date, epoch, revision, \
         valuation_status) FROM daily_position_snapshots \
         ORDER BY portfolio_id, security_id, date, epoch",
    ),
    (
        Table::PositionTimeseries,
        "SELECT concat_ws('|', portfolio_id, security_id, date, epoch, revision, \
         trim_scale(market_value)) FROM position_timeseries \
         ORDER BY portfolio_id, security_id, date, epoch",
    ),
    (
        Table::PortfolioTimeseries,
        "SELECT concat_ws('|', portfolio_id, date, trim_scale(eod_market_value)) \
         FROM portfolio_timeseries ORDER BY portfolio_id, date",
    ),
    (
        Table::PositionEpochs,
        "SELECT concat_ws('|', portfolio_id, security_id, epoch, from_date) \
         FROM position_epochs ORDER BY portfolio_id, security_id, epoch",
    ),
    (
        Table::ReprocessingJobs,
        "SELECT concat_ws('|', id, subject_kind, subject_id, subject_to, date, \
         coalesce(cursor_portfolio_id || '/' || cursor_security_id, '-')) \
         FROM reprocessing_jobs ORDER BY id",
    ),
    (
        Table::PortfolioValuationJobs,
        "SELECT concat_ws('|', id, (SELECT string_agg(p || '/' || s || ' ' || e || '.' || r, ',' \
         ORDER BY n) FROM unnest(portfolio_ids, security_ids, epochs, revisions) \
         WITH ORDINALITY k(p, s, e, r, n)), date_from, date_to, status, attempts, \
         lease_until IS NOT NULL) FROM portfolio_valuation_jobs ORDER BY id",
    ),
];

/// A row of one of these tables.
pub(super) fn line(row: &Row) -> String {
    let key = |key: &Key| format!("{}|{}", key.portfolio_id, key.security_id);
    match row {
        Row::History(row) => join(&[
            &key(&row.key),
            &row.place.date(),
            &row.place.transaction_id,
            &row.epoch.0,
            &row.position.quantity,
        ]),
        Row::Cashflow(row) => join(&[
            &key(&row.key),
            &row.place.date(),
            &row.place.transaction_id,
            &row.epoch.0,
            &row.cashflow.amount,
        ]),
        Row::Snapshot(row) => {
            join(&[&key(&row.key), &row.date, &row.epoch.0, &row.revision.0, &row.valuation_status])
        }
        Row::PositionSeries(row) => {
            join(&[&key(&row.key), &row.date, &row.epoch.0, &row.revision.0, &row.market_value])
        }
        Row::PortfolioSeries(row) => {
            join(&[&row.portfolio_id, &row.date, &row.series.eod_market_value])
        }
        Row::Epoch(row) => join(&[&key(&row.key), &row.epoch.0, &row.from_date]),
        Row::ReprocessingJob(row) => {
            let cursor = row.cursor.as_ref().map_or("-".to_owned(), Key::to_string);
            join(&[&row.id, &subject(&row.subject), &row.date, &cursor])
        }
        Row::ValuationJob(row) => {
            let held = row.keys.iter().map(|held| format!("{} {}", held.key, held.token));
            let held: Vec<String> = held.collect();
            let mut parts: Vec<&dyn Display> = vec![&row.id];
            let (held, lease) = (held.join(","), if row.lease_until.is_some() { "t" } else { "f" });
            // `concat_ws` leaves out what is null, as the aggregate of no key is.
            if !held.is_empty() {
                parts.push(&held);
            }
            parts.extend([
                &row.date_from as &dyn Display,
                &row.date_to,
                &row.status,
                &row.attempts,
                &lease,
            ]);
            join(&parts)
        }
        other => unreachable!("{other:?} is read by a statement"),
    }
}

fn subject(subject: &Subject) -> String {
    match subject {
        Subject::Security(id) => format!("0|{id}|"),
        Subject::Pair(from, to) => format!("1|{from}|{to}"),
        Subject::Calendar => "2||".to_owned(),
        Subject::Portfolio(id) => format!("3|{id}|"),
    }
}

fn join(parts: &[&dyn Display]) -> String {
    parts.iter().map(|part| part.to_string()).collect::<Vec<_>>().join("|")
}
