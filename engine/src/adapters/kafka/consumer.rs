//! A member of a consumer group.
//!
//! librdkafka reads ahead in its own threads; its queue is emptied without blocking, inside polls
//! only, so rebalances happen there and nowhere else. Seeks, pauses and resumptions wait for the
//! next poll, because librdkafka may take a moment over them.
//!
//! # Invariants
//! - Records are delivered of partitions that the member has, and of no partition whose seek is not
//!   done yet.
//! - Within one assignment a gap between two offsets is asked for again once before it is believed:
//!   a seek that went astray must not skip records.
//! - A position is committed only of a partition that the member has had since its last poll;
//!   librdkafka itself would commit any, under its newest generation.
//! - A partition that cannot be read holds up nobody else, and nothing of it is skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::types::RDKafkaErrorCode as Code;
use smol_str::SmolStr;

use super::calls::{self, Inner};
use super::config::KafkaConfig;
use super::context::{Context, Place};
use super::error::Teller;
use super::names::Names;
use super::offload::{blocking, drop_apart, now, within};
use super::settings;
use super::unreadable::{self, Complaints};
use crate::ports::log::{LogConsumer, LogError, Position, Record, Topic};

/// How long leaving may hold up the caller; it goes on in the background.
const LEAVE: Duration = Duration::from_secs(5);

/// A member of a group.
pub struct Consumer {
    names: Names,
    teller: Teller,
    /// There until the member leaves.
    inner: Option<Arc<Inner>>,
    fetch_wait: Duration,
    max_poll: Duration,
    polled_at: Instant,
    /// The assignment that the lanes belong to.
    generation: u64,
    lanes: BTreeMap<Place, Lane>,
    /// The partitions that librdkafka holds back. It goes on to do so for one that is taken away
    /// and comes back.
    held_back: BTreeSet<Place>,
    /// Of partitions that cannot be read.
    complaints: Complaints,
}

/// An assigned partition.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    /// The offset that is expected next.
    next: Option<u64>,
    /// A gap before this offset was asked for again.
    doubted: Option<u64>,
    /// Read from there on, as soon as possible.
    seek: Option<u64>,
    is_paused: bool,
}

impl Consumer {
    /// Joins a group whose topics are all there.
    pub(super) async fn join(
        config: &KafkaConfig,
        client_id: &str,
        group: &str,
        topics: &[Topic],
    ) -> Result<Self, LogError> {
        let (names, teller) = (Names::of(config), Teller::of(config));
        let settings = settings::consumer(config, client_id, group);
        let max_poll = settings::max_poll(&settings);
        let inner = settings.create_with_context(Context::new(names.clone()));
        let inner: Inner = inner.map_err(|error| teller.error(&error, None))?;
        let inner = Arc::new(inner);
        let topics: Vec<String> = topics.iter().map(|&topic| names.topic(topic)).collect();
        let consumer = Self {
            names,
            teller: teller.clone(),
            inner: Some(inner.clone()),
            fetch_wait: Duration::from_millis(u64::from(config.fetch_wait_ms)),
            max_poll,
            polled_at: now(),
            generation: 0,
            lanes: BTreeMap::new(),
            held_back: BTreeSet::new(),
            complaints: Complaints::default(),
        };
        // Dropped by an early return, the member leaves without having joined.
        blocking(move || calls::subscribe(&inner, &topics, &teller)).await?;
        Ok(consumer)
    }

    fn inner(&self) -> &Arc<Inner> {
        self.inner.as_ref().expect("a member has its client until it leaves")
    }

    /// The partitions that it has now, in order.
    pub fn assignment(&self) -> impl Iterator<Item = (Topic, u32)> + use<> {
        self.inner().context().assigned().into_iter()
    }

    /// Takes note of a change of the assignment; whether there was one.
    fn is_rebalanced(&mut self) -> bool {
        let generation = self.inner().context().generation();
        if generation == self.generation {
            return false;
        }
        self.generation = generation;
        let places = self.inner().context().assigned();
        self.lanes = places.into_iter().map(|place| (place, Lane::default())).collect();
        self.complaints = Complaints::default();
        true
    }

    /// Tells librdkafka of seeks, pauses and resumptions. What it cannot do now stays to be done.
    async fn steer(&mut self) {
        let (mut seeks, mut pauses, mut resumes) = (Vec::new(), Vec::new(), Vec::new());
        for (&place, lane) in &self.lanes {
            if let Some(offset) = lane.seek {
                seeks.push((place.0, place.1, offset));
            }
            match (lane.is_paused, self.held_back.contains(&place)) {
                (true, false) => pauses.push((place.0, place.1, 0)),
                (false, true) => resumes.push((place.0, place.1, 0)),
                _ => {}
            }
        }
        if seeks.is_empty() && pauses.is_empty() && resumes.is_empty() {
            return;
        }
        let (inner, names) = (self.inner().clone(), self.names.clone());
        let lists = [&seeks, &pauses, &resumes].map(|places| calls::list(&names, places));
        let (sought, is_paused, is_resumed) = blocking(move || {
            let [seeks, pauses, resumes] = lists;
            // The seek comes first: a pause keeps the position that it finds.
            let sought = calls::seek(&inner, &names, seeks);
            let is_paused = pauses.count() > 0 && inner.pause(&pauses).is_ok();
            let is_resumed = resumes.count() > 0 && inner.resume(&resumes).is_ok();
            (sought, is_paused, is_resumed)
        })
        .await;
        for (topic, partition, offset) in seeks {
            if sought.contains(&(topic, partition))
                && let Some(lane) = self.lanes.get_mut(&(topic, partition))
            {
                lane.seek = None;
                lane.next = Some(offset);
            }
        }
        if is_paused {
            self.held_back.extend(pauses.iter().map(|&(topic, partition, _)| (topic, partition)));
        }
        if is_resumed {
            for (topic, partition, _) in resumes {
                self.held_back.remove(&(topic, partition));
            }
        }
    }

    /// What is wrong with a poll that a person or a caller must know of; the rest passes.
    fn complaint(&mut self, error: &KafkaError) -> Option<LogError> {
        let reason = self.inner().context().reason();
        let reason = reason.as_deref();
        match (error, error.rdkafka_error_code()?) {
            // This client will never read again; another one may.
            (KafkaError::MessageConsumptionFatal(_), _) => Some(LogError::Fenced),
            (_, Code::AllBrokersDown | Code::Authentication | Code::SSL) => {
                Some(self.teller.error(error, reason))
            }
            (_, Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed) => {
                Some(self.teller.error(error, reason))
            }
            (_, Code::UnknownTopicOrPartition | Code::UnknownTopic) => {
                Some(self.teller.error(error, reason))
            }
            (_, code) if unreadable::is_lasting(code) => {
                // It is told by a later poll: records that were taken are not to be lost by it.
                let complaint = self.unreadable(code, reason.unwrap_or("no cause is given"));
                self.complaints.add(complaint, now());
                None
            }
            // librdkafka tries again, and a member that was too slow joins again.
            _ => None,
        }
    }

    /// What is told of a partition that cannot be read.
    fn unreadable(&mut self, code: Code, reason: &str) -> String {
        let offset = unreadable::offset(reason);
        let stuck = |lane: &Lane| lane.seek.is_none() && lane.next.is_some() && lane.next == offset;
        let unknown = |lane: &Lane| lane.next.is_none();
        let those = |lanes: &BTreeMap<Place, Lane>, is_one: &dyn Fn(&Lane) -> bool| -> Vec<Place> {
            let found = lanes.iter().filter(|(_, lane)| is_one(lane));
            found.map(|(&place, _)| place).collect()
        };
        let mut places = those(&self.lanes, &stuck);
        if places.is_empty() {
            places = those(&self.lanes, &unknown);
        }
        if places.is_empty() {
            places = self.lanes.keys().copied().collect();
        }
        for place in &places {
            // A gap behind what cannot be read is none that may be believed.
            if let Some(lane) = self.lanes.get_mut(place) {
                lane.doubted = None;
            }
        }
        unreadable::text(&self.names, &places, code, reason)
    }

    /// Adds a record, unless the partition is gone, is paused, or is read elsewhere by now.
    fn add(&mut self, message: &BorrowedMessage<'_>, records: &mut Vec<Record>) {
        let Some(topic) = self.names.parse(message.topic()) else { return };
        let (Ok(partition), Ok(offset)) =
            (u32::try_from(message.partition()), u64::try_from(message.offset()))
        else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(&(topic, partition)) else { return };
        if lane.is_paused {
            // It came before the pause took effect, and is read again after it.
            lane.seek = lane.seek.or(lane.next).or(Some(offset));
        }
        if lane.seek.is_some() {
            return;
        }
        if let Some(next) = lane.next
            && offset > next
            && lane.doubted != Some(next)
        {
            lane.doubted = Some(next);
            lane.seek = Some(next);
            return;
        }
        lane.next = Some(offset + 1);
        let key = message.key().unwrap_or_default();
        records.push(Record {
            topic,
            partition,
            offset,
            key: SmolStr::new(String::from_utf8_lossy(key)),
            value: message.payload().unwrap_or_default().to_vec(),
            headers: calls::headers(message),
        });
    }

    /// Takes what librdkafka gave; gives back what the caller must know of.
    fn take(
        &mut self,
        given: Result<BorrowedMessage<'_>, KafkaError>,
        records: &mut Vec<Record>,
    ) -> Result<(), LogError> {
        if self.is_rebalanced() {
            records.clear();
        }
        match given {
            Ok(message) => self.add(&message, records),
            Err(error) => {
                if let Some(complaint) = self.complaint(&error) {
                    return Err(complaint);
                }
            }
        }
        Ok(())
    }
}

impl LogConsumer for Consumer {
    async fn poll(&mut self, max: usize) -> Result<Vec<Record>, LogError> {
        let inner = self.inner().clone();
        let begun = now();
        self.polled_at = begun;
        self.is_rebalanced();
        if let Some(complaint) = self.complaints.next(begun) {
            return Err(LogError::Unreadable(complaint));
        }
        self.steer().await;
        let mut records = Vec::new();
        let mut silence = None;
        while records.len() < max.max(1) {
            let given = match calls::given_at_once(&inner).await {
                Some(given) => Some(given),
                None if !records.is_empty() || silence.is_some() => None,
                None => {
                    let wait = (begun + self.fetch_wait).saturating_duration_since(now());
                    within(wait, inner.recv()).await
                }
            };
            let Some(given) = given else { break };
            match self.take(given, &mut records) {
                Ok(()) => {}
                // Records that were taken are not to be lost by it, and of many complaints in a
                // row, which tell of one silence, one is enough: each costs a pause.
                Err(error @ LogError::Disconnected(_)) => silence = Some(error),
                Err(error) => return Err(error),
            }
            if records.is_empty() && now().saturating_duration_since(begun) > self.fetch_wait {
                break;
            }
        }
        // A rebalance without a record behind it.
        if self.is_rebalanced() {
            records.clear();
        }
        if !records.is_empty() {
            self.inner().context().forget();
        }
        match silence {
            Some(error) if records.is_empty() => Err(error),
            _ => Ok(records),
        }
    }

    async fn commit(&mut self, positions: &[Position]) -> Result<(), LogError> {
        if positions.is_empty() {
            return Ok(());
        }
        let inner = self.inner().clone();
        let has = |p: &Position| self.lanes.contains_key(&(p.topic, p.partition));
        if inner.context().generation() != self.generation
            || !positions.iter().all(has)
            || inner.assignment_lost()
            || now().saturating_duration_since(self.polled_at) >= self.max_poll
        {
            return Err(LogError::Fenced);
        }
        let places: Vec<_> =
            positions.iter().map(|p| (p.topic, p.partition, p.next_offset)).collect();
        let list = calls::list(&self.names, &places);
        let answer = blocking(move || {
            let answer = inner.commit(&list, CommitMode::Sync);
            if answer.is_ok() {
                inner.context().forget();
            }
            (answer, inner.context().reason())
        });
        let (answer, reason) = answer.await;
        match answer {
            Ok(()) => Ok(()),
            // Offsets of a group without a member of that name or generation.
            Err(KafkaError::ConsumerCommit(Code::NoOffset | Code::State)) => Err(LogError::Fenced),
            Err(error) => Err(self.teller.error(&error, reason.as_deref())),
        }
    }

    fn seek(&mut self, position: Position) {
        if let Some(lane) = self.lanes.get_mut(&(position.topic, position.partition)) {
            lane.seek = Some(position.next_offset);
        }
    }

    fn pause(&mut self, places: &[(Topic, u32)]) {
        for place in places {
            if let Some(lane) = self.lanes.get_mut(place) {
                lane.is_paused = true;
            }
        }
    }

    fn resume(&mut self, places: &[(Topic, u32)]) {
        for place in places {
            if let Some(lane) = self.lanes.get_mut(place) {
                lane.is_paused = false;
            }
        }
    }

    async fn close(mut self) {
        if let Some(inner) = self.inner.take() {
            // A broker that is gone misses the member after its session.
            let _ = within(LEAVE, drop_apart(inner)).await;
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            drop(drop_apart(inner));
        }
    }
}
