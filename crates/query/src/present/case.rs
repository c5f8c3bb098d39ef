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
        Entry,
        event::RecordedBy,
        identifier::CommandId,
        prisoner::{History, PrisonerEvent},
    };
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    /// A case whose COM supports, a few weeks before its handover.
    pub(crate) fn example() -> CasePeriodRow {
        let entries = [
            ("2026-02-02T09:00:00Z", "TierAssigned", json!({"tier": "B2", "source": "DELIUS", "prison": "LEI"})),
            (
                "2026-03-01T09:00:00Z",
                "AllocationMade",
                json!({
                    "prison": "LEI", "pom": {"staffId": 485_926, "name": "Okafor, Grace", "kind": "PRISON"},
                    "tier": "B2", "recommendationPolicy": "TIER",
                }),
            ),
            (
                "2026-06-01T09:00:00Z",
                "CommunityManagerAssigned",
                json!({"name": "Lee, Sam", "email": "sam.lee@example.org"}),
            ),
            (
                "2026-06-02T09:00:00Z",
                "HandoverPlanned",
                json!({"startDate": "2026-10-01", "handoverDate": "2027-01-10", "reason": "determinate"}),
            ),
        ];
        let entry = |(revision, (effective_at, type_name, data)): (u64, (&str, &str, serde_json::Value))| {
            let effective_at = effective_at.parse().expect("an instant");
            let command_id = CommandId(Uuid::from_u128(revision.into()));
            Entry {
                event_id: command_id.event_id(0),
                revision,
                position: revision + 1,
                effective_at,
                recorded_at: effective_at,
                recorded_by: RecordedBy { username: "HOMD_LEI".parse().expect("a username"), client: "tests".into() },
                command_id,
                event: PrisonerEvent::deserialize_data(type_name, data).expect("an event"),
            }
        };
        let entries = (0..).zip(entries).map(entry).collect();
        let history = History::from_entries("A1234BC".parse().expect("a number"), entries);
        CasePeriodRow::find_at(&history, "2026-11-23T10:00:00Z".parse().expect("an instant")).expect("a period")
    }
}
