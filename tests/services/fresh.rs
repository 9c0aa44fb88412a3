//! What belongs to one test: a schema, or a database with its role, and a prefix of topics and
//! groups. All of it is removed when the guard is dropped, also by a test that fails.

use std::time::Duration;

use backdate_engine::adapters::kafka::config::KafkaConfig;
use backdate_engine::adapters::postgres::config::PostgresConfig;
use backdate_engine::adapters::secret::Secret;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection};

/// How long a server may take to list or remove something.
const PATIENCE: Duration = Duration::from_secs(20);

/// A schema of one test; the schema itself is made by the adapter's migration.
pub(crate) struct FreshSchema {
    config: PostgresConfig,
}

impl FreshSchema {
    pub(super) fn new(config: PostgresConfig) -> Self {
        Self { config }
    }

    /// How to reach it.
    pub(crate) fn config(&self) -> &PostgresConfig {
        &self.config
    }

    /// The same for a plain client.
    pub(crate) fn options(&self) -> PgConnectOptions {
        options(&self.config).options([("search_path", self.config.schema.as_str())])
    }
}

impl Drop for FreshSchema {
    fn drop(&mut self) {
        let statement = format!("DROP SCHEMA IF EXISTS \"{}\" CASCADE", self.config.schema);
        // A server that is gone has nothing to remove.
        let _ = run_as(&options(&self.config), vec![statement]);
    }
}

/// What a database of one test allows.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseSettings {
    /// When a waiting session looks for a deadlock.
    pub(crate) deadlock_timeout_ms: u64,
    /// Sessions of the role.
    pub(crate) sessions_max: usize,
}

/// A database of one test, with a role that owns it and is no superuser.
pub(crate) struct FreshDatabase {
    config: PostgresConfig,
    superuser: PgConnectOptions,
}

impl FreshDatabase {
    pub(super) fn new(server: &PostgresConfig, name: &str, settings: &DatabaseSettings) -> Self {
        let superuser = options(server);
        let DatabaseSettings { deadlock_timeout_ms, sessions_max } = settings;
        let statements = [
            format!("CREATE ROLE {name} LOGIN PASSWORD 'secret' CONNECTION LIMIT {sessions_max}"),
            format!("ALTER ROLE {name} SET deadlock_timeout = {deadlock_timeout_ms}"),
            format!("CREATE DATABASE {name} OWNER {name}"),
        ];
        run_as(&superuser, statements.into()).expect("a superuser can make a database");
        let config = PostgresConfig {
            user: name.to_owned(),
            password: Secret::new("secret"),
            database: name.to_owned(),
            schema: "engine".to_owned(),
            ..server.clone()
        };
        Self { superuser: superuser.database(name), config }
    }

    /// How to reach it.
    pub(crate) fn config(&self) -> &PostgresConfig {
        &self.config
    }

    /// How a superuser reaches it.
    pub(crate) fn superuser(&self) -> &PgConnectOptions {
        &self.superuser
    }
}

impl Drop for FreshDatabase {
    fn drop(&mut self) {
        let (name, server) = (&self.config.database, self.superuser.clone().database("postgres"));
        let statements = [
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            format!("DROP ROLE IF EXISTS {name}"),
        ];
        // A server that is gone has nothing to remove.
        let _ = run_as(&server, statements.into());
    }
}

fn options(config: &PostgresConfig) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host(&config.host)
        .port(config.port)
        .username(&config.user)
        .password(config.password.reveal())
        .database(&config.database)
}

/// Runs statements one by one, each in a transaction of its own.
fn run_as(options: &PgConnectOptions, statements: Vec<String>) -> Result<(), sqlx::Error> {
    let options = options.clone();
    apart(async move || {
        let mut connection = PgConnection::connect_with(&options).await?;
        for statement in statements {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
        }
        connection.close().await
    })
}

/// A prefix of topics and groups of one test.
pub(crate) struct FreshPrefix {
    config: KafkaConfig,
}

impl FreshPrefix {
    pub(super) fn new(config: KafkaConfig) -> Self {
        Self { config }
    }

    /// How to reach the broker under this prefix.
    pub(crate) fn config(&self) -> &KafkaConfig {
        &self.config
    }
}

impl Drop for FreshPrefix {
    fn drop(&mut self) {
        let config = self.config.clone();
        // A server that is gone has nothing to remove.
        let _ = apart(async move || {
            let mut client = ClientConfig::new();
            client.set("bootstrap.servers", &config.bootstrap_servers);
            let consumer: BaseConsumer = client.create().ok()?;
            let metadata = consumer.fetch_metadata(None, PATIENCE).ok()?;
            let topics = metadata.topics().iter().map(|topic| topic.name());
            let topics: Vec<&str> = topics.filter(|t| t.starts_with(&config.prefix)).collect();
            let groups = consumer.fetch_group_list(None, PATIENCE).ok()?;
            let groups = groups.groups().iter().map(|group| group.name());
            let groups: Vec<&str> = groups.filter(|g| g.starts_with(&config.prefix)).collect();
            let admin: AdminClient<DefaultClientContext> = client.create().ok()?;
            let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
            if !topics.is_empty() {
                admin.delete_topics(&topics, &options).await.ok()?;
            }
            if !groups.is_empty() {
                admin.delete_groups(&groups, &options).await.ok()?;
            }
            Some(())
        });
    }
}

/// Runs something to its end on a thread of its own, as a guard may be made and dropped inside or
/// outside of a runtime.
#[allow(clippy::disallowed_methods, reason = "real servers are asked by real threads")]
fn apart<T: Send + 'static, F: AsyncFnOnce() -> T + Send + 'static>(task: F) -> T {
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be built").block_on(task())
    });
    thread.join().expect("the task does not panic")
}
