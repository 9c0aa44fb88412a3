//! The series of the clean run, and what breaks when they are doctored.

use backdate_engine::domain::records::{PortfolioSeries, PositionSeries};
use backdate_engine::ports::store::rows::{PortfolioSeriesRow, PositionSeriesRow};

use super::*;

const SNAPSHOTS: &str = r#"{"portfolio_id":"P","security_id":"S","epoch":0,"revision":0}"#;
const SUMS: &str = r#"{"portfolio_id":"P"}"#;

/// News of snapshots of the key.
pub(super) fn valued(id: u64) -> Row {
    outbox(id, Topic::DailyPositionSnapshotPersisted, SNAPSHOTS)
}

/// News that rows of the portfolio are due.
pub(super) fn due(id: u64) -> Row {
    outbox(id, Topic::PortfolioAggregationRequired, SUMS)
}

/// A row at a price of 10, with a purchase at the beginning of the day.
pub(super) fn row(
    day: u32,
    token: (u32, u64),
    held: (i64, i64),
    begin: i64,
    bought: i64,
) -> PositionSeriesRow {
    let (quantity, value) = (units(held.0), units(held.0 * 10));
    PositionSeriesRow {
        key: key(),
        date: date(day),
        epoch: Epoch(token.0),
        revision: Revision(token.1),
        currency: "USD".into(),
        market_value: value,
        series: PositionSeries {
            bod_market_value: units(begin),
            bod_cashflow_position: units(-bought),
            eod_market_value: value,
            quantity,
            cost: units(held.1).per(quantity),
            ..PositionSeries::default()
        },
    }
}

pub(super) fn sum(day: u32, begin: i64, end: i64) -> Change {
    let (bod_market_value, eod_market_value) = (units(begin), units(end));
    let series = PortfolioSeries { bod_market_value, eod_market_value, ..Default::default() };
    let portfolio_id = "P".into();
    let row = PortfolioSeriesRow { portfolio_id, date: date(day), series };
    put(Row::PortfolioSeries(Rc::new(row)))
}

impl Tape {
    /// News of snapshots is published, and rows of the series are written; with news of the sums
    /// if it has an id.
    pub(super) fn series(&mut self, id: u64, rows: &[PositionSeriesRow], sums: Option<u64>) {
        let topic = Topic::DailyPositionSnapshotPersisted;
        self.append(topic, SNAPSHOTS);
        self.commit("outbox-dispatcher-1", vec![gone(valued(id))]);
        let rows = rows.iter().map(|row| put(Row::PositionSeries(Rc::new(row.clone()))));
        let mut changes: Vec<Change> = rows.collect();
        changes.extend(sums.map(|id| put(due(id))));
        self.commit("timeseries-generator-1", changes);
        self.name(match id {
            21 => "first series",
            22 => "later series",
            _ => "rebuilt series",
        });
        self.done("timeseries-generator", &[topic]);
    }

    /// News of sums is published, and rows of the portfolio are written: day, begin, end.
    pub(super) fn sums(&mut self, id: u64, rows: &[(u32, i64, i64)]) {
        let topic = Topic::PortfolioAggregationRequired;
        self.append(topic, SUMS);
        self.commit("outbox-dispatcher-1", vec![gone(due(id))]);
        let rows = rows.iter().map(|(day, begin, end)| sum(*day, *begin, *end));
        self.commit("timeseries-generator-1", rows.collect());
        self.name(match id {
            31 => "first sums",
            32 => "later sums",
            _ => "rebuilt sums",
        });
        self.done("timeseries-generator", &[topic]);
    }
}

/// Writes something else in a row that a named commit writes.
fn edit(tape: &mut Tape, name: &str, day: u32, edit: impl Fn(&mut PositionSeriesRow)) {
    for change in tape.changes(name) {
        if let Row::PositionSeries(row) = &mut change.row
            && row.date == date(day)
        {
            edit(Rc::make_mut(row));
        }
    }
}

#[test]
fn g1_breaks_when_a_portfolio_ends_with_fees_that_nobody_booked() {
    breaks(RuleId::G1, "portfolio P: the series of 2025-01-03 must be", |tape| {
        for change in tape.changes("rebuilt sums") {
            if let Row::PortfolioSeries(row) = &mut change.row
                && row.date == date(3)
            {
                Rc::make_mut(row).series.fees = units(1);
            }
        }
    });
}

#[test]
fn g2_breaks_when_news_of_snapshots_is_done_and_a_row_is_not_written() {
    breaks(RuleId::G2, "the series of P/S on 2025-01-03 must be", |tape| {
        tape.changes("later series").retain(|change| match &change.row {
            Row::PositionSeries(row) => row.date != date(3),
            _ => true,
        });
    });
}

#[test]
fn g2_breaks_when_the_next_beginning_is_left_as_it_was() {
    breaks(RuleId::G2, "the series of P/S on 2025-01-03 must be", |tape| {
        edit(tape, "later series", 3, |row| row.series.bod_market_value = units(100));
    });
}

#[test]
fn g2_breaks_when_a_portfolio_mixes_versions_of_a_key() {
    breaks(RuleId::G2, "portfolio P must go from 100 to", |tape| {
        for change in tape.changes("later sums") {
            if let Row::PortfolioSeries(row) = &mut change.row
                && row.date == date(2)
            {
                Rc::make_mut(row).series.eod_market_value = units(100);
            }
        }
    });
}

#[test]
fn g3_breaks_when_a_row_of_a_series_bears_an_old_token() {
    breaks(RuleId::G3, "of no valid snapshot", |tape| {
        let late = row(2, (0, 0), (10, 100), 100, 0);
        let late = put(Row::PositionSeries(Rc::new(late)));
        let late = committed("timeseries-generator-2", vec![late, put(valued(29))]);
        tape.insert_after("later flow", "postgres", late);
        let gone = committed("outbox-dispatcher-1", vec![gone(valued(29))]);
        tape.insert_after("later series", "postgres", gone);
    });
}
