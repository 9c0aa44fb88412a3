//! Which rows of older epochs are still valid for an epoch.
//!
//! A row of epoch e is valid for epoch E >= e if it is dated before the `from_date` of every epoch
//! in (e, E].

use backdate_engine::domain::ids::{Epoch, Key};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::rows::EpochRow;

use super::super::core::storage::View;

/// The cuts of a key's epochs up to one of them.
#[derive(Clone, Debug)]
pub(super) struct Validity {
    epoch: Epoch,
    /// `from_date` of the epochs up to `epoch`, ascending by epoch, each lowered to the earliest of
    /// all later ones.
    cuts: Vec<(Epoch, Date)>,
}

impl Validity {
    /// Reads them.
    pub(super) fn of(view: View<'_>, key: &Key, epoch: Epoch) -> Self {
        let range = (key.clone(), Epoch(0))..=(key.clone(), epoch);
        let rows = view.range::<EpochRow>(range);
        let mut cuts: Vec<(Epoch, Date)> = rows.map(|row| (row.epoch, row.from_date)).collect();
        for later in (1..cuts.len()).rev() {
            cuts[later - 1].1 = cuts[later - 1].1.min(cuts[later].1);
        }
        Self { epoch, cuts }
    }

    /// The first date on or after which rows of the epoch are not valid any more.
    fn cut(&self, row: Epoch) -> Option<Date> {
        let later = self.cuts.partition_point(|(epoch, _)| *epoch <= row);
        self.cuts.get(later).map(|(_, date)| *date)
    }

    /// Whether a row is valid for the epoch.
    pub(super) fn is_valid(&self, row: Epoch, date: Date) -> bool {
        row <= self.epoch && self.cut(row).is_none_or(|cut| date < cut)
    }

    /// Whether a row of an older epoch is not valid any more.
    pub(super) fn is_outlived(&self, row: Epoch, date: Date) -> bool {
        row < self.epoch && !self.is_valid(row, date)
    }

    /// The earliest date of which any row is not valid any more.
    pub(super) fn first_cut(&self) -> Option<Date> {
        self.cuts.first().map(|(_, date)| *date)
    }
}
