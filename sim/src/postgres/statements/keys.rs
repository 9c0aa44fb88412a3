//! The fence: locks and updates of `position_state`.

use std::rc::Rc;

use backdate_engine::defects::{Defect, is_planted};
use backdate_engine::domain::ids::Key;
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::rows::KeyState;
use backdate_engine::ports::store::statements::{LockKeys, RaiseValuedThrough, UpdateKeys};

use super::super::core::locks::LockMode;
use super::super::core::session::Session;
use super::super::core::table::Version;
use super::{Run, any, owned};

impl Run for LockKeys {
    async fn run(self, session: &mut Session) -> Result<Vec<KeyState>, StoreError> {
        let rows: Vec<Version<KeyState>> = match is_planted(Defect::KeysLockedInArrivalOrder) {
            true => session.read(|view| {
                self.keys.iter().filter_map(|key| view.version::<KeyState>(key).cloned()).collect()
            }),
            false => any::<KeyState>(session, self.keys),
        };
        session.lock(rows, LockMode::NoKeyUpdate, self.skip_locked, |_| true).await.map(owned)
    }
}

impl Run for UpdateKeys {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let now = session.now();
        // In array order, as a join with `unnest` locks.
        let found: Vec<(Version<KeyState>, KeyState)> = session.read(|view| {
            let old = |row: KeyState| Some((view.version::<KeyState>(&row.key)?.clone(), row));
            self.rows.into_iter().filter_map(old).collect()
        });
        for (old, new) in found {
            session.update([old], |_| Some(KeyState { updated_at: now, ..new.clone() })).await?;
        }
        Ok(())
    }
}

impl Run for RaiseValuedThrough {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let now = session.now();
        let keys: Vec<Key> = self.keys;
        let rows: Vec<Version<KeyState>> = session.read(|view| {
            keys.iter().filter_map(|key| view.version::<KeyState>(key).cloned()).collect()
        });
        let raise = |old: &KeyState| {
            let valued_through = old.valued_through.max(Some(self.date));
            Some(KeyState { valued_through, updated_at: now, ..old.clone() })
        };
        let _: Vec<Rc<KeyState>> = session.update(rows, raise).await?;
        Ok(())
    }
}
