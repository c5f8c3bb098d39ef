//! The views `prisoner_case` and `case_period`: lists of cases at an instant, filtered, sorted and paged.
//!
//! The one place where SQL is put together at run time; every piece of it is a constant of this file, and every value is
//! bound. Filters that are not used are left out, so that the planner can choose the index that serves those that are.

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    handover::Phase,
    identifier::{PrisonCode, StaffId},
    prisoner::OfficerRole,
    tier::Tier,
};
use http_api::page::{Cursor, Limit};
use serde::Serialize;
use sqlx::{PgPool, Postgres, QueryBuilder};

use super::{
    Read,
    case::{Case, columns},
    read,
};
use crate::Error;

/// Which role a POM has on a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PomRole {
    Primary,
    Coworking,
}

/// Which cases.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Filter {
    pub(crate) prison: Option<PrisonCode>,
    pub(crate) pom: Option<StaffId>,
    /// With `pom`: in which role; `None` for either.
    pub(crate) role: Option<PomRole>,
    /// A letter alone stands for all its change levels.
    pub(crate) tier: Option<Tier>,
    pub(crate) phase: Option<Phase>,
    pub(crate) responsible: Option<OfficerRole>,
    pub(crate) allocated: Option<bool>,
    pub(crate) waiting: Option<bool>,
    /// Handover starts in these days, both included.
    pub(crate) starts_within: Option<(NaiveDate, NaiveDate)>,
    /// The COM becomes responsible in these days, both included.
    pub(crate) due_within: Option<(NaiveDate, NaiveDate)>,
    /// The COM is responsible, and none is named.
    pub(crate) overdue: bool,
}

/// In which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sort {
    pub(crate) by: SortBy,
    pub(crate) descending: bool,
}

/// By what; cases that are alike in it, by prisoner number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SortBy {
    #[default]
    PrisonerNumber,
    Tier,
    PomName,
    Phase,
    HandoverStartDate,
    HandoverDate,
    WaitingSince,
    ResponsibleSince,
}

impl SortBy {
    /// A text that sorts as the thing itself, byte by byte; null where it is absent.
    fn text(self) -> &'static str {
        match self {
            Self::PrisonerNumber => "''",
            Self::Tier => "p.tier",
            Self::PomName => "p.pom_name",
            Self::Phase => "p.phase",
            Self::HandoverStartDate => "p.plan_start_date::text",
            Self::HandoverDate => "p.plan_handover_date::text",
            Self::WaitingSince => "to_char(p.waiting_since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
            Self::ResponsibleSince => "to_char(p.responsible_since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
        }
    }
}

impl Sort {
    /// The text to sort by, never null: what is absent comes last in either direction. No text comes after Unicode's last
    /// character, none before the empty one.
    fn key(self) -> String {
        let absent = if self.descending { "" } else { "\u{10FFFF}" };
        format!("coalesce({}, '{absent}')", self.by.text())
    }
}

/// A cursor's key: of the last case seen.
pub(crate) type Key = (String, String);

/// A page of cases, and the cursor after it where there are more.
pub(crate) async fn page(
    views: &PgPool,
    filter: &Filter,
    at: DateTime<Utc>,
    sort: Sort,
    after: Option<&Key>,
    limit: Limit,
) -> Result<(Read<Case>, Option<Cursor>), Error> {
    let mut sql = statement(filter, at, sort, after, limit.rows() + 1);
    let rows = sql.build().fetch_all(views).await?;
    let mut keyed =
        read(&rows, "case_period", "prisoner_number", |row| Ok((row.get::<String>("sort_key")?, Case::read(row)?)))?;
    let more = keyed.rows.len() > limit.rows();
    keyed.rows.truncate(limit.rows());
    let next = keyed.rows.last().filter(|_| more).map(|(key, case)| Cursor::after(&(key, case.number.as_str())));
    let rows = keyed.rows.into_iter().map(|(_, case)| case).collect();
    Ok((Read { position: keyed.position, rows }, next))
}

fn statement(
    filter: &Filter,
    at: DateTime<Utc>,
    sort: Sort,
    after: Option<&Key>,
    rows_max: usize,
) -> QueryBuilder<Postgres> {
    let key = sort.key();
    let direction = if sort.descending { "DESC" } else { "ASC" };
    let mut sql = QueryBuilder::new(concat!(
        "SELECT v.position AS ledger_position, page.* FROM checkpoint v LEFT JOIN LATERAL (SELECT ",
        columns!(),
        ", "
    ));
    sql.push(&key)
        .push(" AS sort_key FROM case_period p")
        .push(" WHERE p.valid_from <= ")
        .push_bind(at)
        .push(" AND p.valid_to > ")
        .push_bind(at);
    if let Some(prison) = &filter.prison {
        sql.push(" AND p.prison = ").push_bind(prison.to_string());
    }
    if let Some(staff_id) = filter.pom {
        match filter.role {
            Some(PomRole::Primary) => sql.push(" AND p.pom_staff_id = ").push_bind(staff_id.get()),
            Some(PomRole::Coworking) => sql.push(" AND p.coworker_staff_id = ").push_bind(staff_id.get()),
            None => sql
                .push(" AND (p.pom_staff_id = ")
                .push_bind(staff_id.get())
                .push(" OR p.coworker_staff_id = ")
                .push_bind(staff_id.get())
                .push(")"),
        };
    }
    if let Some(tier) = filter.tier {
        let tier = tier.to_string();
        let column = if tier.len() == 1 { " AND left(p.tier, 1) = " } else { " AND p.tier = " };
        sql.push(column).push_bind(tier);
    }
    if let Some(phase) = filter.phase {
        sql.push(" AND p.phase = ").push_bind(word(&phase));
    }
    if let Some(responsible) = filter.responsible {
        sql.push(" AND p.responsible = ").push_bind(word(&responsible));
    }
    match filter.allocated {
        Some(true) => sql.push(" AND p.pom_staff_id IS NOT NULL"),
        Some(false) => sql.push(" AND p.pom_staff_id IS NULL"),
        None => &mut sql,
    };
    match filter.waiting {
        Some(true) => sql.push(" AND p.waiting_since IS NOT NULL"),
        Some(false) => sql.push(" AND p.waiting_since IS NULL"),
        None => &mut sql,
    };
    for (column, days) in [("p.plan_start_date", filter.starts_within), ("p.plan_handover_date", filter.due_within)] {
        if let Some((first, last)) = days {
            // An override decides without regard to the plan.
            sql.push(" AND p.override_responsible IS NULL AND ")
                .push(column)
                .push(" BETWEEN ")
                .push_bind(first)
                .push(" AND ")
                .push_bind(last);
        }
    }
    if filter.overdue {
        sql.push(" AND p.responsible = 'COM' AND p.com_name IS NULL");
    }
    if let Some((after_key, after_number)) = after {
        sql.push(" AND ((")
            .push(&key)
            .push(r#") COLLATE "C", p.prisoner_number COLLATE "C") "#)
            .push(if sort.descending { "< (" } else { "> (" })
            .push_bind(after_key.clone())
            .push(", ")
            .push_bind(after_number.clone())
            .push(")");
    }
    sql.push(format_args!(
        r#" ORDER BY ({key}) COLLATE "C" {direction}, p.prisoner_number COLLATE "C" {direction} LIMIT "#
    ))
    .push_bind(i64::try_from(rows_max).unwrap_or(i64::MAX))
    .push(format_args!(
        r#") page ON true ORDER BY page.sort_key COLLATE "C" {direction}, page.prisoner_number COLLATE "C" {direction}"#
    ));
    sql
}

/// One of the domain's words as the views write it.
fn word<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(filter: &Filter, sort: Sort, after: Option<&Key>, expected: &str) {
        let sql = statement(filter, DateTime::UNIX_EPOCH, sort, after, 51).into_string();
        let (_, conditions) = sql.split_once(" AS sort_key ").expect("a sort key");
        assert_eq!(conditions, expected);
    }

    #[test]
    fn only_the_filters_in_use_are_in_the_statement() {
        let prison: Option<PrisonCode> = Some("LEI".parse().expect("a prison"));
        check(
            &Filter { prison: prison.clone(), ..Filter::default() },
            Sort::default(),
            None,
            "FROM case_period p \
             WHERE p.valid_from <= $1 AND p.valid_to > $2 AND p.prison = $3 \
             ORDER BY (coalesce('', '\u{10FFFF}')) COLLATE \"C\" ASC, p.prisoner_number COLLATE \"C\" ASC LIMIT $4) page ON true \
             ORDER BY page.sort_key COLLATE \"C\" ASC, page.prisoner_number COLLATE \"C\" ASC",
        );
        check(
            &Filter {
                prison,
                pom: Some(485_926.try_into().expect("a staff id")),
                tier: Some("B".parse().expect("a tier")),
                phase: Some(Phase::Community),
                waiting: Some(true),
                overdue: true,
                ..Filter::default()
            },
            Sort { by: SortBy::Tier, descending: true },
            Some(&("B2".to_owned(), "A1234BC".to_owned())),
            "FROM case_period p \
             WHERE p.valid_from <= $1 AND p.valid_to > $2 AND p.prison = $3 \
             AND (p.pom_staff_id = $4 OR p.coworker_staff_id = $5) AND left(p.tier, 1) = $6 AND p.phase = $7 \
             AND p.waiting_since IS NOT NULL AND p.responsible = 'COM' AND p.com_name IS NULL \
             AND ((coalesce(p.tier, '')) COLLATE \"C\", p.prisoner_number COLLATE \"C\") < ($8, $9) \
             ORDER BY (coalesce(p.tier, '')) COLLATE \"C\" DESC, p.prisoner_number COLLATE \"C\" DESC LIMIT $10) page ON true \
             ORDER BY page.sort_key COLLATE \"C\" DESC, page.prisoner_number COLLATE \"C\" DESC",
        );
    }
}
