//! Following the log while messages are sent.

use event_log::{FollowerItem, LogError, SharedLog};
use futures::StreamExt as _;
use tokio::{sync::mpsc, task::JoinSet};

/// Pieces of the log that are read ahead.
const PIECES_MAX: usize = 2;

/// A subscription in a task of its own: a follower that is left alone would run into its timeout.
pub(crate) struct BackgroundFollower {
    pieces: mpsc::Receiver<Result<FollowerItem, LogError>>,
    /// Ends the task when it is dropped.
    _reading: JoinSet<()>,
}

impl BackgroundFollower {
    /// Follows a log after a position.
    pub(crate) fn start(log: &SharedLog, after: u64) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let mut follower = log.follow_all(after);
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            while let Some(piece) = follower.next().await
                && sender.send(piece).await.is_ok()
            {}
        });
        Self { pieces, _reading: reading }
    }

    /// Waits for the next piece. May be dropped and asked again: nothing is lost.
    ///
    /// # Errors
    /// The log cannot be read. It is to be followed again from the last event.
    pub(crate) async fn next(&mut self) -> Result<FollowerItem, LogError> {
        let ended = || Err(LogError::Unavailable("the follower of the log has ended".into()));
        self.pieces.recv().await.unwrap_or_else(ended)
    }
}
