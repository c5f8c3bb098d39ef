//! `completions`: a script that completes the command line in a shell.

use std::io::Write as _;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::stdout;

/// The settings of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsSettings {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script for a command line.
///
/// # Errors
/// It cannot be written.
pub fn run(settings: &CompletionsSettings, mut command_line: Command) -> anyhow::Result<()> {
    let name = command_line.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(settings.shell, &mut command_line, name, &mut script);
    let mut out = stdout::lock();
    stdout::ignore_broken_pipe(out.write_all(&script).and_then(|()| out.flush()))
}
