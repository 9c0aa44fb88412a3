-- Cash flows of what was applied, and series of what was valued, before there were any: the news may
-- have left the topics long ago.

-- Nobody takes a row of the history away meanwhile; what is added brings its own news.
LOCK TABLE position_history IN SHARE ROW EXCLUSIVE MODE;

-- As `cashflow-calculator` writes them: of the rows that are valid for the newest epoch of the key, by
-- the terms in its timeline. What an open replay has still to rebuild, it sends news of.
INSERT INTO cashflows (portfolio_id, security_id, transaction_date, place_rank, transaction_id,
    epoch, transaction_type, amount, currency, classification, timing, is_position_flow,
    is_portfolio_flow)
SELECT h.portfolio_id, h.security_id, h.transaction_date, h.place_rank, h.transaction_id,
    h.epoch, t.transaction_type,
    rule.sign * (t.gross_transaction_amount + rule.sign_of_fee * t.trade_fee), t.currency,
    rule.classification, rule.timing, true, rule.is_portfolio_flow
FROM position_history h
JOIN position_state s USING (portfolio_id, security_id)
JOIN position_timeline t
    USING (portfolio_id, security_id, transaction_date, place_rank, transaction_id)
JOIN (VALUES
    ('BUY', -1, 1, 'INVESTMENT_OUTFLOW', 'BOD', false),
    ('SELL', 1, -1, 'INVESTMENT_INFLOW', 'EOD', false),
    ('TRANSFER_IN', 1, -1, 'TRANSFER', 'BOD', true),
    ('TRANSFER_OUT', -1, -1, 'TRANSFER', 'EOD', true),
    ('DEPOSIT', 1, -1, 'CASHFLOW_IN', 'BOD', true),
    ('WITHDRAWAL', -1, -1, 'CASHFLOW_OUT', 'EOD', true),
    ('FEE', -1, 1, 'EXPENSE', 'EOD', true),
    ('TAX', -1, -1, 'EXPENSE', 'EOD', false),
    ('DIVIDEND', 1, -1, 'INCOME', 'EOD', false),
    ('INTEREST', 1, -1, 'INCOME', 'EOD', false)
) rule(transaction_type, sign, sign_of_fee, classification, timing, is_portfolio_flow)
    USING (transaction_type)
WHERE h.epoch <= s.epoch AND NOT EXISTS (SELECT FROM position_epochs x
    WHERE x.portfolio_id = h.portfolio_id AND x.security_id = h.security_id
        AND x.epoch > h.epoch AND x.epoch <= s.epoch
        AND x.from_date::timestamp AT TIME ZONE 'UTC' <= h.transaction_date)
ORDER BY h.portfolio_id, h.security_id, h.transaction_date, h.place_rank, h.transaction_id
ON CONFLICT DO NOTHING;

-- Series are made from news of snapshots, in whatever order that comes.
INSERT INTO outbox_events (lane, topic, message_key, payload)
SELECT 0, 'daily_position_snapshot_persisted', s.portfolio_id,
    json_build_object('portfolio_id', s.portfolio_id, 'security_id', s.security_id,
        'date', d.first, 'epoch', s.epoch, 'revision', s.revision, 'date_to', d.last)::text
FROM position_state s
JOIN (SELECT portfolio_id, security_id, min(date) AS first, max(date) AS last
    FROM daily_position_snapshots GROUP BY portfolio_id, security_id) d
    USING (portfolio_id, security_id)
ORDER BY s.portfolio_id, s.security_id;
