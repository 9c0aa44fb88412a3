//! Rates and prices, due keys, progress, valuation jobs, positions and snapshots.

use std::ops::Bound;
use std::rc::Rc;

use backdate_engine::defects::{Defect, is_planted};
use backdate_engine::domain::ids::{Currency, Epoch, Key, SecurityId};
use backdate_engine::domain::records::{BusinessDate, GLOBAL_CALENDAR, Place};
use backdate_engine::domain::time::{Date, Timestamp};
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::rows::{
    HistoryRow, JobStatus, KeyState, PriceRow, RateRow, ReplayRow, SnapshotRow, TimelineRow,
    ValuationJobRow,
};
use backdate_engine::ports::store::statements::{
    ClaimValuationJobs, CopySnapshots, DatedPosition, DeleteSnapshots, DeleteValuationJob,
    DropSupersededJobs, FindDueKeys, InsertValuationJobs, LockValuationJob, PostponeValuationJob,
    Progress, ProgressQuery, ReadBusinessDates, ReadPositions, ReadPrices, ReadProgress, ReadRates,
};
use smol_str::SmolStr;

use super::super::core::locks::LockMode;
use super::super::core::session::Session;
use super::super::core::storage::{Sequence, View};
use super::super::core::table::Version;
use super::super::derived::{has_open_job, is_due, latest_business_date};
use super::super::schema::{JobIndex, Stored, first_place};
use super::timeline::places_of;
use super::validity::Validity;
use super::{Run, any};

/// Rows dated in `(from, to]` and the latest dated on or before `from`, in date order.
fn series<'a, R: Stored>(
    view: View<'a>,
    pk: impl Fn(Date) -> R::Pk,
    from: Date,
    to: Date,
) -> impl Iterator<Item = &'a Rc<R>> {
    let opening = view.range::<R>(pk(Date::from_days(i32::MIN))..=pk(from)).next_back();
    let rest =
        (from < to).then(|| view.range::<R>((Bound::Excluded(pk(from)), Bound::Included(pk(to)))));
    opening.into_iter().chain(rest.into_iter().flatten())
}

impl Run for ReadRates {
    async fn run(self, session: &mut Session) -> Result<Vec<RateRow>, StoreError> {
        Ok(session.read(|view| {
            let of_pair = |(a, b): &(Currency, Currency)| {
                let (a, b) = (a.clone(), b.clone());
                let pk = move |date| (a.clone(), b.clone(), date);
                series::<RateRow>(view, pk, self.from, self.to)
            };
            self.pairs.iter().flat_map(of_pair).map(|row| (**row).clone()).collect()
        }))
    }
}

impl Run for ReadPrices {
    async fn run(self, session: &mut Session) -> Result<Vec<PriceRow>, StoreError> {
        Ok(session.read(|view| {
            let of_security = |security: &SecurityId| {
                let security = security.clone();
                let pk = move |date| (security.clone(), date);
                series::<PriceRow>(view, pk, self.from, self.to)
            };
            self.securities.iter().flat_map(of_security).map(|row| (**row).clone()).collect()
        }))
    }
}

impl Run for FindDueKeys {
    async fn run(self, session: &mut Session) -> Result<Vec<Key>, StoreError> {
        let limit = self.limit as usize;
        let from = self.after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(session.read_storage(|storage, tx| match storage.derived(tx) {
            Some(derived) => {
                derived.due.range((from, Bound::Unbounded)).take(limit).cloned().collect()
            }
            None => {
                let view = storage.view(tx);
                let latest = latest_business_date(view);
                let keys = view.range::<KeyState>((from, Bound::Unbounded));
                let due = keys.filter(|state| is_due(view, state, latest));
                due.take(limit).map(|state| state.key.clone()).collect()
            }
        }))
    }
}

fn business_dates(view: View<'_>, from: Date, to: Date) -> Vec<Date> {
    if from > to {
        return Vec::new();
    }
    let code = SmolStr::new(GLOBAL_CALENDAR);
    let rows = view.range::<BusinessDate>((code.clone(), from)..=(code, to));
    rows.map(|row| row.business_date).collect()
}

impl Run for ReadBusinessDates {
    async fn run(self, session: &mut Session) -> Result<Vec<Date>, StoreError> {
        Ok(session.read(|view| business_dates(view, self.from, self.to)))
    }
}

impl Run for ReadProgress {
    async fn run(self, session: &mut Session) -> Result<Vec<Progress>, StoreError> {
        Ok(session.read(|view| {
            let latest = latest_business_date(view);
            let earliest = self.keys.iter().map(|query| query.watermark_date).min();
            let dates = match (earliest, latest) {
                (Some(earliest), Some(latest)) => business_dates(view, earliest.next(), latest),
                _ => Vec::new(),
            };
            self.keys.iter().map(|query| progress(view, query, &dates, latest)).collect()
        }))
    }
}

/// `dates`: all business dates after the earliest watermark.
fn progress(
    view: View<'_>,
    query: &ProgressQuery,
    dates: &[Date],
    latest: Option<Date>,
) -> Progress {
    let ProgressQuery { key, epoch, revision, watermark_date } = query;
    let applied = |row: &&Rc<TimelineRow>| row.is_applied();
    let first_applied = view.range::<TimelineRow>(places_of(key)).find(applied);
    let first_applied = first_applied.map(|row| row.place.date());
    let dates = &dates[dates.partition_point(|date| date <= watermark_date)..];
    let missing = first_applied.and_then(|first| {
        let begin = dates.partition_point(|date| *date < first);
        let begin = match is_planted(Defect::GapIgnored) {
            true if begin < dates.len() && is_valued(view, query, dates[dates.len() - 1]) => {
                dates.len()
            }
            _ => begin,
        };
        let from = (key.clone(), *dates.get(begin)?, Epoch(0));
        let to = (key.clone(), Date::from_days(i32::MAX), Epoch(u32::MAX));
        let mut snapshots = view
            .range::<SnapshotRow>(from..=to)
            .filter(|row| {
                let is_any = is_planted(Defect::GapCountsOlderRevisions);
                row.epoch == *epoch && (row.revision == *revision || is_any)
            })
            .map(|row| row.date)
            .peekable();
        let mut is_missing = |index: &usize| {
            while snapshots.next_if(|date| *date < dates[*index]).is_some() {}
            snapshots.peek() != Some(&dates[*index])
        };
        let first = (begin..dates.len()).find(&mut is_missing)?;
        let more = (first + 1..dates.len()).take_while(is_missing).count();
        Some((first, 1 + more))
    });
    let (missing, gap) = missing.unzip();
    let complete = missing.unwrap_or(dates.len());
    let state = view.get::<KeyState>(key);
    let token =
        state.map(|state| KeyState { epoch: *epoch, revision: *revision, ..(**state).clone() });
    Progress {
        key: key.clone(),
        replay_open: view.get::<ReplayRow>(key).is_some(),
        job_open: token.is_some_and(|state| has_open_job(view, &state)),
        first_applied,
        latest_business_date: latest,
        first_missing: missing.map(|missing| dates[missing]),
        complete_through: complete.checked_sub(1).map(|last| dates[last]),
        gap_days: u32::try_from(gap.unwrap_or(0)).expect("fewer than 2^32 business dates"),
    }
}

/// Whether a date has a snapshot under the token.
fn is_valued(view: View<'_>, query: &ProgressQuery, date: Date) -> bool {
    let row = view.get::<SnapshotRow>(&(query.key.clone(), date, query.epoch));
    row.is_some_and(|row| row.revision == query.revision)
}

impl Run for InsertValuationJobs {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        for job in self.jobs {
            let row = ValuationJobRow {
                id: session.next(Sequence::JobId)?,
                keys: job.keys,
                date_from: job.date_from,
                date_to: job.date_to,
                status: JobStatus::Pending,
                attempts: 0,
                lease_until: None,
                not_before: session.now(),
            };
            session.insert(row).await?;
        }
        Ok(())
    }
}

/// Jobs of a state in id order.
fn jobs<'a>(
    view: View<'a>,
    status: JobStatus,
) -> impl Iterator<Item = &'a Version<ValuationJobRow>> {
    let from = Bound::Included((JobIndex::Status(status), 0));
    let wanted = move |entry: &JobIndex| *entry == JobIndex::Status(status);
    view.scan::<ValuationJobRow>(from, wanted).map(|(_, version)| version)
}

/// Jobs that can be claimed, in id order, and the number of those under a live lease.
fn claimable(
    view: View<'_>,
    now: Timestamp,
    ignores_leases: bool,
) -> (Vec<Version<ValuationJobRow>>, usize) {
    let (mut live, mut free) = (0, Vec::new());
    for job in jobs(view, JobStatus::Processing) {
        let is_over = job.row.lease_until.is_some_and(|until| until < now);
        if is_over || ignores_leases {
            free.push(job.clone());
        } else {
            live += 1;
        }
    }
    for status in [JobStatus::Pending, JobStatus::Waiting] {
        free.extend(jobs(view, status).filter(|job| job.row.not_before <= now).cloned());
    }
    free.sort_unstable_by_key(|job| job.row.id);
    (free, live)
}

/// Whether each key of the job has a newer token.
fn is_superseded(view: View<'_>, job: &ValuationJobRow) -> bool {
    job.keys.iter().all(|held| {
        let state = view.get::<KeyState>(&held.key);
        state.is_none_or(|state| state.revision > held.token.revision)
    })
}

impl Run for DropSupersededJobs {
    async fn run(self, session: &mut Session) -> Result<Vec<u64>, StoreError> {
        let now = session.now();
        let (fresh, limit) = (self.fresh.max(1) as usize, self.limit as usize);
        let superseded = session.read(|view| {
            let (free, _) = claimable(view, now, false);
            let is_fresh = |job: &&Version<ValuationJobRow>| !is_superseded(view, &job.row);
            let last = free.iter().take(fresh + limit).filter(is_fresh).nth(fresh - 1);
            let last = last.map_or(u64::MAX, |job| job.row.id);
            let before = free.iter().filter(|job| job.row.id < last && !is_fresh(job));
            before.cloned().collect::<Vec<_>>()
        });
        let locked = session.lock_free(superseded, limit).await?;
        let ids: Vec<u64> = locked.iter().map(|job| job.id).collect();
        let rows = any::<ValuationJobRow>(session, ids.clone());
        session.delete(rows, |_| true).await?;
        Ok(ids)
    }
}

impl Run for ClaimValuationJobs {
    async fn run(self, session: &mut Session) -> Result<Vec<ValuationJobRow>, StoreError> {
        let now = session.now();
        let lease_until = session.now_plus_ms(self.lease_ms);
        let ignores_leases = is_planted(Defect::LiveLeasesIgnored);
        let (mut free, live) = session.read(|view| claimable(view, now, ignores_leases));
        if is_planted(Defect::ClaimsNewestFirst) {
            free.reverse();
        }
        if is_planted(Defect::ClaimsByPortfolio) {
            free.sort_by_key(|job| job.row.keys.first().map(|held| held.key.portfolio_id.clone()));
        }
        let limit = (self.limit as usize).min((self.in_flight_max as usize).saturating_sub(live));
        let ids = match is_planted(Defect::ClaimsWithoutSkipLocked) {
            true => free.iter().take(limit).map(|job| job.row.id).collect(),
            false => session.lock_free(free, limit).await?.iter().map(|job| job.id).collect(),
        };
        let mut rows = any::<ValuationJobRow>(session, ids);
        if is_planted(Defect::ClaimsNewestFirst) {
            rows.reverse();
        }
        let claim = |old: &ValuationJobRow| {
            Some(ValuationJobRow {
                status: JobStatus::Processing,
                attempts: old.attempts + 1,
                lease_until: Some(lease_until),
                ..old.clone()
            })
        };
        session.update(rows, claim).await.map(super::owned)
    }
}

impl Run for LockValuationJob {
    async fn run(self, session: &mut Session) -> Result<Option<ValuationJobRow>, StoreError> {
        let rows = any::<ValuationJobRow>(session, vec![self.id]);
        let locked = session.lock(rows, LockMode::Update, false, |_| true).await?;
        Ok(locked.first().map(|job| (**job).clone()))
    }
}

impl Run for DeleteValuationJob {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let rows = any::<ValuationJobRow>(session, vec![self.id]);
        session.delete(rows, |_| true).await
    }
}

impl Run for PostponeValuationJob {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let not_before = session.now_plus_ms(self.delay_ms);
        let rows = any::<ValuationJobRow>(session, vec![self.id]);
        let postpone = |old: &ValuationJobRow| {
            Some(ValuationJobRow {
                status: JobStatus::Waiting,
                keys: self.keys.clone(),
                lease_until: None,
                not_before,
                ..old.clone()
            })
        };
        session.update(rows, postpone).await?;
        Ok(())
    }
}

impl Run for ReadPositions {
    async fn run(self, session: &mut Session) -> Result<Vec<DatedPosition>, StoreError> {
        let (from, to) = (self.from, self.to);
        Ok(session.read(|view| {
            let of_key = |(key, epoch): &(Key, Epoch)| positions(view, key, *epoch, from, to);
            self.keys.iter().flat_map(of_key).collect()
        }))
    }
}

fn positions(view: View<'_>, key: &Key, epoch: Epoch, from: Date, to: Date) -> Vec<DatedPosition> {
    let validity = Validity::of(view, key, epoch);
    let valid = |row: &&Rc<HistoryRow>| validity.is_valid(row.epoch, row.place.date());
    let at = |place: Place| (key.clone(), place, Epoch(0));
    let split = at(Place::start_of(from.next()));
    let opening = view.range::<HistoryRow>(at(first_place())..split.clone());
    let end = at(Place::start_of(to.next())).max(split.clone());
    let rest = view.range::<HistoryRow>(split..end).filter(valid);
    opening
        .rev()
        .find(valid)
        .into_iter()
        .chain(rest)
        .map(|row| DatedPosition {
            key: key.clone(),
            date: row.place.date(),
            position: row.position,
        })
        .collect()
}

impl Run for DeleteSnapshots {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let (from, to) = (self.from, self.to);
        if from > to {
            return Ok(());
        }
        let rows: Vec<Version<SnapshotRow>> = session.read(|view| {
            let of_key = |(key, epoch): &(Key, Epoch)| {
                let epoch = *epoch;
                let first = (key.clone(), from, Epoch(0));
                let last = (key.clone(), to, Epoch(u32::MAX));
                view.versions::<SnapshotRow>(first..=last).filter(move |v| v.row.epoch == epoch)
            };
            self.keys.iter().flat_map(of_key).cloned().collect()
        });
        session.delete(rows, |_| true).await
    }
}

impl Run for CopySnapshots {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        for row in self.rows {
            session.insert(row).await?;
        }
        Ok(())
    }
}
