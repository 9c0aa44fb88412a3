//! The engine's tables as the recorder knows them.
//!
//! # Invariants
//! - The columns of a table begin with its primary key.

use backdate_engine::ports::store::rows::Table;

/// A table that is recorded.
#[derive(Debug)]
pub(super) struct TableSpec {
    /// Which.
    pub(super) table: Table,
    /// Its name in the database.
    pub(super) name: &'static str,
    /// Its columns, those of the primary key first.
    pub(super) columns: &'static [&'static str],
    /// How many of them are the primary key.
    pub(super) key_columns: usize,
}

macro_rules! tables {
    ($($table:ident $name:literal $key:literal: $($column:ident)+;)+) => {
        /// All tables that are recorded.
        pub(super) const TABLES: &[TableSpec] = &[
            $(TableSpec {
                table: Table::$table,
                name: $name,
                columns: &[$(stringify!($column)),+],
                key_columns: $key,
            }),+
        ];
    };
}

tables! {
    Transactions "transactions" 1: transaction_id portfolio_id security_id instrument_id
        settlement_date transaction_date transaction_type quantity price gross_transaction_amount
        trade_fee accrued_interest calculation_policy_id trade_currency currency source_version
        correlation_id;
    MarketPrices "market_prices" 2: security_id price_date price currency source_version;
    FxRates "fx_rates" 3: from_currency to_currency rate_date rate source_version;
    Portfolios "portfolios" 1: portfolio_id base_currency open_date cost_basis_method
        source_version;
    Instruments "instruments" 1: security_id currency product_type source_version;
    BusinessDates "business_dates" 2: calendar_code business_date;
    PositionState "position_state" 2: portfolio_id security_id epoch revision watermark_date
        valued_through status served_epoch input_version base_currency cost_basis_method quantity
        cost_basis cost_basis_local updated_at;
    PositionTimeline "position_timeline" 5: portfolio_id security_id transaction_date place_rank
        transaction_id transaction_type quantity price gross_transaction_amount trade_fee
        accrued_interest calculation_policy_id trade_currency currency correlation_id applied
        park_reason fx_numerator fx_numerator_2 fx_denominator fx_denominator_2 gross_cost net_cost
        net_cost_local realized_gain_loss realized_gain_loss_local transaction_fx_rate;
    PositionHistory "position_history" 6: portfolio_id security_id transaction_date place_rank
        transaction_id epoch quantity cost_basis cost_basis_local;
    PositionLots "position_lots" 5: portfolio_id security_id transaction_date place_rank
        transaction_id quantity cost cost_local;
    PositionEpochs "position_epochs" 3: portfolio_id security_id epoch from_date;
    Replays "replays" 2: portfolio_id security_id epoch from_date cursor_date cursor_rank
        cursor_transaction_id;
    DailyPositionSnapshots "daily_position_snapshots" 4: portfolio_id security_id date epoch
        revision quantity cost_basis cost_basis_local market_price market_value market_value_local
        unrealized_gain_loss unrealized_gain_loss_local valuation_status;
    InstrumentReprocessingState "instrument_reprocessing_state" 3: subject_kind subject_id
        subject_to earliest_date;
    ReprocessingJobs "reprocessing_jobs" 1: id subject_kind subject_id subject_to date
        cursor_portfolio_id cursor_security_id;
    PortfolioValuationJobs "portfolio_valuation_jobs" 1: id portfolio_ids security_ids epochs
        revisions date_from date_to status attempts lease_until not_before;
    Cashflows "cashflows" 6: portfolio_id security_id transaction_date place_rank transaction_id
        epoch transaction_type amount currency classification timing is_position_flow
        is_portfolio_flow;
    PositionTimeseries "position_timeseries" 4: portfolio_id security_id date epoch revision
        currency market_value bod_market_value bod_cashflow_position eod_cashflow_position
        bod_cashflow_portfolio eod_cashflow_portfolio eod_market_value fees quantity cost;
    PortfolioTimeseries "portfolio_timeseries" 2: portfolio_id date bod_market_value bod_cashflow
        eod_cashflow eod_market_value fees;
    OutboxEvents "outbox_events" 2: id lane topic message_key payload correlation_id;
}

/// The table with that name; none of a table that is not recorded.
pub(super) fn by_name(name: &str) -> Option<&'static TableSpec> {
    TABLES.iter().find(|spec| spec.name == name)
}

/// The table.
pub(super) fn spec_of(table: Table) -> &'static TableSpec {
    TABLES.iter().find(|spec| spec.table == table).expect("every table is recorded")
}
