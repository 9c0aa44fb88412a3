//! The open lots of a key, oldest first, and what of them has changed.
//!
//! Units are taken from the front and new lots go to the back, so what changed since the last
//! [`Lots::take_changes`] is at the two ends: no step and no taking looks at the lots in between.
//!
//! # Invariants
//! - Lots are in order of opening, and none is empty.
//! - Changed lots are the first one and an unbroken run at the back.
//! - The pool of AVCO is one lot, opened at the first date.

use std::collections::VecDeque;

use crate::domain::money::Amount;
use crate::domain::records::{Lot, Place};
use crate::domain::time::Date;

/// What a fold has changed in the lots since they were last taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LotChanges {
    /// Lots of which the store has no row, in order of opening.
    pub added: Vec<Lot>,
    /// Lots whose row is out of date, in order of opening.
    pub changed: Vec<Lot>,
    /// Opening places of lots that are consumed, in order.
    pub deleted: Vec<Place>,
}

/// Open lots, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Lots {
    open: VecDeque<OpenLot>,
    deleted: Vec<Place>,
    /// Whether all that are stored have been read.
    are_all: bool,
}

#[derive(Clone, Debug)]
struct OpenLot {
    lot: Lot,
    /// The store has a row of it.
    stored: bool,
    /// That row, if any, is out of date.
    changed: bool,
}

impl Lots {
    /// Lots as they are stored.
    pub(super) fn new(lots: Vec<Lot>) -> Self {
        Self::oldest(lots, true)
    }

    /// The oldest of those that are stored, or all of them: as many as will be taken.
    pub(super) fn oldest(mut lots: Vec<Lot>, are_all: bool) -> Self {
        lots.sort_by(|a, b| a.opened.cmp(&b.opened));
        let open =
            lots.into_iter().map(|lot| OpenLot { lot, stored: true, changed: false }).collect();
        Self { open, deleted: Vec::new(), are_all }
    }

    /// The lots, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Lot> {
        self.open.iter().map(|open| &open.lot)
    }

    /// Units of all lots, where all are known and so few that adding them up at every step is
    /// cheap.
    pub(super) fn quantity_if_few(&self) -> Option<Amount> {
        (self.are_all && self.open.len() <= 16).then(|| self.iter().map(|lot| lot.quantity).sum())
    }

    /// Base and local cost of the oldest units.
    pub(super) fn cost_of(&self, units: Amount) -> (Amount, Amount) {
        let mut left = units;
        let (mut cost, mut cost_local) = (Amount::ZERO, Amount::ZERO);
        for lot in self.iter() {
            if left.is_zero() {
                break;
            }
            let taken = lot.quantity.min(left);
            let (part, part_local) = part(lot, taken);
            left -= taken;
            cost += part;
            cost_local += part_local;
        }
        (cost, cost_local)
    }

    /// Takes the oldest units, as far as there are any.
    pub(super) fn take(&mut self, units: Amount) {
        let mut left = units;
        while !left.is_zero() {
            let Some(oldest) = self.open.front_mut() else {
                return;
            };
            if oldest.lot.quantity > left {
                reduce(&mut oldest.lot, left);
                oldest.changed = true;
                return;
            }
            left -= oldest.lot.quantity;
            if let Some(consumed) = self.open.pop_front()
                && consumed.stored
            {
                self.deleted.push(consumed.lot.opened);
            }
        }
    }

    /// Opens a lot of its own.
    pub(super) fn push(&mut self, lot: Lot) {
        debug_assert!(
            self.open.back().is_none_or(|last| last.lot.opened < lot.opened),
            "a timeline is folded in order"
        );
        self.open.push_back(OpenLot { lot, stored: false, changed: true });
    }

    /// Adds a lot to the pool.
    pub(super) fn add_to_pool(&mut self, lot: Lot) {
        let Some(pool) = self.open.front_mut() else {
            let opened = Place::start_of(Date::FIRST);
            // A pool that was consumed and comes again before anybody stored that is a change.
            let stored = self.deleted.pop().is_some();
            self.open.push_back(OpenLot { lot: Lot { opened, ..lot }, stored, changed: true });
            return;
        };
        pool.lot.quantity += lot.quantity;
        pool.lot.cost += lot.cost;
        pool.lot.cost_local += lot.cost_local;
        pool.changed = true;
    }

    /// Takes what has changed; a lot that came and went in between is no change.
    pub(super) fn take_changes(&mut self) -> LotChanges {
        let run = self.open.iter().rev().take_while(|open| open.changed).count();
        let first_of_run = self.open.len() - run;
        let (mut added, mut changed) = (Vec::with_capacity(run), Vec::new());
        let mut take = |open: &mut OpenLot| {
            let rows = if open.stored { &mut changed } else { &mut added };
            rows.push(open.lot.clone());
            open.stored = true;
            open.changed = false;
        };
        if first_of_run > 0
            && let Some(oldest) = self.open.front_mut()
            && oldest.changed
        {
            take(oldest);
        }
        self.open.range_mut(first_of_run..).for_each(take);
        LotChanges { added, changed, deleted: std::mem::take(&mut self.deleted) }
    }
}

/// Takes units out of a lot, with their part of its cost.
pub(super) fn reduce(lot: &mut Lot, taken: Amount) {
    let (cost, cost_local) = part(lot, taken);
    lot.quantity -= taken;
    lot.cost -= cost;
    lot.cost_local -= cost_local;
}

/// What a part of a lot costs; the last part costs the whole remainder.
fn part(lot: &Lot, taken: Amount) -> (Amount, Amount) {
    if taken == lot.quantity {
        return (lot.cost, lot.cost_local);
    }
    let share = |cost: Amount| {
        cost.share(taken, lot.quantity).expect("a part of a stored cost is not larger than it")
    };
    (share(lot.cost), share(lot.cost_local))
}
