//! Single reads of the whole log, filtered by the server to the ledger's events.
//!
//! The server is silent while it passes over what others have written, which may be most of its
//! log. So a read that gets no answer for a while goes on as a [search](crate::search), which tells
//! how far it is.

use std::sync::Arc;

use crate::{
    client::{CallError, LogRead, NodeClient, ServerEvent, ServerPosition},
    retries::in_time,
    store::Store,
};

/// Says whether the log goes on after the events of one read.
pub(crate) enum ReadEnd {
    /// Perhaps more events, at once.
    More,
    /// Perhaps more events, but the server has sent none for a while.
    Quiet,
    /// No event of the ledger before this position.
    NothingBefore(u64),
    /// Nothing, when it was read.
    LogEnd,
}

impl Store {
    /// Reads at most `count` events of the ledger, and settings of its streams, from a position on
    /// and including it. Callers must have read all events between `last` and that position.
    pub(crate) async fn read_all(
        self: &Arc<Self>,
        last: u64,
        from: ServerPosition,
        count: usize,
    ) -> Result<(Vec<ServerEvent>, ReadEnd), CallError> {
        let ask = async |client: NodeClient| {
            let mut events = Vec::new();
            let read = LogRead::Forwards { from, count: count as u64, filter: Some(self.filter()) };
            let end = match collect(&client, read, count, &mut events).await {
                Ok(end) => end,
                Err(CallError::Silent) if events.last().is_some_and(|last| last.position > from) => ReadEnd::Quiet,
                Err(CallError::Silent) => ReadEnd::NothingBefore(self.search(last, from).await?),
                Err(error) => return Err(error),
            };
            Ok((events, end))
        };
        self.connection.call(ask).await
    }

    /// Whether an event of the ledger is at a position; position 0, the log's start, always passes.
    ///
    /// This read has no filter, so the server answers at once whatever is there: its silence says
    /// nothing about the event.
    pub(crate) async fn is_at(&self, at: u64) -> Result<bool, CallError> {
        if at == 0 {
            return Ok(true);
        }
        let ask = async |client: NodeClient| {
            let read = LogRead::Forwards { from: ServerPosition { commit: at, prepare: at }, count: 1, filter: None };
            let mut events = Vec::new();
            collect(&client, read, 1, &mut events).await.map(|_| events)
        };
        match self.connection.call(ask).await {
            Ok(read) => Ok(read.first().is_some_and(|first| first.position.commit == at && self.owns(first))),
            Err(CallError::InvalidPosition) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Reads at most `count` events of the log, each within [a time limit](in_time).
///
/// A server that filters ends its answer only when it has found one event more, which may never
/// come. It may not even begin its answer before it has found the first.
pub(crate) async fn collect(
    client: &NodeClient,
    read: LogRead,
    count: usize,
    events: &mut Vec<ServerEvent>,
) -> Result<ReadEnd, CallError> {
    let mut read = in_time(client.read_all(read)).await?;
    while events.len() < count {
        match in_time(read.next()).await? {
            Some(event) => events.push(event),
            None => return Ok(ReadEnd::LogEnd),
        }
    }
    Ok(ReadEnd::More)
}
