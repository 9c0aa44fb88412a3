//! What clients and brokers say to each other: postcard in frames, one answer per request.
//!
//! A broker serves the requests of a connection one after the other, as Kafka does. There are no
//! versions and no metadata requests: everyone knows the shape of the cluster.

use backdate_engine::ports::log::{Position, Topic};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

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
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Produced {
    /// It is in the log.
    Done,
    /// The producer lost track: it must open the next epoch.
    Refused,
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
