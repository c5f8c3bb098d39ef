//! The view `nomis_contact`, with `prison` for the move onto OMiC: which POM contacts are still in NOMIS.

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    prison::History,
};
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

/// A list that is asked for, by prison and prisoner.
#[derive(Debug, Clone)]
pub(crate) struct List {
    /// Of one prison, or of all.
    pub(crate) prison: Option<PrisonCode>,
    pub(crate) which: Which,
    pub(crate) after: Option<Key>,
    pub(crate) limit: Limit,
}

/// The first contacts of a list in order, one more than make a page. With `unchanged_since`, only of prisons to which
/// nothing has happened after that position: of them the views say what they said then.
pub(crate) async fn first(views: &PgPool, list: &List, unchanged_since: Option<u64>) -> Result<Read<Contact>, Error> {
    // The order is that of the key, byte by byte; the partial index on outstanding contacts keeps this short.
    const SQL: &str = r#"
        SELECT v.position AS ledger_position, page.*
        FROM checkpoint v LEFT JOIN LATERAL (
            SELECT n.prison_code, p.go_live_date, n.contact_id, n.prisoner_number, n.staff_id, n.name, n.contact_type,
                   n.found_at, n.removed_at
            FROM nomis_contact n JOIN prison p ON p.prison_code = n.prison_code
            WHERE ($7 OR n.removed_at IS NULL)
              AND ($8::bigint IS NULL OR p.position <= $8)
              AND ($1::text IS NULL OR n.prison_code = $1)
              AND ($2::date IS NULL OR p.go_live_date <= $2)
              AND ($3::text IS NULL
                   OR (n.prison_code COLLATE "C", n.prisoner_number COLLATE "C", n.contact_id) > ($3, $4, $5))
            ORDER BY n.prison_code COLLATE "C", n.prisoner_number COLLATE "C", n.contact_id
            LIMIT $6
        ) page ON true
        ORDER BY page.prison_code COLLATE "C", page.prisoner_number COLLATE "C", page.contact_id"#;
    let List { prison, which, after, limit } = list;
    let after = after.as_ref();
    let (joined_by, removed_too) = match *which {
        Which::Outstanding(today) => (Some(today), false),
        Which::InNomis => (None, false),
        Which::Any => (None, true),
    };
    let rows = sqlx::query(SQL)
        .bind(prison.as_ref().map(PrisonCode::as_str))
        .bind(joined_by)
        .bind(after.map(|(prison, _, _)| prison.as_str()))
        .bind(after.map(|(_, number, _)| number.as_str()))
        .bind(after.map(|(_, _, id)| *id))
        .bind(i64::try_from(limit.rows() + 1).unwrap_or(i64::MAX))
        .bind(removed_too)
        .bind(unchanged_since.map(|position| i64::try_from(position).unwrap_or(i64::MAX)))
        .fetch_all(views)
        .await?;
    read(&rows, "nomis_contact", "prison_code", Contact::read)
}

impl List {
    /// The page that these contacts make, which are in order and, where there are more than fit, at least one more.
    pub(crate) fn page(&self, mut contacts: Vec<Contact>) -> (Vec<Contact>, Option<Cursor>) {
        let more = contacts.len() > self.limit.rows();
        contacts.truncate(self.limit.rows());
        let next = contacts.last().filter(|_| more).map(|contact| Cursor::after(&contact.key()));
        (contacts, next)
    }

    /// A prison's contacts in the list, from its history as it was known at some point; in order.
    pub(crate) fn of(&self, history: &History) -> Vec<Contact> {
        let go_live_date = history.roster().joined.as_ref().map(|joined| joined.go_live_date);
        let is_wanted = |contact: &Contact| match self.which {
            Which::Outstanding(today) => {
                contact.removed_at.is_none() && go_live_date.is_some_and(|joined| joined <= today)
            }
            Which::InNomis => contact.removed_at.is_none(),
            Which::Any => true,
        };
        let follows = |contact: &Contact| self.after.as_ref().is_none_or(|after| contact.key() > *after);
        let mut contacts: Vec<Contact> = history
            .roster()
            .contacts
            .iter()
            .map(|(&contact_id, contact)| Contact {
                prison: history.code().clone(),
                go_live_date,
                contact_id,
                prisoner_number: contact.found.prisoner_number.clone(),
                staff_id: contact.found.staff_id.map(StaffId::get),
                name: contact.found.name.clone(),
                contact_type: contact.found.contact_type.clone(),
                found_at: contact.found_at,
                removed_at: contact.removed_at,
            })
            .filter(|contact| is_wanted(contact) && follows(contact))
            .collect();
        contacts.sort_by_key(Contact::key);
        contacts
    }
}

/// The prisons of a list to which something has happened after `position`, in order.
pub(crate) async fn changed_since(views: &PgPool, list: &List, position: u64) -> Result<Vec<PrisonCode>, Error> {
    const SQL: &str = r#"
        SELECT prison_code FROM prison
        WHERE position > $1 AND ($2::text IS NULL OR prison_code = $2)
          AND ($3::text IS NULL OR prison_code COLLATE "C" >= $3)
        ORDER BY prison_code COLLATE "C""#;
    let rows = sqlx::query(SQL)
        .bind(i64::try_from(position).unwrap_or(i64::MAX))
        .bind(list.prison.as_ref().map(PrisonCode::as_str))
        .bind(list.after.as_ref().map(|(prison, _, _)| prison.as_str()))
        .fetch_all(views)
        .await?;
    rows.iter().map(|row| Row { table: "prison", key: "prison_code", row }.word("prison_code")).collect()
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
    /// What lists sort by.
    pub(crate) fn key(&self) -> Key {
        (self.prison.to_string(), self.prisoner_number.to_string(), self.contact_id)
    }

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
