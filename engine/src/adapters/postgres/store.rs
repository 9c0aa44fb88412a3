//! The store port over the pool.
//!
//! # Invariants
//! - A connection goes back to the pool only when no transaction is open on it and no answer is
//!   outstanding; else it is closed, and the server rolls back.
//! - What may have been committed is never sent again: a COMMIT, or a statement of its own, that is
//!   not answered is an [`StoreError::UnknownOutcome`].

use std::any::Any;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::config::PostgresConfig;
use super::error::Failure;
use super::pool::{Lease, Pool};
use super::schema;
use super::statements::{run, steps};
use crate::ports::store::{self, AnyStatement, Statement, StoreError};

/// What is told about each statement: its name and how long it took.
type Observer = Rc<dyn Fn(&'static str, Duration)>;

/// The store port on PostgreSQL. Clones share their connections, which are opened when they are
/// needed.
#[derive(Clone)]
pub struct Store {
    pub(super) pool: Rc<Pool>,
    observer: Option<Observer>,
}

impl Store {
    /// A store that connects when it is first used. `application_name` is what
    /// `pg_stat_activity` shows.
    pub fn new(config: &PostgresConfig, application_name: &str) -> Self {
        Self { pool: Rc::new(Pool::new(config, application_name)), observer: None }
    }

    /// Tells `observer` about each statement that the server has answered, and about each commit.
    #[must_use]
    pub fn observed(self, observer: Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Whether the database can be reached, the schema is of this build's version, and it can be
    /// written to.
    ///
    /// # Errors
    /// What keeps the store from working, with its cure.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let mut lease = self.pool.lease().await?;
        let look = async {
            let version = schema::version(lease.connection()).await?;
            Ok((version, schema::is_read_only(lease.connection()).await?))
        };
        match self.pool.limited(look).await {
            Ok((version, is_read_only)) => {
                self.pool.give_back(lease);
                schema::check(version, &self.pool.config)?;
                if is_read_only { Err(StoreError::ReadOnly) } else { Ok(()) }
            }
            Err(failure) => {
                if matches!(failure, Failure::Statement(_)) {
                    self.pool.give_back(lease);
                }
                Err(failure.into_error())
            }
        }
    }

    /// Runs a statement on a connection. On an error the lease is still good if the session is.
    async fn exchange(
        &self,
        lease: &mut Lease,
        statement: AnyStatement,
    ) -> Result<Box<dyn Any>, Failure> {
        let name = statement.name();
        self.timed(name, self.pool.limited(run(statement, lease.connection()))).await
    }

    async fn commit(&self, mut lease: Lease) -> Result<(), StoreError> {
        match self.timed("Commit", self.pool.command(&mut lease, "COMMIT")).await {
            Ok(()) => {
                self.pool.give_back(lease);
                Ok(())
            }
            // The server says that it has rolled back.
            Err(Failure::Statement(error)) => Err(error),
            Err(Failure::Session(_)) => Err(StoreError::UnknownOutcome),
        }
    }

    /// Passes an answer on and tells the observer how long it took.
    #[allow(clippy::disallowed_methods, reason = "a real server takes real time")]
    async fn timed<T>(&self, name: &'static str, exchange: impl Future<Output = T>) -> T {
        let Some(observer) = &self.observer else { return exchange.await };
        let begun = Instant::now();
        let answer = exchange.await;
        observer(name, begun.elapsed());
        answer
    }
}

impl store::Store for Store {
    type Transaction = Open;

    async fn begin(&self) -> Result<Open, StoreError> {
        Ok(Open { store: self.clone(), lease: None, is_over: false })
    }

    async fn query<S: Statement>(&self, statement: S) -> Result<S::Output, StoreError> {
        let statement: AnyStatement = statement.into();
        if steps(&statement) > 1 {
            let mut lease = self.pool.lease_begun().await?;
            let answer = match self.exchange(&mut lease, statement).await {
                Ok(answer) => answer,
                Err(failure) => return Err(self.give_up(lease, failure).await),
            };
            self.commit(lease).await?;
            return Ok(output::<S>(answer));
        }
        let mut lease = self.pool.lease().await?;
        match self.exchange(&mut lease, statement).await {
            Ok(answer) => {
                self.pool.give_back(lease);
                Ok(output::<S>(answer))
            }
            Err(Failure::Statement(error)) => {
                self.pool.give_back(lease);
                Err(error)
            }
            Err(Failure::Session(_)) => Err(StoreError::UnknownOutcome),
        }
    }
}

impl Store {
    /// Ends the transaction of a statement that has failed.
    pub(super) async fn give_up(&self, lease: Lease, failure: Failure) -> StoreError {
        match failure {
            Failure::Statement(error) => {
                self.pool.roll_back(lease).await;
                error
            }
            Failure::Session(error) => error,
        }
    }
}

fn output<S: Statement>(answer: Box<dyn Any>) -> S::Output {
    *answer.downcast().expect("a statement answers with its output type")
}

/// A transaction. It takes a connection for its first statement; dropped while it is open, it
/// closes the connection, and the server rolls back.
pub struct Open {
    store: Store,
    lease: Option<Lease>,
    is_over: bool,
}

impl store::Transaction for Open {
    async fn execute<S: Statement>(&mut self, statement: S) -> Result<S::Output, StoreError> {
        assert!(!self.is_over, "a transaction is over after an error");
        self.is_over = true;
        let mut lease = match self.lease.take() {
            Some(lease) => lease,
            None => self.store.pool.lease_begun().await?,
        };
        match self.store.exchange(&mut lease, statement.into()).await {
            Ok(answer) => {
                self.lease = Some(lease);
                self.is_over = false;
                Ok(output::<S>(answer))
            }
            Err(failure) => Err(self.store.give_up(lease, failure).await),
        }
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        match self.lease.take() {
            Some(lease) => self.store.commit(lease).await,
            None if self.is_over => {
                Err(StoreError::Disconnected("the transaction is over".to_owned()))
            }
            None => Ok(()),
        }
    }

    async fn rollback(mut self) {
        if let Some(lease) = self.lease.take() {
            self.store.pool.roll_back(lease).await;
        }
    }
}
