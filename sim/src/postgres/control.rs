//! Faults of the database server, as a handle that outlives its process.
//!
//! # The engine must survive
//! - a session that is killed at any moment, waiting or working;
//! - writes that are refused for a while (25006), as during a failover;
//! - a disk that is slow for a while;
//! - a commit that happened although its answer is lost.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use smol_str::SmolStr;

use crate::world::sync::Notify;

/// Injects faults into a server. Clones are the same.
#[derive(Clone, Default)]
pub struct ServerControl(Rc<State>);

struct State {
    refuses_writes: Cell<bool>,
    disk_factor: Cell<f64>,
    /// Commits that are still answered before one is not; 0: all are answered.
    commits_to_lost_answer: Cell<u64>,
    sessions: RefCell<Vec<Registered>>,
    next_session: Cell<u64>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            refuses_writes: Cell::new(false),
            disk_factor: Cell::new(1.0),
            commits_to_lost_answer: Cell::new(0),
            sessions: RefCell::default(),
            next_session: Cell::new(0),
        }
    }
}

struct Registered {
    number: u64,
    client: SmolStr,
    kill: Notify,
}

impl ServerControl {
    /// A server without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends all sessions of a process, as `pg_terminate_backend` does; how many there were.
    pub fn kill_session(&self, client: &str) -> usize {
        let sessions = self.0.sessions.borrow();
        let of_client = sessions.iter().filter(|session| session.client == client);
        of_client.map(|session| session.kill.notify_one()).count()
    }

    /// Refuses, or allows again, whatever writes or locks.
    pub fn refuse_writes(&self, refuse: bool) {
        self.0.refuses_writes.set(refuse);
    }

    /// Makes commits that much slower; 1: as they were.
    pub fn slow_disk(&self, factor: f64) {
        self.0.disk_factor.set(factor);
    }

    /// The nth commit from now on (1: the next) that has written something happens, and its session
    /// dies before it answers.
    pub fn lose_commit_answer(&self, nth: u64) {
        self.0.commits_to_lost_answer.set(nth);
    }

    /// Open sessions.
    pub fn sessions(&self) -> usize {
        self.0.sessions.borrow().len()
    }

    pub(super) fn refuses_writes(&self) -> bool {
        self.0.refuses_writes.get()
    }

    pub(super) fn disk_factor(&self) -> f64 {
        self.0.disk_factor.get()
    }

    /// Counts a commit; whether its answer is to be lost.
    pub(super) fn loses_answer(&self) -> bool {
        let left = self.0.commits_to_lost_answer.get();
        self.0.commits_to_lost_answer.set(left.saturating_sub(1));
        left == 1
    }

    /// Notes a session; it is forgotten when the result is dropped.
    pub(super) fn register(&self, client: SmolStr) -> Registration {
        let number = self.0.next_session.get();
        self.0.next_session.set(number + 1);
        let kill = Notify::new();
        let session = Registered { number, client, kill: kill.clone() };
        self.0.sessions.borrow_mut().push(session);
        Registration { control: self.clone(), number, kill }
    }
}

/// A session that can be killed.
pub(super) struct Registration {
    control: ServerControl,
    number: u64,
    /// Notified when the session is to die.
    pub(super) kill: Notify,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.control.0.sessions.borrow_mut().retain(|session| session.number != self.number);
    }
}
