//! What is asked from outside, each answer from one snapshot of the database.

use sqlx::{Error, PgConnection, Row as _};

use super::super::cells::{Cells, Read};
use super::super::columns::{cashflow_columns, portfolio_series_columns, snapshot_columns};
use super::super::types::Big;
use super::series::is_valid;
use super::valuation::valid_history;
use super::{Run, rows, sql};
use crate::domain::ids::Epoch;
use crate::domain::records::KeyStatus;
use crate::domain::time::Timestamp;
use crate::ports::store::rows::{HistoryRow, PortfolioSeriesRow};
use crate::ports::store::statements::{
    Backlog, CashflowRead, CashflowsRead, HistoryRead, PositionRead, ReadBacklog,
    ReadPortfolioCashflows, ReadPortfolioPositions, ReadPortfolioSeries, ReadPositionHistory,
    SeriesRead,
};

impl Read for PositionRead {
    fn read(cells: &mut Cells<'_>) -> Result<Self, Error> {
        let key = cells.row()?;
        let served_epoch = cells.take()?;
        let epoch = cells.take()?;
        let revision = cells.take()?;
        let status = cells.named(KeyStatus::parse)?;
        let watermark_date = cells.take()?;
        let at: Timestamp = cells.take()?;
        let position = cells.row()?;
        let has_snapshot: bool = cells.take()?;
        let snapshot = if has_snapshot { Some(cells.row()?) } else { None };
        Ok(Self {
            key,
            served_epoch,
            epoch,
            revision,
            status,
            watermark_date,
            snapshot,
            position,
            position_date: at.date(),
        })
    }
}

impl Run for ReadPortfolioPositions {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<PositionRead>, Error> {
        let text = concat!(
            "SELECT k.portfolio, k.security, k.version, k.newest, k.revision, k.status,
                k.watermark_date, h.transaction_date, h.quantity, h.cost_basis,
                h.cost_basis_local, s.date IS NOT NULL, s.*
            FROM (SELECT portfolio_id AS portfolio, security_id AS security,
                    served_epoch AS version, epoch AS newest, revision, status, watermark_date
                FROM position_state WHERE portfolio_id = $1) k
            CROSS JOIN LATERAL (",
            valid_history!("< COALESCE($2, 'infinity')"),
            " ORDER BY h.transaction_date DESC, h.place_rank DESC, h.transaction_id DESC,
                    h.epoch DESC LIMIT 1) h
            LEFT JOIN LATERAL (SELECT ",
            snapshot_columns!(),
            " FROM daily_position_snapshots s
                WHERE s.portfolio_id = k.portfolio AND s.security_id = k.security
                    AND s.epoch <= k.version AND s.date <= COALESCE($3, 'infinity')
                    AND NOT EXISTS (SELECT FROM position_epochs x
                        WHERE x.portfolio_id = k.portfolio AND x.security_id = k.security
                            AND x.epoch > s.epoch AND x.epoch <= k.version
                            AND x.from_date <= s.date)
                ORDER BY s.date DESC, s.epoch DESC LIMIT 1) s ON true
            ORDER BY k.portfolio, k.security"
        );
        let call = sql(text)
            .bind(&self.portfolio_id)
            .bind(self.as_of.map(|as_of| as_of.next().start()))
            .bind(self.as_of);
        rows(call, connection).await
    }
}

/// What a row of a history says of its key, and the row, unless the key has none.
struct HistoryPart {
    of_key: HistoryRead,
    row: Option<HistoryRow>,
}

impl Read for HistoryPart {
    fn read(cells: &mut Cells<'_>) -> Result<Self, Error> {
        let of_key = HistoryRead {
            served_epoch: cells.take()?,
            epoch: cells.take()?,
            revision: cells.take()?,
            status: cells.named(KeyStatus::parse)?,
            rows: Vec::new(),
        };
        let has_row: bool = cells.take()?;
        Ok(Self { of_key, row: if has_row { Some(cells.row()?) } else { None } })
    }
}

impl Run for ReadPositionHistory {
    async fn run(self, connection: &mut PgConnection) -> Result<Option<HistoryRead>, Error> {
        let text = concat!(
            "SELECT k.version, k.newest, k.revision, k.status, h.epoch IS NOT NULL, ",
            "h.portfolio_id, h.security_id, h.transaction_date, h.place_rank, h.transaction_id,
                h.epoch, h.quantity, h.cost_basis, h.cost_basis_local
            FROM (SELECT portfolio_id AS portfolio, security_id AS security,
                    served_epoch AS version, epoch AS newest, revision, status
                FROM position_state WHERE portfolio_id = $1 AND security_id = $2) k
            LEFT JOIN LATERAL (",
            valid_history!("IS NOT NULL"),
            " AND (h.transaction_date, h.place_rank, h.transaction_id)
                    > (COALESCE($3, '-infinity'), COALESCE($4, 0), COALESCE($5, ''))
                ORDER BY h.transaction_date, h.place_rank, h.transaction_id, h.epoch
                LIMIT $6) h ON true
            ORDER BY h.transaction_date, h.place_rank, h.transaction_id, h.epoch"
        );
        let after = self.after.as_ref();
        let call = sql(text)
            .bind(&self.key.portfolio_id)
            .bind(&self.key.security_id)
            .bind(after.map(|place| place.at))
            .bind(after.map(|place| i16::from(place.rank)))
            .bind(after.map(|place| &place.transaction_id))
            .bind(i64::from(self.limit));
        let mut parts = rows::<HistoryPart>(call, connection).await?.into_iter();
        let Some(HistoryPart { mut of_key, row }) = parts.next() else { return Ok(None) };
        of_key.rows.extend(row);
        of_key.rows.extend(parts.filter_map(|part| part.row));
        Ok(Some(of_key))
    }
}

impl Read for CashflowRead {
    fn read(cells: &mut Cells<'_>) -> Result<Self, Error> {
        Ok(Self {
            served_epoch: cells.take()?,
            status: cells.named(KeyStatus::parse)?,
            row: cells.row()?,
        })
    }
}

/// What a row of cash flows says of the page, and the row, unless the page has none.
struct CashflowsPart {
    after_epoch: Option<Epoch>,
    row: Option<CashflowRead>,
}

impl Read for CashflowsPart {
    fn read(cells: &mut Cells<'_>) -> Result<Self, Error> {
        let after_epoch = cells.take()?;
        let has_row: bool = cells.take()?;
        Ok(Self { after_epoch, row: if has_row { Some(cells.row()?) } else { None } })
    }
}

impl Run for ReadPortfolioCashflows {
    async fn run(self, connection: &mut PgConnection) -> Result<Option<CashflowsRead>, Error> {
        let text = concat!(
            "SELECT (SELECT served_epoch FROM position_state
                    WHERE portfolio_id = $1 AND security_id = $2),
                r.version IS NOT NULL, r.*
            FROM portfolios p
            LEFT JOIN LATERAL (SELECT k.version, k.status, ",
            cashflow_columns!(),
            " FROM cashflows c
                JOIN (SELECT portfolio_id AS portfolio, security_id AS security,
                        served_epoch AS version, status
                    FROM position_state WHERE portfolio_id = $1) k
                    ON c.portfolio_id = k.portfolio AND c.security_id = k.security
                WHERE c.portfolio_id = $1
                    AND (c.security_id, c.transaction_date, c.place_rank, c.transaction_id)
                        > (COALESCE($2, ''), COALESCE($3, '-infinity'), COALESCE($4, 0),
                            COALESCE($5, ''))
                    AND c.transaction_date >= COALESCE($6, '-infinity')
                    AND c.transaction_date < COALESCE($7, 'infinity') AND ",
            is_valid!("c", "x.from_date::timestamp AT TIME ZONE 'UTC' <= c.transaction_date"),
            " ORDER BY c.security_id, c.transaction_date, c.place_rank, c.transaction_id, c.epoch
                LIMIT $8) r ON true
            WHERE p.portfolio_id = $1
            ORDER BY r.security_id, r.transaction_date, r.place_rank, r.transaction_id, r.epoch"
        );
        let security_id = self.after.as_ref().map(|after| &after.0);
        let place = self.after.as_ref().map(|after| &after.1);
        let call = sql(text)
            .bind(&self.portfolio_id)
            .bind(security_id)
            .bind(place.map(|place| place.at))
            .bind(place.map(|place| i16::from(place.rank)))
            .bind(place.map(|place| &place.transaction_id))
            .bind(self.from.map(|from| from.start()))
            .bind(self.to.map(|to| to.next().start()))
            .bind(i64::from(self.limit));
        let mut parts = rows::<CashflowsPart>(call, connection).await?.into_iter();
        let Some(CashflowsPart { after_epoch, row }) = parts.next() else { return Ok(None) };
        let rows = row.into_iter().chain(parts.filter_map(|part| part.row)).collect();
        Ok(Some(CashflowsRead { after_epoch, rows }))
    }
}

/// What a row of a series says of the portfolio, and the row, unless there is none.
struct SeriesPart {
    of_portfolio: SeriesRead,
    row: Option<PortfolioSeriesRow>,
}

impl Read for SeriesPart {
    fn read(cells: &mut Cells<'_>) -> Result<Self, Error> {
        let of_portfolio = SeriesRead {
            base_currency: cells.take()?,
            status: cells.named(KeyStatus::parse)?,
            rows: Vec::new(),
        };
        let has_row: bool = cells.take()?;
        Ok(Self { of_portfolio, row: if has_row { Some(cells.row()?) } else { None } })
    }
}

impl Run for ReadPortfolioSeries {
    async fn run(self, connection: &mut PgConnection) -> Result<Option<SeriesRead>, Error> {
        let text = concat!(
            "SELECT p.base_currency, CASE WHEN EXISTS (SELECT FROM position_state
                    WHERE portfolio_id = $1 AND (status = 'REPROCESSING' OR watermark_date <
                        (SELECT max(business_date) FROM business_dates
                            WHERE calendar_code = 'GLOBAL')))
                    THEN 'REPROCESSING' ELSE 'CURRENT' END,
                s.date IS NOT NULL, s.*
            FROM portfolios p
            LEFT JOIN LATERAL (SELECT ",
            portfolio_series_columns!(),
            " FROM portfolio_timeseries t
                WHERE t.portfolio_id = $1 AND t.date >= COALESCE($2, '-infinity')
                    AND t.date <= COALESCE($3, 'infinity')
                ORDER BY t.date LIMIT $4) s ON true
            WHERE p.portfolio_id = $1 ORDER BY s.date"
        );
        let call = sql(text)
            .bind(&self.portfolio_id)
            .bind(self.from)
            .bind(self.to)
            .bind(i64::from(self.limit));
        let mut parts = rows::<SeriesPart>(call, connection).await?.into_iter();
        let Some(SeriesPart { mut of_portfolio, row }) = parts.next() else { return Ok(None) };
        of_portfolio.rows.extend(row);
        of_portfolio.rows.extend(parts.filter_map(|part| part.row));
        Ok(Some(of_portfolio))
    }
}

impl Run for ReadBacklog {
    async fn run(self, connection: &mut PgConnection) -> Result<Backlog, Error> {
        let text = "WITH waiting AS MATERIALIZED (
                SELECT DISTINCT k.portfolio_id, k.security_id
                FROM portfolio_valuation_jobs j
                JOIN portfolio_valuation_job_keys k ON k.job_id = j.id
                WHERE j.status = 'WAITING'
            )
            SELECT
                (SELECT count(*) FROM outbox_events),
                (SELECT count(*) FROM instrument_reprocessing_state),
                (SELECT count(*) FROM reprocessing_jobs),
                (SELECT count(*) FROM replays),
                (SELECT count(*) FROM portfolio_valuation_jobs WHERE status <> 'WAITING'),
                (SELECT count(*) FROM portfolio_valuation_jobs WHERE status = 'WAITING'),
                (SELECT count(*) FROM position_state ps
                    WHERE (ps.status = 'REPROCESSING' OR ps.watermark_date <> (
                        SELECT max(business_date) FROM business_dates
                        WHERE calendar_code = 'GLOBAL'))
                    AND NOT EXISTS (SELECT FROM waiting w
                        WHERE w.portfolio_id = ps.portfolio_id
                            AND w.security_id = ps.security_id)),
                (SELECT count(*) FROM waiting)";
        let row = sql(text).fetch_one(connection).await?;
        let count = |at: usize| row.try_get::<Big, _>(at).map(|count| count.0);
        Ok(Backlog {
            outbox_events: count(0)?,
            triggers: count(1)?,
            reprocessing_jobs: count(2)?,
            replays: count(3)?,
            valuation_jobs: count(4)?,
            waiting_jobs: count(5)?,
            keys_behind: count(6)?,
            keys_waiting: count(7)?,
        })
    }
}
