//! The columns of each row type, in the order in which rows are read and written.
//!
//! They are macros, so that the text of a statement is put together when it is compiled.

macro_rules! lists {
    ($($name:ident = $columns:literal;)+) => {
        lists!(@each ($) $($name = $columns;)+);
    };
    (@each ($dollar:tt) $($name:ident = $columns:literal;)+) => {
        $(macro_rules! $name { () => { $columns }; }
        pub(super) use $name;)+
    };
}

lists! {
    transaction_columns = "transaction_id, portfolio_id, security_id, instrument_id, \
        settlement_date, transaction_date, transaction_type, quantity, price, \
        gross_transaction_amount, trade_fee, accrued_interest, calculation_policy_id, \
        trade_currency, currency, source_version, correlation_id";
    price_columns = "security_id, price_date, price, currency, source_version";
    rate_columns = "from_currency, to_currency, rate_date, rate, source_version";
    portfolio_columns =
        "portfolio_id, base_currency, open_date, cost_basis_method, source_version";
    instrument_columns = "security_id, currency, product_type, source_version";
    state_columns = "portfolio_id, security_id, epoch, revision, watermark_date, valued_through, \
        status, served_epoch, input_version, base_currency, cost_basis_method, quantity, \
        cost_basis, cost_basis_local, updated_at";
    timeline_columns = "portfolio_id, security_id, transaction_date, place_rank, transaction_id, \
        transaction_type, quantity, price, gross_transaction_amount, trade_fee, \
        accrued_interest, calculation_policy_id, trade_currency, currency, correlation_id, \
        applied, park_reason, fx_numerator, fx_numerator_2, fx_denominator, fx_denominator_2, \
        gross_cost, net_cost, net_cost_local, realized_gain_loss, realized_gain_loss_local, \
        transaction_fx_rate";
    timeline_place_columns =
        "portfolio_id, security_id, transaction_date, place_rank, transaction_id";
    timeline_rate_columns = "portfolio_id, security_id, transaction_date, place_rank, \
        transaction_id, trade_currency, fx_numerator, fx_numerator_2, fx_denominator, \
        fx_denominator_2";
    history_columns = "portfolio_id, security_id, transaction_date, place_rank, transaction_id, \
        epoch, quantity, cost_basis, cost_basis_local";
    lot_columns = "portfolio_id, security_id, transaction_date, place_rank, transaction_id, \
        quantity, cost, cost_local";
    replay_columns = "portfolio_id, security_id, epoch, from_date, cursor_date, cursor_rank, \
        cursor_transaction_id";
    snapshot_columns = "portfolio_id, security_id, date, epoch, revision, quantity, cost_basis, \
        cost_basis_local, market_price, market_value, market_value_local, \
        unrealized_gain_loss, unrealized_gain_loss_local, valuation_status";
    fan_out_columns = "id, subject_kind, subject_id, subject_to, date, cursor_portfolio_id, \
        cursor_security_id";
    job_columns = "id, portfolio_ids, security_ids, epochs, revisions, date_from, date_to, \
        status, attempts, lease_until, not_before";
    cashflow_columns = "portfolio_id, security_id, transaction_date, place_rank, transaction_id, \
        epoch, transaction_type, amount, currency, classification, timing, is_position_flow, \
        is_portfolio_flow";
    position_series_columns = "portfolio_id, security_id, date, epoch, revision, currency, \
        market_value, bod_market_value, bod_cashflow_position, eod_cashflow_position, \
        bod_cashflow_portfolio, eod_cashflow_portfolio, eod_market_value, fees, quantity, cost";
    portfolio_series_columns = "portfolio_id, date, bod_market_value, bod_cashflow, eod_cashflow, \
        eod_market_value, fees";
    outbox_columns = "id, lane, topic, message_key, payload, correlation_id";
}
