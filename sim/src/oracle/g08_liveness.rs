//! G8, liveness: once faults have ended, work moves until everything has settled.
//!
//! - Execution: the calm phase of a run, and its end.
//! - Allowed interference: none any more, but for what faults have damaged for good.
//! - Assertion: while anything is pending, no stretch of simulated time as long as the timeout goes
//!   by without progress; the run settles, within its limit if it has one. Progress is a change of
//!   inputs, keys, timelines, history, snapshots, triggers or fan-outs, news that moves on, or a
//!   record that its consumer declares done. Jobs that are claimed again and again are none.

use std::time::Duration;

use backdate_reports::recording::{EventKind, Phase, SimTime};

use super::rule::{End, Rule, RuleReport, Scene};

pub(super) struct Liveness {
    timeout: Duration,
    limit: Option<Duration>,
    calm_since: Option<SimTime>,
    settled: bool,
    progress: SimTime,
}

impl Liveness {
    pub(super) fn new(timeout: Duration, limit: Option<Duration>) -> Self {
        Self { timeout, limit, calm_since: None, settled: false, progress: SimTime::default() }
    }
}

impl Rule for Liveness {
    fn observe(&mut self, scene: &Scene<'_>, report: &mut RuleReport) {
        let at = scene.event.at;
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
