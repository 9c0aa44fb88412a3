//! G8, liveness: once faults have ended, work moves until everything has settled.
//!
//! - Execution: the calm phase of a run, and its end; of starvation, every claim of valuation jobs.
//! - Allowed interference: none any more, but for what faults have damaged for good. What waits
//!   while a fault is under way is not starved by others.
//! - Assertion: while anything is pending, no stretch of simulated time as long as the timeout goes
//!   by without progress; the run settles, within its limit if it has one. Progress is a change of
//!   inputs, keys, timelines, history, replays, snapshots, cash flows, triggers or fan-outs, news
//!   that moves on, or a record that its consumer declares done. Jobs that are claimed again and
//!   again are none. No job that can be claimed is passed over in favour of younger ones for longer
//!   than a bound; one that is dropped because the tokens of all its keys have moved on is not
//!   preferred to anybody. No process ends by a panic: what made it panic would be there again
//!   after a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use backdate_engine::ports::store::rows::{JobStatus, ValuationJobRow};
use backdate_reports::recording::{CrashCause, EventKind, Phase, Row, SimTime};

use super::mirror::Mirror;
use super::rule::{End, Rule, RuleReport, Scene};

/// How long a job may be passed over: a claim that stalls holds it, until the server ends the
/// session, which takes ten seconds.
const PASSED_OVER: Duration = Duration::from_secs(12);

pub(super) struct Liveness {
    timeout: Duration,
    limit: Option<Duration>,
    calm_since: Option<SimTime>,
    settled: bool,
    progress: SimTime,
    /// Jobs that wait for a claim, and since when younger ones are preferred.
    waiting: BTreeMap<u64, Option<SimTime>>,
    /// Faults that are under way.
    faults: u32,
}

impl Liveness {
    pub(super) fn new(timeout: Duration, limit: Option<Duration>) -> Self {
        Self {
            timeout,
            limit,
            calm_since: None,
            settled: false,
            progress: SimTime::default(),
            waiting: BTreeMap::new(),
            faults: 0,
        }
    }
}

impl Rule for Liveness {
    fn observe(&mut self, scene: &Scene<'_>, report: &mut RuleReport) {
        let at = scene.event.at;
        self.starvation(scene, report);
        if let EventKind::Crashed(CrashCause::Panic { message, place }) = &scene.event.kind {
            let process = &scene.event.process;
            let text = || format!("{process} panicked at {place}: {message}");
            report.check(false, scene.event, text);
        }
        if let EventKind::Phase(phase) = scene.event.kind {
            self.settled = phase == Phase::Settled;
            match (phase, self.calm_since) {
                (Phase::Calm, _) => {
                    self.calm_since = Some(at);
                    self.progress = at;
                }
                (Phase::Settled, Some(since)) => {
                    let limit = self.limit.unwrap_or(Duration::MAX);
                    report.check(at.since(since) <= limit, scene.event, || {
                        format!("it took {:?} to settle, the limit is {limit:?}", at.since(since))
                    });
                }
                (Phase::Warmup | Phase::Storm, _) => self.calm_since = None,
                (Phase::Settled, None) => {}
            }
        }
        if self.calm_since.is_none() || self.settled {
            return;
        }
        let waited = at.since(self.progress);
        if waited >= self.timeout {
            // Looking through all keys is for when nothing moves; after it the clock starts anew.
            report.check(!scene.mirror.busy(), scene.event, || {
                format!("work is pending and nothing has moved for {waited:?}")
            });
            self.progress = at;
        }
        if scene.step.progress {
            report.checks += 1;
            self.progress = at;
        }
    }

    fn finish(&mut self, end: &End<'_>, report: &mut RuleReport) {
        report.check_end(end.settled || end.cut_short, end, || {
            let left = match end.mirror.busy() {
                true => "work is pending",
                false => "nothing is pending",
            };
            format!("the run has ended and did not settle; {left}")
        });
    }
}

impl Liveness {
    fn starvation(&mut self, scene: &Scene<'_>, report: &mut RuleReport) {
        let changes = match &scene.event.kind {
            EventKind::Committed { changes, .. } => changes,
            EventKind::Fault { begins, .. } => {
                self.faults = if *begins { self.faults + 1 } else { self.faults.saturating_sub(1) };
                return self.forget();
            }
            EventKind::Crashed(_) | EventKind::Started => return self.forget(),
            _ => return,
        };
        for change in changes {
            let Row::ValuationJob(job) = &change.row else { continue };
            if !change.deleted && job.status == JobStatus::Pending {
                self.waiting.entry(job.id).or_insert(None);
                continue;
            }
            let has_waited = self.waiting.remove(&job.id).is_some();
            let is_dropped = change.deleted && is_superseded(job, scene.mirror);
            if has_waited && !is_dropped && self.faults == 0 {
                self.passed_over(job, scene, report);
            }
        }
    }

    /// A job was claimed: those that are older and still wait were passed over.
    fn passed_over(
        &mut self,
        claimed: &ValuationJobRow,
        scene: &Scene<'_>,
        report: &mut RuleReport,
    ) {
        for (id, since) in self.waiting.range_mut(..claimed.id) {
            let since = *since.get_or_insert(scene.event.at);
            let waited = scene.event.at.since(since);
            report.check(waited <= PASSED_OVER, scene.event, || {
                let younger = claimed.id;
                format!("valuation job {id} waits since {waited:?} while job {younger} is claimed")
            });
        }
    }

    fn forget(&mut self) {
        self.waiting.values_mut().for_each(|since| *since = None);
    }
}

/// Whether no key of a job has the token any more that it was made for.
fn is_superseded(job: &ValuationJobRow, mirror: &Mirror) -> bool {
    job.keys.iter().all(|entry| {
        let index = mirror.find(&entry.key);
        let state = index.and_then(|index| mirror.keys[index].state.as_ref());
        state.is_none_or(|state| state.token() != entry.token)
    })
}
