//! The log port on a real broker: what a consumer, a producer and an administrator may rely on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use backdate_engine::adapters::kafka::config::KafkaConfig;
use backdate_engine::adapters::kafka::{Client, Consumer, admin};
use backdate_engine::adapters::secret::Secret;
use backdate_engine::ports::log::{
    Headers, Log, LogConsumer, LogError, LogProducer, NewRecord, Position, Record, Topic,
};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::services::{FreshPrefix, Private, Services};

const TOPIC: Topic = Topic::RawTransactions;
const GROUP: &str = "readers";

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    tokio::task::LocalSet::new().block_on(&runtime.expect("a runtime can be built"), test);
}

/// A broker with topics of one test.
async fn bench(partitions: u32) -> (FreshPrefix, Client) {
    bench_on(Services::get().fresh_prefix(), partitions).await
}

async fn bench_on(prefix: FreshPrefix, partitions: u32) -> (FreshPrefix, Client) {
    let topics: Vec<_> = Topic::ALL.iter().map(|&topic| (topic, partitions)).collect();
    let made = admin::create_topics(prefix.config(), &topics).await.expect("the broker answers");
    assert_eq!(made.len(), Topic::ALL.len());
    let client = Client::new(prefix.config(), "test-1");
    (prefix, client)
}

fn new(key: &str, number: usize) -> NewRecord {
    let value = number.to_string().into_bytes();
    NewRecord { topic: TOPIC, key: key.into(), value, headers: Headers::default() }
}

async fn produce(client: &Client, records: Vec<NewRecord>) {
    let mut producer = client.producer().await.expect("a producer is lazy");
    producer.send(records).await.expect("the broker answers");
}

/// Numbers spread over 20 keys.
fn numbers(range: std::ops::Range<usize>) -> Vec<NewRecord> {
    range.map(|number| new(&format!("P{}", number % 20), number)).collect()
}

fn number(record: &Record) -> usize {
    std::str::from_utf8(&record.value).expect("written so").parse().expect("written so")
}

async fn join(client: &Client) -> Consumer {
    client.consumer(GROUP, &[TOPIC]).await.expect("the topic is there")
}

/// Polls until so many records are there; panics after half a minute.
async fn read(consumer: &mut Consumer, count: usize) -> Vec<Record> {
    let begun = now();
    let mut records = Vec::new();
    while records.len() < count {
        assert!(begun.elapsed() < Duration::from_secs(30), "{} of {count}", records.len());
        records.extend(consumer.poll(500).await.expect("the broker answers"));
    }
    records
}

/// Polls until each of these numbers was read, however often; panics after half a minute.
async fn read_all(consumer: &mut Consumer, numbers: std::ops::Range<usize>) {
    let mut missing: BTreeSet<_> = numbers.collect();
    let begun = now();
    while !missing.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(30), "without {missing:?}");
        for record in consumer.poll(500).await.expect("the broker answers") {
            missing.remove(&number(&record));
        }
    }
}

/// Polls both until the partitions are split evenly.
async fn share(one: &mut Consumer, other: &mut Consumer, partitions: usize) {
    let begun = now();
    while one.assignment().count() + other.assignment().count() != partitions
        || one.assignment().count() != other.assignment().count()
    {
        assert!(begun.elapsed() < Duration::from_secs(40), "the group does not settle");
        one.poll(1).await.expect("the broker answers");
        other.poll(1).await.expect("the broker answers");
    }
}

fn ends(records: &[Record]) -> Vec<Position> {
    let end = |record: &Record| ((record.topic, record.partition), record.offset + 1);
    let ends: BTreeMap<_, _> = records.iter().map(end).collect();
    ends.into_iter()
        .map(|((topic, partition), next_offset)| Position { topic, partition, next_offset })
        .collect()
}

#[allow(clippy::disallowed_methods, reason = "a real broker answers in real time")]
fn now() -> Clock {
    Clock(Instant::now())
}

struct Clock(Instant);

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "a real broker answers in real time")]
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[allow(clippy::disallowed_methods, reason = "a real broker answers in real time")]
async fn sleep(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

fn assert_ordered(records: &[Record]) {
    let mut last: BTreeMap<&str, (u32, u64, usize)> = BTreeMap::new();
    for record in records {
        let this = (record.partition, record.offset, number(record));
        if let Some(before) = last.insert(&record.key, this) {
            assert_eq!(before.0, this.0, "one key, one partition");
            assert!(before.1 < this.1 && before.2 < this.2, "{before:?} {this:?}");
        }
    }
}

#[test]
fn records_of_a_key_keep_their_order_across_batches_and_producers() {
    run(async {
        let (_prefix, client) = bench(4).await;
        produce(&client, numbers(0..10_000)).await;
        produce(&client, numbers(10_000..10_500)).await;
        let mut consumer = join(&client).await;
        let records = read(&mut consumer, 10_500).await;
        assert_ordered(&records);
        let all: BTreeSet<usize> = records.iter().map(number).collect();
        assert_eq!((all.len(), records.len()), (10_500, 10_500));
        let partitions: BTreeSet<u32> = records.iter().map(|r| r.partition).collect();
        assert_eq!(partitions.len(), 4);
        consumer.close().await;
    });
}

#[test]
fn keys_go_where_the_java_client_sends_them() {
    run(async {
        let (_prefix, client) = bench(4).await;
        // From the tests of org.apache.kafka.common.utils.Utils.
        let expected = [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("abc", 479_470_107),
        ];
        let keys = expected.iter().map(|(key, _)| new(key, 0)).collect();
        produce(&client, keys).await;
        let mut consumer = join(&client).await;
        let found: BTreeMap<_, _> =
            read(&mut consumer, 4).await.into_iter().map(|r| (r.key, r.partition)).collect();
        for (key, hash) in expected {
            assert_eq!(murmur2(key.as_bytes()), hash as u32 & 0x7fff_ffff, "{key}");
            assert_eq!(found[key], murmur2(key.as_bytes()) % 4, "{key}");
        }
        consumer.close().await;
    });
}

/// Kafka's murmur2, as its specification has it, made positive.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ data.len() as u32;
    let (chunks, rest) = data.as_chunks::<4>();
    for chunk in chunks {
        let mut k = u32::from_le_bytes(*chunk).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ (hash >> 15)) & 0x7fff_ffff
}

#[test]
fn headers_and_bytes_travel_as_they_are() {
    run(async {
        let (_prefix, client) = bench(1).await;
        let headers = Headers {
            correlation_id: Some("c-1".into()),
            producer: Some("outbox-dispatcher-2".into()),
        };
        let value = vec![0, 159, 146, 150];
        let sent = NewRecord { topic: TOPIC, key: "P/ü".into(), value, headers };
        produce(&client, vec![sent.clone(), new("", 7)]).await;
        let mut consumer = join(&client).await;
        let records = read(&mut consumer, 2).await;
        let got = &records[0];
        assert_eq!((&got.key, &got.value, &got.headers), (&sent.key, &sent.value, &sent.headers));
        assert_eq!((records[1].key.as_str(), &records[1].headers), ("", &Headers::default()));
        consumer.close().await;
    });
}

#[test]
fn reading_goes_on_after_what_was_committed() {
    run(async {
        let (prefix, client) = bench(2).await;
        let topics: &[(&str, &[Topic])] = &[(GROUP, &[TOPIC])];
        produce(&client, numbers(0..100)).await;
        assert_eq!(admin::lag(prefix.config(), topics).await, Ok(100));
        let mut consumer = join(&client).await;
        let records = read(&mut consumer, 100).await;
        consumer.commit(&ends(&records)).await.expect("a member commits");
        produce(&client, numbers(100..150)).await;
        assert_eq!(read(&mut consumer, 50).await.len(), 50);
        assert_eq!(admin::lag(prefix.config(), topics).await, Ok(50));
        // It dies before it has committed these.
        consumer.close().await;
        let mut heir = join(&client).await;
        let again: BTreeSet<usize> = read(&mut heir, 50).await.iter().map(number).collect();
        assert_eq!(again, (100..150).collect());
        let committed = admin::committed(prefix.config(), GROUP, &[TOPIC]).await;
        let sum: u64 = committed.expect("it answers").iter().map(|p| p.next_offset).sum();
        assert_eq!(sum, 100);
        heir.close().await;
    });
}

#[test]
fn two_members_share_and_the_one_that_is_left_gets_all() {
    run(async {
        let (_prefix, client) = bench(4).await;
        let (mut one, mut other) = (join(&client).await, join(&client).await);
        share(&mut one, &mut other, 4).await;
        let both: BTreeSet<_> = one.assignment().chain(other.assignment()).collect();
        assert_eq!(both.len(), 4);
        // No close: it goes as it is.
        drop(other);
        produce(&client, numbers(0..200)).await;
        // It may read its own half twice: once before it is given the other one.
        read_all(&mut one, 0..200).await;
        assert_eq!(one.assignment().count(), 4);
        one.close().await;
    });
}

#[test]
fn seeking_back_reads_again_and_skips_nothing() {
    run(async {
        let (_prefix, client) = bench(1).await;
        produce(&client, numbers(0..1_000)).await;
        let mut consumer = join(&client).await;
        let mut seen = Vec::new();
        for target in [0, 3, 500, 999] {
            read(&mut consumer, 1).await;
            consumer.seek(Position { topic: TOPIC, partition: 0, next_offset: target });
            let records = read(&mut consumer, 1).await;
            seen.push((target, records[0].offset));
            assert!(records.windows(2).all(|pair| pair[0].offset + 1 == pair[1].offset));
            consumer.seek(Position { topic: TOPIC, partition: 0, next_offset: 0 });
        }
        assert!(seen.iter().all(|(target, offset)| target == offset), "{seen:?}");
        consumer.close().await;
    });
}

#[test]
fn a_paused_partition_waits_and_skips_nothing_while_the_others_go_on() {
    run(async {
        let (_prefix, client) = bench(2).await;
        produce(&client, numbers(0..200)).await;
        let mut consumer = join(&client).await;
        let first = read(&mut consumer, 1).await.remove(0);
        let paused = (TOPIC, first.partition);
        let position =
            Position { topic: TOPIC, partition: first.partition, next_offset: first.offset };
        consumer.pause(&[paused]);
        consumer.seek(position);
        produce(&client, numbers(200..400)).await;
        let begun = now();
        while begun.elapsed() < Duration::from_secs(2) {
            let records = consumer.poll(500).await.expect("the broker answers");
            assert!(records.iter().all(|record| record.partition != first.partition));
        }
        assert_eq!(consumer.assignment().count(), 2);
        consumer.resume(&[paused]);
        let records = read(&mut consumer, 1).await;
        assert_eq!((records[0].partition, records[0].offset), (first.partition, first.offset));
        let mut offsets: Vec<u64> = records.iter().map(|record| record.offset).collect();
        let of_it = |n: &usize| murmur2(format!("P{}", n % 20).as_bytes()) % 2 == first.partition;
        while offsets.len() < (0..400).filter(of_it).count() {
            offsets.extend(read(&mut consumer, 1).await.iter().map(|record| record.offset));
        }
        assert!(offsets.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{offsets:?}");
        consumer.close().await;
    });
}

#[test]
fn a_member_that_did_not_poll_for_too_long_is_fenced_and_comes_back() {
    run(async {
        let (prefix, _) = bench(2).await;
        let config = KafkaConfig {
            session_timeout_ms: 6_000,
            max_poll_interval_ms: 6_000,
            ..prefix.config().clone()
        };
        let client = Client::new(&config, "test-1");
        let (mut zombie, mut heir) = (join(&client).await, join(&client).await);
        share(&mut zombie, &mut heir, 2).await;
        produce(&client, numbers(0..100)).await;
        let (mut held, mut taken) = (read(&mut zombie, 1).await, Vec::new());
        let begun = now();
        while begun.elapsed() < Duration::from_secs(9) || heir.assignment().count() < 2 {
            assert!(begun.elapsed() < Duration::from_secs(40), "the heir gets nothing");
            taken.extend(heir.poll(500).await.expect("the broker answers"));
        }
        assert_eq!(zombie.commit(&ends(&held)).await, Err(LogError::Fenced));
        let seen: BTreeSet<usize> = taken.iter().map(number).collect();
        assert_eq!(seen.len(), 100, "the heir reads what the zombie has not committed");
        heir.commit(&ends(&taken)).await.expect("the heir is a member");
        share(&mut zombie, &mut heir, 2).await;
        assert_eq!(zombie.commit(&ends(&held)).await.is_ok(), {
            let partition = held[0].partition;
            held.clear();
            zombie.assignment().any(|(_, has)| has == partition)
        });
        zombie.close().await;
        heir.close().await;
    });
}

#[test]
fn a_partition_that_is_somebody_elses_cannot_be_committed() {
    run(async {
        let (_prefix, client) = bench(2).await;
        produce(&client, numbers(0..100)).await;
        let mut one = join(&client).await;
        let records = read(&mut one, 100).await;
        let mut other = join(&client).await;
        share(&mut one, &mut other, 2).await;
        let theirs: Vec<u32> = other.assignment().map(|(_, partition)| partition).collect();
        let mut positions = ends(&records);
        positions.retain(|position| theirs.contains(&position.partition));
        assert_eq!(positions.len(), 1);
        assert_eq!(one.commit(&positions).await, Err(LogError::Fenced));
        one.close().await;
        other.close().await;
    });
}

#[test]
fn a_missing_topic_is_named_and_used_once_it_is_there() {
    run(async {
        let prefix = Services::get().fresh_prefix();
        let client = Client::new(prefix.config(), "test-1");
        let name = format!("{}{TOPIC}", prefix.config().prefix);
        let text = format!("the topic {name} is missing: create it with `backdate migrate`");
        let refused = client.consumer(GROUP, &[TOPIC]).await.map(|_| ());
        assert_eq!(refused, Err(LogError::Refused(text.clone())));
        let mut producer = client.producer().await.expect("a producer is lazy");
        assert_eq!(producer.send(numbers(0..3)).await, Err(LogError::Refused(text)));
        let missing = admin::missing_topics(prefix.config()).await.expect("the broker answers");
        assert_eq!(missing.len(), Topic::ALL.len());
        let topics = admin::all_topics(prefix.config());
        for made in [Topic::ALL.len(), 0] {
            let names = admin::create_topics(prefix.config(), &topics).await;
            assert_eq!(names.map(|names| names.len()), Ok(made));
        }
        assert_eq!(admin::missing_topics(prefix.config()).await, Ok(Vec::new()));
        producer.send(numbers(0..3)).await.expect("the topic is there");
        let mut consumer = join(&client).await;
        read(&mut consumer, 3).await;
        consumer.close().await;
        admin::delete_topics(prefix.config(), &[GROUP]).await.expect("the broker answers");
        admin::delete_topics(prefix.config(), &[GROUP]).await.expect("nothing is left");
    });
}

#[test]
fn an_unreachable_broker_is_named_within_seconds() {
    run(async {
        let config = KafkaConfig {
            bootstrap_servers: "127.0.0.1:9".to_owned(),
            delivery_timeout_ms: 2_000,
            ..KafkaConfig::default()
        };
        let client = Client::new(&config, "test-1");
        let begun = now();
        let is_told = |error: Option<LogError>| match error {
            Some(LogError::Disconnected(text)) => {
                assert!(text.contains("127.0.0.1:9"), "{text}");
                assert!(text.to_lowercase().contains("connect"), "{text}");
            }
            other => panic!("{other:?}"),
        };
        is_told(client.consumer(GROUP, &[TOPIC]).await.err());
        let mut producer = client.producer().await.expect("a producer is lazy");
        is_told(producer.send(numbers(0..10)).await.err());
        is_told(admin::ping(&config).await.err());
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_message_that_is_too_large_is_refused_and_the_next_one_goes() {
    run(async {
        let (_prefix, client) = bench(1).await;
        let mut producer = client.producer().await.expect("a producer is lazy");
        // Noise, which compression does not make small.
        let mut noise = vec![0; 3_000_000];
        ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut noise);
        let huge = NewRecord { value: noise, ..new("P", 0) };
        match producer.send(vec![huge]).await {
            Err(LogError::Refused(text)) => assert!(text.contains("max.message.bytes"), "{text}"),
            other => panic!("{other:?}"),
        }
        producer.send(numbers(0..3)).await.expect("an ordinary one goes");
    });
}

#[test]
fn a_commit_is_not_lost_and_nothing_blocks_the_thread() {
    run(async {
        let (_prefix, client) = bench(2).await;
        produce(&client, numbers(0..500)).await;
        let ticks = std::rc::Rc::<std::cell::Cell<u32>>::default();
        let counter = ticks.clone();
        #[allow(clippy::disallowed_methods, reason = "it watches the thread, not the engine")]
        let task = tokio::task::spawn_local(async move {
            loop {
                sleep(5).await;
                counter.set(counter.get() + 1);
            }
        });
        let begun = now();
        let mut consumer = join(&client).await;
        for end in ends(&read(&mut consumer, 500).await) {
            consumer.commit(&[end]).await.expect("a member commits");
        }
        consumer.close().await;
        let (seen, least) = (u128::from(ticks.get()), begun.elapsed().as_millis() / 20);
        assert!(seen >= least, "{seen} ticks of {least}");
        task.abort();
    });
}

#[test]
fn all_codecs_of_the_java_client_are_read() {
    run(async {
        let (prefix, client) = bench(1).await;
        for (at, codec) in ["gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
            let properties = [("compression.codec".to_owned(), Secret::new(codec))].into();
            let config = KafkaConfig { properties, ..prefix.config().clone() };
            let writer = Client::new(&config, "test-1");
            produce(&writer, numbers(at * 100..at * 100 + 100)).await;
        }
        let mut consumer = join(&client).await;
        let records = read(&mut consumer, 400).await;
        assert_eq!(records.iter().map(number).collect::<BTreeSet<_>>(), (0..400).collect());
        consumer.close().await;
    });
}

/// Turns the bits over behind the header of the last batch in a file of a broker's log.
fn corrupt_last_batch(log: &Path) {
    let file = File::options().read(true).write(true).open(log).expect("a partition has a log");
    let length = file.metadata().expect("it is a file").len();
    let (mut batch, mut next) = (0, 0);
    while next < length {
        batch = next;
        let mut size = [0; 4];
        file.read_exact_at(&mut size, batch + 8).expect("a batch has a header");
        next = batch + 12 + u64::from(u32::from_be_bytes(size));
    }
    let mut bytes = [0; 16];
    file.read_exact_at(&mut bytes, batch + 61).expect("a batch has records");
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
    file.write_all_at(&bytes, batch + 61).expect("the file can be written");
}

#[test]
fn a_batch_that_is_corrupt_is_named_and_the_other_partitions_are_read() {
    let broker = Private::kafka();
    run(async {
        let (prefix, client) = bench_on(broker.fresh_prefix(), 2).await;
        let of = |partition: u32, range: std::ops::Range<usize>| -> Vec<NewRecord> {
            let all = numbers(range).into_iter();
            all.filter(|r| murmur2(r.key.as_bytes()) % 2 == partition).collect()
        };
        let (bad, good) = (of(0, 100..1_000).len(), of(1, 100..1_000).len());
        produce(&client, numbers(0..100)).await;
        // All in one batch.
        let properties = [("linger.ms".to_owned(), Secret::new("300"))].into();
        let slow = KafkaConfig { properties, ..prefix.config().clone() };
        let slow = Client::new(&slow, "test-1");
        produce(&slow, of(0, 100..1_000)).await;
        produce(&slow, of(1, 100..1_000)).await;
        let topic = format!("{}{TOPIC}", prefix.config().prefix);
        let log = broker.data().join(format!("{topic}-0/00000000000000000000.log"));
        corrupt_last_batch(&log);
        let mut consumer = join(&client).await;
        let (mut records, mut complaints) = (Vec::new(), BTreeSet::new());
        let begun = now();
        while begun.elapsed() < Duration::from_secs(7) {
            match consumer.poll(500).await {
                Ok(more) => records.extend(more),
                Err(LogError::Unreadable(text)) => drop(complaints.insert(text)),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(consumer.assignment().count(), 2, "it has kept its partitions");
        assert_eq!(records.iter().filter(|r| r.partition == 1).count(), of(1, 0..100).len() + good);
        assert!(records.len() < 1_000, "the batch was not corrupt");
        let complaint = complaints.first().expect("it is told");
        let offset = records.iter().filter(|r| r.partition == 0).count();
        for word in [format!("{topic} [0]"), format!(" {offset} "), "BadCompression".to_owned()] {
            assert!(complaint.contains(&word), "no {word}: {complaints:?}");
        }
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        corrupt_last_batch(&log);
        let rest = read(&mut consumer, 1_000 - records.len()).await;
        assert!(rest.len() <= bad && rest.iter().all(|record| record.partition == 0));
        records.extend(rest);
        assert_ordered(&records);
        consumer.close().await;
    });
}
