//! A follower: asks the leaders of its partitions for what it does not have.
//!
//! Follows KIP-101 and KIP-279 in the form that followers use since Kafka 2.7: a fetch names the
//! epoch of the last record, and an answer says where the logs part; from there on the follower
//! cuts its own off, and takes the leader's.

use super::super::link::Link;
use super::super::wire::{
    ReplicaNews, ReplicaPosition, Replicated, Request, Response, decode, encode,
};
use super::super::{Place, millis};
use super::Broker;

impl Broker {
    /// Follows another broker in all partitions that it leads, for ever.
    pub(super) async fn follow(&self, leader: u32) {
        let timings = self.cluster.spec.timings;
        let mut link = Link::new(self.process.clone(), leader);
        loop {
            let from = self.followed(leader);
            if from.is_empty() {
                self.process.sleep(millis(timings.broker_heartbeat_ms)).await;
                continue;
            }
            let wait_ms = timings.fetch_wait_ms;
            let broker_epoch = self.process.incarnation();
            let request = Request::Replicate { follower: self.id, broker_epoch, wait_ms, from };
            let frame = encode(&request);
            let patience = millis(wait_ms + timings.request_ms);
            match link.call(&frame, patience).await {
                Ok(answer) => match decode(&answer) {
                    Response::Replicated(news) => {
                        news.iter().for_each(|news| self.take_over(leader, news));
                    }
                    other => unreachable!("{other:?} to a follower"),
                },
                Err(_) => self.process.sleep(millis(timings.retry_min_ms)).await,
            }
        }
    }

    /// The partitions that a broker leads and this one follows.
    fn followed(&self, leader: u32) -> Vec<ReplicaPosition> {
        let places = self.cluster.disk.places_of(self.id).into_iter();
        let position = |place: Place| {
            let leadership = self.cluster.controller.leadership(place);
            if leadership.leader != Some(leader) {
                return None;
            }
            self.cluster.disk.with_replica(place, self.id, |replica| {
                let offset = replica.log.end();
                ReplicaPosition {
                    topic: place.0,
                    partition: place.1,
                    leader_epoch: leadership.epoch,
                    offset,
                    last_epoch: replica.log.epoch_before(offset),
                }
            })
        };
        places.filter_map(position).collect()
    }

    /// Does what the leader says, unless there is another leader by now.
    fn take_over(&self, leader: u32, news: &Replicated<'_>) {
        let place = (news.topic, news.partition);
        let leadership = self.cluster.controller.leadership(place);
        if leadership.leader != Some(leader) || leadership.epoch != news.leader_epoch {
            return;
        }
        self.cluster.disk.with_replica(place, self.id, |replica| match &news.news {
            ReplicaNews::Fenced => {}
            ReplicaNews::OutOfRange { start } => replica.restart(*start),
            ReplicaNews::Diverging { epoch, end } => {
                let own = replica.log.end_of_epoch(*epoch).map_or(replica.log.start(), |own| own.1);
                replica.truncate(own.min(*end));
            }
            ReplicaNews::Records { high, start, marks, records } => {
                let end = replica.log.end();
                if marks.first().is_none_or(|mark| mark.offset == end) {
                    replica.log.copy(place, marks, records);
                }
                replica.high = replica.high.max((*high).min(replica.log.end()));
                replica.log.delete_before(*start);
            }
        });
    }
}
