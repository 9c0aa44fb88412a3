//! The witness of the log: every record of the run's topics, and what groups have committed.
//!
//! It reads all partitions itself, as a member of no group, so that it disturbs nobody.
//!
//! # Invariants
//! - Records of a partition come in the order of their offsets, each once.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::adapters::kafka::config::KafkaConfig;
use backdate_engine::ports::log::{Headers, Position, Record, Topic};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use smol_str::SmolStr;

use crate::runner::stage::GROUPS;

/// How long a broker may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a record that is there may take to arrive.
const ARRIVAL: Duration = Duration::from_millis(20);

/// A partition.
pub(super) type Place = (Topic, u32);
/// The first offset of each partition that has no record yet.
pub(super) type Ends = BTreeMap<Place, u64>;

/// A record and when its producer made it, in milliseconds since 1970.
pub(super) struct Seen {
    pub(super) made_ms: i64,
    pub(super) record: Rc<Record>,
}

/// A consumer group that is watched.
struct Group {
    name: &'static str,
    topics: &'static [Topic],
    consumer: BaseConsumer,
}

/// Names of the topics that there are.
pub(super) fn topics(config: &KafkaConfig) -> Result<Vec<String>, String> {
    let looker = consumer(config, &format!("{}witness", config.prefix))?;
    let metadata = looker.fetch_metadata(None, ANSWER).map_err(text)?;
    Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
}

/// The witness of the log.
pub(super) struct Witness {
    prefix: String,
    places: Vec<Place>,
    consumer: BaseConsumer,
    groups: Vec<Group>,
    /// The next offset of each partition that is to be read.
    read: Ends,
    /// What each group has committed.
    committed: BTreeMap<(&'static str, Place), u64>,
}

impl Witness {
    /// Begins to watch topics that have no records yet.
    pub(super) fn start(
        config: &KafkaConfig,
        partitions: impl Iterator<Item = (Topic, u32)>,
    ) -> Result<Self, String> {
        let places: Vec<Place> =
            partitions.flat_map(|(topic, count)| (0..count).map(move |p| (topic, p))).collect();
        let groups = GROUPS.iter().map(|(name, topics)| {
            let group = format!("{}{name}", config.prefix);
            Ok(Group { name, topics, consumer: consumer(config, &group)? })
        });
        let witness = Self {
            prefix: config.prefix.clone(),
            consumer: consumer(config, &format!("{}witness", config.prefix))?,
            groups: groups.collect::<Result<_, String>>()?,
            read: places.iter().map(|place| (*place, 0)).collect(),
            committed: BTreeMap::new(),
            places,
        };
        let all = witness.list(witness.places.iter().copied(), Offset::Beginning)?;
        witness.consumer.assign(&all).map_err(text)?;
        Ok(witness)
    }

    fn list(
        &self,
        places: impl Iterator<Item = Place>,
        offset: Offset,
    ) -> Result<TopicPartitionList, String> {
        let mut list = TopicPartitionList::new();
        for (topic, partition) in places {
            let name = format!("{}{topic}", self.prefix);
            list.add_partition_offset(&name, partition.cast_signed(), offset).map_err(text)?;
        }
        Ok(list)
    }

    fn topic_of(&self, name: &str) -> Option<Topic> {
        Topic::parse(name.strip_prefix(&self.prefix)?)
    }

    /// Where the partitions end now.
    pub(super) fn ends(&self) -> Result<Ends, String> {
        // As a time, the offset that stands for the end asks for the end.
        let asked = self.list(self.places.iter().copied(), Offset::End)?;
        let answered = self.consumer.offsets_for_times(asked, ANSWER).map_err(text)?;
        let mut ends = Ends::new();
        for element in answered.elements() {
            element.error().map_err(text)?;
            let topic = self.topic_of(element.topic());
            let topic = topic.ok_or_else(|| format!("no topic {}", element.topic()))?;
            let Offset::Offset(end) = element.offset() else {
                return Err(format!("{}: its end is {:?}", element.topic(), element.offset()));
            };
            ends.insert((topic, element.partition().cast_unsigned()), end.cast_unsigned());
        }
        Ok(ends)
    }

    /// Reads all records up to the ends; how many polls may come back empty before it gives up is
    /// a matter of seconds.
    pub(super) fn read_to(&mut self, ends: &Ends) -> Result<Vec<Seen>, String> {
        let mut seen = Vec::new();
        let mut empty = 0;
        while ends.iter().any(|(place, end)| self.read[place] < *end) {
            match self.consumer.poll(ARRIVAL) {
                Some(Ok(message)) => {
                    empty = 0;
                    let taken = self.seen(&message)?;
                    let record = &taken.record;
                    self.read.insert((record.topic, record.partition), record.offset + 1);
                    seen.push(taken);
                }
                // A broker that is away is waited for.
                Some(Err(_)) | None => empty += 1,
            }
            if empty > 100 {
                self.return_unread(&seen);
                return Err("records that are there do not arrive".into());
            }
        }
        Ok(seen)
    }

    /// What was read in vain is read again.
    fn return_unread(&mut self, seen: &[Seen]) {
        for Seen { record, .. } in seen.iter().rev() {
            let place = (record.topic, record.partition);
            self.read.insert(place, record.offset);
            let name = format!("{}{}", self.prefix, record.topic);
            let offset = Offset::Offset(record.offset.cast_signed());
            // If it fails, the offsets do not fit and the next poll says so.
            let _ = self.consumer.seek(&name, record.partition.cast_signed(), offset, ANSWER);
        }
    }

    fn seen(&self, message: &BorrowedMessage<'_>) -> Result<Seen, String> {
        let topic = self.topic_of(message.topic());
        let topic = topic.ok_or_else(|| format!("no topic {}", message.topic()))?;
        let partition = message.partition().cast_unsigned();
        let offset = message.offset().cast_unsigned();
        if self.read[&(topic, partition)] > offset {
            return Err(format!("{topic}[{partition}] goes back to {offset}"));
        }
        let header = |name: &str| {
            let headers = message.headers()?;
            let found = headers.iter().find(|header| header.key == name)?;
            Some(SmolStr::new(String::from_utf8_lossy(found.value?)))
        };
        let record = Record {
            topic,
            partition,
            offset,
            key: SmolStr::new(String::from_utf8_lossy(message.key().unwrap_or_default())),
            value: message.payload().unwrap_or_default().to_vec(),
            headers: Headers {
                correlation_id: header("correlation_id"),
                producer: header("producer"),
            },
        };
        Ok(Seen { made_ms: message.timestamp().to_millis().unwrap_or(0), record: Rc::new(record) })
    }

    /// Positions that groups have committed since the last time.
    pub(super) fn commits(&mut self) -> Result<Vec<(&'static str, Vec<Position>)>, String> {
        let mut news = Vec::new();
        for group in &self.groups {
            let places = self.places.iter().copied();
            let own = places.filter(|(topic, _)| group.topics.contains(topic));
            let asked = self.list(own, Offset::Invalid)?;
            let answered = group.consumer.committed_offsets(asked, ANSWER).map_err(text)?;
            let mut positions = Vec::new();
            for element in answered.elements() {
                let Some(topic) = self.topic_of(element.topic()) else { continue };
                let Offset::Offset(next) = element.offset() else { continue };
                let (partition, next_offset) =
                    (element.partition().cast_unsigned(), next.cast_unsigned());
                let known = self.committed.insert((group.name, (topic, partition)), next_offset);
                if known != Some(next_offset) {
                    positions.push(Position { topic, partition, next_offset });
                }
            }
            if !positions.is_empty() {
                news.push((group.name, positions));
            }
        }
        Ok(news)
    }

    /// Records up to the ends that groups have not committed: of all topics, and of raw topics.
    pub(super) fn lag(&self, ends: &Ends) -> (u64, u64) {
        let (mut all, mut raw) = (0, 0);
        for (number, (name, topics)) in GROUPS.iter().enumerate() {
            for (place, end) in ends.iter().filter(|((topic, _), _)| topics.contains(topic)) {
                let done = self.committed.get(&(name, *place)).copied().unwrap_or(0);
                let left = end.saturating_sub(done);
                all += left;
                if number == 0 {
                    raw += left;
                }
            }
        }
        (all, raw)
    }
}

fn consumer(config: &KafkaConfig, group: &str) -> Result<BaseConsumer, String> {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.bootstrap_servers);
    client.set("group.id", group);
    client.set("client.id", "backdate-witness");
    client.set("enable.auto.commit", "false");
    client.set("enable.auto.offset.store", "false");
    client.set("auto.offset.reset", "error");
    client.set("fetch.wait.max.ms", "50");
    client.set("reconnect.backoff.max.ms", "500");
    client.set("log_level", "0");
    for (name, value) in &config.properties {
        client.set(name, value.reveal());
    }
    client.create().map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
