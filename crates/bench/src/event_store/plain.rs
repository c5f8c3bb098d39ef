//! The yardstick: what a plain client of the server does in the same run.
//!
//! It speaks gRPC over one connection with `TCP_NODELAY`, and knows nothing of the ledger: what
//! makes the ledger's store slow must not make this client slow, too.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use domain::Stream;
use event_log_kurrentdb::{LeaderAddress, StreamPrefix};
use futures::stream;
use hyper_util::rt::TokioIo;
use kurrentdb_protocol::{
    AllOptions, AllStart, AppendContent, AppendReq, AppendResp, AppendResult, BatchAppendReq, BatchAppendResp,
    BatchAppendResult, ControlOption, ExpectedRevision, FilterBy, FilterExpression, FilterOption, FilterOptions,
    FilterWindow, ProposedMessage, ReadContent, ReadCount, ReadFrom, ReadOptions, ReadReq, ReadResp, StreamIdentifier,
    UuidOption, UuidValue, WriteOptions, method,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tonic::{
    IntoRequest as _, Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint, Uri},
};
use tonic_prost::ProstCodec;
use tower::service_fn;
use uuid::Uuid;

use super::table::ServerTable;
use crate::{
    measure::{calls, number},
    progress::in_stage,
};

/// How long the server may take for any answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// How long the server may take for an append of a batch call.
const DEADLINE: kurrentdb_protocol::Duration = kurrentdb_protocol::Duration { seconds: 30, nanos: 0 };

/// The number of callers that append at a time.
pub(super) const CALLERS: u64 = 64;

/// The bytes of an event's data.
const DATA_BYTES: usize = 500;

/// Events of the server that a filtered read looks at before it sends those that it found: the
/// default of 32 is slower.
const FILTER_WINDOW_EVENTS: u32 = 500;

/// The first indexes of prisoner numbers of the measurements, which share none.
const ONE_CALLER: u64 = 0;
const MANY_CALLERS: u64 = 20_000_000;
const BATCHES_256: u64 = 40_000_000;
const BATCHES_1024: u64 = 60_000_000;

/// The figures that those of the ledger are divided by.
pub(super) struct PlainRates {
    /// The median time of an append by one caller.
    pub(super) append: Duration,
    /// Appends a second by [`CALLERS`].
    pub(super) appends: f64,
    /// Appends a second on one batch call, 256 in flight.
    pub(super) batches_256: f64,
}

/// Measures appends to streams with a prefix.
pub(super) async fn measure(
    client: &PlainClient,
    prefix: &StreamPrefix,
    duration: Duration,
    table: &mut ServerTable,
) -> anyhow::Result<PlainRates> {
    let name = |index| format!("{prefix}{}", Stream::Prisoner(number(index)));
    let appending = |callers, first| calls(callers, duration, move |index| client.append(name(first + index)));
    let alone = in_stage("appending by a plain client", appending(1, ONE_CALLER)).await?;
    table.plain_time("plain client: append of one event, one caller, median", alone.median);
    let many = in_stage("appending by a plain client", appending(CALLERS, MANY_CALLERS)).await?;
    table.plain_rate(&format!("plain client: appends of one event, {CALLERS} callers"), many.rate);
    let mut batches = [0.0; 2];
    for (rate, (in_flight, first)) in batches.iter_mut().zip([(256, BATCHES_256), (1_024, BATCHES_1024)]) {
        let appending = client.batch_append(in_flight, duration, |index| name(first + index));
        *rate = in_stage("appending by a plain client", appending).await?;
        table.plain_rate(&format!("plain client: appends on one batch call, {in_flight} in flight"), *rate);
    }
    Ok(PlainRates { append: alone.median, appends: many.rate, batches_256: batches[0] })
}

/// The events that a plain client has read.
pub(super) struct PlainRead {
    pub(super) events: u64,
    pub(super) taken: Duration,
}

/// A client of the node that leads.
pub(super) struct PlainClient {
    channel: Channel,
    authorization: Option<MetadataValue<Ascii>>,
}

impl PlainClient {
    /// Connects to the node that leads.
    pub(super) async fn connect(leader: LeaderAddress) -> anyhow::Result<Self> {
        let LeaderAddress { host, authority, tls, authorization } = leader;
        let uri = |scheme: &str| format!("{scheme}://{authority}").parse::<Uri>();
        // The library would want to encrypt by itself what is sent to an `https` URI.
        let endpoint = Endpoint::from(uri("http")?)
            .origin(uri(if tls.is_some() { "https" } else { "http" })?)
            .http2_adaptive_window(true);
        let connector = service_fn(move |_: Uri| {
            let (host, authority, tls) = (host.clone(), authority.clone(), tls.clone());
            async move { open_socket(&host, &authority, tls).await.map(TokioIo::new) }
        });
        let channel = in_time(endpoint.connect_with_connector(connector)).await.context("connect the plain client")?;
        Ok(Self { channel, authorization })
    }

    /// Appends an event to a new stream.
    async fn append(&self, stream: String) -> anyhow::Result<()> {
        let messages = [AppendContent::Options(options(stream)), AppendContent::Proposed(event())];
        let messages = messages.map(|content| AppendReq { content: Some(content) });
        let (mut grpc, path) = self.method(method::APPEND).await?;
        let call = grpc.client_streaming(self.request(stream::iter(messages)), path, ProstCodec::default());
        let answer: AppendResp = in_time(call).await.context("append by a plain client")?.into_inner();
        match answer.result {
            Some(AppendResult::Success(_)) => Ok(()),
            other => bail!("the server answers an append to a new stream with {other:?}"),
        }
    }

    /// Appends an event each to new streams on one call, so many at a time. Answers how many a
    /// second were acknowledged.
    async fn batch_append(
        &self,
        in_flight: u64,
        duration: Duration,
        name: impl Fn(u64) -> String,
    ) -> anyhow::Result<f64> {
        let (requests, receiver) = mpsc::channel(usize::try_from(in_flight)?);
        let messages =
            stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|message| (message, receiver)));
        let (mut grpc, path) = self.method(method::BATCH_APPEND).await?;
        let started = Instant::now();
        for index in 0..in_flight {
            requests.send(batch(name(index))).await?;
        }
        // The server begins its answer only when it has done the first append.
        let answers = in_time(grpc.streaming(self.request(messages), path, ProstCodec::default())).await;
        let mut answers = answers.context("append by a plain client, many on one call")?.into_inner();
        let (mut sent, mut answered) = (in_flight, 0);
        while answered < sent {
            let answer: Option<BatchAppendResp> = in_time(answers.message()).await?;
            match answer.and_then(|answer| answer.result) {
                Some(BatchAppendResult::Success(_)) => answered += 1,
                other => bail!("the server answers an append to a new stream with {other:?}"),
            }
            if started.elapsed() < duration {
                requests.send(batch(name(sent))).await?;
                sent += 1;
            }
        }
        Ok(super::table::per_second(answered, started.elapsed()))
    }

    /// Reads all events of streams with a prefix, of which there must be some.
    pub(super) async fn read(&self, prefix: &StreamPrefix) -> anyhow::Result<PlainRead> {
        let filter = FilterOptions {
            by: Some(FilterBy::Stream(FilterExpression { regex: String::new(), prefix: vec![prefix.to_string()] })),
            window: Some(FilterWindow::Max(FILTER_WINDOW_EVENTS)),
            checkpoint_interval_multiplier: 1,
        };
        let options = ReadOptions {
            from: Some(ReadFrom::All(AllOptions { start: Some(AllStart::Start(())) })),
            direction: 0,
            count: Some(ReadCount::Count(u64::MAX)),
            filter: Some(FilterOption::Filter(filter)),
            uuid_option: Some(UuidOption { text: Some(()) }),
            control: Some(ControlOption { compatibility: 1 }),
        };
        let (mut grpc, path) = self.method(method::READ).await?;
        let started = Instant::now();
        let call = grpc.server_streaming(self.request(ReadReq { options: Some(options) }), path, ProstCodec::default());
        let mut answer = in_time(call).await.context("read by a plain client")?.into_inner();
        let mut read = PlainRead { events: 0, taken: Duration::ZERO };
        while let Some(message) = in_time(answer.message()).await.context("read by a plain client")? {
            let ReadResp { content: Some(ReadContent::Event(event)) } = message else { continue };
            std::hint::black_box(event);
            read = PlainRead { events: read.events + 1, taken: started.elapsed() };
        }
        if read.events == 0 {
            bail!("the plain client reads none of the events that were made up, whose streams begin with `{prefix}`");
        }
        Ok(read)
    }

    async fn method(&self, path: &'static str) -> anyhow::Result<(Grpc<Channel>, PathAndQuery)> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.context("call the server by a plain client")?;
        Ok((grpc, PathAndQuery::from_static(path)))
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = message.into_request();
        request.metadata_mut().insert("requires-leader", MetadataValue::from_static("true"));
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }
}

/// Limits the time of an answer.
async fn in_time<T, E>(answer: impl Future<Output = Result<T, E>>) -> anyhow::Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let answer = timeout(ANSWER_TIME_MAX, answer).await;
    Ok(answer.with_context(|| format!("the server does not answer within {} s", ANSWER_TIME_MAX.as_secs()))??)
}

/// A connection's bytes, encrypted or not.
trait ServerSocket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ServerSocket for T {}

async fn open_socket(host: &str, authority: &str, tls: Option<Arc<ClientConfig>>) -> io::Result<Box<dyn ServerSocket>> {
    let tcp = TcpStream::connect(authority).await?;
    tcp.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(tls).connect(name, tcp).await?))
}

fn options(stream: String) -> WriteOptions {
    let stream = Some(StreamIdentifier { stream_name: stream });
    WriteOptions { stream, expected: Some(ExpectedRevision::NoStream(())), deadline: None }
}

fn batch(stream: String) -> BatchAppendReq {
    BatchAppendReq {
        correlation_id: Some(new_id()),
        options: Some(WriteOptions { deadline: Some(DEADLINE), ..options(stream) }),
        proposed: vec![event()],
        is_final: true,
    }
}

fn event() -> ProposedMessage {
    let metadata = [("type", "Measured"), ("content-type", "application/octet-stream")];
    ProposedMessage {
        id: Some(new_id()),
        metadata: HashMap::from(metadata.map(|(name, value)| (name.to_owned(), value.to_owned()))),
        custom_metadata: Vec::new().into(),
        data: vec![b'x'; DATA_BYTES].into(),
    }
}

fn new_id() -> kurrentdb_protocol::Uuid {
    kurrentdb_protocol::Uuid { value: Some(UuidValue::Text(Uuid::new_v4().to_string())) }
}
