//! A schedule on the real database. Who waits is asked of the server itself, on another connection.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use backdate_engine::adapters::postgres::Store;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::drive::{Session, Stage, drive};
use super::dump::TABLES;
use super::schedule::{SESSIONS_MAX, Schedule};
use crate::contract::real::RealStore;
use crate::contract::site::{Site, StoreSettings};

/// When a session looks for a deadlock; it does so once for each wait.
const DEADLOCK_TIMEOUT_MS: u64 = 5;
/// A wait that lasts so long has looked for a deadlock and found none.
const SETTLED_MS: f64 = 25.0;

/// Sessions by name: for how long each waits for a lock, if it does, and how many of its backends
/// are in a transaction.
const SESSIONS: &str = "SELECT a.application_name, \
    (max(extract(epoch FROM clock_timestamp() - l.waitstart)) * 1000)::float8, \
    count(DISTINCT a.pid) FILTER (WHERE a.xact_start IS NOT NULL), \
    bool_or(l.pid IS NOT NULL) \
    FROM pg_stat_activity a LEFT JOIN pg_locks l ON l.pid = a.pid AND NOT l.granted \
    WHERE a.datname = current_database() AND a.application_name LIKE 'session-%' GROUP BY 1";

/// The real database, for many schedules.
#[derive(Clone)]
pub(super) struct Real(Rc<Inner>);

struct Inner {
    site: RealStore,
    stores: Vec<Store>,
    monitor: RefCell<Option<PgConnection>>,
    empty: String,
}

/// What the server says of a session.
#[derive(Debug, Default)]
struct Seen {
    waits_ms: Option<f64>,
    is_waiting: bool,
    in_transaction: i64,
}

impl Real {
    /// Makes a database.
    pub(super) async fn new() -> Self {
        let settings =
            StoreSettings { deadlock_timeout_ms: DEADLOCK_TIMEOUT_MS, ..StoreSettings::default() };
        let site = RealStore::new(&settings).await;
        let stores = (0..SESSIONS_MAX).map(|n| site.client(&format!("session-{n}"), 1)).collect();
        let mut monitor = site.superuser().await;
        sqlx::raw_sql("SET search_path = engine; SET jit = off; SET synchronous_commit = off")
            .execute(&mut monitor)
            .await
            .expect("a superuser may");
        let empty = emptying(&mut monitor).await;
        Self(Rc::new(Inner { site, stores, monitor: RefCell::new(Some(monitor)), empty }))
    }

    /// The course of a schedule.
    pub(super) async fn run(&self, schedule: &Schedule) -> Vec<String> {
        let mut monitor = self.monitor();
        let empty = sqlx::raw_sql(AssertSqlSafe(self.0.empty.clone()));
        empty.execute(&mut monitor).await.expect("nobody is in the way");
        self.give_back(monitor);
        drive(self, schedule).await
    }

    /// The connection on which the server is asked; one question at a time.
    fn monitor(&self) -> PgConnection {
        self.0.monitor.borrow_mut().take().expect("one question at a time")
    }

    fn give_back(&self, monitor: PgConnection) {
        *self.0.monitor.borrow_mut() = Some(monitor);
    }

    async fn seen(&self) -> BTreeMap<String, Seen> {
        let mut monitor = self.monitor();
        let rows = sqlx::query(SESSIONS).fetch_all(&mut monitor).await.expect("it may ask");
        self.give_back(monitor);
        let seen = rows.into_iter().map(|row| {
            let seen =
                Seen { waits_ms: row.get(1), in_transaction: row.get(2), is_waiting: row.get(3) };
            (row.get(0), seen)
        });
        seen.collect()
    }
}

/// What empties all tables but those that a migration fills, and begins all numbers anew.
async fn emptying(monitor: &mut PgConnection) -> String {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'engine'::regnamespace \
         AND relkind = 'r' AND relname NOT IN ('outbox_lanes', '_sqlx_migrations')",
    )
    .fetch_all(&mut *monitor)
    .await
    .expect("a superuser may");
    let mut text: String =
        tables.iter().map(|table| format!("DELETE FROM \"{table}\"; ")).collect();
    text.push_str(
        "UPDATE outbox_lanes SET served = 0 WHERE served <> 0; \
         SELECT setval(s, 1, false) FROM unnest('{outbox_id,job_id,lane_served}'::regclass[]) s",
    );
    text
}

impl Stage for Real {
    type Store = Store;

    fn store(&self, session: usize) -> Store {
        self.0.stores[session].clone()
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.site.spawn(task);
    }

    async fn settle(&self, sessions: &[Session], is_loose: bool) {
        let is_busy = || sessions.iter().any(Session::is_busy);
        // Most statements take less than this.
        for _ in 0..3 {
            self.0.site.sleep(1).await;
            if !is_busy() && !is_loose {
                return;
            }
        }
        loop {
            let seen = self.seen().await;
            let nothing = Seen::default();
            let is_settled = sessions.iter().enumerate().all(|(n, session)| {
                let seen = seen.get(&format!("session-{n}")).unwrap_or(&nothing);
                match session.is_busy() {
                    true => seen.is_waiting && seen.waits_ms.is_some_and(|ms| ms >= SETTLED_MS),
                    // A session that was dropped takes a moment to end.
                    false => seen.in_transaction == i64::from(session.is_open()),
                }
            });
            if is_settled {
                return;
            }
            self.0.site.sleep(1).await;
        }
    }

    async fn rows(&self) -> Vec<String> {
        let mut monitor = self.monitor();
        let mut lines = Vec::new();
        for (table, query) in TABLES {
            let rows: Vec<String> =
                sqlx::query_scalar(query).fetch_all(&mut monitor).await.expect("it may read");
            lines.extend(rows.into_iter().map(|row| format!("{table:?} {row}")));
        }
        self.give_back(monitor);
        lines
    }
}
