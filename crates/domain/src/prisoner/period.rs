//! A case's history as adjoining periods in which nothing changes, past and planned.
//!
//! Planned handover dates begin periods of their own, so the responsible officer is a look-up by
//! time and nothing has to run when the day comes. The views, the answers from a replayed past and
//! the command line all use these periods.

use chrono::{DateTime, Utc};

use crate::{
    identifier::StaffId,
    london,
    officer::CommunityManager,
    prisoner::{History, OfficerRole, Responsibility, State, responsibility},
};

/// A stretch of time in which nothing about the case changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Period {
    /// First instant.
    pub from: DateTime<Utc>,
    /// First instant after it; `None` while nothing known ends it.
    pub to: Option<DateTime<Utc>>,
    /// The highest revision among the entries in effect.
    pub revision: u64,
    /// The state of the case.
    pub state: State,
    /// The responsible role and the supporting one.
    pub responsibility: Responsibility,
    /// The time from which that officer, or that vacancy, has been responsible without a break.
    pub responsible_since: DateTime<Utc>,
}

/// The periods of a case, in order. None before its first entry, none after it was merged into
/// another number.
#[must_use]
pub fn periods(history: &History) -> Vec<Period> {
    let entries = history.in_effective_order();
    let mut periods: Vec<Period> = Vec::new();
    let mut state = State::default();
    let mut revision = 0;
    for (index, entry) in entries.iter().enumerate() {
        state.apply(entry);
        revision = revision.max(entry.revision);
        let next = entries.get(index + 1).map(|next| next.effective_at);
        if next == Some(entry.effective_at) {
            continue;
        }
        if state.retired_into.is_some() {
            break;
        }
        let mut boundaries = vec![entry.effective_at];
        boundaries.extend(planned_changes(&state, entry.effective_at, next));
        for (index, &from) in boundaries.iter().enumerate() {
            let to = boundaries.get(index + 1).copied().or(next);
            let responsibility = responsibility(&state, from);
            let responsible_since = periods
                .last()
                .filter(|last| officer(&last.state, last.responsibility) == officer(&state, responsibility))
                .map_or(from, |last| last.responsible_since);
            periods.push(Period { from, to, revision, state: state.clone(), responsibility, responsible_since });
        }
    }
    periods
}

/// The period that holds at `instant`, of periods in order.
#[must_use]
pub fn period_at(periods: &[Period], instant: DateTime<Utc>) -> Option<&Period> {
    let next = periods.partition_point(|period| period.from <= instant);
    periods[..next].last().filter(|period| period.to.is_none_or(|to| instant < to))
}

/// The instants strictly between `from` and `to` at which the plan changes the responsible role.
fn planned_changes(
    state: &State,
    from: DateTime<Utc>,
    to: Option<DateTime<Utc>>,
) -> impl Iterator<Item = DateTime<Utc>> {
    let dates =
        state.arrangements.handover_plan.as_ref().map_or([None, None], |plan| [plan.start_date, plan.handover_date]);
    let mut instants: Vec<_> = dates
        .into_iter()
        .flatten()
        .map(london::midnight)
        .filter(|&instant| from < instant && to.is_none_or(|to| instant < to))
        .collect();
    instants.sort_unstable();
    instants.dedup();
    instants.into_iter()
}

/// The officer in the responsible role, in a form that can be compared from period to period.
fn officer(state: &State, responsibility: Responsibility) -> (OfficerRole, Option<StaffId>, Option<&CommunityManager>) {
    match responsibility.responsible {
        OfficerRole::Pom => (OfficerRole::Pom, state.primary_staff_id(), None),
        OfficerRole::Com => {
            // A COM has no staff id: two of one name are told apart by team and LDU.
            (OfficerRole::Com, None, state.community_manager.as_ref().map(|role| &role.manager))
        }
    }
}
