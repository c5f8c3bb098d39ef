//! The event log on a KurrentDB server, tried on the stand-in.

mod faults;

use event_log::{KurrentLog, kurrentdb::StreamPrefix};

fn log_at(url: &str) -> KurrentLog {
    KurrentLog::new(url, &StreamPrefix::default()).expect("a URL")
}
