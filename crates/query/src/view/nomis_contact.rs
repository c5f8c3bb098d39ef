//! The view `nomis_contact`, with `prison` for the move onto OMiC: which POM contacts are still in NOMIS.

use chrono::{DateTime, NaiveDate, Utc};
use domain::identifier::{PrisonCode, PrisonerNumber};
use http_api::page::{Cursor, Limit};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Read, Row, read};
use crate::Error;

/// A POM contact in NOMIS.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Contact {
    pub(crate) prison: PrisonCode,
    pub(crate) go_live_date: Option<NaiveDate>,
    pub(crate) contact_id: Uuid,
    pub(crate) prisoner_number: PrisonerNumber,
    pub(crate) staff_id: Option<i64>,
    pub(crate) name: Option<String>,
    pub(crate) contact_type: String,
    pub(crate) found_at: DateTime<Utc>,
    pub(crate) removed_at: Option<DateTime<Utc>>,
}

/// A cursor's key: of the last contact seen.
pub(crate) type Key = (String, String, Uuid);

/// Which contacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those that are still in NOMIS at prisons that were on OMiC by this London day, where they should be gone.
    Outstanding(NaiveDate),
    /// Those that are still in NOMIS.
    InNomis,
    /// Every one ever seen, removed ones included.
    Any,
}

/// A page of contacts, by prison and prisoner; of one prison or of all.
pub(crate) async fn page(
    views: &PgPool,
    prison: Option<&PrisonCode>,
    which: Which,
    after: Option<&Key>,
    limit: Limit,
) -> Result<(Read<Contact>, Option<Cursor>), Error> {
    // The order is that of the key, byte by byte; the partial index on outstanding contacts keeps this short.
    const SQL: &str = r#"
        SELECT v.position AS ledger_position, page.*
        FROM checkpoint v LEFT JOIN LATERAL (
            SELECT n.prison_code, p.go_live_date, n.contact_id, n.prisoner_number, n.staff_id, n.name, n.contact_type,
                   n.found_at, n.removed_at
            FROM nomis_contact n JOIN prison p ON p.prison_code = n.prison_code
            WHERE ($7 OR n.removed_at IS NULL)
              AND ($1::text IS NULL OR n.prison_code = $1)
              AND ($2::date IS NULL OR p.go_live_date <= $2)
              AND ($3::text IS NULL
                   OR (n.prison_code COLLATE "C", n.prisoner_number COLLATE "C", n.contact_id) > ($3, $4, $5))
            ORDER BY n.prison_code COLLATE "C", n.prisoner_number COLLATE "C", n.contact_id
            LIMIT $6
        ) page ON true
        ORDER BY page.prison_code COLLATE "C", page.prisoner_number COLLATE "C", page.contact_id"#;
    let (joined_by, removed_too) = match which {
        Which::Outstanding(today) => (Some(today), false),
        Which::InNomis => (None, false),
        Which::Any => (None, true),
    };
    let rows = sqlx::query(SQL)
        .bind(prison.map(PrisonCode::as_str))
        .bind(joined_by)
        .bind(after.map(|(prison, _, _)| prison.as_str()))
        .bind(after.map(|(_, number, _)| number.as_str()))
        .bind(after.map(|(_, _, id)| *id))
        .bind(i64::try_from(limit.rows() + 1).unwrap_or(i64::MAX))
        .bind(removed_too)
        .fetch_all(views)
        .await?;
    let mut contacts = read(&rows, "nomis_contact", "prison_code", Contact::read)?;
    let more = contacts.rows.len() > limit.rows();
    contacts.rows.truncate(limit.rows());
    let next =
        contacts.rows.last().filter(|_| more).map(|contact| {
            Cursor::after(&(contact.prison.as_str(), contact.prisoner_number.as_str(), contact.contact_id))
        });
    Ok((contacts, next))
}

/// Every contact ever seen of these numbers, removed ones included.
pub(crate) async fn of_prisoners(views: &PgPool, numbers: &[PrisonerNumber]) -> Result<Read<Contact>, Error> {
    const SQL: &str = r#"
        SELECT v.position AS ledger_position, n.prison_code, p.go_live_date, n.contact_id, n.prisoner_number, n.staff_id,
               n.name, n.contact_type, n.found_at, n.removed_at
        FROM checkpoint v
        LEFT JOIN nomis_contact n ON n.prisoner_number = ANY($1)
        LEFT JOIN prison p ON p.prison_code = n.prison_code
        ORDER BY n.found_at, n.prison_code COLLATE "C", n.contact_id"#;
    let numbers: Vec<&str> = numbers.iter().map(PrisonerNumber::as_str).collect();
    let rows = sqlx::query(SQL).bind(numbers).fetch_all(views).await?;
    read(&rows, "nomis_contact", "prison_code", Contact::read)
}

impl Contact {
    fn read(row: Row<'_>) -> Result<Self, Error> {
        Ok(Self {
            prison: row.word("prison_code")?,
            go_live_date: row.get("go_live_date")?,
            contact_id: row.get("contact_id")?,
            prisoner_number: row.word("prisoner_number")?,
            staff_id: row.get("staff_id")?,
            name: row.get("name")?,
            contact_type: row.get("contact_type")?,
            found_at: row.get("found_at")?,
            removed_at: row.get("removed_at")?,
        })
    }
}
