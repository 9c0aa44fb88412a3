//! One look at the services: all witnesses are asked, and what they saw is put in order and judged.
//!
//! # Invariants
//! - A round that did not see all it was to see is not judged, but joined to the next one.

use std::sync::atomic::Ordering;
use std::time::Duration;

use backdate_engine::ports::log::Topic;
use backdate_engine::ports::store::Store as _;
use backdate_engine::ports::store::statements::{Backlog, ReadBacklog};
use backdate_reports::recording::EventKind;
use smol_str::SmolStr;

use super::backstage::{Observation, Observed};
use super::clock;
use super::merge::Own;
use super::stage::RealStage;
use super::witness::Ends;
use crate::runner::stage::{Input, is_done};

/// How long the witnesses may be blind before the run is given up: longer than a server is down.
const BLIND_MAX: Duration = Duration::from_secs(90);
/// How long the database may take to say what is left to do.
const ANSWER: Duration = Duration::from_secs(5);

/// What one look at the services has shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    pub(super) inputs_left: usize,
    pub(super) lag: u64,
    pub(super) raw_lag: u64,
    pub(super) backlog: Backlog,
    pub(super) ends: Ends,
}

impl Look {
    /// Whether nothing was left to do, unless something moved while it was looked at.
    pub(super) fn is_quiet(&self) -> bool {
        self.inputs_left == 0 && self.lag == 0 && is_done(&self.backlog)
    }
}

impl RealStage {
    /// Asks all witnesses once, in the order that [`super::merge`] explains, and judges.
    fn ask_witnesses(&mut self) -> Result<(), String> {
        let inputs_left = self.backstage.counts.inputs_left.load(Ordering::Acquire);
        for (group, positions) in self.witness.commits()? {
            self.round.positions.push((clock::nanos(), group, positions));
        }
        // Taken first: what is told later has happened later, or is here.
        self.round.began = clock::nanos();
        let observed: Vec<Observed> = self.backstage.seen().collect();
        for (at, process, observation) in observed {
            let flushed = match &observation {
                Observation::Read { flushed, .. } => Some(*flushed),
                _ => None,
            };
            if let Some(kind) = self.event(observation) {
                self.round.own.push(Own { at, process, kind, flushed });
            }
        }
        let seen = match self.commits.borrow_mut().as_mut() {
            Some(commits) => {
                let seen = self.runtime.block_on(commits.poll());
                if let (Err(error), true) = (&seen, commits.is_temporary()) {
                    self.backstage.counts.fail(format!("the database: {error}"));
                }
                seen?
            }
            None => Vec::new(),
        };
        self.round.commits.extend(seen);
        let ends = self.witness.ends()?;
        let records = self.witness.read_to(&ends)?;
        let letters = records.iter().filter(|seen| seen.record.topic == Topic::DeadLetters);
        self.dead_letters.extend(letters.map(|seen| seen.record.value.clone()));
        self.round.records.extend(records);
        let round = std::mem::take(&mut self.round);
        let observers = self.observers.as_mut().expect("a run ends once");
        for event in self.merge.take(round) {
            observers.observe(&event);
        }
        let backlog = clock::within(ANSWER, self.store.query(ReadBacklog {}));
        let backlog = self.runtime.block_on(backlog).ok_or("the database does not answer")?;
        let backlog = backlog.map_err(|error| error.to_string())?;
        let (lag, raw_lag) = self.witness.lag(&ends);
        let look = Look { inputs_left, lag, raw_lag, backlog, ends };
        // All was quiet in two looks and nothing was appended from the one to the other: then at
        // the instant between them neither the log nor the database had anything left to do.
        self.is_settled = look.is_quiet() && self.look.is_quiet() && look.ends == self.look.ends;
        self.look = look;
        Ok(())
    }

    /// What was seen backstage, as an event.
    fn event(&mut self, observation: Observation) -> Option<EventKind> {
        Some(match observation {
            Observation::Started => EventKind::Started,
            Observation::Crashed(cause) => EventKind::Crashed(cause),
            Observation::Fault { fault, begins, detail } => {
                EventKind::Fault { fault, begins, detail }
            }
            Observation::Sent(id) => {
                let Input { topic, key, value, .. } = self.inputs.get(&id)?.clone();
                EventKind::InputSent { id, topic, key, value }
            }
            Observation::Acknowledged(id) => {
                self.inputs.remove(&id);
                EventKind::InputAcknowledged { id }
            }
            Observation::Aborted { statement, error } => {
                EventKind::Aborted { client: SmolStr::default(), statement, error }
            }
            Observation::Signal(signal) => EventKind::Signal(signal),
            Observation::Read { portfolio_id, positions, .. } => {
                EventKind::Read { portfolio_id, positions }
            }
            Observation::ReadRefused { portfolio_id, code } => {
                EventKind::ReadRefused { portfolio_id, code }
            }
        })
    }

    pub(super) fn own(&mut self, process: &'static str, kind: EventKind) {
        let (at, process) = (clock::nanos(), SmolStr::new_static(process));
        self.round.own.push(Own { at, process, kind, flushed: None });
    }

    /// Looks once; a witness that cannot see is waited for.
    pub(super) fn see(&mut self) {
        match self.ask_witnesses() {
            Ok(()) => self.seen_all = self.clock.now(),
            Err(error) => {
                self.is_settled = false;
                let blind = self.clock.now().since(self.seen_all);
                if blind > BLIND_MAX {
                    let text = format!("nothing was seen for {} s: {error}", blind.as_secs());
                    self.backstage.counts.fail(text);
                }
            }
        }
    }
}
