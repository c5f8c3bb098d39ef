//! An append that is done late, for tests: a server does not promise the order of a call's appends.

use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use kurrentdb_protocol::BatchAppendReq;
use tokio::time::timeout;
use tonic::{Status, Streaming};

/// How long the message that must overtake another one is waited for.
const NEXT_MESSAGE_WAIT: Duration = Duration::from_millis(100);

/// The messages of a call in their order, but the one of a given number, counted from 1, after the
/// next one, if that comes soon.
pub fn with_late_message(
    messages: Streaming<BatchAppendReq>,
    late: Option<usize>,
) -> impl Stream<Item = Result<BatchAppendReq, Status>> + Send + 'static {
    // The second part counts down to the late message.
    let next = async |(mut messages, left, held): (Streaming<_>, Option<usize>, Option<_>)| {
        if let Some(held) = held {
            return Some((Ok(held), (messages, None, None)));
        }
        let message = messages.message().await.transpose()?;
        let left = left.and_then(|left| left.checked_sub(1));
        if left == Some(0)
            && message.is_ok()
            && let Ok(Ok(Some(next))) = timeout(NEXT_MESSAGE_WAIT, messages.message()).await
        {
            return Some((Ok(next), (messages, None, message.ok())));
        }
        Some((message, (messages, left, None)))
    };
    stream::unfold((messages, late, None), next).boxed()
}
