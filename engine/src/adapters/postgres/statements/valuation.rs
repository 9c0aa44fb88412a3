//! Rates and prices, due keys, progress, positions and snapshots.

use sqlx::postgres::PgRow;
use sqlx::{Error, PgConnection, Row as _};

use super::super::cells::{Cells, Read};
use super::super::columns::{price_columns, rate_columns};
use super::super::copy::copy;
use super::{Bind, Run, done, rows, rows_with, sql};
use crate::domain::ids::{Epoch, Key};
use crate::domain::time::Date;
use crate::ports::store::rows::{PriceRow, RateRow};
use crate::ports::store::statements::{
    CopySnapshots, DatedPosition, DeleteSnapshots, FindDueKeys, Progress, ProgressQuery,
    ReadBusinessDates, ReadPositions, ReadPrices, ReadProgress, ReadRates,
};

impl Run for ReadRates {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<RateRow>, Error> {
        let text = concat!(
            "SELECT r.* FROM unnest($1, $2) WITH ORDINALITY q(a, b, number)
            CROSS JOIN LATERAL (
                (SELECT ",
            rate_columns!(),
            " FROM fx_rates
                WHERE from_currency = q.a AND to_currency = q.b AND rate_date <= $3
                ORDER BY rate_date DESC LIMIT 1)
                UNION ALL
                (SELECT ",
            rate_columns!(),
            " FROM fx_rates
                WHERE from_currency = q.a AND to_currency = q.b
                    AND rate_date > $3 AND rate_date <= $4)
            ) r ORDER BY q.number, r.rate_date"
        );
        let call = sql(text)
            .each(&self.pairs, |pair| &pair.0)
            .each(&self.pairs, |pair| &pair.1)
            .bind(self.from)
            .bind(self.to);
        rows(call, connection).await
    }
}

impl Run for ReadPrices {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<PriceRow>, Error> {
        let text = concat!(
            "SELECT r.* FROM unnest($1) WITH ORDINALITY q(security, number)
            CROSS JOIN LATERAL (
                (SELECT ",
            price_columns!(),
            " FROM market_prices
                WHERE security_id = q.security AND price_date <= $2
                ORDER BY price_date DESC LIMIT 1)
                UNION ALL
                (SELECT ",
            price_columns!(),
            " FROM market_prices
                WHERE security_id = q.security AND price_date > $2 AND price_date <= $3)
            ) r ORDER BY q.number, r.price_date"
        );
        let call = sql(text).each(&self.securities, |id| id).bind(self.from).bind(self.to);
        rows(call, connection).await
    }
}

/// Written so that the plan is an ordered scan that stops at the limit, whatever the statistics
/// say: `OFFSET 0` keeps the look-ups from becoming joins over all keys, and `+ 0` hides a column
/// of which the planner may know that nearly all rows have one value. With 50,000 keys that are
/// due the plain form took 60 times as long, and it runs once per 200 of them.
macro_rules! due_keys {
    ($after:literal, $limit:literal) => {
        concat!(
            "SELECT ps.portfolio_id, ps.security_id FROM position_state ps
            WHERE ",
            $after,
            " (ps.status = 'REPROCESSING' OR ps.watermark_date + 0 <> (
                SELECT max(business_date) FROM business_dates WHERE calendar_code = 'GLOBAL'))
            AND NOT EXISTS (SELECT FROM replays r
                WHERE r.portfolio_id = ps.portfolio_id AND r.security_id = ps.security_id
                OFFSET 0)
            AND NOT EXISTS (SELECT FROM portfolio_valuation_job_keys j
                WHERE j.portfolio_id = ps.portfolio_id AND j.security_id = ps.security_id
                    AND j.epoch = ps.epoch AND j.revision = ps.revision
                OFFSET 0)
            ORDER BY ps.portfolio_id, ps.security_id LIMIT ",
            $limit
        )
    };
}

impl Run for FindDueKeys {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<Key>, Error> {
        let limit = i64::from(self.limit);
        let call = match &self.after {
            None => sql(due_keys!("", "$1")).bind(limit),
            Some(after) => sql(due_keys!("(ps.portfolio_id, ps.security_id) > ($1, $2) AND", "$3"))
                .bind(&after.portfolio_id)
                .bind(&after.security_id)
                .bind(limit),
        };
        rows(call, connection).await
    }
}

impl Run for ReadBusinessDates {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<Date>, Error> {
        let text = "SELECT business_date FROM business_dates
            WHERE calendar_code = 'GLOBAL' AND business_date BETWEEN $1 AND $2 ORDER BY 1";
        let call = sql(text).bind(self.from).bind(self.to);
        rows_with(call, connection, |row| row.try_get(0)).await
    }
}

impl Run for ReadProgress {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<Progress>, Error> {
        let text = "WITH q AS MATERIALIZED (
                SELECT u.*, (SELECT max(business_date) FROM business_dates
                    WHERE calendar_code = 'GLOBAL') AS latest
                FROM unnest($1, $2, $3, $4, $5) WITH ORDINALITY
                    u(portfolio, security, epoch, revision, watermark, number)
            )
            SELECT
                EXISTS (SELECT FROM replays r
                    WHERE r.portfolio_id = q.portfolio AND r.security_id = q.security),
                EXISTS (SELECT FROM portfolio_valuation_job_keys j
                    WHERE j.portfolio_id = q.portfolio AND j.security_id = q.security
                        AND j.epoch = q.epoch AND j.revision = q.revision)
                    AND EXISTS (SELECT FROM position_state ps
                        WHERE ps.portfolio_id = q.portfolio AND ps.security_id = q.security),
                (SELECT t.transaction_date FROM position_timeline t
                    WHERE t.portfolio_id = q.portfolio AND t.security_id = q.security AND t.applied
                    ORDER BY t.transaction_date, t.place_rank, t.transaction_id LIMIT 1),
                q.latest,
                ARRAY(SELECT s.date FROM daily_position_snapshots s
                    WHERE s.portfolio_id = q.portfolio AND s.security_id = q.security
                        AND s.date > q.watermark AND s.date <= q.latest
                        AND s.epoch = q.epoch AND s.revision = q.revision ORDER BY s.date),
                CASE WHEN q.number = 1 THEN ARRAY(
                    SELECT b.business_date
                    FROM business_dates b WHERE b.calendar_code = 'GLOBAL'
                        AND b.business_date > (SELECT min(q.watermark) FROM q)
                    ORDER BY b.business_date) END
            FROM q ORDER BY q.number";
        let keys = &self.keys;
        let call = sql(text)
            .keys(keys, |query: &ProgressQuery| &query.key)
            .each(keys, |query| query.epoch)
            .each(keys, |query| query.revision)
            .each(keys, |query| query.watermark_date);
        let facts = rows_with(call, connection, facts).await?;
        let dates = facts.first().and_then(|facts| facts.dates.clone()).unwrap_or_default();
        Ok(keys.iter().zip(facts).map(|(query, facts)| progress(query, &facts, &dates)).collect())
    }
}

/// What the database knows about a key.
struct Facts {
    replay_open: bool,
    job_open: bool,
    first_applied: Option<Date>,
    latest: Option<Date>,
    /// Dates above the watermark with a snapshot of this token, ascending.
    snapshots: Vec<Date>,
    /// All business dates above the earliest watermark; of the first key only.
    dates: Option<Vec<Date>>,
}

fn facts(row: &PgRow) -> Result<Facts, Error> {
    let first_applied: Option<crate::domain::time::Timestamp> = row.try_get(2)?;
    Ok(Facts {
        replay_open: row.try_get(0)?,
        job_open: row.try_get(1)?,
        first_applied: first_applied.map(|at| at.date()),
        latest: row.try_get(3)?,
        snapshots: row.try_get(4)?,
        dates: row.try_get(5)?,
    })
}

/// Where the snapshots of the token have their first gap, and how long it is.
fn progress(query: &ProgressQuery, facts: &Facts, dates: &[Date]) -> Progress {
    let dates = &dates[dates.partition_point(|date| *date <= query.watermark_date)..];
    let missing = facts.first_applied.and_then(|first| {
        let begin = dates.partition_point(|date| *date < first);
        let mut snapshots = facts.snapshots.iter().copied().peekable();
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
    Progress {
        key: query.key.clone(),
        replay_open: facts.replay_open,
        job_open: facts.job_open,
        first_applied: facts.first_applied,
        latest_business_date: facts.latest,
        first_missing: missing.map(|missing| dates[missing]),
        complete_through: complete.checked_sub(1).map(|last| dates[last]),
        gap_days: u32::try_from(gap.unwrap_or(0)).expect("fewer than 2^32 business dates"),
    }
}

impl Read for DatedPosition {
    fn read(cells: &mut Cells<'_>) -> Result<Self, Error> {
        let key = cells.row()?;
        let at: crate::domain::time::Timestamp = cells.take()?;
        Ok(Self { key, date: at.date(), position: cells.row()? })
    }
}

/// Rows of `position_history` that are valid for the epoch `k.version` of the key.
macro_rules! valid_history {
    ($condition:literal) => {
        concat!(
            "SELECT h.* FROM position_history h
            WHERE h.portfolio_id = k.portfolio AND h.security_id = k.security
                AND h.epoch <= k.version AND h.transaction_date ",
            $condition,
            " AND NOT EXISTS (SELECT FROM position_epochs x
                    WHERE x.portfolio_id = k.portfolio AND x.security_id = k.security
                        AND x.epoch > h.epoch AND x.epoch <= k.version
                        AND x.from_date::timestamp AT TIME ZONE 'UTC' <= h.transaction_date)"
        )
    };
}
pub(super) use valid_history;

impl Run for ReadPositions {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<DatedPosition>, Error> {
        let text = concat!(
            "SELECT h.portfolio_id, h.security_id, h.transaction_date, h.quantity, h.cost_basis,
                h.cost_basis_local
            FROM unnest($1, $2, $3) WITH ORDINALITY k(portfolio, security, version, number)
            CROSS JOIN LATERAL (
                (",
            valid_history!("< $4"),
            " ORDER BY h.transaction_date DESC, h.place_rank DESC, h.transaction_id DESC,
                    h.epoch DESC LIMIT 1)
                UNION ALL
                (",
            valid_history!(">= $4 AND h.transaction_date < $5"),
            ")
            ) h
            ORDER BY k.number, h.transaction_date, h.place_rank, h.transaction_id, h.epoch"
        );
        let call = sql(text)
            .keys(&self.keys, |key: &(Key, Epoch)| &key.0)
            .each(&self.keys, |key| key.1)
            .bind(self.from.next().start())
            .bind(self.to.next().start());
        rows(call, connection).await
    }
}

impl Run for DeleteSnapshots {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "DELETE FROM daily_position_snapshots s
            USING unnest($1, $2, $3) k(portfolio, security, epoch)
            WHERE s.portfolio_id = k.portfolio AND s.security_id = k.security
                AND s.epoch = k.epoch AND s.date BETWEEN $4 AND $5";
        let call = sql(text)
            .keys(&self.keys, |key: &(Key, Epoch)| &key.0)
            .each(&self.keys, |key| key.1)
            .bind(self.from)
            .bind(self.to);
        done(call, connection).await
    }
}

impl Run for CopySnapshots {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        if self.rows.is_empty() {
            return Ok(());
        }
        copy(connection, &self.rows).await
    }
}
