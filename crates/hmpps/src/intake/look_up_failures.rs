//! Messages whose look-ups fail while the services answer other questions.
//!
//! A failure looks the same whether a service is away or fails for one person alone. In an outage a
//! message waits, and all others with it; one record at which a service fails must not hold them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use uuid::Uuid;

/// How long a look-up fails before other questions are asked.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a look-up must fail just before another question is answered.
const STRIKES_MAX: u32 = 2;

/// The messages whose look-ups fail now.
#[derive(Debug, Default)]
pub(crate) struct LookUpFailures {
    messages: Mutex<HashMap<Uuid, MessageFailures>>,
}

#[derive(Debug)]
struct MessageFailures {
    first: Instant,
    strikes: u32,
}

impl LookUpFailures {
    /// Notes a failure. Answers whether it has been failing for so long that other questions should
    /// be asked.
    pub(crate) fn note(&self, message_id: Uuid) -> bool {
        let mut messages = self.messages();
        let failures =
            messages.entry(message_id).or_insert_with(|| MessageFailures { first: Instant::now(), strikes: 0 });
        failures.first.elapsed() >= PATIENCE
    }

    /// Notes that another question was answered. Answers whether that was so often enough for the
    /// message to be at fault.
    pub(crate) fn note_strike(&self, message_id: Uuid) -> bool {
        let mut messages = self.messages();
        let Some(failures) = messages.get_mut(&message_id) else { return false };
        failures.strikes += 1;
        let is_at_fault = failures.strikes >= STRIKES_MAX;
        if is_at_fault {
            messages.remove(&message_id);
        }
        is_at_fault
    }

    /// Forgets the failures of a message.
    pub(crate) fn forget(&self, message_id: Uuid) {
        self.messages().remove(&message_id);
    }

    fn messages(&self) -> MutexGuard<'_, HashMap<Uuid, MessageFailures>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
