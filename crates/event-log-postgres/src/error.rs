//! Which of Postgres's errors are outages, and which are damage.

use event_log::LogError;

/// Translates an error by its SQLSTATE. `position` says where the log is at, for damage; 0 where that is not known.
///
/// Damage is what waiting cannot mend: a constraint of the log was broken, or Postgres found its own files corrupted.
/// Everything else is an outage: the caller may try again, and whoever runs the ledger finds the cause in the chain.
pub(crate) fn log_error(error: sqlx::Error, position: u64) -> LogError {
    match damage(&error) {
        Some(what) => LogError::Damaged { position, what },
        None if is_unprepared(&error) => {
            LogError::Unavailable("waiting for the projector to prepare the event log".into())
        }
        None => LogError::Unavailable(Box::new(error)),
    }
}

/// Whether there is no log in the database yet: neither the schema nor its tables.
fn is_unprepared(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| matches!(&*code, "3F000" | "42P01"))
}

/// What is damaged, where an error says that something is.
pub(crate) fn damage(error: &sqlx::Error) -> Option<String> {
    let database = error.as_database_error()?;
    let code = database.code()?;
    // 23: integrity constraint violation. XX001, XX002: data corrupted, index corrupted. P0002: no data found, which
    // `log.append` meets where the head row is gone.
    (code.starts_with("23") || matches!(&*code, "XX001" | "XX002" | "P0002"))
        .then(|| format!("Postgres refuses with {code}: {}", database.message()))
}

/// A value in the log that is not what the log can hold.
pub(crate) fn unreadable(column: &str, position: u64) -> LogError {
    LogError::Damaged { position, what: format!("`{column}` of this row of `log.event` holds what it cannot hold") }
}
