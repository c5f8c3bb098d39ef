//! `man`: the help as pages for the program `man`, one for each command.

use std::{fs, io::Write as _, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, Command};
use clap_mangen::Man;

use crate::stdout;

/// The settings of `man`.
#[derive(Debug, Args)]
pub struct ManSettings {
    /// Directory that a page for each command is written to, made where there is none. Default: the
    /// page of the program alone, on standard output
    dir: Option<PathBuf>,
}

/// Writes the pages of a command line.
///
/// # Errors
/// They cannot be written.
pub fn run(settings: &ManSettings, command_line: Command) -> anyhow::Result<()> {
    // A page for each `help` of a command says nothing.
    let command_line = command_line.disable_help_subcommand(true);
    let Some(dir) = &settings.dir else {
        let mut page = Vec::new();
        Man::new(command_line).render(&mut page).context("make the page")?;
        let mut out = stdout::lock();
        return stdout::ignore_broken_pipe(out.write_all(&page).and_then(|()| out.flush()));
    };
    let written = fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command_line, dir));
    written.with_context(|| format!("write the pages to the directory {}", dir.display()))
}
