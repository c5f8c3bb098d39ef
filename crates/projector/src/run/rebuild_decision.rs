//! Decides whether to rebuild the views instead of following up, and does so.

use domain::Stream;
use event_log::{LogError, has_more_than};
use sqlx::{PgConnection, postgres::PgConnectOptions};
use tokio::time::sleep;
use views::{VIEWS_VERSION, aside::StreamAside, checkpoint::Checkpoint};

use super::{Projector, Status, lock::LOCK_INTERVAL, stopped_rebuild};
use crate::{
    ProjectorError,
    aside::{self, STREAMS_ASIDE_MAX},
    rebuild::{self, BuildProgress},
    schema::{self, SCHEMA},
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
    /// it: following the log will meet it. Where an earlier try stopped for streams that would be
    /// aside, and they still would, stops at once.
    pub(super) async fn rebuild(
        &self,
        options: &PgConnectOptions,
        connection: &mut PgConnection,
        checkpoint: &mut Checkpoint,
        head: u64,
    ) -> Result<(), ProjectorError> {
        let next = schema::next_name(checkpoint.epoch);
        let aside = stopped_rebuild::still_aside(&self.log, head, &next, connection).await?;
        if aside.len() > STREAMS_ASIDE_MAX {
            return Err(ProjectorError::TooManyAside { streams: aside.into_iter().map(|row| row.stream).collect() });
        }
        let (lost, _) = lost_and_later(aside, connection, *checkpoint).await?;
        if let Some(lost) = lost.into_iter().next() {
            return Err(loses(lost));
        }
        let mut to = head;
        let filled = loop {
            tracing::info!(to, "rebuilding the views up to position {to}");
            schema::drop_leftovers(connection, *checkpoint).await?;
            let target = rebuild::RebuildTarget { options, schema: &next, to, epoch: checkpoint.epoch };
            let progress = |progress| {
                if let BuildProgress::Reading { position, .. } = progress {
                    self.status.send_replace(Status::Rebuilding { position, head });
                }
            };
            progress(BuildProgress::Reading { position: 0, to });
            match rebuild::fill(&self.log, &target, progress).await {
                Ok(filled) => break filled,
                Err(ProjectorError::Log(LogError::Damaged { position, .. }))
                    if checkpoint.position < position && position <= to =>
                {
                    to = position - 1;
                }
                Err(ProjectorError::TooManyAside { streams }) => {
                    schema::drop_schema(connection, &next).await?;
                    stopped_rebuild::remember(&streams, connection).await?;
                    return Err(ProjectorError::TooManyAside { streams });
                }
                Err(error) => return Err(error),
            }
        };
        check_loses_nothing(connection, &next, *checkpoint).await?;
        while !schema::swap(connection, &next, filled).await? {
            tracing::info!("the rebuilt views wait for readers of the old ones");
            sleep(LOCK_INTERVAL).await;
        }
        tracing::info!(position = filled.position, "the views are rebuilt up to position {}", filled.position);
        *checkpoint = filled;
        Ok(())
    }
}

/// Fails where the views in the schema `next` lack a stream that the serving ones have: these are
/// then better.
async fn check_loses_nothing(
    connection: &mut PgConnection,
    next: &str,
    serving: Checkpoint,
) -> Result<(), ProjectorError> {
    let added = aside::read_in(next, &mut *connection).await?;
    let (lost, later) = lost_and_later(added, connection, serving).await?;
    later.iter().for_each(aside::log);
    let streams: Vec<Stream> = lost.iter().map(|row| row.stream.clone()).collect();
    let Some(first) = lost.into_iter().next() else { return Ok(()) };
    schema::drop_schema(connection, next).await?;
    stopped_rebuild::remember(&streams, connection).await?;
    Err(loses(first))
}

/// Of the streams that a rebuild leaves out: those that the serving views have, and those that
/// following the log would put aside, too, by a later event.
async fn lost_and_later(
    mut aside: Vec<StreamAside>,
    connection: &mut PgConnection,
    serving: Checkpoint,
) -> Result<(Vec<StreamAside>, Vec<StreamAside>), sqlx::Error> {
    let before = aside::read_in(SCHEMA, connection).await?;
    aside.retain(|row| before.iter().all(|before| before.stream != row.stream));
    Ok(aside.into_iter().partition(|row| row.position <= serving.position))
}

fn loses(StreamAside { position, event_type, .. }: StreamAside) -> ProjectorError {
    ProjectorError::AsideInRebuild { position, event_type }
}
