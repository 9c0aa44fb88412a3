//! The witness of the database: every committed transaction, by logical decoding.
//!
//! It has a publication and a replication slot of its own, and polls the slot through SQL
//! functions. A slot is temporary, so that nothing stays behind whatever happens to the harness,
//! unless the run is about to kill the database: then it must survive that.
//!
//! It refuses a server that does not keep what logical decoding needs, and says how to cure it.
//!
//! # Invariants
//! - What a poll answers holds every transaction that anybody could see before the poll began.

use backdate_engine::adapters::postgres::config::PostgresConfig;
use backdate_reports::recording::Row;
use sqlx::postgres::{PgConnectOptions, PgRow, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _, ValueRef};

use super::pgoutput::{Commit, Decoder};
use super::rows;
use super::tables::{TABLES, spec_of};
use backdate_engine::ports::store::rows::Table;

/// Changes of one call; the server ends at the transaction that reaches it.
const CHANGES_PER_CALL: i32 = 20_000;

/// The witness of the database.
pub(super) struct Commits {
    options: PgConnectOptions,
    schema: String,
    name: String,
    is_temporary: bool,
    connection: Option<PgConnection>,
    decoder: Decoder,
}

impl Commits {
    /// Begins to watch a schema that has its tables and no rows.
    pub(super) async fn start(
        config: &PostgresConfig,
        name: &str,
        is_temporary: bool,
    ) -> Result<Self, String> {
        let mut commits = Self {
            options: options(config, "backdate-recorder"),
            schema: config.schema.clone(),
            name: name.to_owned(),
            is_temporary,
            connection: None,
            decoder: Decoder::default(),
        };
        if let Err(error) = commits.open().await {
            // The first error is the one to be told.
            let _ = commits.drop().await;
            return Err(error);
        }
        Ok(commits)
    }

    async fn open(&mut self) -> Result<(), String> {
        self.refuse_unfit_server().await?;
        let (name, is_temporary) = (self.name.clone(), self.is_temporary);
        let tables: Vec<String> =
            TABLES.iter().map(|spec| format!("{}.{}", self.schema, spec.name)).collect();
        for table in &tables {
            self.run(format!("ALTER TABLE {table} REPLICA IDENTITY FULL")).await?;
        }
        let all = tables.join(", ");
        self.run(format!("CREATE PUBLICATION {name} FOR TABLE {all}")).await?;
        self.run(format!(
            "SELECT pg_create_logical_replication_slot('{name}', 'pgoutput', {is_temporary})"
        ))
        .await
    }

    async fn refuse_unfit_server(&mut self) -> Result<(), String> {
        let level = self.ask("SHOW wal_level").await?;
        if level != "logical" {
            return Err(format!(
                "the database keeps wal_level = {level}, and recording what is committed needs \
                 `logical`: run `ALTER SYSTEM SET wal_level = logical` and restart it"
            ));
        }
        let right = "SELECT (rolsuper OR rolreplication)::text FROM pg_roles \
                     WHERE rolname = current_user";
        if self.ask(right).await? != "true" {
            return Err("the role may not read the write-ahead log: run `ALTER ROLE .. \
                        REPLICATION`"
                .into());
        }
        Ok(())
    }

    /// Transactions that have committed since the last poll, in order. After an error the next poll
    /// connects anew.
    pub(super) async fn poll(&mut self) -> Result<Vec<Commit>, String> {
        let mut commits = Vec::new();
        match self.read(&mut commits).await {
            Ok(()) => Ok(commits),
            Err(error) => {
                self.connection = None;
                if !commits.is_empty() {
                    // The slot does not say them again; the next poll says what is wrong.
                    return Ok(commits);
                }
                // A temporary slot is gone with its session, and with it what it had to say.
                let lost = if self.is_temporary { "; the recording has a hole" } else { "" };
                Err(format!("{error}{lost}"))
            }
        }
    }

    async fn read(&mut self, commits: &mut Vec<Commit>) -> Result<(), String> {
        // What commits while it is read is for the next poll, or a busy run would never see an end.
        let end = self.ask("SELECT pg_current_wal_flush_lsn()::text").await?;
        loop {
            let messages = self.read_slot(&end).await?;
            for message in &messages {
                let bytes: &[u8] = message.try_get(0).map_err(|error| error.to_string())?;
                commits.extend(self.decoder.take(bytes)?);
            }
            if messages.len() < CHANGES_PER_CALL as usize {
                return Ok(());
            }
        }
    }

    /// Whether what was missed is lost.
    pub(super) fn is_temporary(&self) -> bool {
        self.is_temporary
    }

    async fn read_slot(&mut self, end: &str) -> Result<Vec<PgRow>, String> {
        let name = self.name.clone();
        let connection = self.connection().await?;
        let text = "SELECT data FROM pg_logical_slot_get_binary_changes($1::name, $3::pg_lsn, $2, \
                    'proto_version', '1', 'publication_names', $1)";
        let query = sqlx::query(text).bind(name).bind(CHANGES_PER_CALL).bind(end);
        query.fetch_all(connection).await.map_err(|error| error.to_string())
    }

    /// Committed rows of a table.
    pub(super) async fn rows(&mut self, table: Table) -> Result<Vec<Row>, String> {
        let spec = spec_of(table);
        let columns = spec.columns.join(", ");
        let text = format!("SELECT {columns} FROM {}.{}", self.schema, spec.name);
        let connection = self.connection().await?;
        let found = sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(connection).await;
        let found = found.map_err(|error| error.to_string())?;
        let read = |row: &PgRow| {
            let cells: Vec<Option<&str>> = (0..spec.columns.len())
                .map(|at| {
                    let cell = row.try_get_raw(at).map_err(|error| error.to_string())?;
                    match cell.is_null() {
                        true => Ok(None),
                        false => cell.as_str().map(Some).map_err(|error| error.to_string()),
                    }
                })
                .collect::<Result<_, String>>()?;
            rows::read(table, &cells)
        };
        found.iter().map(read).collect()
    }

    /// Ends the sessions of an instance of this run; how many there were.
    pub(super) async fn kill_sessions(config: &PostgresConfig, name: &str) -> Result<i64, String> {
        let mut connection = connect(&options(config, "backdate-operator")).await?;
        let text = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                    WHERE application_name = $1 AND pid <> pg_backend_pid()";
        let name = config.session_name(name);
        let killed = sqlx::query_scalar(text).bind(name).fetch_one(&mut connection).await;
        killed.map_err(|error| error.to_string())
    }

    /// Takes slot and publication away.
    pub(super) async fn drop(mut self) -> Result<(), String> {
        let name = self.name.clone();
        if !self.is_temporary {
            // A session that was cut off may hold the slot for a moment.
            self.run(format!(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots \
                 WHERE slot_name = '{name}' AND active_pid <> pg_backend_pid()"
            ))
            .await?;
            self.run(format!(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
                 WHERE slot_name = '{name}'"
            ))
            .await?;
        }
        self.run(format!("DROP PUBLICATION IF EXISTS {name}")).await
    }

    /// Up to where the write-ahead log is on disk: what stands before that can be seen by anybody.
    pub(super) async fn flushed(connection: &mut PgConnection) -> Result<u64, String> {
        let text = "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint";
        let place: Result<i64, _> = sqlx::query_scalar(text).fetch_one(connection).await;
        place.map(i64::cast_unsigned).map_err(|error| error.to_string())
    }

    /// A session for somebody else who asks.
    pub(super) async fn session(config: &PostgresConfig) -> Result<PgConnection, String> {
        connect(&options(config, "backdate-reader")).await
    }

    async fn run(&mut self, text: String) -> Result<(), String> {
        let connection = self.connection().await?;
        let done = sqlx::raw_sql(AssertSqlSafe(text)).execute(connection).await;
        done.map(drop).map_err(|error| error.to_string())
    }

    async fn ask(&mut self, text: &'static str) -> Result<String, String> {
        let connection = self.connection().await?;
        let answer = sqlx::query_scalar(text).fetch_one(connection).await;
        answer.map_err(|error| error.to_string())
    }

    async fn connection(&mut self) -> Result<&mut PgConnection, String> {
        if self.connection.is_none() {
            self.connection = Some(connect(&self.options).await?);
        }
        Ok(self.connection.as_mut().expect("connected just now"))
    }
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, String> {
    options.connect().await.map_err(|error| error.to_string())
}

/// Microseconds by which the clock of the database is ahead of this machine's at the least.
pub(super) async fn clock_error(
    config: &PostgresConfig,
    now: impl Fn() -> i64,
) -> Result<i64, String> {
    let mut connection = connect(&options(config, "backdate-recorder")).await?;
    let text = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let mut least = i64::MAX;
    for _ in 0..5 {
        let before = now();
        let there: i64 = sqlx::query_scalar(text)
            .fetch_one(&mut connection)
            .await
            .map_err(|error| error.to_string())?;
        let after = now();
        let error = if there < before { there - before } else { (there - after).max(0) };
        if error.abs() < least.abs() {
            least = error;
        }
    }
    connection.close().await.map_err(|error| error.to_string())?;
    Ok(least)
}

fn options(config: &PostgresConfig, application: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host(&config.host)
        .port(config.port)
        .username(&config.user)
        .password(config.password.reveal())
        .database(&config.database)
        .ssl_mode(PgSslMode::Prefer)
        .application_name(application)
        .options([("timezone", "UTC"), ("datestyle", "ISO"), ("statement_timeout", "60000")])
        .disable_statement_logging()
}
