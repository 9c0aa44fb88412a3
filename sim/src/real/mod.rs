//! Runs and feeds on a real Apache Kafka and a real PostgreSQL.
//!
//! The same scenario, workload, judge and report as in the simulator; what differs stands behind
//! [`Stage`](crate::runner::Stage). Instances of the engine are processes of the operating system.
//! What happened is recorded from outside the engine: the database's write-ahead log says what was
//! committed, a consumer of its own what was appended, groups what they have committed.
//!
//! It refuses services on another clock, topics or a schema that are there already, and faults that
//! no machine knows.
//!
//! # How the rules are judged here
//! All of them, on the recording, as in the simulator, with these differences. Each makes a rule
//! see less, never more:
//! - positions of groups are looked at every round (some 100 ms), so what they covered counts as
//!   covered until they were seen to have moved (G2, G7, G8);
//! - how many keys a transaction held locked is not known; the number of those that it changed
//!   stands for it (G10);
//! - deadlocks are known from what an instance owns up to (G10);
//! - whose transaction it was is known only where what it did tells: `persistence` is who writes
//!   inputs, a dispatcher who crosses off what it has published; all others are `postgres`;
//! - refused commits of positions (`zombie_commit_refused`) and utilisation are not seen.
//!
//! # Invariants
//! - What a run makes it removes, unless it is told to keep it.

mod backstage;
mod cells;
mod clock;
mod commits;
mod links;
mod look;
mod merge;
mod operator;
mod pgoutput;
mod premises;
mod reader;
mod rows;
pub mod services;
mod setup;
mod stage;
mod tables;
mod troupe;
mod witness;

use std::path::Path;

pub use services::{RealError, Services};

use smol_str::SmolStr;

use crate::cluster::{ClusterConfig, POSTGRES};
use crate::feed::inputs::FeedInputs;
use crate::feed::{self, Fed, FeedFailure, FeedOptions};
use crate::runner::run::{cluster_config, observers, perform};
use crate::runner::{Outcome, RunError, RunOptions};
use crate::world::faults::Fault;
use stage::RealStage;

/// What a stage on real services is made of.
struct RealOptions<'a> {
    services: &'a Services,
    cluster: ClusterConfig,
    /// Faults that are to come.
    faults: Vec<Fault>,
    /// Folder that also keeps the lines of the instances.
    save: Option<&'a Path>,
}

/// Servers that faults may hit.
fn servers() -> Vec<SmolStr> {
    vec![SmolStr::new_static(POSTGRES), SmolStr::new_static(operator::BROKER)]
}

/// Runs a plan.
///
/// # Errors
/// Of the services before it began, else of its files.
pub fn run(
    services: &Services,
    mut options: RunOptions<'_>,
) -> Result<Result<Outcome, RunError>, RealError> {
    if !options.plan.tasks.is_seeded() {
        let why = "tasks: a machine decides by itself what runs next; run it with --on sim";
        return Err(RealError::Usage(why.into()));
    }
    let observers = match observers(&mut options) {
        Ok(observers) => observers,
        Err(error) => return Ok(Err(error)),
    };
    let faults = options.plan.faults.iter().map(|planned| planned.fault.clone()).collect();
    let cluster = cluster_config(options.plan);
    let real = RealOptions { services, cluster, faults, save: options.save };
    let stage = RealStage::start(real, observers)?;
    Ok(perform(stage, options))
}

/// Feeds a folder that has been read.
///
/// # Errors
/// Of the services before it began, else of its files.
pub fn feed(
    services: &Services,
    inputs: FeedInputs,
    options: FeedOptions<'_>,
) -> Result<Result<Fed, FeedFailure>, RealError> {
    let observers = match feed::observers(&options) {
        Ok(observers) => observers,
        Err(failure) => return Ok(Err(failure)),
    };
    let cluster = options.cluster.clone();
    let engine: Vec<SmolStr> = cluster.engine_processes().map(|(_, name)| name).collect();
    let faults = feed::planned_faults(&options, &engine, &servers());
    let real = RealOptions { services, cluster, faults, save: options.save };
    let stage = RealStage::start(real, observers)?;
    Ok(feed::feed_on(stage, inputs, options))
}
