//! What follows from history and snapshots: cash flows, and series of keys and of portfolios.
//!
//! Each has news of its own. As long as any is under way (in the outbox, or in the log and not
//! committed) the rows may be behind; once none is, they must be what the rows that they are made
//! of come to. Rows of a snapshot that is about to be valued again are left alone: its news will
//! come.
//!
//! A portfolio's values are compared with what readers see of its keys. Its flows, which depend on
//! rates, are compared at rest only, that is by G1.

use std::collections::{BTreeMap, BTreeSet};

use backdate_engine::domain::ids::{Epoch, PortfolioId, Token};
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::Place;
use backdate_engine::domain::time::Date;

use super::super::g01_convergence::same_row;
use super::super::mirror::{About, Freed, KeyIndex, KeyMirror, Mirror};
use super::super::model;
use super::super::rule::{RuleReport, Scene, near};

/// What is to be judged once its news is done.
#[derive(Default)]
pub(super) struct Beside {
    flows: BTreeSet<KeyIndex>,
    series: BTreeMap<KeyIndex, BTreeSet<Date>>,
    sums: BTreeMap<PortfolioId, BTreeSet<Date>>,
}

impl Beside {
    /// Judges what has no news under way any more. Only what the event has touched or freed can
    /// have changed in that.
    pub(super) fn judge(&mut self, scene: &Scene<'_>, report: &mut RuleReport) {
        let mut touched = self.note(scene);
        for about in scene.step.freed.iter().filter_map(Freed::beside_values) {
            touched.insert(about.clone());
        }
        let mirror = scene.mirror;
        for about in touched.iter().filter(|about| !mirror.pending.has_news(about)) {
            match about {
                About::Flows(key) => {
                    if let Some(index) = mirror.find(key)
                        && self.flows.remove(&index)
                    {
                        flows(&mirror.keys[index], scene, report);
                    }
                }
                About::Series(key) => {
                    if let Some(index) = mirror.find(key)
                        && let Some(dates) = self.series.remove(&index)
                    {
                        series(&mirror.keys[index], &dates, scene, report);
                    }
                }
                About::Sums(id) => {
                    for date in self.sums.remove(id).unwrap_or_default() {
                        sum(mirror, id, date, scene, report);
                    }
                }
                About::Key(_) | About::Subject(_) => {}
            }
        }
    }

    /// Notes what has to be judged again; what that is about.
    fn note(&mut self, scene: &Scene<'_>) -> BTreeSet<About> {
        let mut touched = BTreeSet::new();
        for touch in &scene.step.touched {
            let mirrored = &scene.mirror.keys[touch.key];
            if touch.history || touch.cashflows {
                self.flows.insert(touch.key);
                touched.insert(About::Flows(mirrored.key.clone()));
            }
            if !touch.series_due.is_empty() {
                self.series.entry(touch.key).or_default().extend(&touch.series_due);
                touched.insert(About::Series(mirrored.key.clone()));
            }
            let was = touch.before.as_ref().map(|state| state.served_epoch);
            let switched = was.is_some_and(|was| was != mirrored.served());
            let seen = touch.series.iter().copied().filter(|_| !switched);
            let all = mirrored.series.keys().map(|(date, _)| *date).filter(|_| switched);
            let dates: Vec<Date> = seen.chain(all).collect();
            if !dates.is_empty() {
                let id = &mirrored.key.portfolio_id;
                self.sums.entry(id.clone()).or_default().extend(dates);
                touched.insert(About::Sums(id.clone()));
            }
        }
        for (id, date) in &scene.step.sums {
            let rows = scene.mirror.portfolios.get(id);
            let next = rows.and_then(|rows| rows.range(date.next()..).next());
            let dates = self.sums.entry(id.clone()).or_default();
            dates.insert(*date);
            dates.extend(next.map(|(date, _)| *date));
            touched.insert(About::Sums(id.clone()));
        }
        touched
    }
}

/// Each valid history row has its cash flow.
fn flows(mirrored: &KeyMirror, scene: &Scene<'_>, report: &mut RuleReport) {
    let newest = mirrored.newest();
    let is_valid =
        |(place, epoch): &&(Place, Epoch)| mirrored.is_valid(*epoch, place.date(), newest);
    let lost = mirrored.without_flow.iter().find(is_valid);
    report.check(lost.is_none(), scene.event, || {
        let id = lost.map(|(place, _)| &place.transaction_id);
        format!("{}: {id:?} has no cash flow, and no news of it is under way", mirrored.key)
    });
}

/// Each valid snapshot has a row of the series, made of it, the one before and the flows between.
fn series(
    mirrored: &KeyMirror,
    dates: &BTreeSet<Date>,
    scene: &Scene<'_>,
    report: &mut RuleReport,
) {
    let newest = mirrored.newest();
    for date in dates {
        let Some(snapshot) = mirrored.snapshot_on(*date, newest) else { continue };
        let token = Token { epoch: snapshot.epoch, revision: snapshot.revision };
        if !mirrored.is_settled(*date, token) {
            continue;
        }
        let earlier = mirrored.snapshots.range(..(*date, Epoch(0))).rev();
        let mut earlier = earlier.map(|((date, _), _)| *date);
        let before = earlier.find_map(|date| mirrored.snapshot_on(date, newest));
        let from = before.map_or(Date::FIRST, |before| before.date.next());
        let places = (Place::start_of(from), Epoch(0))..(Place::start_of(date.next()), Epoch(0));
        let between = mirrored
            .cashflows
            .range(places)
            .filter(|((place, epoch), _)| mirrored.is_valid(*epoch, place.date(), newest));
        let between = between.map(|(_, row)| (row.kind, &row.cashflow));
        let last = before.and_then(|before| before.values.as_ref());
        let must = model::position_row(last, &snapshot.position, snapshot.values.as_ref(), between);
        let is = mirrored.series_on(*date, newest);
        let value = snapshot.values.map(|values| values.market_value).unwrap_or_default();
        let same = is.is_some_and(|is| {
            (is.epoch, is.revision) == (snapshot.epoch, snapshot.revision)
                && near(is.market_value, value)
                && same_row(&must, &is.series)
        });
        report.check(same, scene.event, || {
            let key = &mirrored.key;
            format!(
                "no news is under way, and the series of {key} on {date} must be {must:?} and \
                is {is:?}"
            )
        });
    }
}

/// A row of a portfolio is worth what readers see of its keys, and begins where the last one ends.
fn sum(mirror: &Mirror, id: &PortfolioId, date: Date, scene: &Scene<'_>, report: &mut RuleReport) {
    let mut value = None;
    for index in mirror.by_portfolio.get(id).into_iter().flatten() {
        let mirrored = &mirror.keys[*index];
        if let Some(row) = mirrored.series_on(date, mirrored.served()) {
            value = Some(value.unwrap_or(Amount::ZERO) + row.market_value);
        }
    }
    let rows = mirror.portfolios.get(id);
    let row = rows.and_then(|rows| rows.get(&date)).map(|row| &row.series);
    let before = rows.and_then(|rows| rows.range(..date).next_back());
    let begin = before.map_or(Amount::ZERO, |(_, row)| row.series.eod_market_value);
    let same = match (value, row) {
        (None, None) => true,
        (Some(value), Some(row)) => {
            near(value, row.eod_market_value) && near(begin, row.bod_market_value)
        }
        _ => false,
    };
    report.check(same, scene.event, || {
        format!(
            "no news is under way, and portfolio {id} must go from {begin} to {value:?} on \
            {date}, and its row is {row:?}"
        )
    });
}
