//! The operator: does faults to instances, links and servers, and takes them back.
//!
//! It mirrors what is done to the simulated world, fault by fault, as far as a machine knows it. It
//! refuses what it cannot do before the run begins ([`refusal`]): a clock that is wrong, a frozen
//! server, a server that nobody gave it a handle on.

use std::time::Duration;

use backdate_engine::adapters::postgres::config::PostgresConfig;
use backdate_reports::recording::CrashCause;
use smol_str::SmolStr;
use tokio::process::Command;

use super::backstage::{Observation, Observe};
use super::clock;
use super::commits::Commits;
use super::links::Links;
use super::services::{Controls, KAFKA_CONTROL, POSTGRES_CONTROL};
use super::troupe::Troupe;
use crate::cluster::POSTGRES;
use crate::proxy::{Direction, Link};
use crate::world::faults::Fault;

/// The only broker.
pub(super) const BROKER: &str = "kafka-1";

/// Why a fault cannot be injected here, with the cure.
pub(super) fn refusal(fault: &Fault, controls: &Controls) -> Option<String> {
    let kind = fault.kind();
    if matches!(fault, Fault::ClockSkew { .. } | Fault::ClockDrift { .. } | Fault::ClockJump { .. })
    {
        return Some(format!("{kind}: a machine has one clock for all; run it with --on sim"));
    }
    if is_of_brokers(fault) {
        return Some(format!("{kind}: no handle on a real broker does it; run it with --on sim"));
    }
    if matches!(fault, Fault::Database(_) | Fault::Operator(_) | Fault::AtPoint { .. }) {
        return Some(format!("{kind}: only the simulator does it; run it with --on sim"));
    }
    for process in fault.processes() {
        let other_broker = process.starts_with("kafka-") && process != BROKER;
        if other_broker {
            return Some(format!("{kind} of {process}: only one broker is known, {BROKER}"));
        }
        let control = match process.as_str() {
            POSTGRES => (&controls.postgres, POSTGRES_CONTROL),
            BROKER => (&controls.kafka, KAFKA_CONTROL),
            _ => continue,
        };
        match (fault, control) {
            (Fault::Crash { .. } | Fault::RestartLoop { .. }, (None, variable)) => {
                return Some(format!(
                    "{kind} of {process}: set {variable} to a command that takes `kill` and \
                     `start` as its last word, e.g. `bash tests/services/{}.sh FOLDER`",
                    if process == POSTGRES { "postgres" } else { "kafka" }
                ));
            }
            (Fault::Pause { .. }, _) => {
                return Some(format!("{kind} of {process}: a server is not frozen here"));
            }
            _ => {}
        }
    }
    None
}

/// Whether a fault is done by brokers to their clients.
fn is_of_brokers(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::CoordinatorMove { .. }
            | Fault::LeaderChange { .. }
            | Fault::RebalanceStorm { .. }
            | Fault::SlowFetch { .. }
            | Fault::DuplicateDelivery { .. }
    )
}

/// Whether a fault needs links that can be cut.
pub(super) fn is_of_network(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::LinkDelay { .. }
            | Fault::LatencySpike { .. }
            | Fault::Partition { .. }
            | Fault::PartitionOneWay { .. }
            | Fault::Flapping { .. }
            | Fault::ConnectionReset { .. }
    )
}

/// Whether a fault kills that server.
pub(super) fn kills(fault: &Fault, server: &str) -> bool {
    match fault {
        Fault::Crash { process, .. } | Fault::RestartLoop { process, .. } => process == server,
        _ => false,
    }
}

/// What the operator can reach.
#[derive(Clone)]
pub(super) struct Operator {
    pub(super) troupe: Troupe,
    pub(super) links: Links,
    pub(super) controls: Controls,
    pub(super) postgres: PostgresConfig,
    pub(super) observe: Observe,
}

impl Operator {
    /// Begins a fault, waits until it is over and ends it.
    pub(super) async fn inject(&self, fault: Fault) {
        let detail = fault.detail();
        let note = |begins| {
            let fault = SmolStr::new_static(fault.kind());
            let detail = detail.clone();
            self.observe.see("operator", Observation::Fault { fault, begins, detail });
        };
        note(true);
        match &fault {
            Fault::Crash { process, down_ms } => self.crash(process, *down_ms).await,
            Fault::CrashAtPoint { .. } => self.crash_at_point(&fault).await,
            Fault::Pause { process, for_ms } => {
                self.troupe.pause(process);
                wait(*for_ms).await;
                self.troupe.resume(process);
            }
            Fault::RestartLoop { process, times, up_ms, down_ms } => {
                for _ in 0..*times {
                    self.crash(process, *down_ms).await;
                    wait(*up_ms).await;
                }
            }
            Fault::SessionKill { process } => {
                let killed = Commits::kill_sessions(&self.postgres, process).await;
                if let Err(error) = killed {
                    self.observe.fail(format!("sessions of {process} cannot be killed: {error}"));
                }
            }
            of_network => self.break_network(of_network).await,
        }
        note(false);
    }

    async fn crash(&self, process: &SmolStr, down_ms: u64) {
        let control = match process.as_str() {
            POSTGRES => &self.controls.postgres,
            BROKER => &self.controls.kafka,
            _ => {
                self.troupe.kill(process).await;
                wait(down_ms).await;
                return self.troupe.start(process);
            }
        };
        let Some(control) = control else { return };
        let cause = CrashCause::Scheduled;
        self.observe.see(process, Observation::Crashed(cause));
        self.tell(control, "kill").await;
        wait(down_ms).await;
        self.tell(control, "start").await;
        self.observe.see(process, Observation::Started);
    }

    /// Runs the command that controls a server.
    async fn tell(&self, control: &str, word: &str) {
        let line = format!("{control} {word}");
        let output = Command::new("sh").args(["-c", &line]).kill_on_drop(true).output().await;
        match output {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                self.observe.fail(format!("`{line}` failed ({}): {said}", output.status));
            }
            Err(error) => self.observe.fail(format!("`{line}` cannot be run: {error}")),
        }
    }

    async fn crash_at_point(&self, fault: &Fault) {
        let Fault::CrashAtPoint { process, kind, call, side, pass, within_ms, down_ms } = fault
        else {
            unreachable!("only deaths at points come here");
        };
        let cause = CrashCause::Point {
            process: kind.clone(),
            call: call.clone(),
            side: *side,
            pass: *pass,
        };
        if self.troupe.die_at(process, cause, Duration::from_millis(*within_ms)).await {
            wait(*down_ms).await;
            self.troupe.start(process);
        }
    }

    async fn break_network(&self, fault: &Fault) {
        match fault {
            Fault::LinkDelay { a, b, min_ms, max_ms, for_ms } => {
                let link = self.links.between(a, b).map(|(link, _)| link);
                // A packet's share is drawn in the simulator; here each has the mean.
                let delay = Duration::from_millis(min_ms.midpoint(*max_ms));
                slow(link.into_iter().collect(), delay, *for_ms).await;
            }
            Fault::LatencySpike { process, extra_ms, for_ms } => {
                let extra = Duration::from_millis(*extra_ms);
                slow(self.links.of(process), extra, *for_ms).await;
            }
            Fault::Partition { a, b, for_ms } => {
                let ways = [self.ways(a, b), self.ways(b, a)].concat();
                cut(&ways, *for_ms).await;
            }
            Fault::PartitionOneWay { from, to, for_ms } => cut(&self.ways(from, to), *for_ms).await,
            Fault::Flapping { a, b, times, cut_ms, whole_ms } => {
                let (a, b) = (vec![a.clone()], vec![b.clone()]);
                let ways = [self.ways(&a, &b), self.ways(&b, &a)].concat();
                for _ in 0..*times {
                    cut(&ways, *cut_ms).await;
                    wait(*whole_ms).await;
                }
            }
            Fault::ConnectionReset { a, b } => {
                if let Some((link, _)) = self.links.between(a, b) {
                    link.reset();
                }
            }
            _ => unreachable!("what a machine cannot do was refused"),
        }
    }

    fn ways(&self, from: &[SmolStr], to: &[SmolStr]) -> Ways {
        let pairs = from.iter().flat_map(|a| to.iter().map(move |b| (a, b)));
        pairs.filter_map(|(a, b)| self.links.between(a, b)).collect()
    }
}

type Ways = Vec<(Link, Direction)>;

async fn cut(ways: &Ways, for_ms: u64) {
    ways.iter().for_each(|(link, way)| link.hold(*way));
    wait(for_ms).await;
    ways.iter().for_each(|(link, way)| link.release(*way));
}

async fn slow(links: Vec<Link>, delay: Duration, for_ms: u64) {
    links.iter().for_each(|link| link.delay(delay));
    wait(for_ms).await;
    links.iter().for_each(|link| link.hurry(delay));
}

async fn wait(milliseconds: u64) {
    clock::sleep(Duration::from_millis(milliseconds)).await;
}
