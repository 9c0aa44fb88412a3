//! What clients and brokers say to each other: postcard in frames, one answer per request.
//!
//! A broker serves the requests of a connection one after the other, as Kafka does. There are no
//! versions, and metadata is asked for no sooner than it has proven wrong: everyone knows the shape
//! of the cluster and who leads and coordinates what at first.

use backdate_engine::ports::log::{Position, Record, Topic};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::log::Mark;

/// A client's request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request<'a> {
    /// A producer id, or the next epoch of one (`InitProducerId`).
    OpenProducer { current: Option<ProducerId> },
    /// Appends batches (`Produce`, acks=all).
    Produce(ProducerId, #[serde(borrow)] Vec<Batch<'a>>),
    /// Reads partitions (`Fetch`).
    Fetch { wait_ms: u64, records_max: u64, from: Vec<Position> },
    /// What a group has committed (`OffsetFetch`).
    Committed { group: SmolStr, of: Vec<(Topic, u32)> },
    /// Something for the coordinator of a group.
    Group(SmolStr, GroupRequest),
    /// Who coordinates a group (`FindCoordinator`).
    FindCoordinator(SmolStr),
    /// Who leads partitions (`Metadata`).
    Leaders(Vec<(Topic, u32)>),
    /// Reads partitions as a follower (`Fetch` with a replica id and a broker epoch, KIP-903).
    Replicate { follower: u32, broker_epoch: u32, wait_ms: u64, from: Vec<ReplicaPosition> },
}

/// How far a follower is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReplicaPosition {
    pub(super) topic: Topic,
    pub(super) partition: u32,
    /// The epoch of the leader that it believes to ask.
    pub(super) leader_epoch: u32,
    /// The end of its log.
    pub(super) offset: u64,
    /// The leader epoch of its last record.
    pub(super) last_epoch: Option<u32>,
}

/// Requests that the state of a group decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum GroupRequest {
    /// `JoinGroup`; answered when all members have joined.
    Join(Join),
    /// `SyncGroup`; answered when the leader has sent assignments.
    Sync { member: SmolStr, generation: u32, assignments: Vec<Assignment> },
    /// `Heartbeat`.
    Heartbeat { member: SmolStr, generation: u32 },
    /// `OffsetCommit`.
    Commit { member: SmolStr, generation: u32, positions: Vec<Position> },
    /// `LeaveGroup`.
    Leave { member: SmolStr },
}

/// A request to join a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Join {
    /// None the first time.
    pub(super) member: Option<SmolStr>,
    /// The client's process.
    pub(super) client: SmolStr,
    pub(super) topics: Vec<Topic>,
    pub(super) session_ms: u64,
    pub(super) rebalance_ms: u64,
}

/// The partitions of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Assignment {
    pub(super) member: SmolStr,
    pub(super) places: Vec<(Topic, u32)>,
}

/// A broker's answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Response<'a> {
    Producer(ProducerId),
    /// One verdict per batch.
    Produced(Vec<Produced>),
    Fetched(#[serde(borrow)] Vec<Fetched<'a>>),
    /// One per place that was asked for.
    Committed(Vec<Option<u64>>),
    Group(GroupResponse),
    /// The request is not modelled, or was sent to the wrong broker.
    Unsupported(String),
    /// The broker that coordinates a group.
    Coordinator(u32),
    /// One leader per place that was asked for.
    Leaders(Vec<Option<u32>>),
    /// What could be read, and why the rest could not.
    FetchedInPart(#[serde(borrow)] Vec<Fetched<'a>>, Vec<((Topic, u32), FetchError)>),
    /// News for a follower.
    Replicated(#[serde(borrow)] Vec<Replicated<'a>>),
}

/// Why a partition cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FetchError {
    /// `NOT_LEADER_OR_FOLLOWER`.
    NotLeader,
    /// `OFFSET_OUT_OF_RANGE`; both ends of the log spare the client a `ListOffsets`.
    OutOfRange { start: u64, end: u64 },
}

/// What a follower learns of a partition.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Replicated<'a> {
    pub(super) topic: Topic,
    pub(super) partition: u32,
    pub(super) leader_epoch: u32,
    #[serde(borrow)]
    pub(super) news: ReplicaNews<'a>,
}

/// News of a partition.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ReplicaNews<'a> {
    /// Whole appends from the follower's end on, if there are any.
    Records {
        /// The leader's high watermark.
        high: u64,
        /// The leader's log start.
        start: u64,
        marks: Vec<Mark>,
        #[serde(borrow)]
        records: Vec<Payload<'a>>,
    },
    /// The leader's last epoch that is not above the follower's last one ends there (KIP-101).
    Diverging { epoch: u32, end: u64 },
    /// The leader's log begins behind the follower's end, or is another one altogether.
    OutOfRange { start: u64 },
    /// `NOT_LEADER_OR_FOLLOWER`, `FENCED_LEADER_EPOCH`.
    Fenced,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Produced {
    /// It is in the log.
    Done,
    /// The producer lost track: it must open the next epoch.
    Refused,
    /// `NOT_LEADER_OR_FOLLOWER`: another broker takes it.
    NotLeader,
    /// `NOT_ENOUGH_REPLICAS`, also after the append.
    NotEnoughReplicas,
    /// `REQUEST_TIMED_OUT`: not all in-sync replicas have it yet.
    TimedOut,
}

/// The answer of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum GroupResponse {
    /// Join again with this id (`MEMBER_ID_REQUIRED`, KIP-394).
    MemberId(SmolStr),
    /// The member belongs to a generation.
    Joined {
        generation: u32,
        /// Of the leader: all members with their topics; of the others: nothing.
        members: Vec<(SmolStr, Vec<Topic>)>,
    },
    /// The partitions of the member.
    Synced(Vec<(Topic, u32)>),
    /// Heartbeat, commit or leave are done.
    Done,
    /// `UNKNOWN_MEMBER_ID`.
    UnknownMember,
    /// `ILLEGAL_GENERATION`.
    IllegalGeneration,
    /// `REBALANCE_IN_PROGRESS`.
    Rebalancing,
    /// `NOT_COORDINATOR`: ask somebody who knows who is.
    NotCoordinator,
}

/// A producer instance (KIP-98) and how often it lost track (KIP-360).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProducerId {
    pub(super) id: u64,
    pub(super) epoch: u32,
}

/// Records for one partition.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Batch<'a> {
    pub(super) topic: Topic,
    pub(super) partition: u32,
    /// Sequence of the first record.
    pub(super) sequence: u64,
    #[serde(borrow)]
    pub(super) records: Vec<Payload<'a>>,
}

/// Records of one partition, with consecutive offsets.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Fetched<'a> {
    pub(super) topic: Topic,
    pub(super) partition: u32,
    pub(super) offset: u64,
    #[serde(borrow)]
    pub(super) records: Vec<Payload<'a>>,
}

/// A record without its place.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Payload<'a> {
    pub(super) key: &'a str,
    #[serde(with = "raw")]
    pub(super) value: &'a [u8],
    pub(super) correlation_id: Option<&'a str>,
    pub(super) producer: Option<&'a str>,
}

impl<'a> Payload<'a> {
    /// A stored record as it travels.
    pub(super) fn of(record: &'a Record) -> Self {
        Self {
            key: &record.key,
            value: &record.value,
            correlation_id: record.headers.correlation_id.as_deref(),
            producer: record.headers.producer.as_deref(),
        }
    }
}

/// Encodes a message.
pub(super) fn encode(message: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(message).expect("wire types have lengths and no foreign serialisers")
}

/// Decodes a message; both sides are of one build, so that it cannot fail.
pub(super) fn decode<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> T {
    postcard::from_bytes(frame).expect("frames come whole, from the same build")
}

/// Bytes in one piece; serde would go through slices byte by byte.
mod raw {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<&'de [u8], D::Error> {
        <&[u8]>::deserialize(from)
    }
}
