//! Decides whether to rebuild the views instead of following up, and does so.

use event_log::{LogError, has_more_than};
use sqlx::{PgConnection, postgres::PgConnectOptions};
use tokio::time::sleep;
use views::{VIEWS_VERSION, checkpoint::Checkpoint};

use super::{Projector, Status, lock::LOCK_INTERVAL};
use crate::{
    Error,
    rebuild::{self, BuildProgress},
    schema,
};

/// A rebuild is some five times as fast as following up, so it pays when more than this part of the
/// log is behind.
const REBUILD_LOG_PART: u64 = 5;

impl Projector<'_> {
    /// Whether the views are of another version, or far behind the log's end at `head`.
    pub(super) async fn must_rebuild(&self, checkpoint: Checkpoint, head: u64) -> Result<bool, LogError> {
        Ok(checkpoint.version != VIEWS_VERSION || self.is_far_behind(checkpoint, head).await?)
    }

    pub(super) async fn is_far_behind(&self, checkpoint: Checkpoint, head: u64) -> Result<bool, LogError> {
        // Positions may have gaps: this is the most events that there can be.
        let behind = head.saturating_sub(checkpoint.position);
        let events_min = self.settings.rebuild_events_min;
        if behind <= events_min || behind <= head / REBUILD_LOG_PART {
            return Ok(false);
        }
        // The head is the position of an event, so one event is missing at least.
        Ok(events_min == 0 || has_more_than(&self.log, checkpoint.position, events_min).await?)
    }

    /// Builds the views up to `head` beside the serving ones and puts them in their place. Where an
    /// event that the serving views do not include cannot be read, builds up to the event before
    /// it: following the log will meet it.
    pub(super) async fn rebuild(
        &self,
        options: &PgConnectOptions,
        connection: &mut PgConnection,
        checkpoint: &mut Checkpoint,
        head: u64,
    ) -> Result<(), Error> {
        let next = schema::next_name(checkpoint.epoch);
        let mut to = head;
        let filled = loop {
            tracing::info!(to, "rebuilding the views up to position {to}");
            schema::drop_leftovers(connection, *checkpoint).await?;
            let target = rebuild::RebuildTarget { options, schema: &next, to, epoch: checkpoint.epoch, only: None };
            let progress = |progress| {
                if let BuildProgress::Reading { position, .. } = progress {
                    self.status.send_replace(Status::Rebuilding { position, head });
                }
            };
            progress(BuildProgress::Reading { position: 0, to });
            match rebuild::fill(&self.log, &target, progress).await {
                Ok(filled) => break filled,
                Err(Error::Log(LogError::Damaged { position, .. }))
                    if checkpoint.position < position && position <= to =>
                {
                    to = position - 1;
                }
                Err(error) => return Err(error),
            }
        };
        while !schema::swap(connection, &next, filled).await? {
            tracing::info!("the rebuilt views wait for readers of the old ones");
            sleep(LOCK_INTERVAL).await;
        }
        tracing::info!(position = filled.position, "the views are rebuilt up to position {}", filled.position);
        *checkpoint = filled;
        Ok(())
    }
}
