//! The real sites: each body runs in a runtime of its own, with a database or topics of its own.

use std::rc::Rc;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use backdate_engine::adapters::kafka::{self, KafkaConfig};
use backdate_engine::adapters::postgres::config::PostgresConfig;
use backdate_engine::adapters::postgres::{self, Open, Store};
use backdate_engine::adapters::system::SystemClock;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::proxy::Proxy;
use super::site::{Assigned, ClockSettings, LogSettings, LogSite, Site, StoreSettings, StoreSite};
use crate::services::{Act, DatabaseSettings, FreshDatabase, FreshPrefix, Private, Services};

/// What sessions of a body are called.
const BODY: &str = "body";
/// Longer than any body takes.
const END: Duration = Duration::from_secs(120);

/// This machine.
#[derive(Clone)]
pub(crate) struct RealSite {
    clock: SystemClock,
}

impl RealSite {
    pub(super) fn new() -> Self {
        Self { clock: SystemClock }
    }
}

impl Site for RealSite {
    type Clock = SystemClock;

    fn clock(&self) -> &SystemClock {
        &self.clock
    }

    #[allow(clippy::disallowed_methods, reason = "the real site is this machine")]
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task);
    }
}

/// This machine beside a PostgreSQL.
#[derive(Clone)]
pub(crate) struct RealStore {
    site: RealSite,
    database: Rc<RealDatabase>,
}

struct RealDatabase {
    fresh: FreshDatabase,
    /// By way of the proxy.
    config: PostgresConfig,
    proxy: Proxy,
    /// A server that may be crashed.
    server: Option<Private>,
}

impl RealStore {
    /// Makes a database with the engine's tables.
    pub(crate) async fn new(settings: &StoreSettings) -> Self {
        let server = settings.crashes.then(Private::postgres);
        let limits = DatabaseSettings {
            deadlock_timeout_ms: settings.deadlock_timeout_ms,
            sessions_max: settings.sessions_max,
        };
        let fresh = match &server {
            Some(server) => server.fresh_database(&limits),
            None => Services::get().postgres().fresh_database(&limits),
        };
        postgres::migrate(fresh.config()).await.expect("an empty database can be migrated");
        let proxy = Proxy::to(&fresh.config().host, fresh.config().port).await;
        let config = PostgresConfig {
            port: proxy.port(),
            host: "127.0.0.1".to_owned(),
            lock_timeout_ms: settings.lock_timeout_ms,
            statement_timeout_ms: settings.statement_timeout_ms,
            idle_in_transaction_timeout_ms: settings.idle_in_transaction_timeout_ms,
            ..fresh.config().clone()
        };
        let database = Rc::new(RealDatabase { fresh, config, proxy, server });
        Self { site: RealSite::new(), database }
    }

    /// A client of that name with a pool of that many connections, without a proxy between.
    pub(crate) fn client(&self, name: &str, connections: u32) -> Store {
        let PostgresConfig { host, port, .. } = self.database.fresh.config().clone();
        let config = PostgresConfig { host, port, connections, ..self.database.config.clone() };
        Store::new(&config, name)
    }

    /// A plain connection as superuser.
    pub(crate) async fn superuser(&self) -> PgConnection {
        let options: &PgConnectOptions = self.database.fresh.superuser();
        PgConnection::connect_with(options).await.expect("the server is up")
    }
}

impl Site for RealStore {
    type Clock = SystemClock;

    fn clock(&self) -> &SystemClock {
        self.site.clock()
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.site.spawn(task);
    }
}

impl StoreSite for RealStore {
    type Store = Store;
    type Transaction = Open;

    fn store(&self) -> Store {
        Store::new(&self.database.config, BODY)
    }

    async fn kill_sessions(&self) {
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = '{BODY}'"
        );
        let mut superuser = self.superuser().await;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut superuser).await.expect("it may");
        self.sleep(100).await;
    }

    async fn lose_commit_answer(&self) {
        self.database.proxy.lose_commit_answer();
    }

    async fn crash(&self) {
        let server = self.database.server.as_ref().expect("the settings say that it crashes");
        server.act(Act::Kill);
        server.act(Act::Start);
    }
}

/// This machine beside a Kafka.
#[derive(Clone)]
pub(crate) struct RealLog {
    site: RealSite,
    topics: Rc<RealTopics>,
}

struct RealTopics {
    config: KafkaConfig,
    /// Removes what bears the prefix.
    _fresh: FreshPrefix,
    /// A broker that may be crashed.
    broker: Option<Arc<Private>>,
    /// Three brokers that may be crashed.
    cluster: Option<MutexGuard<'static, Private>>,
}

impl RealLog {
    /// Makes topics.
    pub(crate) async fn new(settings: &LogSettings) -> Self {
        let broker = settings.crashes.then(|| Arc::new(Private::kafka()));
        let cluster = (settings.replicas > 1).then(Private::kafka_cluster);
        let fresh = match (&broker, &cluster) {
            (Some(broker), _) => broker.fresh_prefix(),
            (_, Some(cluster)) => cluster.fresh_prefix(),
            _ => Services::get().fresh_prefix(),
        };
        let ms = |ms: u64| u32::try_from(ms).expect("settings are small");
        let config = KafkaConfig {
            partitions: settings.partitions,
            replication_factor: settings.replicas,
            session_timeout_ms: ms(settings.session_ms),
            max_poll_interval_ms: ms(settings.max_poll_ms),
            fetch_wait_ms: ms(settings.fetch_wait_ms),
            ..fresh.config().clone()
        };
        let topics: Vec<_> = settings.topics.iter().map(|t| (*t, settings.partitions)).collect();
        kafka::admin::create_topics(&config, &topics).await.expect("new topics can be made");
        let topics = Rc::new(RealTopics { config, _fresh: fresh, broker, cluster });
        Self { site: RealSite::new(), topics }
    }

    /// Starts or kills a broker of the body's own cluster; nothing else goes on meanwhile.
    pub(crate) fn act_on(&self, broker: u32, act: Act) {
        let cluster = self.topics.cluster.as_ref();
        cluster.expect("the settings say that there are replicas").act_on(broker, act);
    }

    /// How to reach the topics.
    pub(crate) fn config(&self) -> &KafkaConfig {
        &self.topics.config
    }
}

impl Site for RealLog {
    type Clock = SystemClock;

    fn clock(&self) -> &SystemClock {
        self.site.clock()
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

impl LogSite for RealLog {
    type Log = kafka::Client;
    type Consumer = kafka::Consumer;
    type Producer = kafka::Producer;

    fn log(&self) -> kafka::Client {
        kafka::Client::new(&self.topics.config, BODY)
    }

    #[allow(clippy::disallowed_methods, reason = "a script is waited for beside the body")]
    async fn crash(&self, down_ms: u64) {
        let topics = Rc::clone(&self.topics);
        let act = async |act| {
            let broker = topics.broker.as_ref().expect("the settings say that it crashes").clone();
            tokio::task::spawn_blocking(move || broker.act(act)).await.expect("it does not panic");
        };
        act(Act::Kill).await;
        self.sleep(down_ms).await;
        act(Act::Start).await;
    }
}

/// Runs a body beside a broker.
pub(crate) fn log<F: Future<Output = ()> + 'static>(
    settings: LogSettings,
    body: impl Fn(RealLog) -> F,
) {
    run(END, async move || {
        let site = RealLog::new(&settings).await;
        body(site).await;
    });
}

/// Runs a body beside a database.
pub(crate) fn store<F: Future<Output = ()> + 'static>(
    settings: StoreSettings,
    body: impl Fn(RealStore) -> F,
) {
    run(END, async move || {
        let site = RealStore::new(&settings).await;
        body(site).await;
    });
}

/// Runs a body that needs a clock alone.
pub(crate) fn clock<F: Future<Output = ()> + 'static>(
    _: ClockSettings,
    body: impl Fn(RealSite) -> F,
) {
    run(END, async move || body(RealSite::new()).await);
}

/// Runs something on a runtime of one thread, for so long at most.
#[allow(clippy::disallowed_methods, reason = "the real site is this machine")]
pub(crate) fn run<T>(end: Duration, body: impl AsyncFnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let tasks = tokio::task::LocalSet::new();
    let ended = tasks.block_on(&runtime, async { tokio::time::timeout(end, body()).await });
    ended.unwrap_or_else(|_| panic!("the body has not ended within {end:?}"))
}

/// Computes something on a thread of its own while real services are being asked.
#[allow(clippy::disallowed_methods, reason = "a simulated world takes no part in real time")]
pub(crate) async fn beside<T: Send + 'static>(compute: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(compute).await.expect("it does not panic")
}
