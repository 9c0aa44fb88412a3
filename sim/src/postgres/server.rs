//! The server process: one task per connection, service times, faults, the recording of commits.
//!
//! A session notices the death of its client when it reads or answers, not while it works or waits
//! for a lock: a statement of its own that a dead client has sent is still committed, as in
//! PostgreSQL.
//!
//! It refuses to keep anything but the [`Disk`] over a crash.
//!
//! # Invariants
//! - A commit is visible, durable and recorded at one instant, before it is answered.
//! - Service time is spent by a worker: of a statement after its effect, of a commit before it,
//!   with the locks held in both cases.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::ports::store::{AnyStatement, StoreError};
use backdate_reports::recording::EventKind;
use bytes::Bytes;
use futures_util::future::{Either, select};

use super::control::ServerControl;
use super::core::session::{Backend, Session};
use super::disk::Disk;
use super::profile::Profile;
use super::statements::run_encoded;
use super::wire::{PORT, Request};
use crate::world::sync::{Workers, timeout};
use crate::world::{Connection, Main, Measured};

/// What the server's process runs.
pub fn main(profile: Profile, disk: Disk, control: ServerControl) -> Main {
    let profile = Rc::new(profile);
    Rc::new(move |process| {
        let backend = Backend {
            storage: disk.storage(),
            process,
            profile: Rc::clone(&profile),
            control: control.clone(),
        };
        Box::pin(accept(backend))
    })
}

async fn accept(backend: Backend) {
    backend.storage.borrow_mut().recover(backend.process.rng("locks"));
    let workers = Workers::new(backend.profile.workers);
    let process = backend.process.clone();
    let mut listener = process.listen(PORT).await.expect("nobody else listens on the port");
    loop {
        let connection = listener.accept().await.expect("a listener lives as long as its process");
        let served = Served { backend: backend.clone(), workers: workers.clone() };
        process.spawn(served.serve(connection));
    }
}

struct Served {
    backend: Backend,
    workers: Workers,
}

impl Served {
    async fn serve(self, mut connection: Connection) {
        let control = &self.backend.control;
        if control.sessions() >= self.backend.profile.max_connections {
            if connection.read_frame().await.is_ok() {
                // The client may be gone; there is nothing to be done about it.
                let _ = connection.write_frame(&failure(StoreError::TooManyConnections)).await;
            }
            return;
        }
        let session = Session::new(self.backend.clone(), connection.peer());
        let registration = control.register(connection.peer());
        let killed = pin!(registration.kill.notified());
        let conversation = pin!(self.converse(connection, session));
        match select(killed, conversation).await {
            Either::Left(_) | Either::Right(_) => {}
        }
    }

    /// Answers until the connection ends; the session's end rolls back what is open.
    async fn converse(&self, mut connection: Connection, mut session: Session) {
        while let Some(frame) = self.next_frame(&mut connection, &session).await {
            let Some(answer) = self.answer(&frame, &mut session).await else { return };
            if connection.write_frame(&answer).await.is_err() {
                return;
            }
        }
    }

    /// The next request; none if the client is gone, or idle in a transaction for too long.
    async fn next_frame(&self, connection: &mut Connection, session: &Session) -> Option<Bytes> {
        let limit = self.backend.profile.idle_in_transaction_session_timeout_ms;
        if limit == 0 || !session.is_open() {
            return connection.read_frame().await.ok();
        }
        let frame = connection.read_frame();
        timeout(&self.backend.process, Duration::from_millis(limit), frame).await?.ok()
    }

    /// None: the session dies without an answer.
    async fn answer(&self, frame: &Bytes, session: &mut Session) -> Option<Vec<u8>> {
        let request = postcard::from_bytes(frame);
        match request.expect("clients of this simulation speak this protocol") {
            Request::Execute { statement, autocommit } => {
                self.execute(statement, autocommit, session).await
            }
            Request::Commit => {
                self.spend(self.commit_us(session)).await;
                self.commit(session).then(success)
            }
            Request::Rollback => {
                session.abort();
                self.spend(self.backend.profile.statement_base_us).await;
                Some(success())
            }
        }
    }

    async fn execute(
        &self,
        statement: AnyStatement,
        autocommit: bool,
        session: &mut Session,
    ) -> Option<Vec<u8>> {
        let name = statement.name();
        let profile = &self.backend.profile;
        let outcome = match profile.statement_timeout_ms {
            0 => run_encoded(statement, session).await,
            ms => {
                let run = run_encoded(statement, session);
                let outcome = timeout(&self.backend.process, Duration::from_millis(ms), run).await;
                outcome.unwrap_or(Err(StoreError::Timeout))
            }
        };
        let rows = session.take_rows();
        self.backend.process.measured(Measured::Served { operation: name, rows });
        let mut cost = profile.statement_base_us + profile.row_us * rows as f64;
        let answer = match outcome {
            Ok(answer) => answer,
            Err(error) => {
                session.abort();
                self.backend.process.record(EventKind::Aborted {
                    client: session.client().clone(),
                    statement: name.into(),
                    error: error.clone(),
                });
                self.spend(cost).await;
                return Some(failure(error));
            }
        };
        if autocommit {
            cost += self.commit_us(session);
        }
        self.spend(cost).await;
        (!autocommit || self.commit(session)).then_some(answer)
    }

    /// What a commit costs; one that has written nothing has nothing to sync.
    fn commit_us(&self, session: &Session) -> f64 {
        if !session.has_written() {
            return 0.0;
        }
        self.backend.profile.commit_us * self.backend.control.disk_factor()
    }

    /// Commits; whether it is answered.
    fn commit(&self, session: &mut Session) -> bool {
        let committed = session.commit();
        if committed.changes.is_empty() {
            return true;
        }
        self.backend.process.record(EventKind::Committed {
            client: session.client().clone(),
            keys_locked: committed.keys_locked,
            changes: committed.changes,
        });
        !self.backend.control.loses_answer(session.client())
    }

    async fn spend(&self, us: f64) {
        if us <= 0.0 {
            return;
        }
        let _worker = self.workers.acquire().await;
        self.backend.process.occupy(Duration::from_nanos((us * 1e3) as u64)).await;
    }
}

fn success() -> Vec<u8> {
    postcard::to_stdvec(&Ok::<(), StoreError>(())).expect("an answer can be encoded")
}

fn failure(error: StoreError) -> Vec<u8> {
    postcard::to_stdvec(&Err::<(), StoreError>(error)).expect("an answer can be encoded")
}
