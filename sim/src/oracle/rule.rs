//! What rules have in common: their names, their reports, and what they see.
//!
//! # Invariants
//! - The first violation of a rule keeps its evidence, later ones are counted.

use std::fmt;

use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::{Position, Values};
use backdate_reports::recording::{Event, SimTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mirror::{Mirror, Step};

/// A rule. Its name never changes its meaning.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum RuleId {
    /// Convergence.
    G1,
    /// No lost reprocessing.
    G2,
    /// Fencing.
    G3,
    /// Monotone tokens and watermarks.
    G4,
    /// Exactly-once effect.
    G5,
    /// Conservation.
    G6,
    /// Nothing lost.
    G7,
    /// Liveness.
    G8,
    /// Reads.
    G9,
    /// Bounded work.
    G10,
}

impl RuleId {
    /// All of them.
    pub const ALL: [RuleId; 10] = [
        RuleId::G1,
        RuleId::G2,
        RuleId::G3,
        RuleId::G4,
        RuleId::G5,
        RuleId::G6,
        RuleId::G7,
        RuleId::G8,
        RuleId::G9,
        RuleId::G10,
    ];

    /// The one with that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|id| id.to_string() == text)
    }

    /// What it guarantees, in a word or two.
    pub const fn title(self) -> &'static str {
        match self {
            RuleId::G1 => "convergence",
            RuleId::G2 => "no lost reprocessing",
            RuleId::G3 => "fencing",
            RuleId::G4 => "monotone",
            RuleId::G5 => "exactly-once effect",
            RuleId::G6 => "conservation",
            RuleId::G7 => "nothing lost",
            RuleId::G8 => "liveness",
            RuleId::G9 => "reads",
            RuleId::G10 => "bounded work",
        }
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Where and how a rule was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// When.
    pub at: SimTime,
    /// Number of the event; of what is found at the end, one past the last.
    pub event: u64,
    /// What is wrong.
    pub text: String,
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleReport {
    /// The rule.
    pub id: RuleId,
    /// How often it was evaluated.
    pub checks: u64,
    /// How often it was broken.
    pub violations: u64,
    /// The first time.
    pub first: Option<Evidence>,
}

impl RuleReport {
    pub(super) fn new(id: RuleId) -> Self {
        Self { id, checks: 0, violations: 0, first: None }
    }

    /// Counts an evaluation and, unless it holds, a violation.
    pub(super) fn check(&mut self, holds: bool, event: &Event, text: impl FnOnce() -> String) {
        self.checks += 1;
        if !holds {
            self.violate_at(event.at, event.seq, text);
        }
    }

    /// As [`RuleReport::check`], at the end of a run.
    pub(super) fn check_end(&mut self, holds: bool, end: &End<'_>, text: impl FnOnce() -> String) {
        self.checks += 1;
        if !holds {
            self.violate_at(end.last, end.events, text);
        }
    }

    pub(super) fn violate_at(&mut self, at: SimTime, event: u64, text: impl FnOnce() -> String) {
        self.violations += 1;
        if self.first.is_none() {
            let text = text();
            self.first = Some(Evidence { at, event, text });
        }
    }
}

/// An event, the state after it, and what it has changed.
pub(super) struct Scene<'a> {
    pub(super) event: &'a Event,
    pub(super) mirror: &'a Mirror,
    pub(super) step: &'a Step,
}

/// The end of a run.
pub(super) struct End<'a> {
    pub(super) settled: bool,
    /// Whether a broken rule has ended the run.
    pub(super) cut_short: bool,
    pub(super) last: SimTime,
    pub(super) events: u64,
    pub(super) mirror: &'a Mirror,
}

/// A rule.
pub(super) trait Rule {
    /// Sees an event.
    fn observe(&mut self, scene: &Scene<'_>, report: &mut RuleReport);

    /// Sees the end.
    fn finish(&mut self, _end: &End<'_>, _report: &mut RuleReport) {}
}

/// Two right implementations may differ by some 1e-10; judges allow 1e-8.
const TOLERANCE: i128 = Amount::ONE.raw() / 100_000_000;

pub(super) fn near(a: Amount, b: Amount) -> bool {
    (a.raw() - b.raw()).abs() <= TOLERANCE
}

pub(super) fn near_option(a: Option<Amount>, b: Option<Amount>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => near(a, b),
        (a, b) => a == b,
    }
}

pub(super) fn near_position(a: &Position, b: &Position) -> bool {
    near(a.quantity, b.quantity)
        && near(a.cost_basis, b.cost_basis)
        && near(a.cost_basis_local, b.cost_basis_local)
}

pub(super) fn near_values(a: Option<&Values>, b: Option<&Values>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => {
            near(a.market_value, b.market_value)
                && near(a.market_value_local, b.market_value_local)
                && near(a.unrealized_gain_loss, b.unrealized_gain_loss)
                && near(a.unrealized_gain_loss_local, b.unrealized_gain_loss_local)
        }
        (a, b) => a.is_none() && b.is_none(),
    }
}
