//! Settings with secrets in them, read from files.
//!
//! A variable is seen when a container or a process is inspected. So each setting whose value help
//! does not show can also be in a file that its variable with `_FILE` at the end names:
//! `LEDGER_VIEWS_FILE` for `LEDGER_VIEWS`. Where a subcommand takes the name of the file itself, as
//! `prepare` does, it makes the file: one that is not there is then no mistake.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs, io,
};

use clap::{Arg, Command, Error, error::ErrorKind};

/// Gives the settings of the subcommand that the arguments name, and of those above it, what is in
/// their files. A flag and the variable itself go before the file.
///
/// # Errors
/// A file cannot be read.
pub fn read(command: Command, arguments: &[OsString]) -> Result<Command, Error> {
    // Mistakes in the arguments are told when they are read in earnest.
    let mut named = Vec::new();
    if let Ok(matches) = command.clone().ignore_errors(true).try_get_matches_from(arguments) {
        let mut inner = matches.subcommand();
        while let Some((name, matches)) = inner {
            named.push(name.to_owned());
            inner = matches.subcommand();
        }
    }
    read_into(command, &named)
}

fn read_into(mut command: Command, named: &[String]) -> Result<Command, Error> {
    let made: BTreeSet<String> = command
        .get_arguments()
        .filter_map(|argument| Some(argument.get_env()?.to_string_lossy().into_owned()))
        .collect();
    let mut secrets = BTreeMap::new();
    for argument in command.get_arguments() {
        if let Some(secret) = secret_of(argument, &made)? {
            secrets.insert(argument.get_id().clone(), secret);
        }
    }
    for (id, secret) in secrets {
        command = command.mut_arg(id, |argument| argument.default_value(secret).hide_default_value(true));
    }
    let Some((inner, deeper)) = named.split_first() else { return Ok(command) };
    let mut failed = None;
    let command = command.mut_subcommand(inner, |inner| {
        read_into(inner.clone(), deeper).unwrap_or_else(|error| {
            failed = Some(error);
            inner
        })
    });
    failed.map_or(Ok(command), Err)
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
