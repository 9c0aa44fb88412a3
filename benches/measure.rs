//! Runs of shipped scenarios in sight of a clock: how long each phase took, and whose work it was.
//!
//! Times are seconds on the processor where the system tells them, because machines are shared.
//! The shares of the layers come from a probe that reads the wall clock at every change of work;
//! what disturbs the run disturbs all layers alike, so shares hold where the times would not.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use backdate::cluster::POSTGRES;
use backdate::runner::EventObserver;
use backdate::runner::{Outcome, Progress, RunOptions, Watchers, run_watched};
use backdate::scenario::{self, Plan};
use backdate::world::{Measurer, Probe, Work};
use backdate_reports::recording::Phase;
use serde_json::Value;

/// Seconds on the processor, since the machine is shared with others; of the wall clock where the
/// system does not tell.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures the machine")]
pub fn clock() -> f64 {
    thread_local! {
        static BEGUN: Instant = Instant::now();
    }
    let on_cpu = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = on_cpu.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanos.map_or_else(|| BEGUN.with(|begun| begun.elapsed().as_secs_f64()), |nanos| nanos / 1e9)
}

/// Most memory that this process has had so far, in bytes; `None` where the system does not tell.
pub fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<f64>().ok().map(|kib| kib * 1024.0)
}

/// Whether a short run is asked for.
pub fn is_quick() -> bool {
    std::env::args().any(|argument| argument == "--quick")
}

/// Plan of a shipped scenario under seed 1.
pub fn plan(scenario: &str, overrides: &[String]) -> Plan {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join("scenarios").join(scenario);
    match scenario::load(&path, overrides) {
        Ok(loaded) => Plan::expand(&loaded, 1),
        Err(problems) => panic!("{scenario}: {problems:?}"),
    }
}

/// Runs a shipped scenario under seed 1 with the release binary; its summary.
pub fn run_release(scenario: &str, overrides: &[String], on: &str) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let binary = crate::results_path().with_file_name("release").join("backdate");
    let mut command = Command::new(&binary);
    command.arg("run").arg(root.join("scenarios").join(scenario).with_extension("toml"));
    command.args(["--seed", "1", "--quiet", "--json", "-", "--on", on]);
    for set in overrides {
        command.args(["--set", set]);
    }
    let cure = "build it first: cargo build --release --bin backdate";
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}; {cure}", binary.display()));
    let errors = String::from_utf8_lossy(&output.stderr);
    let summary = serde_json::from_slice(&output.stdout);
    let summary: Value =
        summary.unwrap_or_else(|error| panic!("{scenario} on {on}: {error}\n{errors}"));
    assert!(output.status.success(), "{scenario} on {on}: {}\n{errors}{summary:#}", output.status);
    summary
}

/// A folder for a recording, gone with this.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one below the target folder, which every build may write.
    pub fn new(name: &str) -> Folder {
        let path = crate::results_path().with_file_name("tmp").join(name);
        std::fs::create_dir_all(&path).expect("the target folder is writable");
        Folder(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays is in nobody's way.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What looks on in a measured run.
#[derive(Default)]
pub struct Onlookers<'a> {
    /// Where the recording goes.
    pub folder: Option<&'a Folder>,
    /// Shares of the layers.
    pub meter: Option<&'a LayerMeter>,
    /// Is shown every event.
    pub events: Option<EventObserver>,
    /// Is told what processes measure.
    pub measurer: Option<Measurer>,
}

/// A run with its times.
pub struct Measured {
    /// What it came to.
    pub outcome: Outcome,
    /// Seconds on the wall.
    pub wall: f64,
    /// Seconds on the processor.
    pub cpu: f64,
    /// Seconds simulated, and on the processor, of each phase; the storm's are the loaded ones.
    pub phases: BTreeMap<Phase, Span>,
}

/// Simulated seconds and what they took on the processor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// Simulated.
    pub simulated: f64,
    /// On the processor.
    pub cpu: f64,
}

impl Span {
    /// Simulated seconds per second.
    pub fn speed(self) -> f64 {
        self.simulated / self.cpu
    }
}

/// Runs a plan.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures the machine")]
pub fn measure(plan: &Plan, onlookers: Onlookers<'_>) -> Measured {
    let (wall, begun) = (Instant::now(), clock());
    let mut phases: BTreeMap<Phase, Span> = BTreeMap::new();
    let mut before = (0.0, begun);
    let meter = onlookers.meter;
    let mut progress = |now: &Progress| {
        let at = (now.sim.seconds(), clock());
        let span = phases.entry(now.phase).or_default();
        span.simulated += at.0 - before.0;
        span.cpu += at.1 - before.1;
        before = at;
        if let Some(meter) = meter {
            meter.begin(now.phase);
        }
    };
    let options = RunOptions {
        plan,
        save: onlookers.folder.map(|folder| folder.0.as_path()),
        canary: None,
        interrupted: &AtomicBool::new(false),
        progress: &mut progress,
        events: onlookers.events,
    };
    let watchers = Watchers { probe: meter.map(LayerMeter::probe), measurer: onlookers.measurer };
    let outcome =
        run_watched(options, watchers).expect("the target folder is writable and has room");
    Measured { outcome, wall: wall.elapsed().as_secs_f64(), cpu: clock() - begun, phases }
}

/// A part of the simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The loop: tasks, timers, virtual time.
    Executor,
    /// Packets: collecting, latency, delivery.
    Network,
    /// Tasks of the brokers.
    Kafka,
    /// Tasks of the database.
    Postgres,
    /// Tasks of the engine, with what they spend in their clients and sockets.
    Engine,
    /// Tasks of the client, the readers and the operator.
    Load,
    /// The rules.
    Oracle,
    /// Counting and timing.
    Meters,
    /// Events as bytes: fingerprint and recording.
    Recording,
    /// Looking at the run from outside, every 100 simulated milliseconds.
    Harness,
}

impl Layer {
    /// All of them.
    pub const ALL: [Layer; 10] = [
        Layer::Executor,
        Layer::Network,
        Layer::Kafka,
        Layer::Postgres,
        Layer::Engine,
        Layer::Load,
        Layer::Oracle,
        Layer::Meters,
        Layer::Recording,
        Layer::Harness,
    ];

    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Layer::Executor => "executor",
            Layer::Network => "network",
            Layer::Kafka => "kafka",
            Layer::Postgres => "postgres",
            Layer::Engine => "engine",
            Layer::Load => "load",
            Layer::Oracle => "oracle",
            Layer::Meters => "meters",
            Layer::Recording => "recording",
            Layer::Harness => "harness",
        }
    }

    fn of(work: Work<'_>) -> Layer {
        match work {
            Work::Loop => Layer::Executor,
            Work::Network => Layer::Network,
            Work::Task(POSTGRES) => Layer::Postgres,
            Work::Task(name) if name.starts_with("kafka-") => Layer::Kafka,
            Work::Task(name) => {
                let outside = ["client-", "reader-", "operator"];
                let is_outside = outside.iter().any(|prefix| name.starts_with(prefix));
                if is_outside { Layer::Load } else { Layer::Engine }
            }
            Work::Judge => Layer::Oracle,
            Work::Meters => Layer::Meters,
            Work::Trace | Work::Recorder => Layer::Recording,
        }
    }
}

/// Adds up the time of each layer in each phase.
#[derive(Clone)]
pub struct LayerMeter(Rc<RefCell<Inner>>);

struct Inner {
    nested: Vec<Layer>,
    since: Instant,
    phase: Phase,
    seconds: BTreeMap<(Phase, Layer), f64>,
    switches: u64,
}

impl Inner {
    /// Charges the time since the last change to the layer that was at work.
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures the machine")]
    fn charge(&mut self) {
        let now = Instant::now();
        let layer = self.nested.last().copied().unwrap_or(Layer::Harness);
        let spent = now.duration_since(self.since).as_secs_f64();
        *self.seconds.entry((self.phase, layer)).or_default() += spent;
        self.since = now;
        self.switches += 1;
    }
}

impl Default for LayerMeter {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures the machine")]
    fn default() -> Self {
        Self(Rc::new(RefCell::new(Inner {
            nested: Vec::new(),
            since: Instant::now(),
            phase: Phase::Warmup,
            seconds: BTreeMap::new(),
            switches: 0,
        })))
    }
}

impl LayerMeter {
    fn probe(&self) -> Probe {
        let inner = Rc::clone(&self.0);
        Rc::new(move |work: Option<Work<'_>>| {
            let inner = &mut inner.borrow_mut();
            inner.charge();
            match work {
                Some(work) => inner.nested.push(Layer::of(work)),
                None => drop(inner.nested.pop()),
            }
        })
    }

    fn begin(&self, phase: Phase) {
        let inner = &mut self.0.borrow_mut();
        inner.charge();
        inner.phase = phase;
    }

    /// Share of each layer in the time of a phase.
    pub fn shares(&self, phase: Phase) -> BTreeMap<Layer, f64> {
        let inner = self.0.borrow();
        let of = |layer| inner.seconds.get(&(phase, layer)).copied().unwrap_or(0.0);
        let all: f64 = Layer::ALL.into_iter().map(of).sum();
        Layer::ALL.into_iter().map(|layer| (layer, of(layer) / all)).collect()
    }

    /// Changes of work seen so far: each cost one look at the clock.
    pub fn switches(&self) -> u64 {
        self.0.borrow().switches
    }
}
