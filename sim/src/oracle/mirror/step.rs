//! What one event has changed, so that rules look at nothing else.
//!
//! # Invariants
//! - A key is in a step once, with its state before the event.

use std::rc::Rc;

use backdate_engine::domain::ids::{Currency, Key, PortfolioId, SecurityId};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::rows::KeyState;
use backdate_reports::recording::{Event, SimTime};

use super::{Freed, KeyIndex, RawRecord};

/// What of a key an event has changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touch {
    pub(crate) key: KeyIndex,
    /// Its row of `position_state` before.
    pub(crate) before: Option<Rc<KeyState>>,
    /// Whether a replay was open before.
    pub(crate) replay_before: bool,
    pub(crate) state: bool,
    pub(crate) timeline: bool,
    pub(crate) history: bool,
    pub(crate) lots: bool,
    pub(crate) cashflows: bool,
    /// Dates of which a row of its series was written or removed.
    pub(crate) series: Vec<Date>,
    /// Dates whose row of its series follows from something that has changed.
    pub(crate) series_due: Vec<Date>,
    /// The earliest date of which a valid snapshot was written or removed.
    pub(crate) snapshots_from: Option<Date>,
}

/// An input that a transaction has stored.
#[derive(Clone, Debug)]
pub(crate) enum InputChange {
    /// Of one key, from a date on.
    Key(Key, Date),
    /// Of a security, from a date on.
    Security(SecurityId, Date),
    /// Of a pair, from a date on.
    Pair(Currency, Currency, Date),
    /// Of all keys, from a date on.
    All(Date),
    /// Of a portfolio.
    Portfolio(PortfolioId),
}

/// What an event has changed.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// Keys, each once.
    pub(crate) touched: Vec<Touch>,
    /// The key of each change of a commit, if it is about one.
    pub(crate) rows: Vec<Option<KeyIndex>>,
    /// Stored inputs.
    pub(crate) inputs: Vec<InputChange>,
    /// Pending records that are gone, with the keys that they no longer cover.
    pub(crate) freed: Vec<Freed>,
    /// Snapshots that were written again under the same token.
    pub(crate) rewritten: Vec<(KeyIndex, Date)>,
    /// Rows of portfolios that were written or removed.
    pub(crate) sums: Vec<(PortfolioId, Date)>,
    /// Raw records that persistence has declared done.
    pub(crate) done: Vec<RawRecord>,
    /// Whether work has moved on.
    pub(crate) progress: bool,
}

impl Step {
    pub(super) fn clear(&mut self) {
        self.touched.clear();
        self.rows.clear();
        self.inputs.clear();
        self.freed.clear();
        self.rewritten.clear();
        self.sums.clear();
        self.done.clear();
        self.progress = false;
    }
}

/// Instant and number of an event, for "not since".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) seq: u64,
    pub(crate) at: SimTime,
}

impl Mark {
    pub(crate) fn of(event: &Event) -> Self {
        Self { seq: event.seq, at: event.at }
    }
}
