//! The register of all processes: who is up, paused or skewed, and how often points were passed.
//!
//! # Invariants
//! - A process is up, dying or down; only one that is down can start, only one that is up can die.
//! - Names are unique and never reused.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Waker;

use backdate_engine::ports::host::Side;
use backdate_reports::recording::CrashCause;
use smol_str::SmolStr;

use super::executor::Task;
use super::process::Process;
use super::sync::Notify;

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
    /// Nanoseconds for which it was occupied, over all lives.
    busy: u64,
    /// Pauses that go on.
    pauses: u32,
    /// Wakers of tasks that became ready meanwhile.
    held: Vec<Waker>,
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
    /// Who waits for a pass.
    watches: Vec<(CrashPointPlan, Notify)>,
}

impl Processes {
    pub(super) fn len(&self) -> u16 {
        u16::try_from(self.records.len()).expect("fewer than 65536 processes")
    }

    /// Notes that a process is occupied for that long.
    pub(super) fn occupy(&mut self, process: u16, nanos: u64) {
        self.records[usize::from(process)].busy += nanos;
    }

    /// Nanoseconds for which each process was occupied.
    pub(super) fn busy(&self) -> BTreeMap<SmolStr, u64> {
        self.records.iter().map(|record| (record.name.clone(), record.busy)).collect()
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
            pauses: 0,
            busy: 0,
            held: Vec::new(),
            skew: Skew { offset_us: 0, drift_ppm: 0, since: 0 },
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

    /// Whether that life of the process is still going on.
    pub(super) fn is_alive(&self, process: u16, incarnation: u32) -> bool {
        let record = self.record(process);
        record.life == Life::Up && record.incarnation == incarnation + 1
    }

    /// Microseconds by which the wall clock of the process is ahead.
    pub(super) fn skew_us(&self, process: u16, now: u64) -> i128 {
        let skew = &self.record(process).skew;
        let drift = i128::from(now - skew.since) * i128::from(skew.drift_ppm) / 1_000_000_000;
        i128::from(skew.offset_us) + drift
    }

    /// Begins a life of a process that is down: its name, main and incarnation.
    pub(super) fn begin_life(&mut self, process: u16) -> Option<(SmolStr, Main, u32)> {
        let record = self.record_mut(process);
        if record.life != Life::Down {
            return None;
        }
        record.life = Life::Up;
        let main = record.main.clone().expect("kept while the world lives");
        let incarnation = record.incarnation;
        record.incarnation += 1;
        Some((record.name.clone(), main, incarnation))
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
        record.pauses = 0;
        record.held.clear();
        (record.name.clone(), record.death.clone())
    }

    /// Notes a task that is ready of a paused process.
    pub(super) fn hold_if_paused(&mut self, task: &Task) -> bool {
        let record = self.record_mut(task.process);
        let paused = record.pauses > 0;
        if paused {
            record.held.push(task.waker.clone());
        }
        paused
    }

    pub(super) fn pause(&mut self, process: u16) {
        let record = self.record_mut(process);
        if record.life == Life::Up {
            record.pauses += 1;
        }
    }

    pub(super) fn resume(&mut self, process: u16) -> Vec<Waker> {
        let record = self.record_mut(process);
        record.pauses = record.pauses.saturating_sub(1);
        if record.pauses > 0 {
            return Vec::new();
        }
        std::mem::take(&mut record.held)
    }

    /// Ends pauses, skews and planned deaths.
    pub(super) fn calm(&mut self, now: u64) -> Vec<Waker> {
        self.plans.clear();
        let mut held = Vec::new();
        for record in &mut self.records {
            record.pauses = 0;
            held.append(&mut record.held);
            record.skew = Skew { offset_us: 0, drift_ppm: 0, since: now };
        }
        held
    }

    pub(super) fn set_skew(&mut self, process: u16, now: u64, offset_us: i64, drift_ppm: i64) {
        self.record_mut(process).skew = Skew { offset_us, drift_ppm, since: now };
    }

    pub(super) fn set_crash_point(&mut self, plan: CrashPointPlan) {
        self.plans.push(plan);
    }

    pub(super) fn has_crash_point(&self, plan: &CrashPointPlan) -> bool {
        self.plans.contains(plan)
    }

    pub(super) fn clear_crash_point(&mut self, plan: &CrashPointPlan) {
        self.plans.retain(|known| known != plan);
    }

    /// Notified once when a process passes a point.
    pub(super) fn watch(&mut self, plan: CrashPointPlan) -> Notify {
        let passed = Notify::new();
        self.watches.push((plan, passed.clone()));
        passed
    }

    pub(super) fn forget_watch(&mut self, plan: &CrashPointPlan) {
        if let Some(index) = self.watches.iter().position(|(known, _)| known == plan) {
            self.watches.remove(index);
        }
    }

    pub(super) fn points_passed(&self) -> BTreeMap<PointName, u64> {
        let named = |((process, kind, call, side), passes): (&PointKey, &u64)| {
            let name = (self.name(*process), SmolStr::new(kind), SmolStr::new(call), *side);
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
    pub(super) fn pass(
        &mut self,
        process: u16,
        kind: &'static str,
        call: &'static str,
        side: Side,
    ) -> Option<CrashCause> {
        let passes = self.passes.entry((process, kind, call, side)).or_default();
        *passes += 1;
        let pass = *passes;
        if self.plans.is_empty() && self.watches.is_empty() {
            return None;
        }
        let instance = &self.record(process).name;
        let planned = |plan: &CrashPointPlan| {
            let here = (plan.side, plan.pass) == (side, pass);
            here && plan.call == call && plan.process == kind && plan.process_instance == *instance
        };
        for (plan, passed) in &self.watches {
            if planned(plan) {
                passed.notify_one();
            }
        }
        let index = self.plans.iter().position(planned)?;
        let plan = self.plans.swap_remove(index);
        Some(CrashCause::Point { process: plan.process, call: plan.call, side, pass })
    }

    fn record(&self, process: u16) -> &Record {
        &self.records[usize::from(process)]
    }

    fn record_mut(&mut self, process: u16) -> &mut Record {
        &mut self.records[usize::from(process)]
    }
}
