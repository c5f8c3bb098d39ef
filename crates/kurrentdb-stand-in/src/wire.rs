//! The messages of the protocol, as far as they are used: `event_store.client.streams` and its neighbours. Fields that
//! are not used are left out, and messages that look alike on the wire are written once.

use std::collections::HashMap;

use prost::{Message, Oneof, bytes::Bytes};

#[derive(Clone, PartialEq, Message)]
pub struct Uuid {
    #[prost(oneof = "UuidValue", tags = "1, 2")]
    pub value: Option<UuidValue>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum UuidValue {
    #[prost(message, tag = "1")]
    Structured(StructuredUuid),
    #[prost(string, tag = "2")]
    Text(String),
}

#[derive(Clone, PartialEq, Message)]
pub struct StructuredUuid {
    #[prost(int64, tag = "1")]
    pub most_significant_bits: i64,
    #[prost(int64, tag = "2")]
    pub least_significant_bits: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct StreamIdentifier {
    #[prost(string, tag = "3")]
    pub stream_name: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Position {
    #[prost(uint64, tag = "1")]
    pub commit_position: u64,
    #[prost(uint64, tag = "2")]
    pub prepare_position: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

// --- Reading ---

#[derive(Clone, PartialEq, Message)]
pub struct ReadReq {
    #[prost(message, optional, tag = "1")]
    pub options: Option<ReadOptions>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ReadOptions {
    #[prost(oneof = "ReadFrom", tags = "1, 2")]
    pub from: Option<ReadFrom>,
    /// 0: forwards, 1: backwards.
    #[prost(int32, tag = "3")]
    pub direction: i32,
    #[prost(oneof = "ReadCount", tags = "5, 6")]
    pub count: Option<ReadCount>,
    #[prost(message, optional, tag = "7")]
    pub filter: Option<FilterOptions>,
    #[prost(message, optional, tag = "9")]
    pub uuid_option: Option<UuidOption>,
    #[prost(message, optional, tag = "10")]
    pub control: Option<ControlOption>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum ReadFrom {
    #[prost(message, tag = "1")]
    Stream(StreamOptions),
    #[prost(message, tag = "2")]
    All(AllOptions),
}

#[derive(Clone, PartialEq, Message)]
pub struct StreamOptions {
    #[prost(message, optional, tag = "1")]
    pub stream: Option<StreamIdentifier>,
    #[prost(oneof = "StreamStart", tags = "2, 3, 4")]
    pub start: Option<StreamStart>,
}

#[derive(Clone, Copy, PartialEq, Oneof)]
pub enum StreamStart {
    #[prost(uint64, tag = "2")]
    Revision(u64),
    #[prost(message, tag = "3")]
    Start(()),
    #[prost(message, tag = "4")]
    End(()),
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct AllOptions {
    #[prost(oneof = "AllStart", tags = "1, 2, 3")]
    pub start: Option<AllStart>,
}

#[derive(Clone, Copy, PartialEq, Oneof)]
pub enum AllStart {
    #[prost(message, tag = "1")]
    Position(Position),
    #[prost(message, tag = "2")]
    Start(()),
    #[prost(message, tag = "3")]
    End(()),
}

#[derive(Clone, Copy, PartialEq, Oneof)]
pub enum ReadCount {
    #[prost(uint64, tag = "5")]
    Count(u64),
    #[prost(message, tag = "6")]
    Subscription(()),
}

#[derive(Clone, PartialEq, Message)]
pub struct FilterOptions {
    #[prost(oneof = "FilterBy", tags = "1, 2")]
    pub by: Option<FilterBy>,
    /// How many events are looked at before a checkpoint; none: the server's page.
    #[prost(uint32, optional, tag = "3")]
    pub window_max: Option<u32>,
    #[prost(uint32, tag = "5")]
    pub checkpoint_interval_multiplier: u32,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum FilterBy {
    #[prost(message, tag = "1")]
    Stream(FilterExpression),
    #[prost(message, tag = "2")]
    EventType(FilterExpression),
}

#[derive(Clone, PartialEq, Message)]
pub struct FilterExpression {
    #[prost(string, tag = "1")]
    pub regex: String,
    #[prost(string, repeated, tag = "2")]
    pub prefix: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct UuidOption {
    #[prost(message, optional, tag = "2")]
    pub text: Option<()>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct ControlOption {
    #[prost(uint32, tag = "1")]
    pub compatibility: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct ReadResp {
    #[prost(oneof = "ReadContent", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub content: Option<ReadContent>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum ReadContent {
    #[prost(message, tag = "1")]
    Event(ReadEvent),
    #[prost(message, tag = "2")]
    Confirmation(SubscriptionConfirmation),
    #[prost(message, tag = "3")]
    Checkpoint(Checkpoint),
    #[prost(message, tag = "4")]
    StreamNotFound(StreamNotFound),
    #[prost(uint64, tag = "5")]
    FirstStreamPosition(u64),
    #[prost(uint64, tag = "6")]
    LastStreamPosition(u64),
    #[prost(message, tag = "7")]
    LastAllStreamPosition(Position),
    #[prost(message, tag = "8")]
    CaughtUp(Reached),
    #[prost(message, tag = "9")]
    FellBehind(Reached),
}

#[derive(Clone, PartialEq, Message)]
pub struct ReadEvent {
    #[prost(message, optional, tag = "1")]
    pub event: Option<RecordedEvent>,
    #[prost(oneof = "EventPosition", tags = "3, 4")]
    pub position: Option<EventPosition>,
}

#[derive(Clone, Copy, PartialEq, Oneof)]
pub enum EventPosition {
    #[prost(uint64, tag = "3")]
    Commit(u64),
    #[prost(message, tag = "4")]
    None(()),
}

#[derive(Clone, PartialEq, Message)]
pub struct RecordedEvent {
    #[prost(message, optional, tag = "1")]
    pub id: Option<Uuid>,
    #[prost(message, optional, tag = "2")]
    pub stream: Option<StreamIdentifier>,
    #[prost(uint64, tag = "3")]
    pub revision: u64,
    #[prost(uint64, tag = "4")]
    pub prepare_position: u64,
    #[prost(uint64, tag = "5")]
    pub commit_position: u64,
    #[prost(map = "string, string", tag = "6")]
    pub metadata: HashMap<String, String>,
    #[prost(bytes = "bytes", tag = "7")]
    pub custom_metadata: Bytes,
    #[prost(bytes = "bytes", tag = "8")]
    pub data: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub struct SubscriptionConfirmation {
    #[prost(string, tag = "1")]
    pub subscription_id: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Checkpoint {
    #[prost(uint64, tag = "1")]
    pub commit_position: u64,
    #[prost(uint64, tag = "2")]
    pub prepare_position: u64,
    #[prost(message, optional, tag = "3")]
    pub timestamp: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub struct StreamNotFound {
    #[prost(message, optional, tag = "1")]
    pub stream: Option<StreamIdentifier>,
}

/// `CaughtUp` and `FellBehind`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Reached {
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Timestamp>,
    #[prost(int64, optional, tag = "2")]
    pub stream_revision: Option<i64>,
    #[prost(message, optional, tag = "3")]
    pub position: Option<Position>,
}

// --- Writing ---

/// What is written to, and the revision it must have: the options of `Append`, `BatchAppend`, `Delete` and `Tombstone`.
#[derive(Clone, PartialEq, Message)]
pub struct WriteOptions {
    #[prost(message, optional, tag = "1")]
    pub stream: Option<StreamIdentifier>,
    #[prost(oneof = "ExpectedRevision", tags = "2, 3, 4, 5")]
    pub expected: Option<ExpectedRevision>,
}

#[derive(Clone, Copy, PartialEq, Eq, Oneof)]
pub enum ExpectedRevision {
    #[prost(uint64, tag = "2")]
    Exact(u64),
    #[prost(message, tag = "3")]
    NoStream(()),
    #[prost(message, tag = "4")]
    Any(()),
    #[prost(message, tag = "5")]
    StreamExists(()),
}

#[derive(Clone, PartialEq, Message)]
pub struct AppendReq {
    #[prost(oneof = "AppendContent", tags = "1, 2")]
    pub content: Option<AppendContent>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum AppendContent {
    #[prost(message, tag = "1")]
    Options(WriteOptions),
    #[prost(message, tag = "2")]
    Proposed(ProposedMessage),
}

#[derive(Clone, PartialEq, Message)]
pub struct ProposedMessage {
    #[prost(message, optional, tag = "1")]
    pub id: Option<Uuid>,
    #[prost(map = "string, string", tag = "2")]
    pub metadata: HashMap<String, String>,
    #[prost(bytes = "bytes", tag = "3")]
    pub custom_metadata: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub struct AppendResp {
    #[prost(oneof = "AppendResult", tags = "1, 2")]
    pub result: Option<AppendResult>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum AppendResult {
    #[prost(message, tag = "1")]
    Success(Success),
    #[prost(message, tag = "2")]
    WrongExpectedVersion(WrongExpectedVersion),
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Success {
    #[prost(oneof = "SuccessRevision", tags = "1, 2")]
    pub revision: Option<SuccessRevision>,
    #[prost(oneof = "SuccessPosition", tags = "3, 4")]
    pub position: Option<SuccessPosition>,
}

#[derive(Clone, Copy, PartialEq, Oneof)]
pub enum SuccessRevision {
    #[prost(uint64, tag = "1")]
    Current(u64),
    #[prost(message, tag = "2")]
    NoStream(()),
}

#[derive(Clone, Copy, PartialEq, Oneof)]
pub enum SuccessPosition {
    #[prost(message, tag = "3")]
    Position(Position),
    #[prost(message, tag = "4")]
    None(()),
}

/// Current and expected revision, each also in the fields that clients from before version 20.6.1 read.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct WrongExpectedVersion {
    #[prost(uint64, optional, tag = "1")]
    pub current_revision_20_6_0: Option<u64>,
    #[prost(message, optional, tag = "2")]
    pub no_stream_20_6_0: Option<()>,
    #[prost(uint64, optional, tag = "3")]
    pub expected_revision_20_6_0: Option<u64>,
    #[prost(message, optional, tag = "4")]
    pub any_20_6_0: Option<()>,
    #[prost(message, optional, tag = "5")]
    pub stream_exists_20_6_0: Option<()>,
    #[prost(uint64, optional, tag = "6")]
    pub current_revision: Option<u64>,
    #[prost(message, optional, tag = "7")]
    pub current_no_stream: Option<()>,
    #[prost(uint64, optional, tag = "8")]
    pub expected_revision: Option<u64>,
    #[prost(message, optional, tag = "9")]
    pub expected_any: Option<()>,
    #[prost(message, optional, tag = "10")]
    pub expected_stream_exists: Option<()>,
    #[prost(message, optional, tag = "11")]
    pub expected_no_stream: Option<()>,
}

#[derive(Clone, PartialEq, Message)]
pub struct BatchAppendReq {
    #[prost(message, optional, tag = "1")]
    pub correlation_id: Option<Uuid>,
    #[prost(message, optional, tag = "2")]
    pub options: Option<WriteOptions>,
    #[prost(message, repeated, tag = "3")]
    pub proposed: Vec<ProposedMessage>,
    #[prost(bool, tag = "4")]
    pub is_final: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct BatchAppendResp {
    #[prost(message, optional, tag = "1")]
    pub correlation_id: Option<Uuid>,
    #[prost(oneof = "BatchAppendResult", tags = "2, 3")]
    pub result: Option<BatchAppendResult>,
    #[prost(message, optional, tag = "4")]
    pub stream: Option<StreamIdentifier>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum BatchAppendResult {
    #[prost(message, tag = "2")]
    Error(RpcStatus),
    #[prost(message, tag = "3")]
    Success(Success),
}

/// `google.rpc.Status`, with one detail.
#[derive(Clone, PartialEq, Message)]
pub struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, optional, tag = "3")]
    pub details: Option<AnyMessage>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub struct AnyMessage {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// `event_store.client.WrongExpectedVersion`: the detail of a batch's refusal.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct WrongExpectedVersionDetail {
    #[prost(uint64, optional, tag = "1")]
    pub current_revision: Option<u64>,
    #[prost(message, optional, tag = "2")]
    pub current_no_stream: Option<()>,
    #[prost(uint64, optional, tag = "3")]
    pub expected_revision: Option<u64>,
    #[prost(message, optional, tag = "4")]
    pub expected_any: Option<()>,
    #[prost(message, optional, tag = "5")]
    pub expected_stream_exists: Option<()>,
    #[prost(message, optional, tag = "6")]
    pub expected_no_stream: Option<()>,
}

/// `DeleteReq` and `TombstoneReq`.
#[derive(Clone, PartialEq, Message)]
pub struct DeleteReq {
    #[prost(message, optional, tag = "1")]
    pub options: Option<WriteOptions>,
}

/// `DeleteResp` and `TombstoneResp`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct DeleteResp {
    #[prost(message, optional, tag = "1")]
    pub position: Option<Position>,
}

// --- The server itself ---

#[derive(Clone, PartialEq, Message)]
pub struct SupportedMethods {
    #[prost(message, repeated, tag = "1")]
    pub methods: Vec<SupportedMethod>,
    #[prost(string, tag = "2")]
    pub server_version: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct SupportedMethod {
    #[prost(string, tag = "1")]
    pub method_name: String,
    #[prost(string, tag = "2")]
    pub service_name: String,
    #[prost(string, repeated, tag = "3")]
    pub features: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ClusterInfo {
    #[prost(message, repeated, tag = "1")]
    pub members: Vec<MemberInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub struct MemberInfo {
    #[prost(message, optional, tag = "1")]
    pub instance_id: Option<Uuid>,
    #[prost(int64, tag = "2")]
    pub time_stamp: i64,
    #[prost(enumeration = "NodeState", tag = "3")]
    pub state: i32,
    #[prost(bool, tag = "4")]
    pub is_alive: bool,
    #[prost(message, optional, tag = "5")]
    pub http_end_point: Option<EndPoint>,
}

/// Those of a node's states that a node of the stand-in can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
pub enum NodeState {
    Unknown = 2,
    Follower = 6,
    Leader = 8,
}

#[derive(Clone, PartialEq, Message)]
pub struct EndPoint {
    #[prost(string, tag = "1")]
    pub address: String,
    #[prost(uint32, tag = "2")]
    pub port: u32,
}
