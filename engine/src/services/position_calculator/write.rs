//! Writes what a batch of arrivals has decided, in the order in which every transaction goes over
//! the tables of a key.

use super::super::ServiceError;
use super::super::instance::Session;
use super::arrival::{Work, Writes};
use crate::ports::Ports;
use crate::ports::store::rows::{LotRow, ReplayRow};
use crate::ports::store::statements::{
    AppendOutbox, DeleteHistory, DeleteLots, DeleteTimeline, InsertHistory, ResetLots, UpdateKeys,
    UpsertEpochs, UpsertLots, UpsertReplays, UpsertTimeline,
};

pub(super) async fn write<P: Ports>(
    session: &mut Session<'_, P>,
    works: &mut [Work],
    writes: &mut Writes,
) -> Result<(), ServiceError> {
    if works.iter().all(|work| !work.touched) {
        return Ok(());
    }
    if !writes.deleted_timeline.is_empty() {
        let places = std::mem::take(&mut writes.deleted_timeline);
        session.run(DeleteTimeline { places }).await?;
    }
    let new = std::mem::take(&mut writes.new_timeline);
    let rows = std::mem::take(&mut writes.timeline).into_values().collect();
    session.run(UpsertTimeline { new, rows }).await?;
    let (history, events): (Vec<_>, Vec<_>) =
        std::mem::take(&mut writes.applied).into_iter().unzip();
    if !history.is_empty() {
        session.run(InsertHistory { rows: history }).await?;
    }
    let mut rebuilds = std::mem::take(&mut writes.rebuilds);
    let epochs = rebuilds.take_epochs();
    if !rebuilds.deleted_history.is_empty() {
        session.run(DeleteHistory { ranges: rebuilds.deleted_history }).await?;
    }
    if !rebuilds.reset_lots.is_empty() {
        session.run(ResetLots { keys: rebuilds.reset_lots }).await?;
    }
    write_lots(session, works).await?;
    if !epochs.is_empty() {
        session.run(UpsertEpochs { rows: epochs }).await?;
    }
    let touched = || works.iter().filter(|work| work.touched);
    let rows: Vec<ReplayRow> = touched().filter_map(|work| work.replay.clone()).collect();
    if !rows.is_empty() {
        session.run(UpsertReplays { rows }).await?;
    }
    let rows = touched().map(|work| work.state.clone()).collect();
    session.run(UpdateKeys { rows }).await?;
    if !events.is_empty() {
        session.run(AppendOutbox { rows: events }).await?;
    }
    Ok(())
}

/// Writes the lots of keys that were appended to (a rebuild starts without lots).
async fn write_lots<P: Ports>(
    session: &mut Session<'_, P>,
    works: &mut [Work],
) -> Result<(), ServiceError> {
    let (mut deleted, mut new, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for work in works.iter_mut().filter(|work| work.replay.is_none()) {
        let key = &work.state.key;
        let changes = work.fold.take_lot_changes();
        deleted.extend(changes.deleted.into_iter().map(|opened| (key.clone(), opened)));
        new.extend(changes.added.into_iter().map(|lot| LotRow { key: key.clone(), lot }));
        rows.extend(changes.changed.into_iter().map(|lot| LotRow { key: key.clone(), lot }));
    }
    if !deleted.is_empty() {
        session.run(DeleteLots { lots: deleted }).await?;
    }
    if !new.is_empty() || !rows.is_empty() {
        session.run(UpsertLots { new, rows }).await?;
    }
    Ok(())
}
