//! Topics and positions as an administrator sees them: make, remove, look.
//!
//! Each call has a client of its own and takes bounded time. Nothing outside the prefix of the
//! configuration is ever made or removed.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::config::KafkaConfig;
use super::context::Context;
use super::error::Teller;
use super::names::Names;
use super::offload::{blocking, drop_apart, sleep};
use super::settings::{self, REQUEST};
use crate::domain::messages::DEAD_LETTER_BYTES_MAX;
use crate::ports::log::{LogError, Position, Topic};

/// How long a cluster may take to answer a look.
const LOOK: Duration = Duration::from_secs(5);

/// Events that are looked through for the cause of trouble.
const EVENTS: usize = 20;

/// How often, and with what pause, it is asked whether topics can be used, or are gone.
const LOOKS: u32 = 100;
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// All topics with the partitions that the configuration gives.
pub fn all_topics(config: &KafkaConfig) -> Vec<(Topic, u32)> {
    Topic::ALL.iter().map(|&topic| (topic, config.partitions)).collect()
}

/// Makes the topics that are not there, with so many partitions each, and waits until they can be
/// used; the names of those that were made. A topic that is there stays as it is.
pub async fn create_topics(
    config: &KafkaConfig,
    topics: &[(Topic, u32)],
) -> Result<Vec<String>, LogError> {
    let (names, teller) = (Names::of(config), Teller::of(config));
    ping(config).await?;
    let wanted: Vec<_> =
        topics.iter().map(|&(t, partitions)| (names.topic(t), partitions)).collect();
    let copies = i32::try_from(config.replication_factor).unwrap_or(i32::MAX);
    let letters = (names.topic(Topic::DeadLetters), DEAD_LETTER_BYTES_MAX.to_string());
    let new: Vec<_> = wanted
        .iter()
        .map(|(name, partitions)| {
            let partitions = i32::try_from(*partitions).unwrap_or(i32::MAX);
            let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(copies));
            // A message of the default limit must fit into a letter, quoted.
            if *name == letters.0 { topic.set("max.message.bytes", &letters.1) } else { topic }
        })
        .collect();
    let admin = admin(config, &teller)?;
    let answers = admin.create_topics(&new, &options()).await;
    drop(drop_apart(admin));
    let mut made = Vec::new();
    for answer in answers.map_err(|error| teller.error(&error, None))? {
        match answer {
            Ok(name) => made.push(name),
            Err((_, Code::TopicAlreadyExists)) => {}
            Err((name, code @ (Code::InvalidReplicationFactor | Code::InvalidPartitions))) => {
                return Err(LogError::Refused(format!(
                    "the topic {name} cannot be made with {copies} copies ({code}): set \
                     `replication_factor` to at most the number of brokers, `partitions` to at \
                     least 1"
                )));
            }
            Err((name, code)) => return Err(teller.code(code, None, Some(&name))),
        }
    }
    let wanted: Vec<String> = wanted.into_iter().map(|(name, _)| name).collect();
    usable(config, &wanted).await?;
    Ok(made)
}

/// Removes all topics of the engine under the prefix, and the committed positions of these groups;
/// what is not there is not missed, and waits until nobody is told of them any more. A group that
/// still has members keeps its positions.
pub async fn delete_topics(config: &KafkaConfig, groups: &[&str]) -> Result<(), LogError> {
    let (names, teller) = (Names::of(config), Teller::of(config));
    ping(config).await?;
    let topics: Vec<String> = Topic::ALL.iter().map(|&topic| names.topic(topic)).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let groups: Vec<String> = groups.iter().map(|group| names.group(group)).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let admin = admin(config, &teller)?;
    let answers = admin.delete_topics(&topics, &options()).await;
    let groups = match groups.is_empty() {
        true => Ok(Vec::new()),
        false => admin.delete_groups(&groups, &options()).await,
    };
    drop(drop_apart(admin));
    groups.map_err(|error| teller.error(&error, None))?;
    for answer in answers.map_err(|error| teller.error(&error, None))? {
        match answer {
            Ok(_) | Err((_, Code::UnknownTopicOrPartition)) => {}
            Err((name, code)) => return Err(teller.code(code, None, Some(&name))),
        }
    }
    gone(config, &topics).await
}

/// The names of the engine's topics that are not there.
pub async fn missing_topics(config: &KafkaConfig) -> Result<Vec<String>, LogError> {
    let names = Names::of(config);
    let there = look(config, topic_names).await?;
    let all = Topic::ALL.iter().map(|&topic| names.topic(topic));
    Ok(all.filter(|name| !there.contains(name)).collect())
}

/// Whether a broker answers.
pub async fn ping(config: &KafkaConfig) -> Result<(), LogError> {
    look(config, |_| ()).await
}

/// What a group has committed: of each partition that has a position, the next offset.
pub async fn committed(
    config: &KafkaConfig,
    group: &str,
    topics: &[Topic],
) -> Result<Vec<Position>, LogError> {
    let look = Look::of(config, group, topics);
    let places = blocking(move || look.places()).await?;
    let position = |(topic, partition, committed, _, _): Place| {
        Some(Position { topic, partition, next_offset: committed? })
    };
    Ok(places.into_iter().filter_map(position).collect())
}

/// How many records of their topics the groups have not committed.
pub async fn lag(config: &KafkaConfig, groups: &[(&str, &[Topic])]) -> Result<u64, LogError> {
    let looks: Vec<_> =
        groups.iter().map(|(group, topics)| Look::of(config, group, topics)).collect();
    blocking(move || {
        let mut lag = 0;
        for look in looks {
            for (_, _, committed, low, high) in look.places()? {
                lag += high - committed.unwrap_or(low).clamp(low, high);
            }
        }
        Ok(lag)
    })
    .await
}

/// Topic, partition, what is committed, first and next offset of the partition.
type Place = (Topic, u32, Option<u64>, u64, u64);

/// A look at the positions of a group.
struct Look {
    config: KafkaConfig,
    group: String,
    topics: Vec<Topic>,
}

impl Look {
    fn of(config: &KafkaConfig, group: &str, topics: &[Topic]) -> Self {
        Self { config: config.clone(), group: group.to_owned(), topics: topics.to_vec() }
    }

    /// Blocks.
    fn places(&self) -> Result<Vec<Place>, LogError> {
        let (names, teller) = (Names::of(&self.config), Teller::of(&self.config));
        let client = client(&settings::onlooker(&self.config, &self.group), &teller)?;
        let mut list = TopicPartitionList::new();
        let mut ends = Vec::new();
        for &topic in &self.topics {
            let name = names.topic(topic);
            let told = client.fetch_metadata(Some(&name), LOOK);
            let told = told.map_err(|error| explain(&client, &teller, &error))?;
            for partition in told.topics().iter().flat_map(|topic| topic.partitions()) {
                let (low, high) = client
                    .fetch_watermarks(&name, partition.id(), LOOK)
                    .map_err(|error| explain(&client, &teller, &error))?;
                list.add_partition(&name, partition.id());
                ends.push((topic, partition.id(), low, high));
            }
        }
        if ends.is_empty() {
            return Ok(Vec::new());
        }
        let committed = client.committed_offsets(list, REQUEST);
        let committed = committed.map_err(|error| explain(&client, &teller, &error))?;
        let count = |offset: i64| u64::try_from(offset).unwrap_or(0);
        let place = |(topic, partition, low, high): (Topic, i32, i64, i64)| {
            let found = committed.find_partition(&names.topic(topic), partition);
            let offset = found.and_then(|element| match element.offset() {
                Offset::Offset(offset) => Some(count(offset)),
                _ => None,
            });
            (topic, partition.unsigned_abs(), offset, count(low), count(high))
        };
        Ok(ends.into_iter().map(place).collect())
    }
}

type LookClient = BaseConsumer<Context>;

fn client(settings: &ClientConfig, teller: &Teller) -> Result<LookClient, LogError> {
    let context = Context::new(Names::of(&KafkaConfig::default()));
    settings.create_with_context(context).map_err(|error| teller.error(&error, None))
}

/// An error with its cause, which waits to be taken as an event.
fn explain(client: &LookClient, teller: &Teller, error: &KafkaError) -> LogError {
    for _ in 0..EVENTS {
        // None is also what an event answers that is no error.
        drop(client.poll(Duration::ZERO));
    }
    teller.error(error, client.context().reason().as_deref())
}

/// Looks at the cluster's metadata.
async fn look<T: Send + 'static>(
    config: &KafkaConfig,
    at: impl FnOnce(&Metadata) -> T + Send + 'static,
) -> Result<T, LogError> {
    let (settings, teller) = (settings::admin(config), Teller::of(config));
    blocking(move || {
        let client = client(&settings, &teller)?;
        let told = client.fetch_metadata(None, LOOK);
        told.map(|told| at(&told)).map_err(|error| explain(&client, &teller, &error))
    })
    .await
}

/// Topics whose partitions all have a leader.
fn topic_names(metadata: &Metadata) -> Vec<String> {
    let led = |topic: &&rdkafka::metadata::MetadataTopic| {
        topic.error().is_none() && topic.partitions().iter().all(|p| p.leader() >= 0)
    };
    metadata.topics().iter().filter(led).map(|topic| topic.name().to_owned()).collect()
}

/// Waits until all these topics are known and have leaders.
async fn usable(config: &KafkaConfig, topics: &[String]) -> Result<(), LogError> {
    if told(config, |there| topics.iter().all(|name| there.contains(name))).await? {
        return Ok(());
    }
    let topics = topics.join(", ");
    Err(LogError::Disconnected(format!("new topics have no leaders yet: {topics}")))
}

/// Waits until brokers have heard that topics were deleted: the answer to that comes before.
async fn gone(config: &KafkaConfig, topics: &[&str]) -> Result<(), LogError> {
    let is_left = |name: &String| topics.contains(&name.as_str());
    if told(config, |there| !there.iter().any(is_left)).await? {
        return Ok(());
    }
    let (brokers, topics) = (&config.bootstrap_servers, topics.join(", "));
    Err(LogError::Disconnected(format!(
        "{brokers} still tell of deleted topics after {} s: {topics}; see that all brokers are up, \
         and delete what is left",
        (LOOK_PAUSE * LOOKS).as_secs()
    )))
}

/// Waits until the topics that brokers tell of are as they should be; whether they were in time.
async fn told(config: &KafkaConfig, is_so: impl Fn(&[String]) -> bool) -> Result<bool, LogError> {
    for _ in 0..LOOKS {
        if is_so(&look(config, topic_names).await?) {
            return Ok(true);
        }
        sleep(LOOK_PAUSE).await;
    }
    Ok(false)
}

fn admin(
    config: &KafkaConfig,
    teller: &Teller,
) -> Result<AdminClient<DefaultClientContext>, LogError> {
    settings::admin(config).create().map_err(|error| teller.error(&error, None))
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST)).operation_timeout(Some(REQUEST))
}
