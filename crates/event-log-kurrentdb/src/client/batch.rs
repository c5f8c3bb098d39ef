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

/// A call that takes many appends. It ends with its first failure.
pub(crate) struct BatchCall {
    requests: mpsc::Sender<BatchAppendReq>,
    answers: Answers,
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
        let (requests, receiver) = mpsc::channel(1);
        let messages =
            stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|message| (message, receiver)));
        let client = self.clone();
        let answers = async move {
            let (mut grpc, path) = client.method(method::BATCH_APPEND).await?;
            let request = client.request(messages);
            Ok(grpc.streaming(request, path, ProstCodec::default()).await?.into_inner())
        };
        BatchCall { requests, answers: Answers::Expected(answers.boxed()) }
    }
}

impl BatchCall {
    /// Appends events to the stream of this name, and waits for the answer.
    pub(crate) async fn append(
        &mut self,
        stream: &str,
        expected: ExpectedRevision,
        events: &[NewServerEvent],
    ) -> Result<Appended, CallError> {
        let id = Uuid::new_v4();
        let request = BatchAppendReq {
            correlation_id: Some(protocol_uuid(id)),
            options: Some(WriteOptions { deadline: Some(DEADLINE), ..write_options(stream, expected) }),
            proposed: events.iter().map(proposed_message).collect(),
            is_final: true,
        };
        // Where this fails the call has ended, and the next answer says why.
        let _ = self.requests.send(request).await;
        loop {
            let Some(answer) = self.answers.next().await? else {
                return Err(Status::unavailable("the server has ended the call").into());
            };
            if own_uuid(answer.correlation_id) != Some(id) {
                continue;
            }
            return match answer.result {
                Some(BatchAppendResult::Success(success)) => appended(&success),
                Some(BatchAppendResult::Error(status)) => Err(refusal(&status)),
                None => Err(CallError::Unexpected("an append with nothing")),
            };
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
        _ => Status::new(Code::from(status.code), status.message.clone()).into(),
    }
}
