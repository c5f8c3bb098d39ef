//! The view `nomis_contact`, with `prison` for the move onto OMiC: POM contacts that are still in
//! NOMIS.

use std::{collections::BTreeSet, sync::LazyLock};

use chrono::NaiveDate;
use domain::{
    Confinement,
    identifier::{PrisonCode, PrisonerNumber},
    prison::History,
};
use http_api::page::{Cursor, Limit};
use sqlx::{PgExecutor, PgPool, Row as _, postgres::PgRow};
use uuid::Uuid;
use views::{NomisContactRow, ViewTable as _};

use super::{NamedColumns, ViewRows, bigint, read_rows, streams_aside::streams_aside};
use crate::QueryError;

/// A POM contact in NOMIS, and when its prison went onto OMiC.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ContactAtPrison {
    pub(crate) contact: NomisContactRow,
    pub(crate) go_live_date: Option<NaiveDate>,
}

/// A cursor's key: of the last contact seen.
pub(crate) type ContactListKey = (String, String, Uuid);

/// The contacts that a list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContactFilter {
    /// Those that are still in NOMIS at prisons that were on OMiC by this London day, where they
    /// should be gone.
    Outstanding(NaiveDate),
    /// Those that are still in NOMIS.
    InNomis,
    /// Every one ever seen, removed ones included.
    Any,
}

/// A list of contacts that a caller asks for, by prison and prisoner.
#[derive(Debug, Clone)]
pub(crate) struct ContactList {
    /// Of one prison, or of all.
    pub(crate) prison: Option<PrisonCode>,
    /// The prisons that the caller is confined to.
    pub(crate) confinement: Confinement,
    pub(crate) filter: ContactFilter,
    pub(crate) after: Option<ContactListKey>,
    pub(crate) limit: Limit,
}

/// The first contacts of a list in order, one more than make a page. With `unchanged_since`, only
/// of prisons to which nothing has happened after that position: the views are still as they were
/// then for them.
pub(crate) async fn first(
    views: impl PgExecutor<'_>,
    list: &ContactList,
    unchanged_since: Option<u64>,
) -> Result<ViewRows<ContactAtPrison>, QueryError> {
    // The order is that of the key, byte by byte; the partial index on outstanding contacts keeps
    // this short.
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            r#"SELECT page.*, v.position AS ledger_position, {}
               FROM checkpoint v LEFT JOIN LATERAL (
                   SELECT {}, p.go_live_date
                   FROM nomis_contact n JOIN prison p ON p.prison_code = n.prison_code
                   WHERE ($7 OR n.removed_at IS NULL)
                     AND ($8::bigint IS NULL OR p.position <= $8)
                     AND ($1::text IS NULL OR n.prison_code = $1)
                     AND ($9::text[] IS NULL OR n.prison_code = ANY($9))
                     AND ($2::date IS NULL OR p.go_live_date <= $2)
                     AND ($3::text IS NULL
                          OR (n.prison_code COLLATE "C", n.prisoner_number COLLATE "C", n.contact_id) > ($3, $4, $5))
                   ORDER BY n.prison_code COLLATE "C", n.prisoner_number COLLATE "C", n.contact_id
                   LIMIT $6
               ) page ON true
               ORDER BY page.prison_code COLLATE "C", page.prisoner_number COLLATE "C", page.contact_id"#,
            streams_aside!(),
            NomisContactRow::select("n")
        )
    });
    let ContactList { prison, confinement, filter, after, limit } = list;
    let after = after.as_ref();
    let (joined_by, with_removed) = match *filter {
        ContactFilter::Outstanding(today) => (Some(today), false),
        ContactFilter::InNomis => (None, false),
        ContactFilter::Any => (None, true),
    };
    let rows = sqlx::query(SQL.as_str())
        .bind(prison.as_ref().map(PrisonCode::as_str))
        .bind(joined_by)
        .bind(after.map(|(prison, _, _)| prison.as_str()))
        .bind(after.map(|(_, number, _)| number.as_str()))
        .bind(after.map(|(_, _, id)| *id))
        .bind(i64::try_from(limit.rows() + 1).unwrap_or(i64::MAX))
        .bind(with_removed)
        .bind(unchanged_since.map(bigint))
        .bind(codes(confinement))
        .fetch_all(views)
        .await?;
    read_rows(&rows, ContactAtPrison::read)
}

impl ContactList {
    /// The page that these contacts make, which are in order and, where there are more than fit, at
    /// least one more.
    pub(crate) fn page(&self, mut contacts: Vec<ContactAtPrison>) -> (Vec<ContactAtPrison>, Option<Cursor>) {
        let is_more = contacts.len() > self.limit.rows();
        contacts.truncate(self.limit.rows());
        let next = contacts.last().filter(|_| is_more).map(|contact| Cursor::after(&contact.key()));
        (contacts, next)
    }

    /// A prison's contacts in the list, from its history as it was known at some point; in order.
    pub(crate) fn of(&self, history: &History) -> Vec<ContactAtPrison> {
        let roster = history.roster();
        let go_live_date = roster.joined.as_ref().map(|joined| joined.go_live_date);
        let is_wanted = |contact: &NomisContactRow| match self.filter {
            ContactFilter::Outstanding(today) => {
                contact.removed_at.is_none() && go_live_date.is_some_and(|joined| joined <= today)
            }
            ContactFilter::InNomis => contact.removed_at.is_none(),
            ContactFilter::Any => true,
        };
        let follows = |contact: &ContactAtPrison| self.after.as_ref().is_none_or(|after| contact.key() > *after);
        let mut contacts: Vec<ContactAtPrison> = NomisContactRow::all_of(history, roster)
            .into_iter()
            .filter(is_wanted)
            .map(|contact| ContactAtPrison { contact, go_live_date })
            .filter(follows)
            .collect();
        contacts.sort_by_key(ContactAtPrison::key);
        contacts
    }
}

/// The prisons of a list to which something has happened after `position`, in order.
pub(crate) async fn changed_since(
    views: impl PgExecutor<'_>,
    list: &ContactList,
    position: u64,
) -> Result<Vec<PrisonCode>, QueryError> {
    const SQL: &str = r#"
        SELECT prison_code FROM prison
        WHERE position > $1 AND ($2::text IS NULL OR prison_code = $2)
          AND ($3::text IS NULL OR prison_code COLLATE "C" >= $3)
          AND ($4::text[] IS NULL OR prison_code = ANY($4))
        ORDER BY prison_code COLLATE "C""#;
    let rows = sqlx::query(SQL)
        .bind(bigint(position))
        .bind(list.prison.as_ref().map(PrisonCode::as_str))
        .bind(list.after.as_ref().map(|(prison, _, _)| prison.as_str()))
        .bind(codes(&list.confinement))
        .fetch_all(views)
        .await?;
    let key = "prison_code";
    rows.iter().map(|row| NamedColumns { table: "prison", key, row }.word(key)).collect()
}

fn codes(confinement: &Confinement) -> Option<Vec<&str>> {
    confinement.prisons().map(|prisons| prisons.iter().map(PrisonCode::as_str).collect())
}

/// Every contact ever seen of these numbers, removed ones included.
pub(crate) async fn of_prisoners(
    views: &PgPool,
    numbers: &BTreeSet<PrisonerNumber>,
) -> Result<ViewRows<NomisContactRow>, QueryError> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            r#"SELECT {}, v.position AS ledger_position, {}
               FROM checkpoint v
               LEFT JOIN nomis_contact n ON n.prisoner_number = ANY($1)
               ORDER BY n.found_at, n.prison_code COLLATE "C", n.contact_id"#,
            NomisContactRow::select("n"),
            streams_aside!()
        )
    });
    let numbers: Vec<&str> = numbers.iter().map(PrisonerNumber::as_str).collect();
    let rows = sqlx::query(SQL.as_str()).bind(numbers).fetch_all(views).await?;
    read_rows(&rows, |contact, _| Ok(contact))
}

impl ContactAtPrison {
    /// The key that lists sort by.
    pub(crate) fn key(&self) -> ContactListKey {
        let NomisContactRow { prison_code, prisoner_number, contact_id, .. } = &self.contact;
        (prison_code.to_string(), prisoner_number.to_string(), *contact_id)
    }

    fn read(contact: NomisContactRow, row: &PgRow) -> Result<Self, QueryError> {
        Ok(Self { contact, go_live_date: row.try_get("go_live_date")? })
    }
}
