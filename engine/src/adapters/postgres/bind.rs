//! Rows as parameters: one array per column, encoded straight from the rows.

use sqlx::postgres::{PgArguments, PgBindIterExt, PgHasArrayType};
use sqlx::query::Query;
use sqlx::{Encode, Postgres, Type};

use super::types::Whole;
use crate::domain::ids::Key;
use crate::domain::money::{Amount, FxRate};
use crate::domain::records::{Costs, Fate, Outcome, Place, Position, Terms};

/// A statement and its parameters so far.
pub(super) type Call = Query<'static, Postgres, PgArguments>;

/// Starts a statement.
pub(super) fn sql(text: &'static str) -> Call {
    sqlx::query(text)
}

/// Binds columns of rows.
pub(super) trait Bind: Sized {
    /// One array with what `of` finds in each row.
    fn each<'r, R, T>(self, rows: &'r [R], of: impl Fn(&'r R) -> T) -> Self
    where
        T: Encode<'r, Postgres> + Type<Postgres> + PgHasArrayType;

    /// Two arrays: portfolios, securities.
    fn keys<'r, R>(self, rows: &'r [R], key: impl Fn(&'r R) -> &'r Key) -> Self {
        self.each(rows, |row| &key(row).portfolio_id).each(rows, |row| &key(row).security_id)
    }

    /// Three arrays: instants, ranks, transactions.
    fn places<'r, R>(self, rows: &'r [R], place: impl Fn(&'r R) -> &'r Place) -> Self {
        self.each(rows, |row| place(row).at)
            .each(rows, |row| i16::from(place(row).rank))
            .each(rows, |row| &place(row).transaction_id)
    }

    /// Three arrays: quantities and costs.
    fn positions<'r, R>(self, rows: &'r [R], position: impl Fn(&'r R) -> &'r Position) -> Self {
        self.each(rows, |row| position(row).quantity)
            .each(rows, |row| position(row).cost_basis)
            .each(rows, |row| position(row).cost_basis_local)
    }

    /// Nine arrays: what follows the instant.
    fn terms<'r, R>(self, rows: &'r [R], terms: impl Fn(&'r R) -> &'r Terms) -> Self {
        self.each(rows, |row| terms(row).kind.as_str())
            .each(rows, |row| terms(row).quantity)
            .each(rows, |row| terms(row).price)
            .each(rows, |row| terms(row).gross)
            .each(rows, |row| terms(row).fee)
            .each(rows, |row| terms(row).accrued_interest)
            .each(rows, |row| terms(row).policy.as_deref())
            .each(rows, |row| &terms(row).trade_currency)
            .each(rows, |row| &terms(row).currency)
    }

    /// Twelve arrays: fate, rate and costs.
    fn outcomes<'r, R>(
        self,
        rows: &'r [R],
        outcome: impl Fn(&'r R) -> Option<&'r Outcome>,
    ) -> Self {
        let factor = |row, number: usize| {
            let rate = outcome(row).and_then(|outcome| outcome.fx.as_ref());
            factors(rate)[number].map(Whole)
        };
        self.each(rows, |row| outcome(row).map(|outcome| costs(outcome).is_some()))
            .each(rows, |row| outcome(row).and_then(park_reason))
            .each(rows, |row| factor(row, 0))
            .each(rows, |row| factor(row, 1))
            .each(rows, |row| factor(row, 2))
            .each(rows, |row| factor(row, 3))
            .each(rows, |row| cost(outcome(row), |costs| Some(costs.gross_cost)))
            .each(rows, |row| cost(outcome(row), |costs| Some(costs.net_cost)))
            .each(rows, |row| cost(outcome(row), |costs| Some(costs.net_cost_local)))
            .each(rows, |row| cost(outcome(row), |costs| costs.realized_gain_loss))
            .each(rows, |row| cost(outcome(row), |costs| costs.realized_gain_loss_local))
            .each(rows, |row| cost(outcome(row), |costs| Some(costs.transaction_fx_rate)))
    }
}

impl Bind for Call {
    fn each<'r, R, T>(self, rows: &'r [R], of: impl Fn(&'r R) -> T) -> Self
    where
        T: Encode<'r, Postgres> + Type<Postgres> + PgHasArrayType,
    {
        self.bind(rows.iter().map(of).bind_iter())
    }
}

/// Two factors above the line of a rate and two below it, the second of each only if it is not 1.
pub(super) fn factors(rate: Option<&FxRate>) -> [Option<i128>; 4] {
    let Some(rate) = rate else { return [None; 4] };
    let (above, below) = rate.parts();
    let second = |factor: i128| (factor != 1).then_some(factor);
    [Some(above[0]), second(above[1]), Some(below[0]), second(below[1])]
}

/// The costs of what was applied.
pub(super) fn costs(outcome: &Outcome) -> Option<&Costs> {
    match &outcome.fate {
        Fate::Applied(costs) => Some(costs),
        Fate::Parked(_) => None,
    }
}

/// Why it was parked.
pub(super) fn park_reason(outcome: &Outcome) -> Option<&'static str> {
    match &outcome.fate {
        Fate::Applied(_) => None,
        Fate::Parked(reason) => Some(reason.as_str()),
    }
}

fn cost(outcome: Option<&Outcome>, of: fn(&Costs) -> Option<Amount>) -> Option<Amount> {
    of(costs(outcome?)?)
}
