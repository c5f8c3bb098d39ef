//! Follows the log from the checkpoint, batch by batch, with some events read ahead.

use std::time::Duration;

use event_log::{FollowerItem, LogError, RecordedEvent, SharedLog};
use futures::StreamExt as _;
use sqlx::PgConnection;
use tokio::{sync::mpsc, task::JoinSet};
use views::checkpoint::Checkpoint;

use super::{Projector, Status, with_timeout};
use crate::{ProjectorError, checkpoint::check_is_of, live::LiveProjection};

/// How long a batch may take, its histories read and its rows written: far longer than any does.
/// The way to Postgres may have gone silent for the batch's connection alone.
const BATCH_MAX: Duration = Duration::from_secs(60);

/// Most pieces of the log, as its follower hands them out, that are read ahead and taken at once.
const PIECES_MAX: usize = 4;

/// Reads the log ahead, by a task of its own that ends with this: a follower that is left alone
/// while a batch is written would keep its connections to the log and run into its timeout.
struct ReadAhead {
    pieces: mpsc::Receiver<Result<FollowerItem, LogError>>,
    task: JoinSet<()>,
}

impl ReadAhead {
    fn start(log: &SharedLog, after: u64) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let mut follower = log.follow_all(after);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Some(piece) = follower.next().await
                && sender.send(piece).await.is_ok()
            {}
        });
        Self { pieces, task }
    }

    /// The next events, all that have been read; and the error that follows them, if one does.
    /// `None` once the follower has ended.
    async fn next(&mut self) -> Option<(Vec<RecordedEvent>, Option<LogError>)> {
        let mut pieces = Vec::new();
        if self.pieces.recv_many(&mut pieces, PIECES_MAX).await == 0 {
            return None;
        }
        let (mut events, mut failed) = (Vec::new(), None);
        for piece in pieces {
            match piece {
                Ok(FollowerItem::Events(more)) => events.extend(more),
                Ok(FollowerItem::CaughtUp { .. }) => {}
                Err(error) => failed = Some(error),
            }
        }
        Some((events, failed))
    }

    /// Waits for the task to end, and panics if it panicked.
    async fn join(mut self) {
        if let Some(Err(ended)) = self.task.join_next().await
            && ended.is_panic()
        {
            std::panic::resume_unwind(ended.into_panic());
        }
    }
}

impl Projector<'_> {
    /// Follows the log until the views have fallen far behind. At `near`, a position in the log,
    /// they are known not to have.
    pub(super) async fn follow(
        &self,
        connection: &mut PgConnection,
        checkpoint: &mut Checkpoint,
        mut near: u64,
    ) -> Result<(), ProjectorError> {
        let mut live = LiveProjection::new(self.log.clone());
        for stream in live.streams_aside(connection).await? {
            with_timeout(BATCH_MAX, live.try_again(connection, *checkpoint, stream)).await?;
        }
        let streams = live.count_aside();
        if streams > 0 {
            tracing::warn!(streams, "the views leave out {streams} of the cases and prisons");
        }
        let mut read_ahead = ReadAhead::start(&self.log, checkpoint.position);
        self.report_running(*checkpoint, &live);
        while let Some((mut events, failed)) = read_ahead.next().await {
            while !events.is_empty() {
                let rest = events.split_off(events.len().min(self.settings.batch_events_max));
                let was_full = events.len() == self.settings.batch_events_max;
                // The log may be another one by now: restored from a backup, or another server's.
                check_is_of(*checkpoint, &self.log).await?;
                let batch = self.batch.lock().await;
                let projection = live.project(connection, checkpoint, std::mem::replace(&mut events, rest));
                with_timeout(BATCH_MAX, projection).await?;
                drop(batch);
                *self.stop.lock().await = None;
                self.report_running(*checkpoint, &live);
                // Finding out may take reading the events that the views lack, so it is not asked
                // again before those are projected.
                if was_full && checkpoint.position >= near {
                    let head = self.log.head().await?;
                    if self.is_far_behind(*checkpoint, head).await? {
                        return Ok(());
                    }
                    near = head;
                }
            }
            if let Some(error) = failed {
                // A log that ends earlier than it did is another log, too.
                check_is_of(*checkpoint, &self.log).await?;
                return Err(error.into());
            }
        }
        read_ahead.join().await;
        Ok(())
    }

    fn report_running(&self, checkpoint: Checkpoint, live: &LiveProjection) {
        let streams_aside = live.count_aside();
        self.status.send_replace(Status::Running { position: checkpoint.position, streams_aside });
    }
}
