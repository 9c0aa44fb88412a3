//! Connections of one instance: a few, opened when they are needed, thrown away when they break.
//!
//! It refuses to hand out a connection on which a transaction is open or an answer outstanding:
//! such a connection is closed, and the server rolls back. A pool of sqlx is not used because it
//! tests and returns connections in tasks of its own.
//!
//! # Invariants
//! - At most `connections` are open at the same time.
//! - What is idle has no open transaction.
//! - A session of another version of the schema is not handed out.
//! - Nothing about a session comes from the environment.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::{PostgresConfig, SslMode};
use super::error::{Failure, address, judge, of_connect};
#[cfg(target_os = "linux")]
use super::nodelay;
use super::schema;
use crate::ports::store::StoreError;

/// More than there are statements, so that each is prepared once per connection.
const PREPARED_MAX: usize = 256;

/// The connections.
pub(super) struct Pool {
    pub(super) config: PostgresConfig,
    options: PgConnectOptions,
    idle: RefCell<Vec<PgConnection>>,
    permits: Arc<Semaphore>,
}

/// A connection in use.
pub(super) struct Lease {
    connection: PgConnection,
    _permit: OwnedSemaphorePermit,
    /// Whether the server may have closed it since it was last used.
    is_reused: bool,
}

impl Pool {
    pub(super) fn new(config: &PostgresConfig, application_name: &str) -> Self {
        let connections = usize::try_from(config.connections.max(1)).unwrap_or(usize::MAX);
        Self {
            config: config.clone(),
            options: options(
                config,
                &config.session_name(application_name),
                config.statement_timeout_ms,
            ),
            idle: RefCell::default(),
            permits: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// A connection, idle or new.
    pub(super) async fn lease(&self) -> Result<Lease, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = match within(Some(self.connect_timeout()), permit).await {
            Some(permit) => permit.expect("the semaphore is never closed"),
            None => {
                let text = format!(
                    "all {} connections to {} are in use",
                    self.config.connections,
                    address(&self.config)
                );
                return Err(StoreError::Disconnected(text));
            }
        };
        let idle = self.idle.borrow_mut().pop();
        let (connection, is_reused) = match idle {
            Some(connection) => (connection, true),
            None => (self.connect().await?, false),
        };
        Ok(Lease { connection, _permit: permit, is_reused })
    }

    /// A connection with an open transaction. One that has died while it was idle is replaced:
    /// BEGIN has no effect that could be repeated.
    pub(super) async fn lease_begun(&self) -> Result<Lease, StoreError> {
        loop {
            let mut lease = self.lease().await?;
            let is_reused = lease.is_reused;
            match self.command(&mut lease, "BEGIN").await {
                Ok(()) => return Ok(lease),
                Err(Failure::Session(_)) if is_reused => {}
                Err(failure) => return Err(failure.into_error()),
            }
        }
    }

    /// Runs a command of the session, such as COMMIT.
    pub(super) async fn command(
        &self,
        lease: &mut Lease,
        text: &'static str,
    ) -> Result<(), Failure> {
        let command = sqlx::raw_sql(text);
        self.limited(command.execute(lease.connection())).await.map(|_| ())
    }

    /// Waits for an answer, for a little longer than the server may take for it. After a failure of
    /// the session whatever the idle connections led to is taken to be gone too.
    pub(super) async fn limited<T>(
        &self,
        exchange: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Failure> {
        let limit = match self.config.statement_timeout_ms {
            0 => None,
            ms => Some(Duration::from_millis(ms) + self.connect_timeout()),
        };
        let failure = match within(limit, exchange).await {
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(error)) => judge(&error, &self.config),
            None => {
                let text = format!("{} does not answer", address(&self.config));
                Failure::Session(StoreError::Disconnected(text))
            }
        };
        if matches!(failure, Failure::Session(_)) {
            self.idle.borrow_mut().clear();
        }
        Err(failure)
    }

    /// Takes back a connection on which nothing is open.
    pub(super) fn give_back(&self, lease: Lease) {
        self.idle.borrow_mut().push(lease.connection);
    }

    /// Rolls back what is open and takes the connection back; one that cannot do it is closed.
    pub(super) async fn roll_back(&self, mut lease: Lease) {
        if self.command(&mut lease, "ROLLBACK").await.is_ok() {
            self.give_back(lease);
        }
    }

    /// A session on this build's version of the schema. One on another version is closed: it is
    /// asked again when the next one is opened.
    async fn connect(&self) -> Result<PgConnection, StoreError> {
        let mut connection = connect(&self.options, &self.config).await?;
        let version = self.limited(schema::version(&mut connection)).await;
        let version = version.map_err(Failure::into_error)?;
        if let Err(error) = schema::check(version, &self.config) {
            // A server that is gone has nothing to close.
            let _ = within(Some(self.connect_timeout()), connection.close()).await;
            return Err(error);
        }
        Ok(connection)
    }

    fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.config.connect_timeout_ms)
    }
}

impl Lease {
    /// The connection.
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// Connects outside of any pool.
pub(super) async fn connect(
    options: &PgConnectOptions,
    config: &PostgresConfig,
) -> Result<PgConnection, StoreError> {
    refuse_environment()?;
    let limit = Duration::from_millis(config.connect_timeout_ms);
    match within(Some(limit), options.connect()).await {
        Some(connected) => {
            let connection = connected.map_err(|error| of_connect(&error, config))?;
            #[cfg(target_os = "linux")]
            nodelay::send_at_once(config.port);
            Ok(connection)
        }
        None => {
            let text = format!("cannot connect to {}: no answer", address(config));
            Err(StoreError::Disconnected(text))
        }
    }
}

/// Variables that sqlx takes settings from which nothing can take back.
const REFUSED: [&str; 3] = ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"];

/// Refuses what would change sessions unseen. All other variables of PostgreSQL's clients are
/// decided over by [`options`].
#[allow(clippy::disallowed_methods, reason = "it makes sure that nothing comes from there")]
fn refuse_environment() -> Result<(), StoreError> {
    match REFUSED.into_iter().find(|name| std::env::var_os(name).is_some()) {
        None => Ok(()),
        Some(name) => Err(StoreError::Refused(format!(
            "the environment has {name}, which would change sessions unseen: unset it"
        ))),
    }
}

/// How a session is set up.
pub(super) fn options(
    config: &PostgresConfig,
    application_name: &str,
    statement_timeout_ms: u64,
) -> PgConnectOptions {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&config.host)
        .port(config.port)
        .username(&config.user)
        .database(&config.database)
        // Without one it would be the environment's.
        .password(config.password.reveal())
        .ssl_mode(ssl_mode(config.ssl_mode))
        .application_name(application_name)
        .statement_cache_capacity(PREPARED_MAX)
        .disable_statement_logging()
        .options([
            ("search_path", quoted(&config.schema)),
            ("statement_timeout", statement_timeout_ms.to_string()),
            ("lock_timeout", config.lock_timeout_ms.to_string()),
            (
                "idle_in_transaction_session_timeout",
                config.idle_in_transaction_timeout_ms.to_string(),
            ),
            ("default_transaction_isolation", "read committed".to_owned()),
            // A plan made while a table was empty stays bad until the table is analysed; planning
            // anew costs some 0.2 ms per batch.
            ("plan_cache_mode", "force_custom_plan".to_owned()),
            // A few hundred keys are looked up in what the server holds in memory. With the
            // default of 4 an update of 500 of 50,000 keys reads the whole table: 12 ms, not 1.
            ("random_page_cost", "1.1".to_owned()),
            // Compiling takes longer than any of the statements.
            ("jit", "off".to_owned()),
        ]);
    match config.ssl_root_cert.as_str() {
        // No certificates instead of the environment's.
        "" => options.ssl_root_cert_from_pem(Vec::new()),
        path => options.ssl_root_cert(path),
    }
}

fn ssl_mode(mode: SslMode) -> PgSslMode {
    match mode {
        SslMode::Disable => PgSslMode::Disable,
        SslMode::Prefer => PgSslMode::Prefer,
        SslMode::Require => PgSslMode::Require,
        SslMode::VerifyCa => PgSslMode::VerifyCa,
        SslMode::VerifyFull => PgSslMode::VerifyFull,
    }
}

/// An identifier in quotes.
pub(super) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

#[allow(clippy::disallowed_methods, reason = "the adapter talks to a real server in real time")]
async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}
