//! Settings with secrets in them, read from files.
//!
//! A variable is seen when a container or a process is inspected. So each setting whose value help
//! does not show can also be in a file that its variable with `_FILE` at the end names:
//! `LEDGER_VIEWS_FILE` for `LEDGER_VIEWS`. Where a subcommand takes the name of the file itself, as
//! `prepare` does, it makes the file: one that is not there is then no mistake.

use std::{collections::BTreeSet, fs, io};

use clap::{Arg, Command, Error, error::ErrorKind};

/// Gives the settings of a command, and of those below it, what is in their files. A flag and the
/// variable itself go before the file.
///
/// # Errors
/// A file cannot be read.
pub fn read(command: Command) -> Result<Command, Error> {
    let mut failed = None;
    let made = variables(&command);
    let command = read_into(command, &made, &mut failed);
    failed.map_or(Ok(command), Err)
}

/// The variables of a command and of those below it.
fn variables(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|argument| Some(argument.get_env()?.to_string_lossy().into_owned()));
    own.chain(command.get_subcommands().flat_map(variables)).collect()
}

fn read_into(command: Command, made: &BTreeSet<String>, failed: &mut Option<Error>) -> Command {
    let command = command.mut_args(|argument| match secret_of(&argument, made) {
        Ok(None) => argument,
        Ok(Some(secret)) => argument.default_value(secret).hide_default_value(true),
        Err(error) => {
            *failed = Some(error);
            argument
        }
    });
    command.mut_subcommands(|inner| read_into(inner, made, failed))
}

/// The value in the file of a setting, without white space at its end; `None` where there is none.
fn secret_of(argument: &Arg, made: &BTreeSet<String>) -> Result<Option<String>, Error> {
    let Some(variable) = argument.get_env().filter(|_| argument.is_hide_env_values_set()) else { return Ok(None) };
    let variable = format!("{}_FILE", variable.to_string_lossy());
    let Some(path) = std::env::var_os(&variable).filter(|path| !path.is_empty()) else { return Ok(None) };
    match fs::read_to_string(&path) {
        Ok(secret) => Ok(Some(secret.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound && made.contains(&variable) => Ok(None),
        Err(error) => {
            let path = path.to_string_lossy();
            Err(Error::raw(ErrorKind::Io, format!("{variable} names {path}, which cannot be read: {error}\n")))
        }
    }
}
