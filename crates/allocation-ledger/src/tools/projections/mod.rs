//! `projections`: how the views are, building them anew, comparing them with the log, taking them away as files.

pub(super) mod rebuild;
mod status;
mod verify;

use clap::Subcommand;

use super::export;

/// What can be done with the views.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how far each view has come, how large it is, and what is being built
    Status(status::Settings),
    /// Build the views anew from the log, beside the serving ones, or as they were at an earlier point
    Rebuild(rebuild::Settings),
    /// Replay the log and compare every row of every view with it
    Verify(verify::Settings),
    /// Write a view or the log to a file: CSV, JSON lines or Parquet
    Export(export::Settings),
}

/// Does what is asked.
///
/// # Errors
/// What was asked for is refused or fails, or the views are not what the log says.
pub async fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Status(settings) => status::run(settings).await,
        Command::Rebuild(settings) => rebuild::run(settings).await,
        Command::Verify(settings) => verify::run(settings).await,
        Command::Export(settings) => export::run(settings).await,
    }
}
