//! A schedule: what each session does, in which order. A function of its seed alone.

use std::fmt;

use backdate_engine::ports::store::AnyStatement;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::statements::{narrowed, prologue, statement};

/// Sessions at most.
pub(super) const SESSIONS_MAX: usize = 4;

/// What a session does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// A statement in its transaction, which begins if none is open.
    Execute(AnyStatement),
    /// A statement in a transaction of its own.
    Query(AnyStatement),
    /// Commits.
    Commit,
    /// Rolls back.
    RollBack,
    /// Drops the open transaction.
    Drop,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Execute(statement) => write!(f, "{statement:?}"),
            Act::Query(statement) => write!(f, "alone {statement:?}"),
            Act::Commit => f.write_str("commit"),
            Act::RollBack => f.write_str("rollback"),
            Act::Drop => f.write_str("drop"),
        }
    }
}

/// A schedule.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// Number of sessions.
    pub(super) sessions: usize,
    /// What is there before.
    pub(super) prologue: Vec<AnyStatement>,
    /// Session and act; an act of a session that waits is left out.
    pub(super) steps: Vec<(usize, Act)>,
}

impl Schedule {
    /// The schedule of a seed.
    pub(super) fn generate(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // One session alone shows what statements answer, several how they meet.
        let sessions = rng.random_range(1..=SESSIONS_MAX);
        let prologue = prologue(&mut rng);
        let count = rng.random_range(10..=26);
        let mut open = [false; SESSIONS_MAX];
        let mut steps = Vec::with_capacity(count);
        // A schedule keeps to a few kinds of statements, so that they meet.
        let theme = rng.random_range(0..super::statements::THEMES);
        let statement = |rng: &mut ChaCha8Rng| match sessions {
            1 => statement(rng, theme),
            _ => narrowed(statement(rng, theme)),
        };
        for _ in 0..count {
            let session = rng.random_range(0..sessions);
            let act = match rng.random_range(0..100) {
                0..9 if open[session] => Act::Commit,
                9..13 if open[session] => Act::RollBack,
                13..16 if open[session] => Act::Drop,
                16..30 if !open[session] => Act::Query(statement(&mut rng)),
                _ => Act::Execute(statement(&mut rng)),
            };
            open[session] = matches!(act, Act::Execute(_));
            steps.push((session, act));
        }
        Self { sessions, prologue, steps }
    }
}
