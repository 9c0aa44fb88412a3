-- An event is found by its lane and its number and by nothing else: one index less to write.

ALTER TABLE outbox_events DROP CONSTRAINT outbox_events_pkey, ADD PRIMARY KEY (lane, id);
DROP INDEX outbox_events_lane;
