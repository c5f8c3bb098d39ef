//! The view `nomis_contact`, with `prison` for the move onto OMiC: POM contacts that are still in
//! NOMIS.
//!
//! A contact is of a person and of a prison. The list leaves out those at a prison that the views
//! leave out, as it is not known when that prison went onto OMiC.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use chrono::NaiveDate;
use domain::{
    Confinement,
    identifier::{PrisonCode, PrisonerNumber},
    nomis_contacts::History,
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

/// The go-live date of prisons as it was known at a point; of a prison that is not in it, the views
/// have what was known then.
pub(crate) type GoLiveDates = BTreeMap<PrisonCode, Option<NaiveDate>>;

/// The state of a list at a point.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ContactsThen<'a> {
    /// The position of the point.
    pub(crate) position: u64,
    /// The go-live dates of the prisons to which something has happened since.
    pub(crate) go_live_dates: &'a GoLiveDates,
}

/// The first contacts of a list in order, one more than make a page. With `then`, only those of
/// persons to whose contacts nothing has happened after that point.
pub(crate) async fn first(
    views: impl PgExecutor<'_>,
    list: &ContactList,
    then: Option<ContactsThen<'_>>,
) -> Result<ViewRows<ContactAtPrison>, QueryError> {
    // The order is that of the key, byte by byte; the partial index on outstanding contacts keeps
    // this short.
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            r#"SELECT page.*, v.position AS ledger_position, {}
               FROM checkpoint v LEFT JOIN LATERAL (
                   SELECT {}, g.go_live_date
                   FROM nomis_contact n
                   LEFT JOIN prison p ON p.prison_code = n.prison_code
                   LEFT JOIN unnest($10::text[], $11::date[]) AS changed (prison_code, go_live_date)
                          ON changed.prison_code = n.prison_code
                   CROSS JOIN LATERAL (
                       SELECT CASE WHEN changed.prison_code IS NULL THEN p.go_live_date
                                   ELSE changed.go_live_date END AS go_live_date
                   ) g
                   WHERE ($7 OR n.removed_at IS NULL)
                     AND ($8::bigint IS NULL OR n.position <= $8)
                     AND NOT EXISTS (SELECT FROM stream_aside a WHERE a.prison_code = n.prison_code)
                     AND ($1::text IS NULL OR n.prison_code = $1)
                     AND ($9::text[] IS NULL OR n.prison_code = ANY($9))
                     AND ($2::date IS NULL OR g.go_live_date <= $2)
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
    let go_live_dates = then.iter().flat_map(|then| then.go_live_dates);
    let (changed, dates): (Vec<&str>, Vec<Option<NaiveDate>>) =
        go_live_dates.map(|(code, date)| (code.as_str(), *date)).unzip();
    let rows = sqlx::query(SQL.as_str())
        .bind(prison.as_ref().map(PrisonCode::as_str))
        .bind(joined_by)
        .bind(after.map(|(prison, _, _)| prison.as_str()))
        .bind(after.map(|(_, number, _)| number.as_str()))
        .bind(after.map(|(_, _, id)| *id))
        .bind(i64::try_from(limit.rows() + 1).unwrap_or(i64::MAX))
        .bind(with_removed)
        .bind(then.map(|then| bigint(then.position)))
        .bind(codes(confinement))
        .bind(changed)
        .bind(dates)
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

    /// A person's contacts in the list at a prison, with the prison's go-live date, from their
    /// history as it was known at some point; in order.
    pub(crate) fn of(
        &self,
        history: &History,
        prison: &PrisonCode,
        go_live_date: Option<NaiveDate>,
    ) -> Vec<ContactAtPrison> {
        let is_wanted = |contact: &NomisContactRow| match self.filter {
            ContactFilter::Outstanding(today) => {
                contact.removed_at.is_none() && go_live_date.is_some_and(|joined| joined <= today)
            }
            ContactFilter::InNomis => contact.removed_at.is_none(),
            ContactFilter::Any => true,
        };
        let follows = |contact: &ContactAtPrison| self.after.as_ref().is_none_or(|after| contact.key() > *after);
        NomisContactRow::all_of(history)
            .into_iter()
            .filter(|contact| contact.prison_code == *prison && is_wanted(contact))
            .map(|contact| ContactAtPrison { contact, go_live_date })
            .filter(follows)
            .collect()
    }
}

/// The prisons of a list to which something has happened after `position`.
pub(crate) async fn prisons_changed_since(
    views: impl PgExecutor<'_>,
    list: &ContactList,
    position: u64,
) -> Result<Vec<PrisonCode>, QueryError> {
    const SQL: &str = r#"
        SELECT prison_code FROM prison
        WHERE position > $1 AND ($2::text IS NULL OR prison_code = $2)
          AND ($3::text IS NULL OR prison_code COLLATE "C" >= $3)
          AND ($4::text[] IS NULL OR prison_code = ANY($4))"#;
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

/// A prison and a person who ever had a contact there, and the go-live date that the views have.
pub(crate) struct PersonAtPrison {
    pub(crate) prison: PrisonCode,
    pub(crate) number: PrisonerNumber,
    pub(crate) go_live_date: Option<NaiveDate>,
}

/// The persons of a list to whose contacts something has happened after `position`, by prison; in
/// the order of the list.
pub(crate) async fn persons_changed_since(
    views: impl PgExecutor<'_>,
    list: &ContactList,
    position: u64,
) -> Result<Vec<PersonAtPrison>, QueryError> {
    const SQL: &str = r#"
        SELECT n.prison_code, n.prisoner_number, p.go_live_date
        FROM (SELECT DISTINCT prison_code COLLATE "C" AS prison_code, prisoner_number COLLATE "C" AS prisoner_number
              FROM nomis_contact
              WHERE position > $1 AND ($2::text IS NULL OR prison_code = $2)
                AND ($3::text IS NULL OR (prison_code COLLATE "C", prisoner_number COLLATE "C") >= ($3, $4))
                AND ($5::text[] IS NULL OR prison_code = ANY($5))
             ) n
        LEFT JOIN prison p ON p.prison_code = n.prison_code
        WHERE NOT EXISTS (SELECT FROM stream_aside a WHERE a.prison_code = n.prison_code)
        ORDER BY n.prison_code, n.prisoner_number"#;
    let after = list.after.as_ref();
    let rows = sqlx::query(SQL)
        .bind(bigint(position))
        .bind(list.prison.as_ref().map(PrisonCode::as_str))
        .bind(after.map(|(prison, _, _)| prison.as_str()))
        .bind(after.map(|(_, number, _)| number.as_str()))
        .bind(codes(&list.confinement))
        .fetch_all(views)
        .await?;
    let read = |row: &PgRow| {
        let named = NamedColumns { table: "nomis_contact", key: "prisoner_number", row };
        Ok(PersonAtPrison {
            prison: named.word("prison_code")?,
            number: named.word("prisoner_number")?,
            go_live_date: row.try_get("go_live_date")?,
        })
    };
    rows.iter().map(read).collect()
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
