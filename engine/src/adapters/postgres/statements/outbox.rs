//! The outbox: appended by whoever has news, emptied lane by lane.

use sqlx::{Error, PgConnection, Row as _};

use super::super::columns::outbox_columns;
use super::super::types::{Big, Small};
use super::{Bind, Run, done, rows, sql};
use crate::ports::store::rows::OutboxRow;
use crate::ports::store::statements::{AppendOutbox, DeleteOutbox, ReadOutbox, TakeOutboxLane};

impl Run for AppendOutbox {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
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
        // Lanes that have events are found by hops over the index: most of the lanes that exist
        // are not in use.
        let text = "WITH RECURSIVE waiting AS (
                (SELECT lane FROM outbox_events ORDER BY lane LIMIT 1)
                UNION ALL
                SELECT (SELECT e.lane FROM outbox_events e WHERE e.lane > w.lane
                        ORDER BY e.lane LIMIT 1)
                FROM waiting w WHERE w.lane IS NOT NULL
            ), taken AS MATERIALIZED (
                SELECT l.lane FROM outbox_lanes l
                WHERE l.lane IN (SELECT w.lane FROM waiting w)
                ORDER BY l.served, l.lane LIMIT 1
                FOR UPDATE OF l SKIP LOCKED
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
        let text = "DELETE FROM outbox_events WHERE id = ANY($1)";
        done(sql(text).each(&self.ids, |id| Big(*id)), connection).await
    }
}
