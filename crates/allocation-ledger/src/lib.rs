//! The program `allocation-ledger`: command line and wiring.
//!
//! | question | module |
//! |---|---|
//! | which build is this? | `build_info` |
//! | which subcommands are there, and which of their settings may be in files? | `cli`, `secret_files` |
//! | what do they have in common? | [`shared_settings`], [`look_up_settings`], [`logs_and_traces`], [`stdout`], `progress`, [`interrupt`], `symbolic_link` |
//! | where is the ledger kept? | `stores` |
//! | what runs when it serves, and how does it end? | [`serve`] |
//! | what does every other subcommand do? | [`tools`] |
//! | what do they share with the jobs of a service? | `export_subject`, `known_position` |
//! | what is made on a server to try things out, and removed again? | [`trial`] |
//!
//! No rule of the business is here, no SQL about events or views, and no route but those of the
//! program itself.
//!
//! To add a subcommand: a module in `tools` with its settings (a `clap::Args`) and `run`, a
//! variant and two arms in `cli`.

mod build_info;
mod cli;
mod export_subject;
pub mod interrupt;
mod known_position;
pub mod logs_and_traces;
pub mod look_up_settings;
mod progress;
mod secret_files;
pub mod serve;
pub mod shared_settings;
pub mod stdout;
mod stores;
mod symbolic_link;
pub mod temporary_directory;
pub mod tools;
pub mod trial;

use std::process::ExitCode;

use anyhow::Context as _;
use event_log::error_chain;
use mimalloc::MiMalloc;

/// Requests, events and rows are many small pieces of memory: a sixth of the time of a request went
/// into the C library's allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Whether the error is the help, shown to a user who named no command.
fn is_help(error: &clap::Error) -> bool {
    error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

/// Runs the program: exit status 0 when done, 1 when refused or failed, 2 when used wrongly, 3 when
/// a comparison finds differences.
#[must_use]
pub fn main() -> ExitCode {
    // Before anything is started that would take memory from a file.
    if let Some(answered) = spreadsheets::reader::answer_if_asked() {
        return answered;
    }
    let cli = match cli::Cli::parse_from_arguments(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && !is_help(&error) && logs_and_traces::is_json_by_variable() => {
            let reason = error.to_string();
            logs_and_traces::tell_failure(
                logs_and_traces::LogFormat::Json,
                reason.trim_start_matches("error: ").trim_end(),
            );
            return ExitCode::from(USED_WRONGLY);
        }
        // The error in the words of `clap`, or the help that the user asked for.
        Err(error) => error.exit(),
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        // The report has told them.
        Err(error) if error.is::<tools::reconcile::DifferencesRemain>() => ExitCode::from(DIFFERENT),
        // The whole chain of causes, once.
        Err(error) => {
            logs_and_traces::tell_failure(cli.failure_format(), &error_chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// The exit status that `clap` has for wrong usage.
const USED_WRONGLY: u8 = 2;

/// The exit status of a comparison that found differences, which are still there.
const DIFFERENT: u8 = 3;

fn run(cli: &cli::Cli) -> anyhow::Result<()> {
    // Ended here, however the work ends, so that its last spans are exported.
    let telemetry = cli.start_telemetry()?;
    let ended = run_async(cli);
    telemetry.end();
    ended
}

fn run_async(cli: &cli::Cli) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the async runtime")?;
    runtime.block_on(cli::run(cli))
}
