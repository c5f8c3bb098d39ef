//! The services of the protocol: the handler of each path, and the answers that outcomes get.

use std::{collections::HashMap, net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::State,
    http,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::post,
};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use kurrentdb_protocol::{
    self as protocol, AnyMessage, AppendContent, AppendReq, AppendResp, AppendResult, BatchAppendReq, BatchAppendResp,
    BatchAppendResult, ClusterInfo, DeleteReq, DeleteResp, EndPoint, ExpectedRevision, MemberInfo, NodeState, Position,
    ProposedMessage, ReadReq, RpcStatus, StreamIdentifier, Success, SuccessPosition, SuccessRevision, SupportedMethod,
    SupportedMethods, WriteOptions, WrongExpectedVersion, WrongExpectedVersionDetail, method,
};
use prost::{Message, bytes::Bytes};
use tokio::sync::{mpsc, watch};
use tonic::{Code, Request, Status, Streaming, metadata::BinaryMetadataValue, server::Grpc};
use tonic_prost::ProstCodec;
use tower::service_fn;
use uuid::Uuid;

use crate::{
    calls::note_call,
    clock,
    late_append::with_late_message,
    log::{Leader, Log, WriteOutcome},
    read,
    requests::{not_given, status, stream_deleted, stream_name, uuid_from_client, uuid_from_server},
    write_rules::{ProposedEvent, StreamChange, Write},
};

/// The version of KurrentDB that this server imitates.
const SERVER_VERSION: &str = "25.0.0";

/// Largest append in bytes: the server's default.
const APPEND_BYTES_MAX: usize = 1024 * 1024;

/// Largest message in bytes. Larger ones are refused.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The state that all services share.
#[derive(Debug)]
pub struct ServerState {
    pub log: Log,
    /// The address at which clients reach this server.
    pub address: SocketAddr,
    /// The addresses of the nodes of its cluster, including this one.
    pub nodes: Vec<SocketAddr>,
    /// Changes when all subscriptions must end.
    pub ends: watch::Receiver<()>,
    /// The name and password of the only user that may read and write streams.
    pub user: Option<String>,
    /// How many events a second one read of `$all` gives out at most.
    pub read_rate: Option<NonZeroU32>,
    /// The append of each batch call that is done after the one that follows it.
    pub late_append: Option<usize>,
    /// How long after its last message the answer to a read ends.
    pub late_end: Duration,
}

type SharedServer = State<Arc<ServerState>>;
type HttpRequest = http::Request<Body>;

/// All paths.
pub fn routes(server: Arc<ServerState>) -> Router {
    Router::new()
        .route(method::READ, post(read))
        .route(method::APPEND, post(append))
        .route(method::BATCH_APPEND, post(batch_append))
        .route(method::DELETE, post(delete))
        .route(method::TOMBSTONE, post(tombstone))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&server), lead))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&server), admit))
        // Every client may call these.
        .route(method::SUPPORTED_METHODS, post(supported_methods))
        .route(method::GOSSIP, post(gossip))
        .fallback(async || Status::unimplemented("the stand-in does not do this").into_http::<Body>())
        .with_state(server)
}

/// Lets the calls of permitted users pass.
async fn admit(State(server): SharedServer, request: HttpRequest, next: Next) -> Response {
    let Some(user) = &server.user else { return next.run(request).await };
    let refusal = match request.headers().get(http::header::AUTHORIZATION) {
        None => status(Code::PermissionDenied, "Access Denied".to_owned(), &[("exception", "access-denied")]),
        Some(given) => {
            // The library's base64 has no padding.
            let expected = BinaryMetadataValue::from_bytes(user.as_bytes());
            let given = given.to_str().ok().and_then(|given| given.strip_prefix("Basic ")).unwrap_or_default();
            if given.trim_end_matches('=').as_bytes() == expected.as_encoded_bytes() {
                return next.run(request).await;
            }
            Status::unauthenticated("")
        }
    };
    refusal.into_http::<Body>()
}

/// Lets the calls pass that this node may answer. A node that follows answers only reads, and only
/// those that do not require the leader. Unlike a real server it forwards no writes to the leader.
async fn lead(State(server): SharedServer, request: HttpRequest, next: Next) -> Response {
    let is_read = request.uri().path().ends_with("/Read");
    let asks_for_leader = request.headers().get("requires-leader").is_some_and(|value| value == "true");
    let leader = *server.log.leader().borrow();
    if leader == Leader::This || (is_read && !asks_for_leader) {
        return next.run(request).await;
    }
    not_leader(leader).into_http::<Body>()
}

/// The refusal of a node that does not lead.
fn not_leader(leader: Leader) -> Status {
    let Leader::Other(leader) = leader else { return not_ready() };
    status(
        Code::NotFound,
        "Leader info available".to_owned(),
        &[
            ("exception", "not-leader"),
            ("leader-endpoint-host", &leader.ip().to_string()),
            ("leader-endpoint-port", &leader.port().to_string()),
        ],
    )
}

fn grpc<Answer: Message + 'static, Asked: Message + Default + 'static>() -> Grpc<ProstCodec<Answer, Asked>> {
    Grpc::new(ProstCodec::default()).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

async fn read(State(server): SharedServer, request: HttpRequest) -> Response {
    let answer = service_fn(async |request: Request<ReadReq>| {
        let options = request.into_inner().options.ok_or_else(|| not_given("options"))?;
        let answer = read::answer(server.log.clone(), server.ends.clone(), options, server.read_rate, server.late_end);
        Ok(tonic::Response::new(receive(answer)))
    });
    grpc().server_streaming(answer, request).await.into_response()
}

async fn append(State(server): SharedServer, request: HttpRequest) -> Response {
    let answer = service_fn(async |request: Request<Streaming<AppendReq>>| {
        let mut messages = request.into_inner();
        let Some(AppendContent::Options(options)) = messages.message().await?.and_then(|first| first.content) else {
            return Err(not_given("options"));
        };
        let (stream, expected) = target(Some(options))?;
        let mut proposed = Vec::new();
        while let Some(message) = messages.message().await? {
            let Some(AppendContent::Proposed(message)) = message.content else {
                return Err(not_given("an event"));
            };
            proposed.push(message);
        }
        note_call("append", &stream);
        let change = StreamChange::Append(new_events(proposed)?);
        let result = match write(&server.log, Write { stream: stream.clone(), expected, change }).await? {
            WriteOutcome::Done { revision, position } => AppendResult::Success(success(revision, position)),
            WriteOutcome::WrongRevision { current } => {
                AppendResult::WrongExpectedVersion(wrong_version(current, expected))
            }
            WriteOutcome::StreamDeleted => return Err(stream_deleted(&stream)),
        };
        Ok(tonic::Response::new(AppendResp { result: Some(result) }))
    });
    grpc().client_streaming(answer, with_whole_body(request)).await.into_response()
}

/// The request, with an error where the client cut its body short. `tonic` takes a call that was
/// cancelled for one that has come to its end, so a part of an append would be written.
fn with_whole_body(request: HttpRequest) -> HttpRequest {
    let cut = |_| Status::aborted("the client cut the call short");
    request.map(|body| Body::from_stream(body.into_data_stream().map_err(cut)))
}

async fn batch_append(State(server): SharedServer, request: HttpRequest) -> Response {
    let answer = service_fn(async |request: Request<Streaming<BatchAppendReq>>| {
        let (answers, answer) = mpsc::channel(64);
        let messages = with_late_message(request.into_inner(), server.late_append);
        tokio::spawn(batch_append_all(server.log.clone(), messages, answers));
        Ok(tonic::Response::new(receive(answer)))
    });
    grpc().streaming(answer, request).await.into_response()
}

/// Queues the appends of a call in their order, and answers each when it is done.
async fn batch_append_all(
    log: Log,
    mut messages: impl Stream<Item = Result<BatchAppendReq, Status>> + Unpin,
    answers: mpsc::Sender<Result<BatchAppendResp, Status>>,
) {
    let mut unfinished: HashMap<Vec<u8>, (WriteOptions, Vec<ProposedMessage>)> = HashMap::new();
    loop {
        let message = match messages.next().await {
            Some(Ok(message)) => message,
            None => return,
            Some(Err(status)) => {
                let _ = answers.send(Err(status)).await;
                return;
            }
        };
        let correlation_id = message.correlation_id;
        let key = correlation_id.as_ref().map(Message::encode_to_vec).unwrap_or_default();
        if let Some(options) = message.options {
            unfinished.insert(key.clone(), (options, Vec::new()));
        }
        let Some((_, proposed)) = unfinished.get_mut(&key) else { continue };
        proposed.extend(message.proposed);
        if !message.is_final {
            continue;
        }
        let Some((options, proposed)) = unfinished.remove(&key) else { continue };
        let stream = options.stream.clone();
        let expected = options.expected;
        let queued = target(Some(options)).and_then(|(stream, expected)| {
            note_call("batch append", &stream);
            let change = StreamChange::Append(new_events(proposed)?);
            Ok(log.write(Write { stream, expected, change }))
        });
        let (answers, leader) = (answers.clone(), log.leader());
        tokio::spawn(async move {
            let result = match queued {
                Ok(outcome) => match outcome.await {
                    Ok(outcome) => batch_result(outcome, stream.as_ref(), expected),
                    // The end of the call, with all of its appends.
                    Err(_) => {
                        let refusal = not_leader(*leader.borrow());
                        let _ = answers.send(Err(refusal)).await;
                        return;
                    }
                },
                Err(status) if status.metadata().contains_key("maximum-append-size") => {
                    batch_error(status.code(), "MaximumAppendSizeExceeded", None)
                }
                Err(status) => batch_error(status.code(), status.message(), None),
            };
            let _ = answers.send(Ok(BatchAppendResp { correlation_id, result: Some(result), stream })).await;
        });
    }
}

fn batch_result(
    outcome: WriteOutcome,
    stream: Option<&StreamIdentifier>,
    expected: Option<ExpectedRevision>,
) -> BatchAppendResult {
    match outcome {
        WriteOutcome::Done { revision, position } => BatchAppendResult::Success(success(revision, position)),
        WriteOutcome::WrongRevision { current } => {
            let version = wrong_version(current, expected.unwrap_or(ExpectedRevision::Any(())));
            let detail = WrongExpectedVersionDetail {
                current_revision: version.current_revision,
                current_no_stream: version.current_no_stream,
                expected_revision: version.expected_revision,
                expected_any: version.expected_any,
                expected_stream_exists: version.expected_stream_exists,
                expected_no_stream: version.expected_no_stream,
            };
            let detail = Some(any("event_store.client.WrongExpectedVersion", &detail));
            batch_error(Code::AlreadyExists, "WrongExpectedVersion", detail)
        }
        WriteOutcome::StreamDeleted => {
            let detail = protocol::StreamNotFound { stream: stream.cloned() };
            batch_error(Code::NotFound, "StreamDeleted", Some(any("event_store.client.StreamDeleted", &detail)))
        }
    }
}

fn batch_error(code: Code, message: &str, details: Option<AnyMessage>) -> BatchAppendResult {
    BatchAppendResult::Error(RpcStatus { code: code.into(), message: message.to_owned(), details })
}

fn any(name: &str, message: &impl Message) -> AnyMessage {
    AnyMessage { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec().into() }
}

async fn delete(State(server): SharedServer, request: HttpRequest) -> Response {
    delete_by(StreamChange::Delete, "Delete", server, request).await
}

async fn tombstone(State(server): SharedServer, request: HttpRequest) -> Response {
    delete_by(StreamChange::Tombstone, "Tombstone", server, request).await
}

async fn delete_by(change: StreamChange, operation: &str, server: Arc<ServerState>, request: HttpRequest) -> Response {
    let mut change = Some(change);
    let answer = service_fn(|request: Request<DeleteReq>| {
        let (server, change) = (Arc::clone(&server), change.take());
        async move {
            let (stream, expected) = target(request.into_inner().options)?;
            let change = change.expect("called once");
            match write(&server.log, Write { stream: stream.clone(), expected, change }).await? {
                WriteOutcome::Done { position, .. } => {
                    Ok(tonic::Response::new(DeleteResp { position: position.map(both_positions) }))
                }
                WriteOutcome::WrongRevision { current } => {
                    let message = format!(
                        "{operation} failed due to WrongExpectedVersion. Stream: {stream}, Expected version: {}, Actual version: {}",
                        number(expected),
                        current.map_or(-1, u64::cast_signed),
                    );
                    Err(status(
                        Code::FailedPrecondition,
                        message,
                        &[
                            ("exception", "wrong-expected-version"),
                            ("stream-name", &stream),
                            ("expected-version", &number(expected).to_string()),
                            ("actual-version", &current.map_or(-1, u64::cast_signed).to_string()),
                        ],
                    ))
                }
                WriteOutcome::StreamDeleted => Err(stream_deleted(&stream)),
            }
        }
    });
    grpc().unary(answer, request).await.into_response()
}

async fn supported_methods(request: HttpRequest) -> Response {
    let answer = service_fn(async |_: Request<()>| {
        let method = |service: &str, name: &str, features: &[&str]| SupportedMethod {
            method_name: name.to_owned(),
            service_name: service.to_owned(),
            features: features.iter().map(|feature| (*feature).to_owned()).collect(),
        };
        let streams = "event_store.client.streams.streams";
        let methods = vec![
            method(streams, "read", &["position", "events"]),
            method(streams, "append", &[]),
            method(streams, "batchappend", &["deadline_duration"]),
            method(streams, "delete", &[]),
            method(streams, "tombstone", &[]),
            method("event_store.client.server_features.serverfeatures", "getsupportedmethods", &[]),
            method("event_store.client.gossip.gossip", "read", &[]),
        ];
        Ok(tonic::Response::new(SupportedMethods { methods, server_version: SERVER_VERSION.to_owned() }))
    });
    grpc().unary(answer, request).await.into_response()
}

async fn gossip(State(server): SharedServer, request: HttpRequest) -> Response {
    let answer = service_fn(async |_: Request<()>| {
        let leader = *server.log.leader().borrow();
        let state = |node: SocketAddr| match leader {
            Leader::Unknown => NodeState::Unknown,
            Leader::This if node == server.address => NodeState::Leader,
            Leader::Other(leader) if node == leader => NodeState::Leader,
            Leader::This | Leader::Other(_) => NodeState::Follower,
        };
        // All nodes count as alive. A client that goes to a dead one finds out.
        let member = |(number, node): (u128, &SocketAddr)| MemberInfo {
            instance_id: Some(uuid_from_server(Uuid::from_u128(number), false)),
            time_stamp: clock::ticks(),
            state: state(*node) as i32,
            is_alive: true,
            http_end_point: Some(EndPoint { address: node.ip().to_string(), port: node.port().into() }),
        };
        let members = (1..).zip(&server.nodes).map(member).collect();
        Ok(tonic::Response::new(ClusterInfo { members }))
    });
    grpc().unary(answer, request).await.into_response()
}

// --- Between the protocol and the log ---

/// The stream and the expected revision of a write.
fn target(options: Option<WriteOptions>) -> Result<(String, ExpectedRevision), Status> {
    let options = options.ok_or_else(|| not_given("options"))?;
    let expected = options.expected.ok_or_else(|| not_given("an expected revision"))?;
    Ok((stream_name(options.stream)?, expected))
}

fn new_events(proposed: Vec<ProposedMessage>) -> Result<Vec<ProposedEvent>, Status> {
    let mut bytes = 0;
    let mut events = Vec::with_capacity(proposed.len());
    for mut message in proposed {
        let mut required = |name: &str| {
            message.metadata.remove(name).ok_or_else(|| {
                let text = format!("Required Metadata Property '{name}' is missing");
                let exception = ("exception", "missing-required-metadata-property");
                status(Code::InvalidArgument, text, &[exception])
            })
        };
        let event_type = required("type")?;
        let is_json = required("content-type")? == "application/json";
        bytes += message.data.len() + message.custom_metadata.len() + 2 * event_type.len();
        if bytes > APPEND_BYTES_MAX {
            let text = format!("Maximum Append Size of {APPEND_BYTES_MAX} Exceeded.");
            let exception = ("exception", "maximum-append-size-exceeded");
            let size = APPEND_BYTES_MAX.to_string();
            return Err(status(Code::InvalidArgument, text, &[exception, ("maximum-append-size", &size)]));
        }
        let id = uuid_from_client(message.id)?;
        let (custom_metadata, data) = (copy(message.custom_metadata), copy(message.data));
        events.push(ProposedEvent { id, event_type, is_json, custom_metadata, data });
    }
    Ok(events)
}

/// Copies, because an event that is kept must not keep the whole message that it came in.
fn copy(bytes: Bytes) -> Bytes {
    Bytes::copy_from_slice(&bytes)
}

async fn write(log: &Log, write: Write) -> Result<WriteOutcome, Status> {
    log.write(write).await.map_err(|_| not_ready())
}

fn success(revision: Option<u64>, position: Option<u64>) -> Success {
    Success {
        revision: Some(revision.map_or(SuccessRevision::NoStream(()), SuccessRevision::Current)),
        position: Some(
            position.map_or(SuccessPosition::None(()), |position| SuccessPosition::Position(both_positions(position))),
        ),
    }
}

fn both_positions(position: u64) -> Position {
    Position { commit_position: position, prepare_position: position }
}

fn wrong_version(current: Option<u64>, expected: ExpectedRevision) -> WrongExpectedVersion {
    let no_stream = current.is_none().then_some(());
    let mut version = WrongExpectedVersion {
        current_revision_20_6_0: current,
        current_revision: current,
        no_stream_20_6_0: no_stream,
        current_no_stream: no_stream,
        ..WrongExpectedVersion::default()
    };
    match expected {
        ExpectedRevision::Exact(revision) => {
            version.expected_revision_20_6_0 = Some(revision);
            version.expected_revision = Some(revision);
        }
        ExpectedRevision::NoStream(()) => {
            version.expected_revision_20_6_0 = Some(u64::MAX);
            version.expected_no_stream = Some(());
        }
        ExpectedRevision::Any(()) => {
            version.any_20_6_0 = Some(());
            version.expected_any = Some(());
        }
        ExpectedRevision::StreamExists(()) => {
            version.stream_exists_20_6_0 = Some(());
            version.expected_stream_exists = Some(());
        }
    }
    version
}

/// An expected revision as the number that the server uses in its messages.
fn number(expected: ExpectedRevision) -> i64 {
    match expected {
        ExpectedRevision::Exact(revision) => revision.cast_signed(),
        ExpectedRevision::NoStream(()) => -1,
        ExpectedRevision::Any(()) => -2,
        ExpectedRevision::StreamExists(()) => -4,
    }
}

fn not_ready() -> Status {
    Status::unavailable("Server Is Not Ready")
}

/// The messages of a channel, as the stream of an answer.
fn receive<T>(channel: mpsc::Receiver<T>) -> impl futures::Stream<Item = T> + Send
where
    T: Send + 'static,
{
    stream::unfold(channel, async |mut channel| channel.recv().await.map(|message| (message, channel))).boxed()
}
