//! `serve` and `migrate`: the engine on real services, as a process of the machine.
//!
//! One OS thread an instance, each with its own single-threaded runtime, as the engine expects; one
//! more looks at the services, and the first one answers HTTP and waits for signals. A process does
//! not end because a server cannot be reached: it says why it is not ready, and goes on trying.
//!
//! It refuses to hide a defect: an instance that panics ends the process, so that whoever
//! supervises it sees it and starts it anew.
//!
//! # Invariants
//! - A stop is over within [`STOP_MAX`]: an instance has [`WORK_MAX`] for the batch in hand, then
//!   what it holds is dropped, which rolls back; nothing that was not committed is lost.

pub mod config;
mod control;
mod fleet;
mod migrate;
mod monitor;
mod ports;

use std::sync::Arc;
use std::time::Duration;

use backdate_engine::adapters::telemetry::{http, logs};
use backdate_engine::runtime::ProcessKind;
use backdate_engine::services::query_api;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub use config::{Addresses, Config};
pub use migrate::{MigrateError, migrate};

use crate::runner::exit;
use fleet::{Fleet, Shared};

/// How long an instance may work after it was asked to stop.
pub const WORK_MAX: Duration = Duration::from_secs(8);

/// Whatever a client was promised an answer to is answered within it.
const _: () = assert!(query_api::STOP_MAX.as_millis() < WORK_MAX.as_millis());

/// How long a stop may take altogether.
pub const STOP_MAX: Duration = Duration::from_millis(9_500);

/// What to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Services and knobs.
    pub config: Config,
    /// Processes; none stands for all.
    pub processes: Vec<ProcessKind>,
    /// Name of the instance, if there is one only.
    pub name: Option<String>,
    /// Whether a harness steers through stdin.
    pub harness: bool,
}

/// Why nothing was served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A name for several instances.
    #[error("--name names one instance, but {0} are to run: name one PROCESS and --instances 1")]
    Name(usize),
    /// The address for metrics and health cannot be had.
    #[error("cannot listen on {0}: {1}; free it or set http.listen (or --listen) to another")]
    Listen(String, std::io::Error),
    /// The address of `query-api` cannot be had.
    #[error("cannot listen on {0}: {1}; free it or set api.listen (or --api-listen) to another")]
    ListenForApi(String, std::io::Error),
    /// The machine refuses a thread or a signal.
    #[error("the machine refuses: {0}")]
    Machine(#[from] std::io::Error),
}

impl ServeError {
    /// Exit code of the command.
    pub fn code(&self) -> u8 {
        match self {
            ServeError::Name(_) => exit::USAGE,
            ServeError::Listen(..) | ServeError::ListenForApi(..) | ServeError::Machine(_) => {
                exit::ENVIRONMENT
            }
        }
    }
}

/// What ends the wait of the first thread.
#[derive(Debug)]
enum Happening {
    /// A signal asks for an end; its number.
    Signal(u8),
    /// An instance has ended.
    Ended(String),
    /// A thread panicked.
    Panicked,
    /// A stop has taken too long.
    Late,
}

/// Serves until a signal or a panic. `announce` is told where metrics and health
/// are, then where the API is, if it runs.
///
/// # Errors
/// What keeps the process from starting; servers that cannot be reached do not.
pub fn serve(options: &Options, announce: &mut dyn FnMut(&str)) -> Result<u8, ServeError> {
    logs::install();
    let instances = fleet::instances(options)?;
    let (happenings, heard) = unbounded_channel();
    let mut shared = Shared::of(options.config.clone(), &happenings);
    fleet::report_panics(&happenings);
    if options.harness {
        control::listen(shared.points.clone())?;
    }
    let runtime = fleet::runtime()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = listen(&options.config).await?;
        let address = listener.local_addr()?;
        announce(&format!("http://{address}"));
        logs::note("Serving metrics and health", &format!("http://{address}"));
        if instances.iter().any(|instance| instance.kind == ProcessKind::QueryApi) {
            let listener = listen_for_api(&options.config)?;
            let address = listener.local_addr()?;
            announce(&format!("http://{address}"));
            logs::note("Serving the API", &format!("http://{address}"));
            shared.api = Some(Arc::new(listener));
        }
        let answers = http::serve(listener, shared.metrics.clone(), shared.health.clone());
        background(async { _ = answers.await });
        control::signals(&happenings)?;
        monitor::start(&shared)?;
        let fleet = Fleet::start(&shared, instances)?;
        Ok(supervise(&shared, fleet, heard).await)
    })
}

async fn listen(config: &Config) -> Result<TcpListener, ServeError> {
    let refused = |error| ServeError::Listen(config.http.listen.clone(), error);
    let address = config.listen().map_err(|text| refused(std::io::Error::other(text)))?;
    TcpListener::bind(address).await.map_err(refused)
}

/// Before the instances start, so that a port that is taken ends the command.
fn listen_for_api(config: &Config) -> Result<std::net::TcpListener, ServeError> {
    let refused = |error| ServeError::ListenForApi(config.api.listen.clone(), error);
    let address = config.api.address();
    let address = address.map_err(|text| refused(std::io::Error::other(text)))?;
    let listener = std::net::TcpListener::bind(address).map_err(refused)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Waits for the end of all instances; the exit code, which is 0 only after a stop that somebody
/// asked for and that was done in time.
async fn supervise(
    shared: &Shared,
    mut fleet: Fleet,
    mut heard: UnboundedReceiver<Happening>,
) -> u8 {
    let mut code = exit::PASS;
    let mut is_stopping = false;
    while !fleet.is_empty() {
        let happening = heard.recv().await.expect("this thread holds a sender");
        match happening {
            Happening::Signal(number) if is_stopping => {
                logs::warn("Second signal: ending at once", "");
                control::end_at_once(128 + number);
            }
            Happening::Signal(_) => logs::note("Stopping", "a signal asks for it"),
            Happening::Panicked => code = exit::ENVIRONMENT,
            Happening::Ended(instance) => {
                fleet.ended(&instance);
                if !is_stopping {
                    logs::fail("An instance ended by itself", Some(&instance), "stopping");
                    code = exit::ENVIRONMENT;
                }
            }
            Happening::Late => {
                logs::warn("The stop took too long: leaving what is still open", &fleet.names());
                return exit::ENVIRONMENT;
            }
        }
        if !is_stopping {
            is_stopping = true;
            shared.health.note("instances", Err("the process is stopping".to_owned()));
            fleet.stop(shared);
            background(late(shared.happenings.clone()));
        }
    }
    logs::note("Stopped", "");
    code
}

#[allow(clippy::disallowed_methods, reason = "a stop is held to the machine's time")]
async fn late(happenings: UnboundedSender<Happening>) {
    tokio::time::sleep(STOP_MAX).await;
    // Nobody listens if all have ended.
    let _ = happenings.send(Happening::Late);
}

/// Runs beside the wait of the first thread.
#[allow(clippy::disallowed_methods, reason = "a process of the machine, not of a world")]
fn background(task: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(task);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_that_is_not_done_in_time_is_a_failure() {
        let (happenings, heard) = unbounded_channel();
        let shared = Shared::of(Config::default(), &happenings);
        happenings.send(Happening::Signal(15)).expect("it is heard");
        happenings.send(Happening::Late).expect("it is heard");
        let runtime = fleet::runtime().expect("a runtime can be built");
        let code = tokio::task::LocalSet::new()
            .block_on(&runtime, supervise(&shared, Fleet::stuck("replayer-1"), heard));
        assert_eq!(code, exit::ENVIRONMENT);
    }
}
