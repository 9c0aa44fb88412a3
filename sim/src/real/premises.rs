//! What a run makes for itself on the services and on the disk, and removes at its end.
//!
//! It refuses whatever is there already: topics and schema of a run are new or nobody's.
//!
//! # Invariants
//! - What was made is removed, also when a later step fails; unless it is to be kept, and then it
//!   is named.

use std::path::PathBuf;

use backdate_engine::adapters::kafka::admin;
use backdate_engine::adapters::postgres;
use backdate_engine::ports::log::Topic;
use tokio::runtime::Runtime;

use super::clock;
use super::commits::{self, Commits};
use super::operator::refusal;
use super::services::{Place, RealError};
use super::{RealOptions, witness};
use crate::runner::stage::GROUPS;

/// How far the clock of the database may be off: what happens there is put into one order with what
/// happens here.
const CLOCK_ERROR_MAX_US: i64 = 500;

/// What a run has made.
pub(super) struct Premises {
    pub(super) place: Place,
    /// Topics with their partitions.
    pub(super) partitions: Vec<(Topic, u32)>,
    /// Folder of what nobody else may read.
    pub(super) private: PathBuf,
    /// Folder of the lines that instances write.
    pub(super) logs: PathBuf,
    are_logs_own: bool,
    keep: bool,
    has_topics: bool,
    has_schema: bool,
}

impl Premises {
    /// Makes topics and schema.
    pub(super) fn claim(options: &RealOptions<'_>, runtime: &Runtime) -> Result<Self, RealError> {
        let services = options.services;
        let refused = options.faults.iter().find_map(|f| refusal(f, &services.controls));
        if let Some(refused) = refused {
            return Err(RealError::Usage(refused));
        }
        let cluster = &options.cluster.kafka;
        if cluster.retention_ms.is_some() {
            let why = "topics are made to keep everything here; run it with --on sim";
            return Err(RealError::Usage(format!("cluster.retention: {why}")));
        }
        let run_id = services.run_id.clone().unwrap_or_else(drawn_id);
        let mut place = Place::of(services, &run_id)?;
        // How many of them must be in sync is for the real brokers to say.
        place.kafka.replication_factor = cluster.replication;
        let folder = std::env::temp_dir().join(&place.name);
        let partitions = Topic::ALL.iter().map(|topic| (*topic, cluster.partitions_of(*topic)));
        let mut premises = Self {
            partitions: partitions.collect(),
            private: folder.join("private"),
            logs: options.save.map_or_else(|| folder.join("logs"), |save| save.join("logs")),
            are_logs_own: options.save.is_none(),
            keep: services.keep,
            has_topics: false,
            has_schema: false,
            place,
        };
        match runtime.block_on(premises.make()) {
            Ok(()) => Ok(premises),
            Err(error) => {
                premises.leave(None, runtime, true);
                Err(error)
            }
        }
    }

    async fn make(&mut self) -> Result<(), RealError> {
        let Place { kafka, postgres, .. } = &self.place;
        let of_database = |error: &dyn std::fmt::Display| RealError::Environment(error.to_string());
        let off = commits::clock_error(postgres, || clock::nanos() / 1_000)
            .await
            .map_err(|error| RealError::Environment(format!("the database: {error}")))?;
        if off.abs() > CLOCK_ERROR_MAX_US {
            return Err(RealError::Environment(format!(
                "the clock of the database is off by {off} microseconds: the run, the broker and \
                 the database must share a machine, or a clock as good"
            )));
        }
        let exists = postgres::schema_exists(postgres).await;
        if exists.map_err(|error| of_database(&error))? {
            return Err(RealError::Usage(format!(
                "schema {} exists already and may be somebody's: drop it, or choose another \
                 --run-id",
                postgres.schema
            )));
        }
        let topics = witness::topics(kafka).map_err(|error| {
            let text = format!("the broker at {}: {error}", kafka.bootstrap_servers);
            RealError::Environment(text)
        })?;
        if let Some(topic) = topics.iter().find(|topic| topic.starts_with(&kafka.prefix)) {
            return Err(RealError::Usage(format!(
                "topic {topic} exists already and may be somebody's: delete it, or choose another \
                 --run-id"
            )));
        }
        self.has_topics = true;
        let made = admin::create_topics(kafka, &self.partitions).await;
        made.map_err(|error| RealError::Environment(error.to_string()))?;
        self.has_schema = true;
        let migrated = postgres::migrate(postgres).await;
        migrated.map_err(|error| of_database(&error))?;
        Ok(())
    }

    /// Removes everything; what a person must know. Of a run that was sound, nobody needs the lines
    /// of the instances.
    pub(super) fn leave(
        &mut self,
        commits: Option<Commits>,
        runtime: &Runtime,
        is_sound: bool,
    ) -> Vec<String> {
        let mut notes = Vec::new();
        runtime.block_on(self.leave_services(commits, &mut notes));
        let _ = std::fs::remove_dir_all(&self.private);
        if self.are_logs_own && is_sound {
            let _ = std::fs::remove_dir_all(&self.logs);
        } else if !is_sound && self.logs.is_dir() {
            notes.push(format!("what the instances wrote: {}", self.logs.display()));
        }
        if let Some(folder) = self.private.parent() {
            // It stays as long as there is something in it.
            let _ = std::fs::remove_dir(folder);
        }
        notes
    }

    async fn leave_services(&self, commits: Option<Commits>, notes: &mut Vec<String>) {
        let Place { kafka, postgres, name } = &self.place;
        let mut remains = |what: &str, error: &dyn std::fmt::Display| {
            notes.push(format!("{what} could not be removed: {error}"));
        };
        if let Some(commits) = commits
            && let Err(error) = commits.drop().await
        {
            remains(&format!("publication and replication slot {name}"), &error);
        }
        if self.keep {
            if self.has_schema {
                notes.push(format!("kept: schema {}, topics {}*", postgres.schema, kafka.prefix));
            }
            return;
        }
        let groups = GROUPS.map(|(group, _)| group);
        if self.has_topics
            && let Err(error) = admin::delete_topics(kafka, &groups).await
        {
            remains(&format!("topics {}*", kafka.prefix), &error);
        }
        if self.has_schema
            && let Err(error) = postgres::drop_schema(postgres).await
        {
            remains(&format!("schema {}", postgres.schema), &error);
        }
    }
}

/// A name that nobody has.
fn drawn_id() -> String {
    let drawn = clock::nanos().to_le_bytes();
    let process = std::process::id().to_le_bytes();
    let hash = xxhash_rust::xxh3::xxh3_64(&[&drawn[..], &process[..]].concat());
    format!("{:08x}", hash & 0xFFFF_FFFF)
}
