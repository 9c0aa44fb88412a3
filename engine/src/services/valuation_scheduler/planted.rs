//! Planted defects of the scheduler: watermarks that are written without the lock under which they
//! were computed, as `UPDATE .. WHERE key = .. [AND epoch = ..]` does it.

use std::collections::BTreeMap;

use super::super::ServiceError;
use super::super::instance::Session;
use crate::defects::{Defect, is_planted};
use crate::domain::ids::Key;
use crate::ports::Ports;
use crate::ports::store::rows::KeyState;
use crate::ports::store::statements::LockKeys;

/// Whether watermarks are written without the lock.
pub(super) fn writes_without_lock() -> bool {
    is_planted(Defect::AdvanceByKeyOnly) || is_planted(Defect::AdvanceComparesEpochOnly)
}

/// The newest states with watermark, status and served epoch of computed ones; as they are, and as
/// they are to be written.
pub(super) async fn overwritten<P: Ports>(
    session: &mut Session<'_, P>,
    before: &[KeyState],
    after: &[KeyState],
) -> Result<(Vec<KeyState>, Vec<KeyState>), ServiceError> {
    let changed = before.iter().zip(after).filter(|(old, new)| old != new);
    let computed: BTreeMap<Key, &KeyState> =
        changed.map(|(_, new)| (new.key.clone(), new)).collect();
    let keys: Vec<Key> = computed.keys().cloned().collect();
    let newest = session.run(LockKeys { keys, skip_locked: false }).await?;
    let written = newest.iter().map(|state| {
        let computed = computed[&state.key];
        if is_planted(Defect::AdvanceComparesEpochOnly) && computed.epoch != state.epoch {
            return state.clone();
        }
        KeyState {
            watermark_date: computed.watermark_date,
            status: computed.status,
            served_epoch: computed.served_epoch,
            input_version: state.input_version + 1,
            ..state.clone()
        }
    });
    let written = written.collect();
    Ok((newest, written))
}
