//! A log without events that takes none.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{event::Stream, identifier::CommandId};
use event_log::{
    AppendError, AppendReceipt, EventLog, ExpectedRevision, FollowerItem, KeySpending, LogError, NewEvent,
    RecordedEvent, Snapshot, SpentKey,
};
use futures::stream::{BoxStream, StreamExt as _, empty};

/// A log that answers every read with nothing and every append with an outage, so that requests are
/// decided and nothing is kept from one to the next.
pub struct EmptyLog;

fn outage() -> LogError {
    LogError::Unavailable("the log takes no events".into())
}

#[async_trait]
impl EventLog for EmptyLog {
    async fn append(&self, _: &Stream, _: ExpectedRevision, _: Vec<NewEvent>) -> Result<AppendReceipt, AppendError> {
        Err(outage().into())
    }

    async fn append_with_key(
        &self,
        _: &Stream,
        _: ExpectedRevision,
        _: Vec<NewEvent>,
        _: CommandId,
    ) -> Result<AppendReceipt, AppendError> {
        Err(outage().into())
    }

    async fn spend_key(&self, _: CommandId, _: SpentKey, _: DateTime<Utc>) -> Result<KeySpending, LogError> {
        Err(outage())
    }

    async fn replace_answer(&self, _: CommandId, _: SpentKey) -> Result<(), LogError> {
        Err(outage())
    }

    async fn spent_key(&self, _: CommandId) -> Result<Option<SpentKey>, LogError> {
        Ok(None)
    }

    async fn read_stream(&self, _: &Stream, _: u64, _: usize) -> Result<Vec<RecordedEvent>, LogError> {
        Ok(Vec::new())
    }

    async fn read_streams(&self, streams: &[Stream]) -> Result<Vec<Vec<RecordedEvent>>, LogError> {
        Ok(streams.iter().map(|_| Vec::new()).collect())
    }

    async fn read_all(&self, _: u64, _: usize) -> Result<Vec<RecordedEvent>, LogError> {
        Ok(Vec::new())
    }

    async fn head(&self) -> Result<u64, LogError> {
        Ok(0)
    }

    async fn position_at(&self, _: DateTime<Utc>) -> Result<u64, LogError> {
        Ok(0)
    }

    fn follow_all(&self, _: u64) -> BoxStream<'static, Result<FollowerItem, LogError>> {
        empty().boxed()
    }

    async fn load_snapshot(&self, _: &str) -> Result<Option<Snapshot>, LogError> {
        Ok(None)
    }

    async fn save_snapshot(&self, _: &str, _: &Snapshot) -> Result<bool, LogError> {
        Ok(false)
    }
}
