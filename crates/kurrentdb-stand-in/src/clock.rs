//! The clock of the server.

use chrono::{DateTime, Utc};

/// The current time.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// The current time in the server's unit, 100 ns since 1970.
pub fn ticks() -> i64 {
    now().timestamp_micros() * 10
}
