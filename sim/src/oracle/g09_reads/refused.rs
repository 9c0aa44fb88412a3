//! Answers that show nothing: they must have a reason.
//!
//! A portfolio that is unknown must not have been shown to anybody before the reader asked for it.
//! That the database is away must not be said as long as nothing has gone wrong. After a fault an
//! instance may still hold sessions that are dead without its knowing, each of which costs an
//! answer; so once all faults are over for a while, a reader may be told so only as often in a row.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use backdate_engine::domain::ids::PortfolioId;
use backdate_reports::recording::{Event, EventKind, SimTime};
use smol_str::SmolStr;

use super::super::mirror::Mark;
use super::super::rule::{RuleReport, Scene};
use super::Reads;

/// Portfolios that somebody was shown, and since when.
pub(super) type Shown = BTreeMap<PortfolioId, Mark>;

/// How long after a start, a death or a fault an instance may be without its database: until a
/// server has given a session up that is gone, and until the request that waited for it is overdue.
const AFTERMATH: Duration = Duration::from_secs(20);
/// Sessions that an instance may find dead one by one.
const SESSIONS_MAX: u32 = 8;

/// What may keep an instance from its database.
#[derive(Default)]
pub(super) struct Trouble {
    faults: u32,
    down: BTreeSet<SmolStr>,
    /// Whether anything has gone wrong so far.
    has_been: bool,
    /// When something last began or ended.
    last: SimTime,
}

impl Trouble {
    pub(super) fn note(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Started => drop(self.down.remove(&event.process)),
            EventKind::Crashed(_) => {
                self.down.insert(event.process.clone());
                self.has_been = true;
            }
            EventKind::Fault { begins: true, .. } => {
                self.faults += 1;
                self.has_been = true;
            }
            EventKind::Fault { begins: false, .. } => self.faults = self.faults.saturating_sub(1),
            _ => return,
        }
        self.last = event.at;
    }

    fn is_over(&self, at: SimTime) -> bool {
        self.faults == 0 && self.down.is_empty() && at.since(self.last) >= AFTERMATH
    }
}

impl Reads {
    /// A reader was shown nothing.
    pub(super) fn refused(
        &mut self,
        portfolio: &PortfolioId,
        code: &str,
        scene: &Scene<'_>,
        report: &mut RuleReport,
    ) {
        let reader = self.readers.entry(scene.event.process.clone()).or_default();
        let since = reader.last.replace(Mark::of(scene.event));
        match code {
            "unknown_portfolio" => {
                let shown = self.shown.get(portfolio).zip(since);
                let was_shown = shown.is_some_and(|(shown, since)| *shown <= since);
                report.check(!was_shown, scene.event, || {
                    format!("portfolio {portfolio} is unknown and was shown before")
                });
            }
            "database_unavailable" if self.trouble.is_over(scene.event.at) => {
                reader.turned_away += 1;
                let may_be = if self.trouble.has_been { SESSIONS_MAX } else { 0 };
                report.check(reader.turned_away <= may_be, scene.event, || {
                    let times = reader.turned_away;
                    format!("the database is said to be away, {times} times in a row, and is not")
                });
            }
            _ => {}
        }
    }
}
