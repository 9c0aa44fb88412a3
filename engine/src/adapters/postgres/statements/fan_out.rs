//! Triggers, fan-out jobs, and the search for the keys that use a subject.

use sqlx::{Error, PgConnection, Row as _};

use super::super::cells::{read, subject_cells};
use super::super::columns::fan_out_columns;
use super::super::types::Big;
use super::{Bind, Call, Run, done, rows, sql};
use crate::domain::ids::{Currency, Key};
use crate::domain::time::Date;
use crate::ports::store::rows::{ReprocessingJobRow, Subject, TriggerRow};
use crate::ports::store::statements::{
    DeleteReprocessingJob, DeleteTriggers, InsertReprocessingJobs, MoveReprocessingJob,
    ReadLatestBusinessDate, ScanKeys, TakeReprocessingJob, TakeTriggers, UpsertTriggers,
};

impl Run for ReadLatestBusinessDate {
    async fn run(self, connection: &mut PgConnection) -> Result<Option<Date>, Error> {
        let text = "SELECT max(business_date) FROM business_dates WHERE calendar_code = 'GLOBAL'";
        sql(text).fetch_one(connection).await?.try_get(0)
    }
}

/// Three arrays: kinds and texts of subjects.
fn subjects<'r, R>(call: Call, rows: &'r [R], subject: impl Fn(&'r R) -> &'r Subject) -> Call {
    call.each(rows, |row| subject_cells(subject(row)).0)
        .each(rows, |row| subject_cells(subject(row)).1)
        .each(rows, |row| subject_cells(subject(row)).2)
}

impl Run for UpsertTriggers {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "INSERT INTO instrument_reprocessing_state AS old
                (subject_kind, subject_id, subject_to, earliest_date)
            SELECT * FROM unnest($1, $2, $3, $4)
            ON CONFLICT (subject_kind, subject_id, subject_to) DO UPDATE
            SET earliest_date = LEAST(old.earliest_date, excluded.earliest_date)";
        let call = subjects(sql(text), &self.rows, |row: &TriggerRow| &row.subject)
            .each(&self.rows, |row| row.earliest_date);
        done(call, connection).await
    }
}

impl Run for TakeTriggers {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<TriggerRow>, Error> {
        let text = "SELECT subject_kind, subject_id, subject_to, earliest_date
            FROM instrument_reprocessing_state
            ORDER BY subject_kind, subject_id, subject_to LIMIT $1 FOR UPDATE SKIP LOCKED";
        rows(sql(text).bind(i64::from(self.limit)), connection).await
    }
}

impl Run for DeleteTriggers {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "DELETE FROM instrument_reprocessing_state
            WHERE (subject_kind, subject_id, subject_to) IN (SELECT * FROM unnest($1, $2, $3))";
        done(subjects(sql(text), &self.subjects, |subject| subject), connection).await
    }
}

impl Run for InsertReprocessingJobs {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "INSERT INTO reprocessing_jobs (id, subject_kind, subject_id, subject_to, date)
            SELECT nextval('job_id'), r.* FROM unnest($1, $2, $3, $4) r(kind, id, to_id, date)";
        let call =
            subjects(sql(text), &self.jobs, |job| &job.0).each(&self.jobs, |job: &(_, Date)| job.1);
        done(call, connection).await
    }
}

impl Run for TakeReprocessingJob {
    async fn run(self, connection: &mut PgConnection) -> Result<Option<ReprocessingJobRow>, Error> {
        let text = concat!(
            "SELECT ",
            fan_out_columns!(),
            " FROM reprocessing_jobs ORDER BY visited, id LIMIT 1 FOR UPDATE SKIP LOCKED"
        );
        sql(text).fetch_optional(connection).await?.as_ref().map(read).transpose()
    }
}

impl Run for MoveReprocessingJob {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "UPDATE reprocessing_jobs SET cursor_portfolio_id = $2, cursor_security_id = $3,
            visited = visited + 1 WHERE id = $1";
        let call = sql(text)
            .bind(Big(self.id))
            .bind(&self.cursor.portfolio_id)
            .bind(&self.cursor.security_id);
        done(call, connection).await
    }
}

impl Run for DeleteReprocessingJob {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        done(sql("DELETE FROM reprocessing_jobs WHERE id = $1").bind(Big(self.id)), connection)
            .await
    }
}

/// Keys of a search in key order. `$1` and `$2` are the key before the first, and `$3` is 1; or two
/// empty texts, and `$3` is 0, for a search from the first key on. `$4` is the limit.
macro_rules! scan {
    ($($condition:expr),+) => {
        concat!(
            "SELECT ps.portfolio_id, ps.security_id FROM position_state ps
            WHERE (ps.portfolio_id, ps.security_id, 1) > ($1, $2, $3) AND ",
            $($condition),+,
            " ORDER BY ps.portfolio_id, ps.security_id LIMIT $4"
        )
    };
}

/// Whether a key's look-ups consult a pair. A look-up `x -> y` is given by the condition that there
/// is an `x` (`$trade`, `$price`, `$instrument`) and by `y`. The conditions on `x` and `y` differ
/// between a pair with EUR and one without, see [`PAIR`] and [`PAIR_WITH_EUR`].
macro_rules! look_ups {
    ($base:ident, $trade:ident, $price:ident, $instrument:ident) => {
        concat!(
            "EXISTS (
                SELECT FROM (SELECT
                    COALESCE((SELECT p.base_currency FROM portfolios p
                        WHERE p.portfolio_id = ps.portfolio_id), ps.base_currency) AS base,
                    (SELECT i.currency FROM instruments i
                        WHERE i.security_id = ps.security_id) AS instrument
                    OFFSET 0) c
                WHERE ",
            $base!("c.base", $trade),
            " OR ",
            $base!("c.instrument", $price),
            " OR ",
            $base!("c.base", $instrument),
            ")"
        )
    };
}

/// There is a trade currency of the key.
macro_rules! trade {
    ($condition:literal) => {
        concat!(
            "EXISTS (SELECT FROM transactions t WHERE t.portfolio_id = ps.portfolio_id
                AND t.security_id = ps.security_id AND t.trade_currency ",
            $condition,
            ")"
        )
    };
}

/// There is a currency of a price of the security.
macro_rules! price {
    ($condition:literal) => {
        concat!(
            "EXISTS (SELECT FROM market_prices m WHERE m.security_id = ps.security_id
                AND m.currency ",
            $condition,
            ")"
        )
    };
}

/// The instrument's currency.
macro_rules! instrument {
    ($condition:literal) => {
        concat!("c.instrument ", $condition)
    };
}

/// A pair without EUR, `$5` and `$6`: only the look-up of one in the other consults it.
macro_rules! both {
    ($y:literal, $x:ident) => {
        concat!("(", $y, " = $5 AND ", $x!("= $6"), ") OR (", $y, " = $6 AND ", $x!("= $5"), ")")
    };
}

/// A pair of `$5` and EUR: each look-up between different currencies of which one is `$5`.
macro_rules! either {
    ($y:literal, $x:ident) => {
        concat!(
            "(",
            $y,
            " = $5 AND (",
            $x!("< $5"),
            " OR ",
            $x!("> $5"),
            ")) OR (",
            $y,
            " <> $5 AND ",
            $x!("= $5"),
            ")"
        )
    };
}

const PAIR: &str = scan!(look_ups!(both, trade, price, instrument));
const PAIR_WITH_EUR: &str = scan!(look_ups!(either, trade, price, instrument));
const SECURITY: &str = scan!("ps.security_id = $5 AND ps.portfolio_id >= $1");
const PORTFOLIO: &str = scan!("ps.portfolio_id = $5");
const CALENDAR: &str = scan!("true");

impl Run for ScanKeys {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<Key>, Error> {
        let scan = |text| {
            let (portfolio, security, after) = match &self.after {
                Some(key) => (key.portfolio_id.as_str(), key.security_id.as_str(), 1_i32),
                None => ("", "", 0),
            };
            sql(text).bind(portfolio).bind(security).bind(after).bind(i64::from(self.limit))
        };
        let eur = Currency::eur();
        let call = match &self.subject {
            Subject::Security(id) => scan(SECURITY).bind(id),
            Subject::Portfolio(id) => scan(PORTFOLIO).bind(id),
            Subject::Calendar => scan(CALENDAR),
            Subject::Pair(a, b) if a == b => return Ok(Vec::new()),
            Subject::Pair(a, b) if *b == eur => scan(PAIR_WITH_EUR).bind(a),
            Subject::Pair(a, b) if *a == eur => scan(PAIR_WITH_EUR).bind(b),
            Subject::Pair(a, b) => scan(PAIR).bind(a).bind(b),
        };
        rows(call, connection).await
    }
}
