//! The outbox: appended by whoever has news, emptied lane by lane.

use sqlx::{Error, PgConnection, Row as _};

use super::super::columns::outbox_columns;
use super::super::copy::{MANY, copy};
use super::super::types::{Big, Small};
use super::{Bind, Run, done, rows, sql};
use crate::ports::store::rows::OutboxRow;
use crate::ports::store::statements::{AppendOutbox, DeleteOutbox, ReadOutbox, TakeOutboxLane};

impl Run for AppendOutbox {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        if self.rows.len() >= MANY {
            return copy(connection, &self.rows).await;
        }
        let text =
            "INSERT INTO outbox_events (id, lane, topic, message_key, payload, correlation_id)
            SELECT nextval('outbox_id'), r.*
            FROM unnest($1, $2, $3, $4, $5) r(lane, topic, message_key, payload, correlation_id)";
        let rows = &self.rows;
        let call = sql(text)
            .each(rows, |row: &OutboxRow| Small(row.lane))
            .each(rows, |row| row.topic.as_str())
            .each(rows, |row| row.key.as_str())
            .each(rows, |row| row.payload.as_str())
            .each(rows, |row| row.correlation_id.as_deref());
        done(call, connection).await
    }
}

impl Run for TakeOutboxLane {
    async fn run(self, connection: &mut PgConnection) -> Result<Option<u32>, Error> {
        // In front of the events of a lane are those that were deleted a moment ago, which each
        // look at the lane from its beginning passes, thousands in a storm: whether there are any
        // is asked from the end. The lanes that have been served are tried in turn, and the first
        // one that has events and is free ends the search. Lanes beyond them, most of which are
        // not in use, are found by hops over the index.
        let text = "WITH RECURSIVE used AS MATERIALIZED (
                SELECT COALESCE(max(lane), -1) AS last FROM outbox_lanes WHERE served > 0
            ), beyond AS (
                (SELECT e.lane FROM outbox_events e WHERE e.lane > (SELECT last FROM used)
                    ORDER BY e.lane LIMIT 1)
                UNION ALL
                SELECT (SELECT e.lane FROM outbox_events e WHERE e.lane > b.lane
                        ORDER BY e.lane LIMIT 1)
                FROM beyond b WHERE b.lane IS NOT NULL
            ), taken AS MATERIALIZED (
                SELECT free.lane
                FROM (SELECT lane FROM outbox_lanes
                    WHERE lane <= (SELECT last FROM used)
                        OR lane IN (SELECT b.lane FROM beyond b)
                    ORDER BY served, lane OFFSET 0) turn
                CROSS JOIN LATERAL (SELECT l.lane FROM outbox_lanes l WHERE l.lane = turn.lane
                    FOR UPDATE SKIP LOCKED) free
                WHERE (SELECT e.id FROM outbox_events e WHERE e.lane = turn.lane
                    ORDER BY e.id DESC LIMIT 1) IS NOT NULL
                LIMIT 1
            )
            UPDATE outbox_lanes l SET served = nextval('lane_served')
            FROM taken WHERE l.lane = taken.lane RETURNING l.lane";
        let row = sql(text).fetch_optional(connection).await?;
        row.map(|row| row.try_get::<Small, _>(0).map(|lane| lane.0)).transpose()
    }
}

impl Run for ReadOutbox {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<OutboxRow>, Error> {
        let text = concat!(
            "SELECT ",
            outbox_columns!(),
            " FROM outbox_events WHERE lane = $1 ORDER BY id LIMIT $2"
        );
        let call = sql(text).bind(Small(self.lane)).bind(i64::from(self.limit));
        rows(call, connection).await
    }
}

impl Run for DeleteOutbox {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        // They lie one after another: one walk over the index from the first to the last of them,
        // which `+ 0` keeps from becoming a look-up of each.
        let text = "DELETE FROM outbox_events
            WHERE lane = $1 AND id BETWEEN $2 AND $3 AND id + 0 = ANY($4)";
        let bound = |id: Option<&u64>| Big(id.copied().unwrap_or_default());
        let call = sql(text)
            .bind(Small(self.lane))
            .bind(bound(self.ids.iter().min()))
            .bind(bound(self.ids.iter().max()))
            .each(&self.ids, |id| Big(*id));
        done(call, connection).await
    }
}
