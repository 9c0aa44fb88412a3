//! Claims about the simulated server. Sessions without a network run in one process of a world of
//! their own; what needs clients and crashes runs with a server.

mod contention;
mod differential;
mod epochs;
mod fixtures;
mod locking;
mod races;
mod server;
mod snapshots;
mod statements;
mod valuation;

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use backdate_engine::domain::time::Timestamp;
use backdate_engine::ports::store::StoreError;
use backdate_reports::recording::SimTime;

use super::control::ServerControl;
use super::core::session::{Backend, Session};
use super::disk::Disk;
use super::profile::Profile;
use super::statements::{Rows, Run};
use crate::world::{Process, TaskChoice, World, WorldConfig};

/// A database without a server.
#[derive(Clone)]
struct Bench {
    backend: Backend,
}

impl Bench {
    fn new(process: Process, profile: Profile) -> Self {
        let storage = Disk::new().storage();
        let control = ServerControl::new();
        Self { backend: Backend { storage, process, profile: Rc::new(profile), control } }
    }

    fn session(&self, client: &str) -> Session {
        Session::new(self.backend.clone(), client.into())
    }

    /// Runs one statement in a transaction of its own.
    async fn run<S: Run>(&self, statement: S) -> S::Output
    where
        S::Output: Rows,
    {
        let mut session = self.session("setup");
        let output = run(&mut session, statement).await.expect("nothing is in its way");
        session.commit();
        output
    }

    fn now(&self) -> SimTime {
        self.backend.process.now()
    }
}

async fn run<S: Run>(session: &mut Session, statement: S) -> Result<S::Output, StoreError>
where
    S::Output: Rows,
{
    super::statements::run(statement, session).await
}

/// Whether the future has to wait.
async fn waits<F: Future>(future: &mut Pin<Box<F>>) -> bool {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

fn config(seed: u64) -> WorldConfig {
    WorldConfig {
        seed,
        task_choice: TaskChoice::Seeded,
        latency: (Duration::from_micros(100), Duration::from_micros(200)),
        start: Timestamp::parse("2025-01-01").expect("a date"),
    }
}

/// Runs a test in a process of its own and makes sure that it came to its end.
fn simulate<F: Future<Output = ()> + 'static>(test: fn(Bench) -> F) {
    simulate_with(Profile::default(), test);
}

fn simulate_with<F: Future<Output = ()> + 'static>(profile: Profile, test: fn(Bench) -> F) {
    let ended = Rc::new(Cell::new(false));
    let mut world = World::new(config(7), Box::new(|_| {}));
    let end = Rc::clone(&ended);
    world.control().add_process(
        "bench",
        Rc::new(move |process| {
            let (bench, end) = (Bench::new(process, profile.clone()), Rc::clone(&end));
            Box::pin(async move {
                test(bench).await;
                end.set(true);
            })
        }),
    );
    world.run_until(SimTime(600_000_000_000));
    assert!(ended.get(), "the test has stopped half way");
}
