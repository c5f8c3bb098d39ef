//! The command line, which hands over to the module of each subcommand.

use std::{ffi::OsString, path::Path};

use clap::{
    CommandFactory as _, FromArgMatches as _, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use domain::text::Excerpt;

use crate::{
    build_info,
    logs_and_traces::{self, LogFormat, Telemetry},
    secret_files, serve,
    tools::{
        access_log, cases, completions, copy_log, demo, event_store, export, generate, handover_dates, health, history,
        import, integration, man, prepare, projections, replay, responsibility, token,
    },
};

/// The allocation ledger: who is responsible for a person in prison, recorded as events
#[derive(Debug, Parser)]
#[command(name = "allocation-ledger", version = build_info::VERSION, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Subcommand,
    #[command(flatten)]
    telemetry: logs_and_traces::TelemetrySettings,
}

/// The subcommands, in the order in which the help lists them: those of every day first.
#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    /// Serve the ledger over HTTP, over an embedded Postgres unless told otherwise
    Serve(Box<serve::ServeSettings>),
    /// Serve a temporary ledger with a small realistic prison in it, to look around in
    Demo(demo::DemoSettings),
    /// Take in what a prison has in files
    #[command(subcommand)]
    Import(import::Import),
    /// Show who is responsible for a case, on any date and as it was known on any date
    Responsibility(responsibility::ResponsibilitySettings),
    /// List the cases of a prison
    Cases(cases::CasesSettings),
    /// Show everything that happened to a case
    History(history::HistorySettings),
    /// Write views or the log to files: the same as `projections export`
    Export(export::ExportSettings),
    /// List the POM contacts that are still to be removed from NOMIS, by prison that has joined
    /// OMiC
    NomisContacts(import::nomis_contacts::ListSettings),
    /// Show who read which person's data
    AccessLog(access_log::AccessLogToolSettings),
    /// Look after the messages of HMPPS that the ledger could not take in, and find what lost ones
    /// leave open
    #[command(subcommand)]
    Integration(integration::IntegrationCommand),
    /// Work out handover dates: JSON lines of facts in, JSON lines of dates out; nothing is
    /// recorded
    ///
    /// A line of facts: {"indeterminate":false,"sentenceStartDate":"2024-01-01",
    /// "conditionalReleaseDate":"2026-01-01"}. At `/docs` of a serving ledger, `FactsBody` has all
    /// facts.
    HandoverDates(handover_dates::HandoverDatesSettings),
    /// Print the events of the log, in order, one JSON object a line
    Replay(replay::ReplaySettings),
    /// Look after the views: how they are, build them anew, compare them with the log
    #[command(subcommand)]
    Projections(projections::ProjectionsCommand),
    /// Say whether the ledger that serves on this machine is ready, for a health check
    Health(health::HealthSettings),
    /// Make on servers of your own what services need that log in with no more rights than their
    /// work takes
    Prepare(prepare::PrepareSettings),
    /// Write a made-up history of a whole country into an empty ledger, to try things out at full
    /// size
    Generate(generate::GenerateSettings),
    /// Copy the event log of a ledger into another store, event by event
    Copy(copy_log::CopySettings),
    /// Look into an event store
    #[command(subcommand)]
    EventStore(event_store::EventStoreCommand),
    /// Sign a token with a key of this machine, to try a ledger that asks for tokens
    Token(token::TokenSettings),
    /// Print a script that completes this command line in a shell
    Completions(completions::CompletionsSettings),
    /// Write this help as pages for the program `man`
    Man(man::ManSettings),
}

impl Subcommand {
    /// The default filter of the log: services log what they do, tools only what is wrong. It
    /// leaves out the notices of Postgres, each try of a fetch, and connections found broken (a
    /// pool opens another, and at the end all of them are). It leaves out the client of KurrentDB,
    /// too, whose errors are logged where they are handled.
    fn log_filter(&self) -> &'static str {
        match self {
            Self::Serve(_) => {
                "info,sqlx=warn,sqlx_core::pool=error,reqwest_retry=error,kurrentdb=off,aws_config=warn,aws_smithy_runtime=warn"
            }
            Self::Prepare(_)
            | Self::Demo(_)
            | Self::Generate(_)
            | Self::Import(_)
            | Self::NomisContacts(_)
            | Self::AccessLog(_)
            | Self::Integration(_)
            | Self::HandoverDates(_)
            | Self::Responsibility(_)
            | Self::Cases(_)
            | Self::History(_)
            | Self::Replay(_)
            | Self::Projections(_)
            | Self::Export(_)
            | Self::Copy(_)
            | Self::EventStore(_)
            | Self::Health(_)
            | Self::Token(_)
            | Self::Completions(_)
            | Self::Man(_) => logs_and_traces::TOOL_LOG_FILTER,
        }
    }
}

impl Cli {
    /// Reads a command line.
    ///
    /// # Errors
    /// The error of `clap`, which quotes what it refuses as every refusal does.
    pub fn parse_from_arguments(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Self, clap::Error> {
        let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        let matches = secret_files::read(Self::command(), &arguments)?.try_get_matches_from(arguments);
        matches.and_then(|matches| Self::from_arg_matches(&matches)).map_err(|mut error| {
            for kind in [ContextKind::InvalidArg, ContextKind::InvalidSubcommand, ContextKind::InvalidValue] {
                if let Some(ContextValue::String(refused)) = error.get(kind) {
                    let excerpt = Excerpt(refused).to_string();
                    error.insert(kind, ContextValue::String(excerpt));
                }
            }
            if let Some(tip) = tip(&error) {
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
            }
            error
        })
    }

    /// Starts logging, as the command line asks for it.
    ///
    /// # Errors
    /// As [`logs_and_traces::start`].
    pub fn start_telemetry(&self) -> anyhow::Result<Telemetry> {
        logs_and_traces::start(&self.telemetry, self.command.log_filter())
    }

    /// How the reason of a failure is written: as the log is; but of a tool as text wherever it
    /// goes, unless JSON was asked for, as people read what tools say.
    pub fn failure_format(&self) -> LogFormat {
        match &self.command {
            Subcommand::Serve(_) => self.telemetry.format(),
            _ => self.telemetry.format_asked_for().unwrap_or(LogFormat::Text),
        }
    }
}

/// The right form for a command line that many people try first.
fn tip(error: &clap::Error) -> Option<String> {
    let refused = |kind| match error.get(kind) {
        Some(ContextValue::String(refused)) => Some(refused.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let file = refused(ContextKind::InvalidSubcommand)?;
            let ending = Path::new(file).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            let is_sheet = ["csv", "ods", "xls", "xlsx"].contains(&ending.to_ascii_lowercase().as_str());
            (is_sheet || Path::new(file).is_file()).then(|| {
                format!("a spreadsheet is imported by `allocation-ledger import spreadsheet {file} --prison CODE`")
            })
        }
        ErrorKind::UnknownArgument => {
            let flag = refused(ContextKind::InvalidArg)?;
            let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else { return None };
            let usage = usage.to_string();
            let listens = usage.split_whitespace().find(|word| ["demo", "serve"].contains(word))?;
            ["--address", "--bind", "--port"]
                .contains(&flag)
                .then(|| format!("address and port are given together: `{listens} --listen 127.0.0.1:8080`"))
        }
        _ => None,
    }
}

/// Runs the subcommand.
///
/// # Errors
/// The subcommand is refused or fails.
pub async fn run(cli: &Cli) -> anyhow::Result<()> {
    match &cli.command {
        Subcommand::Serve(settings) => serve::run(settings).await,
        Subcommand::Prepare(settings) => prepare::run(settings).await,
        Subcommand::Demo(settings) => demo::run(settings).await,
        Subcommand::Generate(settings) => generate::run(settings).await,
        Subcommand::Import(import) => import::run(import).await,
        Subcommand::NomisContacts(settings) => import::nomis_contacts::list(settings).await,
        Subcommand::AccessLog(settings) => access_log::run(settings).await,
        Subcommand::Integration(command) => integration::run(command).await,
        Subcommand::HandoverDates(settings) => handover_dates::run(settings),
        Subcommand::Responsibility(settings) => responsibility::run(settings).await,
        Subcommand::Cases(settings) => cases::run(settings).await,
        Subcommand::History(settings) => history::run(settings).await,
        Subcommand::Replay(settings) => replay::run(settings).await,
        Subcommand::Projections(command) => projections::run(command).await,
        Subcommand::Export(settings) => export::run(settings).await,
        Subcommand::Copy(settings) => copy_log::run(settings).await,
        Subcommand::EventStore(command) => event_store::run(command).await,
        Subcommand::Health(settings) => health::run(settings).await,
        Subcommand::Token(settings) => token::run(settings),
        Subcommand::Completions(settings) => completions::run(settings, Cli::command()),
        Subcommand::Man(settings) => man::run(settings, Cli::command()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[track_caller]
    fn check_refusal(arguments: &[&str]) {
        // A help that was asked for is no refusal.
        let Some(error) = super::Cli::parse_from_arguments(arguments).err().filter(clap::Error::use_stderr) else {
            return;
        };
        let (text, given) = (error.render().to_string(), &arguments[..arguments.len() - 1]);
        assert!(text.chars().count() < 1_500, "{given:?}: {text:.1500}");
        let unseen = |c: char| c != '\n' && c.is_control() || matches!(c, '\u{202e}' | '\u{feff}');
        assert!(!text.contains(unseen), "{given:?}: {text:?}");
    }

    #[test]
    fn a_refusal_of_the_command_line_is_short_and_can_be_seen() {
        let hostile = format!("x\u{1b}[2J\u{202e}\u{feff}{}", "y".repeat(100_000));
        check_refusal(&["allocation-ledger", &hostile]);
        check_refusal(&["allocation-ledger", &format!("--{hostile}")]);
        let mut command = super::Cli::command();
        command.build();
        let mut checked = 0;
        let mut paths = vec![(vec!["allocation-ledger".to_owned()], &command)];
        while let Some((path, command)) = paths.pop() {
            for inner in command.get_subcommands() {
                paths.push(([&path[..], &[inner.get_name().to_owned()]].concat(), inner));
            }
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            for argument in command.get_arguments() {
                let flag = argument.get_long().map(|long| format!("--{long}"));
                let given = flag.iter().map(String::as_str).chain([hostile.as_str()]);
                check_refusal(&path.iter().copied().chain(given).collect::<Vec<_>>());
                checked += 1;
            }
        }
        assert!(checked > 100, "only {checked} arguments were tried");
    }

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }

    /// A setting of services.
    struct Setting {
        flag: String,
        variable: String,
        default: String,
    }

    fn settings() -> Vec<Setting> {
        let mut command = super::Cli::command();
        command.build();
        let serve = command.find_subcommand("serve").expect("a subcommand");
        serve
            .get_arguments()
            .filter_map(|argument| {
                let variable = argument.get_env()?.to_str()?.to_owned();
                let default = argument.get_default_values().join(std::ffi::OsStr::new(","));
                Some(Setting {
                    flag: format!("--{}", argument.get_long()?),
                    variable,
                    default: default.into_string().ok()?,
                })
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
        for Setting { flag, variable, .. } in settings() {
            assert!(guide.contains(&format!("\n| `{flag}` | `{variable}` |")), "{flag}, {variable}");
        }
    }

    #[test]
    fn containers_are_set_up_with_settings_that_exist() {
        let known = settings();
        let files = ["Dockerfile", "docker-compose.yml", ".env.example"].map(file).concat();
        let named = files.split(|letter: char| !(letter.is_ascii_uppercase() || letter == '_'));
        for name in named.filter(|name| name.starts_with("LEDGER_")) {
            // A secret can be in a file: see `secret_files`.
            let is_setting = |name| known.iter().any(|setting| setting.variable == name);
            assert!(is_setting(name) || name.strip_suffix("_FILE").is_some_and(is_setting), "{name}");
        }
    }

    /// Settings that containers need no other value of: the image or the service says where they
    /// listen and what they are, a gateway speaks TLS, the stores are containers themselves, and
    /// one of them makes the file of the naming key.
    const SETTINGS_OF_CONTAINERS: [&str; 11] = [
        "LEDGER_LISTEN",
        "LEDGER_LOG_FORMAT",
        "LEDGER_ROLE",
        "LEDGER_TLS_CERT",
        "LEDGER_TLS_KEY",
        "LEDGER_DATA_DIR",
        "LEDGER_POSTGRES_BIN",
        "LEDGER_EVENT_STORE",
        "LEDGER_VIEWS",
        "LEDGER_ACCESS_LOG_URL",
        "LEDGER_NAMING_KEY",
    ];

    #[test]
    fn containers_take_every_other_setting_from_their_env_file() {
        let (compose, example) = (file("docker-compose.yml"), file(".env.example"));
        for Setting { variable, default, .. } in settings() {
            if SETTINGS_OF_CONTAINERS.contains(&variable.as_str()) {
                continue;
            }
            let passed = format!("\n  {variable}: ${{{variable}:-");
            let values: Vec<&str> = compose
                .match_indices(&passed)
                .filter_map(|(at, _)| compose[at + passed.len()..].split('}').next())
                .collect();
            assert_eq!(values, [default.as_str()], "{variable} in docker-compose.yml");
            assert!(example.contains(&format!("\n{variable}=")), "{variable} in .env.example");
        }
        // Those of AWS's client.
        for name in ["REGION", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "ENDPOINT_URL"] {
            let variable = format!("AWS_{name}");
            assert!(compose.contains(&format!("{variable}: ${{{variable}:-")), "{variable} in docker-compose.yml");
            assert!(example.contains(&format!("\n{variable}=")), "{variable} in .env.example");
        }
    }
}
