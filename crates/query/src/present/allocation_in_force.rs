//! The view `allocation` beside `case_period`: the allocations in force.

use chrono::{DateTime, Utc};
use domain::{
    Confinement,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
};
use sqlx::{PgConnection, PgPool, postgres::PgRow};

use super::{
    NamedColumns, ViewRows, read_named,
    streams_aside::{damaged_case, damaged_cases, read_damaged_case, streams_aside},
};
use crate::QueryError;

/// A primary POM's holding of a case, with the allocation that it came from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AllocationInForce {
    /// The number asked for: one that was merged answers with the survivor's.
    pub(crate) asked: Option<String>,
    pub(crate) number: PrisonerNumber,
    pub(crate) prison: PrisonCode,
    pub(crate) staff_id: i64,
    pub(crate) email: Option<String>,
    pub(crate) since: DateTime<Utc>,
    /// At the allocation; where that is not known after a merge, now.
    pub(crate) tier: Option<String>,
    pub(crate) override_reasons: Vec<String>,
    pub(crate) override_detail: Option<String>,
    pub(crate) note: Option<String>,
    pub(crate) nomis_booking_id: Option<i64>,
    pub(crate) recorded_by: Option<String>,
    pub(crate) recorded_at: Option<DateTime<Utc>>,
}

/// The select list of each statement on allocations in force: `p` is the period, `a` its
/// allocation.
macro_rules! in_force {
    () => {
        "p.prisoner_number, p.prison, p.pom_staff_id, p.pom_email, p.pom_since, coalesce(a.tier, p.tier) AS tier, \
         coalesce(a.override_reasons, '{}') AS override_reasons, a.override_detail, a.note, a.nomis_booking_id, a.recorded_by, a.recorded_at"
    };
}

/// The allocations in force of these numbers, merged ones followed; numbers without one are absent.
///
/// # Errors
/// [`QueryError::Aside`] where the case of any of them is damaged: it would look as if it had none.
pub(crate) async fn in_force_of_prisoners(
    views: &PgPool,
    numbers: &[PrisonerNumber],
    at: DateTime<Utc>,
) -> Result<ViewRows<AllocationInForce>, QueryError> {
    // `UNION`, not `UNION ALL`: a circle, which the rules refuse, would come to an end all the
    // same.
    const SQL: &str = concat!(
        "WITH RECURSIVE ",
        damaged_cases!(),
        ", chain AS (
             SELECT asked.number AS asked, c.prisoner_number, c.merged_into
             FROM unnest($1::text[]) AS asked (number) JOIN prisoner_case c ON c.prisoner_number = asked.number
             UNION
             SELECT chain.asked, c.prisoner_number, c.merged_into
             FROM chain JOIN prisoner_case c ON c.prisoner_number = chain.merged_into
         )
         SELECT v.position AS ledger_position, held.*, ",
        streams_aside!(),
        ", ",
        damaged_case!(
            "damaged.number = ANY($1) OR damaged.number IN (SELECT prisoner_number FROM chain
                                                            UNION ALL SELECT merged_into FROM chain)"
        ),
        "
         FROM checkpoint v LEFT JOIN LATERAL (
             SELECT chain.asked, ",
        in_force!(),
        "    FROM chain
             JOIN case_period p ON p.prisoner_number = chain.prisoner_number
                               AND p.valid_from <= $2 AND p.valid_to > $2 AND p.pom_staff_id IS NOT NULL
             LEFT JOIN allocation a ON a.prisoner_number = coalesce(p.taken_over_number, p.prisoner_number)
                                   AND a.revision = coalesce(p.taken_over_revision, p.allocation_revision)
             WHERE chain.merged_into IS NULL
         ) held ON true"
    );
    let numbers: Vec<&str> = numbers.iter().map(PrisonerNumber::as_str).collect();
    let rows = sqlx::query(SQL).bind(numbers).bind(at).fetch_all(views).await?;
    // The condition is of no row in particular.
    rows.first().map_or(Ok(()), check_undamaged)?;
    read_named(&rows, "case_period", "prisoner_number", |row| AllocationInForce::read(row, Some(row.get("asked")?)))
}

/// The allocations in force of these POMs at the prisons that a caller is confined to, by POM and
/// case.
///
/// # Errors
/// [`QueryError::Aside`] where any of those cases is damaged: the allocation may be that of a
/// number that was merged into it, and would look as if it had no note.
pub(crate) async fn in_force_of_poms(
    views: &mut PgConnection,
    staff_ids: &[StaffId],
    confinement: &Confinement,
    at: DateTime<Utc>,
) -> Result<ViewRows<AllocationInForce>, QueryError> {
    const SQL: &str = concat!(
        "WITH RECURSIVE ",
        damaged_cases!(),
        " SELECT v.position AS ledger_position, ",
        streams_aside!(),
        ", ",
        damaged_case!("damaged.number = p.prisoner_number"),
        ", ",
        in_force!(),
        " FROM checkpoint v
          LEFT JOIN case_period p ON p.pom_staff_id = ANY($1) AND p.valid_from <= $2 AND p.valid_to > $2
                                 AND ($3::text[] IS NULL OR p.prison = ANY($3))
          LEFT JOIN allocation a ON a.prisoner_number = coalesce(p.taken_over_number, p.prisoner_number)
                                AND a.revision = coalesce(p.taken_over_revision, p.allocation_revision)
          ORDER BY p.pom_staff_id, p.prisoner_number"
    );
    let staff_ids: Vec<i64> = staff_ids.iter().map(|id| id.get()).collect();
    let prisons: Option<Vec<&str>> =
        confinement.prisons().map(|prisons| prisons.iter().map(PrisonCode::as_str).collect());
    let rows = sqlx::query(SQL).bind(staff_ids).bind(at).bind(prisons).fetch_all(views).await?;
    for row in &rows {
        check_undamaged(row)?;
    }
    read_named(&rows, "case_period", "prisoner_number", |row| AllocationInForce::read(row, None))
}

/// Fails where the case of a row is damaged.
fn check_undamaged(row: &PgRow) -> Result<(), QueryError> {
    read_damaged_case(row)?.map_or(Ok(()), |aside| Err(QueryError::Aside(aside)))
}

impl AllocationInForce {
    fn read(row: NamedColumns<'_>, asked: Option<String>) -> Result<Self, QueryError> {
        Ok(Self {
            asked,
            number: row.word("prisoner_number")?,
            prison: row.word("prison")?,
            staff_id: row.get("pom_staff_id")?,
            email: row.get("pom_email")?,
            since: row.get("pom_since")?,
            tier: row.get("tier")?,
            override_reasons: row.get("override_reasons")?,
            override_detail: row.get("override_detail")?,
            note: row.get("note")?,
            nomis_booking_id: row.get("nomis_booking_id")?,
            recorded_by: row.get("recorded_by")?,
            recorded_at: row.get("recorded_at")?,
        })
    }
}
