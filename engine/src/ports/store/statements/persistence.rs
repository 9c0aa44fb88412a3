//! What `persistence` stores: transactions, market data, reference data, and the events about them.
//!
//! Locks by identity come first, so that what is stored is compared with its newest version.

use super::super::rows::{
    InstrumentRow, OutboxRow, PortfolioRow, PriceRow, RateRow, TransactionRow,
};
use crate::domain::ids::{Currency, Key, PortfolioId, SecurityId, TransactionId};
use crate::domain::records::BusinessDate;
use crate::domain::time::Date;

statements! {
    /// `SELECT * FROM transactions WHERE transaction_id = ANY($ids) ORDER BY transaction_id
    /// COLLATE "C" FOR UPDATE`
    LockTransactions {
        /// Identities.
        ids: Vec<TransactionId>,
    } -> Vec<TransactionRow>;

    /// `INSERT INTO transactions .. SELECT .. FROM unnest($rows) ORDER BY transaction_id ON
    /// CONFLICT DO NOTHING RETURNING transaction_id`; rows in id order. Waits for another inserter
    /// of an id.
    InsertTransactions {
        /// New rows, in id order.
        rows: Vec<TransactionRow>,
    } -> Vec<TransactionId>;

    /// `UPDATE transactions SET .. FROM unnest($rows) WHERE transaction_id = ..` of locked rows.
    UpdateTransactions {
        /// Whole rows.
        rows: Vec<TransactionRow>,
    } -> ();

    /// `INSERT INTO position_state SELECT key, .. LEAST(date - 1, (SELECT max(business_date) FROM
    /// business_dates WHERE calendar_code = 'GLOBAL')) .. FROM unnest($keys) WHERE NOT EXISTS (the
    /// key) ORDER BY key ON CONFLICT DO NOTHING`, so that nobody waits for whoever is changing a
    /// key that is there: epoch 0, revision 0, served epoch 0, input_version 0, CURRENT, nothing
    /// valued, position zero, no fold terms. (`LEAST` ignores a null.)
    InsertKeys {
        /// Key and date of its first stored transaction, in key order.
        keys: Vec<(Key, Date)>,
    } -> ();

    /// `SELECT * FROM market_prices WHERE (security_id, price_date) = ANY($ids) ORDER BY 1, 2 FOR
    /// UPDATE`
    LockPrices {
        /// Identities.
        ids: Vec<(SecurityId, Date)>,
    } -> Vec<PriceRow>;

    /// `INSERT INTO market_prices .. FROM unnest($rows) ORDER BY 1, 2 ON CONFLICT (security_id,
    /// price_date) DO UPDATE SET .. WHERE market_prices.source_version <= excluded.source_version`
    UpsertPrices {
        /// Rows in identity order.
        rows: Vec<PriceRow>,
    } -> ();

    /// `SELECT * FROM fx_rates WHERE (from_currency, to_currency, rate_date) = ANY($ids) ORDER BY
    /// 1, 2, 3 FOR UPDATE`
    LockRates {
        /// Identities.
        ids: Vec<(Currency, Currency, Date)>,
    } -> Vec<RateRow>;

    /// As [`UpsertPrices`], for `fx_rates`.
    UpsertRates {
        /// Rows in identity order.
        rows: Vec<RateRow>,
    } -> ();

    /// `SELECT * FROM portfolios WHERE portfolio_id = ANY($ids) ORDER BY 1 FOR UPDATE`
    LockPortfolios {
        /// Identities.
        ids: Vec<PortfolioId>,
    } -> Vec<PortfolioRow>;

    /// As [`UpsertPrices`], for `portfolios`.
    UpsertPortfolios {
        /// Rows in identity order.
        rows: Vec<PortfolioRow>,
    } -> ();

    /// `SELECT * FROM instruments WHERE security_id = ANY($ids) ORDER BY 1 FOR UPDATE`
    LockInstruments {
        /// Identities.
        ids: Vec<SecurityId>,
    } -> Vec<InstrumentRow>;

    /// As [`UpsertPrices`], for `instruments`.
    UpsertInstruments {
        /// Rows in identity order.
        rows: Vec<InstrumentRow>,
    } -> ();

    /// `INSERT INTO calendars VALUES ($code) ON CONFLICT DO NOTHING; SELECT 1 FROM calendars WHERE
    /// calendar_code = $code FOR UPDATE`: one writer of a calendar at a time.
    LockCalendar {
        /// The calendar.
        code: smol_str::SmolStr,
    } -> ();

    /// `INSERT INTO business_dates .. FROM unnest($rows) ORDER BY 1, 2 ON CONFLICT DO NOTHING
    /// RETURNING *`
    InsertBusinessDates {
        /// Rows in identity order.
        rows: Vec<BusinessDate>,
    } -> Vec<BusinessDate>;

    /// `INSERT INTO outbox_events (id, lane, ..) SELECT nextval('outbox_id'), .. FROM
    /// unnest($rows)`; the `id` of a row is ignored. Rows get ids in their order.
    AppendOutbox {
        /// Events in the order in which they are to be published.
        rows: Vec<OutboxRow>,
    } -> ();
}
