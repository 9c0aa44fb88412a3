//! What an operator looks at, each from one snapshot of the database.
//!
//! A list within a row comes as arrays, one a column, so that all of it is one statement.

use sqlx::{Decode, Error, PgConnection, Postgres, Type};

use super::super::cells::{Cells, Read, place_rank, read, subject, unexpected};
use super::super::columns::{job_columns, state_columns};
use super::super::types::{Big, Small, Text};
use super::{Run, rows, sql};
use crate::domain::ids::{Epoch, Key, PortfolioId, Revision, SecurityId, Token, TransactionId};
use crate::domain::records::{ParkReason, Place};
use crate::domain::time::{Date, Timestamp};
use crate::ports::store::rows::{
    EpochRow, JobKey, JobStatus, KeyState, ReplayRow, ReprocessingJobRow, Subject, TriggerRow,
    ValuationJobRow,
};
use crate::ports::store::statements::{
    FindStuckKeys, FindValuationJobs, Lineage, ParkedTransaction, PortfolioOverview, ReadLineage,
    ReadPortfolioOverview, StuckKey,
};

/// The replay of the key `k`, its columns under names that `position_state` does not have.
macro_rules! joined_replay {
    () => {
        " LEFT JOIN (SELECT portfolio_id AS p, security_id AS s, epoch AS e, from_date,
                cursor_date, cursor_rank, cursor_transaction_id FROM replays) r
            ON r.p = k.portfolio_id AND r.s = k.security_id "
    };
}

/// Whether there is one, and the row.
macro_rules! replay_cells {
    () => {
        ", r.p IS NOT NULL, r.p, r.s, r.e, r.from_date, r.cursor_date, r.cursor_rank,
            r.cursor_transaction_id "
    };
}

fn replay(cells: &mut Cells<'_>) -> Result<Option<ReplayRow>, Error> {
    let is_open: bool = cells.take()?;
    if is_open {
        return cells.row().map(Some);
    }
    cells.skip(7);
    Ok(None)
}

/// An array that no row stands for an empty one.
fn list<'r, T>(cells: &mut Cells<'r>) -> Result<Vec<T>, Error>
where
    Option<Vec<T>>: Decode<'r, Postgres> + Type<Postgres>,
{
    Ok(cells.take::<Option<Vec<T>>>()?.unwrap_or_default())
}

impl Read for StuckKey {
    fn read(cells: &mut Cells<'_>) -> Result<Self, Error> {
        let state = cells.row()?;
        let (jobs, parked) = (cells.take::<Big>()?.0, cells.take::<Big>()?.0);
        Ok(Self { state, replay: replay(cells)?, jobs, parked })
    }
}

impl Run for FindStuckKeys {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<StuckKey>, Error> {
        let text = concat!(
            "SELECT ",
            state_columns!(),
            ", (SELECT count(*) FROM portfolio_valuation_job_keys j
                WHERE j.portfolio_id = k.portfolio_id AND j.security_id = k.security_id),
            (SELECT count(*) FROM position_timeline t
                WHERE t.portfolio_id = k.portfolio_id AND t.security_id = k.security_id
                    AND t.park_reason IS NOT NULL)",
            replay_cells!(),
            "FROM (SELECT * FROM position_state
                WHERE status = 'REPROCESSING'
                    AND updated_at <= now() - $1 * interval '1 millisecond'
                    AND ($2::text IS NULL OR (portfolio_id, security_id) > ($2, $3))
                ORDER BY portfolio_id, security_id LIMIT $4) k",
            joined_replay!(),
            "ORDER BY k.portfolio_id, k.security_id"
        );
        let after = self.after.as_ref();
        let call = sql(text)
            .bind(self.older_than_ms as f64)
            .bind(after.map(|key| &key.portfolio_id))
            .bind(after.map(|key| &key.security_id))
            .bind(i64::from(self.limit));
        rows(call, connection).await
    }
}

impl Run for FindValuationJobs {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<ValuationJobRow>, Error> {
        let text = concat!(
            "SELECT ",
            job_columns!(),
            " FROM portfolio_valuation_jobs
            WHERE id > $1 AND ($2::text IS NULL OR status = $2) ORDER BY id LIMIT $3"
        );
        let call = sql(text)
            .bind(Big(self.after))
            .bind(self.status.map(JobStatus::as_str))
            .bind(i64::from(self.limit));
        rows(call, connection).await
    }
}

impl Run for ReadPortfolioOverview {
    async fn run(self, connection: &mut PgConnection) -> Result<Option<PortfolioOverview>, Error> {
        let text = "WITH k AS (SELECT * FROM position_state WHERE portfolio_id = $1),
            p AS (SELECT park_reason AS reason, count(*) AS parked
                FROM k JOIN position_timeline USING (portfolio_id, security_id)
                WHERE park_reason IS NOT NULL GROUP BY park_reason)
            SELECT EXISTS (SELECT FROM portfolios WHERE portfolio_id = $1),
                (SELECT base_currency FROM portfolios WHERE portfolio_id = $1),
                count(*), count(*) FILTER (WHERE status = 'REPROCESSING'),
                min(updated_at) FILTER (WHERE status = 'REPROCESSING'),
                (SELECT count(*) FROM k JOIN replays USING (portfolio_id, security_id)),
                (SELECT count(*) FROM k
                    JOIN portfolio_valuation_job_keys USING (portfolio_id, security_id)),
                (SELECT count(*) FROM k
                    JOIN portfolio_valuation_job_keys h USING (portfolio_id, security_id)
                    JOIN portfolio_valuation_jobs j ON j.id = h.job_id AND j.status = 'WAITING'),
                (SELECT array_agg(reason ORDER BY reason) FROM p),
                (SELECT array_agg(parked ORDER BY reason) FROM p),
                min(watermark_date),
                (SELECT max(business_date) FROM business_dates WHERE calendar_code = 'GLOBAL')
            FROM k";
        let row = sql(text).bind(&self.portfolio_id).fetch_one(connection).await?;
        read::<Portfolio>(&row).map(|found| found.0)
    }
}

/// An overview, if there is anything to look at.
struct Portfolio(Option<PortfolioOverview>);

impl Read for Portfolio {
    fn read(cells: &mut Cells<'_>) -> Result<Self, Error> {
        let is_known: bool = cells.take()?;
        let base_currency = cells.take()?;
        let keys = cells.take::<Big>()?.0;
        if !is_known && keys == 0 {
            return Ok(Self(None));
        }
        Ok(Self(Some(PortfolioOverview {
            base_currency,
            keys,
            reprocessing: cells.take::<Big>()?.0,
            reprocessing_since: cells.take()?,
            replays: cells.take::<Big>()?.0,
            jobs: cells.take::<Big>()?.0,
            waiting_jobs: cells.take::<Big>()?.0,
            parked: {
                let (reasons, counts) = (list::<Text>(cells)?, list::<Big>(cells)?);
                let parked = reasons.iter().zip(counts);
                let parked = parked.map(|(reason, count)| Ok((park_reason(reason)?, count.0)));
                let mut parked = parked.collect::<Result<Vec<_>, Error>>()?;
                parked.sort_unstable();
                parked
            },
            watermark_date: cells.take()?,
            latest_business_date: cells.take()?,
        })))
    }
}

fn park_reason(text: &Text) -> Result<ParkReason, Error> {
    ParkReason::parse(&text.0).ok_or_else(|| unexpected(format!("park reason {:?}", text.0)))
}

/// The currencies that the key of `$1` and `$2` looks up rates between.
macro_rules! look_ups {
    () => {
        "(WITH c AS (SELECT
                COALESCE((SELECT base_currency FROM portfolios WHERE portfolio_id = $1),
                    (SELECT base_currency FROM position_state
                        WHERE portfolio_id = $1 AND security_id = $2)) AS base,
                (SELECT currency FROM instruments WHERE security_id = $2) AS instrument)
            SELECT trade_currency AS x, base AS y FROM transactions, c
                WHERE portfolio_id = $1 AND security_id = $2
            UNION ALL SELECT currency, instrument FROM market_prices, c WHERE security_id = $2
            UNION ALL SELECT instrument, base FROM c)"
    };
}

/// Whether a subject concerns the key of `$1` and `$2`. A pair does if both of its currencies are
/// such as one look-up consults: one of its own, or EUR, through which each may go.
macro_rules! concerns {
    () => {
        concat!(
            "((subject_kind, subject_id) IN ((0, $2), (2, ''), (3, $1))
                OR subject_kind = 1 AND subject_id <> subject_to AND EXISTS (SELECT FROM ",
            look_ups!(),
            " l WHERE x <> y AND subject_id IN (x, y, 'EUR') AND subject_to IN (x, y, 'EUR')))"
        )
    };
}

/// A column of triggers, in the order of their subjects.
macro_rules! in_order {
    ($column:literal) => {
        concat!("array_agg(", $column, " ORDER BY subject_kind, subject_id, subject_to)")
    };
}

impl Run for ReadLineage {
    async fn run(self, connection: &mut PgConnection) -> Result<Option<Lineage>, Error> {
        let text = concat!(
            "SELECT ",
            state_columns!(),
            replay_cells!(),
            ", v.epochs, v.dates, j.ids, j.epochs, j.revisions, j.firsts, j.lasts, j.states,
                j.attempts, j.leases, j.befores, t.kinds, t.ids, t.tos, t.dates,
                f.jobs, f.kinds, f.ids, f.tos, f.dates, f.portfolios, f.securities,
                (SELECT count(*) FROM position_timeline
                    WHERE portfolio_id = $1 AND security_id = $2),
                p.dates, p.ranks, p.ids, p.reasons
            FROM (SELECT * FROM position_state WHERE portfolio_id = $1 AND security_id = $2) k",
            joined_replay!(),
            "CROSS JOIN (SELECT array_agg(epoch ORDER BY epoch) AS epochs,
                    array_agg(from_date ORDER BY epoch) AS dates
                FROM position_epochs WHERE portfolio_id = $1 AND security_id = $2) v
            CROSS JOIN (SELECT array_agg(id ORDER BY id) AS ids,
                    array_agg(epoch ORDER BY id) AS epochs,
                    array_agg(revision ORDER BY id) AS revisions,
                    array_agg(date_from ORDER BY id) AS firsts,
                    array_agg(date_to ORDER BY id) AS lasts,
                    array_agg(status ORDER BY id) AS states,
                    array_agg(attempts ORDER BY id) AS attempts,
                    array_agg(lease_until ORDER BY id) AS leases,
                    array_agg(not_before ORDER BY id) AS befores
                FROM (SELECT o.*, h.epoch, h.revision FROM portfolio_valuation_job_keys h
                    JOIN portfolio_valuation_jobs o ON o.id = h.job_id
                    WHERE h.portfolio_id = $1 AND h.security_id = $2
                    ORDER BY o.id LIMIT $3) o) j
            CROSS JOIN (SELECT ",
            in_order!("subject_kind"),
            " AS kinds, ",
            in_order!("subject_id"),
            " AS ids, ",
            in_order!("subject_to"),
            " AS tos, ",
            in_order!("earliest_date"),
            " AS dates
                FROM instrument_reprocessing_state WHERE ",
            concerns!(),
            ") t
            CROSS JOIN (SELECT array_agg(id ORDER BY id) AS jobs,
                    array_agg(subject_kind ORDER BY id) AS kinds,
                    array_agg(subject_id ORDER BY id) AS ids,
                    array_agg(subject_to ORDER BY id) AS tos,
                    array_agg(date ORDER BY id) AS dates,
                    array_agg(cursor_portfolio_id ORDER BY id) AS portfolios,
                    array_agg(cursor_security_id ORDER BY id) AS securities
                FROM reprocessing_jobs WHERE ",
            concerns!(),
            ") f
            CROSS JOIN (SELECT array_agg(at ORDER BY at, rank, id) AS dates,
                    array_agg(rank ORDER BY at, rank, id) AS ranks,
                    array_agg(id ORDER BY at, rank, id) AS ids,
                    array_agg(park_reason ORDER BY at, rank, id) AS reasons
                FROM (SELECT transaction_date AS at, place_rank AS rank, transaction_id AS id,
                        park_reason
                    FROM position_timeline WHERE portfolio_id = $1 AND security_id = $2
                        AND park_reason IS NOT NULL
                    ORDER BY at, rank, id LIMIT $3) n) p"
        );
        let call = sql(text)
            .bind(&self.key.portfolio_id)
            .bind(&self.key.security_id)
            .bind(i64::from(self.limit));
        call.fetch_optional(connection).await?.as_ref().map(read).transpose()
    }
}

impl Read for Lineage {
    fn read(cells: &mut Cells<'_>) -> Result<Self, Error> {
        let state: KeyState = cells.row()?;
        let key = state.key.clone();
        Ok(Self {
            state,
            replay: replay(cells)?,
            epochs: epochs(cells, &key)?,
            jobs: jobs(cells, &key)?,
            triggers: triggers(cells)?,
            fan_outs: fan_outs(cells)?,
            transactions: cells.take::<Big>()?.0,
            parked: parked(cells)?,
        })
    }
}

fn epochs(cells: &mut Cells<'_>, key: &Key) -> Result<Vec<EpochRow>, Error> {
    let (epochs, dates) = (list::<Epoch>(cells)?, list::<Date>(cells)?);
    let row = |(epoch, from_date)| EpochRow { key: key.clone(), epoch, from_date };
    Ok(epochs.into_iter().zip(dates).map(row).collect())
}

fn jobs(cells: &mut Cells<'_>, key: &Key) -> Result<Vec<ValuationJobRow>, Error> {
    let ids = list::<Big>(cells)?;
    let (epochs, revisions) = (list::<Epoch>(cells)?, list::<Revision>(cells)?);
    let (firsts, lasts) = (list::<Date>(cells)?, list::<Date>(cells)?);
    let (states, attempts) = (list::<Text>(cells)?, list::<Small>(cells)?);
    let (leases, befores) = (list::<Option<Timestamp>>(cells)?, list::<Timestamp>(cells)?);
    let job = |at: usize| {
        let status = JobStatus::parse(&states[at].0);
        let token = Token { epoch: epochs[at], revision: revisions[at] };
        Ok(ValuationJobRow {
            id: ids[at].0,
            keys: vec![JobKey { key: key.clone(), token }],
            date_from: firsts[at],
            date_to: lasts[at],
            status: status.ok_or_else(|| unexpected("a state of a job"))?,
            attempts: attempts[at].0,
            lease_until: leases[at],
            not_before: befores[at],
        })
    };
    (0..ids.len()).map(job).collect()
}

fn subjects(cells: &mut Cells<'_>) -> Result<Vec<Subject>, Error> {
    let (kinds, ids, tos) = (list::<i16>(cells)?, list::<Text>(cells)?, list::<Text>(cells)?);
    let subjects = kinds.into_iter().zip(ids).zip(tos);
    subjects.map(|((kind, id), to)| subject(kind, &id.0, &to.0)).collect()
}

fn triggers(cells: &mut Cells<'_>) -> Result<Vec<TriggerRow>, Error> {
    let (subjects, dates) = (subjects(cells)?, list::<Date>(cells)?);
    let row = |(subject, earliest_date)| TriggerRow { subject, earliest_date };
    Ok(subjects.into_iter().zip(dates).map(row).collect())
}

fn fan_outs(cells: &mut Cells<'_>) -> Result<Vec<ReprocessingJobRow>, Error> {
    let (ids, subjects, dates) = (list::<Big>(cells)?, subjects(cells)?, list::<Date>(cells)?);
    let portfolios = list::<Option<PortfolioId>>(cells)?;
    let securities = list::<Option<SecurityId>>(cells)?;
    let cursors = portfolios.into_iter().zip(securities);
    let row = |(((id, subject), date), (portfolio, security)): (((Big, _), _), (Option<_>, _))| {
        let cursor = portfolio.zip(security);
        let cursor = cursor.map(|(portfolio_id, security_id)| Key { portfolio_id, security_id });
        ReprocessingJobRow { id: id.0, subject, date, cursor }
    };
    Ok(ids.into_iter().zip(subjects).zip(dates).zip(cursors).map(row).collect())
}

fn parked(cells: &mut Cells<'_>) -> Result<Vec<ParkedTransaction>, Error> {
    let (dates, ranks) = (list::<Timestamp>(cells)?, list::<i16>(cells)?);
    let (ids, reasons) = (list::<TransactionId>(cells)?, list::<Text>(cells)?);
    let rows = dates.into_iter().zip(ranks).zip(ids).zip(reasons);
    let row = |(((at, rank), transaction_id), reason)| {
        let place = Place { at, rank: place_rank(rank)?, transaction_id };
        Ok(ParkedTransaction { place, reason: park_reason(&reason)? })
    };
    rows.map(row).collect()
}
