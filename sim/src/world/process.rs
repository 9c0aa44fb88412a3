//! Processes: the code of one machine, with its memory, sockets, clock and randomness.
//!
//! A process starts by running its `main` and lives, with all tasks it spawned, until it is killed.
//! A restart runs `main` again with nothing but what it kept outside: whatever must survive (a
//! disk) is the caller's to share with `main`. A paused process keeps its memory and its sockets
//! keep receiving, but none of its tasks runs, whatever fires meanwhile (a frozen machine).
//!
//! It refuses to end a process whose tasks have all ended: it is then up and does nothing.
//!
//! # Invariants
//! - The wall clock of a process is wrong by its skew; waiting is not.
//! - After the death of a process none of its code runs, and nothing of it is recorded.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use backdate_engine::domain::time::Timestamp;
use backdate_engine::ports::host::Side;
use backdate_reports::recording::{CrashCause, EventKind, SimTime};
use rand_chacha::ChaCha8Rng;
use smol_str::SmolStr;

use super::bytes::ByteStream;
use super::connection::{Connection, Listener};
use super::course::{Stream, StreamName};
use super::measures::Measured;
use super::random;
use super::timers::TimerKey;
use super::world::Shared;

impl Shared {
    /// Starts a process that is down.
    pub(super) fn start(self: &Rc<Self>, process: u16) {
        let life = self.processes.borrow_mut().begin_life(process);
        let Some((name, main, incarnation)) = life else {
            return;
        };
        self.record(name.clone(), EventKind::Started);
        let label = format!("process/{name}/{incarnation}");
        let stream = StreamName::Process { process, incarnation };
        let handle = Handle {
            shared: Rc::clone(self),
            index: process,
            name,
            incarnation,
            rng: RefCell::new(Stream::new(self.config.seed, &label, stream, &self.course)),
        };
        let handle = Process(Rc::new(handle));
        // Inside a task, so that even the code before the first await has its sockets at hand.
        self.spawn(process, Box::pin(async move { main(handle).await }));
    }
}

struct Handle {
    shared: Rc<Shared>,
    index: u16,
    name: SmolStr,
    incarnation: u32,
    rng: RefCell<Stream>,
}

/// A process as its own code sees it.
#[derive(Clone)]
pub struct Process(Rc<Handle>);

impl Process {
    /// Its name, e.g. `replayer-2`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How often it was restarted: 0 in its first life.
    pub fn incarnation(&self) -> u32 {
        self.0.incarnation
    }

    /// Simulated time.
    pub fn now(&self) -> SimTime {
        SimTime(self.0.shared.now.get())
    }

    /// The wall clock of its machine, which may be wrong.
    pub fn wall(&self) -> Timestamp {
        let shared = &self.0.shared;
        let now = shared.now.get();
        let skew = shared.processes.borrow().skew_us(self.0.index, now);
        let micros = i128::from(shared.config.start.micros()) + i128::from(now / 1_000) + skew;
        Timestamp::from_micros(i64::try_from(micros).expect("a run is shorter than 584 years"))
    }

    /// Waits that long.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now() + duration)
    }

    /// Waits until that time.
    pub fn sleep_until(&self, at: SimTime) -> Sleep {
        Sleep { shared: Rc::clone(&self.0.shared), at: at.0, armed: None }
    }

    /// Waits as for [`Process::sleep`], and counts the time as service time of this process.
    pub async fn occupy(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).expect("service times are short");
        self.0.shared.processes.borrow_mut().occupy(self.0.index, nanos);
        self.sleep(duration).await;
    }

    /// Runs a task of this process beside the others. Of a process that has died, nothing runs.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        if self.is_alive() {
            self.0.shared.spawn(self.0.index, Box::pin(task));
        }
    }

    /// Dies, as soon as the code of it that runs returns.
    pub fn die(&self, cause: CrashCause) {
        if self.is_alive() {
            self.0.shared.kill(self.0.index, cause);
        }
    }

    /// A stream of its own for that purpose: the same label in the same life gives the same stream
    /// again.
    pub fn rng(&self, label: &str) -> ChaCha8Rng {
        let (name, incarnation) = (&self.0.name, self.0.incarnation);
        let label = format!("process/{name}/{incarnation}/{label}");
        random::stream(self.0.shared.config.seed, &label)
    }

    /// The next number of its main stream.
    pub fn next_u64(&self) -> u64 {
        self.0.rng.borrow_mut().next_u64()
    }

    /// Records an event of this process.
    pub fn record(&self, kind: EventKind) {
        if self.is_alive() {
            self.0.shared.record(self.0.name.clone(), kind);
        }
    }

    /// Tells what was measured in this process, if anybody wants to know.
    pub fn measured(&self, measured: Measured) {
        if let Some(measurer) = self.0.shared.measurer.get() {
            measurer(self.now(), &self.0.name, measured);
        }
    }

    /// Passes a named crash point. Where a plan wants the process dead, it never returns.
    pub async fn point(&self, process: &'static str, call: &'static str, side: Side) {
        let shared = &self.0.shared;
        let index = self.0.index;
        let cause = shared.processes.borrow_mut().pass(index, process, call, side);
        if let Some(cause) = cause {
            shared.kill(index, cause);
            pending::<()>().await;
        }
    }

    /// Listens on a port of this process.
    pub async fn listen(&self, port: u16) -> io::Result<Listener> {
        Listener::bind(&self.0.shared, self.0.index, port).await
    }

    /// Connects to a port of a process.
    ///
    /// # Errors
    /// `NotFound`: there is no such process. `ConnectionRefused`: it is down, or does not listen.
    /// `TimedOut`: no answer within 5 simulated seconds.
    pub async fn connect(&self, name: &str, port: u16) -> io::Result<Connection> {
        let ends = (self.0.index, self.find(name)?);
        Connection::open(self, &self.0.shared, ends, port).await
    }

    /// The same, for a protocol of others.
    ///
    /// # Errors
    /// Those of [`Process::connect`].
    pub async fn connect_bytes(&self, name: &str, port: u16) -> io::Result<ByteStream> {
        let ends = (self.0.index, self.find(name)?);
        ByteStream::open(self, &self.0.shared, ends, port).await
    }

    fn find(&self, name: &str) -> io::Result<u16> {
        let peer = self.0.shared.processes.borrow().find(name);
        peer.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no process {name}")))
    }

    /// Gives the other ready tasks a turn.
    pub async fn yield_now(&self) {
        let mut yielded = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Whether this life of the process is still going on.
    fn is_alive(&self) -> bool {
        let processes = self.0.shared.processes.borrow();
        processes.is_alive(self.0.index, self.0.incarnation)
    }
}

/// Waits for a time.
pub struct Sleep {
    shared: Rc<Shared>,
    at: u64,
    armed: Option<TimerKey>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.now.get() >= self.at {
            return Poll::Ready(());
        }
        let shared = Rc::clone(&self.shared);
        let mut timers = shared.timers.borrow_mut();
        match self.armed {
            Some(key) => timers.rewake(key, cx.waker()),
            None => self.armed = Some(timers.arm(self.at, cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.armed {
            self.shared.timers.borrow_mut().forget(key);
        }
    }
}
