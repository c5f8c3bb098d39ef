//! The time of the server.

use chrono::{DateTime, Utc};

/// The time.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// The time in the server's unit: tenths of a microsecond since 1970.
pub fn ticks() -> i64 {
    now().timestamp_micros() * 10
}
