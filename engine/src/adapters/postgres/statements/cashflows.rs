//! Cash flows, and what they follow from.

use sqlx::{Error, PgConnection};

use super::super::cells::{Cells, Read, terms};
use super::super::columns::cashflow_columns;
use super::super::copy::{MANY, copy};
use super::{Bind, Run, done, rows, sql};
use crate::domain::ids::{Epoch, Key, TransactionId};
use crate::domain::records::Place;
use crate::ports::store::rows::CashflowRow;
use crate::ports::store::statements::{AppliedTransaction, InsertCashflows, ReadApplied};

impl Read for AppliedTransaction {
    fn read(cells: &mut Cells<'_>) -> Result<Self, Error> {
        let key = cells.row()?;
        let place: Place = cells.row()?;
        let epoch = cells.take()?;
        let terms = terms(cells, place.at)?;
        Ok(Self { key, place, epoch, terms, has_cashflow: cells.take()? })
    }
}

impl Run for ReadApplied {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<AppliedTransaction>, Error> {
        let text = "SELECT t.portfolio_id, t.security_id, t.transaction_date, t.place_rank,
                t.transaction_id, h.epoch, t.transaction_type, t.quantity, t.price,
                t.gross_transaction_amount, t.trade_fee, t.accrued_interest,
                t.calculation_policy_id, t.trade_currency, t.currency,
                EXISTS (SELECT FROM cashflows c
                    WHERE c.portfolio_id = k.portfolio AND c.security_id = k.security
                        AND c.transaction_date = t.transaction_date
                        AND c.place_rank = t.place_rank AND c.transaction_id = t.transaction_id
                        AND c.epoch = h.epoch)
            FROM unnest($1, $2, $3, $4) WITH ORDINALITY
                k(portfolio, security, version, transaction, number)
            CROSS JOIN LATERAL (SELECT * FROM position_timeline
                WHERE portfolio_id = k.portfolio AND security_id = k.security
                    AND transaction_id = k.transaction OFFSET 0) t
            CROSS JOIN LATERAL (SELECT h.epoch FROM position_history h
                WHERE h.portfolio_id = k.portfolio AND h.security_id = k.security
                    AND h.transaction_date = t.transaction_date AND h.place_rank = t.place_rank
                    AND h.transaction_id = t.transaction_id AND h.epoch <= k.version
                    AND NOT EXISTS (SELECT FROM position_epochs x
                        WHERE x.portfolio_id = k.portfolio AND x.security_id = k.security
                            AND x.epoch > h.epoch AND x.epoch <= k.version
                            AND x.from_date::timestamp AT TIME ZONE 'UTC' <= h.transaction_date)
                ORDER BY h.epoch DESC LIMIT 1) h
            ORDER BY k.number";
        let ids = &self.ids;
        let call = sql(text)
            .keys(ids, |id: &(Key, Epoch, TransactionId)| &id.0)
            .each(ids, |id| id.1)
            .each(ids, |id| &id.2);
        rows(call, connection).await
    }
}

impl Run for InsertCashflows {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        if self.rows.len() >= MANY {
            return copy(connection, &self.rows).await;
        }
        let text = concat!(
            "INSERT INTO cashflows (",
            cashflow_columns!(),
            ") SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
        );
        let rows = &self.rows;
        let call = sql(text)
            .keys(rows, |row: &CashflowRow| &row.key)
            .places(rows, |row| &row.place)
            .each(rows, |row| row.epoch)
            .each(rows, |row| row.kind.as_str())
            .each(rows, |row| row.cashflow.amount)
            .each(rows, |row| &row.cashflow.currency)
            .each(rows, |row| row.cashflow.classification.as_str())
            .each(rows, |row| row.cashflow.timing.as_str())
            .each(rows, |row| row.cashflow.is_position_flow)
            .each(rows, |row| row.cashflow.is_portfolio_flow);
        done(call, connection).await
    }
}
