//! Looks at the services from beside the instances: what `/readyz` and the gauges say.
//!
//! It has a thread of its own, so that a broker that does not answer keeps nobody else waiting.

use std::io;
use std::time::Duration;

use backdate_engine::adapters::kafka::admin;
use backdate_engine::adapters::postgres::Store;
use backdate_engine::adapters::telemetry::logs;
use backdate_engine::ports::log::LogError;
use backdate_engine::ports::store::StoreError;
use tokio::task::LocalSet;

use super::fleet::{Shared, runtime};

/// What has to be right for a process to be ready.
pub(super) const CHECKS: &[&str] = &["broker", "database", "instances", "topics"];

/// Time between two looks at the services.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// A look that takes longer has failed. The adapters give up after 5 s, with an error that names
/// the cause and the cure.
const ANSWER_MAX: Duration = Duration::from_secs(7);

/// Looks at the services between two readings of the gauges.
const CHECKS_PER_READING: u32 = 2;

/// Starts the thread.
#[allow(clippy::disallowed_methods, reason = "looks at real services beside the instances")]
pub(super) fn start(shared: &Shared) -> io::Result<()> {
    let (shared, runtime) = (shared.clone(), runtime()?);
    let thread = std::thread::Builder::new().name("monitor".to_owned());
    thread.spawn(move || LocalSet::new().block_on(&runtime, watch(&shared)))?;
    Ok(())
}

async fn watch(shared: &Shared) {
    let mut config = shared.config.postgres.clone();
    config.connections = 1;
    let store = Store::new(&config, "backdate-monitor");
    let mut was_ready = false;
    let mut complaint = String::new();
    for round in 0_u32.. {
        let is_database_up = look(shared, &store).await;
        let is_ready = shared.health.reasons().is_empty();
        shared.metrics.ready(is_ready);
        if is_ready && !was_ready {
            // Whatever goes wrong from now on is another story.
            shared.repeats.clear();
            logs::note("Ready", "");
        }
        was_ready = is_ready;
        // Without a broker, work piles up in the database: this is when it is looked at.
        if is_database_up && round % CHECKS_PER_READING == 0 {
            read_gauges(shared, &store, &mut complaint).await;
        }
        pause().await;
    }
}

#[allow(clippy::disallowed_methods, reason = "real services are looked at in real time")]
async fn pause() {
    tokio::time::sleep(CHECK_EVERY).await;
}

#[allow(clippy::disallowed_methods, reason = "real services are looked at in real time")]
async fn answer<T>(question: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| Err(format!("no answer within {} s", ANSWER_MAX.as_secs()));
    tokio::time::timeout(ANSWER_MAX, question).await.unwrap_or_else(late)
}

/// Asks database and broker; whether the database is as it should be.
async fn look(shared: &Shared, store: &Store) -> bool {
    let pinged = answer(async { store.ping().await.map_err(|error| database_refused(&error)) });
    let pinged = pinged.await;
    let is_database_up = pinged.is_ok();
    note(shared, "database", pinged);
    let kafka = &shared.config.kafka;
    let missing = answer(async {
        admin::missing_topics(kafka).await.map_err(|error| broker_refused(&error))
    });
    match missing.await {
        Ok(missing) => {
            note(shared, "broker", Ok(()));
            let cause = format!("missing: {}; run `backdate migrate`", missing.join(", "));
            note(shared, "topics", if missing.is_empty() { Ok(()) } else { Err(cause) });
        }
        Err(reason) => {
            note(shared, "broker", Err(reason));
            note(shared, "topics", Err("the broker has to be asked first".to_owned()));
        }
    }
    is_database_up
}

/// Cause and cure of what the database refuses.
pub(super) fn database_refused(error: &StoreError) -> String {
    match error {
        StoreError::Disconnected(_) => format!(
            "{error}; start the server, or correct [postgres] in the file, BACKDATE_POSTGRES or \
             --postgres"
        ),
        other => other.to_string(),
    }
}

/// Cause and cure of what the broker refuses.
pub(super) fn broker_refused(error: &LogError) -> String {
    match error {
        LogError::Disconnected(_) => format!(
            "{error}; start the broker, or correct kafka.bootstrap_servers in the file, \
             BACKDATE_KAFKA or --kafka"
        ),
        other => other.to_string(),
    }
}

/// Notes how a check went, and logs it if the cause is another one.
fn note(shared: &Shared, check: &'static str, outcome: Result<(), String>) {
    let cause = outcome.as_ref().err().cloned();
    if shared.health.note(check, outcome)
        && let Some(cause) = cause
    {
        logs::warn(&format!("Not ready: {check}"), &cause);
    }
}

/// Reads the gauges; what it complains about is said once.
async fn read_gauges(shared: &Shared, store: &Store, complaint: &mut String) {
    match answer(async { store.readings().await.map_err(|error| error.to_string()) }).await {
        Ok(readings) => {
            shared.metrics.read(&readings, logs::now());
            complaint.clear();
        }
        Err(error) if error == *complaint => {}
        Err(error) => {
            logs::warn("The gauges cannot be read", &error);
            *complaint = error;
        }
    }
}
