//! The views `prisoner_case` and `case_period`: one case, or each of a list, at an instant.

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    handover::{HandoverReason, Phase},
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    officer::{CommunityManager, PomKind},
    prisoner::{
        History, OfficerRole, Period, PomRole, ResponsibilityOverridden, ResponsibilityOverrideReason,
        ResponsibleService,
    },
    tier::{RoshLevel, Tier},
};
use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};

use super::{End, Read, Row, position, read};
use crate::Error;

/// A case in one of its periods.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Case {
    pub(crate) number: PrisonerNumber,
    /// The last revision of the case that this includes.
    pub(crate) revision: u64,
    pub(crate) crn: Option<String>,
    pub(crate) from: DateTime<Utc>,
    pub(crate) to: End,
    /// The highest revision among the entries in effect.
    pub(crate) period_revision: u64,
    pub(crate) prison: Option<PrisonCode>,
    pub(crate) tier: Option<Tier>,
    pub(crate) rosh_level: Option<RoshLevel>,
    pub(crate) pom: Option<Holder>,
    pub(crate) coworker: Option<Holder>,
    pub(crate) community_manager: Option<CommunityManager>,
    pub(crate) phase: Phase,
    pub(crate) responsible: OfficerRole,
    pub(crate) responsible_since: DateTime<Utc>,
    pub(crate) supporting: Option<OfficerRole>,
    pub(crate) plan: Option<Plan>,
    pub(crate) responsibility_override: Option<ResponsibilityOverridden>,
    pub(crate) waiting_since: Option<DateTime<Utc>>,
    pub(crate) ever_allocated: bool,
}

/// A POM in a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) staff_id: StaffId,
    pub(crate) name: String,
    pub(crate) kind: PomKind,
    pub(crate) email: Option<String>,
    pub(crate) since: DateTime<Utc>,
}

/// The handover plan in effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) reason: HandoverReason,
    pub(crate) start_date: Option<NaiveDate>,
    pub(crate) handover_date: Option<NaiveDate>,
}

/// A case at an instant.
#[derive(Debug)]
pub(crate) enum CaseAt {
    /// The ledger has never heard of the number.
    Unknown,
    /// Nothing had happened to the case yet.
    NotYet(PrisonerNumber),
    /// The case, under the surviving number.
    Case(Box<Case>),
}

/// A period with what it repeats of its case, as every statement selects it: `p` is the period.
macro_rules! columns {
    () => {
        "p.prisoner_number, p.case_revision, p.crn, p.ever_allocated, p.merged_into, \
         p.valid_from, NULLIF(p.valid_to, 'infinity') AS valid_to, p.revision, p.prison, p.tier, \
         p.rosh_level, p.pom_staff_id, p.pom_name, p.pom_kind, p.pom_email, p.pom_since, p.coworker_staff_id, \
         p.coworker_name, p.coworker_kind, p.coworker_email, p.coworker_since, p.com_name, p.com_email, p.com_team, \
         p.com_ldu, p.phase, p.responsible, p.responsible_since, p.supporting, p.plan_reason, p.plan_start_date, \
         p.plan_handover_date, p.override_responsible, p.override_reason, p.override_detail, p.waiting_since"
    };
}
pub(super) use columns;

/// Most merges in a row that are followed; a person has had two or three numbers.
const MERGES_MAX: usize = 32;

/// Looks cases up, each at its own instant, in the order asked. One round trip answers all that have a period then; a
/// second those that have none, and one more each merge in a row. The position is one that all of the answer includes.
pub(crate) async fn each_at(
    views: &mut PgConnection,
    cases: Vec<(PrisonerNumber, DateTime<Utc>)>,
) -> Result<(u64, Vec<CaseAt>), Error> {
    let mut answer: Vec<CaseAt> = cases.iter().map(|_| CaseAt::Unknown).collect();
    let mut open: Vec<Asked> =
        cases.into_iter().enumerate().map(|(place, (number, instant))| Asked { place, number, instant }).collect();
    let mut reached = with_period(views, &mut open, &mut answer).await?;
    for _ in 0..MERGES_MAX {
        if open.is_empty() {
            return Ok((reached, answer));
        }
        reached = reached.min(with_case(views, &mut open, &mut answer).await?);
    }
    Err(too_many_merges(&open[0].number))
}

/// A case that is looked up, and its place in the answer.
struct Asked {
    place: usize,
    number: PrisonerNumber,
    instant: DateTime<Utc>,
}

/// Answers those that have a period at their instant and were not merged, from one table and without a join, which
/// costs half as much. The rest stay open.
async fn with_period(views: &mut PgConnection, open: &mut Vec<Asked>, answer: &mut [CaseAt]) -> Result<u64, Error> {
    const SQL: &str = concat!(
        "SELECT (SELECT position FROM checkpoint) AS ledger_position, ",
        columns!(),
        " FROM case_period p
          WHERE p.prisoner_number = ANY($1) AND p.valid_from <= $2 AND p.valid_to > $3"
    );
    let numbers: Vec<&str> = open.iter().map(|asked| asked.number.as_str()).collect();
    // Mostly all ask about now. Periods that hold between the earliest and the latest instant include each one's.
    let instants = || open.iter().map(|asked| asked.instant);
    let rows =
        sqlx::query(SQL).bind(numbers).bind(instants().max()).bind(instants().min()).fetch_all(&mut *views).await?;
    if rows.is_empty() {
        return Ok(u64::MAX);
    }
    let mut periods = Vec::with_capacity(rows.len());
    for row in &rows {
        let row = Row { table: "case_period", key: "prisoner_number", row };
        if row.get::<Option<&str>>("merged_into")?.is_none() {
            let bounds: (DateTime<Utc>, End) = (row.get("valid_from")?, row.get("valid_to")?);
            periods.push((row.get::<&str>("prisoner_number")?, bounds, row));
        }
    }
    for asked in std::mem::take(open) {
        let holds = |&&(number, (from, to), _): &&(&str, (DateTime<Utc>, End), Row<'_>)| {
            number == asked.number.as_str() && from <= asked.instant && to.is_none_or(|to| asked.instant < to)
        };
        match periods.iter().find(holds) {
            Some((_, _, row)) => answer[asked.place] = CaseAt::Case(Box::new(Case::read(*row)?)),
            None => open.push(asked),
        }
    }
    position(&rows)
}

/// Answers those that are unknown, or of which nothing is known at their instant; those that were merged stay open, under
/// the surviving number.
async fn with_case(views: &mut PgConnection, open: &mut Vec<Asked>, answer: &mut [CaseAt]) -> Result<u64, Error> {
    const SQL: &str = concat!(
        "SELECT v.position AS ledger_position, asked.place, c.prisoner_number AS number, c.merged_into AS survivor, ",
        columns!(),
        " FROM checkpoint v
          LEFT JOIN unnest($1::text[], $2::timestamptz[]) WITH ORDINALITY AS asked (number, instant, place) ON true
          LEFT JOIN prisoner_case c ON c.prisoner_number = asked.number
          LEFT JOIN case_period   p ON p.prisoner_number = c.prisoner_number
                                   AND p.valid_from <= asked.instant AND p.valid_to > asked.instant"
    );
    let numbers: Vec<&str> = open.iter().map(|asked| asked.number.as_str()).collect();
    let instants: Vec<DateTime<Utc>> = open.iter().map(|asked| asked.instant).collect();
    let rows = sqlx::query(SQL).bind(numbers).bind(instants).fetch_all(&mut *views).await?;
    let asked = std::mem::take(open);
    for row in &rows {
        // Counted from 1; null in the one row that stands for no case at all.
        let place = row.try_get::<Option<i64>, _>("place")?.and_then(|place| usize::try_from(place - 1).ok());
        let Some(&Asked { place, instant, .. }) = place.and_then(|place| asked.get(place)) else { continue };
        match found(row)? {
            Looked::Merged(survivor) => open.push(Asked { place, number: survivor, instant }),
            Looked::Is(found) => answer[place] = found,
        }
    }
    position(&rows)
}

/// A case's number, the survivor's where it was merged, and every period, past and planned, in order; `None` where the
/// number is unknown.
pub(crate) async fn periods(
    views: &PgPool,
    number: &PrisonerNumber,
) -> Result<(u64, Option<(PrisonerNumber, Vec<Case>)>), Error> {
    const SQL: &str = concat!(
        "SELECT v.position AS ledger_position, c.prisoner_number AS number, c.merged_into AS survivor, ",
        columns!(),
        " FROM checkpoint v
          LEFT JOIN prisoner_case c ON c.prisoner_number = $1
          LEFT JOIN case_period   p ON p.prisoner_number = c.prisoner_number
          ORDER BY p.valid_from"
    );
    let mut number = number.clone();
    for _ in 0..MERGES_MAX {
        let rows = sqlx::query(SQL).bind(number.as_str()).fetch_all(views).await?;
        let first = match rows.first() {
            Some(row) => found(row)?,
            None => Looked::Is(CaseAt::Unknown),
        };
        match first {
            Looked::Merged(survivor) => number = survivor,
            Looked::Is(CaseAt::Unknown) => return Ok((position(&rows)?, None)),
            Looked::Is(CaseAt::NotYet(_) | CaseAt::Case(_)) => {
                let Read { position, rows } = read(&rows, "case_period", "prisoner_number", Case::read)?;
                return Ok((position, Some((number, rows))));
            }
        }
    }
    Err(too_many_merges(&number))
}

enum Looked {
    Is(CaseAt),
    Merged(PrisonerNumber),
}

fn found(row: &PgRow) -> Result<Looked, Error> {
    let case = Row { table: "prisoner_case", key: "number", row };
    let Some(number) = case.optional_word("number")? else { return Ok(Looked::Is(CaseAt::Unknown)) };
    if let Some(survivor) = case.optional_word("survivor")? {
        return Ok(Looked::Merged(survivor));
    }
    let period = Row { table: "case_period", key: "prisoner_number", row };
    if period.get::<Option<&str>>("prisoner_number")?.is_none() {
        return Ok(Looked::Is(CaseAt::NotYet(number)));
    }
    Ok(Looked::Is(CaseAt::Case(Box::new(Case::read(period)?))))
}

/// The rules refuse a circle of merges, so the view is wrong.
fn too_many_merges(number: &PrisonerNumber) -> Error {
    Error::Damaged {
        table: "prisoner_case",
        column: "merged_into",
        row: number.to_string(),
        value: format!("the start of more than {MERGES_MAX} merges in a row"),
    }
}

impl Case {
    /// Reads [`columns`].
    pub(super) fn read(row: Row<'_>) -> Result<Self, Error> {
        let holder = |staff_id, name, kind, email, since| -> Result<Option<Holder>, Error> {
            let Some(id) = row.get::<Option<i64>>(staff_id)? else { return Ok(None) };
            Ok(Some(Holder {
                staff_id: StaffId::try_from(id).map_err(|_| row.damaged(staff_id, &id.to_string()))?,
                name: row.get(name)?,
                kind: row.word(kind)?,
                email: row.get(email)?,
                since: row.get(since)?,
            }))
        };
        let com_name: Option<String> = row.get("com_name")?;
        let community_manager = match com_name {
            Some(name) => Some(CommunityManager {
                name,
                email: row.get("com_email")?,
                team: row.get("com_team")?,
                ldu: row.get("com_ldu")?,
            }),
            None => None,
        };
        let plan = match row.optional_word("plan_reason")? {
            Some(reason) => Some(Plan {
                reason,
                start_date: row.get("plan_start_date")?,
                handover_date: row.get("plan_handover_date")?,
            }),
            None => None,
        };
        let responsibility_override = match row.optional_word::<ResponsibleService>("override_responsible")? {
            Some(responsible) => Some(ResponsibilityOverridden {
                responsible,
                reason: row.word::<ResponsibilityOverrideReason>("override_reason")?,
                detail: row.get("override_detail")?,
            }),
            None => None,
        };
        Ok(Self {
            number: row.word("prisoner_number")?,
            revision: row.count("case_revision")?,
            crn: row.get("crn")?,
            from: row.get("valid_from")?,
            to: row.get("valid_to")?,
            period_revision: row.count("revision")?,
            prison: row.optional_word("prison")?,
            tier: row.optional_word("tier")?,
            rosh_level: row.optional_word("rosh_level")?,
            pom: holder("pom_staff_id", "pom_name", "pom_kind", "pom_email", "pom_since")?,
            coworker: holder(
                "coworker_staff_id",
                "coworker_name",
                "coworker_kind",
                "coworker_email",
                "coworker_since",
            )?,
            community_manager,
            phase: row.word("phase")?,
            responsible: row.word("responsible")?,
            responsible_since: row.get("responsible_since")?,
            supporting: row.optional_word("supporting")?,
            plan,
            responsibility_override,
            waiting_since: row.get("waiting_since")?,
            ever_allocated: row.get("ever_allocated")?,
        })
    }

    /// The same from a history as it was known at some point. What the views say of the case as a whole is its last word.
    pub(crate) fn of(history: &History, period: &Period) -> Self {
        let (state, last) = (&period.state, history.state());
        let holder = |role: &PomRole| Holder {
            staff_id: role.pom.staff_id,
            name: role.pom.name.clone(),
            kind: role.pom.kind,
            email: role.pom.email.clone(),
            since: role.since,
        };
        Self {
            number: history.number().clone(),
            revision: history.revision().unwrap_or_default(),
            crn: last.crn.map(String::from),
            from: period.from,
            to: period.to,
            period_revision: period.revision,
            prison: state.prison.clone(),
            tier: state.tier.as_ref().map(|assigned| assigned.tier),
            rosh_level: state.tier.as_ref().and_then(|assigned| assigned.rosh_level),
            pom: state.primary_pom.as_ref().map(holder),
            coworker: state.coworking_pom.as_ref().map(holder),
            community_manager: state.community_manager.as_ref().map(|role| role.manager.clone()),
            phase: period.responsibility.phase,
            responsible: period.responsibility.responsible,
            responsible_since: period.responsible_since,
            supporting: period.responsibility.supporting,
            plan: state.arrangements.handover_plan.as_ref().map(|plan| Plan {
                reason: plan.reason,
                start_date: plan.start_date,
                handover_date: plan.handover_date,
            }),
            responsibility_override: state.arrangements.responsibility_override.clone(),
            waiting_since: state.waiting_since,
            ever_allocated: last.ever_allocated,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    /// The case of the design's example.
    pub(crate) fn example() -> Case {
        Case {
            number: "A1234BC".parse().expect("a number"),
            revision: 6,
            crn: None,
            from: instant("2026-10-01T00:00:00Z"),
            to: Some(instant("2027-01-10T00:00:00Z")),
            period_revision: 6,
            prison: Some("LEI".parse().expect("a prison")),
            tier: Some("B2".parse().expect("a tier")),
            rosh_level: None,
            pom: Some(Holder {
                staff_id: 485_926.try_into().expect("a staff id"),
                name: "Okafor, Grace".to_owned(),
                kind: PomKind::Prison,
                email: None,
                since: instant("2026-03-01T09:00:00Z"),
            }),
            coworker: None,
            community_manager: Some(CommunityManager {
                name: "Lee, Sam".to_owned(),
                email: Some("sam.lee@example.org".to_owned()),
                team: None,
                ldu: None,
            }),
            phase: Phase::CustodyWithCom,
            responsible: OfficerRole::Pom,
            responsible_since: instant("2026-03-01T09:00:00Z"),
            supporting: Some(OfficerRole::Com),
            plan: Some(Plan {
                reason: HandoverReason::Determinate,
                start_date: Some("2026-10-01".parse().expect("a date")),
                handover_date: Some("2027-01-10".parse().expect("a date")),
            }),
            responsibility_override: None,
            waiting_since: None,
            ever_allocated: true,
        }
    }
}
