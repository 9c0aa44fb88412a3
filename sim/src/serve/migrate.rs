//! `migrate`: the schema and the topics that the engine needs, made where they are missing.
//!
//! It never removes anything, so it may be run again at any time.

use backdate_engine::adapters::kafka::admin;
use backdate_engine::adapters::postgres;
use backdate_engine::ports::log::Topic;
use thiserror::Error;

use super::config::Config;
use super::fleet::runtime;
use super::monitor::{broker_refused, database_refused};

/// Why a migration did not end.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// The database refuses.
    #[error("database: {0}")]
    Database(String),
    /// The broker refuses.
    #[error("broker: {0}")]
    Broker(String),
    /// The machine refuses.
    #[error("the machine refuses: {0}")]
    Machine(#[from] std::io::Error),
}

/// Brings schema and topics up to this build; `say` is told what was done.
///
/// # Errors
/// What a server refuses, with the cure.
pub fn migrate(config: &Config, say: &mut dyn FnMut(&str)) -> Result<(), MigrateError> {
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime()?, async {
        schema(config, say).await?;
        topics(config, say).await
    })
}

async fn schema(config: &Config, say: &mut dyn FnMut(&str)) -> Result<(), MigrateError> {
    let done = postgres::migrate(&config.postgres).await;
    let done = done.map_err(|error| MigrateError::Database(database_refused(&error)))?;
    let (schema, version) = (&config.postgres.schema, done.version);
    if done.applied.is_empty() {
        say(&format!("schema {schema}: version {version}, nothing to do"));
    }
    for migration in done.applied {
        say(&format!("schema {schema}: applied {migration}"));
    }
    Ok(())
}

async fn topics(config: &Config, say: &mut dyn FnMut(&str)) -> Result<(), MigrateError> {
    let refused = |error| MigrateError::Broker(broker_refused(&error));
    let kafka = &config.kafka;
    let made = admin::create_topics(kafka, &admin::all_topics(kafka)).await.map_err(refused)?;
    if made.is_empty() {
        say(&format!("topics: all {} are there, nothing to do", Topic::ALL.len()));
    }
    for name in made {
        say(&format!("topic {name}: created with {} partitions", kafka.partitions));
    }
    Ok(())
}
