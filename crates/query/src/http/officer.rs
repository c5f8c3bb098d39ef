//! Officers, reasons and overrides, as several answers have them.

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    officer::PomKind,
    prisoner::{OfficerRole, ResponsibilityOverridden},
};
use serde::Serialize;
use utoipa::ToSchema;

use views::{CasePeriodRow, CasePlan, CasePom};

/// The officer in a role, or its vacancy.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Officer<'a> {
    /// The officer's role; null of a case that is not in custody.
    role: Option<OfficerRole>,
    /// A POM's staff id. A COM has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>, example = 485_926)]
    staff_id: Option<Option<i64>>,
    /// "Surname, Forename"; null where the role is vacant.
    #[schema(example = "Okafor, Grace")]
    name: Option<&'a str>,
    /// Work e-mail address; of a POM, where the roster has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    email: Option<Option<&'a str>>,
    /// Of the responsible officer: responsible since when, without a break.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    since: Option<DateTime<Utc>>,
    /// Says why there is no officer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    vacancy: Option<Vacancy>,
}

/// Why there is no officer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Vacancy {
    /// No POM holds the case.
    NotAllocated,
    /// No COM is named.
    ComNotNamed,
    /// The person is released, or no longer sentenced: no officer is responsible.
    NotInCustody,
}

impl<'a> Officer<'a> {
    /// The responsible officer.
    pub(super) fn responsible(case: &'a CasePeriodRow) -> Self {
        let mut officer = Self::in_role(case, case.responsible);
        // Always there, so that a client finds the same members in every responsible officer.
        officer.staff_id = officer.staff_id.or(Some(None));
        officer.since = Some(case.responsible_since);
        officer
    }

    /// The supporting officer, if a role supports.
    pub(super) fn supporting(case: &'a CasePeriodRow) -> Option<Self> {
        case.supporting.map(|role| Self::in_role(case, Some(role)))
    }

    fn in_role(case: &'a CasePeriodRow, role: Option<OfficerRole>) -> Self {
        let vacant = Self { role, staff_id: None, name: None, email: None, since: None, vacancy: None };
        match role {
            None => Self { vacancy: Some(Vacancy::NotInCustody), ..vacant },
            Some(OfficerRole::Pom) => match &case.pom {
                Some(pom) => Self {
                    staff_id: Some(Some(pom.staff_id.get())),
                    name: Some(&pom.name),
                    email: pom.email.as_deref().map(Some),
                    ..vacant
                },
                None => Self { staff_id: Some(None), vacancy: Some(Vacancy::NotAllocated), ..vacant },
            },
            Some(OfficerRole::Com) => match &case.com {
                Some(com) => Self { name: Some(&com.name), email: Some(com.email.as_deref()), ..vacant },
                None => Self { vacancy: Some(Vacancy::ComNotNamed), ..vacant },
            },
        }
    }
}

/// A POM who holds a case.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PomHolder<'a> {
    /// NOMIS staff id.
    #[schema(example = 485_926)]
    staff_id: i64,
    /// "Surname, Forename".
    #[schema(example = "Okafor, Grace")]
    name: &'a str,
    /// Prison or probation POM.
    kind: PomKind,
    /// Work e-mail address, where the roster has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    email: Option<&'a str>,
    /// Since when.
    since: DateTime<Utc>,
}

impl<'a> From<&'a CasePom> for PomHolder<'a> {
    fn from(holder: &'a CasePom) -> Self {
        Self {
            staff_id: holder.staff_id.get(),
            name: &holder.name,
            kind: holder.kind,
            email: holder.email.as_deref(),
            since: holder.since,
        }
    }
}

/// A COM.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Com<'a> {
    /// "Surname, Forename".
    name: &'a str,
    /// Work e-mail address.
    email: Option<&'a str>,
    /// Probation team.
    team: Option<&'a str>,
    /// Local delivery unit.
    ldu: Option<&'a str>,
}

impl<'a> Com<'a> {
    /// The COM of a case, if one is named.
    pub(super) fn of(case: &'a CasePeriodRow) -> Option<Self> {
        case.com.as_ref().map(|com| Self {
            name: &com.name,
            email: com.email.as_deref(),
            team: com.team.as_deref(),
            ldu: com.ldu.as_deref(),
        })
    }
}

/// The handover plan in effect.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reason {
    /// The reason's code.
    code: domain::handover::HandoverReason,
    /// London day from which a COM supports.
    start_date: Option<NaiveDate>,
    /// London day from which the COM is responsible.
    handover_date: Option<NaiveDate>,
}

impl From<CasePlan> for Reason {
    fn from(plan: CasePlan) -> Self {
        Self { code: plan.reason, start_date: plan.start_date, handover_date: plan.handover_date }
    }
}

/// A decision against the plan.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Override<'a> {
    /// `PRISON`: the POM; `PROBATION`: the COM.
    responsible: domain::prisoner::ResponsibleService,
    /// Why.
    reason: domain::prisoner::ResponsibilityOverrideReason,
    /// Detail of the reason.
    detail: Option<&'a str>,
}

impl<'a> From<&'a ResponsibilityOverridden> for Override<'a> {
    fn from(decision: &'a ResponsibilityOverridden) -> Self {
        Self { responsible: decision.responsible, reason: decision.reason, detail: decision.detail.as_deref() }
    }
}
