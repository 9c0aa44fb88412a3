//! Folding a timeline to costs, lots and positions. (Signatures agreed; bodies to be filled.)

use super::money::FxRate;
use super::records::{CostMethod, Lot, Outcome, Place, Position, Terms};

/// The running state of a fold: position and open lots.
#[derive(Clone, Debug)]
pub struct Fold {}

/// What a fold has changed in the lots since they were last taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LotChanges {
    /// New or changed lots, in order of opening.
    pub upserted: Vec<Lot>,
    /// Opening places of lots that are consumed, in order.
    pub deleted: Vec<Place>,
}

impl Fold {
    /// Continues from a stored state. `method` is none while the portfolio is not known.
    pub fn new(_method: Option<CostMethod>, _position: Position, _lots: Vec<Lot>) -> Self {
        Self {}
    }

    /// Folds a transaction with the rate that was looked up for it.
    pub fn apply(&mut self, _place: &Place, _terms: &Terms, _fx: Option<FxRate>) -> Outcome {
        unimplemented!()
    }

    /// Folds a transaction whose outcome is known and stays.
    pub fn reapply(&mut self, _place: &Place, _terms: &Terms, _outcome: &Outcome) {}

    /// The position now.
    pub fn position(&self) -> Position {
        Position::default()
    }

    /// Takes what has changed in the lots.
    pub fn take_lot_changes(&mut self) -> LotChanges {
        LotChanges::default()
    }
}
