//! From a changed subject to the keys that use it: triggers, and the jobs that visit those keys.

use super::super::rows::{ReprocessingJobRow, Subject, TriggerRow};
use crate::domain::ids::Key;
use crate::domain::time::Date;

statements! {
    /// `SELECT max(business_date) FROM business_dates WHERE calendar_code = 'GLOBAL'`
    ReadLatestBusinessDate {} -> Option<Date>;

    /// `INSERT INTO <trigger tables> .. FROM unnest($rows) ORDER BY subject ON CONFLICT (subject)
    /// DO UPDATE SET earliest_date = LEAST(earliest_date, excluded.earliest_date)`
    UpsertTriggers {
        /// Rows in subject order, each subject once.
        rows: Vec<TriggerRow>,
    } -> ();

    /// `SELECT * FROM <trigger tables> ORDER BY subject LIMIT $limit FOR UPDATE SKIP LOCKED`
    TakeTriggers {
        /// At most so many.
        limit: u32,
    } -> Vec<TriggerRow>;

    /// `DELETE FROM <trigger tables> WHERE subject = ANY($subjects)` of locked rows.
    DeleteTriggers {
        /// Subjects that were taken.
        subjects: Vec<Subject>,
    } -> ();

    /// `INSERT INTO reprocessing_jobs (id, ..) SELECT nextval('job_id'), .. FROM unnest($jobs)`
    InsertReprocessingJobs {
        /// What changed and from which date on.
        jobs: Vec<(Subject, Date)>,
    } -> ();

    /// `SELECT * FROM reprocessing_jobs ORDER BY visited, id LIMIT 1 FOR UPDATE SKIP LOCKED`:
    /// `visited` counts the batches of a job, so that a small job is not held up by a large one.
    TakeReprocessingJob {} -> Option<ReprocessingJobRow>;

    /// `SELECT key FROM position_state WHERE key > $after AND <uses the subject> ORDER BY key LIMIT
    /// $limit`.
    ///
    /// A key uses a security that is its own, the calendar always, a portfolio that is its own. It
    /// uses a pair `{a, b}` (either order) if a look-up that it needs consults it: needed look-ups
    /// are `trade_currency -> base` of every row of `transactions` of the key, `price currency ->
    /// instrument currency` of every row of `market_prices` of its security, and `instrument
    /// currency -> base`; a look-up `x -> y` with x <> y consults `{x, y}`, `{x, EUR}` and `{y,
    /// EUR}`. Base is that of `portfolios`, falling back on the key's fold terms; without either,
    /// or without the instrument, the look-ups that need it are skipped.
    ScanKeys {
        /// What changed.
        subject: Subject,
        /// Keys after this one; none: from the first.
        after: Option<Key>,
        /// At most so many.
        limit: u32,
    } -> Vec<Key>;

    /// `UPDATE reprocessing_jobs SET cursor = $cursor, visited = visited + 1 WHERE id = $id` of a
    /// locked row.
    MoveReprocessingJob {
        /// The job.
        id: u64,
        /// Last key visited.
        cursor: Key,
    } -> ();

    /// `DELETE FROM reprocessing_jobs WHERE id = $id` of a locked row.
    DeleteReprocessingJob {
        /// The job.
        id: u64,
    } -> ();
}
