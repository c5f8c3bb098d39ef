//! The view `pom_period`: the POMs on a roster, and how many cases each holds.

use std::{collections::BTreeMap, sync::LazyLock};

use chrono::{DateTime, Utc};
use domain::{
    identifier::{PrisonCode, StaffId},
    prison::History,
};
use sqlx::{PgConnection, PgPool, Row as _};
use views::{PomPeriodRow, ViewTable as _};

use super::{ViewRows, read_rows, streams_aside::streams_aside};
use crate::QueryError;

/// A POM of a prison at an instant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RegisteredPom {
    pub(crate) pom: PomPeriodRow,
    /// Since when the POM is on the roster.
    pub(crate) registered: DateTime<Utc>,
}

/// How many cases a POM holds, by tier letter; under `None` those without a tier.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PomCaseload {
    pub(crate) primary: BTreeMap<Option<String>, u64>,
    pub(crate) coworking: BTreeMap<Option<String>, u64>,
}

/// The select list of [`RegisteredPom`]: `pom` is the period.
fn select() -> String {
    format!(
        "{},
         (SELECT min(first.valid_from) FROM pom_period first
          WHERE first.prison_code = pom.prison_code AND first.staff_id = pom.staff_id) AS registered,
         v.position AS ledger_position, {}",
        PomPeriodRow::select("pom"),
        streams_aside!()
    )
}

/// A prison's POMs by name, each with the cases held there; in one round trip.
pub(crate) async fn with_caseloads(
    views: &PgPool,
    prison: &PrisonCode,
    at: DateTime<Utc>,
) -> Result<ViewRows<(RegisteredPom, PomCaseload)>, QueryError> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            r#"WITH held AS (
                   SELECT pom_staff_id, coworker_staff_id, left(tier, 1) AS tier
                   FROM case_period
                   WHERE prison = $1 AND valid_from <= $2 AND valid_to > $2
               ), load AS (
                   SELECT pom_staff_id AS staff_id, true AS is_primary, tier, count(*) AS cases
                   FROM held WHERE pom_staff_id IS NOT NULL GROUP BY 1, 3
                   UNION ALL
                   SELECT coworker_staff_id, false, tier, count(*)
                   FROM held WHERE coworker_staff_id IS NOT NULL GROUP BY 1, 3
               )
               SELECT {}, load.is_primary, load.tier, load.cases
               FROM checkpoint v
               LEFT JOIN pom_period pom ON pom.prison_code = $1 AND pom.valid_from <= $2 AND pom.valid_to > $2
               LEFT JOIN load ON load.staff_id = pom.staff_id
               ORDER BY pom.name COLLATE "C", pom.staff_id"#,
            select()
        )
    });
    let rows = sqlx::query(SQL.as_str()).bind(prison.as_str()).bind(at).fetch_all(views).await?;
    let ViewRows { position, aside, rows } = read_rows(&rows, |pom, row| {
        let registered = row.try_get("registered")?;
        let is_primary: Option<bool> = row.try_get("is_primary")?;
        let cases: Option<i64> = row.try_get("cases")?;
        Ok((RegisteredPom { pom, registered }, is_primary, row.try_get("tier")?, cases))
    })?;
    // One row a POM, role and tier; those of a POM follow each other.
    let mut poms: Vec<(RegisteredPom, PomCaseload)> = Vec::new();
    for (pom, is_primary, tier, cases) in rows {
        if poms.last().is_none_or(|(last, _)| last.pom.staff_id != pom.pom.staff_id) {
            poms.push((pom, PomCaseload::default()));
        }
        if let (Some((_, load)), Some(is_primary), Some(cases)) = (poms.last_mut(), is_primary, cases) {
            let by_tier = if is_primary { &mut load.primary } else { &mut load.coworking };
            by_tier.insert(tier, cases.unsigned_abs());
        }
    }
    Ok(ViewRows { position, aside, rows: poms })
}

/// POMs by staff id, on whichever roster they are; of several, all.
pub(crate) async fn by_staff_ids(
    views: &mut PgConnection,
    staff_ids: &[StaffId],
    at: DateTime<Utc>,
) -> Result<ViewRows<RegisteredPom>, QueryError> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT {}
             FROM checkpoint v
             LEFT JOIN pom_period pom ON pom.staff_id = ANY($1) AND pom.valid_from <= $2 AND pom.valid_to > $2
             ORDER BY pom.staff_id, pom.prison_code",
            select()
        )
    });
    let staff_ids: Vec<i64> = staff_ids.iter().map(|id| id.get()).collect();
    let rows = sqlx::query(SQL.as_str()).bind(staff_ids).bind(at).fetch_all(views).await?;
    read_rows(&rows, |pom, row| Ok(RegisteredPom { pom, registered: row.try_get("registered")? }))
}

impl RegisteredPom {
    /// The POMs of a prison at an instant, from its history as it was known at some point; by staff
    /// id.
    pub(crate) fn of(history: &History, at: DateTime<Utc>) -> Vec<Self> {
        let mut poms = Vec::new();
        let mut registered = BTreeMap::new();
        for pom in PomPeriodRow::all_of(history) {
            let registered = *registered.entry(pom.staff_id).or_insert(pom.valid_from);
            if pom.valid_from <= at && pom.valid_to.is_after(at) {
                poms.push(Self { pom, registered });
            }
        }
        poms
    }
}
