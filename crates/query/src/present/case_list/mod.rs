//! The view `case_period`: lists of cases at an instant, filtered, sorted and paged.
//!
//! The one place where SQL is put together at run time; every piece of it is a constant of this
//! module, and every value is bound. Filters that are not used are left out, so that the planner
//! can choose the index that serves the others.

mod filter;
mod sort;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use domain::{Confinement, identifier::PrisonerNumber};
use http_api::page::{Cursor, Limit};
use sqlx::{PgConnection, Postgres, QueryBuilder, Row as _};
use views::{CasePeriodRow, ViewTable as _};

use super::{ViewRows, bigint, read_rows, streams_aside::streams_aside};
use crate::QueryError;

pub(crate) use self::{
    filter::{CaseFilter, RoleFilter},
    sort::{CaseSort, SortBy},
};

/// A cursor's key: the sort key and the number of the last case seen.
pub(crate) type CaseListKey = (String, String);

/// A list of cases that a caller asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CaseList {
    pub(crate) filter: CaseFilter,
    pub(crate) sort: CaseSort,
    pub(crate) after: Option<CaseListKey>,
    /// Rows in a page; `None` for all in one.
    pub(crate) limit: Option<Limit>,
}

/// A page of a list.
#[derive(Debug)]
pub(crate) struct CasePage {
    pub(crate) cases: Vec<CasePeriodRow>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<Cursor>,
}

/// A case with the text that its list sorts it by.
pub(crate) type KeyedCase = (String, CasePeriodRow);

/// The first cases of a list in order, one more than make a page. With `unchanged_since`, only
/// those to which nothing has happened after that position: the views are still as they were then
/// for them. Only cases that are at the caller's prisons now.
pub(crate) async fn first(
    views: &mut PgConnection,
    list: &CaseList,
    at: DateTime<Utc>,
    unchanged_since: Option<u64>,
    confinement: &Confinement,
) -> Result<ViewRows<KeyedCase>, QueryError> {
    let rows = statement(list, at, unchanged_since, confinement).build().fetch_all(views).await?;
    read_rows(&rows, |case, row| Ok((row.try_get("sort_key")?, case)))
}

impl CaseList {
    /// The page that these cases make, which are in order and, where there are more than fit, one
    /// more than that.
    pub(crate) fn page(&self, mut keyed: Vec<KeyedCase>) -> CasePage {
        let rows_max = self.limit.map_or(usize::MAX, Limit::rows);
        let is_more = keyed.len() > rows_max;
        keyed.truncate(rows_max);
        let last = keyed.last().filter(|_| is_more);
        let next = last.map(|(_, case)| self.sort.cursor_after(case));
        CasePage { cases: keyed.into_iter().map(|(_, case)| case).collect(), next }
    }

    /// Adds cases to those in order, as the statement would have found them: those that pass the
    /// filter and come after the cursor, each in its place.
    pub(crate) fn insert<'c>(&self, cases: impl IntoIterator<Item = &'c CasePeriodRow>, keyed: &mut Vec<KeyedCase>) {
        let follows = |key: &str, number: &PrisonerNumber| {
            self.after.as_ref().is_none_or(|(after_key, after_number)| {
                self.sort.order((key, number.as_str()), (after_key, after_number)).is_gt()
            })
        };
        let found = cases
            .into_iter()
            .filter(|case| self.filter.passes(case))
            .map(|case| (self.sort.key_of(case), case))
            .filter(|(key, case)| follows(key, &case.prisoner_number));
        keyed.extend(found.map(|(key, case)| (key, case.clone())));
        keyed.sort_by(|(key, case), (other_key, other)| {
            self.sort.order((key, case.prisoner_number.as_str()), (other_key, other.prisoner_number.as_str()))
        });
    }
}

fn statement(
    list: &CaseList,
    at: DateTime<Utc>,
    unchanged_since: Option<u64>,
    confinement: &Confinement,
) -> QueryBuilder<Postgres> {
    let CaseList { filter, sort, after, limit } = list;
    let rows_max = limit.map_or(i64::MAX, |limit| i64::try_from(limit.rows() + 1).unwrap_or(i64::MAX));
    let key = sort.key();
    let direction = if sort.descending { "DESC" } else { "ASC" };
    let mut sql = QueryBuilder::new("SELECT page.*, v.position AS ledger_position, ");
    sql.push(streams_aside!())
        .push(" FROM checkpoint v LEFT JOIN LATERAL (SELECT ")
        .push(CasePeriodRow::select("p"))
        .push(", ")
        .push(&key)
        .push(" AS sort_key FROM case_period p")
        .push(" WHERE p.valid_from <= ")
        .push_bind(at)
        .push(" AND p.valid_to > ")
        .push_bind(at);
    filter.push_conditions(&mut sql);
    if let Some(prisons) = confinement.prisons() {
        // Where the case is now, whatever the instant: of a number that was merged since, where the
        // survivor is. Few are, so the chain is looked at where the number itself is at none of the
        // prisons. `UNION` comes to an end even in a circle.
        let prisons: Vec<String> = prisons.iter().map(ToString::to_string).collect();
        sql.push(
            " AND (EXISTS (SELECT FROM case_prison own WHERE own.prisoner_number = p.prisoner_number \
             AND own.left_position IS NULL AND own.prison = ANY(",
        )
        .push_bind(prisons.clone())
        .push(
            ")) OR EXISTS (WITH RECURSIVE chain (number) AS (SELECT p.prisoner_number UNION \
             SELECT c.merged_into FROM chain JOIN prisoner_case c ON c.prisoner_number = chain.number \
             WHERE c.merged_into IS NOT NULL) \
             SELECT FROM chain JOIN case_prison own ON own.prisoner_number = chain.number \
             WHERE own.left_position IS NULL AND own.prison = ANY(",
        )
        .push_bind(prisons)
        .push(")))");
    }
    if let Some(position) = unchanged_since {
        sql.push(" AND (SELECT c.position FROM prisoner_case c WHERE c.prisoner_number = p.prisoner_number) <= ")
            .push_bind(bigint(position));
    }
    if let Some((after_key, after_number)) = after {
        sql.push(format_args!(r#" AND (({key}) COLLATE "C" {} "#, if sort.descending { "<" } else { ">" }))
            .push_bind(after_key.clone())
            .push(format_args!(r#" OR ({key}) COLLATE "C" = "#))
            .push_bind(after_key.clone())
            .push(r#" AND p.prisoner_number COLLATE "C" > "#)
            .push_bind(after_number.clone())
            .push(")");
    }
    sql.push(format_args!(r#" ORDER BY ({key}) COLLATE "C" {direction}, p.prisoner_number COLLATE "C" LIMIT "#))
        .push_bind(rows_max)
        .push(format_args!(
            r#") page ON true ORDER BY page.sort_key COLLATE "C" {direction}, page.prisoner_number COLLATE "C""#
        ));
    sql
}
