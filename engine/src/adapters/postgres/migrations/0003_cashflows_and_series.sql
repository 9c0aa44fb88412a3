-- Cash flows of applied transactions.

-- A row stands beside the row of position_history with the same key, and goes with it.
CREATE TABLE cashflows (
    portfolio_id text COLLATE "C" NOT NULL,
    security_id text COLLATE "C" NOT NULL,
    transaction_date timestamptz NOT NULL,
    place_rank smallint NOT NULL,
    transaction_id text COLLATE "C" NOT NULL,
    epoch integer NOT NULL,
    transaction_type text NOT NULL,
    amount numeric NOT NULL,
    currency text COLLATE "C" NOT NULL,
    classification text NOT NULL,
    timing text NOT NULL,
    is_position_flow boolean NOT NULL,
    is_portfolio_flow boolean NOT NULL,
    PRIMARY KEY (portfolio_id, security_id, transaction_date, place_rank, transaction_id, epoch)
);
COMMENT ON COLUMN cashflows.transaction_date IS
    'Its UTC date is the cashflow_date; with place_rank and transaction_id the place in the timeline.';
COMMENT ON COLUMN cashflows.amount IS 'Net of or with the fee: calculation_type NET.';

-- Time series. Nothing writes these tables yet.

-- A row stands for the row of daily_position_snapshots with the same key, date and epoch.
CREATE TABLE position_timeseries (
    portfolio_id text COLLATE "C" NOT NULL,
    security_id text COLLATE "C" NOT NULL,
    date date NOT NULL,
    epoch integer NOT NULL,
    revision bigint NOT NULL,
    currency text COLLATE "C" NOT NULL,
    market_value numeric NOT NULL,
    bod_market_value numeric NOT NULL,
    bod_cashflow_position numeric NOT NULL,
    eod_cashflow_position numeric NOT NULL,
    bod_cashflow_portfolio numeric NOT NULL,
    eod_cashflow_portfolio numeric NOT NULL,
    eod_market_value numeric NOT NULL,
    fees numeric NOT NULL,
    quantity numeric NOT NULL,
    cost numeric,
    PRIMARY KEY (portfolio_id, security_id, date, epoch)
);
COMMENT ON COLUMN position_timeseries.market_value IS
    'At the end of the day, in base currency: what the portfolio sums up.';

CREATE TABLE portfolio_timeseries (
    portfolio_id text COLLATE "C" NOT NULL,
    date date NOT NULL,
    bod_market_value numeric NOT NULL,
    bod_cashflow numeric NOT NULL,
    eod_cashflow numeric NOT NULL,
    eod_market_value numeric NOT NULL,
    fees numeric NOT NULL,
    PRIMARY KEY (portfolio_id, date)
);
