//! The instances of a process: one OS thread each.
//!
//! # Invariants
//! - Whatever way a thread ends, it says so: nobody waits for an instance that is gone.

use std::collections::BTreeSet;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;

use backdate_engine::adapters;
use backdate_engine::adapters::system::{CrashPoints, Stop};
use backdate_engine::adapters::telemetry::health::Health;
use backdate_engine::adapters::telemetry::logs;
use backdate_engine::adapters::telemetry::metrics::Metrics;
use backdate_engine::runtime::ProcessKind;
use futures_util::future::{Either, select};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::config::Config;
use super::{Happening, Options, ServeError, WORK_MAX, monitor, ports};

/// What all threads of a process share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) metrics: Metrics,
    pub(super) health: Health,
    pub(super) repeats: logs::Repeats,
    pub(super) stop: Stop,
    pub(super) points: CrashPoints,
    pub(super) happenings: UnboundedSender<Happening>,
    /// Where `query-api` listens, if it is to run.
    pub(super) api: Option<Arc<TcpListener>>,
}

impl Shared {
    /// With nothing measured, checked or asked yet.
    pub(super) fn of(config: Config, happenings: &UnboundedSender<Happening>) -> Self {
        Self {
            config,
            metrics: Metrics::default(),
            health: Health::expecting(monitor::CHECKS),
            repeats: logs::Repeats::default(),
            stop: Stop::default(),
            points: CrashPoints::default(),
            happenings: happenings.clone(),
            api: None,
        }
    }
}

/// An instance that is to run.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) kind: ProcessKind,
    pub(super) name: String,
}

/// The instances that the options ask for.
pub(super) fn instances(options: &Options) -> Result<Vec<Instance>, ServeError> {
    let kinds: BTreeSet<ProcessKind> = match options.processes.as_slice() {
        [] => ProcessKind::ALL.iter().copied().collect(),
        named => named.iter().copied().collect(),
    };
    let place = place();
    let mut instances = Vec::new();
    for kind in kinds {
        for number in 1..=options.config.instances_of(kind) {
            instances.push(Instance { kind, name: format!("{kind}-{number}@{place}") });
        }
    }
    match (&options.name, instances.as_mut_slice()) {
        (Some(name), [only]) => only.name.clone_from(name),
        (Some(_), several) => return Err(ServeError::Name(several.len())),
        (None, _) => {}
    }
    Ok(instances)
}

/// Host and process, so that an instance can be found among those of many machines.
fn place() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "localhost",
        name => name,
    };
    format!("{host}:{}", std::process::id())
}

/// The instances that run.
pub(super) struct Fleet {
    running: BTreeSet<String>,
    stopping: watch::Sender<bool>,
}

impl Fleet {
    /// Starts a thread for each.
    pub(super) fn start(shared: &Shared, instances: Vec<Instance>) -> io::Result<Self> {
        let (stopping, asked) = watch::channel(false);
        let running = instances.iter().map(|instance| instance.name.clone()).collect();
        for instance in instances {
            start(shared.clone(), instance, asked.clone())?;
        }
        shared.health.note("instances", Ok(()));
        Ok(Self { running, stopping })
    }

    /// One whose instance never ends.
    #[cfg(test)]
    pub(super) fn stuck(name: &str) -> Self {
        Self { running: [name.to_owned()].into(), stopping: watch::channel(false).0 }
    }

    /// Asks all to stop.
    pub(super) fn stop(&self, shared: &Shared) {
        shared.stop.ask();
        self.stopping.send_replace(true);
    }

    /// Strikes one off.
    pub(super) fn ended(&mut self, name: &str) {
        self.running.remove(name);
    }

    /// Whether none runs.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Those that run.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.running.iter().map(String::as_str).collect();
        names.join(", ")
    }
}

/// Says that an instance has ended when its thread unwinds or returns.
struct Farewell(String, UnboundedSender<Happening>);

impl Drop for Farewell {
    fn drop(&mut self) {
        // Nobody listens if the process is ending.
        let _ = self.1.send(Happening::Ended(std::mem::take(&mut self.0)));
    }
}

#[allow(clippy::disallowed_methods, reason = "an instance of the engine has a thread of its own")]
fn start(shared: Shared, instance: Instance, asked: watch::Receiver<bool>) -> io::Result<()> {
    let runtime = runtime()?;
    let thread = std::thread::Builder::new().name(instance.name.clone());
    thread.spawn(move || {
        let _farewell = Farewell(instance.name.clone(), shared.happenings.clone());
        // The set goes before the runtime: what is dropped with it may still want its timers.
        LocalSet::new().block_on(&runtime, run(&shared, &instance, asked));
    })?;
    Ok(())
}

/// Runs an instance until it has stopped, or until it has had its time to stop.
async fn run(shared: &Shared, instance: &Instance, asked: watch::Receiver<bool>) {
    let ports = match ports::ports(shared, instance) {
        Ok(ports) => ports,
        Err(error) => {
            return logs::fail("It cannot listen", Some(&instance.name), &error.to_string());
        }
    };
    let work = adapters::run(instance.kind, ports, shared.config.knobs.clone());
    let limit = pin!(limit(asked));
    if let Either::Right(_) = select(work, limit).await {
        logs::warn("An instance was cut off in its work, which is repeated", &instance.name);
    }
}

#[allow(clippy::disallowed_methods, reason = "a stop is held to the machine's time")]
async fn limit(mut asked: watch::Receiver<bool>) {
    // An error says that the first thread is gone, and with it the process.
    let _ = asked.wait_for(|asked| *asked).await;
    tokio::time::sleep(WORK_MAX).await;
}

/// A runtime for one thread.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Logs panics of all threads and tells the first one.
pub(super) fn report_panics(happenings: &UnboundedSender<Happening>) {
    let happenings = happenings.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        logs::fail("An instance panicked", thread.name(), &panic.to_string());
        let _ = happenings.send(Happening::Panicked);
    }));
}
