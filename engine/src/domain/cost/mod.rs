//! Folding a timeline to costs, lots and positions.
//!
//! The fold goes over a key's transactions in the order of their places, one pass, and decides for
//! each whether it can be applied. It is resumable: position and open lots are its whole state, so
//! it continues from any stored prefix. It looks up no rates and reads no store.
//!
//! # Invariants
//! - Open lots minus debt is the position's quantity, after every step. There is no field for the
//!   debt: while one is open there are no lots, and it is the negative quantity.
//! - A transaction that is parked touches nothing.
//! - [`Fold::reapply`] of an outcome leaves the state that [`Fold::apply`] left when it gave it:
//!   both end in the same step.
//! - What is stored fits 18 digits before the point.

mod lots;
#[cfg(test)]
mod tests;

pub use lots::LotChanges;

use lots::Lots;

use super::money::{Amount, FxRate};
use super::records::{
    CostMethod, Costs, Fate, Lot, Outcome, ParkReason, Place, Position, Terms, TransactionType,
};

/// The policy that keeps accrued interest out of the cost of a BUY.
const EXCLUDE_ACCRUED_INTEREST: &str = "BUY_EXCLUDE_ACCRUED_INTEREST_FROM_BOOK_COST";

/// The running state of a fold: position and open lots.
#[derive(Clone, Debug)]
pub struct Fold {
    method: Option<CostMethod>,
    position: Position,
    lots: Lots,
}

/// What a transaction does to the units of its key.
#[derive(Clone, Copy, Debug)]
enum Movement {
    /// A new lot.
    Added(Amount),
    /// Sold or transferred out: needs lots, at their cost.
    Consumed(Amount),
    /// Taken whatever the lots cost, and even where there are none.
    Taken(Amount),
    /// No units.
    None,
}

impl Movement {
    fn of(terms: &Terms) -> Self {
        match terms.kind {
            TransactionType::Buy | TransactionType::TransferIn => Self::Added(terms.quantity),
            TransactionType::Deposit => Self::Added(terms.gross),
            TransactionType::Sell | TransactionType::TransferOut => Self::Consumed(terms.quantity),
            TransactionType::Withdrawal | TransactionType::Fee | TransactionType::Tax => {
                Self::Taken(terms.gross)
            }
            TransactionType::Dividend | TransactionType::Interest => Self::None,
        }
    }

    /// By how much the position's quantity changes.
    fn signed(self) -> Amount {
        match self {
            Self::Added(units) => units,
            Self::Consumed(units) | Self::Taken(units) => -units,
            Self::None => Amount::ZERO,
        }
    }
}

impl Fold {
    /// Continues from a stored state. `method` is none while the portfolio is not known.
    pub fn new(method: Option<CostMethod>, position: Position, lots: Vec<Lot>) -> Self {
        Self { method, position, lots: Lots::new(lots) }
    }

    /// Continues from a stored position and its oldest lots: the first one, and those after it
    /// until they hold the units that [`Fold::lots_needed`] has named; no lots where it has named
    /// none.
    pub fn resumed(
        method: Option<CostMethod>,
        position: Position,
        needed: Option<Amount>,
        lots: Vec<Lot>,
    ) -> Self {
        let is_pooled = method == Some(CostMethod::Avco);
        let are_all = needed.is_some_and(|units| is_pooled || units >= position.quantity);
        Self { method, position, lots: Lots::oldest(lots, are_all) }
    }

    /// Units that the oldest lots of a position must hold in order to fold these: what is taken
    /// from them at the most. None where no lot needs to be known, as each that is added is one of
    /// its own; a pool must be known whatever happens to it.
    pub fn lots_needed<'a>(
        method: Option<CostMethod>,
        position: &Position,
        terms: impl IntoIterator<Item = &'a Terms>,
    ) -> Option<Amount> {
        let taken = terms.into_iter().filter_map(|terms| match Movement::of(terms) {
            Movement::Consumed(units) | Movement::Taken(units) => Some(units),
            Movement::Added(_) | Movement::None => None,
        });
        let of_pool = (method == Some(CostMethod::Avco)).then_some(Amount::ZERO);
        let taken = taken.reduce(|sum, units| sum + units).or(of_pool)?;
        // What there is not cannot be taken: it is parked, or a debt.
        Some(taken.min(position.quantity.max(Amount::ZERO)))
    }

    /// Folds a transaction with the rate that was looked up for it.
    ///
    /// The outcome keeps the rate also where the transaction is parked for another reason, so that
    /// a new rate can be compared with it.
    pub fn apply(&mut self, place: &Place, terms: &Terms, fx: Option<FxRate>) -> Outcome {
        let parked = |fx, reason| Outcome { fx, fate: Fate::Parked(reason) };
        if self.method.is_none() {
            return parked(None, ParkReason::NoPortfolio);
        }
        let Some(rate) = fx else {
            return parked(None, ParkReason::NoFx);
        };
        if let Movement::Consumed(units) = Movement::of(terms)
            && units > self.position.quantity
        {
            // While lots are open there is no debt, so the quantity is what they hold; with a debt
            // it is negative, and they hold nothing.
            return parked(fx, ParkReason::NoLots);
        }
        let Some((costs, position)) = self.costs(terms, &rate).and_then(|costs| {
            let position = self.position_after(terms, &costs);
            (fits(&position) && self.pool_fits(terms, &costs)).then_some((costs, position))
        }) else {
            return parked(fx, ParkReason::Overflow);
        };
        self.commit(place, terms, &costs, position);
        Outcome { fx, fate: Fate::Applied(costs) }
    }

    /// Folds a transaction whose outcome is known and stays.
    pub fn reapply(&mut self, place: &Place, terms: &Terms, outcome: &Outcome) {
        if let Fate::Applied(costs) = &outcome.fate {
            let position = self.position_after(terms, costs);
            self.commit(place, terms, costs, position);
        }
    }

    /// The position now.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The open lots now, oldest first.
    pub fn lots(&self) -> impl Iterator<Item = &Lot> {
        self.lots.iter()
    }

    /// Units that were taken without lots to take them from.
    pub fn debt(&self) -> Amount {
        (-self.position.quantity).max(Amount::ZERO)
    }

    /// Takes what has changed in the lots.
    pub fn take_lot_changes(&mut self) -> LotChanges {
        self.lots.take_changes()
    }

    /// The cost columns; none where one of them does not fit.
    fn costs(&self, terms: &Terms, fx: &FxRate) -> Option<Costs> {
        let transaction_fx_rate = fx.rounded()?;
        let (gross, net) = match terms.kind {
            TransactionType::Buy => (terms.gross, terms.gross + terms.fee + booked_interest(terms)),
            TransactionType::TransferIn
            | TransactionType::Deposit
            | TransactionType::Fee
            | TransactionType::Tax => (terms.gross, terms.gross),
            TransactionType::Withdrawal => (-terms.gross, -terms.gross),
            TransactionType::Dividend | TransactionType::Interest => (Amount::ZERO, Amount::ZERO),
            TransactionType::Sell | TransactionType::TransferOut => {
                return self.costs_of_sale(terms, fx, transaction_fx_rate);
            }
        };
        let gain = (terms.kind == TransactionType::Buy).then_some(Amount::ZERO);
        Some(Costs {
            gross_cost: gross.convert(fx)?,
            net_cost: net.convert(fx)?,
            net_cost_local: net.stored()?,
            realized_gain_loss: gain,
            realized_gain_loss_local: gain,
            transaction_fx_rate,
        })
    }

    /// The cost columns of what consumes lots: what they cost, and for a SELL what that gained.
    fn costs_of_sale(&self, terms: &Terms, fx: &FxRate, rate_column: Amount) -> Option<Costs> {
        let (cost, cost_local) = self.lots.cost_of(terms.quantity);
        let (mut gain, mut gain_local) = (None, None);
        if terms.kind == TransactionType::Sell {
            let proceeds = terms.gross - terms.fee;
            gain = Some((proceeds.convert(fx)? - cost).stored()?);
            gain_local = Some((proceeds - cost_local).stored()?);
        }
        let net_cost = (-cost).stored()?;
        Some(Costs {
            gross_cost: net_cost,
            net_cost,
            net_cost_local: (-cost_local).stored()?,
            realized_gain_loss: gain,
            realized_gain_loss_local: gain_local,
            transaction_fx_rate: rate_column,
        })
    }

    fn position_after(&self, terms: &Terms, costs: &Costs) -> Position {
        let quantity = self.position.quantity + Movement::of(terms).signed();
        if quantity.is_zero() {
            return Position::default();
        }
        // The columns of FEE and TAX show what was paid; the position loses it.
        let (base, local) = match terms.kind {
            TransactionType::Fee | TransactionType::Tax => (-costs.net_cost, -costs.net_cost_local),
            _ => (costs.net_cost, costs.net_cost_local),
        };
        Position {
            quantity,
            cost_basis: self.position.cost_basis + base,
            cost_basis_local: self.position.cost_basis_local + local,
        }
    }

    /// Whether the pool can take a new lot; a lot of its own costs what the columns have shown to
    /// fit, and no lot has more units than the position.
    fn pool_fits(&self, terms: &Terms, costs: &Costs) -> bool {
        match (self.method, Movement::of(terms), self.lots.iter().next()) {
            (Some(CostMethod::Avco), Movement::Added(_), Some(pool)) => {
                (pool.cost + costs.net_cost).stored().is_some()
                    && (pool.cost_local + costs.net_cost_local).stored().is_some()
            }
            _ => true,
        }
    }

    /// The step that applying and reapplying share.
    fn commit(&mut self, place: &Place, terms: &Terms, costs: &Costs, position: Position) {
        match Movement::of(terms) {
            Movement::Added(units) => self.add_lot(place, units, costs),
            Movement::Consumed(units) | Movement::Taken(units) => self.lots.take(units),
            Movement::None => {}
        }
        self.position = position;
        debug_assert_eq!(
            self.lots.quantity_if_few().unwrap_or(position.quantity + self.debt()),
            position.quantity + self.debt(),
            "open lots minus debt is the position's quantity"
        );
    }

    /// Opens a lot with what is left of it once it has repaid the debt.
    fn add_lot(&mut self, place: &Place, units: Amount, costs: &Costs) {
        let mut lot = Lot {
            opened: place.clone(),
            quantity: units,
            cost: costs.net_cost,
            cost_local: costs.net_cost_local,
        };
        let debt = self.debt();
        if debt >= units {
            return;
        }
        lots::reduce(&mut lot, debt);
        if self.method == Some(CostMethod::Avco) {
            self.lots.add_to_pool(lot);
        } else {
            self.lots.push(lot);
        }
    }
}

/// Accrued interest as far as it belongs to the cost of a BUY.
fn booked_interest(terms: &Terms) -> Amount {
    if terms.policy.as_deref() == Some(EXCLUDE_ACCRUED_INTEREST) {
        Amount::ZERO
    } else {
        terms.accrued_interest
    }
}

fn fits(position: &Position) -> bool {
    [position.quantity, position.cost_basis, position.cost_basis_local]
        .iter()
        .all(|stored| stored.stored().is_some())
}
