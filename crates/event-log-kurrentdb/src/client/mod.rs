//! The client: the calls of the server's protocol that the store uses, to one node.
//!
//! | module | what it holds |
//! |---|---|
//! | `address` | reading URLs |
//! | `connect` | connecting to a node |
//! | `tls` | TLS to the server |
//! | `leader` | finding the node that leads |
//! | `batch` | many appends on one call |
//! | `error` | the outcomes of calls that have failed |

mod address;
mod batch;
mod connect;
mod error;
mod leader;
mod tls;

use std::{collections::HashMap, error::Error as _};

use bytes::Bytes;
use futures::stream;
use kurrentdb_protocol::{
    AllOptions, AllStart, AppendContent, AppendReq, AppendResp, AppendResult, ClusterInfo, ControlOption, DeleteReq,
    DeleteResp, ExpectedRevision, FilterOption, FilterOptions, ProposedMessage, ReadContent, ReadCount, ReadFrom,
    ReadOptions, ReadReq, ReadResp, StreamIdentifier, StreamOptions, StreamStart, SupportedMethods, UuidOption,
    UuidValue, WriteOptions, method,
};
use prost::Message;
use tokio::time::timeout;
use tonic::{
    Code, IntoRequest as _, Request, Status, Streaming,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use tonic_prost::ProstCodec;
use uuid::Uuid;

use self::{connect::Connector, tls::TlsSettings};

pub use self::{address::InvalidUrl, leader::LeaderAddress};
pub(crate) use self::{
    address::{Node, SCHEMES, ServerAddress},
    batch::{BatchAnswer, BatchCall},
    error::CallError,
    leader::connect_to_leader,
};

/// Largest message in bytes that the server may send: an event, which a server may be configured to
/// take larger than the mebibyte of its default.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A position in the server's log. An event has both; the prepare position is 0 where only the
/// commit position is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct ServerPosition {
    pub(crate) commit: u64,
    pub(crate) prepare: u64,
}

/// An event as the server holds it.
#[derive(Debug, Clone)]
pub(crate) struct ServerEvent {
    pub(crate) type_name: String,
    pub(crate) stream: String,
    pub(crate) revision: u64,
    pub(crate) position: ServerPosition,
    pub(crate) metadata: Bytes,
    pub(crate) data: Bytes,
}

/// An event to append.
#[derive(Debug, Clone)]
pub(crate) struct NewServerEvent {
    pub(crate) id: Uuid,
    pub(crate) type_name: String,
    pub(crate) is_json: bool,
    pub(crate) metadata: Bytes,
    pub(crate) data: Bytes,
}

/// The last event of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) revision: u64,
    /// The commit position.
    pub(crate) position: u64,
}

/// Which events of a stream to read. From [`StreamStart::End`] they are read backwards.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamRead {
    pub(crate) start: StreamStart,
    pub(crate) count: u64,
}

impl StreamRead {
    /// The last event.
    pub(crate) const LAST: Self = Self { start: StreamStart::End(()), count: 1 };
}

/// Which events of the whole log to read.
#[derive(Debug, Clone)]
pub(crate) enum LogRead {
    /// From a position on, and including an event there; from the log's start, for commit position
    /// 0.
    Forwards { from: ServerPosition, count: u64, filter: Option<FilterOptions> },
    /// From the log's end.
    Backwards { count: u64, filter: Option<FilterOptions> },
}

/// A message of a subscription.
#[derive(Debug)]
pub(crate) enum SubscriptionMessage {
    /// It has begun.
    Confirmed,
    Event(ServerEvent),
    /// All events up to this position, that the filter lets pass, were sent.
    Checkpoint(ServerPosition),
    /// All events that there were have been sent.
    CaughtUp,
    /// Something else, which tells that the server is there.
    Other,
}

/// A client of one node. A handle: clones share the connection.
#[derive(Clone)]
pub(crate) struct NodeClient {
    pub(crate) node: Node,
    channel: Channel,
    authorization: Option<MetadataValue<Ascii>>,
    connection_name: MetadataValue<Ascii>,
}

impl NodeClient {
    /// Connects to a node, and has it answer a first call. The error says what is wrong with the
    /// node and what to do.
    async fn connect(connector: &Connector<'_>, node: &Node) -> Result<Self, String> {
        let connecting = timeout(connector.address.connect_time_max, Self::connect_without_limit(connector, node));
        connecting.await.unwrap_or_else(|_| Err("it does not answer in time".to_owned()))
    }

    async fn connect_without_limit(connector: &Connector<'_>, node: &Node) -> Result<Self, String> {
        let (address, channel) = (connector.address, connector.open(node).await?);
        let (authorization, connection_name) = (address.authorization.clone(), address.connection_name.clone());
        let client = Self { node: node.clone(), channel, authorization, connection_name };
        // Connecting alone does not tell whether a server of this protocol is there.
        match client.supported_methods().await {
            Ok(_) => Ok(client),
            Err(status) if status.code() == Code::Unimplemented => {
                Err("it answers, and not as KurrentDB or EventStoreDB 22.6 or later".to_owned())
            }
            // A server that refuses the call has answered it.
            Err(status) if status.source().is_none() => Ok(client),
            Err(status) if address.tls.is_some() => {
                Err(format!("it can be connected to with TLS, and does not answer: {}", connect::describe(&status)))
            }
            Err(_) => Err("it can be connected to, and does not answer: perhaps it wants TLS, which is used without \
                           `tls=false` in the URL"
                .to_owned()),
        }
    }

    /// Appends events to the stream of this name.
    pub(crate) async fn append(
        &self,
        stream: &str,
        expected: ExpectedRevision,
        events: &[NewServerEvent],
    ) -> Result<Appended, CallError> {
        let options = AppendContent::Options(write_options(stream, expected));
        let proposed = events.iter().map(|event| AppendContent::Proposed(proposed_message(event)));
        let messages: Vec<_> =
            std::iter::once(options).chain(proposed).map(|content| AppendReq { content: Some(content) }).collect();
        let (mut grpc, path) = self.method(method::APPEND).await?;
        let request = self.request(stream::iter(messages));
        let answer = grpc.client_streaming(request, path, ProstCodec::<AppendReq, AppendResp>::default()).await?;
        match answer.into_inner().result {
            Some(AppendResult::Success(success)) => appended(&success),
            Some(AppendResult::WrongExpectedVersion(wrong)) => {
                Err(CallError::WrongRevision { current: wrong.current_revision })
            }
            None => Err(CallError::Unexpected("an append with nothing")),
        }
    }

    /// Reads events of the stream of this name.
    pub(crate) async fn read_stream(&self, stream: &str, read: StreamRead) -> Result<EventReader, CallError> {
        let StreamRead { start, count } = read;
        let is_backwards = matches!(start, StreamStart::End(()));
        let from = StreamOptions { stream: Some(identifier(stream)), start: Some(start) };
        self.read(ReadFrom::Stream(from), is_backwards, ReadCount::Count(count), None).await
    }

    /// Reads events of the whole log.
    pub(crate) async fn read_all(&self, read: LogRead) -> Result<EventReader, CallError> {
        let (start, is_backwards, count, filter) = match read {
            LogRead::Forwards { from, count, filter } => (all_start(from), false, count, filter),
            LogRead::Backwards { count, filter } => (AllStart::End(()), true, count, filter),
        };
        let from = ReadFrom::All(AllOptions { start: Some(start) });
        self.read(from, is_backwards, ReadCount::Count(count), filter).await
    }

    /// Subscribes to the events after a position.
    pub(crate) async fn subscribe(
        &self,
        after: ServerPosition,
        filter: FilterOptions,
    ) -> Result<EventReader, CallError> {
        let from = ReadFrom::All(AllOptions { start: Some(all_start(after)) });
        self.read(from, false, ReadCount::Subscription(()), Some(filter)).await
    }

    async fn read(
        &self,
        from: ReadFrom,
        is_backwards: bool,
        count: ReadCount,
        filter: Option<FilterOptions>,
    ) -> Result<EventReader, CallError> {
        let options = ReadOptions {
            from: Some(from),
            direction: i32::from(is_backwards),
            count: Some(count),
            filter: Some(filter.map_or(FilterOption::NoFilter(()), FilterOption::Filter)),
            uuid_option: Some(UuidOption { text: Some(()) }),
            control: Some(ControlOption { compatibility: 1 }),
        };
        let (mut grpc, path) = self.method(method::READ).await?;
        let request = self.request(ReadReq { options: Some(options) });
        let answer = grpc.server_streaming(request, path, ProstCodec::default()).await?;
        Ok(EventReader { messages: answer.into_inner() })
    }

    /// Deletes the stream of this name for good.
    pub(crate) async fn tombstone(&self, stream: &str) -> Result<(), CallError> {
        let options = Some(write_options(stream, ExpectedRevision::Any(())));
        self.unary::<_, DeleteResp>(method::TOMBSTONE, DeleteReq { options }).await?;
        Ok(())
    }

    /// The nodes of the cluster, as this node knows them.
    async fn cluster(&self) -> Result<ClusterInfo, Status> {
        self.unary(method::GOSSIP, ()).await
    }

    async fn supported_methods(&self) -> Result<SupportedMethods, Status> {
        self.unary(method::SUPPORTED_METHODS, ()).await
    }

    async fn unary<Asked, Answer>(&self, method: &'static str, message: Asked) -> Result<Answer, Status>
    where
        Asked: Message + 'static,
        Answer: Message + Default + 'static,
    {
        let (mut grpc, path) = self.method(method).await?;
        Ok(grpc.unary(self.request(message), path, ProstCodec::default()).await?.into_inner())
    }

    async fn method(&self, path: &'static str) -> Result<(Grpc<Channel>, PathAndQuery), Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        Ok((grpc, PathAndQuery::from_static(path)))
    }

    /// A request of the user, to the leader alone: every reader then sees an acknowledged event at
    /// once.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = message.into_request();
        let headers = request.metadata_mut();
        headers.insert("requires-leader", MetadataValue::from_static("true"));
        headers.insert("connection-name", self.connection_name.clone());
        if let Some(authorization) = &self.authorization {
            headers.insert("authorization", authorization.clone());
        }
        request
    }
}

/// An answer that is read event by event. The call ends when this is dropped.
pub(crate) struct EventReader {
    messages: Streaming<ReadResp>,
}

impl EventReader {
    /// The next event; nothing at the end of the answer.
    pub(crate) async fn next(&mut self) -> Result<Option<ServerEvent>, CallError> {
        loop {
            match self.content().await? {
                None => return Ok(None),
                Some(ReadContent::Event(event)) => return stored_event(event.event).map(Some),
                Some(ReadContent::StreamNotFound(_)) => {
                    // To the answer's end, which comes at once. After too many answers that were
                    // cut off, the connection takes what still comes of them for an attack.
                    self.content().await?;
                    return Err(CallError::StreamNotFound);
                }
                Some(_) => {}
            }
        }
    }

    /// The next message of a subscription; nothing where the server has ended it.
    pub(crate) async fn next_message(&mut self) -> Result<Option<SubscriptionMessage>, CallError> {
        let Some(content) = self.content().await? else { return Ok(None) };
        Ok(Some(match content {
            ReadContent::Confirmation(_) => SubscriptionMessage::Confirmed,
            ReadContent::Event(event) => SubscriptionMessage::Event(stored_event(event.event)?),
            ReadContent::Checkpoint(checkpoint) => SubscriptionMessage::Checkpoint(ServerPosition {
                commit: checkpoint.commit_position,
                prepare: checkpoint.prepare_position,
            }),
            ReadContent::CaughtUp(_) => SubscriptionMessage::CaughtUp,
            _ => SubscriptionMessage::Other,
        }))
    }

    async fn content(&mut self) -> Result<Option<ReadContent>, CallError> {
        loop {
            match self.messages.message().await? {
                None => return Ok(None),
                // A kind of message that this program does not know.
                Some(ReadResp { content: None }) => {}
                Some(ReadResp { content }) => return Ok(content),
            }
        }
    }
}

// --- Between the protocol and the store ---

fn identifier(stream: &str) -> StreamIdentifier {
    StreamIdentifier { stream_name: stream.to_owned() }
}

fn write_options(stream: &str, expected: ExpectedRevision) -> WriteOptions {
    WriteOptions { stream: Some(identifier(stream)), expected: Some(expected), deadline: None }
}

fn proposed_message(event: &NewServerEvent) -> ProposedMessage {
    let content_type = if event.is_json { "application/json" } else { "application/octet-stream" };
    ProposedMessage {
        id: Some(protocol_uuid(event.id)),
        metadata: HashMap::from([
            ("type".to_owned(), event.type_name.clone()),
            ("content-type".to_owned(), content_type.to_owned()),
        ]),
        custom_metadata: event.metadata.clone(),
        data: event.data.clone(),
    }
}

fn protocol_uuid(id: Uuid) -> kurrentdb_protocol::Uuid {
    kurrentdb_protocol::Uuid { value: Some(UuidValue::Text(id.to_string())) }
}

fn own_uuid(id: Option<kurrentdb_protocol::Uuid>) -> Option<Uuid> {
    match id?.value? {
        UuidValue::Text(text) => text.parse().ok(),
        UuidValue::Structured(halves) => Some(Uuid::from_u64_pair(
            halves.most_significant_bits.cast_unsigned(),
            halves.least_significant_bits.cast_unsigned(),
        )),
    }
}

/// The server's place for a position, which has a value of its own for the start.
fn all_start(position: ServerPosition) -> AllStart {
    if position.commit == 0 {
        return AllStart::Start(());
    }
    AllStart::Position(kurrentdb_protocol::Position {
        commit_position: position.commit,
        prepare_position: position.prepare,
    })
}

fn appended(success: &kurrentdb_protocol::Success) -> Result<Appended, CallError> {
    use kurrentdb_protocol::{SuccessPosition, SuccessRevision};
    match (success.revision, success.position) {
        (Some(SuccessRevision::Current(revision)), Some(SuccessPosition::Position(position))) => {
            Ok(Appended { revision, position: position.commit_position })
        }
        _ => Err(CallError::Unexpected("an append without its revision and position")),
    }
}

/// The ledger's streams hold no links to other events, so an answer has the event itself.
fn stored_event(event: Option<kurrentdb_protocol::RecordedEvent>) -> Result<ServerEvent, CallError> {
    let unexpected = || CallError::Unexpected("an event that is none");
    let mut event = event.ok_or_else(unexpected)?;
    Ok(ServerEvent {
        type_name: event.metadata.remove("type").unwrap_or_default(),
        stream: event.stream.ok_or_else(unexpected)?.stream_name,
        revision: event.revision,
        position: ServerPosition { commit: event.commit_position, prepare: event.prepare_position },
        metadata: event.custom_metadata,
        data: event.data,
    })
}
