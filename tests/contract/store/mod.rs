//! What a store promises: PostgreSQL at READ COMMITTED, whoever plays it.

mod cashflows;
mod claiming;
mod inserting;
mod locking;
mod series;
mod sessions;
mod visibility;

use backdate_engine::domain::ids::{Key, Revision};
use backdate_engine::ports::store::rows::KeyState;
use backdate_engine::ports::store::statements::{InsertKeys, LockKeys, UpdateKeys};
use backdate_engine::ports::store::{Store, StoreError, Transaction};

use super::contract;
use super::fixtures::{date, key, lock_keys};
use super::site::StoreSite;

/// Adds keys whose first transaction is on day 1.
async fn add_keys<S: Store>(store: &S, keys: &[&Key]) {
    let keys = keys.iter().map(|key| ((*key).clone(), date(1))).collect();
    store.query(InsertKeys { keys }).await.expect("nothing is in its way");
}

/// Locks a key and raises its revision.
async fn bump<T: Transaction>(transaction: &mut T, key: &Key) -> Result<(), StoreError> {
    let mut rows = transaction.execute(lock_keys(&[key])).await?;
    for row in &mut rows {
        row.revision = row.revision.next();
    }
    transaction.execute(UpdateKeys { rows }).await
}

/// A transaction that has raised the revision of a key.
async fn bumped<S: Store>(store: &S, key: &Key) -> S::Transaction {
    let mut transaction = store.begin().await.expect("the server is up");
    bump(&mut transaction, key).await.expect("nobody holds the key");
    transaction
}

/// The committed revision of a key, read without waiting for its holder.
async fn revision<S: Store>(store: &S, key: &Key) -> Option<Revision> {
    state(store, key).await.map(|state| state.revision)
}

/// The committed state of a key that nobody holds.
async fn state<S: Store>(store: &S, key: &Key) -> Option<KeyState> {
    let keys = LockKeys { keys: vec![key.clone()], skip_locked: true };
    store.query(keys).await.expect("nothing is in its way").pop()
}

fn one() -> Key {
    key("P1", "S1")
}

fn two() -> Key {
    key("P1", "S2")
}

fn revisions(states: &[KeyState]) -> Vec<(Key, Revision)> {
    states.iter().map(|state| (state.key.clone(), state.revision)).collect()
}
