//! The configuration of `serve` and `migrate`: a TOML file, the environment, flags.
//!
//! Each decides over the one before it: defaults, file, `BACKDATE_KAFKA` and `BACKDATE_POSTGRES`,
//! `BACKDATE_POSTGRES_PASSWORD`, those of [`api`], flags. An address replaces only what it names:
//! one without a password leaves the password as it is.
//!
//! It refuses to guess: unknown keys, zeros and addresses that are none end the command before
//! anything is reached, each with one line that names the place, the key and the cure.
//!
//! # Invariants
//! - Nothing that is printed shows a password, nor an address as it was typed: it may hold one.

pub mod api;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use backdate_engine::adapters::kafka::config::KafkaConfig;
use backdate_engine::adapters::postgres::config::PostgresConfig;
use backdate_engine::adapters::secret::Secret;
use backdate_engine::runtime::{Knobs, ProcessKind};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub use api::{ApiConfig, ApiOverrides};

use crate::scenario::load::{Places, settings};
use crate::scenario::{Problem, Problems};

/// Environment variable with the brokers.
pub const KAFKA: &str = "BACKDATE_KAFKA";
/// Environment variable with the database's URL.
pub const POSTGRES: &str = "BACKDATE_POSTGRES";
/// Environment variable with the database's password.
pub const PASSWORD: &str = "BACKDATE_POSTGRES_PASSWORD";

/// What a process is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The broker.
    pub kafka: KafkaConfig,
    /// The database.
    pub postgres: PostgresConfig,
    /// The server for metrics and health.
    pub http: HttpConfig,
    /// What is asked from outside.
    pub api: ApiConfig,
    /// Instances of each process; a process that is not listed has one.
    pub instances: BTreeMap<ProcessKind, u32>,
    /// Knobs of all instances.
    pub knobs: Knobs,
}

/// The server for metrics and health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Address and port; port 0 is a free one, which is printed.
    pub listen: String,
}

impl Default for HttpConfig {
    fn default() -> Self {
        // Loopback: what is measured is nobody else's business unless somebody says so.
        Self { listen: "127.0.0.1:9464".to_owned() }
    }
}

/// Addresses from outside the file.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// `host:port`, separated by commas.
    pub kafka: Option<String>,
    /// `postgres://user:password@host:port/database`.
    pub postgres: Option<Secret>,
    /// Password of the database.
    pub password: Option<Secret>,
    /// Of `query-api`.
    pub api: ApiOverrides,
}

/// Reads the configuration.
///
/// # Errors
/// All that is wrong with it, one line each.
pub fn load(
    file: Option<&Path>,
    environment: &Addresses,
    flags: &Addresses,
) -> Result<Config, Problems> {
    let (mut config, places) = match file {
        None => (Config::default(), Places::default()),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| Problem {
                place: path.display().to_string(),
                field: String::new(),
                message: format!("cannot be read: {error}"),
            })?;
            settings::<Config>(path, &text)?
        }
    };
    let wrong: Vec<Problem> =
        problems(&config).map(|(field, message)| places.problem(&field, message)).collect();
    if !wrong.is_empty() {
        return Err(Problems(wrong));
    }
    for (addresses, kafka, postgres) in
        [(environment, KAFKA, POSTGRES), (flags, "--kafka", "--postgres")]
    {
        if let Some(servers) = &addresses.kafka {
            config.kafka.bootstrap_servers.clone_from(servers);
            if let Some(message) = brokers_problem(servers) {
                return Err(outside(kafka, message).into());
            }
        }
        if let Some(url) = &addresses.postgres {
            redirect(&mut config.postgres, url).map_err(|message| outside(postgres, message))?;
        }
        if let Some(password) = &addresses.password {
            config.postgres.password = password.clone();
        }
        config.api.redirect(&addresses.api);
    }
    match config.api.problem() {
        None => Ok(config),
        Some((field, message)) => Err(places.problem(field, message).into()),
    }
}

fn outside(place: &str, message: String) -> Problem {
    Problem { place: place.to_owned(), field: String::new(), message }
}

/// Points the database's configuration elsewhere.
fn redirect(config: &mut PostgresConfig, url: &Secret) -> Result<(), String> {
    let parsed = PostgresConfig::parse_url(url.reveal()).map_err(|error| error.to_string())?;
    config.host = parsed.host;
    config.port = parsed.port;
    config.user = parsed.user;
    config.database = parsed.database;
    if !parsed.password.reveal().is_empty() {
        config.password = parsed.password;
    }
    Ok(())
}

/// What is wrong with a configuration, by key.
fn problems(config: &Config) -> impl Iterator<Item = (String, String)> {
    let knobs = config.knobs.problems().into_iter();
    let knobs = knobs.map(|(name, wrong)| (format!("knobs.{name}"), wrong));
    let instances = config.instances.iter();
    let instances =
        instances.map(|(kind, count)| (format!("instances.{kind}"), Some(u64::from(*count))));
    let kafka = &config.kafka;
    let postgres = &config.postgres;
    let counts = [
        ("kafka.partitions", kafka.partitions.into()),
        ("kafka.replication_factor", kafka.replication_factor.into()),
        ("kafka.session_timeout_ms", kafka.session_timeout_ms.into()),
        ("kafka.max_poll_interval_ms", kafka.max_poll_interval_ms.into()),
        ("kafka.fetch_wait_ms", kafka.fetch_wait_ms.into()),
        ("kafka.delivery_timeout_ms", kafka.delivery_timeout_ms.into()),
        ("postgres.port", postgres.port.into()),
        ("postgres.connections", postgres.connections.into()),
        ("postgres.connect_timeout_ms", postgres.connect_timeout_ms),
        ("postgres.statement_timeout_ms", postgres.statement_timeout_ms),
        ("postgres.lock_timeout_ms", postgres.lock_timeout_ms),
        ("postgres.idle_in_transaction_timeout_ms", postgres.idle_in_transaction_timeout_ms),
    ];
    let counts = counts.map(|(name, count)| (name.to_owned(), Some(count)));
    let zeros = instances.chain(counts).filter(|(_, count)| *count == Some(0));
    let zeros = zeros.map(|(name, _)| (name, "= 0: must be at least 1".to_owned()));
    let names = [
        ("postgres.host", postgres.host.is_empty()),
        ("postgres.user", postgres.user.is_empty()),
        ("postgres.database", postgres.database.is_empty()),
        ("postgres.schema", postgres.schema.is_empty()),
    ];
    let names = names.into_iter().filter(|(_, is_empty)| *is_empty);
    let names = names.map(|(name, _)| (name.to_owned(), "= \"\": must not be empty".to_owned()));
    let brokers = brokers_problem(&kafka.bootstrap_servers);
    let brokers = brokers.map(|message| ("kafka.bootstrap_servers".to_owned(), message));
    let unsupported = kafka.unsupported();
    let unsupported = unsupported.map(|message| ("kafka.properties".to_owned(), message));
    let idle = idle_problem(config);
    let idle = idle.map(|message| ("postgres.idle_in_transaction_timeout_ms".to_owned(), message));
    let listen = config.listen().err().map(|message| ("http.listen".to_owned(), message));
    let kafka = brokers.into_iter().chain(unsupported);
    let all = knobs.chain(zeros).chain(names).chain(kafka).chain(idle).chain(listen);
    all.collect::<Vec<_>>().into_iter()
}

/// Events are sent within the transaction that takes them from the outbox: the database must not
/// end it while the broker may still acknowledge them.
fn idle_problem(config: &Config) -> Option<String> {
    let idle_ms = config.postgres.idle_in_transaction_timeout_ms;
    let delivery = config.kafka.delivery_timeout();
    // Zero has a complaint of its own.
    let limit = match delivery {
        Duration::MAX => "no limit".to_owned(),
        delivery => delivery.as_millis().to_string(),
    };
    (idle_ms > 0 && Duration::from_millis(idle_ms) <= delivery).then(|| {
        format!(
            "= {idle_ms}: must be more than kafka.delivery_timeout_ms ({limit}), or transactions \
             end while the broker may still acknowledge what they send"
        )
    })
}

/// What is wrong with a list of brokers. What was typed is not repeated: somebody may have given a
/// URL with a password.
fn brokers_problem(servers: &str) -> Option<String> {
    let is_address = |server: &str| {
        let port = server.trim().rsplit_once(':').filter(|(host, _)| !host.is_empty());
        port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
    };
    let wrong = servers.split(',').position(|server| !is_address(server))?;
    Some(format!("number {} is not HOST:PORT; several are separated by commas", wrong + 1))
}

impl Config {
    /// Instances of a process.
    pub fn instances_of(&self, kind: ProcessKind) -> u32 {
        self.instances.get(&kind).copied().unwrap_or(1)
    }

    /// Where the server for metrics and health listens.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub fn listen(&self) -> Result<SocketAddr, String> {
        let text = &self.http.listen;
        text.parse().map_err(|_| {
            format!("= {text:?}: must be an IP address and a port, e.g. \"127.0.0.1:9464\"")
        })
    }

    /// The effective configuration as a file could say it, without secrets.
    pub fn effective(&self) -> String {
        let mut root = Table::new();
        root.insert("kafka".into(), kafka_table(&self.kafka).into());
        root.insert("postgres".into(), postgres_table(&self.postgres).into());
        let http = Table::try_from(&self.http).expect("texts by name are TOML");
        root.insert("http".into(), http.into());
        root.insert("api".into(), self.api.effective().into());
        let instances = ProcessKind::ALL
            .iter()
            .map(|kind| (kind.to_string(), Value::from(self.instances_of(*kind))));
        root.insert("instances".into(), Value::Table(instances.collect()));
        let knobs = Table::try_from(&self.knobs).expect("numbers by name are TOML");
        root.insert("knobs".into(), knobs.into());
        toml::to_string(&root).expect("a table can be written")
    }
}

/// What stands for a secret.
const HIDDEN: &str = "***";

fn kafka_table(config: &KafkaConfig) -> Table {
    let KafkaConfig {
        bootstrap_servers,
        prefix,
        partitions,
        replication_factor,
        session_timeout_ms,
        max_poll_interval_ms,
        fetch_wait_ms,
        delivery_timeout_ms,
        properties,
    } = config;
    let properties = properties.iter().map(|(name, value)| {
        let shown = if is_secret(name) { HIDDEN } else { value.reveal() };
        (name.clone(), Value::from(shown))
    });
    table([
        ("bootstrap_servers", bootstrap_servers.as_str().into()),
        ("prefix", prefix.as_str().into()),
        ("partitions", (*partitions).into()),
        ("replication_factor", (*replication_factor).into()),
        ("session_timeout_ms", (*session_timeout_ms).into()),
        ("max_poll_interval_ms", (*max_poll_interval_ms).into()),
        ("fetch_wait_ms", (*fetch_wait_ms).into()),
        ("delivery_timeout_ms", (*delivery_timeout_ms).into()),
        ("properties", Value::Table(properties.collect())),
    ])
}

/// Whether a property of librdkafka may hold a secret.
fn is_secret(property: &str) -> bool {
    let parts = ["password", "secret", "pem", "jaas", "oauthbearer", "token", "username"];
    parts.iter().any(|part| property.contains(part))
}

fn postgres_table(config: &PostgresConfig) -> Table {
    let PostgresConfig {
        host,
        port,
        user,
        password,
        database,
        ssl_mode,
        ssl_root_cert,
        tag,
        schema,
        connections,
        connect_timeout_ms,
        statement_timeout_ms,
        lock_timeout_ms,
        idle_in_transaction_timeout_ms,
    } = config;
    let password = if password.reveal().is_empty() { "" } else { HIDDEN };
    let milliseconds = |number: &u64| Value::from(i64::try_from(*number).unwrap_or(i64::MAX));
    table([
        ("host", host.as_str().into()),
        ("port", u32::from(*port).into()),
        ("user", user.as_str().into()),
        ("password", password.into()),
        ("database", database.as_str().into()),
        ("ssl_mode", Value::try_from(ssl_mode).expect("a name is TOML")),
        ("ssl_root_cert", ssl_root_cert.as_str().into()),
        ("tag", tag.as_str().into()),
        ("schema", schema.as_str().into()),
        ("connections", (*connections).into()),
        ("connect_timeout_ms", milliseconds(connect_timeout_ms)),
        ("statement_timeout_ms", milliseconds(statement_timeout_ms)),
        ("lock_timeout_ms", milliseconds(lock_timeout_ms)),
        ("idle_in_transaction_timeout_ms", milliseconds(idle_in_transaction_timeout_ms)),
    ])
}

fn table<const N: usize>(values: [(&str, Value); N]) -> Table {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests;
