//! The store port on a real PostgreSQL: each statement against what its documentation says, in a
//! schema of the test's own.
//!
//! That interleaved statements behave as in the simulator is not tested here; the contract suite
//! and the differential fuzzer do that.

mod backfill;
mod faults;
mod fold;
mod jobs;
mod persistence;
mod reads;
mod rows;
mod schema;
mod series;
mod triggers;
mod valuation;

use backdate_engine::adapters::postgres::{Store, migrate};
use backdate_engine::ports::store::{Statement, Store as _};

use crate::services::{FreshSchema, Services};

/// A migrated schema and a store on it.
struct Bench {
    schema: FreshSchema,
    store: Store,
}

impl Bench {
    /// Runs one statement in a transaction of its own.
    async fn run<S: Statement>(&self, statement: S) -> S::Output {
        let name = S::NAME;
        self.store.query(statement).await.unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// Runs a test on a fresh, migrated schema.
fn on(test: impl AsyncFnOnce(&Bench)) {
    runtime().block_on(async {
        let schema = Services::get().fresh_schema();
        migrate(schema.config()).await.expect("the schema can be made");
        let store = Store::new(schema.config(), "postgres-adapter-test");
        test(&Bench { schema, store }).await;
    });
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be built")
}
