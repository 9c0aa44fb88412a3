//! Timelines of keys: read by identity, from both ends and in chunks; upserted whole.

use sqlx::{Error, PgConnection};

use super::super::cells::{Cells, Read, rate};
use super::super::columns::{timeline_columns, timeline_place_columns, timeline_rate_columns};
use super::super::copy::{MANY, copy};
use super::{Bind, Run, done, rows, sql};
use crate::domain::ids::Key;
use crate::domain::records::Place;
use crate::ports::store::rows::TimelineRow;
use crate::ports::store::statements::{
    DeleteTimeline, ReadTimelineChunks, ReadTimelineEntries, ReadTimelineHeads, ReadTimelineRates,
    ReadTimelineTails, TimelineRate, UpsertTimeline,
};

impl Run for ReadTimelineEntries {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<TimelineRow>, Error> {
        let text = concat!(
            "SELECT ",
            timeline_columns!(),
            " FROM position_timeline
            WHERE (portfolio_id, security_id, transaction_id) IN (
                SELECT * FROM unnest($1, $2, $3))
            ORDER BY portfolio_id, security_id, transaction_id"
        );
        let call = sql(text).keys(&self.ids, |id| &id.0).each(&self.ids, |id| &id.1);
        rows(call, connection).await
    }
}

/// The first rows of each key of `$1, $2` in an order, in the order of the keys.
macro_rules! of_each_key {
    ($columns:ident, $more:literal, $condition:literal, $order:literal) => {
        concat!(
            "SELECT t.* FROM unnest($1, $2",
            $more,
            "CROSS JOIN LATERAL (
                SELECT ",
            $columns!(),
            " FROM position_timeline
                WHERE portfolio_id = k.portfolio AND security_id = k.security",
            $condition,
            " ORDER BY ",
            $order,
            ") t ORDER BY k.number, t.transaction_date, t.place_rank, t.transaction_id"
        )
    };
}

impl Read for (Key, Place) {
    fn read(cells: &mut Cells<'_>) -> Result<Self, Error> {
        Ok((cells.row()?, cells.row()?))
    }
}

impl Run for ReadTimelineTails {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<(Key, Place)>, Error> {
        let text = of_each_key!(
            timeline_place_columns,
            ") WITH ORDINALITY k(portfolio, security, number) ",
            "",
            "transaction_date DESC, place_rank DESC, transaction_id DESC LIMIT 1"
        );
        rows(sql(text).keys(&self.keys, |key| key), connection).await
    }
}

impl Run for ReadTimelineHeads {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<TimelineRow>, Error> {
        let text = of_each_key!(
            timeline_columns,
            ") WITH ORDINALITY k(portfolio, security, number) ",
            "",
            "transaction_date, place_rank, transaction_id LIMIT 1"
        );
        rows(sql(text).keys(&self.keys, |key| key), connection).await
    }
}

impl Run for ReadTimelineChunks {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<TimelineRow>, Error> {
        let text = of_each_key!(
            timeline_columns,
            ", $3, $4, $5) WITH ORDINALITY k(portfolio, security, at, rank, id, number) ",
            " AND (transaction_date, place_rank, transaction_id)
                > (COALESCE(k.at, '-infinity'), COALESCE(k.rank, 0), COALESCE(k.id, ''))",
            "transaction_date, place_rank, transaction_id LIMIT $6"
        );
        let ranges = &self.ranges;
        let call = sql(text)
            .keys(ranges, |range| &range.0)
            .each(ranges, |range| range.1.as_ref().map(|place| place.at))
            .each(ranges, |range| range.1.as_ref().map(|place| i16::from(place.rank)))
            .each(ranges, |range| range.1.as_ref().map(|place| &place.transaction_id))
            .bind(i64::from(self.limit));
        rows(call, connection).await
    }
}

impl Read for TimelineRate {
    fn read(cells: &mut Cells<'_>) -> Result<Self, Error> {
        Ok(Self {
            key: cells.row()?,
            place: cells.row()?,
            trade_currency: cells.take()?,
            fx: rate(cells)?,
        })
    }
}

impl Run for ReadTimelineRates {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<TimelineRate>, Error> {
        let text = of_each_key!(
            timeline_rate_columns,
            ", $3) WITH ORDINALITY k(portfolio, security, start, number) ",
            " AND transaction_date >= k.start AND applied IS NOT NULL",
            "transaction_date, place_rank, transaction_id"
        );
        let call = sql(text).keys(&self.keys, |key| &key.0).each(&self.keys, |key| key.1.start());
        rows(call, connection).await
    }
}

impl Run for DeleteTimeline {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "DELETE FROM position_timeline
            WHERE (portfolio_id, security_id, transaction_date, place_rank, transaction_id) IN (
                SELECT * FROM unnest($1, $2, $3, $4, $5))";
        let call = sql(text).keys(&self.places, |row| &row.0).places(&self.places, |row| &row.1);
        done(call, connection).await
    }
}

/// Numbers of the twenty-seven columns.
macro_rules! insert_timeline {
    ($rest:literal) => {
        concat!(
            "INSERT INTO position_timeline (",
            timeline_columns!(),
            ") SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,
                $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27)",
            $rest
        )
    };
}

fn bind_timeline(text: &'static str, rows: &[TimelineRow]) -> super::Call {
    sql(text)
        .keys(rows, |row: &TimelineRow| &row.key)
        .places(rows, |row| &row.place)
        .terms(rows, |row| &row.terms)
        .each(rows, |row| row.correlation_id.as_deref())
        .outcomes(rows, |row| row.outcome.as_ref())
}

impl Run for UpsertTimeline {
    const STEPS: u32 = 2;

    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        if self.new.len() >= MANY {
            copy(connection, &self.new).await?;
        } else if !self.new.is_empty() {
            done(bind_timeline(insert_timeline!(""), &self.new), connection).await?;
        }
        if self.rows.is_empty() {
            return Ok(());
        }
        let text = insert_timeline!(
            " ON CONFLICT (portfolio_id, security_id, transaction_date, place_rank, transaction_id)
            DO UPDATE SET
                transaction_type = excluded.transaction_type, quantity = excluded.quantity,
                price = excluded.price,
                gross_transaction_amount = excluded.gross_transaction_amount,
                trade_fee = excluded.trade_fee, accrued_interest = excluded.accrued_interest,
                calculation_policy_id = excluded.calculation_policy_id,
                trade_currency = excluded.trade_currency, currency = excluded.currency,
                correlation_id = excluded.correlation_id, applied = excluded.applied,
                park_reason = excluded.park_reason, fx_numerator = excluded.fx_numerator,
                fx_numerator_2 = excluded.fx_numerator_2,
                fx_denominator = excluded.fx_denominator,
                fx_denominator_2 = excluded.fx_denominator_2,
                gross_cost = excluded.gross_cost, net_cost = excluded.net_cost,
                net_cost_local = excluded.net_cost_local,
                realized_gain_loss = excluded.realized_gain_loss,
                realized_gain_loss_local = excluded.realized_gain_loss_local,
                transaction_fx_rate = excluded.transaction_fx_rate"
        );
        done(bind_timeline(text, &self.rows), connection).await
    }
}
