//! Time series of positions and portfolios, and what they are made of.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

use backdate_engine::defects::{Defect, is_planted};
use backdate_engine::domain::ids::{Currency, Epoch, Key, PortfolioId};
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::Place;
use backdate_engine::domain::series::DaySum;
use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::rows::{
    CashflowRow, EpochRow, KeyState, PortfolioSeriesRow, PositionSeriesRow, SnapshotRow,
};
use backdate_engine::ports::store::statements::{
    CopyPortfolioSeries, CopyPositionSeries, DatedSum, DeletePortfolioSeries, DeletePositionSeries,
    FindValued, PortfolioEdges, ReadCashflows, ReadDaySums, ReadPortfolioEdges, ReadSnapshots,
    ReadSwitched, ValuedQuery,
};

use super::super::core::session::Session;
use super::super::core::storage::View;
use super::super::core::table::Version;
use super::super::derived::keys_of_portfolio;
use super::super::schema::first_place;
use super::Run;
use super::validity::Validity;

const FIRST: Date = Date::from_days(i32::MIN);
const LAST: Date = Date::from_days(i32::MAX);

/// A bound of the rows of snapshots and series.
type Edge = Bound<(Key, Date, Epoch)>;

/// Rows of a key in `[from, to]`, whatever their epoch.
fn dates(key: &Key, from: Date, to: Date) -> (Edge, Edge) {
    let end = Bound::Included((key.clone(), to.max(from), Epoch(u32::MAX)));
    match from <= to {
        true => (Bound::Included((key.clone(), from, Epoch(0))), end),
        false => (Bound::Excluded((key.clone(), from, Epoch(u32::MAX))), end),
    }
}

impl Run for ReadSnapshots {
    async fn run(self, session: &mut Session) -> Result<Vec<SnapshotRow>, StoreError> {
        Ok(session.read(|view| {
            let of_range = |range: &(Key, Epoch, Date, Date)| snapshots(view, range);
            self.ranges.iter().flat_map(of_range).map(|row| (*row).clone()).collect()
        }))
    }
}

fn snapshots(view: View<'_>, range: &(Key, Epoch, Date, Date)) -> Vec<Rc<SnapshotRow>> {
    let (key, epoch, from, to) = range;
    let validity = Validity::of(view, key, *epoch);
    let valid = |row: &&Rc<SnapshotRow>| validity.is_valid(row.epoch, row.date);
    let before = from.days().checked_sub(1).and_then(|day| {
        let earlier = dates(key, FIRST, Date::from_days(day));
        view.range::<SnapshotRow>(earlier).rev().find(valid)
    });
    let mut found: BTreeMap<Date, Rc<SnapshotRow>> = BTreeMap::new();
    found.extend(before.map(|row| (row.date, Rc::clone(row))));
    if from <= to {
        // Epochs of a date ascend, so that the newest stays.
        let within = view.range::<SnapshotRow>(dates(key, *from, *to)).filter(valid);
        found.extend(within.map(|row| (row.date, Rc::clone(row))));
    }
    let mut later = to.days().checked_add(1).into_iter().flat_map(|day| {
        view.range::<SnapshotRow>(dates(key, Date::from_days(day), LAST)).filter(valid)
    });
    if let Some(first) = later.next() {
        let same = later.take_while(|row| row.date == first.date).last();
        found.insert(first.date, Rc::clone(same.unwrap_or(first)));
    }
    found.into_values().collect()
}

impl Run for ReadCashflows {
    async fn run(self, session: &mut Session) -> Result<Vec<CashflowRow>, StoreError> {
        Ok(session.read(|view| {
            let of_range = |range: &(Key, Epoch, Option<Date>, Date)| cashflows(view, range);
            self.ranges.iter().flat_map(of_range).collect()
        }))
    }
}

fn cashflows(view: View<'_>, range: &(Key, Epoch, Option<Date>, Date)) -> Vec<CashflowRow> {
    let (key, epoch, after, to) = range;
    let validity = Validity::of(view, key, *epoch);
    let at = |place: Place| (key.clone(), place, Epoch(0));
    let start = after.map_or_else(first_place, |after| Place::start_of(after.next()));
    let end = Place::start_of(to.next()).max(start.clone());
    let rows = view.range::<CashflowRow>(at(start)..at(end));
    let valid = rows.filter(|row| validity.is_valid(row.epoch, row.place.date()));
    valid.map(|row| (**row).clone()).collect()
}

impl Run for FindValued {
    async fn run(self, session: &mut Session) -> Result<Vec<Key>, StoreError> {
        Ok(session.read(|view| {
            let is_valued = |query: &&ValuedQuery| {
                let mut rows = view.range::<SnapshotRow>(dates(&query.key, query.from, LAST));
                rows.any(|row| {
                    let (epoch, revision) = (query.token.epoch, query.token.revision);
                    row.date <= query.watermark_date
                        || (row.epoch == epoch && row.revision == revision)
                })
            };
            self.keys.iter().filter(is_valued).map(|query| query.key.clone()).collect()
        }))
    }
}

impl Run for DeletePositionSeries {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let rows: Vec<Version<PositionSeriesRow>> = session.read(|view| {
            let of_range = |(key, epoch, from, to): &(Key, Epoch, Date, Date)| {
                let epoch = *epoch;
                let rows = view.versions::<PositionSeriesRow>(dates(key, *from, *to));
                rows.filter(move |version| version.row.epoch == epoch)
            };
            self.ranges.iter().flat_map(of_range).cloned().collect()
        });
        session.delete(rows, |_| true).await
    }
}

impl Run for CopyPositionSeries {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        for row in self.rows {
            session.insert(row).await?;
        }
        Ok(())
    }
}

impl Run for ReadSwitched {
    async fn run(self, session: &mut Session) -> Result<Vec<(Key, Date)>, StoreError> {
        Ok(session.read(|view| {
            let of_key = |(key, was, is): &(Key, Epoch, Epoch)| {
                let epochs = (key.clone(), was.next())..=(key.clone(), *is);
                let cuts = view.range::<EpochRow>(epochs).map(|row| row.from_date);
                let mut rows = view.range::<SnapshotRow>(dates(key, FIRST, LAST));
                let first = rows.find(|row| row.epoch > *was && row.epoch <= *is);
                let first = cuts.chain(first.map(|row| row.date)).min()?;
                Some((key.clone(), first))
            };
            self.keys.iter().filter_map(of_key).collect()
        }))
    }
}

impl Run for ReadDaySums {
    async fn run(mut self, session: &mut Session) -> Result<Vec<DatedSum>, StoreError> {
        self.ranges.sort_unstable();
        Ok(session.read(|view| {
            let of_range = |range: &(PortfolioId, Date, Date)| day_sums(view, range);
            self.ranges.iter().flat_map(of_range).collect()
        }))
    }
}

fn day_sums(view: View<'_>, (id, from, to): &(PortfolioId, Date, Date)) -> Vec<DatedSum> {
    let mut sums: BTreeMap<(Date, Currency), DaySum> = BTreeMap::new();
    for key in keys_of_portfolio(view, id) {
        let Some(state) = view.get::<KeyState>(&key) else { continue };
        let version = match is_planted(Defect::PortfolioMixesEpochs) {
            true => state.epoch,
            false => state.served_epoch,
        };
        let validity = Validity::of(view, &key, version);
        let rows = view.range::<PositionSeriesRow>(dates(&key, *from, *to));
        let mut valid = rows.filter(|row| validity.is_valid(row.epoch, row.date)).peekable();
        while let Some(row) = valid.next() {
            // Epochs of a date ascend: only the newest counts.
            if valid.peek().is_some_and(|next| next.date == row.date) {
                continue;
            }
            add(&mut sums, row);
        }
    }
    let dated = |((date, _), sum)| DatedSum { portfolio_id: id.clone(), date, sum };
    sums.into_iter().map(dated).collect()
}

fn add(sums: &mut BTreeMap<(Date, Currency), DaySum>, row: &PositionSeriesRow) {
    let nothing = || DaySum {
        currency: row.currency.clone(),
        market_value: Amount::ZERO,
        bod_cashflow: Amount::ZERO,
        eod_cashflow: Amount::ZERO,
        fees: Amount::ZERO,
    };
    let sum = sums.entry((row.date, row.currency.clone())).or_insert_with(nothing);
    sum.market_value += row.market_value;
    sum.bod_cashflow += row.series.bod_cashflow_portfolio;
    sum.eod_cashflow += row.series.eod_cashflow_portfolio;
    sum.fees += row.series.fees;
}

/// Rows of a portfolio in `[from, to]`.
fn days(id: &PortfolioId, from: Date, to: Date) -> std::ops::RangeInclusive<(PortfolioId, Date)> {
    (id.clone(), from)..=(id.clone(), to.max(from))
}

impl Run for ReadPortfolioEdges {
    async fn run(self, session: &mut Session) -> Result<Vec<PortfolioEdges>, StoreError> {
        Ok(session.read(|view| {
            let edges = |(id, from, to): &(PortfolioId, Date, Date)| {
                let earlier = (id.clone(), FIRST)..(id.clone(), *from);
                let before = view.range::<PortfolioSeriesRow>(earlier).next_back();
                let later = Bound::Excluded((id.clone(), *to));
                let end = Bound::Included((id.clone(), LAST));
                let after = view.range::<PortfolioSeriesRow>((later, end)).next();
                PortfolioEdges {
                    end_before: before.map(|row| row.series.eod_market_value),
                    after: after.map(|row| (**row).clone()),
                }
            };
            self.ranges.iter().map(edges).collect()
        }))
    }
}

impl Run for DeletePortfolioSeries {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let rows: Vec<Version<PortfolioSeriesRow>> = session.read(|view| {
            let ranges = self.ranges.iter().filter(|(_, from, to)| from <= to);
            let of_range = |(id, from, to): &(PortfolioId, Date, Date)| {
                view.versions::<PortfolioSeriesRow>(days(id, *from, *to))
            };
            ranges.flat_map(of_range).cloned().collect()
        });
        session.delete(rows, |_| true).await
    }
}

impl Run for CopyPortfolioSeries {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        for row in self.rows {
            session.insert(row).await?;
        }
        Ok(())
    }
}
