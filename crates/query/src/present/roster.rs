//! The views `prison` and `pom_period`: who is on a roster, and how many cases each holds.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    identifier::{PrisonCode, StaffId},
    officer::{PomKind, PomStatus},
    prison::{History, roster_periods},
};
use sqlx::PgPool;

use super::{Read, Row, read};
use crate::Error;

/// A POM of a prison at an instant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pom {
    pub(crate) prison: PrisonCode,
    pub(crate) staff_id: StaffId,
    pub(crate) name: String,
    pub(crate) kind: PomKind,
    pub(crate) email: Option<String>,
    /// In tenths of full time.
    pub(crate) working_pattern: f64,
    pub(crate) status: PomStatus,
    pub(crate) returns_on: Option<NaiveDate>,
    pub(crate) reason: Option<String>,
    /// Since when all of this holds.
    pub(crate) from: DateTime<Utc>,
    /// Since when the POM is on the roster.
    pub(crate) registered: DateTime<Utc>,
}

/// How many cases a POM holds, by tier letter; under `None` those without a tier.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Caseload {
    pub(crate) primary: BTreeMap<Option<String>, u64>,
    pub(crate) coworking: BTreeMap<Option<String>, u64>,
}

/// A prison's POMs by name, each with the cases held there; in one round trip.
pub(crate) async fn with_caseloads(
    views: &PgPool,
    prison: &PrisonCode,
    at: DateTime<Utc>,
) -> Result<Read<(Pom, Caseload)>, Error> {
    const SQL: &str = r#"
        WITH held AS (
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
        SELECT v.position AS ledger_position, pom.prison_code, pom.staff_id, pom.name, pom.kind, pom.email,
               pom.working_pattern::float8 AS working_pattern, pom.status, pom.returns_on, pom.reason, pom.valid_from,
               (SELECT min(first.valid_from) FROM pom_period first
                WHERE first.prison_code = pom.prison_code AND first.staff_id = pom.staff_id) AS registered,
               load.is_primary, load.tier, load.cases
        FROM checkpoint v
        LEFT JOIN pom_period pom ON pom.prison_code = $1 AND pom.valid_from <= $2 AND pom.valid_to > $2
        LEFT JOIN load ON load.staff_id = pom.staff_id
        ORDER BY pom.name COLLATE "C", pom.staff_id"#;
    let rows = sqlx::query(SQL).bind(prison.as_str()).bind(at).fetch_all(views).await?;
    let Read { position, rows } = read(&rows, "pom_period", "staff_id", |row| {
        Ok((
            Pom::read(row)?,
            row.get::<Option<bool>>("is_primary")?,
            row.get("tier")?,
            row.get::<Option<i64>>("cases")?,
        ))
    })?;
    // One row a POM, role and tier; those of a POM follow each other.
    let mut poms: Vec<(Pom, Caseload)> = Vec::new();
    for (pom, is_primary, tier, cases) in rows {
        if poms.last().is_none_or(|(last, _)| last.staff_id != pom.staff_id) {
            poms.push((pom, Caseload::default()));
        }
        if let (Some((_, load)), Some(is_primary), Some(cases)) = (poms.last_mut(), is_primary, cases) {
            let by_tier = if is_primary { &mut load.primary } else { &mut load.coworking };
            by_tier.insert(tier, cases.unsigned_abs());
        }
    }
    Ok(Read { position, rows: poms })
}

/// POMs by staff id, on whichever roster they are; of several, all.
pub(crate) async fn by_staff_ids(views: &PgPool, staff_ids: &[StaffId], at: DateTime<Utc>) -> Result<Read<Pom>, Error> {
    const SQL: &str = "
        SELECT v.position AS ledger_position, pom.prison_code, pom.staff_id, pom.name, pom.kind, pom.email,
               pom.working_pattern::float8 AS working_pattern, pom.status, pom.returns_on, pom.reason, pom.valid_from,
               (SELECT min(first.valid_from) FROM pom_period first
                WHERE first.prison_code = pom.prison_code AND first.staff_id = pom.staff_id) AS registered
        FROM checkpoint v
        LEFT JOIN pom_period pom ON pom.staff_id = ANY($1) AND pom.valid_from <= $2 AND pom.valid_to > $2
        ORDER BY pom.staff_id, pom.prison_code";
    let staff_ids: Vec<i64> = staff_ids.iter().map(|id| id.get()).collect();
    let rows = sqlx::query(SQL).bind(staff_ids).bind(at).fetch_all(views).await?;
    read(&rows, "pom_period", "staff_id", Pom::read)
}

impl Pom {
    /// The POMs of a prison at an instant, from its history as it was known at some point; by staff id.
    pub(crate) fn of(history: &History, at: DateTime<Utc>) -> Vec<Self> {
        let mut poms = Vec::new();
        let mut registered = BTreeMap::new();
        for period in roster_periods(history) {
            let registered = *registered.entry(period.pom.staff_id).or_insert(period.from);
            if at < period.from || period.to.is_some_and(|to| to <= at) {
                continue;
            }
            let pom = period.pom;
            poms.push(Self {
                prison: history.code().clone(),
                staff_id: pom.staff_id,
                name: pom.name,
                kind: pom.kind,
                email: pom.email,
                working_pattern: f64::from(pom.working_pattern.tenths()) / 10.0,
                status: pom.status,
                returns_on: pom.returns_on,
                reason: pom.reason,
                from: period.from,
                registered,
            });
        }
        poms
    }

    fn read(row: Row<'_>) -> Result<Self, Error> {
        let staff_id: i64 = row.get("staff_id")?;
        Ok(Self {
            prison: row.word("prison_code")?,
            staff_id: staff_id.try_into().map_err(|_| row.damaged("staff_id", &staff_id.to_string()))?,
            name: row.get("name")?,
            kind: row.word("kind")?,
            email: row.get("email")?,
            working_pattern: row.get("working_pattern")?,
            status: row.word("status")?,
            returns_on: row.get("returns_on")?,
            reason: row.get("reason")?,
            from: row.get("valid_from")?,
            registered: row.get("registered")?,
        })
    }
}
