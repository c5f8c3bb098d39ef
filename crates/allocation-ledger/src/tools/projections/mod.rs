//! `projections`: the state of the views; rebuilding them, verifying them against the log,
//! exporting them.

pub(super) mod rebuild;
pub(super) mod status;
mod verify;

use clap::Subcommand;

use super::export;

/// The subcommands of `projections`.
#[derive(Debug, Subcommand)]
pub enum ProjectionsCommand {
    /// Show how far each view has come, how large it is, and what is being built
    Status(status::StatusSettings),
    /// Build the views anew from the log, beside the serving ones, or as they were at an earlier
    /// point
    Rebuild(rebuild::RebuildSettings),
    /// Replay the log and compare every row of every view with it
    Verify(verify::VerifySettings),
    /// Write a view or the log to a file: CSV, JSON lines or Parquet
    Export(export::ExportSettings),
}

/// Runs the subcommand.
///
/// # Errors
/// The subcommand is refused or fails, or the views are not what the log says.
pub async fn run(command: &ProjectionsCommand) -> anyhow::Result<()> {
    match command {
        ProjectionsCommand::Status(settings) => status::run(settings).await,
        ProjectionsCommand::Rebuild(settings) => rebuild::run(settings).await,
        ProjectionsCommand::Verify(settings) => verify::run(settings).await,
        ProjectionsCommand::Export(settings) => export::run(settings).await,
    }
}
