//! Which of Postgres's errors are outages, and which are damage.

use event_log::LogError;

/// Translates an error by its SQLSTATE. `position` is the place of possible damage; 0 where none is
/// known.
///
/// Damage is an error that waiting cannot mend: a constraint of the log was broken, or Postgres
/// found its own files corrupted. Every other error is an outage: the caller may try again, and the
/// operator finds the cause in the chain of errors.
pub(crate) fn log_error(error: sqlx::Error, position: u64) -> LogError {
    match damage(&error) {
        Some(what) => LogError::Damaged { position, what },
        None if is_unprepared(&error) => {
            LogError::Unavailable("waiting for the projector to prepare the event log".into())
        }
        None => LogError::Unavailable(Box::new(error)),
    }
}

/// Whether the database has no log yet: the schema or its tables are missing.
fn is_unprepared(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| matches!(&*code, "3F000" | "42P01"))
}

/// Describes the damage that an error reports, if it reports any.
pub(crate) fn damage(error: &sqlx::Error) -> Option<String> {
    let database = error.as_database_error()?;
    let code = database.code()?;
    // 23: integrity constraint violation. XX001, XX002: data corrupted, index corrupted. P0002: no
    // data found, as in `log.append` where the head row is gone.
    (code.starts_with("23") || matches!(&*code, "XX001" | "XX002" | "P0002"))
        .then(|| format!("Postgres refuses with {code}: {}", database.message()))
}

/// The error of a value that the log cannot hold.
pub(crate) fn unreadable(column: &str, position: u64) -> LogError {
    LogError::Damaged { position, what: format!("`{column}` of this row of `log.event` holds what it cannot hold") }
}
