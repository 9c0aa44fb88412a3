//! One pass over a key's timeline: costs, lots, positions, and what is parked.
//!
//! A transaction whose results cannot be stored is found out halfway through them; the pass then
//! starts again, knowing that this one is parked. So what is parked has touched nothing.
//!
//! # Invariants
//! - Open lots minus debt is the quantity, after every row.

use std::collections::{BTreeSet, VecDeque};

use backdate_engine::domain::ids::Key;
use backdate_engine::domain::money::{Amount, FxRate};
use backdate_engine::domain::records::{
    CostMethod, Costs, Lot, ParkReason, Place, Position, Terms, TransactionType,
};
use backdate_engine::domain::time::Date;

use super::inputs::Inputs;

const WITHOUT_ACCRUED_INTEREST: &str = "BUY_EXCLUDE_ACCRUED_INTEREST_FROM_BOOK_COST";

/// What a transaction came to at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldedRow {
    /// Its place.
    pub place: Place,
    /// Its cost columns and the position after it, or why it is parked.
    pub outcome: Result<(Costs, Position), ParkReason>,
}

/// A folded timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoldedKey {
    /// One row per transaction, in order.
    pub rows: Vec<FoldedRow>,
    /// Open lots, oldest first; of AVCO one pool.
    pub lots: Vec<Lot>,
    /// The position at the end.
    pub position: Position,
}

impl FoldedKey {
    /// Date of the first applied transaction.
    pub fn first_applied(&self) -> Option<Date> {
        let applied = self.rows.iter().find(|row| row.outcome.is_ok())?;
        Some(applied.place.at.date())
    }

    /// Position at the end of a day, after the last applied transaction on or before it.
    pub fn position_on(&self, day: Date) -> Option<Position> {
        let until = self.rows.partition_point(|row| row.place.at.date() <= day);
        let applied = |row: &FoldedRow| row.outcome.as_ref().ok().map(|(_, position)| *position);
        self.rows[..until].iter().rev().find_map(applied)
    }
}

/// The running state of a pass.
#[derive(Default)]
struct Books {
    lots: VecDeque<Lot>,
    /// Units in all lots.
    open: Amount,
    debt: Amount,
    position: Position,
}

impl Inputs {
    /// Folds a key's timeline.
    pub fn fold(&self, key: &Key) -> FoldedKey {
        let Some(timeline) = self.timelines.get(key) else {
            return FoldedKey::default();
        };
        let places = timeline.iter().map(|(place, row)| (place, &row.transaction.terms));
        self.fold_terms(key, places)
    }

    /// Folds any timeline of a key, given in order.
    pub fn fold_terms<'a>(
        &self,
        key: &Key,
        timeline: impl Iterator<Item = (&'a Place, &'a Terms)> + Clone,
    ) -> FoldedKey {
        let mut overflowing = BTreeSet::new();
        loop {
            match self.pass(key, timeline.clone(), &overflowing) {
                Ok(folded) => return folded,
                Err(place) => drop(overflowing.insert(place)),
            }
        }
    }

    /// One pass; fails at the first transaction that overflows and was not known to.
    fn pass<'a>(
        &self,
        key: &Key,
        timeline: impl Iterator<Item = (&'a Place, &'a Terms)>,
        overflowing: &BTreeSet<Place>,
    ) -> Result<FoldedKey, Place> {
        let portfolio = self.portfolios.get(&key.portfolio_id);
        let mut books = Books::default();
        let mut rows = Vec::new();
        for (place, terms) in timeline {
            let admitted = match portfolio {
                None => Err(ParkReason::NoPortfolio),
                Some(row) => {
                    let base = &row.portfolio.base_currency;
                    self.rate(&terms.trade_currency, base, terms.at.date())
                        .ok_or(ParkReason::NoFx)
                        .map(|fx| (fx, row.portfolio.cost_basis_method))
                }
            };
            let outcome = match admitted {
                Err(reason) => Err(reason),
                Ok(_) if books.lacks_lots(terms) => Err(ParkReason::NoLots),
                Ok(_) if overflowing.contains(place) => Err(ParkReason::Overflow),
                Ok((fx, method)) => match books.apply(place, terms, &fx, method) {
                    Some(costs) => Ok((costs, books.position)),
                    None => return Err(place.clone()),
                },
            };
            let place = place.clone();
            rows.push(FoldedRow { place, outcome });
        }
        Ok(FoldedKey { rows, lots: books.lots.into(), position: books.position })
    }
}

impl Books {
    fn lacks_lots(&self, terms: &Terms) -> bool {
        let sells = matches!(terms.kind, TransactionType::Sell | TransactionType::TransferOut);
        sells && terms.quantity > self.open
    }

    /// Applies a transaction; none where a result cannot be stored.
    fn apply(
        &mut self,
        place: &Place,
        terms: &Terms,
        fx: &FxRate,
        method: CostMethod,
    ) -> Option<Costs> {
        use TransactionType as T;
        let gross = terms.gross;
        let base = |local: Amount| local.convert(fx);
        let none = (None, None);
        // Columns (gross, net, net local), change of the position (units, base, local), gains.
        let (columns, change, gains) = match terms.kind {
            T::Buy => {
                let local = gross + terms.fee + book_interest(terms);
                let net = base(local)?;
                self.open(place, terms.quantity, net, local, method)?;
                let nothing = (Some(Amount::ZERO), Some(Amount::ZERO));
                let columns = (base(gross)?, net, local);
                (columns, (terms.quantity, net, local), nothing)
            }
            T::TransferIn | T::Deposit => {
                let net = base(gross)?;
                let units = match terms.kind {
                    T::Deposit => gross,
                    _ => terms.quantity,
                };
                self.open(place, units, net, gross, method)?;
                ((net, net, gross), (units, net, gross), none)
            }
            T::Sell | T::TransferOut => {
                let (sold, sold_local) = self.take(terms.quantity)?;
                let gains = match terms.kind {
                    T::Sell => {
                        let proceeds = gross - terms.fee;
                        let gain = (base(proceeds)? - sold).stored()?;
                        (Some(gain), Some((proceeds - sold_local).stored()?))
                    }
                    _ => none,
                };
                let columns = (-sold, -sold, -sold_local);
                (columns, (-terms.quantity, -sold, -sold_local), gains)
            }
            T::Withdrawal | T::Fee | T::Tax => {
                let net = base(gross)?;
                let covered = gross.min(self.open);
                self.take(covered)?;
                self.debt = (self.debt + (gross - covered)).stored()?;
                let columns = match terms.kind {
                    T::Withdrawal => (-net, -net, -gross),
                    _ => (net, net, gross),
                };
                (columns, (-gross, -net, -gross), none)
            }
            T::Dividend | T::Interest => {
                let zero = (Amount::ZERO, Amount::ZERO, Amount::ZERO);
                (zero, zero, none)
            }
        };
        self.move_position(change)?;
        Some(Costs {
            gross_cost: columns.0.stored()?,
            net_cost: columns.1.stored()?,
            net_cost_local: columns.2.stored()?,
            realized_gain_loss: gains.0,
            realized_gain_loss_local: gains.1,
            transaction_fx_rate: fx.rounded()?,
        })
    }

    fn move_position(&mut self, change: (Amount, Amount, Amount)) -> Option<()> {
        let held = &mut self.position;
        held.quantity = (held.quantity + change.0).stored()?;
        held.cost_basis = (held.cost_basis + change.1).stored()?;
        held.cost_basis_local = (held.cost_basis_local + change.2).stored()?;
        if held.quantity.is_zero() {
            held.cost_basis = Amount::ZERO;
            held.cost_basis_local = Amount::ZERO;
        }
        Some(())
    }

    /// Opens a lot; it first repays a debt, its cost in proportion.
    fn open(
        &mut self,
        place: &Place,
        quantity: Amount,
        cost: Amount,
        cost_local: Amount,
        method: CostMethod,
    ) -> Option<()> {
        let mut lot = Lot { opened: place.clone(), quantity, cost, cost_local };
        let repaid = self.debt.min(quantity);
        self.debt -= repaid;
        take_part(&mut lot, repaid)?;
        if lot.quantity.is_zero() {
            return Some(());
        }
        self.open = (self.open + lot.quantity).stored()?;
        if method == CostMethod::Fifo {
            self.lots.push_back(lot);
            return Some(());
        }
        lot.opened = Place::start_of(Date::FIRST);
        if let Some(pool) = self.lots.pop_back() {
            lot.quantity = (lot.quantity + pool.quantity).stored()?;
            lot.cost = (lot.cost + pool.cost).stored()?;
            lot.cost_local = (lot.cost_local + pool.cost_local).stored()?;
        }
        self.lots.push_back(lot);
        Some(())
    }

    /// Takes units that are there, the oldest first; answers their cost, base and local.
    fn take(&mut self, quantity: Amount) -> Option<(Amount, Amount)> {
        let mut missing = quantity;
        let mut cost = (Amount::ZERO, Amount::ZERO);
        while !missing.is_zero() {
            let lot = self.lots.front_mut()?;
            let taken = missing.min(lot.quantity);
            let part = take_part(lot, taken)?;
            cost = (cost.0 + part.0, cost.1 + part.1);
            missing -= taken;
            if lot.quantity.is_zero() {
                self.lots.pop_front();
            }
        }
        self.open -= quantity;
        Some((cost.0.stored()?, cost.1.stored()?))
    }
}

/// Takes a part of a lot with its share of the costs, the last part with all that remains.
fn take_part(lot: &mut Lot, taken: Amount) -> Option<(Amount, Amount)> {
    let part = if taken == lot.quantity {
        (lot.cost, lot.cost_local)
    } else {
        (lot.cost.share(taken, lot.quantity)?, lot.cost_local.share(taken, lot.quantity)?)
    };
    lot.quantity -= taken;
    lot.cost -= part.0;
    lot.cost_local -= part.1;
    Some(part)
}

fn book_interest(terms: &Terms) -> Amount {
    match terms.policy.as_deref() {
        Some(WITHOUT_ACCRUED_INTEREST) => Amount::ZERO,
        _ => terms.accrued_interest,
    }
}
