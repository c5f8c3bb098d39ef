//! The views `prisoner_case` and `case_period`: one case, or each of a list, at an instant.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use domain::identifier::PrisonerNumber;
use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};
use views::{CasePeriodRow, Damage, ViewTable as _, stream_aside::StreamAside};

use super::{
    NamedColumns, position,
    streams_aside::{damaged_case, damaged_cases, read_damaged_case, streams_aside},
};
use crate::QueryError;

/// A case at an instant.
#[derive(Debug)]
pub(crate) enum CaseAt {
    /// The ledger has never heard of the number.
    Unknown,
    /// Nothing had happened yet under the number that the case goes on under. What was known under
    /// the others is in the log.
    NotYet(PrisonerNumber),
    /// The case, under the surviving number.
    Case(Box<CasePeriodRow>),
    /// The views leave out the case, or a number that was merged into it.
    Damaged(Box<StreamAside>),
}

impl CaseAt {
    /// The number that the case goes on under, where anything is known of it.
    pub(crate) fn number(&self) -> Option<&PrisonerNumber> {
        match self {
            Self::Case(row) => Some(&row.prisoner_number),
            Self::NotYet(number) => Some(number),
            Self::Unknown | Self::Damaged(_) => None,
        }
    }

    /// The row of the case, where there is one.
    pub(crate) fn row_mut(&mut self) -> Option<&mut CasePeriodRow> {
        match self {
            Self::Case(row) => Some(row),
            Self::Unknown | Self::NotYet(_) | Self::Damaged(_) => None,
        }
    }
}

/// Most merges in a row that are followed; a person has had two or three numbers.
const MERGES_MAX: usize = 32;

/// A case, and the position of the statement that answered: the position that the answer is of.
pub(crate) type PositionedCase = (u64, CaseAt);

/// Looks cases up, each at its own instant, in the order asked. One round trip answers all that
/// have a period then; a second those that have none, and one more each merge in a row. The answers
/// are of one position where `views` is a [`super::snapshot`].
///
/// A number that was merged answers with the survivor. Where the views know nothing of the survivor
/// yet, the second half of the merge is not recorded: the answer is then [`CaseAt::NotYet`], with
/// the last number that they know.
pub(crate) async fn each_at(
    views: &mut PgConnection,
    cases: Vec<(PrisonerNumber, DateTime<Utc>)>,
) -> Result<Vec<PositionedCase>, QueryError> {
    let mut answer: Vec<PositionedCase> = cases.iter().map(|_| (0, CaseAt::Unknown)).collect();
    let lookups = cases.into_iter().enumerate();
    let mut open: Vec<OpenLookup> =
        lookups.map(|(place, (number, instant))| OpenLookup { place, number, instant, merged: None }).collect();
    look_up_periods(views, &mut open, &mut answer).await?;
    for _ in 0..MERGES_MAX {
        if open.is_empty() {
            return Ok(answer);
        }
        look_up_cases(views, &mut open, &mut answer).await?;
    }
    Err(too_many_merges(&open[0].number))
}

/// A case that is looked up, and its place in the answer.
struct OpenLookup {
    place: usize,
    number: PrisonerNumber,
    instant: DateTime<Utc>,
    /// The number that was merged into this one, where another was asked for.
    merged: Option<PrisonerNumber>,
}

/// Answers the look-ups of cases that have a period at their instant and were not merged, from one
/// table and without a join, which costs half as much. The rest stay open.
async fn look_up_periods(
    views: &mut PgConnection,
    open: &mut Vec<OpenLookup>,
    answer: &mut [PositionedCase],
) -> Result<(), QueryError> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT {}, (SELECT position FROM checkpoint) AS ledger_position, {}
             FROM case_period p
             WHERE p.prisoner_number = ANY($1) AND p.valid_from <= $2 AND p.valid_to > $3",
            CasePeriodRow::select("p"),
            streams_aside!()
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
    // Where a stream is aside, which case is damaged takes the statement of `look_up_cases`.
    if rows.first().is_none_or(|row| !matches!(row.try_get::<Option<&str>, _>("streams_aside"), Ok(None))) {
        return Ok(());
    }
    let position = position(&rows)?;
    // A damaged row must not fail the other look-ups. It answers none here, and the statement of
    // `look_up_cases` reads it again where it is the one that answers.
    let mut periods: Vec<_> = rows.iter().filter_map(|row| CasePeriodRow::read_row(row).ok()).collect();
    periods.retain(|period| period.merged_into.is_none());
    for lookup in std::mem::take(open) {
        let holds =
            |period: &&CasePeriodRow| period.prisoner_number == lookup.number && period.holds_at(lookup.instant);
        match periods.iter().find(holds) {
            Some(period) => answer[lookup.place] = (position, CaseAt::Case(Box::new(period.clone()))),
            None => open.push(lookup),
        }
    }
    Ok(())
}

/// Answers the look-ups of unknown numbers, and of cases of which nothing is known at their
/// instant; those of merged numbers stay open, under the surviving number.
async fn look_up_cases(
    views: &mut PgConnection,
    open: &mut Vec<OpenLookup>,
    answer: &mut [PositionedCase],
) -> Result<(), QueryError> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "WITH RECURSIVE {}
             SELECT {}, v.position AS ledger_position, asked.place, c.prisoner_number AS number,
                    c.merged_into AS survivor, {}
             FROM checkpoint v
             LEFT JOIN unnest($1::text[], $2::timestamptz[]) WITH ORDINALITY AS asked (number, instant, place) ON true
             LEFT JOIN prisoner_case c ON c.prisoner_number = asked.number
             LEFT JOIN case_period   p ON p.prisoner_number = c.prisoner_number
                                      AND p.valid_from <= asked.instant AND p.valid_to > asked.instant",
            damaged_cases!(),
            CasePeriodRow::select("p"),
            damaged_case!("damaged.number = asked.number")
        )
    });
    let numbers: Vec<&str> = open.iter().map(|lookup| lookup.number.as_str()).collect();
    let instants: Vec<DateTime<Utc>> = open.iter().map(|lookup| lookup.instant).collect();
    let rows = sqlx::query(SQL.as_str()).bind(numbers).bind(instants).fetch_all(&mut *views).await?;
    let position = position(&rows)?;
    let lookups = std::mem::take(open);
    for row in &rows {
        // Counted from 1; null in the one row that has the position alone.
        let place = row.try_get::<Option<i64>, _>("place")?.and_then(|place| usize::try_from(place - 1).ok());
        let Some(lookup) = place.and_then(|place| lookups.get(place)) else { continue };
        match (read_case(row)?, &lookup.merged) {
            (CaseOrSurvivor::Survivor(number), _) => open.push(OpenLookup {
                place: lookup.place,
                number,
                instant: lookup.instant,
                merged: Some(lookup.number.clone()),
            }),
            (CaseOrSurvivor::Case(CaseAt::Unknown), Some(merged)) => {
                answer[lookup.place] = (position, CaseAt::NotYet(merged.clone()));
            }
            (CaseOrSurvivor::Case(case), _) => answer[lookup.place] = (position, case),
        }
    }
    Ok(())
}

/// How far the views have come, if the case of a number is not damaged; in one round trip.
///
/// # Errors
/// [`QueryError::Aside`] where it is, or the database fails.
pub(crate) async fn check_undamaged(views: &PgPool, number: &PrisonerNumber) -> Result<u64, QueryError> {
    const SQL: &str = concat!(
        "WITH RECURSIVE ",
        damaged_cases!(),
        ", chain (number, merged_into) AS (
             SELECT prisoner_number, merged_into FROM prisoner_case WHERE prisoner_number = $1
             UNION
             SELECT c.prisoner_number, c.merged_into
             FROM chain JOIN prisoner_case c ON c.prisoner_number = chain.merged_into
         )
         SELECT v.position AS ledger_position, ",
        damaged_case!(
            "damaged.number = $1 OR damaged.number IN (SELECT number FROM chain UNION ALL SELECT merged_into FROM chain)"
        ),
        " FROM checkpoint v"
    );
    let rows = sqlx::query(SQL).bind(number.as_str()).fetch_all(views).await?;
    let position = position(&rows)?;
    match rows.first().map(read_damaged_case).transpose()?.flatten() {
        Some(aside) => Err(QueryError::Aside(aside)),
        None => Ok(position),
    }
}

enum CaseOrSurvivor {
    Case(CaseAt),
    Survivor(PrisonerNumber),
}

/// Reads a period, the number of its case and the number that survived it.
fn read_case(row: &PgRow) -> Result<CaseOrSurvivor, QueryError> {
    if let Some(aside) = read_damaged_case(row)? {
        return Ok(CaseOrSurvivor::Case(CaseAt::Damaged(aside)));
    }
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
fn too_many_merges(number: &PrisonerNumber) -> QueryError {
    QueryError::Damaged(Damage {
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
        identifier::{CommandId, EventId},
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
                event_id: EventId(command_id.0),
                revision,
                position: revision + 1,
                effective_at,
                recorded_at: effective_at,
                recorded_by: RecordedBy {
                    username: Some("HOMD_LEI".parse().expect("a username")),
                    client: "tests".into(),
                    auth_source: None,
                },
                command_id,
                event: PrisonerEvent::deserialize_data(type_name, data).expect("an event"),
            }
        };
        let entries = (0..).zip(entries).map(entry).collect();
        let history = History::from_entries("A1234BC".parse().expect("a number"), entries);
        CasePeriodRow::find_at(&history, "2026-11-23T10:00:00Z".parse().expect("an instant")).expect("a period")
    }
}
