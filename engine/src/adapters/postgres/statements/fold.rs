//! What a fold reads and writes beside timelines: inputs, history, lots, epochs and replays of
//! keys.

use sqlx::{Error, PgConnection};

use super::super::columns::{
    history_columns, instrument_columns, lot_columns, portfolio_columns, replay_columns,
    transaction_columns,
};
use super::super::copy::{MANY, copy};
use super::{Bind, Run, done, rows, sql};
use crate::domain::ids::{Epoch, Key};
use crate::domain::money::Amount;
use crate::domain::records::Place;
use crate::ports::store::rows::{
    EpochRow, HistoryRow, InstrumentRow, LotRow, PortfolioRow, ReplayRow, TransactionRow,
};
use crate::ports::store::statements::{
    DeleteHistory, DeleteLots, DeleteReplays, FindReplays, InsertHistory, PruneEpochs,
    ReadInstruments, ReadLots, ReadPortfolios, ReadReplays, ReadTransactions, ResetLots,
    UpsertEpochs, UpsertLots, UpsertReplays,
};

impl Run for ReadTransactions {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<TransactionRow>, Error> {
        let text = concat!(
            "SELECT ",
            transaction_columns!(),
            " FROM transactions WHERE transaction_id = ANY($1) ORDER BY transaction_id"
        );
        rows(sql(text).each(&self.ids, |id| id), connection).await
    }
}

impl Run for ReadPortfolios {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<PortfolioRow>, Error> {
        let text = concat!(
            "SELECT ",
            portfolio_columns!(),
            " FROM portfolios WHERE portfolio_id = ANY($1) ORDER BY portfolio_id"
        );
        rows(sql(text).each(&self.ids, |id| id), connection).await
    }
}

impl Run for ReadInstruments {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<InstrumentRow>, Error> {
        let text = concat!(
            "SELECT ",
            instrument_columns!(),
            " FROM instruments WHERE security_id = ANY($1) ORDER BY security_id"
        );
        rows(sql(text).each(&self.ids, |id| id), connection).await
    }
}

impl Run for InsertHistory {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        if self.rows.len() >= MANY {
            return copy(connection, &self.rows).await;
        }
        let text = concat!(
            "INSERT INTO position_history (",
            history_columns!(),
            ") SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)"
        );
        let rows = &self.rows;
        let call = sql(text)
            .keys(rows, |row: &HistoryRow| &row.key)
            .places(rows, |row| &row.place)
            .each(rows, |row| row.epoch)
            .positions(rows, |row| &row.position);
        done(call, connection).await
    }
}

impl Run for DeleteHistory {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "WITH r AS MATERIALIZED (
                SELECT * FROM unnest($1, $2, $3, $4) r(portfolio_id, security_id, epoch, start)
            ), flows AS (
                DELETE FROM cashflows c USING r
                WHERE c.portfolio_id = r.portfolio_id AND c.security_id = r.security_id
                    AND c.epoch = r.epoch AND c.transaction_date >= r.start
            )
            DELETE FROM position_history h USING r
            WHERE h.portfolio_id = r.portfolio_id AND h.security_id = r.security_id
                AND h.epoch = r.epoch AND h.transaction_date >= r.start";
        let ranges = &self.ranges;
        let call = sql(text)
            .keys(ranges, |range| &range.0)
            .each(ranges, |range| range.1)
            .each(ranges, |range| range.2.start());
        done(call, connection).await
    }
}

/// Deletes the rows of a table that are not valid any more for `k.epoch`: of which a later epoch of
/// the key has been rebuilt from a date on that is not after theirs. `$at` is the column of that
/// date; where it holds instants, `$instant` makes one of a date.
macro_rules! prune {
    ($table:literal, $at:literal, $instant:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " r USING k
                WHERE r.portfolio_id = k.portfolio AND r.security_id = k.security AND r.",
            $at,
            " >= k.first_cut",
            $instant,
            " AND r.epoch < k.epoch AND EXISTS (SELECT FROM position_epochs x
                    WHERE x.portfolio_id = r.portfolio_id AND x.security_id = r.security_id
                        AND x.epoch > r.epoch AND x.epoch <= k.epoch AND x.from_date",
            $instant,
            " <= r.",
            $at,
            ")"
        )
    };
    ($table:literal by place) => {
        prune!($table, "transaction_date", "::timestamp AT TIME ZONE 'UTC'")
    };
    ($table:literal by date) => {
        prune!($table, "date", "")
    };
}

impl Run for PruneEpochs {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        // The earliest cut bounds what has to be looked at.
        let text = concat!(
            "WITH k AS MATERIALIZED (
                SELECT u.portfolio, u.security, u.epoch, (
                    SELECT min(x.from_date) FROM position_epochs x
                    WHERE x.portfolio_id = u.portfolio AND x.security_id = u.security
                        AND x.epoch <= u.epoch) AS first_cut
                FROM unnest($1, $2, $3) u(portfolio, security, epoch)
            ), history AS (",
            prune!("position_history" by place),
            "), flows AS (",
            prune!("cashflows" by place),
            "), cuts AS (",
            prune!("position_epochs", "from_date", ""),
            "), series AS (",
            prune!("position_timeseries" by date),
            ") ",
            prune!("daily_position_snapshots" by date)
        );
        let call =
            sql(text).keys(&self.keys, |key: &(Key, Epoch)| &key.0).each(&self.keys, |key| key.1);
        done(call, connection).await
    }
}

impl Run for ReadLots {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<LotRow>, Error> {
        // Lot by lot, so that those that are not needed are not touched. A sum over a window would
        // go over all of them.
        let text = concat!(
            "SELECT l.* FROM unnest($1, $2, $3) k(portfolio, security, units)
            CROSS JOIN LATERAL (
                WITH RECURSIVE oldest AS (
                    (SELECT ",
            lot_columns!(),
            ", quantity AS held FROM position_lots
                    WHERE portfolio_id = k.portfolio AND security_id = k.security
                    ORDER BY transaction_date, place_rank, transaction_id LIMIT 1)
                    UNION ALL
                    SELECT n.*, o.held + n.quantity FROM oldest o
                    CROSS JOIN LATERAL (
                        SELECT ",
            lot_columns!(),
            " FROM position_lots
                        WHERE portfolio_id = k.portfolio AND security_id = k.security
                            AND (transaction_date, place_rank, transaction_id)
                                > (o.transaction_date, o.place_rank, o.transaction_id)
                        ORDER BY transaction_date, place_rank, transaction_id LIMIT 1) n
                    WHERE o.held < k.units
                )
                SELECT ",
            lot_columns!(),
            " FROM oldest) l
            ORDER BY l.portfolio_id, l.security_id, l.transaction_date, l.place_rank,
                l.transaction_id"
        );
        let call =
            sql(text).keys(&self.keys, |key: &(Key, Amount)| &key.0).each(&self.keys, |key| key.1);
        rows(call, connection).await
    }
}

impl Run for DeleteLots {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "DELETE FROM position_lots
            WHERE (portfolio_id, security_id, transaction_date, place_rank, transaction_id) IN (
                SELECT * FROM unnest($1, $2, $3, $4, $5))";
        let lots = &self.lots;
        let call = sql(text).keys(lots, |lot| &lot.0).places(lots, |lot: &(_, Place)| &lot.1);
        done(call, connection).await
    }
}

impl Run for ResetLots {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "DELETE FROM position_lots
            WHERE (portfolio_id, security_id) IN (SELECT * FROM unnest($1, $2))";
        done(sql(text).keys(&self.keys, |key| key), connection).await
    }
}

macro_rules! insert_lots {
    ($rest:literal) => {
        concat!(
            "INSERT INTO position_lots (",
            lot_columns!(),
            ") SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)",
            $rest
        )
    };
}

fn bind_lots(text: &'static str, rows: &[LotRow]) -> super::Call {
    sql(text)
        .keys(rows, |row: &LotRow| &row.key)
        .places(rows, |row| &row.lot.opened)
        .each(rows, |row| row.lot.quantity)
        .each(rows, |row| row.lot.cost)
        .each(rows, |row| row.lot.cost_local)
}

impl Run for UpsertLots {
    const STEPS: u32 = 2;

    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        if self.new.len() >= MANY {
            copy(connection, &self.new).await?;
        } else if !self.new.is_empty() {
            done(bind_lots(insert_lots!(""), &self.new), connection).await?;
        }
        if self.rows.is_empty() {
            return Ok(());
        }
        let text = insert_lots!(
            " ON CONFLICT (portfolio_id, security_id, transaction_date, place_rank, transaction_id)
            DO UPDATE SET quantity = excluded.quantity, cost = excluded.cost,
                cost_local = excluded.cost_local"
        );
        done(bind_lots(text, &self.rows), connection).await
    }
}

impl Run for UpsertEpochs {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "WITH r AS MATERIALIZED (
                SELECT * FROM unnest($1, $2, $3, $4) u(portfolio, security, epoch, from_date)
            ), upserted AS (
                INSERT INTO position_epochs AS old (portfolio_id, security_id, epoch, from_date)
                SELECT * FROM r
                ON CONFLICT (portfolio_id, security_id, epoch) DO UPDATE
                SET from_date = LEAST(old.from_date, excluded.from_date)
            )
            DELETE FROM position_epochs p USING r, position_state ps
            WHERE p.portfolio_id = r.portfolio AND p.security_id = r.security
                AND ps.portfolio_id = r.portfolio AND ps.security_id = r.security
                AND p.epoch > ps.served_epoch AND p.epoch < r.epoch
                AND p.from_date >= r.from_date";
        let rows = &self.rows;
        let call = sql(text)
            .keys(rows, |row: &EpochRow| &row.key)
            .each(rows, |row| row.epoch)
            .each(rows, |row| row.from_date);
        done(call, connection).await
    }
}

impl Run for ReadReplays {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<ReplayRow>, Error> {
        let text = concat!(
            "SELECT ",
            replay_columns!(),
            " FROM replays
            WHERE (portfolio_id, security_id) IN (SELECT * FROM unnest($1, $2))
            ORDER BY portfolio_id, security_id"
        );
        rows(sql(text).keys(&self.keys, |key| key), connection).await
    }
}

impl Run for FindReplays {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<Key>, Error> {
        let limit = i64::from(self.limit);
        let call = match &self.after {
            None => sql("SELECT portfolio_id, security_id FROM replays
                ORDER BY portfolio_id, security_id LIMIT $1")
            .bind(limit),
            Some(after) => sql("SELECT portfolio_id, security_id FROM replays
                WHERE (portfolio_id, security_id) > ($1, $2)
                ORDER BY portfolio_id, security_id LIMIT $3")
            .bind(&after.portfolio_id)
            .bind(&after.security_id)
            .bind(limit),
        };
        rows(call, connection).await
    }
}

impl Run for UpsertReplays {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = concat!(
            "INSERT INTO replays (",
            replay_columns!(),
            ") SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (portfolio_id, security_id) DO UPDATE SET
                epoch = excluded.epoch, from_date = excluded.from_date,
                cursor_date = excluded.cursor_date, cursor_rank = excluded.cursor_rank,
                cursor_transaction_id = excluded.cursor_transaction_id"
        );
        let rows = &self.rows;
        let call = sql(text)
            .keys(rows, |row: &ReplayRow| &row.key)
            .each(rows, |row| row.epoch)
            .each(rows, |row| row.from_date)
            .each(rows, |row| row.cursor.as_ref().map(|place| place.at))
            .each(rows, |row| row.cursor.as_ref().map(|place| i16::from(place.rank)))
            .each(rows, |row| row.cursor.as_ref().map(|place| &place.transaction_id));
        done(call, connection).await
    }
}

impl Run for DeleteReplays {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "DELETE FROM replays
            WHERE (portfolio_id, security_id) IN (SELECT * FROM unnest($1, $2))";
        done(sql(text).keys(&self.keys, |key| key), connection).await
    }
}
