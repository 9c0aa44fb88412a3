//! What survives a crash of the database server.

use std::cell::RefCell;
use std::rc::Rc;

use backdate_engine::ports::store::rows::Table;
use backdate_engine::ports::store::statements::Backlog;
use backdate_reports::recording::Row;

use super::core::storage::Storage;
use super::core::table::TxId;
use super::statements::reads::backlog;

/// The disk of a server; it is handed to each life of the process. Clones are the same.
#[derive(Clone, Default)]
pub struct Disk(Rc<RefCell<Storage>>);

impl Disk {
    /// An empty database.
    pub fn new() -> Self {
        Self::default()
    }

    /// All committed rows of a table in primary-key order.
    pub fn rows(&self, table: Table) -> Vec<Row> {
        self.0.borrow().tables.dump(table)
    }

    /// Work that is not done, by what is committed.
    pub fn backlog(&self) -> Backlog {
        // No transaction has this number, so nothing uncommitted is seen.
        backlog(&self.0.borrow(), TxId(0))
    }

    /// Transactions that are open.
    pub fn open_transactions(&self) -> usize {
        self.0.borrow().open_transactions()
    }

    /// Transactions that wait for a lock or for another transaction.
    pub fn waiting_transactions(&self) -> usize {
        self.0.borrow().locks.waiting()
    }

    pub(super) fn storage(&self) -> Rc<RefCell<Storage>> {
        Rc::clone(&self.0)
    }
}
