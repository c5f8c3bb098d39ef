//! Many appends on one call (batch append).

use futures::{FutureExt as _, future::BoxFuture, stream};
use kurrentdb_protocol::{
    BatchAppendReq, BatchAppendResp, BatchAppendResult, Duration, ExpectedRevision, RpcStatus, WriteOptions,
    WrongExpectedVersionDetail, method,
};
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;
use uuid::Uuid;

use super::{
    Appended, CallError, NewServerEvent, NodeClient, appended, own_uuid, proposed_message, protocol_uuid, write_options,
};

/// How long the server may take for one append of a batch call.
const DEADLINE: Duration = Duration { seconds: 10, nanos: 0 };

/// A call that takes many appends, and answers each of them. The server does them in the order of
/// sending, as far as was seen, and promises no order.
pub(crate) struct BatchCall {
    /// The first half of the ids of its appends; the second is the number of the append.
    id: u64,
    /// Without a bound, so that no caller waits for room while the server waits for the caller to
    /// take answers. The caller bounds the appends in flight.
    requests: mpsc::UnboundedSender<BatchAppendReq>,
    answers: Answers,
}

/// The answer to one append of a call.
pub(crate) struct BatchAnswer {
    /// The number of the append.
    pub(crate) number: usize,
    pub(crate) outcome: Result<Appended, CallError>,
}

/// The server begins its answer only when it has answered the first append.
enum Answers {
    Expected(BoxFuture<'static, Result<Streaming<BatchAppendResp>, Status>>),
    Begun(Box<Streaming<BatchAppendResp>>),
    Ended,
}

impl NodeClient {
    /// Opens a call that takes many appends.
    pub(crate) fn batch_append(&self) -> BatchCall {
        let (requests, receiver) = mpsc::unbounded_channel();
        let messages =
            stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|message| (message, receiver)));
        let client = self.clone();
        let answers = async move {
            let (mut grpc, path) = client.method(method::BATCH_APPEND).await?;
            let request = client.request(messages);
            Ok(grpc.streaming(request, path, ProstCodec::default()).await?.into_inner())
        };
        BatchCall { id: Uuid::new_v4().as_u64_pair().1, requests, answers: Answers::Expected(answers.boxed()) }
    }
}

impl BatchCall {
    /// Numbers the appends to come anew: an answer to an earlier one is none to them.
    pub(crate) fn number_anew(&mut self) {
        self.id = Uuid::new_v4().as_u64_pair().1;
    }

    /// Sends an append of events to the stream of this name, under a number that no other append
    /// has had since they were numbered anew. [`BatchCall::answer`] must be awaited for it to go
    /// out.
    pub(crate) fn send(&self, number: usize, stream: &str, expected: ExpectedRevision, events: &[NewServerEvent]) {
        let request = BatchAppendReq {
            correlation_id: Some(protocol_uuid(Uuid::from_u64_pair(self.id, number as u64))),
            options: Some(WriteOptions { deadline: Some(DEADLINE), ..write_options(stream, expected) }),
            proposed: events.iter().map(proposed_message).collect(),
            is_final: true,
        };
        // Where this fails the call has ended, and the next answer says why.
        let _ = self.requests.send(request);
    }

    /// The next answer, to any of the appends in flight. An error ends the call: the outcomes of
    /// all appends in flight are then unknown.
    pub(crate) async fn answer(&mut self) -> Result<BatchAnswer, CallError> {
        loop {
            let Some(answer) = self.answers.next().await? else {
                return Err(Status::unavailable("the server has ended the call").into());
            };
            let Some((id, number)) = own_uuid(answer.correlation_id).map(|id| id.as_u64_pair()) else { continue };
            let Some(number) = usize::try_from(number).ok().filter(|_| id == self.id) else { continue };
            let outcome = match answer.result {
                Some(BatchAppendResult::Success(success)) => appended(&success),
                Some(BatchAppendResult::Error(status)) => Err(refusal(&status)),
                None => Err(CallError::Unexpected("an append with nothing")),
            };
            return Ok(BatchAnswer { number, outcome });
        }
    }
}

impl Answers {
    async fn next(&mut self) -> Result<Option<BatchAppendResp>, Status> {
        loop {
            match self {
                Self::Expected(answers) => match answers.await {
                    Ok(answers) => *self = Self::Begun(Box::new(answers)),
                    Err(status) => {
                        *self = Self::Ended;
                        return Err(status);
                    }
                },
                Self::Begun(answers) => return answers.message().await,
                Self::Ended => return Ok(None),
            }
        }
    }
}

fn refusal(status: &RpcStatus) -> CallError {
    let detail = status.details.as_ref().and_then(|details| {
        let is_wrong_version = details.type_url.ends_with("/event_store.client.WrongExpectedVersion");
        is_wrong_version.then(|| WrongExpectedVersionDetail::decode(details.value.clone()).ok()).flatten()
    });
    match (detail, status.message.as_str()) {
        (Some(detail), _) => CallError::WrongRevision { current: detail.current_revision },
        (None, "StreamDeleted") => CallError::StreamDeleted,
        (None, "MaximumAppendSizeExceeded") => CallError::TooLarge,
        _ => Status::new(Code::from(status.code), status.message.clone()).into(),
    }
}
