//! Answers that give out no more than some events a second.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// Keeps an answer to a rate of events.
#[derive(Debug)]
pub struct Pace {
    events_per_second: NonZeroU32,
    started: Instant,
    /// How many events were given out.
    events: AtomicU64,
}

impl Pace {
    pub fn new(events_per_second: NonZeroU32) -> Self {
        Self { events_per_second, started: Instant::now(), events: AtomicU64::new(0) }
    }

    /// Waits until the next event is due. Timers of the runtime tick in milliseconds, so events
    /// that are due within one millisecond go out together.
    pub async fn wait(&self) {
        let events = self.events.fetch_add(1, Ordering::Relaxed);
        let due = self.started + Duration::from_secs(events) / self.events_per_second.get();
        if due.saturating_duration_since(Instant::now()) >= Duration::from_millis(1) {
            sleep_until(due).await;
        }
    }
}
