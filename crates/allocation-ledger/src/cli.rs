//! The command line. Each subcommand is a module of its own; here they are told apart.

use clap::{Parser, Subcommand};

use crate::{
    serve,
    telemetry::{self, Format, Telemetry},
    tools::{
        copy_log, demo, event_store, export, generate, handover_dates, history, import, prepare, projections, replay,
    },
};

/// The allocation ledger: who is responsible for a person in prison, recorded as events
#[derive(Debug, Parser)]
#[command(name = "allocation-ledger", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    telemetry: telemetry::Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the ledger over HTTP, over an embedded Postgres unless told otherwise
    Serve(serve::Settings),
    /// Make on servers of your own what services need that log in with no more rights than their work takes
    Prepare(prepare::Settings),
    /// Serve a temporary ledger with a small realistic prison in it, to look around in
    Demo(demo::Settings),
    /// Write a made-up history of a whole country into an empty ledger, to try things out at full size
    Generate(generate::Settings),
    /// Take in what a prison has in files
    #[command(subcommand)]
    Import(import::Import),
    /// List the POM contacts that are still to be removed from NOMIS, by prison that has joined OMiC
    NomisContacts(import::nomis_contacts::ListSettings),
    /// Work out handover dates: JSON lines of facts in, JSON lines of dates out; nothing is recorded
    HandoverDates(handover_dates::Settings),
    /// Show everything that happened to a case
    History(history::Settings),
    /// Print the events of the log, in order, one JSON object a line
    Replay(replay::Settings),
    /// Look after the views: how they are, build them anew, compare them with the log
    #[command(subcommand)]
    Projections(projections::Command),
    /// Write a view or the log to a file: the same as `projections export`
    Export(export::Settings),
    /// Copy the event log of a ledger into another store, event by event
    Copy(copy_log::Settings),
    /// Look into an event store
    #[command(subcommand)]
    EventStore(event_store::Command),
}

impl Command {
    /// What is logged where nobody says: services tell what they do, tools only what is wrong. Not what Postgres
    /// notes by the way, nor each try of a fetch, nor that a connection was found broken (a pool opens another; at the
    /// end they all are). Nor what the client of KurrentDB writes: its errors are told where they are handled.
    fn log_filter(&self) -> &'static str {
        match self {
            Self::Serve(_) => "info,sqlx=warn,sqlx_core::pool=error,reqwest_retry=error,kurrentdb=off",
            Self::Prepare(_)
            | Self::Demo(_)
            | Self::Generate(_)
            | Self::Import(_)
            | Self::NomisContacts(_)
            | Self::HandoverDates(_)
            | Self::History(_)
            | Self::Replay(_)
            | Self::Projections(_)
            | Self::Export(_)
            | Self::Copy(_)
            | Self::EventStore(_) => telemetry::TOOL_LOG_FILTER,
        }
    }
}

impl Cli {
    /// Starts logging, as the command line asks for it.
    ///
    /// # Errors
    /// As [`telemetry::start`].
    pub fn start_telemetry(&self) -> anyhow::Result<Telemetry> {
        telemetry::start(&self.telemetry, self.command.log_filter())
    }

    /// How the reason is told where it fails: as the log is written; but people read what tools say, wherever it goes, unless
    /// they have asked for JSON.
    pub fn failure_format(&self) -> Format {
        match &self.command {
            Command::Serve(_) => self.telemetry.format(),
            _ => self.telemetry.format_asked_for().unwrap_or(Format::Text),
        }
    }
}

/// Runs what the command line asks for.
///
/// # Errors
/// What was asked for is refused or fails.
pub async fn run(cli: &Cli) -> anyhow::Result<()> {
    match &cli.command {
        Command::Serve(settings) => serve::run(settings).await,
        Command::Prepare(settings) => prepare::run(settings).await,
        Command::Demo(settings) => demo::run(settings).await,
        Command::Generate(settings) => generate::run(settings).await,
        Command::Import(import) => import::run(import).await,
        Command::NomisContacts(settings) => import::nomis_contacts::list(settings).await,
        Command::HandoverDates(settings) => handover_dates::run(settings),
        Command::History(settings) => history::run(settings).await,
        Command::Replay(settings) => replay::run(settings).await,
        Command::Projections(command) => projections::run(command).await,
        Command::Export(settings) => export::run(settings).await,
        Command::Copy(settings) => copy_log::run(settings).await,
        Command::EventStore(command) => event_store::run(command).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }

    /// Flags of services and their variables.
    fn settings() -> Vec<(String, String)> {
        let mut command = super::Cli::command();
        command.build();
        let serve = command.find_subcommand("serve").expect("a subcommand");
        serve
            .get_arguments()
            .filter_map(|argument| {
                let (flag, variable) = (argument.get_long()?, argument.get_env()?);
                Some((format!("--{flag}"), variable.to_str()?.to_owned()))
            })
            .collect()
    }

    fn file(path: &str) -> String {
        let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    #[test]
    fn every_setting_is_in_the_operators_guide() {
        let guide = file("docs/operating.md");
        for (flag, variable) in settings() {
            assert!(guide.contains(&format!("\n| `{flag}` | `{variable}` |")), "{flag}, {variable}");
        }
    }

    #[test]
    fn containers_are_set_up_with_settings_that_exist() {
        let known: Vec<String> = settings().into_iter().map(|(_, variable)| variable).collect();
        let files = ["Dockerfile", "docker-compose.yml"].map(file).concat();
        let named = files.split(|letter: char| !(letter.is_ascii_uppercase() || letter == '_'));
        for name in named.filter(|name| name.starts_with("LEDGER_")) {
            assert!(known.iter().any(|known| known == name), "{name}");
        }
    }
}
