//! Triggers, fan-out jobs, and the search for the keys that use a subject.

use std::ops::Bound;
use std::rc::Rc;

use backdate_engine::defects::{Defect, is_planted};
use backdate_engine::domain::ids::{Key, PortfolioId, SecurityId};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::rows::{KeyState, ReprocessingJobRow, Subject, TriggerRow};
use backdate_engine::ports::store::statements::{
    DeleteReprocessingJob, DeleteTriggers, InsertReprocessingJobs, MoveReprocessingJob, ScanKeys,
    TakeReprocessingJob, TakeTriggers, UpsertTriggers,
};

use super::super::core::session::Session;
use super::super::core::storage::{Sequence, View};
use super::super::core::table::{Record, Version};
use super::super::derived::{consulted, pair};
use super::super::schema::FanoutRow;
use super::{Run, any, owned};

impl Run for UpsertTriggers {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        for row in self.rows {
            let merge = |old: &TriggerRow, new: &TriggerRow| {
                let earliest_date = match is_planted(Defect::TriggerTakesLastDate) {
                    true => new.earliest_date,
                    false => old.earliest_date.min(new.earliest_date),
                };
                Some(TriggerRow { subject: new.subject.clone(), earliest_date })
            };
            session.upsert(row, merge).await?;
        }
        Ok(())
    }
}

impl Run for TakeTriggers {
    async fn run(self, session: &mut Session) -> Result<Vec<TriggerRow>, StoreError> {
        let rows: Vec<Version<TriggerRow>> =
            session.read(|view| view.versions::<TriggerRow>(..).cloned().collect());
        session.lock_free(rows, self.limit as usize).await.map(owned)
    }
}

impl Run for DeleteTriggers {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let rows = any::<TriggerRow>(session, self.subjects);
        session.delete(rows, |_| true).await
    }
}

impl Run for InsertReprocessingJobs {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        for (subject, date) in self.jobs {
            if merged(session, &subject, date).await? {
                continue;
            }
            let id = session.next(Sequence::JobId)?;
            let row = Rc::new(ReprocessingJobRow { id, subject, date, cursor: None });
            session.insert(FanoutRow { row, visited: 0 }).await?;
        }
        Ok(())
    }
}

/// What planted defects do: a trigger is merged into a job of its subject that is there.
async fn merged(session: &mut Session, subject: &Subject, date: Date) -> Result<bool, StoreError> {
    let rearms = is_planted(Defect::LateFinisherCompletesRearmed);
    if !rearms && !is_planted(Defect::JobMergedIntoRunning) {
        return Ok(false);
    }
    let running = session.read(|view| {
        view.versions::<FanoutRow>(..).find(|job| job.row.row.subject == *subject).cloned()
    });
    let merge = |old: &FanoutRow| {
        let cursor = old.row.cursor.clone().filter(|_| !rearms);
        let row = ReprocessingJobRow { date: old.row.date.min(date), cursor, ..(*old.row).clone() };
        Some(FanoutRow { row: Rc::new(row), visited: old.visited })
    };
    Ok(!session.update(running, merge).await?.is_empty())
}

impl Run for TakeReprocessingJob {
    async fn run(self, session: &mut Session) -> Result<Option<ReprocessingJobRow>, StoreError> {
        let rows: Vec<Version<FanoutRow>> = session.read(|view| {
            let all = view.scan::<FanoutRow>(Bound::Unbounded, |_| true);
            all.map(|(_, version)| version.clone()).collect()
        });
        let taken = session.lock_free(rows, 1).await?;
        Ok(taken.first().map(|job| (*job.row).clone()))
    }
}

impl Run for MoveReprocessingJob {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let rows = any::<FanoutRow>(session, vec![self.id]);
        let moved = |old: &FanoutRow| {
            let row =
                ReprocessingJobRow { cursor: Some(self.cursor.clone()), ..(*old.row).clone() };
            Some(FanoutRow { row: Rc::new(row), visited: old.visited + 1 })
        };
        session.update(rows, moved).await?;
        Ok(())
    }
}

impl Run for DeleteReprocessingJob {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let rows = any::<FanoutRow>(session, vec![self.id]);
        session.delete(rows, |_| true).await
    }
}

impl Run for ScanKeys {
    async fn run(self, session: &mut Session) -> Result<Vec<Key>, StoreError> {
        let ScanKeys { subject, after, limit } = self;
        let limit = limit as usize;
        if is_planted(Defect::FanoutScansValuedKeysOnly) {
            return Ok(session.read(|view| scan_valued(view, &subject, after.as_ref(), limit)));
        }
        Ok(session.read_storage(|storage, tx| {
            let after = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            match (&subject, storage.derived(tx)) {
                (Subject::Pair(a, b), Some(derived)) => {
                    let keys = derived.pairs.get(&pair(a, b));
                    let keys =
                        keys.into_iter().flat_map(|keys| keys.range((after, Bound::Unbounded)));
                    keys.take(limit).cloned().collect()
                }
                _ => scan(storage.view(tx), &subject, after, limit),
            }
        }))
    }
}

/// What a planted defect does: leaves out keys of which nothing is valued at the moment.
fn scan_valued(view: View<'_>, subject: &Subject, after: Option<&Key>, limit: usize) -> Vec<Key> {
    let mut keys = scan(view, subject, after.map_or(Bound::Unbounded, Bound::Excluded), usize::MAX);
    keys.retain(|key| {
        view.get::<KeyState>(key).is_some_and(|state| state.valued_through.is_some())
    });
    keys.truncate(limit);
    keys
}

/// The plain search; a pair needs a look at every key.
fn scan(view: View<'_>, subject: &Subject, after: Bound<&Key>, limit: usize) -> Vec<Key> {
    let of = |state: &Rc<KeyState>| state.key.clone();
    match subject {
        Subject::Calendar => {
            view.range::<KeyState>((after.cloned(), Bound::Unbounded)).take(limit).map(of).collect()
        }
        Subject::Portfolio(id) => {
            let first = Key { portfolio_id: id.clone(), security_id: SecurityId::new("") };
            let from = match after {
                Bound::Excluded(key) if *key >= first => Bound::Excluded(key.clone()),
                _ => Bound::Included(first),
            };
            let keys = view.range::<KeyState>((from, Bound::Unbounded));
            keys.take_while(|state| state.key.portfolio_id == *id).take(limit).map(of).collect()
        }
        Subject::Security(id) => {
            let first =
                Key { portfolio_id: PortfolioId::new(""), security_id: SecurityId::new("") };
            let from = match after {
                Bound::Excluded(key) => Bound::Excluded((id.clone(), key.clone())),
                _ => Bound::Included((id.clone(), first)),
            };
            let of_security = id.clone();
            let keys = view.scan::<KeyState>(from, move |entry| *entry == of_security);
            keys.take(limit).map(|(_, version)| version.row.pk()).collect()
        }
        Subject::Pair(a, b) => {
            let wanted = pair(a, b);
            let keys = view.range::<KeyState>((after.cloned(), Bound::Unbounded));
            let uses = |state: &&Rc<KeyState>| consulted(view, state).contains(&wanted);
            keys.filter(uses).take(limit).map(of).collect()
        }
    }
}
