//! What persistence runs: locks and upserts of inputs, new keys, business dates.

use sqlx::{Error, PgConnection, Row as _};

use super::super::columns::{
    instrument_columns, portfolio_columns, price_columns, rate_columns, transaction_columns,
};
use super::super::copy::{MANY, copy_new};
use super::{Bind, Run, done, rows, rows_with, sql};
use crate::domain::ids::TransactionId;
use crate::domain::records::BusinessDate;
use crate::ports::store::rows::{InstrumentRow, PortfolioRow, PriceRow, RateRow, TransactionRow};
use crate::ports::store::statements::{
    InsertBusinessDates, InsertKeys, InsertTransactions, LockCalendar, LockInstruments,
    LockPortfolios, LockPrices, LockRates, LockTransactions, UpdateTransactions, UpsertInstruments,
    UpsertPortfolios, UpsertPrices, UpsertRates,
};

impl Run for LockTransactions {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<TransactionRow>, Error> {
        let text = concat!(
            "SELECT ",
            transaction_columns!(),
            " FROM transactions WHERE transaction_id = ANY($1) ORDER BY transaction_id FOR UPDATE"
        );
        rows(sql(text).each(&self.ids, |id| id), connection).await
    }
}

/// Numbers of the seventeen columns.
macro_rules! transaction_rows {
    () => {
        "unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) r"
    };
}

fn bind_transactions(text: &'static str, rows: &[TransactionRow]) -> super::Call {
    sql(text)
        .each(rows, |row| &row.transaction.transaction_id)
        .keys(rows, |row| &row.transaction.key)
        .each(rows, |row| row.transaction.instrument_id.as_str())
        .each(rows, |row| row.transaction.settlement_date.as_deref())
        .each(rows, |row| row.transaction.terms.at)
        .terms(rows, |row| &row.transaction.terms)
        .each(rows, |row| row.source_version)
        .each(rows, |row| row.correlation_id.as_deref())
}

impl Run for InsertTransactions {
    const STEPS: u32 = 3;

    async fn run(self, connection: &mut PgConnection) -> Result<Vec<TransactionId>, Error> {
        // Most are new, and then nothing has to be asked of each row.
        if self.rows.len() >= MANY && copy_new(connection, &self.rows).await? {
            return Ok(self.rows.into_iter().map(|row| row.transaction.transaction_id).collect());
        }
        let text = concat!(
            "INSERT INTO transactions (",
            transaction_columns!(),
            ") SELECT r.* FROM ",
            transaction_rows!(),
            " ON CONFLICT DO NOTHING RETURNING transaction_id"
        );
        let call = bind_transactions(text, &self.rows);
        rows_with(call, connection, |row| row.try_get(0)).await
    }
}

impl Run for UpdateTransactions {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = concat!(
            "UPDATE transactions t SET
                portfolio_id = r.portfolio_id, security_id = r.security_id,
                instrument_id = r.instrument_id, settlement_date = r.settlement_date,
                transaction_date = r.transaction_date, transaction_type = r.transaction_type,
                quantity = r.quantity, price = r.price,
                gross_transaction_amount = r.gross_transaction_amount, trade_fee = r.trade_fee,
                accrued_interest = r.accrued_interest,
                calculation_policy_id = r.calculation_policy_id,
                trade_currency = r.trade_currency, currency = r.currency,
                source_version = r.source_version, correlation_id = r.correlation_id
            FROM ",
            transaction_rows!(),
            "(",
            transaction_columns!(),
            ") WHERE t.transaction_id = r.transaction_id"
        );
        done(bind_transactions(text, &self.rows), connection).await
    }
}

impl Run for InsertKeys {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "INSERT INTO position_state (portfolio_id, security_id, epoch, revision,
                watermark_date, status, served_epoch, input_version, quantity, cost_basis,
                cost_basis_local, updated_at)
            SELECT r.portfolio_id, r.security_id, 0, 0, LEAST(r.date - 1, (
                    SELECT max(business_date) FROM business_dates WHERE calendar_code = 'GLOBAL'
                )), 'CURRENT', 0, 0, 0, 0, 0, now()
            FROM unnest($1, $2, $3) r(portfolio_id, security_id, date)
            WHERE NOT EXISTS (SELECT FROM position_state ps
                WHERE ps.portfolio_id = r.portfolio_id AND ps.security_id = r.security_id OFFSET 0)
            ON CONFLICT DO NOTHING";
        let call = sql(text).keys(&self.keys, |row| &row.0).each(&self.keys, |row| row.1);
        done(call, connection).await
    }
}

impl Run for LockPrices {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<PriceRow>, Error> {
        let text = concat!(
            "SELECT ",
            price_columns!(),
            " FROM market_prices
            WHERE (security_id, price_date) IN (SELECT * FROM unnest($1, $2))
            ORDER BY security_id, price_date FOR UPDATE OF market_prices"
        );
        let call = sql(text).each(&self.ids, |id| &id.0).each(&self.ids, |id| id.1);
        rows(call, connection).await
    }
}

impl Run for UpsertPrices {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = concat!(
            "INSERT INTO market_prices (",
            price_columns!(),
            ") SELECT * FROM unnest($1, $2, $3, $4, $5)
            ON CONFLICT (security_id, price_date) DO UPDATE SET
                price = excluded.price, currency = excluded.currency,
                source_version = excluded.source_version
            WHERE market_prices.source_version <= excluded.source_version"
        );
        let rows = &self.rows;
        let call = sql(text)
            .each(rows, |row: &PriceRow| &row.price.security_id)
            .each(rows, |row| row.price.price_date)
            .each(rows, |row| row.price.price)
            .each(rows, |row| &row.price.currency)
            .each(rows, |row| row.source_version);
        done(call, connection).await
    }
}

impl Run for LockRates {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<RateRow>, Error> {
        let text = concat!(
            "SELECT ",
            rate_columns!(),
            " FROM fx_rates
            WHERE (from_currency, to_currency, rate_date) IN (SELECT * FROM unnest($1, $2, $3))
            ORDER BY from_currency, to_currency, rate_date FOR UPDATE OF fx_rates"
        );
        let ids = &self.ids;
        let call = sql(text).each(ids, |id| &id.0).each(ids, |id| &id.1).each(ids, |id| id.2);
        rows(call, connection).await
    }
}

impl Run for UpsertRates {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = concat!(
            "INSERT INTO fx_rates (",
            rate_columns!(),
            ") SELECT * FROM unnest($1, $2, $3, $4, $5)
            ON CONFLICT (from_currency, to_currency, rate_date) DO UPDATE SET
                rate = excluded.rate, source_version = excluded.source_version
            WHERE fx_rates.source_version <= excluded.source_version"
        );
        let rows = &self.rows;
        let call = sql(text)
            .each(rows, |row: &RateRow| &row.rate.from_currency)
            .each(rows, |row| &row.rate.to_currency)
            .each(rows, |row| row.rate.rate_date)
            .each(rows, |row| row.rate.rate)
            .each(rows, |row| row.source_version);
        done(call, connection).await
    }
}

impl Run for LockPortfolios {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<PortfolioRow>, Error> {
        let text = concat!(
            "SELECT ",
            portfolio_columns!(),
            " FROM portfolios WHERE portfolio_id = ANY($1) ORDER BY portfolio_id FOR UPDATE"
        );
        rows(sql(text).each(&self.ids, |id| id), connection).await
    }
}

impl Run for UpsertPortfolios {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = concat!(
            "INSERT INTO portfolios (",
            portfolio_columns!(),
            ") SELECT * FROM unnest($1, $2, $3, $4, $5)
            ON CONFLICT (portfolio_id) DO UPDATE SET
                base_currency = excluded.base_currency, open_date = excluded.open_date,
                cost_basis_method = excluded.cost_basis_method,
                source_version = excluded.source_version
            WHERE portfolios.source_version <= excluded.source_version"
        );
        let rows = &self.rows;
        let call = sql(text)
            .each(rows, |row: &PortfolioRow| &row.portfolio.portfolio_id)
            .each(rows, |row| &row.portfolio.base_currency)
            .each(rows, |row| row.portfolio.open_date.as_str())
            .each(rows, |row| row.portfolio.cost_basis_method.as_str())
            .each(rows, |row| row.source_version);
        done(call, connection).await
    }
}

impl Run for LockInstruments {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<InstrumentRow>, Error> {
        let text = concat!(
            "SELECT ",
            instrument_columns!(),
            " FROM instruments WHERE security_id = ANY($1) ORDER BY security_id FOR UPDATE"
        );
        rows(sql(text).each(&self.ids, |id| id), connection).await
    }
}

impl Run for UpsertInstruments {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = concat!(
            "INSERT INTO instruments (",
            instrument_columns!(),
            ") SELECT * FROM unnest($1, $2, $3, $4)
            ON CONFLICT (security_id) DO UPDATE SET
                currency = excluded.currency, product_type = excluded.product_type,
                source_version = excluded.source_version
            WHERE instruments.source_version <= excluded.source_version"
        );
        let rows = &self.rows;
        let call = sql(text)
            .each(rows, |row: &InstrumentRow| &row.instrument.security_id)
            .each(rows, |row| &row.instrument.currency)
            .each(rows, |row| row.instrument.product_type.as_str())
            .each(rows, |row| row.source_version);
        done(call, connection).await
    }
}

impl Run for LockCalendar {
    const STEPS: u32 = 2;

    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "INSERT INTO calendars VALUES ($1) ON CONFLICT DO NOTHING";
        done(sql(text).bind(self.code.as_str()), connection).await?;
        // A statement of its own: it sees the row that the first one may have waited for.
        let text = "SELECT FROM calendars WHERE calendar_code = $1 FOR UPDATE";
        done(sql(text).bind(self.code.as_str()), connection).await
    }
}

impl Run for InsertBusinessDates {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<BusinessDate>, Error> {
        let text = "INSERT INTO business_dates (calendar_code, business_date)
            SELECT * FROM unnest($1, $2)
            ON CONFLICT DO NOTHING RETURNING calendar_code, business_date";
        let call = sql(text)
            .each(&self.rows, |row: &BusinessDate| row.calendar_code.as_str())
            .each(&self.rows, |row| row.business_date);
        rows(call, connection).await
    }
}
