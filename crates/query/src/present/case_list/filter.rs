//! The filter of a list of cases, twice: as conditions of a statement on the views, and as a test
//! of a case that was folded from the log. The two must agree, so they are side by side.

use chrono::NaiveDate;
use domain::{
    identifier::{PrisonCode, StaffId},
    prisoner::{OfficerRole, Phase},
    tier::Tier,
};
use sqlx::{Postgres, QueryBuilder};
use views::{CasePeriodRow, CasePom};

/// A POM's role on a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoleFilter {
    Primary,
    Coworking,
}

/// The cases that a list has.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct CaseFilter {
    pub(crate) prison: Option<PrisonCode>,
    pub(crate) pom: Option<StaffId>,
    /// With `pom`: in which role; `None` for either.
    pub(crate) role: Option<RoleFilter>,
    /// A letter alone includes all its change levels.
    pub(crate) tier: Option<Tier>,
    pub(crate) phase: Option<Phase>,
    pub(crate) responsible: Option<OfficerRole>,
    pub(crate) allocated: Option<bool>,
    pub(crate) waiting: Option<bool>,
    /// Handover starts in these days, both included, and ends later than it starts.
    pub(crate) starts_within: Option<(NaiveDate, NaiveDate)>,
    /// The COM becomes responsible in these days, both included.
    pub(crate) due_within: Option<(NaiveDate, NaiveDate)>,
    /// The COM is responsible, none is named, and the handover date is this day or earlier.
    pub(crate) lacks_com_since: Option<NaiveDate>,
}

impl CaseFilter {
    /// Adds the filters in use to a statement's conditions.
    pub(super) fn push_conditions(&self, sql: &mut QueryBuilder<Postgres>) {
        if let Some(prison) = &self.prison {
            sql.push(" AND p.prison = ").push_bind(prison.to_string());
        }
        if let Some(staff_id) = self.pom {
            match self.role {
                Some(RoleFilter::Primary) => sql.push(" AND p.pom_staff_id = ").push_bind(staff_id.get()),
                Some(RoleFilter::Coworking) => sql.push(" AND p.coworker_staff_id = ").push_bind(staff_id.get()),
                None => sql
                    .push(" AND (p.pom_staff_id = ")
                    .push_bind(staff_id.get())
                    .push(" OR p.coworker_staff_id = ")
                    .push_bind(staff_id.get())
                    .push(")"),
            };
        }
        if let Some(tier) = self.tier {
            let tier = tier.to_string();
            let column = if tier.len() == 1 { " AND left(p.tier, 1) = " } else { " AND p.tier = " };
            sql.push(column).push_bind(tier);
        }
        if let Some(phase) = self.phase {
            sql.push(" AND p.phase = ").push_bind(phase.word());
        }
        if let Some(responsible) = self.responsible {
            sql.push(" AND p.responsible = ").push_bind(responsible.word());
        }
        match self.allocated {
            Some(true) => sql.push(" AND p.pom_staff_id IS NOT NULL"),
            Some(false) => sql.push(" AND p.pom_staff_id IS NULL"),
            None => &mut *sql,
        };
        match self.waiting {
            Some(true) => sql.push(" AND p.waiting_since IS NOT NULL"),
            Some(false) => sql.push(" AND p.waiting_since IS NULL"),
            None => &mut *sql,
        };
        if self.starts_within.is_some() {
            sql.push(" AND p.plan_start_date IS DISTINCT FROM p.plan_handover_date");
        }
        for (column, days) in [("p.plan_start_date", self.starts_within), ("p.plan_handover_date", self.due_within)] {
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
        if let Some(day) = self.lacks_com_since {
            sql.push(" AND p.responsible = 'COM' AND p.com_name IS NULL AND p.plan_handover_date <= ").push_bind(day);
        }
    }

    /// Whether a case passes, by the same conditions.
    pub(crate) fn passes(&self, case: &CasePeriodRow) -> bool {
        let held_by = |pom: &Option<CasePom>, staff_id| pom.as_ref().is_some_and(|pom| pom.staff_id == staff_id);
        let within = |days: Option<(NaiveDate, NaiveDate)>, day: Option<NaiveDate>| {
            days.is_none_or(|(first, last)| {
                case.responsibility_override.is_none() && day.is_some_and(|day| first <= day && day <= last)
            })
        };
        self.prison.as_ref().is_none_or(|prison| case.prison.as_ref() == Some(prison))
            && self.pom.is_none_or(|staff_id| match self.role {
                Some(RoleFilter::Primary) => held_by(&case.pom, staff_id),
                Some(RoleFilter::Coworking) => held_by(&case.coworker, staff_id),
                None => held_by(&case.pom, staff_id) || held_by(&case.coworker, staff_id),
            })
            && self.tier.is_none_or(|tier| {
                case.tier
                    .is_some_and(|of_case| of_case == tier || is_letter_of(&tier.to_string(), &of_case.to_string()))
            })
            && self.phase.is_none_or(|phase| case.phase == phase)
            && self.responsible.is_none_or(|responsible| case.responsible == Some(responsible))
            && self.allocated.is_none_or(|allocated| case.pom.is_some() == allocated)
            && self.waiting.is_none_or(|waiting| case.waiting.is_some() == waiting)
            && (self.starts_within.is_none() || case.plan.is_some_and(|plan| plan.start_date != plan.handover_date))
            && within(self.starts_within, case.plan.and_then(|plan| plan.start_date))
            && within(self.due_within, case.plan.and_then(|plan| plan.handover_date))
            && self.lacks_com_since.is_none_or(|day| {
                case.responsible == Some(OfficerRole::Com)
                    && case.com.is_none()
                    && case.plan.and_then(|plan| plan.handover_date).is_some_and(|handover| handover <= day)
            })
    }
}

/// Whether a tier asked for is a letter alone, and the first of another.
fn is_letter_of(asked: &str, tier: &str) -> bool {
    asked.len() == 1 && tier.starts_with(asked)
}
