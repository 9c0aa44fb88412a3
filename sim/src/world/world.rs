//! The world: virtual time, and the loop that runs tasks and moves it.
//!
//! The loop runs every task that is ready, collects what the sockets want to send, and then jumps
//! to the next instant at which something happens. Nothing ticks, so an idle world costs nothing.
//!
//! A world is bound to its thread, because the socket layer keeps its hosts in a thread-local: two
//! worlds on one thread at once are refused, worlds on different threads are independent. Sockets
//! must not outlive the world that they belong to.
//!
//! # Invariants
//! - Time never goes back, and does not move while a task is ready.
//! - A task runs, and is dropped, with the sockets of its own process at hand.
//! - A process never runs between its death and its restart.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use backdate_engine::domain::time::Timestamp;
use backdate_reports::recording::{CrashCause, EventKind, SimTime};
use smol_str::SmolStr;

use super::control::Control;
use super::course::Course;
use super::executor::{LocalFuture, Task, TaskChoice, TaskId, Tasks};
use super::link;
use super::measures::Measurer;
use super::network::{Network, READ_BUFFER};
use super::probe::{Probe, Work, probed};
use super::processes::Processes;
use super::timers::{Due, Timers};
use super::trace::{Sink, Trace, WorldStats};

/// Hosts kept free for processes that are added while the world runs, unless
/// [`World::reserve_processes`] asks for more: the socket layer cannot grow, and every idle host
/// costs some twenty nanoseconds a sweep.
const SPARE_HOSTS: usize = 2;

/// How long a delivery waits for a sweep that nobody asks for.
const SWEEP_MAX: u64 = 40_000_000;

thread_local! {
    static OCCUPIED: Cell<bool> = const { Cell::new(false) };
}

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// Root of every random stream.
    pub seed: u64,
    /// Which ready task runs next.
    pub task_choice: TaskChoice,
    /// Latency of a packet on every link, unless set otherwise: at least, at most.
    pub latency: (Duration, Duration),
    /// The wall clock at [`SimTime`] 0.
    pub start: Timestamp,
}

/// Why a run returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// [`Control::stop`] was called.
    Stopped,
    /// The time given was reached.
    Deadline,
    /// Nothing will ever happen: no task is ready, no timer is armed, no packet arrives.
    Idle,
}

/// The state that tasks, controls and the loop share.
pub(super) struct Shared {
    pub(super) config: WorldConfig,
    pub(super) now: Cell<u64>,
    pub(super) tasks: RefCell<Tasks>,
    pub(super) timers: RefCell<Timers>,
    pub(super) network: RefCell<Network>,
    pub(super) processes: RefCell<Processes>,
    pub(super) trace: RefCell<Trace>,
    pub(super) course: Rc<Course>,
    /// How long a sweep may wait for more to collect.
    pub(super) lookahead: Cell<u64>,
    /// When the sockets are swept next; never if `u64::MAX`.
    sweep_at: Cell<u64>,
    /// Buffer of all socket reads: each copies out what it got before it returns.
    pub(super) scratch: RefCell<Vec<u8>>,
    pub(super) stopped: Cell<bool>,
    /// The process whose task is being polled.
    polling: Cell<Option<u16>>,
    /// Deaths of the process that is being polled, due when its poll returns.
    deaths: RefCell<Vec<(u16, CrashCause)>>,
    probe: OnceCell<Probe>,
    pub(super) measurer: OnceCell<Measurer>,
}

/// A simulated world.
pub struct World {
    shared: Rc<Shared>,
    spare_hosts: usize,
}

impl World {
    /// An empty world. Panics if this thread has one already.
    pub fn new(config: WorldConfig, sink: Sink) -> World {
        assert!(
            !OCCUPIED.get(),
            "this thread has a World already; drop it first or use another thread"
        );
        OCCUPIED.set(true);
        let course = Rc::<Course>::default();
        let shared = Shared {
            now: Cell::new(0),
            tasks: RefCell::new(Tasks::new(config.task_choice, config.seed, &course)),
            timers: RefCell::default(),
            network: RefCell::new(Network::new(link::nanos(config.latency), config.seed, &course)),
            processes: RefCell::default(),
            trace: RefCell::new(Trace::new(sink)),
            course,
            lookahead: Cell::new(link::lookahead(config.latency.0)),
            sweep_at: Cell::new(u64::MAX),
            scratch: RefCell::new(vec![0; READ_BUFFER]),
            stopped: Cell::new(false),
            polling: Cell::new(None),
            deaths: RefCell::default(),
            probe: OnceCell::new(),
            measurer: OnceCell::new(),
            config,
        };
        World { shared: Rc::new(shared), spare_hosts: SPARE_HOSTS }
    }

    /// A handle on the world, for inside and outside of tasks.
    pub fn control(&self) -> Control {
        Control::new(&self.shared)
    }

    /// Keeps room for that many processes that are added after the world has begun to run (2 unless
    /// this is called). Panics if it runs already.
    pub fn reserve_processes(&mut self, processes: usize) {
        let installed = self.shared.network.borrow().capacity().is_some();
        assert!(!installed, "room is reserved before the world runs");
        self.spare_hosts = processes;
    }

    /// Tells a probe from now on what the world is busy with. A world has one at the most.
    pub fn set_probe(&self, probe: Probe) {
        assert!(self.shared.probe.set(probe).is_ok(), "a world has one probe at the most");
    }

    /// Tells somebody from now on what processes measure. A world has one such at the most.
    pub fn set_measurer(&self, measurer: Measurer) {
        assert!(self.shared.measurer.set(measurer).is_ok(), "a world has one measurer at the most");
    }

    /// Runs everything that happens up to that time, inclusive.
    pub fn run_until(&mut self, until: SimTime) -> RunEnd {
        let probe = self.shared.probe.get().cloned();
        probed(probe.as_ref(), Work::Loop, || self.run_loop(until))
    }

    fn run_loop(&mut self, until: SimTime) -> RunEnd {
        self.shared.install_network(self.spare_hosts);
        self.shared.stopped.set(false);
        loop {
            self.shared.run_ready();
            if self.shared.stopped.get() {
                return RunEnd::Stopped;
            }
            let Some(next) = self.shared.timers.borrow_mut().next_at() else {
                return RunEnd::Idle;
            };
            if next > until.0 {
                self.shared.now.set(until.0.max(self.shared.now.get()));
                return RunEnd::Deadline;
            }
            self.shared.now.set(next);
            self.shared.fire(next);
        }
    }

    /// The time.
    pub fn now(&self) -> SimTime {
        SimTime(self.shared.now.get())
    }

    /// Hash over the course of the run so far (see `trace.rs`).
    pub fn fingerprint(&self) -> u128 {
        self.shared.trace.borrow().fingerprint()
    }

    /// Which task ran last and what was drawn last, from now on too.
    pub fn course(&self) -> Rc<Course> {
        Rc::clone(&self.shared.course)
    }

    /// What the world has done so far.
    pub fn stats(&self) -> WorldStats {
        self.shared.trace.borrow().stats
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let processes = self.shared.processes.borrow().len();
        for process in 0..processes {
            self.shared.drop_tasks(process);
        }
        self.shared.processes.borrow_mut().forget_mains();
        self.shared.network.borrow_mut().uninstall();
        OCCUPIED.set(false);
    }
}

impl Shared {
    fn install_network(&self, spare_hosts: usize) {
        let processes = usize::from(self.processes.borrow().len());
        let mut network = self.network.borrow_mut();
        network.install(processes + spare_hosts);
    }

    fn run_ready(self: &Rc<Self>) {
        while !self.stopped.get() {
            let next = self.tasks.borrow_mut().next();
            let Some((id, task)) = next else {
                return;
            };
            if self.processes.borrow_mut().hold_if_paused(&task) {
                self.tasks.borrow_mut().put_back(id, task);
                continue;
            }
            match self.probe.get() {
                None => self.poll(id, task),
                probe => {
                    let name = self.processes.borrow().name(task.process);
                    probed(probe, Work::Task(&name), || self.poll(id, task));
                }
            }
        }
    }

    fn poll(self: &Rc<Self>, id: TaskId, mut task: Task) {
        self.trace.borrow_mut().step(self.now.get(), id);
        self.course.begin_poll(task.process, id);
        self.enter(Some(task.process));
        let done = task.future.as_mut().poll(&mut Context::from_waker(&task.waker)).is_ready();
        if done {
            drop(task);
            self.tasks.borrow_mut().finish(id);
        } else {
            self.tasks.borrow_mut().put_back(id, task);
        }
        self.polling.set(None);
        self.course.end_poll();
        while let Some((process, cause)) = self.pop_death() {
            self.bury(process, cause);
        }
    }

    /// Makes the sockets of a process the current ones, because its code runs next.
    fn enter(&self, process: Option<u16>) {
        self.polling.set(process);
        if let Some(process) = process {
            self.network.borrow().set_current(process);
        }
    }

    fn pop_death(&self) -> Option<(u16, CrashCause)> {
        self.deaths.borrow_mut().pop()
    }

    /// A socket was touched: what it wants to send is collected soon.
    pub(super) fn touch(&self) {
        self.sweep_by(self.now.get() + self.lookahead.get());
    }

    fn sweep_by(&self, at: u64) {
        if self.sweep_at.get() > at {
            self.sweep_at.set(at);
            self.timers.borrow_mut().sweep_at(at);
        }
    }

    fn sweep(&self) {
        self.sweep_at.set(u64::MAX);
        self.trace.borrow_mut().stats.sweeps += 1;
        let acknowledge_at = {
            let timers = &mut self.timers.borrow_mut();
            let mut network = self.network.borrow_mut();
            network.sweep(self.now.get(), timers);
            network.acknowledge_at()
        };
        if let Some(at) = acknowledge_at {
            self.sweep_by(at);
        }
    }

    /// Fires everything that is due.
    fn fire(&self, now: u64) {
        loop {
            let due = self.timers.borrow_mut().pop_due(now);
            match due {
                None => return,
                Some((Due::Timer(_), waker)) => {
                    self.trace.borrow_mut().stats.timers += 1;
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                }
                Some((Due::Link(from, to), _)) => {
                    probed(self.probe.get(), Work::Network, || self.arrive(now, from, to));
                }
                // An earlier one may have been asked for meanwhile; this one then does nothing.
                Some((Due::Sweep, _)) if self.sweep_at.get() == now => {
                    probed(self.probe.get(), Work::Network, || self.sweep());
                }
                Some((Due::Sweep, _)) => {}
            }
        }
    }

    fn arrive(&self, now: u64, from: u16, to: u16) {
        let urgent = {
            let timers = &mut self.timers.borrow_mut();
            let trace = &mut self.trace.borrow_mut();
            self.network.borrow_mut().arrive(now, (from, to), timers, trace)
        };
        if urgent {
            self.touch();
        } else {
            self.sweep_by(now + SWEEP_MAX);
        }
    }

    pub(super) fn spawn(&self, process: u16, future: LocalFuture) {
        self.tasks.borrow_mut().spawn(process, future);
    }

    pub(super) fn record(&self, process: SmolStr, kind: EventKind) {
        let now = SimTime(self.now.get());
        let trace = &mut self.trace.borrow_mut();
        probed(self.probe.get(), Work::Trace, || trace.record(now, process, kind));
    }

    /// Kills a process: at once, or when its own poll returns if it is the one that is polled.
    pub(super) fn kill(&self, process: u16, cause: CrashCause) {
        if !self.processes.borrow_mut().begin_dying(process) {
            return;
        }
        if self.polling.get() == Some(process) {
            self.deaths.borrow_mut().push((process, cause));
        } else {
            self.bury(process, cause);
        }
    }

    fn bury(&self, process: u16, cause: CrashCause) {
        let connections = self.network.borrow().connections(process);
        self.drop_tasks(process);
        {
            let now = self.now.get();
            let timers = &mut self.timers.borrow_mut();
            let network = &mut self.network.borrow_mut();
            network.bury(now, process, connections, timers);
        }
        let (name, mourners) = self.processes.borrow_mut().die(process);
        self.record(name, EventKind::Crashed(cause));
        mourners.notify_all();
    }

    /// Drops the tasks of a process with its sockets at hand, and theirs alone: no part of the
    /// world is borrowed meanwhile, since a drop may wake, spawn or kill.
    fn drop_tasks(&self, process: u16) {
        let polled = self.polling.get();
        let dead = self.tasks.borrow_mut().take_all(process);
        self.enter(Some(process));
        drop(dead);
        self.enter(polled);
        self.touch();
    }
}
