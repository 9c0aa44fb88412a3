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
use std::collections::BTreeMap;
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
use rand_chacha::rand_core::Rng;
use smol_str::SmolStr;

use super::connection::{Connection, Listener};
use super::executor::Task;
use super::random;
use super::sync::Notify;
use super::timers::TimerKey;
use super::world::Shared;

/// What a process runs.
pub type Main = Rc<dyn Fn(Process) -> Pin<Box<dyn Future<Output = ()>>>>;

/// A named crash point: instance (e.g. `replayer-2`), process kind (`replayer`), port call, and
/// whether before or after it.
pub type PointName = (SmolStr, SmolStr, SmolStr, Side);

/// A death at a named point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashPointPlan {
    /// Name of the instance, e.g. `replayer-2`.
    pub process_instance: SmolStr,
    /// Process kind, e.g. `replayer`.
    pub process: SmolStr,
    /// Port call.
    pub call: SmolStr,
    /// Before or after it.
    pub side: Side,
    /// On which pass of the instance since the world began, counted from 1 across restarts.
    pub pass: u64,
}

struct Skew {
    offset_us: i64,
    drift_ppm: i64,
    since: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Up,
    Dying,
    Down,
}

struct Record {
    name: SmolStr,
    main: Option<Main>,
    life: Life,
    incarnation: u32,
    paused: bool,
    /// Wakers of tasks that became ready while paused.
    held: Vec<std::task::Waker>,
    skew: Skew,
    death: Notify,
}

type PointKey = (u16, &'static str, &'static str, Side);

/// All processes of a world.
#[derive(Default)]
pub(super) struct Processes {
    records: Vec<Record>,
    by_name: BTreeMap<SmolStr, u16>,
    passes: BTreeMap<PointKey, u64>,
    plans: Vec<CrashPointPlan>,
}

impl Processes {
    pub(super) fn len(&self) -> u16 {
        u16::try_from(self.records.len()).expect("fewer than 65536 processes")
    }

    pub(super) fn add(&mut self, name: SmolStr, main: Main) -> u16 {
        let process = self.len();
        let known = self.by_name.insert(name.clone(), process);
        assert!(known.is_none(), "there is a process {name} already");
        self.records.push(Record {
            name,
            main: Some(main),
            life: Life::Down,
            incarnation: 0,
            paused: false,
            held: Vec::new(),
            skew: Skew {
                offset_us: 0,
                drift_ppm: 0,
                since: 0,
            },
            death: Notify::new(),
        });
        process
    }

    pub(super) fn find(&self, name: &str) -> Option<u16> {
        self.by_name.get(name).copied()
    }

    pub(super) fn names(&self) -> Vec<SmolStr> {
        self.by_name.keys().cloned().collect()
    }

    pub(super) fn name(&self, process: u16) -> SmolStr {
        self.record(process).name.clone()
    }

    pub(super) fn is_up(&self, process: u16) -> bool {
        self.record(process).life == Life::Up
    }

    /// Notified of every death of the process.
    pub(super) fn death(&self, process: u16) -> Notify {
        self.record(process).death.clone()
    }

    /// Whether the process was up; it dies from now on.
    pub(super) fn begin_dying(&mut self, process: u16) -> bool {
        let record = self.record_mut(process);
        let up = record.life == Life::Up;
        if up {
            record.life = Life::Dying;
        }
        up
    }

    pub(super) fn die(&mut self, process: u16) -> (SmolStr, Notify) {
        let record = self.record_mut(process);
        record.life = Life::Down;
        record.paused = false;
        record.held.clear();
        (record.name.clone(), record.death.clone())
    }

    /// Notes a task that is ready of a paused process.
    pub(super) fn hold_if_paused(&mut self, task: &Task) -> bool {
        let record = self.record_mut(task.process);
        if record.paused {
            record.held.push(task.waker.clone());
        }
        record.paused
    }

    pub(super) fn pause(&mut self, process: u16) {
        let record = self.record_mut(process);
        record.paused = record.life == Life::Up;
    }

    pub(super) fn resume(&mut self, process: u16) -> Vec<std::task::Waker> {
        let record = self.record_mut(process);
        record.paused = false;
        std::mem::take(&mut record.held)
    }

    pub(super) fn set_skew(&mut self, process: u16, now: u64, offset_us: i64, drift_ppm: i64) {
        self.record_mut(process).skew = Skew {
            offset_us,
            drift_ppm,
            since: now,
        };
    }

    pub(super) fn set_crash_point(&mut self, plan: CrashPointPlan) {
        self.plans.push(plan);
    }

    pub(super) fn clear_crash_point(&mut self, plan: &CrashPointPlan) {
        self.plans.retain(|known| known != plan);
    }

    pub(super) fn points_passed(&self) -> BTreeMap<PointName, u64> {
        let named = |((process, kind, call, side), passes): (&PointKey, &u64)| {
            let name = (
                self.name(*process),
                SmolStr::new(kind),
                SmolStr::new(call),
                *side,
            );
            (name, *passes)
        };
        self.passes.iter().map(named).collect()
    }

    /// Breaks the cycle world - main - control - world.
    pub(super) fn forget_mains(&mut self) {
        for record in &mut self.records {
            record.main = None;
        }
    }

    /// Counts a pass; the cause of death if a plan wants it here.
    fn pass(
        &mut self,
        process: u16,
        kind: &'static str,
        call: &'static str,
        side: Side,
    ) -> Option<CrashCause> {
        let passes = self.passes.entry((process, kind, call, side)).or_default();
        *passes += 1;
        let pass = *passes;
        if self.plans.is_empty() {
            return None;
        }
        let instance = &self.record(process).name;
        let planned = |plan: &CrashPointPlan| {
            let here = (plan.side, plan.pass) == (side, pass);
            here && plan.call == call && plan.process == kind && plan.process_instance == *instance
        };
        let index = self.plans.iter().position(planned)?;
        let plan = self.plans.swap_remove(index);
        Some(CrashCause::Point {
            process: plan.process,
            call: plan.call,
            side,
            pass,
        })
    }

    fn record(&self, process: u16) -> &Record {
        &self.records[usize::from(process)]
    }

    fn record_mut(&mut self, process: u16) -> &mut Record {
        &mut self.records[usize::from(process)]
    }
}

impl Shared {
    /// Starts a process that is down.
    pub(super) fn start(self: &Rc<Self>, process: u16) {
        let (name, main, incarnation) = {
            let mut processes = self.processes.borrow_mut();
            let record = processes.record_mut(process);
            if record.life != Life::Down {
                return;
            }
            record.life = Life::Up;
            let main = record.main.clone().expect("kept while the world lives");
            let incarnation = record.incarnation;
            record.incarnation += 1;
            (record.name.clone(), main, incarnation)
        };
        self.record(name.clone(), EventKind::Started);
        let label = format!("process/{name}/{incarnation}");
        let handle = Handle {
            shared: Rc::clone(self),
            index: process,
            name,
            incarnation,
            rng: RefCell::new(random::stream(self.config.seed, &label)),
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
    rng: RefCell<ChaCha8Rng>,
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
        let processes = shared.processes.borrow();
        let skew = &processes.record(self.0.index).skew;
        let drift = i128::from(now - skew.since) * i128::from(skew.drift_ppm) / 1_000_000_000;
        let micros = i128::from(shared.config.start.micros())
            + i128::from(now / 1_000)
            + i128::from(skew.offset_us)
            + drift;
        Timestamp::from_micros(i64::try_from(micros).expect("a run is shorter than 584 years"))
    }

    /// Waits that long.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now() + duration)
    }

    /// Waits until that time.
    pub fn sleep_until(&self, at: SimTime) -> Sleep {
        Sleep {
            shared: Rc::clone(&self.0.shared),
            at: at.0,
            armed: None,
        }
    }

    /// Runs a task of this process beside the others. Of a process that has died, nothing runs.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        if self.is_alive() {
            self.0.shared.spawn(self.0.index, Box::pin(task));
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

    /// Passes a named crash point. Where a plan wants the process dead, it never returns.
    pub async fn point(&self, process: &'static str, call: &'static str, side: Side) {
        let shared = &self.0.shared;
        let index = self.0.index;
        let cause = shared
            .processes
            .borrow_mut()
            .pass(index, process, call, side);
        if let Some(cause) = cause {
            shared.kill(index, cause);
            pending::<()>().await;
        }
    }

    /// Listens on a port of this process.
    pub async fn listen(&self, port: u16) -> io::Result<Listener> {
        Listener::bind(&self.0.shared, port).await
    }

    /// Connects to a port of a process.
    ///
    /// # Errors
    /// `NotFound`: there is no such process. `ConnectionRefused`: it is down, or does not listen.
    /// `TimedOut`: no answer within 5 simulated seconds.
    pub async fn connect(&self, name: &str, port: u16) -> io::Result<Connection> {
        let peer = self.0.shared.processes.borrow().find(name);
        let peer = peer
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no process {name}")))?;
        Connection::open(self, &self.0.shared, peer, port).await
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
        let record = processes.record(self.0.index);
        record.life == Life::Up && record.incarnation == self.0.incarnation + 1
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
