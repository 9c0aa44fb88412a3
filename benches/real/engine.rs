//! The engine as one process of the machine, with a schema and topics of its own.
//!
//! It is the release binary, `backdate serve`, with all processes in it; what it did is asked from
//! the database and from its own metrics.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use backdate::runner::stage::{GROUPS, is_done};
use backdate_engine::adapters::kafka::config::KafkaConfig;
use backdate_engine::adapters::kafka::{Client, admin};
use backdate_engine::adapters::postgres::config::PostgresConfig;
use backdate_engine::adapters::postgres::{Store, drop_schema, migrate};
use backdate_engine::ports::log::{Headers, Log, LogProducer, NewRecord, Topic};
use backdate_engine::ports::store::Store as _;
use backdate_engine::ports::store::statements::{Backlog, ReadBacklog};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::copy::connect;
use super::now;

/// Between two looks at what is left to do.
const LOOK: Duration = Duration::from_millis(50);
/// Whether a key is behind, and how many events there have been. As long as a key is behind,
/// nothing needs to be counted, which takes long in tables that the engine is busy with.
const GLANCE: &str = "SELECT EXISTS (SELECT FROM position_state WHERE status = 'REPROCESSING' OR \
     watermark_date <> (SELECT max(business_date) FROM business_dates)), \
     (SELECT last_value FROM outbox_id)";
/// Whether no event is left but those that valuation does not wait for.
const SENT: &str = "SELECT NOT EXISTS (SELECT FROM outbox_events WHERE topic NOT IN \
     ('processed_transactions_completed', 'daily_position_snapshot_persisted', \
     'portfolio_aggregation_required'))";
/// How long a measured load may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long the engine may stand still without its members being taken for dead.
const SESSION_MS: u32 = 45_000;
/// Partitions of every topic.
const PARTITIONS: u32 = 8;
/// Records of one send.
const SEND: usize = 2_000;

/// Where the services are, from the environment.
pub(super) struct Services {
    /// The broker.
    pub(super) kafka: KafkaConfig,
    /// The database.
    pub(super) postgres: PostgresConfig,
    /// Where the engine finds the database, if not there.
    pub(super) link: Option<SocketAddr>,
}

impl Services {
    /// Names of its own for one benchmark.
    pub(super) fn from_environment(name: &str) -> Self {
        let variable = |name: &str| {
            variable(name).unwrap_or_else(|| panic!("{name} must name a server; see README"))
        };
        let id = format!("bench_{name}_{}", std::process::id());
        let kafka = KafkaConfig {
            bootstrap_servers: variable("BACKDATE_KAFKA"),
            prefix: format!("{id}."),
            partitions: PARTITIONS,
            session_timeout_ms: SESSION_MS,
            ..KafkaConfig::default()
        };
        let postgres = PostgresConfig::parse_url(&variable("BACKDATE_POSTGRES"));
        let postgres = postgres.expect("BACKDATE_POSTGRES is an address");
        Self { kafka, postgres: PostgresConfig { schema: id, ..postgres }, link: None }
    }
}

/// A running engine and the means to feed and to watch it.
pub(super) struct Engine {
    services: Services,
    store: Store,
    connection: PgConnection,
    producer: <Client as Log>::Producer,
    child: Option<Child>,
    /// Where its metrics are.
    http: SocketAddr,
    /// Where its API is.
    api: SocketAddr,
    folder: PathBuf,
}

impl Engine {
    /// Makes schema and topics; nothing runs yet.
    pub(super) async fn prepare(services: Services, folder: &Path) -> Self {
        migrate(&services.postgres).await.expect("the database takes the schema");
        let topics: Vec<(Topic, u32)> =
            Topic::ALL.iter().map(|topic| (*topic, PARTITIONS)).collect();
        admin::create_topics(&services.kafka, &topics).await.expect("the broker takes the topics");
        let store = Store::new(&services.postgres, "bench");
        let connection = connect(&services.postgres).await;
        let producer = Client::new(&services.kafka, "bench").producer().await;
        let producer = producer.expect("the broker is there");
        let [http, api] = free_addresses();
        Self {
            services,
            store,
            connection,
            producer,
            child: None,
            http,
            api,
            folder: folder.to_path_buf(),
        }
    }

    /// Starts all processes in one, with instances and knobs as `cluster` says.
    pub(super) fn start(&mut self, cluster: &str) {
        let config = self.folder.join("serve.toml");
        std::fs::write(&config, self.configuration(cluster))
            .expect("the target folder is writable");
        let log = std::fs::File::create(self.folder.join("serve.log")).expect("writable");
        let binary = backdate_benches::results_path().with_file_name("release").join("backdate");
        let child = Command::new(&binary)
            .args(["serve", "--harness", "--config"])
            .arg(&config)
            // What the file says would give way to the environment of the benchmark.
            .env_remove("BACKDATE_POSTGRES")
            .env("BACKDATE_KAFKA", &self.services.kafka.bootstrap_servers)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let cure = "build it first: cargo build --release --bin backdate";
        self.child =
            Some(child.unwrap_or_else(|error| panic!("{}: {error}; {cure}", binary.display())));
    }

    fn configuration(&self, cluster: &str) -> String {
        let Services { kafka, postgres, link } = &self.services;
        let link = link.map(|link| (link.ip().to_string(), link.port()));
        let (host, port) = link.unwrap_or_else(|| (postgres.host.clone(), postgres.port));
        format!(
            "[kafka]\nbootstrap_servers = \"{}\"\nprefix = \"{}\"\nfetch_wait_ms = 20\n\
             session_timeout_ms = {SESSION_MS}\n\
             [postgres]\nhost = \"{host}\"\nport = {port}\nuser = \"{}\"\npassword = \"{}\"\n\
             database = \"{}\"\nschema = \"{}\"\n[http]\nlisten = \"{}\"\n\
             [api]\nlisten = \"{}\"\n{cluster}",
            kafka.bootstrap_servers,
            kafka.prefix,
            postgres.user,
            postgres.password.reveal(),
            postgres.database,
            postgres.schema,
            self.http,
            self.api,
        )
    }

    /// Sends messages in order.
    pub(super) async fn send(
        &mut self,
        topic: Topic,
        messages: impl IntoIterator<Item = (String, Value)>,
    ) {
        self.send_records(records(topic, messages)).await;
    }

    /// Sends records in order, and waits until they are acknowledged.
    pub(super) async fn send_records(&mut self, records: Vec<NewRecord>) {
        for batch in records.chunks(SEND) {
            self.producer.send(batch.to_vec()).await.expect("the broker is there");
        }
    }

    /// Waits until nothing is left to do; seconds from `begun` to when that was so.
    pub(super) async fn settled(&mut self, begun: Instant) -> f64 {
        loop {
            let looked = now();
            assert!(looked - begun < PATIENCE, "not done after {PATIENCE:?}");
            let (is_behind, events) = self.glance().await;
            // Asking the broker takes a while. Whatever the engine did meanwhile has left an event.
            if !is_behind
                && self.is_idle().await
                && self.lag(&GROUPS).await == 0
                && self.is_idle().await
                && self.glance().await == (false, events)
            {
                return (looked - begun).as_secs_f64();
            }
            pause(LOOK).await;
        }
    }

    /// Waits until every key is valued, whatever follows from that; seconds from `begun` to when
    /// that was so.
    pub(super) async fn valued(&mut self, begun: Instant) -> f64 {
        let follows = |group: &str| matches!(group, "cashflow-calculator" | "timeseries-generator");
        let groups: Vec<_> = GROUPS.into_iter().filter(|(group, _)| !follows(group)).collect();
        loop {
            let looked = now();
            assert!(looked - begun < PATIENCE, "not valued after {PATIENCE:?}");
            // What was taken in has left an event, which goes to a topic and is taken in there.
            if !self.glance().await.0
                && self.lag(&groups).await == 0
                && self.has_sent_all_but_what_follows().await
                && self.lag(&groups).await == 0
                && self.is_valued().await
            {
                return (looked - begun).as_secs_f64();
            }
            pause(LOOK).await;
        }
    }

    async fn has_sent_all_but_what_follows(&mut self) -> bool {
        let row = sqlx::query(SENT).fetch_one(&mut self.connection).await;
        row.expect("the database is there").get(0)
    }

    async fn is_valued(&self) -> bool {
        let backlog = self.store.query(ReadBacklog {}).await.expect("the database is there");
        is_done(&Backlog { outbox_events: 0, ..backlog })
    }

    async fn glance(&mut self) -> (bool, i64) {
        let row = sqlx::query(GLANCE).fetch_one(&mut self.connection).await;
        let row = row.expect("the database is there");
        (row.get(0), row.get(1))
    }

    async fn is_idle(&self) -> bool {
        is_done(&self.store.query(ReadBacklog {}).await.expect("the database is there"))
    }

    async fn lag(&self, groups: &[(&str, &[Topic])]) -> u64 {
        admin::lag(&self.services.kafka, groups).await.expect("the broker is there")
    }

    /// Statements that the engine has run so far, from its own metrics.
    pub(super) async fn statements(&self) -> f64 {
        let metrics = self.metrics().await.expect("the engine answers");
        let counts =
            metrics.lines().filter(|line| line.starts_with("db_operation_latency_seconds_count"));
        counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// Milliseconds that statements have taken so far, from those metrics: of each that is named.
    pub(super) async fn statement_ms(&self, operations: &BTreeSet<&str>) -> f64 {
        let metrics = self.metrics().await.expect("the engine answers");
        let sum = metrics.lines().filter_map(|line| {
            let rest = line.strip_prefix("db_operation_latency_seconds_sum{operation=\"")?;
            let (operation, rest) = rest.split_once('"')?;
            let seconds: f64 = rest.rsplit_once(' ')?.1.parse().ok()?;
            operations.contains(operation).then_some(seconds * 1e3)
        });
        sum.sum()
    }

    async fn metrics(&self) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.http).await?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// Where its API is.
    pub(super) fn api(&self) -> SocketAddr {
        self.api
    }

    /// Where its tables are.
    pub(super) fn services(&self) -> &Services {
        &self.services
    }

    /// Lets the engine stand still, so that its looks for work cost nobody else anything.
    pub(super) fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub(super) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the engine runs");
        let pid = i32::try_from(child.id()).expect("a process has a number");
        kill(Pid::from_raw(pid), signal).expect("the engine runs");
    }

    /// Ends it and removes what it made.
    pub(super) async fn finish(mut self) {
        self.stop();
        drop_schema(&self.services.postgres).await.expect("the database is there");
        admin::delete_topics(&self.services.kafka, &GROUPS.map(|(group, _)| group))
            .await
            .expect("the broker is there");
    }

    /// Ends the processes.
    pub(super) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The end of its standard input is the end of it.
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// Two addresses that nobody listens on.
fn free_addresses() -> [SocketAddr; 2] {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let held = [(); 2].map(bind);
    held.map(|port| port.local_addr().expect("it is bound"))
}

/// Messages as the records of a topic.
pub(super) fn records(
    topic: Topic,
    messages: impl IntoIterator<Item = (String, Value)>,
) -> Vec<NewRecord> {
    let record = |(key, value): (String, Value)| NewRecord {
        topic,
        key: key.into(),
        value: value.to_string().into_bytes(),
        headers: Headers::default(),
    };
    messages.into_iter().map(record).collect()
}

#[expect(clippy::disallowed_methods, reason = "servers are named by the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "a benchmark waits for real servers")]
pub(super) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// What runs: as many valuers as keep two cores and the database busy, large batches, short pauses.
pub(super) const CLUSTER: &str = "
[instances]
persistence = 2
position-calculator = 2
valuation-scheduler = 1
position-valuation-calculator = 4
timeseries-generator = 2
outbox-dispatcher = 1

[knobs]
consumer_poll_ms = 5
consumer_batch = 500
outbox_poll_ms = 20
outbox_batch = 4000
outbox_lanes = 1
scheduler_poll_ms = 50
worker_poll_ms = 10
replay_poll_ms = 10
job_keys = 400
job_days = 100
visit_batch = 800
fanout_batch = 500
";
