//! Faults of the database server, as a handle that outlives its process.
//!
//! # The engine must survive
//! - a session that is killed at any moment, waiting or working;
//! - writes that are refused for a while (25006), as during a failover;
//! - a disk that is slow for a while;
//! - a commit that happened although its answer is lost.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use smol_str::SmolStr;

use crate::world::sync::Notify;

/// Injects faults into a server. Clones are the same.
#[derive(Clone, Default)]
pub struct ServerControl(Rc<State>);

#[derive(Default)]
struct State {
    /// Whoever wants writes to be refused.
    refusals: Cell<u32>,
    disk_factors: RefCell<Vec<f64>>,
    /// Commits that are still answered before one is not; 0: all are answered.
    commits_to_lost_answer: Cell<u64>,
    /// Of each fault in the order in which they began: whose commits, and how many more.
    answers_to_lose: RefCell<BTreeMap<u64, (SmolStr, u32)>>,
    losses: Cell<u64>,
    sessions: RefCell<Vec<Registered>>,
    next_session: Cell<u64>,
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

    /// Ends all sessions of everybody.
    pub fn kill_all_sessions(&self) {
        for session in &*self.0.sessions.borrow() {
            session.kill.notify_one();
        }
    }

    /// Refuses, or allows again, whatever writes or locks; refusals are counted.
    pub fn refuse_writes(&self, refuse: bool) {
        let refusals = self.0.refusals.get();
        self.0.refusals.set(if refuse { refusals + 1 } else { refusals.saturating_sub(1) });
    }

    /// Makes commits that much slower, on top of what makes them slow already.
    pub fn slow_disk(&self, factor: f64) {
        self.0.disk_factors.borrow_mut().push(factor);
    }

    /// Takes a factor back.
    pub fn mend_disk(&self, factor: f64) {
        let mut factors = self.0.disk_factors.borrow_mut();
        if let Some(index) = factors.iter().position(|known| known.to_bits() == factor.to_bits()) {
            factors.remove(index);
        }
    }

    /// That many commits more of a process happen, and its session dies before it is answered; a
    /// number under which they can be taken back.
    pub fn lose_answers(&self, client: &str, commits: u32) -> u64 {
        let loss = self.0.losses.get() + 1;
        self.0.losses.set(loss);
        self.0.answers_to_lose.borrow_mut().insert(loss, (client.into(), commits));
        loss
    }

    /// Commits whose answers are still to be lost under that number.
    pub fn answers_to_lose(&self, loss: u64) -> u32 {
        self.0.answers_to_lose.borrow().get(&loss).map_or(0, |(_, left)| *left)
    }

    /// Takes back what is still to be lost under that number.
    pub fn keep_answers(&self, loss: u64) {
        self.0.answers_to_lose.borrow_mut().remove(&loss);
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
        self.0.refusals.get() > 0
    }

    pub(super) fn disk_factor(&self) -> f64 {
        self.0.disk_factors.borrow().iter().product()
    }

    /// Counts a commit; whether its answer is to be lost.
    pub(super) fn loses_answer(&self, client: &SmolStr) -> bool {
        let mut losses = self.0.answers_to_lose.borrow_mut();
        if let Some((_, left)) =
            losses.values_mut().find(|(whose, left)| whose == client && *left > 0)
        {
            *left -= 1;
            return true;
        }
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
