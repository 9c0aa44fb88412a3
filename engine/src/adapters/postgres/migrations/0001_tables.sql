-- All tables of the engine, unqualified: the session's search_path says in which schema they are.
--
-- Texts that are part of an order are COLLATE "C", numbers have no precision (what is stored has at
-- most 18 digits before and 10 after the point), and no hot table has a foreign key.

CREATE SEQUENCE outbox_id;
CREATE SEQUENCE job_id;
CREATE SEQUENCE lane_served;

-- What persistence stores. ---------------------------------------------------------------------

CREATE TABLE transactions (
    transaction_id text COLLATE "C" PRIMARY KEY,
    portfolio_id text COLLATE "C" NOT NULL,
    security_id text COLLATE "C" NOT NULL,
    instrument_id text COLLATE "C" NOT NULL,
    transaction_date timestamptz NOT NULL,
    transaction_type text NOT NULL,
    quantity numeric NOT NULL,
    price numeric NOT NULL,
    gross_transaction_amount numeric NOT NULL,
    trade_fee numeric NOT NULL,
    accrued_interest numeric NOT NULL,
    calculation_policy_id text,
    trade_currency text COLLATE "C" NOT NULL,
    currency text COLLATE "C" NOT NULL,
    settlement_date text,
    source_version bigint NOT NULL,
    correlation_id text
);
-- The fan-out of a rate asks which trade currencies a key has.
CREATE INDEX transactions_trade_currency
    ON transactions (portfolio_id, security_id, trade_currency);

CREATE TABLE market_prices (
    security_id text COLLATE "C" NOT NULL,
    price_date date NOT NULL,
    price numeric NOT NULL,
    currency text COLLATE "C" NOT NULL,
    source_version bigint NOT NULL,
    PRIMARY KEY (security_id, price_date)
);
CREATE INDEX market_prices_currency ON market_prices (security_id, currency);

CREATE TABLE fx_rates (
    from_currency text COLLATE "C" NOT NULL,
    to_currency text COLLATE "C" NOT NULL,
    rate_date date NOT NULL,
    rate numeric NOT NULL,
    source_version bigint NOT NULL,
    PRIMARY KEY (from_currency, to_currency, rate_date)
);

CREATE TABLE portfolios (
    portfolio_id text COLLATE "C" PRIMARY KEY,
    base_currency text COLLATE "C" NOT NULL,
    open_date text NOT NULL,
    cost_basis_method text NOT NULL,
    source_version bigint NOT NULL
);

CREATE TABLE instruments (
    security_id text COLLATE "C" PRIMARY KEY,
    currency text COLLATE "C" NOT NULL,
    product_type text NOT NULL,
    source_version bigint NOT NULL
);

CREATE TABLE calendars (
    calendar_code text COLLATE "C" PRIMARY KEY
);
COMMENT ON TABLE calendars IS 'A row to lock per calendar.';

CREATE TABLE business_dates (
    calendar_code text COLLATE "C" NOT NULL,
    business_date date NOT NULL,
    PRIMARY KEY (calendar_code, business_date)
);

-- What the engine knows about a key. -----------------------------------------------------------

-- Updated all the time: room on each page and no index on anything that changes keep updates on
-- their page (HOT), which is five times as fast.
CREATE TABLE position_state (
    portfolio_id text COLLATE "C" NOT NULL,
    security_id text COLLATE "C" NOT NULL,
    epoch integer NOT NULL,
    revision bigint NOT NULL,
    watermark_date date NOT NULL,
    valued_through date,
    status text NOT NULL,
    served_epoch integer NOT NULL,
    input_version bigint NOT NULL,
    base_currency text COLLATE "C",
    cost_basis_method text,
    quantity numeric NOT NULL,
    cost_basis numeric NOT NULL,
    cost_basis_local numeric NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (portfolio_id, security_id)
) WITH (fillfactor = 50);
CREATE INDEX position_state_security ON position_state (security_id, portfolio_id);
COMMENT ON COLUMN position_state.base_currency IS
    'What the newest history is folded with; null as long as the portfolio is not known.';

CREATE TABLE position_timeline (
    portfolio_id text COLLATE "C" NOT NULL,
    security_id text COLLATE "C" NOT NULL,
    transaction_date timestamptz NOT NULL,
    place_rank smallint NOT NULL,
    transaction_id text COLLATE "C" NOT NULL,
    transaction_type text NOT NULL,
    quantity numeric NOT NULL,
    price numeric NOT NULL,
    gross_transaction_amount numeric NOT NULL,
    trade_fee numeric NOT NULL,
    accrued_interest numeric NOT NULL,
    calculation_policy_id text,
    trade_currency text COLLATE "C" NOT NULL,
    currency text COLLATE "C" NOT NULL,
    correlation_id text,
    applied boolean,
    park_reason text,
    fx_numerator numeric,
    fx_numerator_2 numeric,
    fx_denominator numeric,
    fx_denominator_2 numeric,
    gross_cost numeric,
    net_cost numeric,
    net_cost_local numeric,
    realized_gain_loss numeric,
    realized_gain_loss_local numeric,
    transaction_fx_rate numeric,
    PRIMARY KEY (portfolio_id, security_id, transaction_date, place_rank, transaction_id),
    CONSTRAINT position_timeline_transaction_id_key
        UNIQUE (portfolio_id, security_id, transaction_id)
);
-- Counted every few seconds; few are ever parked.
CREATE INDEX position_timeline_parked ON position_timeline (park_reason)
    WHERE park_reason IS NOT NULL;
COMMENT ON COLUMN position_timeline.applied IS
    'Null: not folded yet. False: parked, for park_reason.';
COMMENT ON COLUMN position_timeline.fx_numerator IS
    'The rate that it was folded with is the quotient of two products, never rounded; a second factor of one is null.';

CREATE TABLE position_history (
    portfolio_id text COLLATE "C" NOT NULL,
    security_id text COLLATE "C" NOT NULL,
    transaction_date timestamptz NOT NULL,
    place_rank smallint NOT NULL,
    transaction_id text COLLATE "C" NOT NULL,
    epoch integer NOT NULL,
    quantity numeric NOT NULL,
    cost_basis numeric NOT NULL,
    cost_basis_local numeric NOT NULL,
    PRIMARY KEY (portfolio_id, security_id, transaction_date, place_rank, transaction_id, epoch)
);

CREATE TABLE position_lots (
    portfolio_id text COLLATE "C" NOT NULL,
    security_id text COLLATE "C" NOT NULL,
    transaction_date timestamptz NOT NULL,
    place_rank smallint NOT NULL,
    transaction_id text COLLATE "C" NOT NULL,
    quantity numeric NOT NULL,
    cost numeric NOT NULL,
    cost_local numeric NOT NULL,
    PRIMARY KEY (portfolio_id, security_id, transaction_date, place_rank, transaction_id)
);
COMMENT ON TABLE position_lots IS
    'Open lots by the place of the transaction that opened them; an AVCO pool is at 0001-01-01.';

CREATE TABLE position_epochs (
    portfolio_id text COLLATE "C" NOT NULL,
    security_id text COLLATE "C" NOT NULL,
    epoch integer NOT NULL,
    from_date date NOT NULL,
    PRIMARY KEY (portfolio_id, security_id, epoch)
);
COMMENT ON TABLE position_epochs IS
    'Rows of an epoch are valid only for dates before the from_date of every later one.';

CREATE TABLE replays (
    portfolio_id text COLLATE "C" NOT NULL,
    security_id text COLLATE "C" NOT NULL,
    epoch integer NOT NULL,
    from_date date NOT NULL,
    cursor_date timestamptz,
    cursor_rank smallint,
    cursor_transaction_id text COLLATE "C",
    PRIMARY KEY (portfolio_id, security_id)
);

-- A job deletes its range and copies it anew, so no other index.
CREATE TABLE daily_position_snapshots (
    portfolio_id text COLLATE "C" NOT NULL,
    security_id text COLLATE "C" NOT NULL,
    date date NOT NULL,
    epoch integer NOT NULL,
    revision bigint NOT NULL,
    quantity numeric NOT NULL,
    cost_basis numeric NOT NULL,
    cost_basis_local numeric NOT NULL,
    market_price numeric,
    market_value numeric,
    market_value_local numeric,
    unrealized_gain_loss numeric,
    unrealized_gain_loss_local numeric,
    valuation_status text NOT NULL,
    PRIMARY KEY (portfolio_id, security_id, date, epoch)
);

-- Pending work. --------------------------------------------------------------------------------

CREATE TABLE instrument_reprocessing_state (
    subject_kind smallint NOT NULL,
    subject_id text COLLATE "C" NOT NULL,
    subject_to text COLLATE "C" NOT NULL,
    earliest_date date NOT NULL,
    PRIMARY KEY (subject_kind, subject_id, subject_to)
);
COMMENT ON COLUMN instrument_reprocessing_state.subject_kind IS
    '0: a security; 1: the rate of a pair; 2: the calendar; 3: a portfolio';

CREATE TABLE reprocessing_jobs (
    id bigint PRIMARY KEY,
    subject_kind smallint NOT NULL,
    subject_id text COLLATE "C" NOT NULL,
    subject_to text COLLATE "C" NOT NULL,
    date date NOT NULL,
    cursor_portfolio_id text COLLATE "C",
    cursor_security_id text COLLATE "C",
    visited bigint NOT NULL DEFAULT 0
);
CREATE INDEX reprocessing_jobs_visited ON reprocessing_jobs (visited, id);

-- A finished job has no row. The arrays say what is in the job; the table of keys is their index.
CREATE TABLE portfolio_valuation_jobs (
    id bigint PRIMARY KEY,
    portfolio_ids text[] NOT NULL,
    security_ids text[] NOT NULL,
    epochs integer[] NOT NULL,
    revisions bigint[] NOT NULL,
    date_from date NOT NULL,
    date_to date NOT NULL,
    status text NOT NULL,
    attempts integer NOT NULL,
    lease_until timestamptz,
    not_before timestamptz NOT NULL
);
CREATE INDEX portfolio_valuation_jobs_open ON portfolio_valuation_jobs (id)
    WHERE status IN ('PENDING', 'WAITING');
CREATE INDEX portfolio_valuation_jobs_processing ON portfolio_valuation_jobs (id)
    WHERE status = 'PROCESSING';

CREATE TABLE portfolio_valuation_job_keys (
    portfolio_id text COLLATE "C" NOT NULL,
    security_id text COLLATE "C" NOT NULL,
    job_id bigint NOT NULL,
    epoch integer NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (portfolio_id, security_id, job_id)
);
COMMENT ON TABLE portfolio_valuation_job_keys IS
    'Written together with portfolio_valuation_jobs only: which jobs hold a key.';

CREATE TABLE outbox_events (
    id bigint PRIMARY KEY DEFAULT nextval('outbox_id'),
    lane integer NOT NULL CHECK (lane BETWEEN 0 AND 1023),
    topic text NOT NULL,
    message_key text COLLATE "C" NOT NULL,
    payload text NOT NULL,
    correlation_id text
);
CREATE INDEX outbox_events_lane ON outbox_events (lane, id);

-- All lanes are there from the start: a transaction that inserted its lane would wait for the
-- dispatcher that holds it.
CREATE TABLE outbox_lanes (
    lane integer PRIMARY KEY,
    served bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO outbox_lanes (lane) SELECT generate_series(0, 1023);
