//! A session: one client's transaction, statement by statement, at READ COMMITTED.
//!
//! A statement reads all that it needs in one go when it starts: that is its snapshot. Then it
//! locks row by row, and may wait. After a wait only the locked row is read again, in its newest
//! version, and its predicate is checked on that; what was joined, filtered or sub-selected stays
//! as old as it was, and a row that did not match at the start is not visited.
//!
//! It refuses to go on after an error: the transaction is rolled back at once and its locks are
//! free (PostgreSQL releases them too, and then answers 25P02 until the ROLLBACK).
//!
//! # Invariants
//! - A session that is dropped leaves no lock, no waiter and no uncommitted version.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::domain::time::Timestamp;
use backdate_engine::ports::store::StoreError;
use smol_str::SmolStr;

use super::super::control::ServerControl;
use super::super::profile::Profile;
use super::super::schema::Stored;
use super::locks::{LockMode, Request, Served, Waiter};
use super::storage::{Committed, Sequence, Storage, View, Wish};
use super::table::{Look, TxId, Version};
use crate::world::Process;
use crate::world::sync::timeout;

/// What a session needs of its server.
#[derive(Clone)]
pub struct Backend {
    /// The database.
    pub storage: Rc<RefCell<Storage>>,
    /// The server's process: its clock.
    pub process: Process,
    /// Timeouts.
    pub profile: Rc<Profile>,
    /// Faults.
    pub control: ServerControl,
}

/// A session.
pub struct Session {
    backend: Backend,
    client: SmolStr,
    tx: Option<TxId>,
    begun: Timestamp,
    rows: u64,
}

impl Session {
    /// A session of that client.
    pub fn new(backend: Backend, client: SmolStr) -> Self {
        Self { backend, client, tx: None, begun: Timestamp::from_micros(0), rows: 0 }
    }

    /// The process that it serves.
    pub fn client(&self) -> &SmolStr {
        &self.client
    }

    /// Opens the transaction if none is open; every statement does so.
    pub fn begin(&mut self) -> TxId {
        if let Some(tx) = self.tx {
            return tx;
        }
        let tx = self.backend.storage.borrow_mut().begin();
        self.begun = self.backend.process.wall();
        self.tx = Some(tx);
        tx
    }

    /// `now()`: the start of the transaction.
    pub fn now(&self) -> Timestamp {
        self.begun
    }

    /// `now()` and a number of milliseconds.
    pub fn now_plus_ms(&self, ms: u64) -> Timestamp {
        let micros = i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.begun.micros().saturating_add(micros))
    }

    /// Whether a transaction is open.
    pub fn is_open(&self) -> bool {
        self.tx.is_some()
    }

    /// Whether the transaction has changed anything.
    pub fn has_written(&self) -> bool {
        self.tx.is_some_and(|tx| self.backend.storage.borrow().has_written(tx))
    }

    /// Commits.
    pub fn commit(&mut self) -> Committed {
        match self.tx.take() {
            Some(tx) => self.backend.storage.borrow_mut().commit(tx),
            None => Committed::default(),
        }
    }

    /// Rolls back.
    pub fn abort(&mut self) {
        if let Some(tx) = self.tx.take() {
            self.backend.storage.borrow_mut().abort(tx);
        }
    }

    /// Rows written or returned since this was last asked.
    pub fn take_rows(&mut self) -> u64 {
        std::mem::take(&mut self.rows)
    }

    /// Counts returned rows.
    pub fn count_rows(&mut self, rows: usize) {
        self.rows += rows as u64;
    }

    /// Reads at one instant. What it returns is the statement's snapshot.
    pub fn read<T>(&mut self, read: impl FnOnce(View<'_>) -> T) -> T {
        let tx = self.begin();
        read(self.backend.storage.borrow().view(tx))
    }

    /// Reads with the whole storage at hand.
    pub fn read_storage<T>(&mut self, read: impl FnOnce(&Storage, TxId) -> T) -> T {
        let tx = self.begin();
        read(&self.backend.storage.borrow(), tx)
    }

    /// `nextval`.
    ///
    /// # Errors
    /// `ReadOnly`.
    pub fn next(&mut self, sequence: Sequence) -> Result<u64, StoreError> {
        self.check_writable()?;
        Ok(self.backend.storage.borrow_mut().next(sequence))
    }

    /// Writes to the tables outside of the transaction, as a migration would have.
    pub fn provide(&mut self, write: impl FnOnce(&mut Storage)) {
        write(&mut self.backend.storage.borrow_mut());
    }

    /// Locks rows one by one, in that order, and returns the newest version of those that still are
    /// there and match.
    ///
    /// # Errors
    /// `Deadlock`, `Timeout`, `ReadOnly`.
    pub async fn lock<R: Stored>(
        &mut self,
        rows: Vec<Version<R>>,
        mode: LockMode,
        skip_locked: bool,
        matches: impl Fn(&R) -> bool,
    ) -> Result<Vec<Rc<R>>, StoreError> {
        let mut locked = Vec::with_capacity(rows.len());
        for row in rows {
            let wish = Wish { mode, skip_locked, implicit: false };
            if let Some(version) = self.lock_one(&row, wish).await?
                && matches(&version.row)
            {
                locked.push(version.row);
            }
        }
        Ok(locked)
    }

    /// Locks the first rows that nobody else holds and that match, at most `limit`.
    ///
    /// # Errors
    /// `ReadOnly`.
    pub async fn lock_free<R: Stored>(
        &mut self,
        rows: impl IntoIterator<Item = Version<R>>,
        limit: usize,
    ) -> Result<Vec<Rc<R>>, StoreError> {
        let mut locked = Vec::new();
        for row in rows {
            if locked.len() == limit {
                break;
            }
            let wish = Wish { mode: LockMode::Update, skip_locked: true, implicit: false };
            locked.extend(self.lock_one(&row, wish).await?.map(|version| version.row));
        }
        Ok(locked)
    }

    /// `UPDATE` of rows in that order: locks each, then writes what `change` makes of its newest
    /// version (none: the row does not match any more).
    ///
    /// # Errors
    /// `Deadlock`, `Timeout`, `ReadOnly`.
    pub async fn update<R: Stored>(
        &mut self,
        rows: impl IntoIterator<Item = Version<R>>,
        mut change: impl FnMut(&R) -> Option<R>,
    ) -> Result<Vec<Rc<R>>, StoreError> {
        let mut updated = Vec::new();
        for row in rows {
            let wish = Wish { mode: LockMode::NoKeyUpdate, skip_locked: false, implicit: true };
            let Some(version) = self.lock_one(&row, wish).await? else { continue };
            if let Some(new) = change(&version.row) {
                let new = Rc::new(new);
                self.write(new.pk(), Some(Version { id: version.id, row: Rc::clone(&new) }));
                updated.push(new);
            }
        }
        Ok(updated)
    }

    /// `DELETE` of rows in that order.
    ///
    /// # Errors
    /// `Deadlock`, `Timeout`, `ReadOnly`.
    pub async fn delete<R: Stored>(
        &mut self,
        rows: Vec<Version<R>>,
        matches: impl Fn(&R) -> bool,
    ) -> Result<(), StoreError> {
        for row in rows {
            let wish = Wish { mode: LockMode::Update, skip_locked: false, implicit: true };
            if let Some(version) = self.lock_one(&row, wish).await?
                && matches(&version.row)
            {
                self.write::<R>(version.row.pk(), None);
            }
        }
        Ok(())
    }

    /// `INSERT`.
    ///
    /// # Errors
    /// `UniqueViolation`, after another inserter of the key has committed, and those of a wait.
    pub async fn insert<R: Stored>(&mut self, row: R) -> Result<(), StoreError> {
        if self.insert_or_ignore(row).await? {
            return Ok(());
        }
        Err(StoreError::UniqueViolation(format!("{}_pkey", R::NAME)))
    }

    /// `INSERT .. ON CONFLICT DO NOTHING`; whether it was inserted. It waits for any transaction
    /// that has written the row, even if it only updated it (PostgreSQL checks with a dirty
    /// snapshot), but not for one that merely locks it.
    ///
    /// # Errors
    /// Those of a wait.
    pub async fn insert_or_ignore<R: Stored>(&mut self, row: R) -> Result<bool, StoreError> {
        self.check_writable()?;
        let pk = row.pk();
        let settled = self.settled::<R>(&pk).await?;
        self.reach();
        if settled.is_some() {
            return Ok(false);
        }
        let id = self.backend.storage.borrow_mut().new_row();
        self.write(pk, Some(Version { id, row: Rc::new(row) }));
        Ok(true)
    }

    /// `INSERT .. ON CONFLICT DO UPDATE`: `merge` makes of the old row and the excluded one the new
    /// row (none: its WHERE does not hold; the row stays locked).
    ///
    /// # Errors
    /// Those of a wait.
    pub async fn upsert<R: Stored>(
        &mut self,
        row: R,
        merge: impl Fn(&R, &R) -> Option<R>,
    ) -> Result<(), StoreError> {
        self.check_writable()?;
        let pk = row.pk();
        loop {
            let Some(old) = self.settled::<R>(&pk).await? else {
                self.reach();
                let id = self.backend.storage.borrow_mut().new_row();
                self.write(pk, Some(Version { id, row: Rc::new(row) }));
                return Ok(());
            };
            let wish = Wish { mode: LockMode::NoKeyUpdate, skip_locked: false, implicit: false };
            let locked = self.lock_one(&old, wish).await?;
            self.reach();
            // A row that was deleted during the wait does not conflict any more: try again.
            let Some(version) = locked else { continue };
            if let Some(new) = merge(&version.row, &row) {
                self.write(pk, Some(Version { id: version.id, row: Rc::new(new) }));
            }
            return Ok(());
        }
    }

    /// The version that conflicts with an insertion of the key, once nobody else is writing it.
    async fn settled<R: Stored>(&mut self, pk: &R::Pk) -> Result<Option<Version<R>>, StoreError> {
        let tx = self.begin();
        loop {
            let waiter = {
                let mut storage = self.backend.storage.borrow_mut();
                let storage = &mut *storage;
                match R::table(&storage.tables).look(pk, tx) {
                    Look::Written(other, row) => storage.locks.await_end(other, tx, row),
                    Look::Settled(version) => return Ok(version.cloned()),
                }
            };
            self.wait(waiter).await?;
        }
    }

    /// Lets those go on who queue for a row that was kept for this transaction.
    fn reach(&mut self) {
        let tx = self.begin();
        self.backend.storage.borrow_mut().locks.reach(tx);
    }

    /// Locks a row; its newest version, or none if it is gone or was skipped.
    pub async fn lock_one<R: Stored>(
        &mut self,
        row: &Version<R>,
        wish: Wish,
    ) -> Result<Option<Version<R>>, StoreError> {
        self.check_writable()?;
        let tx = self.begin();
        let pk = row.row.pk();
        let request = self.backend.storage.borrow_mut().request::<R>(tx, row.id, &pk, wish);
        match request {
            Request::Granted => {}
            Request::Refused => return Ok(None),
            Request::Waits(waiter) => self.wait(waiter).await?,
        }
        let storage = self.backend.storage.borrow();
        let newest = R::table(&storage.tables).get(&pk, tx);
        Ok(newest.filter(|newest| newest.id == row.id).cloned())
    }

    fn write<R: Stored>(&mut self, pk: R::Pk, version: Option<Version<R>>) {
        let tx = self.begin();
        self.rows += 1;
        self.backend.storage.borrow_mut().write(tx, pk, version);
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        if self.backend.control.refuses_writes() {
            return Err(StoreError::ReadOnly);
        }
        Ok(())
    }

    /// Waits in a queue; looks for a deadlock once, when the deadlock timeout has passed, as
    /// PostgreSQL does: of a cycle, the one that looks is the victim.
    async fn wait(&mut self, waiter: Rc<Waiter>) -> Result<(), StoreError> {
        let tx = self.begin();
        let _leave = LeaveQueue { storage: &self.backend.storage, tx };
        let process = &self.backend.process;
        let deadlock = Duration::from_millis(self.backend.profile.deadlock_timeout_ms);
        let lock = match self.backend.profile.lock_timeout_ms {
            0 => Duration::MAX,
            ms => Duration::from_millis(ms),
        };
        let mut served = Served(waiter);
        if timeout(process, deadlock.min(lock), &mut served).await.is_some() {
            return Ok(());
        }
        if lock <= deadlock {
            return Err(StoreError::Timeout);
        }
        if self.backend.storage.borrow().locks.is_deadlocked(tx) {
            return Err(StoreError::Deadlock);
        }
        if lock == Duration::MAX {
            served.await;
            return Ok(());
        }
        timeout(process, lock - deadlock, served).await.ok_or(StoreError::Timeout)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.abort();
    }
}

/// Leaves the queue if the wait ends without success.
struct LeaveQueue<'a> {
    storage: &'a RefCell<Storage>,
    tx: TxId,
}

impl Drop for LeaveQueue<'_> {
    fn drop(&mut self) {
        self.storage.borrow_mut().locks.cancel(self.tx);
    }
}
