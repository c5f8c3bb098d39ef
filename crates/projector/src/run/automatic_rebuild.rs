//! Decides whether to rebuild the views instead of following up, and does so.

use domain::Stream;
use event_log::{LogError, has_more_than};
use sqlx::{PgConnection, postgres::PgConnectOptions};
use tokio::time::sleep;
use views::{VIEWS_VERSION, checkpoint::Checkpoint, stream_aside::StreamAside};

use super::{Extent, Look, Projector, Status, lock::LOCK_INTERVAL, stopped_rebuild};
use crate::{
    ProjectorError,
    rebuild::{self, BuildProgress},
    schema::{self, SCHEMA},
    set_aside::{self, STREAMS_ASIDE_MAX},
    swap,
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
    ///
    /// The streams that are `refused`, and those for which an earlier try stopped, are tried alone
    /// first: where that is reason enough to stop, the log is not read.
    pub(super) async fn rebuild(
        &self,
        options: &PgConnectOptions,
        connection: &mut PgConnection,
        checkpoint: &mut Checkpoint,
        head: u64,
        refused: Vec<Stream>,
    ) -> Result<(), ProjectorError> {
        let next = schema::next_name(checkpoint.epoch);
        let remembered = stopped_rebuild::read(connection).await?;
        let Look { suspects, extent } = &mut *self.look.lock().await;
        *extent = Extent { head, version: checkpoint.version, position: checkpoint.position };
        suspects.extend(remembered.iter().map(|row| row.stream.clone()).chain(refused));
        let streams: Vec<Stream> = suspects.iter().cloned().collect();
        let aside = stopped_rebuild::try_alone(&self.log, head, &next, &streams, connection).await?;
        if let Some((reason, streams)) = reason_to_stop(aside, connection, *checkpoint).await? {
            let is_remembered = remembered.len() == streams.len() && streams.iter().all(|row| remembered.contains(row));
            return Err(match is_remembered {
                true => reason,
                false => stop(reason, &streams, &next, connection, *checkpoint).await,
            });
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
            match rebuild::fill(&self.log, &target, &progress).await {
                Ok(filled) => break filled,
                Err(ProjectorError::Log(LogError::Damaged { position, .. }))
                    if checkpoint.position < position && position <= to =>
                {
                    to = position - 1;
                }
                Err(ProjectorError::TooManyAside { streams }) => {
                    suspects.extend(streams.iter().cloned());
                    let reason = ProjectorError::TooManyAside { streams };
                    let streams: Vec<Stream> = suspects.iter().cloned().collect();
                    // The schema holds rows of most of them.
                    let tried = async {
                        schema::drop_schema(connection, &next).await?;
                        stopped_rebuild::try_alone(&self.log, to, &next, &streams, connection).await
                    };
                    return Err(match tried.await {
                        // Nothing is left that an event could mend.
                        Ok(aside) if aside.is_empty() => ProjectorError::RefusedTogether,
                        Ok(aside) => stop(reason, &aside, &next, connection, *checkpoint).await,
                        Err(error) => {
                            warn_not_remembered(&error);
                            reason
                        }
                    });
                }
                Err(error) => return Err(error),
            }
        };
        let added = set_aside::read_in(&next, &mut *connection).await?;
        let (lost, later) = lost_and_later(added, connection, *checkpoint).await?;
        later.iter().for_each(set_aside::log);
        if let Some(first) = lost.first() {
            suspects.extend(lost.iter().map(|row| row.stream.clone()));
            return Err(stop(loses(first), &lost, &next, connection, *checkpoint).await);
        }
        while !swap::swap(connection, &next, filled).await? {
            tracing::info!("the rebuilt views wait for readers of the old ones");
            sleep(LOCK_INTERVAL).await;
        }
        tracing::info!(position = filled.position, "the views are rebuilt up to position {}", filled.position);
        suspects.clear();
        *self.stop.lock().await = None;
        *checkpoint = filled;
        Ok(())
    }
}

/// The reason why a rebuild that leaves out these streams must not take the place of the serving
/// views, with the streams that it is for.
async fn reason_to_stop(
    aside: Vec<StreamAside>,
    connection: &mut PgConnection,
    serving: Checkpoint,
) -> Result<Option<(ProjectorError, Vec<StreamAside>)>, sqlx::Error> {
    if aside.len() > STREAMS_ASIDE_MAX {
        let streams = aside.iter().map(|row| row.stream.clone()).collect();
        return Ok(Some((ProjectorError::TooManyAside { streams }, aside)));
    }
    let (lost, _) = lost_and_later(aside, connection, serving).await?;
    Ok(lost.first().map(loses).map(|reason| (reason, lost)))
}

/// Drops the schema `next` and remembers the streams for which its rebuild stops. Returns the error
/// to stop with: the reason, also where this fails.
async fn stop(
    reason: ProjectorError,
    streams: &[StreamAside],
    next: &str,
    connection: &mut PgConnection,
    serving: Checkpoint,
) -> ProjectorError {
    let stopping = async {
        schema::drop_schema(connection, next).await?;
        stopped_rebuild::remember(streams, serving, connection).await
    };
    match stopping.await {
        Err(fenced @ ProjectorError::Fenced { .. }) => fenced,
        Err(error) => {
            warn_not_remembered(&error);
            reason
        }
        Ok(()) => reason,
    }
}

fn warn_not_remembered(error: &ProjectorError) {
    let reason = error.report();
    tracing::warn!(reason, "the streams for which the rebuild stops are not kept for `projections status`: {reason}");
}

/// Of the streams that a rebuild leaves out: those that the serving views have, and those that
/// following the log would put aside, too, by a later event.
async fn lost_and_later(
    mut aside: Vec<StreamAside>,
    connection: &mut PgConnection,
    serving: Checkpoint,
) -> Result<(Vec<StreamAside>, Vec<StreamAside>), sqlx::Error> {
    let before = set_aside::read_in(SCHEMA, connection).await?;
    aside.retain(|row| before.iter().all(|before| before.stream != row.stream));
    Ok(aside.into_iter().partition(|row| row.position <= serving.position))
}

fn loses(StreamAside { position, event_type, .. }: &StreamAside) -> ProjectorError {
    ProjectorError::AsideInRebuild { position: *position, event_type: event_type.clone() }
}
