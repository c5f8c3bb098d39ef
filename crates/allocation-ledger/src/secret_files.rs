//! Settings with secrets in them, read from files.
//!
//! A variable can be seen by whoever may inspect a container or a process. So each setting whose
//! value help does not show can also be in a file that its variable with `_FILE` at the end names:
//! `LEDGER_VIEWS_FILE` for `LEDGER_VIEWS`.

use std::fs;

use clap::{Arg, Command, Error, error::ErrorKind};

/// Gives the settings of a command, and of those below it, what is in their files. A flag and the
/// variable itself go before the file.
///
/// # Errors
/// A file cannot be read.
pub fn read(command: Command) -> Result<Command, Error> {
    let mut failed = None;
    let command = read_into(command, &mut failed);
    failed.map_or(Ok(command), Err)
}

fn read_into(command: Command, failed: &mut Option<Error>) -> Command {
    let command = command.mut_args(|argument| match secret_of(&argument) {
        Ok(None) => argument,
        Ok(Some(secret)) => argument.default_value(secret).hide_default_value(true),
        Err(error) => {
            *failed = Some(error);
            argument
        }
    });
    command.mut_subcommands(|inner| read_into(inner, failed))
}

/// The value in the file of a setting, without white space at its end; `None` where there is none.
fn secret_of(argument: &Arg) -> Result<Option<String>, Error> {
    let Some(variable) = argument.get_env().filter(|_| argument.is_hide_env_values_set()) else { return Ok(None) };
    let variable = format!("{}_FILE", variable.to_string_lossy());
    let Some(path) = std::env::var_os(&variable).filter(|path| !path.is_empty()) else { return Ok(None) };
    match fs::read_to_string(&path) {
        Ok(secret) => Ok(Some(secret.trim_end().to_owned())),
        Err(error) => {
            let path = path.to_string_lossy();
            Err(Error::raw(ErrorKind::Io, format!("{variable} names {path}, which cannot be read: {error}\n")))
        }
    }
}
