//! Where the real services are, what a run may call its own there, and what it needs of them.

use backdate_engine::adapters::kafka::config::KafkaConfig;
use backdate_engine::adapters::postgres::config::PostgresConfig;
use backdate_engine::adapters::secret::Secret;
use thiserror::Error;

/// Environment variable with the brokers.
pub const KAFKA: &str = "BACKDATE_KAFKA";
/// Environment variable with the database's URL.
pub const POSTGRES: &str = "BACKDATE_POSTGRES";
/// Environment variable with the command that kills and starts the broker.
pub const KAFKA_CONTROL: &str = "BACKDATE_KAFKA_CONTROL";
/// Environment variable with the command that kills and starts the database.
pub const POSTGRES_CONTROL: &str = "BACKDATE_POSTGRES_CONTROL";

/// PostgreSQL keeps 63 bytes of the name of a session, which is that of an instance (34 at most)
/// and the run's.
const RUN_ID_MAX: usize = 28;

/// The services that a run is to use.
#[derive(Clone, Debug, Default)]
pub struct Services {
    /// `host:port`.
    pub kafka: Option<String>,
    /// `postgres://user:password@host:port/database`.
    pub postgres: Option<Secret>,
    /// Commands that control the servers.
    pub controls: Controls,
    /// Keep topics and schema at the end.
    pub keep: bool,
    /// The name of the run's topics and schema; drawn if absent.
    pub run_id: Option<String>,
}

/// Commands to which ` kill` or ` start` is appended.
#[derive(Clone, Debug, Default)]
pub struct Controls {
    /// Of the broker.
    pub kafka: Option<String>,
    /// Of the database.
    pub postgres: Option<String>,
}

/// Why a run on real services does not begin.
#[derive(Debug, Error)]
pub enum RealError {
    /// Something that whoever called it must change.
    #[error("{0}")]
    Usage(String),
    /// The servers or the machine are in the way.
    #[error("{0}")]
    Environment(String),
}

/// Names and addresses of one run.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) kafka: KafkaConfig,
    pub(super) postgres: PostgresConfig,
    /// Name of the publication and the slot; the schema has it too.
    pub(super) name: String,
}

impl Place {
    /// What a run calls its own.
    pub(super) fn of(services: &Services, run_id: &str) -> Result<Self, RealError> {
        let needed = |flag: &str, variable: &str, example: &str| {
            RealError::Usage(format!(
                "--on real needs to know where the services are: give {flag} or set {variable}, \
                 e.g. {example}"
            ))
        };
        let servers = services.kafka.clone();
        let servers = servers.ok_or_else(|| needed("--kafka", KAFKA, "127.0.0.1:9092"))?;
        let url = services.postgres.as_ref().ok_or_else(|| {
            needed("--postgres", POSTGRES, "postgres://postgres:secret@127.0.0.1:5432/postgres")
        })?;
        let is_name = |text: &str| {
            !text.is_empty()
                && text.len() <= RUN_ID_MAX
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if !is_name(run_id) {
            return Err(RealError::Usage(format!(
                "--run-id {run_id:?}: must be 1 to {RUN_ID_MAX} of a-z, 0-9 and _"
            )));
        }
        let postgres = PostgresConfig::parse_url(url.reveal())
            .map_err(|error| RealError::Usage(format!("{POSTGRES}: {error}")))?;
        let name = format!("backdate_{run_id}");
        Ok(Self {
            kafka: KafkaConfig {
                bootstrap_servers: servers,
                prefix: format!("backdate-{run_id}."),
                // The shortest that brokers allow: a dead member is missed as soon as can be.
                session_timeout_ms: 6_000,
                // Less than the database lets a transaction of the dispatcher be idle.
                delivery_timeout_ms: 8_000,
                ..KafkaConfig::default()
            },
            postgres: PostgresConfig {
                schema: name.clone(),
                tag: run_id.to_owned(),
                // As in the simulator: a frozen instance gives its locks back in time.
                idle_in_transaction_timeout_ms: 10_000,
                ..postgres
            },
            name,
        })
    }
}
