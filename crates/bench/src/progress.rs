//! Measurements named on a terminal while they are taken.

use std::time::Duration;

use allocation_ledger::interrupt::{interruption, unless_interrupted};
use indicatif::ProgressBar;

use crate::GONE;

/// Runs a measurement in process, unless it is interrupted, and names it on a terminal. The tools
/// show their progress themselves.
pub(crate) async fn in_stage<T>(
    stage: &'static str,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let spinner = spinner(stage);
    let done = unless_interrupted(work).await;
    spinner.finish_and_clear();
    done?.ok_or_else(|| interruption(GONE))
}

/// Names a measurement on a terminal while it is taken.
pub(crate) fn spinner(stage: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(stage);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
