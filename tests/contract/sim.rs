//! The simulated sites: each body runs as a process of a world of its own.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use backdate::cluster::{Database, POSTGRES};
use backdate::kafka::{self, ClusterSpec, Timings};
use backdate::postgres::client::Client;
use backdate::postgres::profile::Profile;
use backdate::postgres::server;
use backdate::world::{Control, Process, TaskChoice, World, WorldConfig};
use backdate_engine::domain::time::Timestamp;
use backdate_engine::ports::clock::Clock;
use backdate_reports::recording::{CrashCause, SimTime};

use super::site::{Assigned, LogSettings, LogSite, Site, StoreSettings, StoreSite};

/// Name of the process that runs the body.
const BODY: &str = "body";
/// Of worlds whose seed does not matter.
const SEED: u64 = 7;
/// Longer than any body takes.
const END: SimTime = SimTime(900_000_000_000);

/// The clock of a simulated machine.
#[derive(Clone)]
pub(crate) struct SimClock(Process);

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.0.wall()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }
}

/// A machine of a world.
#[derive(Clone)]
pub(crate) struct SimSite {
    process: Process,
    control: Control,
    clock: SimClock,
}

impl SimSite {
    fn new(process: Process, control: Control) -> Self {
        Self { clock: SimClock(process.clone()), process, control }
    }
}

impl Site for SimSite {
    type Clock = SimClock;

    fn clock(&self) -> &SimClock {
        &self.clock
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.process.spawn(task);
    }
}

/// A machine beside a simulated database.
#[derive(Clone)]
pub(crate) struct SimStore {
    site: SimSite,
    database: Database,
}

impl SimStore {
    /// What is committed, and what can be broken.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// A client with a pool of that many connections.
    pub(crate) fn client(&self, connections: usize) -> Client {
        Client::with_connections(self.site.process.clone(), POSTGRES, connections)
    }
}

impl Site for SimStore {
    type Clock = SimClock;

    fn clock(&self) -> &SimClock {
        &self.site.clock
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.site.spawn(task);
    }
}

impl StoreSite for SimStore {
    type Store = Client;
    type Transaction = backdate::postgres::client::Open;

    fn store(&self) -> Client {
        self.client(4)
    }

    async fn kill_sessions(&self) {
        self.database.control.kill_session(BODY);
        self.sleep(10).await;
    }

    async fn lose_commit_answer(&self) {
        self.database.control.lose_commit_answer(1);
    }

    async fn crash(&self) {
        self.site.control.crash(POSTGRES, CrashCause::Scheduled);
        self.sleep(500).await;
        self.site.control.restart(POSTGRES);
        self.sleep(100).await;
    }
}

/// A machine beside simulated brokers.
#[derive(Clone)]
pub(crate) struct SimLog {
    site: SimSite,
    cluster: kafka::Cluster,
}

impl SimLog {
    /// What can be done to processes.
    pub(crate) fn control(&self) -> &Control {
        &self.site.control
    }

    /// The brokers.
    pub(crate) fn cluster(&self) -> &kafka::Cluster {
        &self.cluster
    }
}

impl Site for SimLog {
    type Clock = SimClock;

    fn clock(&self) -> &SimClock {
        &self.site.clock
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.site.spawn(task);
    }
}

impl Assigned for kafka::Consumer {
    fn assigned(&self) -> Vec<u32> {
        self.assignment().map(|(_, partition)| partition).collect()
    }
}

impl LogSite for SimLog {
    type Log = kafka::Client;
    type Consumer = kafka::Consumer;
    type Producer = kafka::Producer;

    fn log(&self) -> kafka::Client {
        self.cluster.client(self.site.process.clone())
    }

    async fn crash(&self, down_ms: u64) {
        let broker = ClusterSpec::broker_name(1);
        self.site.control.crash(&broker, CrashCause::Scheduled);
        self.sleep(down_ms).await;
        self.site.control.restart(&broker);
    }
}

/// Runs a body beside a database.
pub(crate) fn store<F: Future<Output = ()> + 'static>(
    settings: StoreSettings,
    body: impl Fn(SimStore) -> F + 'static,
) {
    store_seeded(SEED, settings, body);
}

/// Runs a body beside a database in the world of a seed, which picks the next of several tasks.
pub(crate) fn store_seeded<F: Future<Output = ()> + 'static>(
    seed: u64,
    settings: StoreSettings,
    body: impl Fn(SimStore) -> F + 'static,
) {
    let database = Database::default();
    let profile = profile(&settings);
    let server = server::main(profile, database.disk.clone(), database.control.clone());
    run(seed, &[(POSTGRES.into(), server)], move |site| {
        body(SimStore { site, database: database.clone() })
    });
}

/// The server's profile.
fn profile(settings: &StoreSettings) -> Profile {
    Profile {
        lock_timeout_ms: settings.lock_timeout_ms,
        statement_timeout_ms: settings.statement_timeout_ms,
        idle_in_transaction_session_timeout_ms: settings.idle_in_transaction_timeout_ms,
        deadlock_timeout_ms: settings.deadlock_timeout_ms,
        max_connections: settings.sessions_max,
        ..Profile::default()
    }
}

/// Runs a body beside a broker.
pub(crate) fn log<F: Future<Output = ()> + 'static>(
    settings: LogSettings,
    body: impl Fn(SimLog) -> F + 'static,
) {
    let timings = Timings {
        fetch_wait_ms: settings.fetch_wait_ms,
        heartbeat_ms: settings.session_ms / 5,
        session_ms: settings.session_ms,
        max_poll_ms: settings.max_poll_ms,
        initial_rebalance_ms: 0,
        ..Timings::default()
    };
    let replicas = settings.replicas;
    let spec = ClusterSpec {
        brokers: if replicas > 1 { 3 } else { 1 },
        replication: replicas,
        min_insync: replicas.min(2),
        partitions_default: settings.partitions,
        timings,
        ..ClusterSpec::default()
    };
    let cluster = kafka::Cluster::new(spec);
    let brokers: Vec<_> = cluster.brokers().collect();
    run(SEED, &brokers, move |site| body(SimLog { site, cluster: cluster.clone() }));
}

/// Runs a body that needs a clock alone.
pub(crate) fn clock<F: Future<Output = ()> + 'static>(
    _: super::site::ClockSettings,
    body: impl Fn(SimSite) -> F + 'static,
) {
    run(SEED, &[], body);
}

/// Runs a body beside some servers, and makes sure that it came to its end.
fn run<F: Future<Output = ()> + 'static>(
    seed: u64,
    servers: &[(smol_str::SmolStr, backdate::world::Main)],
    body: impl Fn(SimSite) -> F + 'static,
) {
    let config = WorldConfig {
        seed,
        task_choice: TaskChoice::Seeded,
        latency: (Duration::from_micros(100), Duration::from_micros(200)),
        start: Timestamp::parse("2025-01-01").expect("a date"),
    };
    let mut world = World::new(config, Box::new(|_| {}));
    let control = world.control();
    for (name, main) in servers {
        control.add_process(name.clone(), Rc::clone(main));
    }
    let ended = Rc::new(Cell::new(false));
    let end = Rc::clone(&ended);
    let body = Rc::new(body);
    let stop = control.clone();
    let main: backdate::world::Main = Rc::new(move |process| {
        let (body, end, stop) = (Rc::clone(&body), Rc::clone(&end), stop.clone());
        Box::pin(async move {
            // Servers listen before anybody connects.
            process.sleep(Duration::from_millis(10)).await;
            body(SimSite::new(process, stop.clone())).await;
            end.set(true);
            stop.stop();
        })
    });
    control.add_process(BODY, main);
    world.run_until(END);
    assert!(ended.get(), "the body has stopped half way");
}
