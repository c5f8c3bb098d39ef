//! The view `case_period`: lists of cases at an instant, filtered, sorted and paged.
//!
//! The one place where SQL is put together at run time; every piece of it is a constant of this file, and every value is
//! bound. Filters that are not used are left out, so that the planner can choose the index that serves those that are.

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    handover::Phase,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    prisoner::OfficerRole,
    tier::Tier,
};
use http_api::page::{Cursor, Limit};
use serde::Serialize;
use sqlx::{PgPool, Postgres, QueryBuilder};

use super::{
    Read,
    case::{Case, Holder, columns},
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
    /// What [`SortBy::text`] is of a case.
    fn text_of(self, case: &Case) -> Option<String> {
        let instant = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
        match self {
            Self::PrisonerNumber => Some(String::new()),
            Self::Tier => case.tier.map(|tier| tier.to_string()),
            Self::PomName => case.pom.as_ref().map(|pom| pom.name.clone()),
            Self::Phase => Some(word(&case.phase)),
            Self::HandoverStartDate => case.plan.and_then(|plan| plan.start_date).map(|day| day.to_string()),
            Self::HandoverDate => case.plan.and_then(|plan| plan.handover_date).map(|day| day.to_string()),
            Self::WaitingSince => case.waiting_since.map(instant),
            Self::ResponsibleSince => Some(instant(case.responsible_since)),
        }
    }

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
        format!("coalesce({}, '{}')", self.by.text(), self.absent())
    }

    /// What [`Sort::key`] is of a case.
    fn key_of(self, case: &Case) -> String {
        self.by.text_of(case).unwrap_or_else(|| self.absent().to_owned())
    }

    fn absent(self) -> &'static str {
        if self.descending { "" } else { "\u{10FFFF}" }
    }
}

/// A cursor's key: of the last case seen.
pub(crate) type Key = (String, String);

/// A list that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct List {
    pub(crate) filter: Filter,
    pub(crate) sort: Sort,
    pub(crate) after: Option<Key>,
    /// Rows in a page; `None` for all in one.
    pub(crate) limit: Option<Limit>,
}

/// A page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) cases: Vec<Case>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<Cursor>,
}

/// A case with the text that its list sorts it by.
pub(crate) type Keyed = (String, Case);

/// The first cases of a list in order, one more than make a page. With `unchanged_since`, only those to which nothing has
/// happened after that position: of them the views say what they said then.
pub(crate) async fn first(
    views: &PgPool,
    list: &List,
    at: DateTime<Utc>,
    unchanged_since: Option<u64>,
) -> Result<Read<Keyed>, Error> {
    let rows = statement(list, at, unchanged_since).build().fetch_all(views).await?;
    read(&rows, "case_period", "prisoner_number", |row| Ok((row.get("sort_key")?, Case::read(row)?)))
}

impl List {
    /// The page that these cases make, which are in order and, where there are more than fit, one more than that.
    pub(crate) fn page(&self, mut keyed: Vec<Keyed>) -> Page {
        let rows_max = self.limit.map_or(usize::MAX, Limit::rows);
        let more = keyed.len() > rows_max;
        keyed.truncate(rows_max);
        let next = keyed.last().filter(|_| more).map(|(key, case)| Cursor::after(&(key, case.number.as_str())));
        Page { cases: keyed.into_iter().map(|(_, case)| case).collect(), next }
    }

    /// Adds cases to those in order, as the statement would have found them: those that pass the filter and come after the
    /// cursor, each in its place.
    pub(crate) fn insert<'c>(&self, cases: impl IntoIterator<Item = &'c Case>, keyed: &mut Vec<Keyed>) {
        let follows = |key: &str, number: &PrisonerNumber| {
            self.after.as_ref().is_none_or(|(after_key, after_number)| {
                let order = (key, number.as_str()).cmp(&(after_key, after_number));
                if self.sort.descending { order.is_lt() } else { order.is_gt() }
            })
        };
        let found = cases
            .into_iter()
            .filter(|case| self.filter.passes(case))
            .map(|case| (self.sort.key_of(case), case))
            .filter(|(key, case)| follows(key, &case.number));
        keyed.extend(found.map(|(key, case)| (key, case.clone())));
        keyed.sort_by(|(key, case), (other_key, other)| {
            let order = (key, case.number.as_str()).cmp(&(other_key, other.number.as_str()));
            if self.sort.descending { order.reverse() } else { order }
        });
    }
}

impl Filter {
    /// Whether a case passes, as the statement's conditions have it.
    pub(crate) fn passes(&self, case: &Case) -> bool {
        let held_by = |holder: &Option<Holder>, staff_id| holder.as_ref().is_some_and(|held| held.staff_id == staff_id);
        let within = |days: Option<(NaiveDate, NaiveDate)>, day: Option<NaiveDate>| {
            days.is_none_or(|(first, last)| {
                case.responsibility_override.is_none() && day.is_some_and(|day| first <= day && day <= last)
            })
        };
        self.prison.as_ref().is_none_or(|prison| case.prison.as_ref() == Some(prison))
            && self.pom.is_none_or(|staff_id| match self.role {
                Some(PomRole::Primary) => held_by(&case.pom, staff_id),
                Some(PomRole::Coworking) => held_by(&case.coworker, staff_id),
                None => held_by(&case.pom, staff_id) || held_by(&case.coworker, staff_id),
            })
            && self.tier.is_none_or(|tier| {
                case.tier
                    .is_some_and(|of_case| of_case == tier || is_letter_of(&tier.to_string(), &of_case.to_string()))
            })
            && self.phase.is_none_or(|phase| case.phase == phase)
            && self.responsible.is_none_or(|responsible| case.responsible == responsible)
            && self.allocated.is_none_or(|allocated| case.pom.is_some() == allocated)
            && self.waiting.is_none_or(|waiting| case.waiting_since.is_some() == waiting)
            && within(self.starts_within, case.plan.and_then(|plan| plan.start_date))
            && within(self.due_within, case.plan.and_then(|plan| plan.handover_date))
            && (!self.overdue || case.responsible == OfficerRole::Com && case.community_manager.is_none())
    }
}

/// Whether a tier asked for is a letter alone, and that of another.
fn is_letter_of(asked: &str, tier: &str) -> bool {
    asked.len() == 1 && tier.starts_with(asked)
}

fn statement(list: &List, at: DateTime<Utc>, unchanged_since: Option<u64>) -> QueryBuilder<Postgres> {
    let List { filter, sort, after, limit } = list;
    let rows_max = limit.map_or(i64::MAX, |limit| i64::try_from(limit.rows() + 1).unwrap_or(i64::MAX));
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
    if let Some(position) = unchanged_since {
        sql.push(" AND (SELECT c.position FROM prisoner_case c WHERE c.prisoner_number = p.prisoner_number) <= ")
            .push_bind(i64::try_from(position).unwrap_or(i64::MAX));
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
    .push_bind(rows_max)
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
    use crate::present::case::tests::example;

    #[track_caller]
    fn check(filter: &Filter, sort: Sort, after: Option<&Key>, expected: &str) {
        let list = List { filter: filter.clone(), sort, after: after.cloned(), limit: Some(Limit::default()) };
        let sql = statement(&list, DateTime::UNIX_EPOCH, None).into_string();
        let (_, conditions) = sql.split_once(" AS sort_key ").expect("a sort key");
        assert_eq!(conditions, expected);
    }

    /// Cases of one prison, by their numbers, in tiers.
    fn cases(tiers: &[(&str, Option<&str>)]) -> Vec<Case> {
        let case = |&(number, tier): &(&str, Option<&str>)| Case {
            number: number.parse().expect("a number"),
            tier: tier.map(|tier| tier.parse().expect("a tier")),
            ..example()
        };
        tiers.iter().map(case).collect()
    }

    #[track_caller]
    fn check_inserted(list: &List, expected: &[&str], more: bool) {
        let cases = cases(&[
            ("A0001AA", Some("B")),
            ("A0002AA", None),
            ("A0003AA", Some("A")),
            ("A0004AA", Some("B2")),
            ("A0005AA", Some("B")),
        ]);
        // Some from the views, some from the log: where a case comes from makes no difference.
        for from_views in 0..=cases.len() {
            let (of_views, of_log) = cases.split_at(from_views);
            let mut keyed = Vec::new();
            list.insert(of_views, &mut keyed);
            list.insert(of_log, &mut keyed);
            let page = list.page(keyed);
            let numbers: Vec<&str> = page.cases.iter().map(|case| case.number.as_str()).collect();
            assert_eq!((&numbers[..], page.next.is_some()), (expected, more), "{from_views} from the views");
        }
    }

    #[test]
    fn cases_from_the_log_take_their_places_in_the_list() {
        let list = List { filter: Filter::default(), sort: Sort::default(), after: None, limit: None };
        check_inserted(&list, &["A0001AA", "A0002AA", "A0003AA", "A0004AA", "A0005AA"], false);
        let by_tier = List { sort: Sort { by: SortBy::Tier, descending: false }, ..list.clone() };
        check_inserted(&by_tier, &["A0003AA", "A0001AA", "A0005AA", "A0004AA", "A0002AA"], false);
        let descending = List { sort: Sort { by: SortBy::Tier, descending: true }, ..list.clone() };
        check_inserted(&descending, &["A0004AA", "A0005AA", "A0001AA", "A0003AA", "A0002AA"], false);
        let after = Some(("B".to_owned(), "A0001AA".to_owned()));
        let page = List { after, limit: serde_json::from_str("\"2\"").ok(), ..by_tier };
        check_inserted(&page, &["A0005AA", "A0004AA"], true);
        let letter = List { filter: Filter { tier: "B".parse().ok(), ..Filter::default() }, ..list.clone() };
        check_inserted(&letter, &["A0001AA", "A0004AA", "A0005AA"], false);
        let level = List { filter: Filter { tier: "B2".parse().ok(), ..Filter::default() }, ..list };
        check_inserted(&level, &["A0004AA"], false);
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
