//! The health of the query side: whether the views can be read, and whether they are far enough.

use std::{sync::atomic::Ordering, time::Duration};

use chrono::TimeDelta;
use event_log::LogError;
use http_api::health::Component;
use tokio::time::timeout;
use views::checkpoint::Checkpoint;

use crate::{QueryError, QueryState, present};

/// How long views that seem far behind are given to come to the log's end. A recorder's clock may
/// be behind, so that an event of a moment ago looks old; views that keep up are there within
/// milliseconds.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// How long the log may take to say where it ends, before it counts as away.
const HEAD_TIME_MAX: Duration = Duration::from_secs(1);

impl QueryState {
    /// How the views are: whether they can be read, how far they have come, and whether that is far
    /// enough.
    pub async fn health(self) -> Component {
        self.check_health().await.unwrap_or_else(Component::from)
    }

    async fn check_health(&self) -> Result<Component, QueryError> {
        let (checkpoint, streams_aside) = present::checkpoint::read_with_aside(&self.views).await?;
        self.checkpoint.record(checkpoint.position);
        let head = match timeout(HEAD_TIME_MAX, self.log.head()).await {
            Ok(Err(LogError::Unavailable(_))) | Err(_) => return Ok(self.without_log(checkpoint, streams_aside)),
            Ok(answer) => answer?,
        };
        self.head.store(head, Ordering::Relaxed);
        // One event tells the time; to count them would take reading them, at every probe.
        let lacking = self.log.read_all(checkpoint.position, 1).await?;
        let lag =
            lacking.first().map_or(TimeDelta::zero(), |first| self.now() - first.recorded_at).max(TimeDelta::zero());
        let lag_max = TimeDelta::from_std(self.lag_max).unwrap_or(TimeDelta::MAX);
        let is_of_log = present::checkpoint::is_of(checkpoint, &self.log).await?;
        let is_behind = is_of_log && lag > lag_max && !self.checkpoint.wait_for_within(head, CATCH_UP_MAX).await?;
        let component = if !is_of_log {
            Component::down(
                "the views are of another log than the one configured; \
                 `allocation-ledger projections rebuild --of-other-log` builds them anew from this one",
            )
        } else if is_behind {
            let (lag, max) = (lag.num_seconds(), self.lag_max.as_secs());
            Component::down(format!(
                "the views lack events, the first of them recorded {lag} s ago; {max} s are allowed"
            ))
        } else {
            up(streams_aside)
        };
        Ok(component
            .with("position", checkpoint.position)
            .with("version", checkpoint.version)
            .with("lagSeconds", lag.as_seconds_f64()))
    }

    /// How the views are while the log is away: as well as they were when it was last there, since
    /// without a log no client can append what they would lack.
    fn without_log(&self, checkpoint: Checkpoint, streams_aside: usize) -> Component {
        let component = if checkpoint.position < self.head.load(Ordering::Relaxed) {
            Component::down("the event store is away, and it is not known that the views have all that is in it")
        } else {
            up(streams_aside)
        };
        component.with("position", checkpoint.position).with("version", checkpoint.version)
    }
}
/// Views that can be read and are as far as they should be.
fn up(streams_aside: usize) -> Component {
    if streams_aside == 0 { Component::up() } else { Component::with_streams_aside(streams_aside) }
}
