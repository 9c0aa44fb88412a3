//! What a broker does without being asked: heartbeats, replicas, flushes, retention.

use std::rc::Rc;

use super::super::log::Retention;
use super::super::{Place, millis};
use super::Broker;

impl Broker {
    /// Begins with it. A broker that has no other replicas and keeps everything has none.
    pub(super) fn take_up_duty(self: &Rc<Self>) {
        let spec = &self.cluster.spec;
        if !self.is_replicated() && !spec.retains() {
            return;
        }
        if self.is_replicated() {
            self.cluster.disk.recover(self.id);
            let epoch = self.process.incarnation();
            self.cluster.controller.register(self.id, epoch, self.process.now());
            for leader in (1..=spec.brokers).filter(|leader| *leader != self.id) {
                let follower = self.clone();
                self.process.spawn(async move { follower.follow(leader).await });
            }
        }
        let broker = self.clone();
        self.process.spawn(async move { broker.do_duty().await });
    }

    async fn do_duty(&self) {
        let timings = self.cluster.spec.timings;
        let mut flushed_at = self.process.now();
        loop {
            self.process.sleep(millis(timings.broker_heartbeat_ms)).await;
            let now = self.process.now();
            if self.is_replicated() {
                self.cluster.controller.heartbeat(self.id, now);
                self.resign_what_has_moved();
                if now.since(flushed_at) >= millis(timings.flush_ms) {
                    self.cluster.disk.flush(self.id);
                    flushed_at = now;
                }
            }
            for place in self.cluster.disk.places_of(self.id) {
                if !self.leads(place) {
                    continue;
                }
                if self.is_replicated() {
                    self.shrink(place);
                    self.advance(place);
                }
                if self.cluster.spec.retains() {
                    self.retain(place);
                }
            }
        }
    }

    /// Deletes what is below an offset, as far as it is acknowledged; false if it has none.
    pub(in super::super) fn delete_records(&self, place: Place, before: u64) -> bool {
        let deleted = self.cluster.disk.with_replica(place, self.id, |replica| {
            let below = before.min(self.visible_end(replica));
            replica.log.delete_before(below);
        });
        deleted.is_some()
    }

    /// Deletes what is too old or too much (`retention.ms`, `retention.bytes`); followers do the
    /// same when they hear of the leader's log start.
    fn retain(&self, place: Place) {
        let spec = &self.cluster.spec;
        let now_ms = self.process.now().0 / 1_000_000;
        let since_ms = spec.retention_ms.map(|kept| now_ms.saturating_sub(kept));
        let retention = Retention { since_ms, bytes: spec.retention_bytes };
        self.cluster.disk.with_replica(place, self.id, |replica| {
            let below = self.visible_end(replica);
            replica.log.retain(below, retention);
        });
    }
}
