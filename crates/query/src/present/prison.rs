//! Whether the views know a prison: by events of its own, by a case that was ever held there, or by
//! a contact in NOMIS.

use domain::identifier::PrisonCode;
use sqlx::PgExecutor;

use crate::QueryError;

/// Whether an event that the views include is of the prison, had a case held there, or found a
/// contact there. A prison
/// that the views leave out is known.
pub(crate) async fn is_named(views: impl PgExecutor<'_>, prison: &PrisonCode) -> Result<bool, QueryError> {
    const SQL: &str = "
        SELECT EXISTS (SELECT FROM prison WHERE prison_code = $1)
            OR EXISTS (SELECT FROM case_prison WHERE prison = $1)
            OR EXISTS (SELECT FROM nomis_contact WHERE prison_code = $1)
            OR EXISTS (SELECT FROM stream_aside WHERE prison_code = $1)";
    Ok(sqlx::query_scalar(SQL).bind(prison.as_str()).fetch_one(views).await?)
}
