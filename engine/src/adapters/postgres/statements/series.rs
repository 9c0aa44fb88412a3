//! Time series of positions and portfolios, and what they are made of.

use sqlx::{Error, PgConnection};

use super::super::cells::{Cells, Read};
use super::super::columns::{cashflow_columns, portfolio_series_columns, snapshot_columns};
use super::super::copy::copy;
use super::{Bind, Call, Run, done, rows, sql};
use crate::domain::ids::{Epoch, Key, PortfolioId};
use crate::domain::records::PortfolioSeries;
use crate::domain::records::TransactionType;
use crate::domain::records::{Cashflow, Classification, Timing};
use crate::domain::series::DaySum;
use crate::domain::time::Date;
use crate::ports::store::rows::{CashflowRow, PortfolioSeriesRow, SnapshotRow};
use crate::ports::store::statements::{
    CopyPortfolioSeries, CopyPositionSeries, DatedSum, DeletePortfolioSeries, DeletePositionSeries,
    FindValued, PortfolioEdges, ReadCashflows, ReadDaySums, ReadPortfolioEdges, ReadSnapshots,
    ReadSwitched, ValuedQuery,
};

/// That a row of epoch `$row.epoch` and that date is valid for epoch `k.version` of key `k`.
macro_rules! is_valid {
    ($row:literal, $date:literal) => {
        concat!(
            $row,
            ".epoch <= k.version AND NOT EXISTS (SELECT FROM position_epochs x
                WHERE x.portfolio_id = k.portfolio AND x.security_id = k.security
                    AND x.epoch > ",
            $row,
            ".epoch AND x.epoch <= k.version AND ",
            $date,
            ")"
        )
    };
}

pub(super) use is_valid;

/// Snapshots of key `k` that are valid for epoch `k.version`.
macro_rules! valid_snapshots {
    ($select:literal, $condition:literal) => {
        concat!(
            $select,
            " FROM daily_position_snapshots s
            WHERE s.portfolio_id = k.portfolio AND s.security_id = k.security AND ",
            is_valid!("s", "x.from_date <= s.date"),
            $condition
        )
    };
}

/// Five arrays: keys, their epochs, and their first and last dates.
fn of_keys(text: &'static str, ranges: &[(Key, Epoch, Date, Date)]) -> Call {
    sql(text)
        .keys(ranges, |range| &range.0)
        .each(ranges, |range| range.1)
        .each(ranges, |range| range.2)
        .each(ranges, |range| range.3)
}

impl Run for ReadSnapshots {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<SnapshotRow>, Error> {
        let text = concat!(
            "SELECT ",
            snapshot_columns!(),
            " FROM (SELECT r.*, k.number FROM unnest($1, $2, $3, $4, $5) WITH ORDINALITY
                k(portfolio, security, version, first, last, number)
            CROSS JOIN LATERAL (
                (",
            valid_snapshots!(
                "SELECT s.*",
                " AND s.date < k.first ORDER BY s.date DESC, s.epoch DESC LIMIT 1"
            ),
            ") UNION ALL (",
            valid_snapshots!(
                "SELECT DISTINCT ON (s.date) s.*",
                " AND s.date BETWEEN k.first AND k.last ORDER BY s.date, s.epoch DESC"
            ),
            ") UNION ALL (",
            valid_snapshots!(
                "SELECT s.*",
                " AND s.date > k.last ORDER BY s.date, s.epoch DESC LIMIT 1"
            ),
            ")
            ) r) found ORDER BY number, date"
        );
        rows(of_keys(text, &self.ranges), connection).await
    }
}

impl Run for ReadCashflows {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<CashflowRow>, Error> {
        let text = concat!(
            "SELECT r.* FROM unnest($1, $2, $3, $4, $5) WITH ORDINALITY
                k(portfolio, security, version, start, stop, number)
            CROSS JOIN LATERAL (SELECT ",
            cashflow_columns!(),
            " FROM cashflows c
                WHERE c.portfolio_id = k.portfolio AND c.security_id = k.security
                    AND c.transaction_date >= COALESCE(k.start, '-infinity')
                    AND c.transaction_date < k.stop AND ",
            is_valid!("c", "x.from_date::timestamp AT TIME ZONE 'UTC' <= c.transaction_date"),
            ") r ORDER BY k.number, r.transaction_date, r.place_rank, r.transaction_id, r.epoch"
        );
        let ranges = &self.ranges;
        let call = sql(text)
            .keys(ranges, |range: &(Key, Epoch, Option<Date>, Date)| &range.0)
            .each(ranges, |range| range.1)
            .each(ranges, |range| range.2.map(|after| after.next().start()))
            .each(ranges, |range| range.3.next().start());
        rows(call, connection).await
    }
}

impl Run for FindValued {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<Key>, Error> {
        let text = "SELECT k.portfolio, k.security
            FROM unnest($1, $2, $3, $4, $5, $6) WITH ORDINALITY
                k(portfolio, security, epoch, revision, watermark, first, number)
            WHERE EXISTS (SELECT FROM daily_position_snapshots s
                WHERE s.portfolio_id = k.portfolio AND s.security_id = k.security
                    AND s.date >= k.first
                    AND (s.date <= k.watermark
                        OR (s.epoch = k.epoch AND s.revision = k.revision))
                OFFSET 0)
            ORDER BY k.number";
        let keys = &self.keys;
        let call = sql(text)
            .keys(keys, |query: &ValuedQuery| &query.key)
            .each(keys, |query| query.token.epoch)
            .each(keys, |query| query.token.revision)
            .each(keys, |query| query.watermark_date)
            .each(keys, |query| query.from);
        rows(call, connection).await
    }
}

impl Run for DeletePositionSeries {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "DELETE FROM position_timeseries t
            USING unnest($1, $2, $3, $4, $5) k(portfolio, security, epoch, first, last)
            WHERE t.portfolio_id = k.portfolio AND t.security_id = k.security
                AND t.epoch = k.epoch AND t.date BETWEEN k.first AND k.last";
        done(of_keys(text, &self.ranges), connection).await
    }
}

impl Run for CopyPositionSeries {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        if self.rows.is_empty() {
            return Ok(());
        }
        copy(connection, &self.rows).await
    }
}

impl Read for CashflowRow {
    fn read(cells: &mut Cells<'_>) -> Result<Self, Error> {
        Ok(Self {
            key: cells.row()?,
            place: cells.row()?,
            epoch: cells.take()?,
            kind: cells.named(TransactionType::parse)?,
            cashflow: Cashflow {
                amount: cells.take()?,
                currency: cells.take()?,
                classification: cells.named(Classification::parse)?,
                timing: cells.named(Timing::parse)?,
                is_position_flow: cells.take()?,
                is_portfolio_flow: cells.take()?,
            },
        })
    }
}

impl Read for PortfolioSeriesRow {
    fn read(cells: &mut Cells<'_>) -> Result<Self, Error> {
        Ok(Self {
            portfolio_id: cells.take()?,
            date: cells.take()?,
            series: PortfolioSeries {
                bod_market_value: cells.take()?,
                bod_cashflow: cells.take()?,
                eod_cashflow: cells.take()?,
                eod_market_value: cells.take()?,
                fees: cells.take()?,
            },
        })
    }
}

impl Read for (Key, Date) {
    fn read(cells: &mut Cells<'_>) -> Result<Self, Error> {
        Ok((cells.row()?, cells.take()?))
    }
}

impl Run for ReadSwitched {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<(Key, Date)>, Error> {
        let text = "SELECT k.portfolio, k.security, f.first
            FROM unnest($1, $2, $3, $4) WITH ORDINALITY k(portfolio, security, was, version, number)
            CROSS JOIN LATERAL (SELECT LEAST(
                (SELECT min(x.from_date) FROM position_epochs x
                    WHERE x.portfolio_id = k.portfolio AND x.security_id = k.security
                        AND x.epoch > k.was AND x.epoch <= k.version),
                (SELECT s.date FROM daily_position_snapshots s
                    WHERE s.portfolio_id = k.portfolio AND s.security_id = k.security
                        AND s.epoch > k.was AND s.epoch <= k.version
                    ORDER BY s.date LIMIT 1)) AS first OFFSET 0) f
            WHERE f.first IS NOT NULL ORDER BY k.number";
        let keys = &self.keys;
        let call = sql(text)
            .keys(keys, |key: &(Key, Epoch, Epoch)| &key.0)
            .each(keys, |key| key.1)
            .each(keys, |key| key.2);
        rows(call, connection).await
    }
}

/// Three arrays: portfolios, and their first and last dates.
fn of_portfolios(text: &'static str, ranges: &[(PortfolioId, Date, Date)]) -> Call {
    sql(text)
        .each(ranges, |range: &(PortfolioId, Date, Date)| &range.0)
        .each(ranges, |range| range.1)
        .each(ranges, |range| range.2)
}

impl Read for DatedSum {
    fn read(cells: &mut Cells<'_>) -> Result<Self, Error> {
        Ok(Self {
            portfolio_id: cells.take()?,
            date: cells.take()?,
            sum: DaySum {
                currency: cells.take()?,
                market_value: cells.take()?,
                bod_cashflow: cells.take()?,
                eod_cashflow: cells.take()?,
                fees: cells.take()?,
            },
        })
    }
}

impl Run for ReadDaySums {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<DatedSum>, Error> {
        let text = concat!(
            "SELECT r.portfolio, t.date, t.currency, sum(t.market_value),
                sum(t.bod_cashflow_portfolio), sum(t.eod_cashflow_portfolio), sum(t.fees)
            FROM unnest($1, $2, $3) r(portfolio, first, last)
            CROSS JOIN LATERAL (SELECT portfolio_id AS portfolio, security_id AS security,
                    served_epoch AS version
                FROM position_state WHERE portfolio_id = r.portfolio OFFSET 0) k
            CROSS JOIN LATERAL (SELECT DISTINCT ON (s.date) s.*
                FROM position_timeseries s
                WHERE s.portfolio_id = k.portfolio AND s.security_id = k.security
                    AND s.date BETWEEN r.first AND r.last AND ",
            is_valid!("s", "x.from_date <= s.date"),
            " ORDER BY s.date, s.epoch DESC) t
            GROUP BY r.portfolio, t.date, t.currency
            ORDER BY r.portfolio COLLATE \"C\", t.date, t.currency COLLATE \"C\""
        );
        rows(of_portfolios(text, &self.ranges), connection).await
    }
}

impl Read for PortfolioEdges {
    fn read(cells: &mut Cells<'_>) -> Result<Self, Error> {
        let end_before = cells.take()?;
        let has_after: bool = cells.take()?;
        Ok(Self { end_before, after: if has_after { Some(cells.row()?) } else { None } })
    }
}

impl Run for ReadPortfolioEdges {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<PortfolioEdges>, Error> {
        let text = concat!(
            "SELECT (SELECT b.eod_market_value FROM portfolio_timeseries b
                    WHERE b.portfolio_id = r.portfolio AND b.date < r.first
                    ORDER BY b.date DESC LIMIT 1),
                a.date IS NOT NULL, a.*
            FROM unnest($1, $2, $3) WITH ORDINALITY r(portfolio, first, last, number)
            LEFT JOIN LATERAL (SELECT ",
            portfolio_series_columns!(),
            " FROM portfolio_timeseries t
                WHERE t.portfolio_id = r.portfolio AND t.date > r.last
                ORDER BY t.date LIMIT 1) a ON true
            ORDER BY r.number"
        );
        rows(of_portfolios(text, &self.ranges), connection).await
    }
}

impl Run for DeletePortfolioSeries {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "DELETE FROM portfolio_timeseries t
            USING unnest($1, $2, $3) r(portfolio, first, last)
            WHERE t.portfolio_id = r.portfolio AND t.date BETWEEN r.first AND r.last";
        done(of_portfolios(text, &self.ranges), connection).await
    }
}

impl Run for CopyPortfolioSeries {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        if self.rows.is_empty() {
            return Ok(());
        }
        copy(connection, &self.rows).await
    }
}
