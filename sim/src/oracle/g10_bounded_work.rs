//! G10, bounded work: a replay is linear, an invalidation is valued once, locks are few.
//!
//! - Execution: every commit and every transaction that ended with an error.
//! - Allowed interference: after a crash, and of keys whose valuation job was claimed more than
//!   once, a date may be valued again under one token. Deadlocks only where a fault asks for them.
//! - Assertion: a transaction holds no more than a batch of keys; between two rewinds a replay
//!   writes no more history rows than the timeline has entries, and it is rewound only together
//!   with a new revision; a (key, date) is written once per token; a valuation job is claimed again
//!   only when its lease has ended; no 40P01.

use std::collections::HashMap;
use std::time::Duration;

use backdate_engine::domain::ids::Epoch;
use backdate_engine::domain::time::Timestamp;
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::rows::ValuationJobRow;
use backdate_reports::recording::{Change, EventKind, Row};

use super::rule::{Rule, RuleReport, Scene};

pub(super) struct BoundedWork {
    keys_max: u32,
    /// Per key: the epoch, and history rows inserted for it since its last rewind.
    inserted: Vec<(Epoch, usize)>,
    lease: Duration,
    /// Ends of the leases that run.
    leases: HashMap<u64, Timestamp>,
}

impl BoundedWork {
    pub(super) fn new(keys_max: u32, lease: Duration) -> Self {
        Self { keys_max, inserted: Vec::new(), lease, leases: HashMap::new() }
    }
}

impl Rule for BoundedWork {
    fn observe(&mut self, scene: &Scene<'_>, report: &mut RuleReport) {
        match &scene.event.kind {
            EventKind::Committed { client, keys_locked, changes } => {
                let max = self.keys_max;
                report.check(*keys_locked <= max, scene.event, || {
                    format!("{client} held {keys_locked} keys locked, the batch is {max}")
                });
                self.history(changes, scene, report);
                for change in changes {
                    if let Row::ValuationJob(job) = &change.row {
                        self.claim(job, change.deleted, scene, report);
                    }
                }
                for (index, date) in &scene.step.rewritten {
                    let mirrored = &scene.mirror.keys[*index];
                    let excused = scene.mirror.crashed || mirrored.lease_lost;
                    report.check(excused, scene.event, || {
                        let key = &mirrored.key;
                        format!("{client} valued {key} on {date} again under the same token")
                    });
                }
            }
            EventKind::Aborted { client, statement, error: StoreError::Deadlock } => {
                report.check(scene.mirror.lock_fault, scene.event, || {
                    format!("{client} ended in a deadlock at {statement}")
                })
            }
            _ => {}
        }
    }
}

impl BoundedWork {
    /// A lease begins at the time of its claim, by the clock of the database.
    fn claim(
        &mut self,
        job: &ValuationJobRow,
        deleted: bool,
        scene: &Scene<'_>,
        report: &mut RuleReport,
    ) {
        let running = self.leases.remove(&job.id);
        let Some(until) = job.lease_until.filter(|_| !deleted) else { return };
        self.leases.insert(job.id, until);
        let lease = i64::try_from(self.lease.as_micros()).unwrap_or(i64::MAX);
        let claimed = until.micros().saturating_sub(lease);
        let holds = running.is_none_or(|running| running == until || running.micros() < claimed);
        report.check(holds, scene.event, || {
            format!("valuation job {} is claimed again while its lease runs", job.id)
        });
    }

    fn history(&mut self, changes: &[Change], scene: &Scene<'_>, report: &mut RuleReport) {
        let keys = scene.mirror.keys.len();
        self.inserted.resize(keys, (Epoch(0), 0));
        if !scene.step.touched.iter().any(|touch| touch.history) {
            return;
        }
        self.rewinds(changes, scene, report);
        for (change, index) in changes.iter().zip(&scene.step.rows) {
            let (Row::History(row), Some(index), false) = (&change.row, index, change.deleted)
            else {
                continue;
            };
            let (epoch, count) = &mut self.inserted[*index];
            if *epoch != row.epoch {
                (*epoch, *count) = (row.epoch, 0);
            }
            *count += 1;
        }
        for touch in scene.step.touched.iter().filter(|touch| touch.history) {
            let mirrored = &scene.mirror.keys[touch.key];
            let (_, count) = self.inserted[touch.key];
            let entries = mirrored.timeline.len();
            report.check(count <= entries, scene.event, || {
                let key = &mirrored.key;
                format!("{count} history rows of {key} since its rewind, {entries} entries")
            });
        }
    }

    /// Rows of the newest epoch go only when something invalidates them.
    fn rewinds(&mut self, changes: &[Change], scene: &Scene<'_>, report: &mut RuleReport) {
        for touch in scene.step.touched.iter().filter(|touch| touch.history) {
            let mirrored = &scene.mirror.keys[touch.key];
            let Some(state) = &mirrored.state else {
                continue;
            };
            let mut of_key =
                changes.iter().zip(&scene.step.rows).filter(|(_, row)| **row == Some(touch.key));
            let rewound = of_key.any(|(change, _)| match &change.row {
                Row::History(row) => change.deleted && row.epoch == state.epoch,
                _ => false,
            });
            if !rewound {
                continue;
            }
            self.inserted[touch.key].1 = 0;
            let before = touch.before.as_ref().map(|before| before.revision);
            report.check(before != Some(state.revision), scene.event, || {
                let key = &mirrored.key;
                format!("history of {key} was rewound without a new revision")
            });
        }
    }
}
