//! A schedule on the simulated database, in a world of its own.

use std::cell::RefCell;
use std::rc::Rc;

use backdate::postgres::client::Client;

use super::drive::{Session, Stage, drive};
use super::dump::{TABLES, line};
use super::schedule::Schedule;
use crate::contract::sim::{self, SimStore};
use crate::contract::site::{Site, StoreSettings};

/// Longer than all waits of a step, each of which looks for a deadlock once.
const SETTLED_MS: u64 = 300;

impl Stage for SimStore {
    type Store = Client;

    fn store(&self, _session: usize) -> Client {
        self.client(1)
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        Site::spawn(self, task);
    }

    async fn settle(&self, _sessions: &[Session], _is_loose: bool) {
        self.sleep(SETTLED_MS).await;
    }

    async fn rows(&self) -> Vec<String> {
        let rows = TABLES.iter().flat_map(|(table, _)| {
            let rows = self.database().disk.rows(*table);
            rows.into_iter().map(move |row| format!("{table:?} {}", line(&row)))
        });
        rows.collect()
    }
}

/// The course of a schedule in the world of a seed, which decides who goes on first where the end
/// of a transaction lets several go on.
pub(super) fn run(schedule: &Schedule, seed: u64) -> Vec<String> {
    let course = Rc::new(RefCell::new(Vec::new()));
    let (written, schedule) = (Rc::clone(&course), schedule.clone());
    let settings = StoreSettings { deadlock_timeout_ms: 20, ..StoreSettings::default() };
    sim::store_seeded(seed, settings, move |site| {
        let (written, schedule) = (Rc::clone(&written), schedule.clone());
        async move {
            let lines = drive(&site, &schedule).await;
            *written.borrow_mut() = lines;
        }
    });
    course.take()
}
