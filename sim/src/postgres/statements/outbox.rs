//! The outbox: appended by whoever has news, emptied lane by lane.

use std::ops::Bound;
use std::rc::Rc;

use backdate_engine::defects::{Defect, is_planted};
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::rows::OutboxRow;
use backdate_engine::ports::store::statements::{
    AppendOutbox, DeleteOutbox, ReadOutbox, TakeOutboxLane,
};

use super::super::core::session::Session;
use super::super::core::storage::{Sequence, View};
use super::super::core::table::Version;
use super::super::schema::LaneRow;
use super::{Run, any};

impl Run for AppendOutbox {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        for row in self.rows {
            let id = session.next(Sequence::OutboxId)?;
            provide_lane(session, row.lane);
            session.insert(OutboxRow { id, ..row }).await?;
        }
        Ok(())
    }
}

/// Lanes are there before the first event, as a migration leaves them: an insertion of the lane by
/// the transaction itself would wait for the dispatcher that holds it.
fn provide_lane(session: &mut Session, lane: u32) {
    if session.read(|view| view.get::<LaneRow>(&lane).is_some()) {
        return;
    }
    session.provide(|storage| {
        let id = storage.new_row();
        storage.tables.lanes.load(Version { id, row: Rc::new(LaneRow { lane, served: 0 }) });
    });
}

/// Events of a lane in id order.
fn events<'a>(view: View<'a>, lane: u32) -> impl Iterator<Item = &'a Version<OutboxRow>> {
    let from = Bound::Included((lane, 0));
    view.scan::<OutboxRow>(from, move |entry| *entry == lane).map(|(_, version)| version)
}

impl Run for TakeOutboxLane {
    async fn run(self, session: &mut Session) -> Result<Option<u32>, StoreError> {
        let mut lanes: Vec<Version<LaneRow>> = session.read(|view| {
            let has_events =
                |lane: &&Version<LaneRow>| events(view, lane.row.lane).next().is_some();
            view.versions::<LaneRow>(..).filter(has_events).cloned().collect()
        });
        lanes.sort_by_key(|lane| lane.row.served);
        if is_planted(Defect::OutboxRowsClaimedSingly) {
            return Ok(lanes.first().map(|lane| lane.row.lane));
        }
        let Some(lane) = session.lock_free(lanes, 1).await?.pop() else { return Ok(None) };
        let served = session.next(Sequence::LaneServed)?;
        let rows = any::<LaneRow>(session, vec![lane.lane]);
        session.update(rows, |old| Some(LaneRow { served, ..old.clone() })).await?;
        Ok(Some(lane.lane))
    }
}

impl Run for ReadOutbox {
    async fn run(self, session: &mut Session) -> Result<Vec<OutboxRow>, StoreError> {
        let limit = self.limit as usize;
        if is_planted(Defect::OutboxRowsClaimedSingly) {
            let rows: Vec<Version<OutboxRow>> =
                session.read(|view| events(view, self.lane).cloned().collect());
            return session.lock_free(rows, limit).await.map(super::owned);
        }
        Ok(session.read(|view| {
            events(view, self.lane).take(limit).map(|event| (*event.row).clone()).collect()
        }))
    }
}

impl Run for DeleteOutbox {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let mut rows = any::<OutboxRow>(session, self.ids);
        rows.retain(|event| event.row.lane == self.lane);
        session.delete(rows, |_| true).await
    }
}
