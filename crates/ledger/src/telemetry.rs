//! The log: lines on standard error, for people or for programs. Answers go to standard output and are never mixed in.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tracing_subscriber::{EnvFilter, fmt};

/// How the program logs.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// What is logged: a level (error, warn, info, debug, trace), or levels by part, e.g. `info,projector=debug`. Default:
    /// `info` for `serve` and `demo`, `warn` for the tools
    #[arg(long, env = "LEDGER_LOG", value_name = "FILTER", global = true)]
    log: Option<String>,
    /// How lines of the log are written
    #[arg(long, env = "LEDGER_LOG_FORMAT", value_enum, default_value_t = Format::Text, global = true)]
    log_format: Format,
}

/// How lines of the log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `default_filter` counts where the settings do not say.
///
/// # Errors
/// The filter cannot be read.
pub fn start(settings: &Settings, default_filter: &str) -> anyhow::Result<()> {
    let filter = match &settings.log {
        Some(filter) => EnvFilter::try_new(filter)
            .with_context(|| format!("read `{filter}`, given by --log or LEDGER_LOG, as a filter of the log"))?,
        None => EnvFilter::new(default_filter),
    };
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr);
    match settings.log_format {
        Format::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        Format::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
