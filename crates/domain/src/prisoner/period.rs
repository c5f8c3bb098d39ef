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
    prisoner::{History, MergedHoldings, OfficerRole, PrisonerEvent, Responsibility, State, responsibility},
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
    let mut taken_over = None;
    for (index, entry) in entries.iter().enumerate() {
        state.apply(entry);
        revision = revision.max(entry.revision);
        if let PrisonerEvent::PrisonerNumberMerged(merged) = &entry.event {
            taken_over = TakenOverResponsibility::of(&merged.held).or(taken_over);
        }
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
            let now_responsible = ResponsibleOfficer::of(&state, responsibility.responsible);
            let before = periods.last().filter(|last| last.responsible_officer() == now_responsible);
            let responsible_since = match (before, &taken_over) {
                (Some(before), _) => before.responsible_since,
                (None, Some(taken_over)) if taken_over.officer == now_responsible => taken_over.since,
                (None, _) => from,
            };
            let period = Period { from, to, revision, state: state.clone(), responsibility, responsible_since };
            match periods.last_mut().filter(|last| last.is_continued_by(&period)) {
                Some(last) => *last = Period { from: last.from, ..period },
                None => periods.push(period),
            }
            taken_over = None;
        }
    }
    periods
}

impl Period {
    fn responsible_officer(&self) -> ResponsibleOfficer<'_> {
        ResponsibleOfficer::of(&self.state, self.responsibility.responsible)
    }

    /// Whether nothing that an answer about the case shows changes with the next period. An entry
    /// may say once more what holds already.
    fn is_continued_by(&self, next: &Self) -> bool {
        let (now, then) = (&self.state, &next.state);
        let tier = |state: &State| state.tier.as_ref().map(|tier| (tier.tier, tier.rosh_level));
        self.responsibility == next.responsibility
            && now.prison == then.prison
            && tier(now) == tier(then)
            && now.primary_pom == then.primary_pom
            && now.coworking_pom == then.coworking_pom
            && now.community_manager == then.community_manager
            && now.arrangements.looks_like(&then.arrangements)
            && now.waiting == then.waiting
    }
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

/// The officer in the responsible role, in a form that can be compared from period to period: a
/// POM's staff id, a COM's name and e-mail address, a vacancy, or that there is no such role.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ResponsibleOfficer<'a> {
    Pom(Option<StaffId>),
    Com(Option<(&'a str, Option<&'a str>)>),
    NotInCustody,
}

impl<'a> ResponsibleOfficer<'a> {
    fn of(state: &'a State, role: Option<OfficerRole>) -> Self {
        Self::new(role, state.primary_staff_id(), state.community_manager.as_ref().map(|role| &role.manager))
    }

    fn new(role: Option<OfficerRole>, pom: Option<StaffId>, com: Option<&'a CommunityManager>) -> Self {
        match role {
            None => Self::NotInCustody,
            Some(OfficerRole::Pom) => Self::Pom(pom),
            Some(OfficerRole::Com) => Self::Com(com.map(|com| (com.name.as_str(), com.email.as_deref()))),
        }
    }
}

/// The officer who was responsible under a removed number at its end, and since when.
struct TakenOverResponsibility<'a> {
    officer: ResponsibleOfficer<'a>,
    since: DateTime<Utc>,
}

impl<'a> TakenOverResponsibility<'a> {
    fn of(held: &'a MergedHoldings) -> Option<Self> {
        let past = held.past.as_ref()?;
        if let Some(left_at) = past.left_at {
            // An earlier merge names a role, and since when that was vacant.
            let since = past.responsible_since.filter(|_| past.responsible.is_none());
            return Some(Self { officer: ResponsibleOfficer::NotInCustody, since: since.unwrap_or(left_at) });
        }
        let pom = held.primary_pom.as_ref().map(|pom| pom.staff_id);
        let officer = ResponsibleOfficer::new(Some(past.responsible?), pom, held.community_manager.as_ref());
        Some(Self { officer, since: past.responsible_since? })
    }
}
