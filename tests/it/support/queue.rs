//! A queue as fast as memory, with waits for what its consumer does.

use std::ops::Deref;

use super::{Program, estate::RECEIVES_MAX, eventually};

/// A queue of its own for each test.
pub struct TestQueue(aws_stand_in::QueueStandIn);

impl Deref for TestQueue {
    type Target = aws_stand_in::QueueStandIn;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl TestQueue {
    pub async fn serve() -> Self {
        Self(aws_stand_in::QueueStandIn::serve(RECEIVES_MAX).await.expect("a port"))
    }

    /// Waits until a deletion is asked for and held.
    pub async fn wait_for_held_deletion(&self) {
        eventually("a deletion", async || (self.held_deletions() > 0).then_some(())).await;
    }

    /// Kills the one consumer. The messages that it had at work stay hidden.
    pub async fn kill(&self, consumer: Program) {
        consumer.kill();
        let are_closed = async || (!self.is_asked()).then_some(());
        eventually("the end of the dead consumer's requests", are_closed).await;
    }

    /// Waits until the queue has at most so many messages, however long that takes, as long as
    /// they grow fewer.
    pub async fn wait_until_left(&self, most: usize) {
        let mut queued = self.queued();
        while queued > most {
            let fewer = async || Some(self.queued()).filter(|left| *left < queued);
            queued = eventually("fewer messages", fewer).await;
        }
    }
}
