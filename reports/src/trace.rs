//! Everything that happened to one key, from a recording, one line an event and thing.
//!
//! # Invariants
//! - Lines come in the order of events; an event that does not touch the key gives none.

use backdate_engine::domain::ids::Key;
use backdate_engine::domain::intake;
use backdate_engine::domain::messages;
use backdate_engine::domain::records::Fate;
use backdate_engine::ports::host::Signal;
use backdate_engine::ports::log::Topic;
use backdate_engine::ports::store::rows::{SnapshotRow, Subject, TimelineRow};

use crate::recording::{Change, Event, EventKind, Row};

/// What an event did to a key; none if nothing.
pub fn lines(event: &Event, key: &Key) -> Vec<String> {
    let about = match &event.kind {
        EventKind::Started => vec!["started".into()],
        EventKind::Crashed(cause) => vec![format!("crashed: {cause:?}")],
        EventKind::Fault { fault, begins, detail } => {
            let edge = if *begins { "begins" } else { "ends" };
            vec![format!("fault {fault} {edge}: {detail}")]
        }
        EventKind::Phase(phase) => vec![format!("phase {phase:?}")],
        EventKind::InputSent { id, topic, value, .. } if concerns(*topic, value, key) => {
            vec![format!("input {id} sent to {topic}: {}", String::from_utf8_lossy(value))]
        }
        EventKind::Appended(record) if concerns(record.topic, &record.value, key) => {
            let producer = record.headers.producer.as_deref().unwrap_or("unknown");
            let (topic, partition, offset) = (record.topic, record.partition, record.offset);
            vec![format!(
                "appended {topic}/{partition}@{offset} from {producer}{}",
                token_of(record.topic, &record.value, key)
            )]
        }
        EventKind::Committed { client, changes, .. } => committed(client, changes, key),
        EventKind::Signal(signal) if is_about(signal, key) => vec![format!("reports {signal:?}")],
        EventKind::Read { positions, .. } => positions
            .iter()
            .filter(|read| read.key == *key)
            .map(|read| {
                let snapshot = read.snapshot.as_ref().map_or("no snapshot".into(), snapshot);
                let (epoch, status) = (read.served_epoch.0, read.status);
                format!("reads epoch {epoch} {status} W={} {snapshot}", read.watermark_date)
            })
            .collect(),
        _ => Vec::new(),
    };
    let place = |text: String| {
        format!("{:>9} {:>14} {:<32} {text}", event.seq, event.at.to_string(), event.process)
    };
    about.into_iter().map(place).collect()
}

/// Whether a message may change the key: inputs about its security, portfolio or rates count.
fn concerns(topic: Topic, value: &[u8], key: &Key) -> bool {
    match topic {
        Topic::RawTransactions => {
            intake::transaction(value).is_ok_and(|read| read.content.key == *key)
        }
        Topic::MarketPrices => intake::market_price(value)
            .is_ok_and(|read| read.content.security_id == key.security_id),
        Topic::Instruments => {
            intake::instrument(value).is_ok_and(|read| read.content.security_id == key.security_id)
        }
        Topic::RawPortfolios => {
            intake::portfolio(value).is_ok_and(|read| read.content.portfolio_id == key.portfolio_id)
        }
        Topic::FxRates | Topic::RawBusinessDates => true,
        Topic::MarketPricePersisted => messages::read_price_persisted(value)
            .is_ok_and(|news| news.security_id == key.security_id),
        Topic::RawTransactionsCompleted => {
            messages::read_transaction_completed(value).is_ok_and(|news| news.key == *key)
        }
        Topic::PortfolioAggregationRequired => messages::read_aggregation_required(value)
            .is_ok_and(|news| news.portfolio_id == key.portfolio_id),
        Topic::ValuationRequired => messages::read_valuation_required(value)
            .is_ok_and(|job| job.keys.iter().any(|(of, _)| of == key)),
        Topic::FxRatePersisted | Topic::DeadLetters => false,
        Topic::ProcessedTransactionsCompleted | Topic::DailyPositionSnapshotPersisted => {
            names(value, "portfolio_id", key.portfolio_id.as_str())
                && names(value, "security_id", key.security_id.as_str())
        }
    }
}

/// Whether a JSON object has that text in that field.
fn names(value: &[u8], field: &str, text: &str) -> bool {
    serde_json::from_slice::<serde_json::Value>(value)
        .is_ok_and(|object| object.get(field).and_then(|v| v.as_str()) == Some(text))
}

/// The token that a valuation job carries for the key, and its dates.
fn token_of(topic: Topic, value: &[u8], key: &Key) -> String {
    if topic != Topic::ValuationRequired {
        return String::new();
    }
    let Ok(job) = messages::read_valuation_required(value) else { return String::new() };
    let token = job.keys.iter().find(|(of, _)| of == key).map(|(_, token)| *token);
    let id = job.job_id.map_or_else(|| "capture".into(), |id| id.to_string());
    match token {
        Some(token) => {
            format!(": job {id} values {}..{} under {token}", job.date_from, job.date_to)
        }
        None => String::new(),
    }
}

fn committed(client: &str, changes: &[Change], key: &Key) -> Vec<String> {
    let mut lines = Vec::new();
    let mut snapshots: Vec<&SnapshotRow> = Vec::new();
    for Change { row, deleted } in changes {
        if let Row::Snapshot(row) = row
            && row.key == *key
            && !deleted
        {
            snapshots.push(row);
        } else if let Some(text) = row_text(row, key) {
            let verb = if *deleted { "deletes" } else { "writes" };
            lines.push(format!("{client} {verb} {text}"));
        }
    }
    if let (Some(first), Some(last)) = (snapshots.first(), snapshots.last()) {
        let (count, epoch, revision) = (snapshots.len(), last.epoch.0, last.revision.0);
        let dates = format!("{}..{}", first.date, last.date);
        let token = format!("{epoch}.{revision}");
        let newest = snapshot(last);
        lines.push(format!("{client} writes {count} snapshots {dates} under {token}, {newest}"));
    }
    lines
}

fn row_text(row: &Row, key: &Key) -> Option<String> {
    let mine = |of: &Key| of == key;
    Some(match row {
        Row::Key(state) if mine(&state.key) => format!(
            "state {} {} W={} served={} valued_through={}",
            state.token(),
            state.status,
            state.watermark_date,
            state.served_epoch.0,
            state.valued_through.map_or_else(|| "none".into(), |date| date.to_string()),
        ),
        Row::Transaction(row) if mine(&row.transaction.key) => {
            let id = &row.transaction.transaction_id;
            format!("transaction {id} version {}", row.source_version)
        }
        Row::Timeline(row) if mine(&row.key) => timeline(row),
        Row::History(row) if mine(&row.key) => {
            let (id, date) = (&row.place.transaction_id, row.place.date());
            format!("history {id} {date} epoch {} quantity {}", row.epoch.0, row.position.quantity)
        }
        Row::Lot(row) if mine(&row.key) => {
            format!("lot {} quantity {}", row.lot.opened.transaction_id, row.lot.quantity)
        }
        Row::Epoch(row) if mine(&row.key) => {
            format!("epoch {} from {}", row.epoch.0, row.from_date)
        }
        Row::Replay(row) if mine(&row.key) => {
            let cursor = row.cursor.as_ref();
            let cursor = cursor.map_or_else(|| "start".into(), |c| format!("{}", c.transaction_id));
            format!("replay epoch {} from {} at {cursor}", row.epoch.0, row.from_date)
        }
        Row::Snapshot(row) if mine(&row.key) => format!("snapshot {} {}", row.date, snapshot(row)),
        Row::ValuationJob(row) => {
            let of = row.keys.iter().find(|of| of.key == *key)?;
            let dates = format!("{}..{}", row.date_from, row.date_to);
            format!("valuation job {} {} {dates} under {}", row.id, row.status, of.token)
        }
        Row::Trigger(row) if touches(&row.subject, key) => {
            format!("trigger {} from {}", row.subject, row.earliest_date)
        }
        Row::ReprocessingJob(row) if touches(&row.subject, key) => {
            let cursor = row.cursor.as_ref().map_or("start".into(), Key::to_string);
            format!("fan-out {} of {} from {} at {cursor}", row.id, row.subject, row.date)
        }
        Row::Price(row) if row.price.security_id == key.security_id => {
            let (date, price) = (row.price.price_date, row.price.price);
            format!("price {date} = {price} version {}", row.source_version)
        }
        Row::Instrument(row) if row.instrument.security_id == key.security_id => {
            format!("instrument {} {}", row.instrument.security_id, row.instrument.currency)
        }
        Row::Portfolio(row) if row.portfolio.portfolio_id == key.portfolio_id => {
            let (base, method) = (&row.portfolio.base_currency, row.portfolio.cost_basis_method);
            format!("portfolio {} {base} {method}", row.portfolio.portfolio_id)
        }
        _ => return derived_text(row, key),
    })
}

/// What follows from history and snapshots.
fn derived_text(row: &Row, key: &Key) -> Option<String> {
    Some(match row {
        Row::Cashflow(row) if row.key == *key => {
            let (id, flow) = (&row.place.transaction_id, &row.cashflow);
            let (amount, currency) = (flow.amount, &flow.currency);
            format!("cash flow {id} epoch {} {amount} {currency}", row.epoch.0)
        }
        Row::PositionSeries(row) if row.key == *key => {
            let (date, epoch, series) = (row.date, row.epoch.0, &row.series);
            let (bod, eod) = (series.bod_market_value, series.eod_market_value);
            format!("series {date} epoch {epoch} from {bod} to {eod}")
        }
        Row::PortfolioSeries(row) if row.portfolio_id == key.portfolio_id => {
            let (bod, eod) = (row.series.bod_market_value, row.series.eod_market_value);
            format!("portfolio series {} from {bod} to {eod}", row.date)
        }
        _ => return None,
    })
}

fn timeline(row: &TimelineRow) -> String {
    let outcome = match row.outcome.as_ref().map(|outcome| &outcome.fate) {
        None => "not folded".into(),
        Some(Fate::Applied(costs)) => format!("applied, net cost {}", costs.net_cost),
        Some(Fate::Parked(reason)) => format!("parked: {reason}"),
    };
    let (id, kind, quantity) = (&row.place.transaction_id, row.terms.kind, row.terms.quantity);
    format!("timeline {id} {} {kind} {quantity}: {outcome}", row.place.at)
}

fn snapshot(row: &SnapshotRow) -> String {
    let value = row.values.map_or("no value".into(), |v| format!("value {}", v.market_value));
    let price = row.market_price.map_or("none".into(), |price| price.to_string());
    let (date, quantity, status) = (row.date, row.position.quantity, row.valuation_status);
    format!("{date}: quantity {quantity} price {price} {value} {status}")
}

/// Whether news about a subject may touch the key.
fn touches(subject: &Subject, key: &Key) -> bool {
    match subject {
        Subject::Security(id) => *id == key.security_id,
        Subject::Portfolio(id) => *id == key.portfolio_id,
        Subject::Pair(..) | Subject::Calendar => true,
    }
}

fn is_about(signal: &Signal, key: &Key) -> bool {
    match signal {
        Signal::Fenced { key: of, .. }
        | Signal::IntegrityError { key: of, .. }
        | Signal::EpochBumped { key: of, .. }
        | Signal::WatermarkReset { key: of, .. }
        | Signal::Replayed { key: of, .. }
        | Signal::Parked { key: of, .. }
        | Signal::CurrencyMismatch { key: of }
        | Signal::BecameCurrent { key: of, .. } => of == key,
        Signal::KeysWait { keys, .. } => keys.contains(key),
        Signal::BackdatedPrice { subject, .. } => subject.as_str() == key.security_id.as_str(),
        Signal::DeadLettered { .. }
        | Signal::JobsCreated { .. }
        | Signal::JobCompleted { .. }
        | Signal::JobsSuperseded { .. }
        | Signal::Trouble { .. } => false,
    }
}
