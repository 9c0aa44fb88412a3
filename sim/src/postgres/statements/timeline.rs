//! Timeline, history, lots, epochs and replays of a key.

use std::ops::Bound;
use std::rc::Rc;

use backdate_engine::defects::{Defect, is_planted};
use backdate_engine::domain::ids::{Epoch, Key, TransactionId};
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::Place;
use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::rows::{
    CashflowRow, EpochRow, HistoryRow, KeyState, LotRow, PositionSeriesRow, ReplayRow, SnapshotRow,
    TimelineRow,
};
use backdate_engine::ports::store::statements::{
    DeleteHistory, DeleteLots, DeleteReplays, DeleteTimeline, FindReplays, InsertHistory,
    PruneEpochs, ReadLots, ReadReplays, ReadTimelineChunks, ReadTimelineEntries, ReadTimelineHeads,
    ReadTimelineRates, ReadTimelineTails, ResetLots, TimelineRate, UpsertEpochs, UpsertLots,
    UpsertReplays, UpsertTimeline,
};

use super::super::core::session::Session;
use super::super::core::storage::View;
use super::super::core::table::Version;
use super::super::schema::{first_place, last_place};
use super::validity::Validity;
use super::{Run, any, read_any};

/// All places of a key.
pub(super) fn places_of(key: &Key) -> std::ops::RangeInclusive<(Key, Place)> {
    (key.clone(), first_place())..=(key.clone(), last_place())
}

/// All history rows of a key from a place on.
pub(super) fn history_from(
    key: &Key,
    from: Place,
) -> std::ops::RangeInclusive<(Key, Place, Epoch)> {
    (key.clone(), from, Epoch(0))..=(key.clone(), last_place(), Epoch(u32::MAX))
}

/// Epochs of a key up to one of them.
fn epochs_of(key: &Key, last: Epoch) -> std::ops::RangeInclusive<(Key, Epoch)> {
    (key.clone(), Epoch(0))..=(key.clone(), last)
}

/// A transaction's entry in the timeline of a key.
pub(super) fn entry<'a>(
    view: View<'a>,
    key: &Key,
    id: &TransactionId,
) -> impl Iterator<Item = &'a Version<TimelineRow>> + use<'a> {
    let wanted = (key.clone(), id.clone());
    let from = Bound::Included((wanted.clone(), (key.clone(), first_place())));
    view.scan::<TimelineRow>(from, move |entry| *entry == wanted).map(|(_, version)| version)
}

impl Run for ReadTimelineEntries {
    async fn run(mut self, session: &mut Session) -> Result<Vec<TimelineRow>, StoreError> {
        self.ids.sort_unstable();
        self.ids.dedup();
        Ok(session.read(|view| {
            let found = self.ids.iter().flat_map(|(key, id)| entry(view, key, id));
            found.map(|version| (*version.row).clone()).collect()
        }))
    }
}

impl Run for ReadTimelineTails {
    async fn run(self, session: &mut Session) -> Result<Vec<(Key, Place)>, StoreError> {
        Ok(session.read(|view| {
            let last = |key: &Key| view.range::<TimelineRow>(places_of(key)).next_back();
            let place = |row: &Rc<TimelineRow>| (row.key.clone(), row.place.clone());
            self.keys.iter().filter_map(last).map(place).collect()
        }))
    }
}

impl Run for ReadTimelineHeads {
    async fn run(self, session: &mut Session) -> Result<Vec<TimelineRow>, StoreError> {
        Ok(session.read(|view| {
            let first = |key: &Key| view.range::<TimelineRow>(places_of(key)).next();
            self.keys.iter().filter_map(first).map(|row| (**row).clone()).collect()
        }))
    }
}

impl Run for ReadTimelineChunks {
    async fn run(self, session: &mut Session) -> Result<Vec<TimelineRow>, StoreError> {
        let limit = self.limit as usize;
        Ok(session.read(|view| {
            let chunk = |(key, after): &(Key, Option<Place>)| {
                let from = match after {
                    Some(after) => Bound::Excluded((key.clone(), after.clone())),
                    None => Bound::Included((key.clone(), first_place())),
                };
                let to = Bound::Included((key.clone(), last_place()));
                view.range::<TimelineRow>((from, to)).take(limit)
            };
            self.ranges.iter().flat_map(chunk).map(|row| (**row).clone()).collect()
        }))
    }
}

impl Run for ReadTimelineRates {
    async fn run(self, session: &mut Session) -> Result<Vec<TimelineRate>, StoreError> {
        fn rate(row: &Rc<TimelineRow>) -> Option<TimelineRate> {
            Some(TimelineRate {
                key: row.key.clone(),
                place: row.place.clone(),
                trade_currency: row.terms.trade_currency.clone(),
                fx: row.outcome.as_ref()?.fx,
            })
        }
        Ok(session.read(|view| {
            let of_key = |(key, from): &(Key, Date)| {
                let range = (key.clone(), Place::start_of(*from))..=(key.clone(), last_place());
                view.range::<TimelineRow>(range).filter_map(rate)
            };
            self.keys.iter().flat_map(of_key).collect()
        }))
    }
}

impl Run for DeleteTimeline {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let rows = any::<TimelineRow>(session, self.places);
        session.delete(rows, |_| true).await
    }
}

/// The second unique index is checked against what is visible; whoever writes a key's timeline
/// holds the key, so nobody else can be inserting the same transaction.
fn refuse_second_place(session: &mut Session, row: &TimelineRow) -> Result<(), StoreError> {
    let is_elsewhere = session.read(|view| {
        let mut entries = entry(view, &row.key, &row.place.transaction_id);
        entries.any(|version| version.row.place != row.place)
    });
    if is_elsewhere {
        return Err(StoreError::UniqueViolation("position_timeline_transaction_id_key".to_owned()));
    }
    Ok(())
}

impl Run for UpsertTimeline {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        for row in self.new {
            refuse_second_place(session, &row)?;
            session.insert(row).await?;
        }
        for row in self.rows {
            refuse_second_place(session, &row)?;
            session.upsert(row, |_, new: &TimelineRow| Some(new.clone())).await?;
        }
        Ok(())
    }
}

impl Run for InsertHistory {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        for row in self.rows {
            if is_planted(Defect::HistoryUpserted) {
                session.upsert(row, |_, new: &HistoryRow| Some(new.clone())).await?;
                continue;
            }
            session.insert(row).await?;
        }
        Ok(())
    }
}

impl Run for DeleteHistory {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let rows: Vec<Version<HistoryRow>> = session.read(|view| {
            let of_range = |(key, epoch, from): &(Key, Epoch, Date)| {
                let epoch = *epoch;
                let range = history_from(key, Place::start_of(*from));
                view.versions::<HistoryRow>(range).filter(move |v| v.row.epoch == epoch)
            };
            self.ranges.iter().flat_map(of_range).cloned().collect()
        });
        session.delete(rows, |_| true).await?;
        if is_planted(Defect::CashflowSurvivesRewind) {
            return Ok(());
        }
        let flows: Vec<Version<CashflowRow>> = session.read(|view| {
            let of_range = |(key, epoch, from): &(Key, Epoch, Date)| {
                let epoch = *epoch;
                let range = history_from(key, Place::start_of(*from));
                view.versions::<CashflowRow>(range).filter(move |v| v.row.epoch == epoch)
            };
            self.ranges.iter().flat_map(of_range).cloned().collect()
        });
        session.delete(flows, |_| true).await
    }
}

impl Run for PruneEpochs {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let (mut history, mut flows) = (Vec::new(), Vec::new());
        let (mut snapshots, mut series, mut cuts) = (Vec::new(), Vec::new(), Vec::new());
        session.read(|view| {
            for (key, epoch) in &self.keys {
                let validity = Validity::of(view, key, *epoch);
                let Some(from) = validity.first_cut() else { continue };
                let rows = view.versions::<HistoryRow>(history_from(key, Place::start_of(from)));
                let is_old = |v: &&Version<HistoryRow>| {
                    validity.is_outlived(v.row.epoch, v.row.place.date())
                };
                history.extend(rows.filter(is_old).cloned());
                let rows = view.versions::<CashflowRow>(history_from(key, Place::start_of(from)));
                let is_old = |v: &&Version<CashflowRow>| {
                    validity.is_outlived(v.row.epoch, v.row.place.date())
                };
                flows.extend(rows.filter(is_old).cloned());
                let last = (key.clone(), Date::from_days(i32::MAX), Epoch(u32::MAX));
                let range = (key.clone(), from, Epoch(0))..=last;
                let rows = view.versions::<PositionSeriesRow>(range.clone());
                let is_old =
                    |v: &&Version<PositionSeriesRow>| validity.is_outlived(v.row.epoch, v.row.date);
                series.extend(rows.filter(is_old).cloned());
                let rows = view.versions::<SnapshotRow>(range);
                let is_old =
                    |v: &&Version<SnapshotRow>| validity.is_outlived(v.row.epoch, v.row.date);
                snapshots.extend(rows.filter(is_old).cloned());
                let rows = view.versions::<EpochRow>(epochs_of(key, *epoch));
                let is_old =
                    |v: &&Version<EpochRow>| validity.is_outlived(v.row.epoch, v.row.from_date);
                cuts.extend(rows.filter(is_old).cloned());
            }
        });
        session.delete(history, |_| true).await?;
        session.delete(flows, |_| true).await?;
        session.delete(snapshots, |_| true).await?;
        session.delete(series, |_| true).await?;
        session.delete(cuts, |_| true).await
    }
}

fn lots_of(session: &mut Session, keys: &[Key]) -> Vec<Version<LotRow>> {
    session.read(|view| {
        keys.iter().flat_map(|key| view.versions::<LotRow>(places_of(key))).cloned().collect()
    })
}

impl Run for ReadLots {
    async fn run(mut self, session: &mut Session) -> Result<Vec<LotRow>, StoreError> {
        self.keys.sort_unstable();
        Ok(session.read(|view| {
            let mut lots: Vec<LotRow> = Vec::new();
            for (key, units) in &self.keys {
                let mut held: Option<Amount> = None;
                for row in view.range::<LotRow>(places_of(key)) {
                    if held.is_some_and(|held| held >= *units) {
                        break;
                    }
                    held = Some(held.unwrap_or_default() + row.lot.quantity);
                    lots.push((**row).clone());
                }
            }
            lots
        }))
    }
}

impl Run for DeleteLots {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let rows = any::<LotRow>(session, self.lots);
        session.delete(rows, |_| true).await
    }
}

impl Run for ResetLots {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let rows = lots_of(session, &self.keys);
        session.delete(rows, |_| true).await
    }
}

impl Run for UpsertLots {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        for row in self.new {
            session.insert(row).await?;
        }
        for row in self.rows {
            session.upsert(row, |_, new: &LotRow| Some(new.clone())).await?;
        }
        Ok(())
    }
}

impl Run for UpsertEpochs {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let mut outdone = Vec::new();
        session.read(|view| {
            for row in &self.rows {
                let Some(state) = view.get::<KeyState>(&row.key) else { continue };
                let is_outdone = |v: &&Version<EpochRow>| {
                    v.row.epoch > state.served_epoch
                        && v.row.epoch < row.epoch
                        && v.row.from_date >= row.from_date
                };
                let rows = view.versions::<EpochRow>(epochs_of(&row.key, row.epoch));
                outdone.extend(rows.filter(is_outdone).map(|v| (v.clone(), row.from_date)));
            }
        });
        for (version, from) in outdone {
            session.delete(vec![version], |newest| newest.from_date >= from).await?;
        }
        for row in self.rows {
            let merge = |old: &EpochRow, new: &EpochRow| {
                Some(EpochRow { from_date: old.from_date.min(new.from_date), ..new.clone() })
            };
            session.upsert(row, merge).await?;
        }
        Ok(())
    }
}

impl Run for ReadReplays {
    async fn run(self, session: &mut Session) -> Result<Vec<ReplayRow>, StoreError> {
        Ok(read_any(session, self.keys))
    }
}

impl Run for FindReplays {
    async fn run(self, session: &mut Session) -> Result<Vec<Key>, StoreError> {
        let from = self.after.map_or(Bound::Unbounded, Bound::Excluded);
        let limit = self.limit as usize;
        Ok(session.read(|view| {
            let rows = view.range::<ReplayRow>((from, Bound::Unbounded)).take(limit);
            rows.map(|row| row.key.clone()).collect()
        }))
    }
}

impl Run for UpsertReplays {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        for row in self.rows {
            session.upsert(row, |_, new: &ReplayRow| Some(new.clone())).await?;
        }
        Ok(())
    }
}

impl Run for DeleteReplays {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let rows = any::<ReplayRow>(session, self.keys);
        session.delete(rows, |_| true).await
    }
}
