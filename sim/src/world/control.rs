//! The handle with which scenarios, faults and tests act on the world.
//!
//! Everything takes effect at once, with one exception: a process that kills itself, or is killed
//! by its own code, dies when the poll that did it returns. Unknown names are mistakes of the
//! caller and panic.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use backdate_reports::recording::{CrashCause, EventKind, SimTime};
use smol_str::SmolStr;

use super::process::Process;
use super::processes::{CrashPointPlan, Main, PointName};
use super::world::Shared;
use super::{link, sync};

/// A handle on the world; clones are the same handle.
#[derive(Clone)]
pub struct Control(Rc<Shared>);

impl Control {
    pub(super) fn new(shared: &Rc<Shared>) -> Self {
        Self(Rc::clone(shared))
    }

    /// Adds a process and starts it. Panics if the name is taken, or if more processes are added
    /// to a running world than it has hosts to spare.
    pub fn add_process(&self, name: impl Into<SmolStr>, main: Main) {
        let name = name.into();
        self.0.course.add_process(name.clone());
        let process = self.0.processes.borrow_mut().add(name, main);
        let mut network = self.0.network.borrow_mut();
        if let Some(capacity) = network.capacity() {
            assert!(
                usize::from(process) < capacity,
                "a running world has room for {capacity} processes; see World::reserve_processes"
            );
        }
        network.add_process();
        drop(network);
        self.0.start(process);
    }

    /// Kills a process; of one that is down, nothing happens.
    pub fn crash(&self, name: &str, cause: CrashCause) {
        self.0.kill(self.find(name), cause);
    }

    /// Starts a process that is down, with fresh memory; of one that is up, nothing happens.
    pub fn restart(&self, name: &str) {
        self.0.start(self.find(name));
    }

    /// Freezes a process; pauses are counted.
    pub fn pause(&self, name: &str) {
        let process = self.find(name);
        self.0.processes.borrow_mut().pause(process);
    }

    /// Takes a pause back; after the last the process goes on.
    pub fn resume(&self, name: &str) {
        let process = self.find(name);
        let held = self.0.processes.borrow_mut().resume(process);
        for waker in held {
            waker.wake();
        }
    }

    /// Whether a process is up (paused or not).
    pub fn is_running(&self, name: &str) -> bool {
        let process = self.find(name);
        self.0.processes.borrow().is_up(process)
    }

    /// Waits for the next death of a process.
    pub async fn next_death(&self, name: &str) {
        let death = self.0.processes.borrow().death(self.find(name));
        death.notified().await;
    }

    /// Holds all packets from one process to another (that way only); cuts are counted.
    pub fn cut(&self, from: &str, to: &str) {
        let (from, to) = (self.find(from), self.find(to));
        self.0.network.borrow_mut().cut(from, to);
    }

    /// Takes a cut back; after the last the packets go again, in order.
    pub fn heal(&self, from: &str, to: &str) {
        let (from, to) = (self.find(from), self.find(to));
        let timers = &mut self.0.timers.borrow_mut();
        let now = self.0.now.get();
        self.0.network.borrow_mut().heal(now, from, to, timers);
    }

    /// Resets every connection between two processes, at both ends.
    pub fn reset(&self, a: &str, b: &str) {
        let (a, b) = (self.find(a), self.find(b));
        self.0.network.borrow_mut().reset(a, b);
        self.0.touch();
    }

    /// Sets the latency between two processes, both ways: at least, at most.
    pub fn set_latency(&self, a: &str, b: &str, latency: (Duration, Duration)) {
        let (a, b) = (self.find(a), self.find(b));
        let latency = link::nanos(latency);
        let mut network = self.0.network.borrow_mut();
        network.set_latency(a, b, latency);
        network.set_latency(b, a, latency);
        self.0.lookahead.set(network.lookahead());
    }

    /// Adds to the latency between two processes, both ways, until it is taken back: at least, at
    /// most.
    pub fn add_latency(&self, a: &str, b: &str, extra: (Duration, Duration)) {
        let (a, b) = (self.find(a), self.find(b));
        let mut network = self.0.network.borrow_mut();
        network.add_latency(a, b, link::nanos(extra));
        network.add_latency(b, a, link::nanos(extra));
    }

    /// Takes back what was added.
    pub fn remove_latency(&self, a: &str, b: &str, extra: (Duration, Duration)) {
        let (a, b) = (self.find(a), self.find(b));
        let mut network = self.0.network.borrow_mut();
        network.remove_latency(a, b, link::nanos(extra));
        network.remove_latency(b, a, link::nanos(extra));
    }

    /// Ends whatever goes on: heals every link, takes added latency back, thaws every process, sets
    /// clocks right and forgets planned deaths. Processes that are down stay down.
    pub fn calm(&self) {
        {
            let timers = &mut self.0.timers.borrow_mut();
            let now = self.0.now.get();
            self.0.network.borrow_mut().calm(now, timers);
        }
        let held = self.0.processes.borrow_mut().calm(self.0.now.get());
        for waker in held {
            waker.wake();
        }
    }

    /// Makes the wall clock of a process wrong: by an offset now, and by that many microseconds
    /// more for every second from now on. Zeros make it right again.
    pub fn set_skew(&self, name: &str, offset_us: i64, drift_ppm: i64) {
        let process = self.find(name);
        let now = self.0.now.get();
        let mut processes = self.0.processes.borrow_mut();
        processes.set_skew(process, now, offset_us, drift_ppm);
    }

    /// Gives a process the lowest priority from now on, or none.
    pub fn starve(&self, name: Option<&str>) {
        let process = name.map(|name| self.find(name));
        self.0.tasks.borrow_mut().starve(process);
    }

    /// Plans a death at a named point. It happens once.
    pub fn set_crash_point(&self, plan: CrashPointPlan) {
        self.find(&plan.process_instance);
        self.0.processes.borrow_mut().set_crash_point(plan);
    }

    /// Whether a planned death is still to come.
    pub fn has_crash_point(&self, plan: &CrashPointPlan) -> bool {
        self.0.processes.borrow().has_crash_point(plan)
    }

    /// Takes a planned death back.
    pub fn clear_crash_point(&self, plan: &CrashPointPlan) {
        self.0.processes.borrow_mut().clear_crash_point(plan);
    }

    /// Waits until a process passes a point, which it does at once; whether it did in that time.
    pub async fn passes(&self, waiter: &Process, plan: CrashPointPlan, within: Duration) -> bool {
        self.find(&plan.process_instance);
        let passed = self.0.processes.borrow_mut().watch(plan.clone());
        let has_passed = sync::timeout(waiter, within, passed.notified()).await.is_some();
        self.0.processes.borrow_mut().forget_watch(&plan);
        has_passed
    }

    /// How often each named point was passed.
    pub fn points_passed(&self) -> BTreeMap<PointName, u64> {
        self.0.processes.borrow().points_passed()
    }

    /// For how long each process was occupied with service time, over all its workers and lives.
    pub fn busy(&self) -> BTreeMap<SmolStr, Duration> {
        let busy = self.0.processes.borrow().busy();
        busy.into_iter().map(|(name, nanos)| (name, Duration::from_nanos(nanos))).collect()
    }

    /// Ends the run.
    pub fn stop(&self) {
        self.0.stopped.set(true);
    }

    /// The time.
    pub fn now(&self) -> SimTime {
        SimTime(self.0.now.get())
    }

    /// Names of all processes, sorted.
    pub fn process_names(&self) -> Vec<SmolStr> {
        self.0.processes.borrow().names()
    }

    /// Records an event under that process name (which need not be a process).
    pub fn record(&self, process: impl Into<SmolStr>, kind: EventKind) {
        self.0.record(process.into(), kind);
    }

    /// Packets that are under way or held by a cut.
    pub fn packets_under_way(&self) -> usize {
        self.0.network.borrow().under_way()
    }

    fn find(&self, name: &str) -> u16 {
        let found = self.0.processes.borrow().find(name);
        found.unwrap_or_else(|| panic!("there is no process {name}"))
    }
}
