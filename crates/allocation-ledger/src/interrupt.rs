//! Ctrl-C while a tool works: the work ends where it is, and the tool cleans up.

use std::future::Future;

use anyhow::{Context as _, anyhow};
use tokio::signal::unix::{SignalKind, signal};

/// Does some work, unless SIGINT or SIGTERM comes first: `None` then.
///
/// # Errors
/// Those of the work.
pub async fn unless_interrupted<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<Option<T>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    tokio::select! {
        outcome = work => outcome.map(Some),
        _ = interrupt.recv() => Ok(None),
        _ = terminate.recv() => Ok(None),
    }
}

/// The error of an interrupted tool: it says what is left behind.
#[must_use]
pub fn interruption(left: &str) -> anyhow::Error {
    anyhow!("interrupted: {left}")
}
