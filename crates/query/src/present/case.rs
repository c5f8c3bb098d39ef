//! The views `prisoner_case` and `case_period`: one case, or each of a list, at an instant.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use domain::identifier::PrisonerNumber;
use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};
use views::{CasePeriodRow, Damage, ViewTable as _};

use super::{NamedColumns, ViewRows, position, read_rows};
use crate::Error;

/// A case at an instant.
#[derive(Debug)]
pub(crate) enum CaseAt {
    /// The ledger has never heard of the number.
    Unknown,
    /// Nothing had happened to the case yet.
    NotYet(PrisonerNumber),
    /// The case, under the surviving number.
    Case(Box<CasePeriodRow>),
}

/// Most merges in a row that are followed; a person has had two or three numbers.
const MERGES_MAX: usize = 32;

/// Looks cases up, each at its own instant, in the order asked. One round trip answers all that
/// have a period then; a second those that have none, and one more each merge in a row. The
/// position is one that all of the answer includes.
pub(crate) async fn each_at(
    views: &mut PgConnection,
    cases: Vec<(PrisonerNumber, DateTime<Utc>)>,
) -> Result<(u64, Vec<CaseAt>), Error> {
    let mut answer: Vec<CaseAt> = cases.iter().map(|_| CaseAt::Unknown).collect();
    let mut open: Vec<OpenLookup> =
        cases.into_iter().enumerate().map(|(place, (number, instant))| OpenLookup { place, number, instant }).collect();
    let mut reached = look_up_periods(views, &mut open, &mut answer).await?;
    for _ in 0..MERGES_MAX {
        if open.is_empty() {
            return Ok((reached, answer));
        }
        reached = reached.min(look_up_cases(views, &mut open, &mut answer).await?);
    }
    Err(too_many_merges(&open[0].number))
}

/// A case that is looked up, and its place in the answer.
struct OpenLookup {
    place: usize,
    number: PrisonerNumber,
    instant: DateTime<Utc>,
}

/// Answers the look-ups of cases that have a period at their instant and were not merged, from one
/// table and without a join, which costs half as much. The rest stay open.
async fn look_up_periods(
    views: &mut PgConnection,
    open: &mut Vec<OpenLookup>,
    answer: &mut [CaseAt],
) -> Result<u64, Error> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT {}, (SELECT position FROM checkpoint) AS ledger_position
             FROM case_period p
             WHERE p.prisoner_number = ANY($1) AND p.valid_from <= $2 AND p.valid_to > $3",
            CasePeriodRow::select("p")
        )
    });
    let numbers: Vec<&str> = open.iter().map(|lookup| lookup.number.as_str()).collect();
    // Mostly all are about now. Periods that hold between the earliest and the latest instant
    // include each one's.
    let instants = || open.iter().map(|lookup| lookup.instant);
    let rows = sqlx::query(SQL.as_str())
        .bind(numbers)
        .bind(instants().max())
        .bind(instants().min())
        .fetch_all(&mut *views)
        .await?;
    if rows.is_empty() {
        return Ok(u64::MAX);
    }
    // A damaged row must not fail the other look-ups. It answers none here, and the statement of
    // `look_up_cases` reads it again where it is the one that answers.
    let mut periods: Vec<_> = rows.iter().filter_map(|row| CasePeriodRow::read_row(row).ok()).collect();
    periods.retain(|period| period.merged_into.is_none());
    for lookup in std::mem::take(open) {
        let holds =
            |period: &&CasePeriodRow| period.prisoner_number == lookup.number && period.holds_at(lookup.instant);
        match periods.iter().find(holds) {
            Some(period) => answer[lookup.place] = CaseAt::Case(Box::new(period.clone())),
            None => open.push(lookup),
        }
    }
    position(&rows)
}

/// Answers the look-ups of unknown numbers, and of cases of which nothing is known at their
/// instant; those of merged numbers stay open, under the surviving number.
async fn look_up_cases(
    views: &mut PgConnection,
    open: &mut Vec<OpenLookup>,
    answer: &mut [CaseAt],
) -> Result<u64, Error> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT {}, v.position AS ledger_position, asked.place, c.prisoner_number AS number,
                    c.merged_into AS survivor
             FROM checkpoint v
             LEFT JOIN unnest($1::text[], $2::timestamptz[]) WITH ORDINALITY AS asked (number, instant, place) ON true
             LEFT JOIN prisoner_case c ON c.prisoner_number = asked.number
             LEFT JOIN case_period   p ON p.prisoner_number = c.prisoner_number
                                      AND p.valid_from <= asked.instant AND p.valid_to > asked.instant",
            CasePeriodRow::select("p")
        )
    });
    let numbers: Vec<&str> = open.iter().map(|lookup| lookup.number.as_str()).collect();
    let instants: Vec<DateTime<Utc>> = open.iter().map(|lookup| lookup.instant).collect();
    let rows = sqlx::query(SQL.as_str()).bind(numbers).bind(instants).fetch_all(&mut *views).await?;
    let lookups = std::mem::take(open);
    for row in &rows {
        // Counted from 1; null in the one row that has the position alone.
        let place = row.try_get::<Option<i64>, _>("place")?.and_then(|place| usize::try_from(place - 1).ok());
        let Some(&OpenLookup { place, instant, .. }) = place.and_then(|place| lookups.get(place)) else { continue };
        match read_case(row)? {
            CaseOrSurvivor::Survivor(number) => open.push(OpenLookup { place, number, instant }),
            CaseOrSurvivor::Case(case) => answer[place] = case,
        }
    }
    position(&rows)
}

/// A case's number, the survivor's where it was merged, and every period, past and planned, in
/// order; `None` where the number is unknown.
pub(crate) async fn periods(
    views: &PgPool,
    number: &PrisonerNumber,
) -> Result<(u64, Option<(PrisonerNumber, Vec<CasePeriodRow>)>), Error> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT {}, v.position AS ledger_position, c.prisoner_number AS number, c.merged_into AS survivor
             FROM checkpoint v
             LEFT JOIN prisoner_case c ON c.prisoner_number = $1
             LEFT JOIN case_period   p ON p.prisoner_number = c.prisoner_number
             ORDER BY p.valid_from",
            CasePeriodRow::select("p")
        )
    });
    let mut number = number.clone();
    for _ in 0..MERGES_MAX {
        let rows = sqlx::query(SQL.as_str()).bind(number.as_str()).fetch_all(views).await?;
        let first = match rows.first() {
            Some(row) => read_case(row)?,
            None => CaseOrSurvivor::Case(CaseAt::Unknown),
        };
        match first {
            CaseOrSurvivor::Survivor(survivor) => number = survivor,
            CaseOrSurvivor::Case(CaseAt::Unknown) => return Ok((position(&rows)?, None)),
            CaseOrSurvivor::Case(CaseAt::NotYet(_) | CaseAt::Case(_)) => {
                let ViewRows { position, rows } = read_rows(&rows, |period, _| Ok(period))?;
                return Ok((position, Some((number, rows))));
            }
        }
    }
    Err(too_many_merges(&number))
}

enum CaseOrSurvivor {
    Case(CaseAt),
    Survivor(PrisonerNumber),
}

/// Reads a period, the number of its case and the number that survived it.
fn read_case(row: &PgRow) -> Result<CaseOrSurvivor, Error> {
    let case = NamedColumns { table: "prisoner_case", key: "number", row };
    let Some(number) = case.optional_word("number")? else { return Ok(CaseOrSurvivor::Case(CaseAt::Unknown)) };
    if let Some(survivor) = case.optional_word("survivor")? {
        return Ok(CaseOrSurvivor::Survivor(survivor));
    }
    Ok(CaseOrSurvivor::Case(match CasePeriodRow::read_joined_row(row)? {
        Some(period) => CaseAt::Case(Box::new(period)),
        None => CaseAt::NotYet(number),
    }))
}

/// The rules refuse a circle of merges, so the view is wrong.
fn too_many_merges(number: &PrisonerNumber) -> Error {
    Error::Damaged(Damage {
        table: "prisoner_case",
        column: "merged_into",
        row: number.to_string(),
        value: format!("the start of more than {MERGES_MAX} merges in a row"),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use domain::{
        handover::{HandoverReason, Phase},
        officer::PomKind,
        prisoner::OfficerRole,
    };
    use views::{CaseCom, CasePlan, CasePom, PeriodEnd};

    use super::*;

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    /// A case whose COM supports, half a year before its handover.
    pub(crate) fn example() -> CasePeriodRow {
        CasePeriodRow {
            prisoner_number: "A1234BC".parse().expect("a number"),
            valid_from: instant("2026-10-01T00:00:00Z"),
            valid_to: PeriodEnd(Some(instant("2027-01-10T00:00:00Z"))),
            revision: 6,
            prison: Some("LEI".parse().expect("a prison")),
            tier: Some("B2".parse().expect("a tier")),
            rosh_level: None,
            pom: Some(CasePom {
                staff_id: 485_926.try_into().expect("a staff id"),
                name: "Okafor, Grace".to_owned(),
                kind: PomKind::Prison,
                email: None,
                since: instant("2026-03-01T09:00:00Z"),
            }),
            allocation_revision: Some(1),
            coworker: None,
            com: Some(CaseCom {
                name: "Lee, Sam".to_owned(),
                email: Some("sam.lee@example.org".to_owned()),
                team: None,
                ldu: None,
                since: instant("2026-06-01T09:00:00Z"),
            }),
            phase: Phase::CustodyWithCom,
            responsible: OfficerRole::Pom,
            responsible_since: instant("2026-03-01T09:00:00Z"),
            supporting: Some(OfficerRole::Com),
            plan: Some(CasePlan {
                reason: HandoverReason::Determinate,
                start_date: Some("2026-10-01".parse().expect("a date")),
                handover_date: Some("2027-01-10".parse().expect("a date")),
            }),
            responsibility_override: None,
            waiting_since: None,
            case_revision: 6,
            crn: None,
            merged_into: None,
            ever_allocated: true,
        }
    }
}
