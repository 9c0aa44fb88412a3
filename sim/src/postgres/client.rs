//! The engine's store port over connections to the simulated server.
//!
//! It refuses to hide a lost connection: an open transaction is gone (`Disconnected`), a commit or
//! a statement of its own that was not answered may have happened (`UnknownOutcome`).
//!
//! # Invariants
//! - A connection goes back to the pool only when no transaction is open on it and no answer is
//!   outstanding; else it is closed, and the server rolls back.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::ports::store::{Statement, Store, StoreError, Transaction};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use smol_str::SmolStr;

use super::wire::{PORT, Request};
use crate::world::sync::{Permit, Workers, timeout};
use crate::world::{Connection, Measured, Process};

/// Connections of one process at the same time.
const CONNECTIONS_MAX: usize = 4;
/// How long a client waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A pool of connections to a server. Clones are the same.
#[derive(Clone)]
pub struct Client(Rc<Pool>);

struct Pool {
    process: Process,
    server: SmolStr,
    idle: RefCell<Vec<Connection>>,
    permits: Workers,
}

impl Client {
    /// A pool of at most four connections; they are opened when they are needed.
    pub fn new(process: Process, server: impl Into<SmolStr>) -> Self {
        Self::with_connections(process, server, CONNECTIONS_MAX)
    }

    /// A pool of at most that many connections.
    pub fn with_connections(process: Process, server: impl Into<SmolStr>, max: usize) -> Self {
        let permits = Workers::new(max);
        Self(Rc::new(Pool { process, server: server.into(), idle: RefCell::default(), permits }))
    }

    async fn lease(&self) -> Result<Lease, StoreError> {
        let permit = self.0.permits.acquire().await;
        let idle = self.0.idle.borrow_mut().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let opened = self.0.process.connect(&self.0.server, PORT).await;
                opened.map_err(|error| self.lost(&error))?
            }
        };
        Ok(Lease { client: self.clone(), connection, _permit: permit })
    }

    /// The server is gone, and with it whatever the idle connections led to.
    fn lost(&self, error: &io::Error) -> StoreError {
        self.0.idle.borrow_mut().clear();
        StoreError::Disconnected(error.to_string())
    }
}

/// A connection in use.
struct Lease {
    client: Client,
    connection: Connection,
    _permit: Permit,
}

impl Lease {
    /// Asks and waits for the answer. On an error, or when the future is dropped, the lease is gone
    /// and its connection closed.
    async fn exchange<T: DeserializeOwned>(
        mut self,
        request: &Request,
    ) -> Result<(Lease, Result<T, StoreError>), StoreError> {
        let frame = postcard::to_stdvec(request).expect("a request can be encoded");
        let process = self.client.0.process.clone();
        let conversation = async {
            self.connection.write_frame(&frame).await?;
            self.connection.read_frame().await
        };
        let sent = process.now();
        let answer: io::Result<Bytes> = timeout(&process, ANSWER_TIMEOUT, conversation)
            .await
            .unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()));
        let answer = answer.map_err(|error| self.client.lost(&error))?;
        if let Request::Execute { statement, .. } = request {
            let (operation, took) = (statement.name(), process.now().since(sent));
            process.measured(Measured::Statement { operation, took });
        }
        let answer = postcard::from_bytes(&answer).expect("the server speaks this protocol");
        Ok((self, answer))
    }

    fn give_back(self) {
        self.client.0.idle.borrow_mut().push(self.connection);
    }
}

impl Store for Client {
    type Transaction = Open;

    async fn begin(&self) -> Result<Open, StoreError> {
        Ok(Open { client: self.clone(), lease: None, is_over: false })
    }

    async fn query<S: Statement>(&self, statement: S) -> Result<S::Output, StoreError> {
        let lease = self.lease().await?;
        let request = Request::Execute { statement: statement.into(), autocommit: true };
        match lease.exchange(&request).await {
            Ok((lease, answer)) => {
                if answer.as_ref().err() != Some(&StoreError::TooManyConnections) {
                    lease.give_back();
                }
                answer
            }
            Err(_) => Err(StoreError::UnknownOutcome),
        }
    }
}

/// A transaction. It takes a connection for its first statement; dropped while it is open, it
/// closes the connection, and the server rolls back.
pub struct Open {
    client: Client,
    lease: Option<Lease>,
    is_over: bool,
}

impl Transaction for Open {
    async fn execute<S: Statement>(&mut self, statement: S) -> Result<S::Output, StoreError> {
        assert!(!self.is_over, "a transaction is over after an error");
        self.is_over = true;
        let lease = match self.lease.take() {
            Some(lease) => lease,
            None => self.client.lease().await?,
        };
        let request = Request::Execute { statement: statement.into(), autocommit: false };
        let (lease, answer) = lease.exchange(&request).await?;
        match &answer {
            Ok(_) => {
                self.lease = Some(lease);
                self.is_over = false;
            }
            Err(StoreError::TooManyConnections) => {}
            Err(_) => lease.give_back(),
        }
        answer
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        let Some(lease) = self.lease.take() else {
            return match self.is_over {
                true => Err(StoreError::Disconnected("the transaction is over".to_owned())),
                false => Ok(()),
            };
        };
        match lease.exchange(&Request::Commit).await {
            Ok((lease, answer)) => {
                lease.give_back();
                answer
            }
            Err(_) => Err(StoreError::UnknownOutcome),
        }
    }

    async fn rollback(mut self) {
        let Some(lease) = self.lease.take() else { return };
        if let Ok((lease, Ok(()))) = lease.exchange::<()>(&Request::Rollback).await {
            lease.give_back();
        }
    }
}
