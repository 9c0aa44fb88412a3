//! `valuation-scheduler`: triggers become jobs, gaps become valuation jobs, jobs are claimed and
//! sent; the sole authority that advances watermarks, sets CURRENT and switches the served epoch.
//!
//! Any number of schedulers may run: triggers and claims are taken with SKIP LOCKED, and a key is
//! visited under its lock, with everything about it read in later statements.

mod planted;
mod switch;

use std::collections::BTreeMap;

use super::ServiceError;
use super::backoff::Backoff;
use super::instance::{Instance, Session};
use crate::defects::{Defect, is_planted};
use crate::domain::ids::{Epoch, Key};
use crate::domain::messages::{self, ValuationRequired};
use crate::domain::records::KeyStatus;
use crate::domain::time::Date;
use crate::ports::Ports;
use crate::ports::host::{Measure, Signal};
use crate::ports::log::Topic;
use crate::ports::store::rows::{JobKey, KeyState, OutboxRow, ValuationJobRow};
use crate::ports::store::statements::{
    AppendOutbox, ClaimValuationJobs, DeleteTriggers, DropSupersededJobs, FindDueKeys,
    InsertReprocessingJobs, InsertValuationJobs, LockKeys, NewValuationJob, Progress,
    ProgressQuery, PruneEpochs, ReadBusinessDates, ReadProgress, TakeTriggers, UpdateKeys,
};
use crate::services::outbox_dispatcher::lane_of;

/// Name of the process in crash points.
pub const PROCESS: &str = "valuation-scheduler";

/// Its port calls.
pub const CALLS: &[&str] = &[
    "TakeTriggers",
    "InsertReprocessingJobs",
    "DeleteTriggers",
    "FindDueKeys",
    "LockKeys",
    "ReadProgress",
    "ReadBusinessDates",
    "UpdateKeys",
    "ReadSwitched",
    "PruneEpochs",
    "InsertValuationJobs",
    "DropSupersededJobs",
    "ClaimValuationJobs",
    "AppendOutbox",
    "Commit",
];

/// Superseded jobs dropped in one transaction.
const SUPERSEDED_MAX: u32 = 1_000;

/// Runs the process until the instance is asked to stop.
pub(crate) async fn run<P: Ports>(instance: Instance<P>) {
    let mut backoff = Backoff::default();
    let mut after: Option<Key> = None;
    while !instance.is_stopping() {
        let Err(error) = serve(&instance, &mut after, &mut backoff).await else { continue };
        instance.trouble(PROCESS, &error);
        backoff.wait(&instance).await;
    }
}

async fn serve<P: Ports>(
    instance: &Instance<P>,
    after: &mut Option<Key>,
    backoff: &mut Backoff,
) -> Result<(), ServiceError> {
    while !instance.is_stopping() {
        hand_on_triggers(instance).await?;
        for _ in 0..instance.knobs.visits_per_round {
            if instance.is_stopping() || !visit(instance, after).await? {
                break;
            }
        }
        claim(instance).await?;
        backoff.reset();
        instance.pause(instance.knobs.scheduler_poll_ms).await;
    }
    Ok(())
}

/// Triggers become jobs; each hand-on makes its own job, none is merged into one that runs.
async fn hand_on_triggers<P: Ports>(instance: &Instance<P>) -> Result<(), ServiceError> {
    let mut session = instance.begin().await?;
    let take = TakeTriggers { limit: instance.knobs.trigger_batch };
    let triggers = match is_planted(Defect::TriggerDeletedBySubject) {
        true => instance.query(take).await?,
        false => session.run(take).await?,
    };
    if triggers.is_empty() {
        session.rollback().await;
        return Ok(());
    }
    // The rows are locked: what is deleted is what was read.
    let jobs = triggers.iter().map(|t| (t.subject.clone(), t.earliest_date)).collect();
    let subjects = triggers.into_iter().map(|trigger| trigger.subject).collect();
    if is_planted(Defect::TriggerHandedOnApart) {
        session.run(DeleteTriggers { subjects }).await?;
        session.split().await?;
        session.run(InsertReprocessingJobs { jobs }).await?;
        return Ok(session.commit().await?);
    }
    session.run(InsertReprocessingJobs { jobs }).await?;
    session.run(DeleteTriggers { subjects }).await?;
    Ok(session.commit().await?)
}

/// Visits the next due keys, going round; whether there may be more.
async fn visit<P: Ports>(
    instance: &Instance<P>,
    after: &mut Option<Key>,
) -> Result<bool, ServiceError> {
    let limit = instance.knobs.visit_batch;
    let keys = instance.query(FindDueKeys { after: after.clone(), limit }).await?;
    let is_full = keys.len() >= limit as usize;
    let went_round = after.is_some() && !is_full;
    *after = keys.last().cloned().filter(|_| is_full);
    if keys.is_empty() {
        return Ok(went_round);
    }
    let mut session = instance.begin().await?;
    // A key that somebody holds is being changed: it is due again at the next round.
    let lock = LockKeys { keys, skip_locked: true };
    let is_unlocked = planted::writes_without_lock();
    let before = match is_unlocked {
        true => instance.query(lock).await?,
        false => session.run(lock).await?,
    };
    let queries = before.iter().map(|state| ProgressQuery {
        key: state.key.clone(),
        epoch: state.epoch,
        revision: state.revision,
        watermark_date: state.watermark_date,
    });
    let progress = session.run(ReadProgress { keys: queries.collect() }).await?;
    let progress: BTreeMap<Key, Progress> =
        progress.into_iter().map(|fact| (fact.key.clone(), fact)).collect();
    let after: Vec<KeyState> =
        before.iter().map(|state| advance(state, &progress[&state.key])).collect();
    let (old, new) = match is_unlocked {
        true => planted::overwritten(&mut session, &before, &after).await?,
        false => (before.clone(), after.clone()),
    };
    let lanes = instance.knobs.outbox_lanes;
    write_states(&mut session, &old, &new, lanes).await?;
    let jobs = plan_jobs(&mut session, &after, &progress, &instance.knobs).await?;
    let created = Signal::JobsCreated {
        jobs: jobs.len() as u32,
        keys: jobs.iter().map(|job| job.keys.len() as u32).sum(),
    };
    let gaps: Vec<u32> = progress.values().map(|facts| facts.gap_days).collect();
    if !jobs.is_empty() {
        session.run(InsertValuationJobs { jobs }).await?;
    }
    session.commit().await?;
    for days in gaps.into_iter().filter(|days| *days > 0) {
        instance.measure(Measure::Gap { days });
    }
    report(instance, &before, &after, created);
    Ok(is_full || went_round)
}

/// The state of a key after a visit: watermark, status and served epoch as far as the snapshots of
/// its token reach.
fn advance(state: &KeyState, facts: &Progress) -> KeyState {
    let mut next = state.clone();
    let waits = facts.replay_open && !is_planted(Defect::CurrentDuringReplay);
    let is_empty = facts.first_applied.is_none();
    if waits || (is_planted(Defect::KeysWithoutHistoryStayDue) && is_empty) {
        return next;
    }
    match facts.latest_business_date {
        Some(latest) if next.watermark_date > latest => {
            // The first business date of all lies before the key's first transaction: nothing is
            // valued, so the watermark may fall to it, which takes a new revision.
            next.watermark_date = latest;
            next.revision = next.revision.next();
        }
        Some(latest) if facts.first_missing.is_none() => next.watermark_date = latest,
        Some(_) => {
            let reached = facts.complete_through.unwrap_or(next.watermark_date);
            next.watermark_date = next.watermark_date.max(reached);
        }
        None => {}
    }
    let has_arrived = facts.latest_business_date.is_none_or(|latest| next.watermark_date == latest);
    if has_arrived || is_planted(Defect::CurrentBeforeWatermark) {
        next.status = KeyStatus::Current;
        if !is_planted(Defect::ServedEpochLeftBehind) {
            next.served_epoch = next.epoch;
        }
    }
    if next != *state {
        next.input_version += 1;
    }
    next
}

/// Writes the states that have changed, and prunes what a switch of the served epoch leaves behind.
async fn write_states<P: Ports>(
    session: &mut Session<'_, P>,
    before: &[KeyState],
    after: &[KeyState],
    lanes: u32,
) -> Result<(), ServiceError> {
    let pairs = || before.iter().zip(after);
    let rows: Vec<KeyState> =
        pairs().filter(|(old, new)| old != new).map(|(_, new)| new.clone()).collect();
    if !rows.is_empty() {
        session.run(UpdateKeys { rows }).await?;
    }
    let switched: Vec<(Epoch, &KeyState)> = pairs()
        .filter(|(old, new)| old.served_epoch != new.served_epoch)
        .map(|(old, new)| (old.served_epoch, new))
        .collect();
    if !switched.is_empty() {
        switch::announce(session, &switched, lanes).await?;
        let keys = switched.iter().map(|(_, new)| (new.key.clone(), new.served_epoch));
        session.run(PruneEpochs { keys: keys.collect() }).await?;
    }
    Ok(())
}

/// Jobs for the gaps: keys that miss the same dates share jobs. A job ends where a date is valued
/// already (a business date came late, behind it), so that no date is valued twice.
async fn plan_jobs<P: Ports>(
    session: &mut Session<'_, P>,
    states: &[KeyState],
    progress: &BTreeMap<Key, Progress>,
    knobs: &crate::runtime::Knobs,
) -> Result<Vec<NewValuationJob>, ServiceError> {
    let mut by_gap: BTreeMap<(Date, u32), Vec<JobKey>> = BTreeMap::new();
    for state in states {
        let facts = &progress[&state.key];
        let in_replay = facts.replay_open && !is_planted(Defect::JobsDuringReplay);
        let is_repeated =
            is_planted(Defect::SecondSchedulerRepeatsJobs) || is_planted(Defect::OpenJobsIgnored);
        let in_job = facts.job_open && !is_repeated;
        if let (Some(from), false, false) = (facts.first_missing, in_replay, in_job) {
            let job_key = JobKey { key: state.key.clone(), token: state.token() };
            by_gap.entry((from, facts.gap_days)).or_default().push(job_key);
        }
    }
    let Some(from) = by_gap.keys().map(|gap| gap.0).min() else { return Ok(Vec::new()) };
    let latest = progress.values().filter_map(|facts| facts.latest_business_date).max();
    let to = latest.expect("a date that is missing is a business date");
    let dates = session.run(ReadBusinessDates { from, to }).await?;
    let mut jobs = Vec::new();
    for ((from, gap_days), keys) in by_gap {
        let begin = dates.partition_point(|date| *date < from);
        let end = match is_planted(Defect::JobsCoverValuedDates) {
            true => dates.len(),
            false => dates.len().min(begin + gap_days as usize),
        };
        for days in dates[begin..end].chunks(knobs.job_days as usize) {
            for keys in keys.chunks(knobs.job_keys as usize) {
                let (date_from, date_to) = (days[0], days[days.len() - 1]);
                jobs.push(NewValuationJob { keys: keys.to_vec(), date_from, date_to });
            }
        }
    }
    Ok(jobs)
}

/// Claims jobs and hands them to the outbox in the same transaction, so that no crash can fall
/// between a claim and its message. A job whose worker dies is claimed again when its lease ends.
///
/// Jobs whose keys have all moved on are dropped first: claimed one by one and sent, hundreds of
/// them would hold up those that are of use. The new token of a key makes it due for a job anew.
async fn claim<P: Ports>(instance: &Instance<P>) -> Result<(), ServiceError> {
    let knobs = &instance.knobs;
    let mut session = instance.begin().await?;
    let superseded = match is_planted(Defect::SupersededJobsClaimed) {
        true => Vec::new(),
        false => {
            let (fresh, limit) = (knobs.claim_batch, SUPERSEDED_MAX);
            session.run(DropSupersededJobs { fresh, limit }).await?
        }
    };
    let claimed = session
        .run(ClaimValuationJobs {
            limit: knobs.claim_batch,
            in_flight_max: knobs.jobs_in_flight,
            lease_ms: match is_planted(Defect::LeaseNeverEnds) {
                true => u64::MAX,
                false => knobs.lease_ms,
            },
        })
        .await?;
    if claimed.is_empty() && superseded.is_empty() {
        session.rollback().await;
        return Ok(());
    }
    if is_planted(Defect::ClaimDispatchedApart) {
        session.split().await?;
    }
    if !claimed.is_empty() {
        let rows = claimed.into_iter().map(|job| message(job, knobs.outbox_lanes)).collect();
        session.run(AppendOutbox { rows }).await?;
    }
    session.commit().await?;
    if !superseded.is_empty() {
        instance.emit(Signal::JobsSuperseded { jobs: superseded.len() as u32 });
    }
    Ok(())
}

fn message(job: ValuationJobRow, lanes: u32) -> OutboxRow {
    let correlation_id = Some(format!("SCHEDULER_JOB_{}", job.id).into());
    let required = ValuationRequired {
        job_id: Some(job.id),
        attempt: job.attempts,
        keys: job.keys.into_iter().map(|k| (k.key, k.token)).collect(),
        date_from: job.date_from,
        date_to: job.date_to,
        correlation_id: correlation_id.clone(),
    };
    // A job of many keys goes by its first.
    let key = required.keys[0].0.portfolio_id.as_str();
    OutboxRow {
        id: 0,
        lane: lane_of(key, lanes),
        topic: Topic::ValuationRequired,
        key: key.into(),
        payload: messages::valuation_required(&required),
        correlation_id,
    }
}

fn report<P: Ports>(
    instance: &Instance<P>,
    before: &[KeyState],
    after: &[KeyState],
    created: Signal,
) {
    for (old, new) in before.iter().zip(after) {
        if old.status != new.status {
            instance.emit(Signal::BecameCurrent {
                key: new.key.clone(),
                token: new.token(),
                watermark_date: new.watermark_date,
            });
        }
    }
    if !matches!(created, Signal::JobsCreated { jobs: 0, .. }) {
        instance.emit(created);
    }
}
