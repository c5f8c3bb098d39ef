//! Periods of responsibility in words.

use chrono::{DateTime, Utc};
use domain::{
    identifier::PrisonerNumber,
    prisoner::{OfficerRole, Period, State},
};
use query::past::CasePeriod;

use super::entry::{handover_dates, override_reason, pom, service};

/// A stretch of time in which the responsible officers and the reason stay the same.
#[derive(Debug, PartialEq)]
pub(in crate::tools) struct Stretch {
    pub(in crate::tools) from: DateTime<Utc>,
    /// None while nothing known ends it.
    pub(in crate::tools) to: Option<DateTime<Utc>>,
    /// Whether the stretch had yet to begin when this was known.
    pub(in crate::tools) is_planned: bool,
    /// The number that the case had.
    pub(in crate::tools) number: PrisonerNumber,
    /// The officers: responsible, supporting, co-working.
    pub(in crate::tools) who: String,
    /// The reason for the responsibility.
    pub(in crate::tools) why: String,
}

impl Stretch {
    /// Whether it holds at an instant.
    pub(in crate::tools) fn holds_at(&self, on: DateTime<Utc>) -> bool {
        self.from <= on && self.to.is_none_or(|to| on < to)
    }
}

/// Puts periods into words, and joins adjacent periods with the same words.
pub(in crate::tools) fn stretches(periods: &[CasePeriod], known_until: DateTime<Utc>) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for CasePeriod { number, period, .. } in periods {
        let stretch = Stretch {
            from: period.from,
            to: period.to,
            is_planned: period.from > known_until,
            number: number.clone(),
            who: who(period),
            why: why(&period.state),
        };
        match stretches.last_mut() {
            Some(last) if last.to == Some(stretch.from) && says_the_same(last, &stretch) => last.to = stretch.to,
            _ => stretches.push(stretch),
        }
    }
    stretches
}

fn says_the_same(one: &Stretch, other: &Stretch) -> bool {
    (&one.number, &one.who, &one.why) == (&other.number, &other.who, &other.why)
}

fn who(period: &Period) -> String {
    let Period { state, responsibility, .. } = period;
    let Some(responsible) = responsibility.responsible else { return "nobody".to_owned() };
    let mut who = officer(state, responsible);
    if let Some(prison) = &state.prison {
        who.push_str(&format!(", at {prison}"));
    }
    if let Some(role) = responsibility.supporting {
        who.push_str(&format!("; supporting: {}", officer(state, role)));
    }
    if let Some(coworker) = &state.coworking_pom {
        who.push_str(&format!("; co-working: {}", pom(&coworker.pom)));
    }
    who
}

fn officer(state: &State, role: OfficerRole) -> String {
    match role {
        OfficerRole::Pom => match &state.primary_pom {
            Some(holder) => pom(&holder.pom),
            None => "a POM, but the case is not allocated".to_owned(),
        },
        OfficerRole::Com => match &state.community_manager {
            Some(com) => format!("{} (COM)", com.manager.name),
            None => "a COM, but none is named".to_owned(),
        },
    }
}

fn why(state: &State) -> String {
    if state.left_at.is_some() {
        return "released, or no longer of a legal status that has an offender manager".to_owned();
    }
    if let Some(decision) = &state.arrangements.responsibility_override {
        let detail = decision.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        let reason = override_reason(decision.reason);
        return format!("overridden, {} ({reason}{detail})", service(decision.responsible));
    }
    match &state.arrangements.handover_plan {
        Some(plan) => {
            format!("handover plan: {} ({})", handover_dates(plan.start_date, plan.handover_date), plan.reason.label())
        }
        None => "no handover plan is known".to_owned(),
    }
}
