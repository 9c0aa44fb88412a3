//! Migrations, and what `ping` says about a schema of another version.

use backdate_engine::adapters::postgres::{Migrated, Store, drop_schema, migrate, schema_exists};
use backdate_engine::ports::store::statements::{ReadBacklog, ReadOutbox};
use backdate_engine::ports::store::{Store as _, StoreError};

use sqlx::AssertSqlSafe;

use super::{on, runtime};
use crate::services::Services;

#[test]
fn a_migration_is_applied_once() {
    runtime().block_on(async {
        let mut schema = Services::get().fresh_schema().config().clone();
        schema.schema.push_str(" \"odd\" name");
        assert_eq!(schema_exists(&schema).await, Ok(false));
        let first = migrate(&schema).await.expect("migrated");
        assert_eq!(first.applied.first().map(String::as_str), Some("0001_tables"));
        assert!(first.applied.len() > 1, "{:?}", first.applied);
        let again = Migrated { applied: Vec::new(), version: first.version };
        assert_eq!(migrate(&schema).await, Ok(again));
        assert_eq!(schema_exists(&schema).await, Ok(true));
        assert_eq!(Store::new(&schema, "test").ping().await, Ok(()));
        drop_schema(&schema).await.expect("dropped");
        drop_schema(&schema).await.expect("dropped");
        assert_eq!(schema_exists(&schema).await, Ok(false));
    });
}

#[test]
fn two_migrations_at_once_apply_each_step_once() {
    runtime().block_on(async {
        let fresh = Services::get().fresh_schema();
        let (one, other) =
            futures_util::future::join(migrate(fresh.config()), migrate(fresh.config())).await;
        let (one, other) = (one.expect("migrated"), other.expect("migrated"));
        let all = one.applied.len().max(other.applied.len());
        assert!(all > 1);
        assert_eq!(one.applied.len() + other.applied.len(), all);
    });
}

#[test]
fn a_schema_of_version_1_is_brought_up_to_date_with_what_is_in_it() {
    on(async |bench| {
        let fresh = Services::get().fresh_schema();
        let (schema, ours) = (&fresh.config().schema, &bench.schema.config().schema);
        let tables = include_str!("../../engine/src/adapters/postgres/migrations/0001_tables.sql");
        let older = format!(
            "CREATE SCHEMA \"{schema}\"; SET search_path = \"{schema}\"; {tables};
            CREATE TABLE _sqlx_migrations (LIKE \"{ours}\"._sqlx_migrations INCLUDING ALL);
            INSERT INTO _sqlx_migrations
                SELECT * FROM \"{ours}\"._sqlx_migrations WHERE version = 1;
            INSERT INTO outbox_events (lane, topic, message_key, payload)
                VALUES (1, 'valuation_required', 'P', 'a'), (2, 'valuation_required', 'P', 'b'),
                    (1, 'valuation_required', 'P', 'c')"
        );
        let mut connection = super::faults::connect(bench).await;
        let made = sqlx::raw_sql(AssertSqlSafe(older)).execute(&mut connection).await;
        made.expect("as version 1 was");
        let store = Store::new(fresh.config(), "test");
        let text = refusal(store.ping().await);
        assert!(text.contains("is at version 1, this build needs"), "{text}");
        let migrated = migrate(fresh.config()).await.expect("migrated");
        assert_eq!(migrated.applied[0], "0002_outbox_by_lane");
        assert_eq!(store.ping().await, Ok(()));
        let events = store.query(ReadOutbox { lane: 1, limit: 9 }).await.expect("read");
        assert_eq!(events.iter().map(|row| row.payload.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    });
}

fn refusal(answer: Result<impl std::fmt::Debug, StoreError>) -> String {
    match answer {
        Err(StoreError::Refused(text)) => text,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_schema_of_another_version_is_refused_with_what_to_do() {
    on(async |bench| {
        let mut connection = super::faults::connect(bench).await;
        let newer = "INSERT INTO _sqlx_migrations SELECT 9999, description, installed_on, success,
            checksum, execution_time FROM _sqlx_migrations WHERE version = 1";
        sqlx::query(newer).execute(&mut connection).await.expect("inserted");
        let text = refusal(bench.store.ping().await);
        assert!(text.contains("is at version 9999") && text.contains("newer build"), "{text}");
        let text = refusal(migrate(bench.schema.config()).await);
        assert!(text.contains("is at version 9999"), "{text}");
        let older = "DELETE FROM _sqlx_migrations";
        sqlx::query(older).execute(&mut connection).await.expect("deleted");
        let text = refusal(bench.store.ping().await);
        assert!(text.contains("run `backdate migrate`"), "{text}");
        let edited = "UPDATE _sqlx_migrations SET checksum = 'x'";
        drop_schema(bench.schema.config()).await.expect("dropped");
        migrate(bench.schema.config()).await.expect("migrated");
        sqlx::query(edited).execute(&mut connection).await.expect("updated");
        let text = refusal(migrate(bench.schema.config()).await);
        assert!(text.contains("modified"), "{text}");
    });
}

#[test]
fn a_schema_that_is_absent_or_older_is_named_by_each_statement() {
    on(async |bench| {
        let mut connection = super::faults::connect(bench).await;
        sqlx::query("ALTER TABLE position_state RENAME COLUMN status TO old_status")
            .execute(&mut connection)
            .await
            .expect("renamed");
        let text = refusal(bench.store.query(ReadBacklog {}).await);
        assert!(text.contains(&bench.schema.config().schema), "{text}");
        assert!(text.contains("run `backdate migrate`"), "{text}");
        drop_schema(bench.schema.config()).await.expect("dropped");
        let text = refusal(bench.store.query(ReadBacklog {}).await);
        assert!(text.contains("run `backdate migrate`"), "{text}");
        let text = refusal(bench.store.ping().await);
        assert!(text.contains("run `backdate migrate`"), "{text}");
        // The cause goes, and the same store works.
        migrate(bench.schema.config()).await.expect("migrated");
        assert!(bench.store.query(ReadBacklog {}).await.is_ok());
        assert_eq!(bench.store.ping().await, Ok(()));
    });
}

#[test]
fn an_operator_finds_the_columns_of_the_contract() {
    on(async |bench| {
        let mut connection = super::faults::connect(bench).await;
        sqlx::query(
            "SELECT portfolio_id, security_id, epoch, watermark_date, updated_at
            FROM position_state
            WHERE status = 'REPROCESSING' AND updated_at < NOW() - INTERVAL '1 hour'",
        )
        .execute(&mut connection)
        .await
        .expect("the query works");
    });
}
