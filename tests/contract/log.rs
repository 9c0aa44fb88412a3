//! What a log promises: Kafka with the classic protocol and eager rebalance, whoever plays it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use backdate_engine::ports::log::{
    Headers, Log, LogConsumer, LogError, LogProducer, NewRecord, Position, Record, Topic,
};

use super::contract;
use super::site::{Assigned, LogSite};

contract!(log(LogSettings):
    order as records_of_a_key_keep_their_order;
    once as everything_is_delivered_once_without_trouble;
    headers as key_value_and_headers_travel_through;
    empty as a_poll_without_records_is_empty;
    max as a_poll_returns_at_most_so_many;
    groups as groups_read_independently;
    committed as reading_goes_on_after_what_was_committed;
    not_committed as what_was_not_committed_is_delivered_again;
    seek as a_seek_delivers_again_from_there_on;
    join as a_member_that_joins_takes_its_share;
    leave as a_member_that_leaves_is_replaced;
    exclusive as a_partition_has_one_member_at_a_time;
    hung as a_member_that_does_not_poll_is_replaced_and_fenced { max_poll_ms: 2_000 };
    dropped as a_member_that_is_dropped_is_replaced;
    crashed as commits_and_records_survive_a_crash_of_the_broker { crashes: true };
    retried as records_are_stored_once_although_the_broker_was_away { crashes: true };
);

pub(super) const TOPIC: Topic = Topic::MarketPrices;
pub(super) const GROUP: &str = "group";

pub(super) fn record(key: u32, value: u32) -> NewRecord {
    NewRecord {
        topic: TOPIC,
        key: format!("k{key}").into(),
        value: value.to_string().into_bytes(),
        headers: Headers::default(),
    }
}

pub(super) fn value(record: &Record) -> u32 {
    let text = std::str::from_utf8(&record.value).expect("written by this test");
    text.parse().expect("written by this test")
}

fn sorted(records: &[Record]) -> Vec<u32> {
    let mut values: Vec<u32> = records.iter().map(value).collect();
    values.sort_unstable();
    values
}

/// Sends values over seven keys.
async fn send<S: LogSite>(site: &S, values: std::ops::Range<u32>) {
    let mut producer = site.log().producer().await.expect("the broker is up");
    let records = values.map(|value| record(value % 7, value)).collect();
    site.soon(producer.send(records)).await.expect("they are stored");
}

async fn member<S: LogSite>(site: &S) -> S::Consumer {
    site.log().consumer(GROUP, &[TOPIC]).await.expect("the broker is up")
}

/// Polls until so many records have come.
async fn read<C: LogConsumer, S: LogSite>(site: &S, consumer: &mut C, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    let all = async {
        while records.len() < count {
            records.extend(consumer.poll(100).await.expect("the broker is up"));
        }
    };
    site.soon(all).await;
    records
}

/// Polls until the member has so many partitions; what came meanwhile.
async fn settle<S: LogSite>(site: &S, members: &mut [&mut S::Consumer], shares: &[usize]) {
    let all = async {
        loop {
            let polls = members.iter_mut().map(|member| member.poll(100));
            for polled in futures_util::future::join_all(polls).await {
                polled.expect("the broker is up");
            }
            let mut found: Vec<usize> = members.iter().map(|m| m.assigned().len()).collect();
            found.sort_unstable();
            if found == shares {
                return;
            }
        }
    };
    site.soon(all).await;
}

/// Positions after the last record of each partition.
pub(super) fn after(records: &[Record]) -> Vec<Position> {
    let mut next = BTreeMap::new();
    for record in records {
        next.insert(record.partition, record.offset + 1);
    }
    let position = |(partition, next_offset)| Position { topic: TOPIC, partition, next_offset };
    next.into_iter().map(position).collect()
}

async fn order<S: LogSite>(site: S) {
    let mut producer = site.log().producer().await.expect("up");
    for batch in 0..6 {
        let records = (0..20).map(|n| record(n % 7, batch * 20 + n)).collect();
        site.soon(producer.send(records)).await.expect("they are stored");
    }
    let mut consumer = member(&site).await;
    let records = read(&site, &mut consumer, 120).await;
    let mut last: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let mut offsets: BTreeMap<u32, u64> = BTreeMap::new();
    for record in &records {
        if let Some((before, partition)) =
            last.insert(&record.key, (value(record), record.partition))
        {
            assert!(before < value(record), "{record:?} after {before}");
            assert_eq!(partition, record.partition, "a key stays in its partition");
        }
        let next = offsets.entry(record.partition).or_default();
        assert_eq!(*next, record.offset, "offsets have no gap");
        *next += 1;
    }
    assert_eq!((records.len(), last.len()), (120, 7));
    consumer.close().await;
}

async fn once<S: LogSite>(site: S) {
    send(&site, 0..50).await;
    let mut consumer = member(&site).await;
    let records = read(&site, &mut consumer, 50).await;
    assert_eq!(sorted(&records), (0..50).collect::<Vec<_>>());
    assert_eq!(consumer.poll(100).await, Ok(vec![]));
    consumer.close().await;
}

async fn headers<S: LogSite>(site: S) {
    let mut producer = site.log().producer().await.expect("up");
    let full = Headers {
        correlation_id: Some("trade-7".into()),
        producer: Some("outbox-dispatcher-2".into()),
    };
    let new = |key: &str, value: &[u8], headers: &Headers| NewRecord {
        topic: TOPIC,
        key: key.into(),
        value: value.to_vec(),
        headers: headers.clone(),
    };
    let sent = [
        new("k", b"{\"a\": 1}", &full),
        new("k", &[0, 255, 7], &Headers { producer: None, ..full.clone() }),
        new("k", b"", &Headers::default()),
    ];
    site.soon(producer.send(sent.to_vec())).await.expect("they are stored");
    let mut consumer = member(&site).await;
    let records = read(&site, &mut consumer, 3).await;
    for (sent, found) in sent.iter().zip(&records) {
        assert_eq!(
            (&sent.key, &sent.value, &sent.headers),
            (&found.key, &found.value, &found.headers)
        );
        assert_eq!(found.topic, TOPIC);
    }
    consumer.close().await;
}

async fn empty<S: LogSite>(site: S) {
    let mut consumer = member(&site).await;
    settle(&site, &mut [&mut consumer], &[3]).await;
    assert_eq!(site.soon(consumer.poll(10)).await, Ok(vec![]));
    send(&site, 0..1).await;
    assert_eq!(read(&site, &mut consumer, 1).await.len(), 1);
    consumer.close().await;
}

async fn max<S: LogSite>(site: S) {
    send(&site, 0..50).await;
    let mut consumer = member(&site).await;
    let mut records = Vec::new();
    let all = async {
        while records.len() < 50 {
            let polled = consumer.poll(4).await.expect("up");
            assert!(polled.len() <= 4, "{} records", polled.len());
            records.extend(polled);
        }
    };
    site.soon(all).await;
    assert_eq!(sorted(&records), (0..50).collect::<Vec<_>>());
    consumer.close().await;
}

async fn groups<S: LogSite>(site: S) {
    send(&site, 0..20).await;
    let log = site.log();
    for group in ["one", "two"] {
        let mut consumer = log.consumer(group, &[TOPIC]).await.expect("up");
        let records = read(&site, &mut consumer, 20).await;
        assert_eq!(sorted(&records), (0..20).collect::<Vec<_>>());
        consumer.commit(&after(&records)).await.expect("it is a member");
        consumer.close().await;
    }
}

async fn committed<S: LogSite>(site: S) {
    send(&site, 0..30).await;
    let mut first = member(&site).await;
    let records = read(&site, &mut first, 30).await;
    let done = &records[..20];
    first.commit(&after(done)).await.expect("it is a member");
    first.close().await;
    let mut second = member(&site).await;
    send(&site, 30..40).await;
    let again = read(&site, &mut second, 20).await;
    let mut expected: BTreeSet<u32> = (0..40).collect();
    for record in done {
        expected.remove(&value(record));
    }
    assert_eq!(sorted(&again), expected.into_iter().collect::<Vec<_>>());
    second.close().await;
}

async fn not_committed<S: LogSite>(site: S) {
    send(&site, 0..30).await;
    for _ in 0..2 {
        let mut consumer = member(&site).await;
        let records = read(&site, &mut consumer, 30).await;
        assert_eq!(sorted(&records), (0..30).collect::<Vec<_>>());
        consumer.close().await;
    }
}

async fn seek<S: LogSite>(site: S) {
    send(&site, 0..60).await;
    let mut consumer = member(&site).await;
    let records = read(&site, &mut consumer, 60).await;
    for (back, record) in records.iter().rev().enumerate().step_by(7) {
        let Record { topic, partition, offset, .. } = *record;
        consumer.seek(Position { topic, partition, next_offset: offset });
        let end = records.iter().filter(|r| r.partition == partition).count();
        let count = end - usize::try_from(offset).expect("small");
        let again = read(&site, &mut consumer, count).await;
        let expected: Vec<&Record> =
            records.iter().filter(|r| r.partition == partition && r.offset >= offset).collect();
        assert_eq!(again.iter().collect::<Vec<_>>(), expected, "{back} from the end");
    }
    assert_eq!(consumer.poll(100).await, Ok(vec![]));
    consumer.close().await;
}

async fn join<S: LogSite>(site: S) {
    let mut first = member(&site).await;
    settle(&site, &mut [&mut first], &[3]).await;
    let mut second = member(&site).await;
    settle(&site, &mut [&mut first, &mut second], &[1, 2]).await;
    let (one, two) = (first.assigned(), second.assigned());
    let all: BTreeSet<u32> = one.iter().chain(&two).copied().collect();
    assert_eq!(all.len(), 3, "{one:?} {two:?}");
    first.close().await;
    second.close().await;
}

async fn leave<S: LogSite>(site: S) {
    let (mut first, mut second) = (member(&site).await, member(&site).await);
    settle(&site, &mut [&mut first, &mut second], &[1, 2]).await;
    first.close().await;
    settle(&site, &mut [&mut second], &[3]).await;
    send(&site, 0..20).await;
    let records = read(&site, &mut second, 20).await;
    assert_eq!(sorted(&records), (0..20).collect::<Vec<_>>());
    second.close().await;
}

async fn exclusive<S: LogSite>(site: S) {
    let mut members = [member(&site).await, member(&site).await, member(&site).await];
    let [a, b, c] = &mut members;
    settle(&site, &mut [a, b, c], &[1, 1, 1]).await;
    send(&site, 0..70).await;
    let seen = RefCell::new(Vec::new());
    let is_done = || seen.borrow().len() >= 70;
    let reading = members.iter_mut().map(async |member| {
        while !is_done() {
            let records = member.poll(10).await.expect("up");
            let own = member.assigned();
            assert!(records.iter().all(|record| own.contains(&record.partition)));
            seen.borrow_mut().extend(records);
        }
    });
    site.soon(futures_util::future::join_all(reading)).await;
    assert_eq!(sorted(&seen.borrow()), (0..70).collect::<Vec<_>>());
    for member in members {
        member.close().await;
    }
}

async fn hung<S: LogSite>(site: S) {
    send(&site, 0..30).await;
    let mut zombie = member(&site).await;
    let records = read(&site, &mut zombie, 30).await;
    let mut heir = member(&site).await;
    let again = read(&site, &mut heir, 30).await;
    assert_eq!(sorted(&again), (0..30).collect::<Vec<_>>());
    assert_eq!(zombie.commit(&after(&records)).await, Err(LogError::Fenced));
    heir.commit(&after(&again)).await.expect("it is a member");
    // The zombie is a member again when it polls, and reads from what the heir has committed.
    settle(&site, &mut [&mut zombie, &mut heir], &[1, 2]).await;
    send(&site, 30..40).await;
    let seen: Rc<RefCell<Vec<Record>>> = Rc::default();
    let reading = [&mut zombie, &mut heir].map(async |member| {
        while seen.borrow().len() < 10 {
            let records = member.poll(10).await.expect("up");
            seen.borrow_mut().extend(records);
        }
    });
    site.soon(futures_util::future::join_all(reading)).await;
    assert_eq!(sorted(&seen.borrow()), (30..40).collect::<Vec<_>>());
    zombie.close().await;
    heir.close().await;
}

async fn dropped<S: LogSite>(site: S) {
    let (mut first, mut second) = (member(&site).await, member(&site).await);
    settle(&site, &mut [&mut first, &mut second], &[1, 2]).await;
    drop(first);
    settle(&site, &mut [&mut second], &[3]).await;
    second.close().await;
}

async fn crashed<S: LogSite>(site: S) {
    send(&site, 0..30).await;
    let mut first = member(&site).await;
    let records = read(&site, &mut first, 30).await;
    first.commit(&after(&records)).await.expect("it is a member");
    first.close().await;
    site.crash(100).await;
    send(&site, 30..40).await;
    let mut second = member(&site).await;
    let records = read(&site, &mut second, 10).await;
    assert_eq!(sorted(&records), (30..40).collect::<Vec<_>>());
    assert_eq!(second.poll(100).await, Ok(vec![]));
    second.close().await;
}

async fn retried<S: LogSite>(site: S) {
    let mut producer = site.log().producer().await.expect("up");
    producer.send(vec![record(0, 0)]).await.expect("it is stored");
    let sending = async {
        for value in 1..40 {
            producer.send(vec![record(value % 7, value)]).await.expect("it is stored in the end");
            site.sleep(20).await;
        }
    };
    futures_util::future::join(sending, async {
        site.sleep(100).await;
        site.crash(500).await;
    })
    .await;
    let mut consumer = member(&site).await;
    let records = read(&site, &mut consumer, 40).await;
    assert_eq!(sorted(&records), (0..40).collect::<Vec<_>>());
    assert_eq!(consumer.poll(100).await, Ok(vec![]));
    consumer.close().await;
}
