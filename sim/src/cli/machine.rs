//! What the command line asks the machine: clock, environment, signals, memory, a seed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use backdate_engine::adapters::secret::Secret;

use super::Failure;
use super::arguments::ServiceArguments;
use crate::real::services::{self, Controls, Services};
use crate::runner::Canary;

/// Set by Ctrl-C; the runner polls it.
pub(super) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Lets Ctrl-C end a run cleanly. A second one ends the process at once.
#[allow(clippy::disallowed_methods, reason = "whoever presses Ctrl-C twice will not wait")]
pub(super) fn catch_interrupt() {
    let caught = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(crate::runner::exit::INTERRUPTED));
        }
    });
    if let Err(error) = caught {
        eprintln!("Ctrl-C ends the run at once: {error}");
    }
}

/// Interrupts the command when its stdin ends: when who started it is gone.
#[cfg(feature = "defects")]
#[allow(clippy::disallowed_methods, reason = "stdin blocks, and must be seen to end during a run")]
pub(super) fn end_with_stdin() -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("stdin".to_owned());
    thread.spawn(|| {
        // Nothing is written to it; whatever ends it ends the command.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        INTERRUPTED.store(true, Ordering::Relaxed);
    })?;
    Ok(())
}

/// A clock that started when the command did.
#[derive(Clone, Copy)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[allow(clippy::disallowed_methods, reason = "says how long a run took; no run sees it")]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    #[allow(clippy::disallowed_methods, reason = "says how long a run took; no run sees it")]
    pub(super) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Waits, to slow a run down for somebody who watches.
#[allow(clippy::disallowed_methods, reason = "between two looks at a run, not within it")]
pub(super) fn wait(duration: Duration) {
    std::thread::sleep(duration);
}

/// The seed that was given, or a drawn one, short enough to be typed.
pub(super) fn seed(given: Option<u64>) -> u64 {
    given.unwrap_or_else(|| {
        let seed = drawn();
        eprintln!("seed {seed}");
        seed
    })
}

#[allow(clippy::disallowed_methods, reason = "a seed is drawn from the machine, then printed")]
fn drawn() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = since.as_nanos() ^ u128::from(std::process::id()) << 20;
    xxhash_rust::xxh3::xxh3_64(&nanos.to_le_bytes()) % 1_000_000_000
}

/// A variable of the environment; an empty one counts as absent.
#[allow(clippy::disallowed_methods, reason = "the command line reads the environment, runs do not")]
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The alarm that `BACKDATE_CANARY` asks for.
#[allow(clippy::disallowed_methods, reason = "the command line reads the environment, runs do not")]
pub(super) fn canary() -> Result<Option<Canary>, Failure> {
    let Some(value) = std::env::var_os("BACKDATE_CANARY") else { return Ok(None) };
    match value.to_str() {
        Some("") => Ok(None),
        Some("rule") => Ok(Some(Canary::Rule)),
        Some("nondeterminism") => Ok(Some(Canary::Nondeterminism(std::process::id()))),
        _ => Err(Failure::usage(format!(
            "BACKDATE_CANARY = {value:?}: must be `rule` or `nondeterminism`"
        ))),
    }
}

/// The services that flags name, and else the environment.
#[allow(clippy::disallowed_methods, reason = "the command line reads the environment, runs do not")]
pub(super) fn services(flags: &ServiceArguments) -> Services {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let flag = |value: &Option<String>, name| value.clone().or_else(|| variable(name));
    Services {
        kafka: flag(&flags.kafka, services::KAFKA),
        postgres: flag(&flags.postgres, services::POSTGRES).map(Secret::new),
        controls: Controls {
            kafka: variable(services::KAFKA_CONTROL),
            postgres: variable(services::POSTGRES_CONTROL),
        },
        keep: flags.keep,
        run_id: flags.run_id.clone(),
    }
}

/// The most memory that the process ever used; none where the system does not tell.
pub(super) fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}
