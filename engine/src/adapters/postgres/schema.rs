//! The schema and its versions: checked-in migrations, applied in order, each once.
//!
//! It refuses to run against another version than this build's: an older schema is migrated first,
//! a newer one needs a newer build.
//!
//! # Invariants
//! - A migration that has been released is never edited; a change is a new file.

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqlSafeStr as _};

use super::config::PostgresConfig;
use super::error::{address, judge};
use super::pool::{connect, options, quoted};
use crate::ports::store::StoreError;

/// Version, name and text of each migration.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "tables", include_str!("migrations/0001_tables.sql")),
    (2, "outbox_by_lane", include_str!("migrations/0002_outbox_by_lane.sql")),
    (3, "cashflows_and_series", include_str!("migrations/0003_cashflows_and_series.sql")),
    (4, "backfill", include_str!("migrations/0004_backfill.sql")),
];

/// Where the versions that are applied stand.
const VERSION: &str = "SELECT max(version) FROM _sqlx_migrations WHERE success";

/// What [`migrate`] has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// Names of the migrations that were applied now, in order.
    pub applied: Vec<String>,
    /// The version that the schema has.
    pub version: i64,
}

/// Brings the schema to this build's version; makes it if it is absent. Any number of processes may
/// call it at the same time.
///
/// # Errors
/// Those of the database, and a schema that is newer than this build or was edited.
pub async fn migrate(config: &PostgresConfig) -> Result<Migrated, StoreError> {
    let mut connection = connect_unlimited(config).await?;
    let migrated = migrate_locked(&mut connection, config).await;
    // The lock goes with the connection; a server that is gone has nothing to close.
    let _ = connection.close().await;
    migrated
}

async fn migrate_locked(
    connection: &mut PgConnection,
    config: &PostgresConfig,
) -> Result<Migrated, StoreError> {
    let fails = |error: MigrateError| of_migration(&error, config);
    connection.lock().await.map_err(fails)?;
    let of_database = |error: sqlx::Error| judge(&error, config).into_error();
    if !exists(connection, config).await.map_err(of_database)? {
        let text = format!("CREATE SCHEMA {}", quoted(&config.schema));
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *connection).await.map_err(of_database)?;
    }
    let before = version(connection).await.map_err(of_database)?;
    if before > latest() {
        check(before, config)?;
    }
    migrator().run_direct(None, connection, false).await.map_err(fails)?;
    connection.unlock().await.map_err(fails)?;
    let applied = MIGRATIONS.iter().filter(|(version, ..)| *version > before);
    let applied = applied.map(|(version, name, _)| format!("{version:04}_{name}")).collect();
    Ok(Migrated { applied, version: latest() })
}

/// Removes the schema and all that is in it.
///
/// # Errors
/// Those of the database.
pub async fn drop_schema(config: &PostgresConfig) -> Result<(), StoreError> {
    let mut connection = connect_unlimited(config).await?;
    let text = format!("DROP SCHEMA IF EXISTS {} CASCADE", quoted(&config.schema));
    let dropped = sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection).await;
    let _ = connection.close().await;
    dropped.map(|_| ()).map_err(|error| judge(&error, config).into_error())
}

/// Whether there is such a schema.
///
/// # Errors
/// Those of the database.
pub async fn schema_exists(config: &PostgresConfig) -> Result<bool, StoreError> {
    let mut connection = connect_unlimited(config).await?;
    let exists = exists(&mut connection, config).await;
    let _ = connection.close().await;
    exists.map_err(|error| judge(&error, config).into_error())
}

/// The version of the schema; 0 if it has none.
pub(super) async fn version(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let found: Result<Option<i64>, _> =
        sqlx::query_scalar(VERSION).persistent(false).fetch_one(connection).await;
    match found {
        Ok(version) => Ok(version.unwrap_or(0)),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => Ok(0),
        Err(error) => Err(error),
    }
}

/// Whether a transaction that begins now can only read: on a standby, or if settings say so.
pub(super) async fn is_read_only(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT current_setting('transaction_read_only')::boolean")
        .fetch_one(connection)
        .await
}

/// Refuses any version but this build's.
pub(super) fn check(version: i64, config: &PostgresConfig) -> Result<(), StoreError> {
    let (schema, at, needed) = (&config.schema, address(config), latest());
    let role = &config.user;
    let text = match version {
        version if version == needed => return Ok(()),
        0 => format!(
            "schema {schema} of {at} does not have the tables of this build, which needs version \
             {needed}, or role {role} may not use it: run `backdate migrate`, or grant the role \
             what it needs"
        ),
        version if version < needed => format!(
            "schema {schema} of {at} is at version {version}, this build needs {needed}: run \
             `backdate migrate`"
        ),
        version => format!(
            "schema {schema} of {at} is at version {version}, this build knows only {needed}: run \
             a newer build"
        ),
    };
    Err(StoreError::Refused(text))
}

/// The version of this build.
fn latest() -> i64 {
    MIGRATIONS.last().expect("there is a first migration").0
}

fn migrator() -> Migrator {
    let migration = |(version, name, text): &(i64, &'static str, &'static str)| {
        let (kind, text) = (MigrationType::Simple, (*text).into_sql_str());
        Migration::new(*version, (*name).into(), kind, text, false)
    };
    Migrator::with_migrations(MIGRATIONS.iter().map(migration).collect())
}

fn of_migration(error: &MigrateError, config: &PostgresConfig) -> StoreError {
    match error {
        MigrateError::Execute(inner) | MigrateError::ExecuteMigration(inner, _) => {
            judge(inner, config).into_error()
        }
        other => StoreError::Refused(format!(
            "schema {} of {}: {other}; restore the migrations that it was made with, or run the \
             build that made it",
            config.schema,
            address(config)
        )),
    }
}

async fn exists(
    connection: &mut PgConnection,
    config: &PostgresConfig,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)")
        .bind(&config.schema)
        .fetch_one(connection)
        .await
}

/// A migration may take longer than a statement of the engine.
async fn connect_unlimited(config: &PostgresConfig) -> Result<PgConnection, StoreError> {
    let options: PgConnectOptions = options(config, "backdate-migrate", 0);
    connect(&options, config).await
}
