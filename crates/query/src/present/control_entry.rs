//! The table `control_entry`: voids, entries recorded late, choices against the recommendation.

use chrono::{DateTime, Utc};
use domain::identifier::{PrisonCode, Username};
use http_api::page::{Cursor, Limit};
use sqlx::{PgPool, Postgres, QueryBuilder};
use views::{ControlEntryRow, ViewTable as _};

use super::{NamedColumns, ViewRows, bigint, read_named, read_rows, streams_aside::streams_aside};
use crate::QueryError;

/// The entries that a report is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ControlFilter {
    /// Those that void another.
    Voids,
    /// Those recorded more than so many London days later than they hold from.
    LaterThan(u16),
    /// Choices of a POM against the recommendation.
    Overrides,
}

/// The entries that both reports select from.
#[derive(Debug, Clone)]
pub(crate) struct ControlScope {
    pub(crate) prison: Option<PrisonCode>,
    pub(crate) recorded_by: Option<Username>,
    /// The first instant of recording.
    pub(crate) from: Option<DateTime<Utc>>,
    /// The first instant after it.
    pub(crate) to: Option<DateTime<Utc>>,
}

/// The entries of a report, newest first, one more than make a page.
pub(crate) async fn newest(
    views: &PgPool,
    filter: ControlFilter,
    scope: &ControlScope,
    before: Option<u64>,
    limit: Limit,
) -> Result<ViewRows<ControlEntryRow>, QueryError> {
    // Conditions that are not asked for are left out, so that an index serves those that are.
    let mut sql = QueryBuilder::new("SELECT ");
    sql.push(ControlEntryRow::select("page"))
        .push(", v.position AS ledger_position, ")
        .push(streams_aside!())
        .push(" FROM checkpoint v LEFT JOIN LATERAL (SELECT e.* FROM control_entry e WHERE ");
    match filter {
        ControlFilter::Voids => sql.push("e.voided_revision IS NOT NULL"),
        ControlFilter::LaterThan(days) => sql.push("e.days_late > 0 AND e.days_late > ").push_bind(i32::from(days)),
        ControlFilter::Overrides => sql.push("e.is_override"),
    };
    scope.push_conditions(&mut sql);
    if let Some(position) = before {
        sql.push(" AND e.position < ").push_bind(bigint(position));
    }
    sql.push(" ORDER BY e.position DESC LIMIT ")
        .push_bind(rows_max(limit))
        .push(") page ON true ORDER BY page.position DESC");
    read_rows(&sql.build().fetch_all(views).await?, |row, _| Ok(row))
}

/// The entries that a person recorded at a prison, counted.
#[derive(Debug, Clone)]
pub(crate) struct ControlCounts {
    pub(crate) prison: Option<PrisonCode>,
    pub(crate) recorded_by: Option<Username>,
    pub(crate) client: String,
    pub(crate) entries: u64,
    pub(crate) voids: u64,
    pub(crate) late: u64,
    pub(crate) overrides: u64,
}

/// A cursor's key: of the last counts seen. Most entries come first.
pub(crate) type CountsKey = (i64, String, String, String);

impl ControlCounts {
    fn read(row: NamedColumns<'_>) -> Result<Self, QueryError> {
        Ok(Self {
            prison: row.optional_word("prison")?,
            recorded_by: row.optional_word("recorded_by")?,
            client: row.get("client")?,
            entries: row.count("entries")?,
            voids: row.count("voids")?,
            late: row.count("late")?,
            overrides: row.count("overrides")?,
        })
    }

    /// Its place in the list.
    pub(crate) fn cursor(&self) -> Cursor {
        let prison = self.prison.as_ref().map(ToString::to_string).unwrap_or_default();
        let recorded_by = self.recorded_by.as_ref().map(ToString::to_string).unwrap_or_default();
        let key: CountsKey = (-bigint(self.entries), prison, recorded_by, self.client.clone());
        Cursor::after(&key)
    }
}

/// The entries counted by person and prison, most entries first, one more than make a page.
pub(crate) async fn counts(
    views: &PgPool,
    days: u16,
    scope: &ControlScope,
    after: Option<CountsKey>,
    limit: Limit,
) -> Result<ViewRows<ControlCounts>, QueryError> {
    const ORDER: &str =
        r#"-entries, coalesce(prison, '') COLLATE "C", coalesce(recorded_by, '') COLLATE "C", client COLLATE "C""#;
    let mut sql = QueryBuilder::new("SELECT page.*, v.position AS ledger_position, ");
    sql.push(streams_aside!())
        .push(
            " FROM checkpoint v LEFT JOIN LATERAL (SELECT counted.* FROM (\
             SELECT e.prison, e.recorded_by, e.client, count(*) AS entries, \
             count(e.voided_revision) AS voids, count(*) FILTER (WHERE e.is_override) AS overrides, \
             count(*) FILTER (WHERE e.days_late > ",
        )
        .push_bind(i32::from(days))
        .push(") AS late FROM control_entry e WHERE (e.voided_revision IS NOT NULL OR e.is_override OR e.days_late > ")
        .push_bind(i32::from(days))
        .push(")");
    scope.push_conditions(&mut sql);
    sql.push(" GROUP BY e.prison, e.recorded_by, e.client) counted");
    if let Some((entries, prison, recorded_by, client)) = after {
        sql.push(format_args!(" WHERE ({ORDER}) > ("))
            .push_bind(entries)
            .push(", ")
            .push_bind(prison)
            .push(", ")
            .push_bind(recorded_by)
            .push(", ")
            .push_bind(client)
            .push(")");
    }
    sql.push(format_args!(" ORDER BY {ORDER} LIMIT "))
        .push_bind(rows_max(limit))
        .push(format_args!(") page ON true ORDER BY {ORDER}"));
    read_named(&sql.build().fetch_all(views).await?, "control_entry", "client", ControlCounts::read)
}

impl ControlScope {
    fn push_conditions(&self, sql: &mut QueryBuilder<Postgres>) {
        if let Some(prison) = &self.prison {
            sql.push(" AND e.prison = ").push_bind(prison.to_string());
        }
        if let Some(username) = &self.recorded_by {
            sql.push(" AND e.recorded_by = ").push_bind(username.to_string());
        }
        if let Some(from) = self.from {
            sql.push(" AND e.recorded_at >= ").push_bind(from);
        }
        if let Some(to) = self.to {
            sql.push(" AND e.recorded_at < ").push_bind(to);
        }
    }
}

fn rows_max(limit: Limit) -> i64 {
    i64::try_from(limit.rows() + 1).unwrap_or(i64::MAX)
}
