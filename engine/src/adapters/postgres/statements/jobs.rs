//! Valuation jobs: a row per job, and an index of their keys in a table of its own.
//!
//! Only the job's row is ever locked. It has its keys in arrays, so whoever has waited for it reads
//! the newest ones; `portfolio_valuation_job_keys` is written by the same statements.

use sqlx::{Error, PgConnection, Row as _};

use super::super::cells::read;
use super::super::columns::job_columns;
use super::super::types::{Big, Small};
use super::{Bind, Run, done, rows, rows_with, sql};
use crate::ports::store::rows::{JobKey, ValuationJobRow};
use crate::ports::store::statements::{
    ClaimValuationJobs, DeleteValuationJob, DropSupersededJobs, InsertValuationJobs,
    LockValuationJob, NewValuationJob, PostponeValuationJob,
};

impl Run for InsertValuationJobs {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        // `unnest` takes no arrays of arrays: a job's keys are a slice of all keys.
        let text = "WITH j AS (
                INSERT INTO portfolio_valuation_jobs (id, portfolio_ids, security_ids, epochs,
                    revisions, date_from, date_to, status, attempts, not_before)
                SELECT nextval('job_id'), ($1::text[])[r.first:r.last],
                ($2::text[])[r.first:r.last],
                    ($3::integer[])[r.first:r.last], ($4::bigint[])[r.first:r.last],
                    r.date_from, r.date_to, 'PENDING', 0, now()
                FROM unnest($5, $6, $7, $8) r(date_from, date_to, first, last)
                RETURNING id, portfolio_ids, security_ids, epochs, revisions
            )
            INSERT INTO portfolio_valuation_job_keys
                (portfolio_id, security_id, job_id, epoch, revision)
            SELECT k.portfolio_id, k.security_id, j.id, k.epoch, k.revision
            FROM j, unnest(j.portfolio_ids, j.security_ids, j.epochs, j.revisions)
                k(portfolio_id, security_id, epoch, revision)";
        let keys: Vec<&JobKey> = self.jobs.iter().flat_map(|job| &job.keys).collect();
        let mut end = 0_u32;
        let slices: Vec<(u32, u32)> = self
            .jobs
            .iter()
            .map(|job| {
                let first = end + 1;
                end += u32::try_from(job.keys.len()).expect("a job has fewer than 2^32 keys");
                (first, end)
            })
            .collect();
        let call = sql(text)
            .keys(&keys, |held| &held.key)
            .each(&keys, |held| held.token.epoch)
            .each(&keys, |held| held.token.revision)
            .each(&self.jobs, |job: &NewValuationJob| job.date_from)
            .each(&self.jobs, |job| job.date_to)
            .each(&slices, |slice| Small(slice.0))
            .each(&slices, |slice| Small(slice.1));
        done(call, connection).await
    }
}

/// A job that nobody holds, or whose lease is over.
macro_rules! claimable {
    () => {
        "((status IN ('PENDING', 'WAITING') AND not_before <= now())
            OR (status = 'PROCESSING' AND lease_until < now()))"
    };
}

/// Whether a key of the job has no newer token. `OFFSET 0` keeps the look-ups from becoming a join
/// over all keys: the first one that is found ends them.
macro_rules! is_fresh {
    () => {
        "EXISTS (SELECT FROM
                unnest(j.portfolio_ids, j.security_ids, j.revisions)
                    k(portfolio_id, security_id, revision)
                CROSS JOIN LATERAL (SELECT ps.revision FROM position_state ps
                    WHERE ps.portfolio_id = k.portfolio_id AND ps.security_id = k.security_id
                    OFFSET 0) newest
                WHERE newest.revision <= k.revision OFFSET 0)"
    };
}

impl Run for DropSupersededJobs {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<u64>, Error> {
        let text = concat!(
            "WITH last AS MATERIALIZED (
                SELECT j.id FROM (
                    SELECT id, portfolio_ids, security_ids, revisions
                    FROM portfolio_valuation_jobs WHERE ",
            claimable!(),
            " ORDER BY id LIMIT $1 + $2) j
                WHERE ",
            is_fresh!(),
            " ORDER BY j.id OFFSET GREATEST($1 - 1, 0) LIMIT 1
            ), superseded AS MATERIALIZED (
                SELECT j.id FROM portfolio_valuation_jobs j
                WHERE ",
            claimable!(),
            " AND j.id < COALESCE((SELECT last.id FROM last), 9223372036854775807) AND NOT ",
            is_fresh!(),
            " ORDER BY j.id LIMIT $2 FOR UPDATE SKIP LOCKED
            ), dropped AS (
                DELETE FROM portfolio_valuation_jobs j USING superseded s WHERE j.id = s.id
                RETURNING j.id, j.portfolio_ids, j.security_ids
            ), held AS (
                DELETE FROM portfolio_valuation_job_keys k
                USING dropped d,
                    unnest(d.portfolio_ids, d.security_ids) u(portfolio_id, security_id)
                WHERE k.portfolio_id = u.portfolio_id AND k.security_id = u.security_id
                    AND k.job_id = d.id
            )
            SELECT id FROM dropped ORDER BY id"
        );
        let call = sql(text).bind(i64::from(self.fresh)).bind(i64::from(self.limit));
        rows_with(call, connection, |row| row.try_get::<Big, _>(0).map(|id| id.0)).await
    }
}

impl Run for ClaimValuationJobs {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<ValuationJobRow>, Error> {
        let text = concat!(
            "WITH free AS MATERIALIZED (
                SELECT id FROM portfolio_valuation_jobs
                WHERE ",
            claimable!(),
            " ORDER BY id
                LIMIT LEAST($1, GREATEST(0, $2 - (
                    SELECT count(*) FROM portfolio_valuation_jobs
                    WHERE status = 'PROCESSING' AND NOT COALESCE(lease_until < now(), false))))
                FOR UPDATE SKIP LOCKED
            ), claimed AS (
                UPDATE portfolio_valuation_jobs j SET status = 'PROCESSING',
                    attempts = attempts + 1, lease_until = now() + $3 * interval '1 millisecond'
                FROM free WHERE j.id = free.id RETURNING j.*
            )
            SELECT ",
            job_columns!(),
            " FROM claimed ORDER BY id"
        );
        let lease_ms = milliseconds(self.lease_ms);
        let call = sql(text)
            .bind(i64::from(self.limit))
            .bind(i64::from(self.in_flight_max))
            .bind(lease_ms);
        rows(call, connection).await
    }
}

/// As a number that the server multiplies an interval by; exact up to 285,000 years.
fn milliseconds(ms: u64) -> f64 {
    ms as f64
}

impl Run for LockValuationJob {
    async fn run(self, connection: &mut PgConnection) -> Result<Option<ValuationJobRow>, Error> {
        let text = concat!(
            "SELECT ",
            job_columns!(),
            " FROM portfolio_valuation_jobs WHERE id = $1 FOR UPDATE"
        );
        let row = sql(text).bind(Big(self.id)).fetch_optional(connection).await?;
        row.as_ref().map(read).transpose()
    }
}

impl Run for DeleteValuationJob {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "WITH j AS (
                DELETE FROM portfolio_valuation_jobs WHERE id = $1
                RETURNING portfolio_ids, security_ids
            )
            DELETE FROM portfolio_valuation_job_keys k
            USING j, unnest(j.portfolio_ids, j.security_ids) u(portfolio_id, security_id)
            WHERE k.portfolio_id = u.portfolio_id AND k.security_id = u.security_id
                AND k.job_id = $1";
        done(sql(text).bind(Big(self.id)), connection).await
    }
}

impl Run for PostponeValuationJob {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "WITH old AS (
                SELECT u.* FROM portfolio_valuation_jobs j,
                    unnest(j.portfolio_ids, j.security_ids) u(portfolio_id, security_id)
                WHERE j.id = $1
            ), new AS (
                SELECT * FROM unnest($2, $3, $4, $5) n(portfolio_id, security_id, epoch, revision)
            ), postponed AS (
                UPDATE portfolio_valuation_jobs SET status = 'WAITING', portfolio_ids = $2,
                    security_ids = $3, epochs = $4, revisions = $5, lease_until = NULL,
                    not_before = now() + $6 * interval '1 millisecond'
                WHERE id = $1 RETURNING id
            ), dropped AS (
                DELETE FROM portfolio_valuation_job_keys k USING old
                WHERE k.portfolio_id = old.portfolio_id AND k.security_id = old.security_id
                    AND k.job_id = $1 AND (k.portfolio_id, k.security_id) NOT IN (
                        SELECT n.portfolio_id, n.security_id FROM new n)
            )
            INSERT INTO portfolio_valuation_job_keys
                (portfolio_id, security_id, job_id, epoch, revision)
            SELECT n.portfolio_id, n.security_id, p.id, n.epoch, n.revision
            FROM postponed p, new n
            ON CONFLICT (portfolio_id, security_id, job_id) DO UPDATE
            SET epoch = excluded.epoch, revision = excluded.revision";
        let keys = &self.keys;
        let call = sql(text)
            .bind(Big(self.id))
            .keys(keys, |held: &JobKey| &held.key)
            .each(keys, |held| held.token.epoch)
            .each(keys, |held| held.token.revision)
            .bind(milliseconds(self.delay_ms));
        done(call, connection).await
    }
}
