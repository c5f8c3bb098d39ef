//! The view `case_prison`: cases that a list may have had at some instant as known at some
//! position, whatever happened to them since.

use chrono::{DateTime, Utc};
use domain::{
    Confinement,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
};
use sqlx::PgExecutor;

use super::{NamedColumns, bigint};
use crate::QueryError;

/// The cases to which something has happened after `position`, of those that by then had been seen
/// at the prison. Where an instant is given, only those that may have been there at it, by what was
/// known then. For these the views may differ from what they were then.
pub(crate) async fn changed_since_at_prison(
    views: impl PgExecutor<'_>,
    prison: &PrisonCode,
    at: Option<DateTime<Utc>>,
    position: u64,
) -> Result<Vec<PrisonerNumber>, QueryError> {
    const SQL: &str = "
        SELECT seen.prisoner_number
        FROM case_prison seen JOIN prisoner_case c ON c.prisoner_number = seen.prisoner_number
        WHERE seen.prison = $1 AND seen.first_position <= $2 AND c.position > $2
          AND ($3 IS NULL OR seen.left_position IS NULL OR seen.left_position > $2 OR seen.left_at >= $3)";
    let query = sqlx::query(SQL).bind(prison.as_str()).bind(bigint(position)).bind(at);
    numbers(&query.fetch_all(views).await?)
}

/// The same of the prisons where the POM has ever been on the roster, or may have been: of a prison
/// that the views leave out, nothing is known here.
pub(crate) async fn changed_since_around_pom(
    views: impl PgExecutor<'_>,
    staff_id: StaffId,
    at: DateTime<Utc>,
    position: u64,
) -> Result<Vec<PrisonerNumber>, QueryError> {
    const SQL: &str = "
        SELECT DISTINCT seen.prisoner_number
        FROM case_prison seen JOIN prisoner_case c ON c.prisoner_number = seen.prisoner_number
        WHERE seen.prison IN (SELECT prison_code FROM pom_period WHERE staff_id = $1
                              UNION ALL SELECT prison_code FROM stream_aside WHERE prison_code IS NOT NULL)
          AND seen.first_position <= $2 AND c.position > $2
          AND (seen.left_position IS NULL OR seen.left_position > $2 OR seen.left_at >= $3)";
    let query = sqlx::query(SQL).bind(staff_id.get()).bind(bigint(position)).bind(at);
    numbers(&query.fetch_all(views).await?)
}

/// Those of the cases that are at the caller's prisons now; of a merged number, the survivor
/// counts.
pub(crate) async fn retain_own(
    views: impl PgExecutor<'_>,
    cases: Vec<PrisonerNumber>,
    confinement: &Confinement,
) -> Result<Vec<PrisonerNumber>, QueryError> {
    let Some(prisons) = confinement.prisons() else { return Ok(cases) };
    const SQL: &str = "
        WITH RECURSIVE chain (prisoner_number, number) AS (
            SELECT asked.number, asked.number FROM unnest($1::text[]) AS asked (number)
            UNION
            SELECT chain.prisoner_number, c.merged_into
            FROM chain JOIN prisoner_case c ON c.prisoner_number = chain.number
            WHERE c.merged_into IS NOT NULL
        )
        SELECT DISTINCT chain.prisoner_number
        FROM chain JOIN case_prison seen ON seen.prisoner_number = chain.number
        WHERE seen.prison = ANY($2) AND seen.left_position IS NULL";
    let cases: Vec<&str> = cases.iter().map(PrisonerNumber::as_str).collect();
    let prisons: Vec<&str> = prisons.iter().map(PrisonCode::as_str).collect();
    numbers(&sqlx::query(SQL).bind(cases).bind(prisons).fetch_all(views).await?)
}

fn numbers(rows: &[sqlx::postgres::PgRow]) -> Result<Vec<PrisonerNumber>, QueryError> {
    let key = "prisoner_number";
    rows.iter().map(|row| NamedColumns { table: "case_prison", key, row }.word(key)).collect()
}
