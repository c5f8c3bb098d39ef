//! The rules by property, over random sequences of commands, legal or not, most of them backdated.
//!
//! [`Auditor`] is a second, simpler reading of the rules: it walks events in effective order and
//! says which one breaks a rule. It shares no code with the domain's own check, so that each finds
//! the other's mistakes.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Entry, Event, Stream,
    generators::case_commands,
    handover::Facts,
    identifier::PrisonCode,
    officer::CommunityManager,
    prisoner::{
        Arrangements, Command, DeallocationTrigger, History, PrisonerEvent, PrisonerNumberMerged, ResponsibleService,
        State, TierAssigned, period_at, periods, responsibility,
    },
    tier::TierSource,
};
use proptest::prelude::*;

use crate::case::{Case, at, record};

#[derive(Debug, Default, Clone)]
struct Auditor {
    tier: bool,
    prison: Option<String>,
    left: bool,
    /// Whether anything that a release ends is arranged, the override aside.
    arranged: bool,
    primary: Option<i64>,
    coworker: Option<(i64, String)>,
    com: Option<String>,
    overridden: Option<ResponsibleService>,
    retired: bool,
}

impl Auditor {
    /// Takes in the next event, or says that it breaks a rule.
    fn audit(&mut self, event: &PrisonerEvent) -> Result<(), ()> {
        let must = |held: bool| if held { Ok(()) } else { Err(()) };
        must(!self.retired)?;
        match event {
            PrisonerEvent::Received(received) => {
                must(self.primary.is_none() || self.is_at(&received.prison))?;
                must(self.coworker.as_ref().is_none_or(|(_, prison)| *prison == received.prison.as_str()))?;
                (self.prison, self.left) = (Some(received.prison.to_string()), false);
            }
            PrisonerEvent::TierAssigned(assigned) => {
                self.tier = true;
                if let (None, None, Some(prison)) = (self.primary, &self.coworker, &assigned.prison) {
                    (self.prison, self.left) = (Some(prison.to_string()), false);
                }
            }
            PrisonerEvent::AllocationMade(made) => {
                must(self.tier && self.primary.is_none())?;
                must(self.coworker.as_ref().is_none_or(|(_, prison)| *prison == made.prison.as_str()))?;
                self.primary = Some(made.pom.staff_id.get());
                (self.prison, self.left) = (Some(made.prison.to_string()), false);
            }
            PrisonerEvent::Reallocated(moved) => {
                must(self.primary == Some(moved.pom_before.staff_id.get()) && self.is_at(&moved.prison))?;
                must(moved.pom_before.staff_id != moved.pom_after.staff_id)?;
                self.primary = Some(moved.pom_after.staff_id.get());
            }
            PrisonerEvent::Deallocated(ended) => {
                must(self.primary == ended.pom.as_ref().map(|pom| pom.staff_id.get()))?;
                must(self.coworker.is_none() || ended.trigger == DeallocationTrigger::PomInactive)?;
                if let (Some(held_at), Some(named)) = (&self.prison, &ended.prison) {
                    must(held_at == named.as_str())?;
                }
                match ended.trigger {
                    DeallocationTrigger::Released | DeallocationTrigger::LegalStatusChanged => {
                        must(self.primary.is_some() || !self.left || self.arranged || self.overridden.is_some())?;
                        (self.overridden, self.arranged, self.left, self.prison) = (None, false, true, None);
                    }
                    DeallocationTrigger::Transferred => {
                        (self.prison, self.left) = (ended.to_prison.as_ref().map(ToString::to_string), false);
                    }
                    _ => {}
                }
                self.primary = None;
            }
            PrisonerEvent::CoworkerAllocated(joined) => {
                must(self.primary.is_some() && self.coworker.is_none() && self.is_at(&joined.prison))?;
                self.coworker = Some((joined.pom.staff_id.get(), joined.prison.to_string()));
            }
            PrisonerEvent::CoworkerReallocated(moved) => {
                must(self.primary.is_some() && self.is_at(&moved.prison))?;
                must(self.coworker_id() == Some(moved.pom_before.staff_id.get()))?;
                must(moved.pom_before.staff_id != moved.pom_after.staff_id)?;
                self.coworker = Some((moved.pom_after.staff_id.get(), moved.prison.to_string()));
            }
            PrisonerEvent::CoworkerDeallocated(ended) => {
                must(self.coworker_id() == Some(ended.pom.staff_id.get()))?;
                self.coworker = None;
            }
            PrisonerEvent::CommunityManagerAssigned(manager) => self.com = named(manager),
            PrisonerEvent::CommunityManagerRemoved(manager) => {
                must(self.com.as_ref() == Some(&manager.name))?;
                self.com = None;
            }
            PrisonerEvent::ResponsibilityOverridden(decision) => self.overridden = Some(decision.responsible),
            PrisonerEvent::ResponsibilityOverrideRemoved(removed) => {
                must(self.overridden == Some(removed.responsible))?;
                self.overridden = None;
            }
            PrisonerEvent::PrisonerNumberMerged(merged) => self.take_over(merged),
            PrisonerEvent::PrisonerNumberRetired(_) => {
                must(self.primary.is_none() && self.coworker.is_none())?;
                self.retired = true;
            }
            PrisonerEvent::CrnRecorded(_) | PrisonerEvent::EntryVoided(_) => {}
            // Each other event arranges something that a release ends and that has no rule of its
            // own. An event of another kind needs an arm.
            _ => self.arranged = true,
        }
        must(self.primary.is_none() || self.primary != self.coworker_id())
    }

    fn is_at(&self, prison: &PrisonCode) -> bool {
        self.prison.as_deref() == Some(prison.as_str())
    }

    fn coworker_id(&self) -> Option<i64> {
        self.coworker.as_ref().map(|(id, _)| *id)
    }

    fn take_over(&mut self, merged: &PrisonerNumberMerged) {
        let held = &merged.held;
        self.tier |= held.tier.is_some();
        let held_at = held.prison.as_ref().map(ToString::to_string);
        if self.prison.is_none() {
            let has_left = held.past.as_ref().is_some_and(|past| past.left_at.is_some());
            (self.left, self.prison) = (held_at.is_none() && (self.left || has_left), held_at.clone());
        }
        if held_at.is_some() && self.prison == held_at {
            self.primary = self.primary.or(held.primary_pom.as_ref().map(|pom| pom.staff_id.get()));
            let coworker = held.coworking_pom.as_ref().map(|pom| pom.staff_id.get()).zip(held_at);
            self.coworker = self.coworker.take().or(coworker);
            if self.primary == self.coworker_id() {
                self.coworker = None;
            }
        }
        let decision = held.arrangements.responsibility_override.as_ref();
        let beside_override = Arrangements { responsibility_override: None, ..held.arrangements.clone() };
        self.arranged |= beside_override != Arrangements::default();
        self.com = self.com.take().or(held.community_manager.as_ref().and_then(named));
        self.overridden = self.overridden.or(decision.map(|decision| decision.responsible));
    }
}

/// The COM that is named, if one is.
fn named(manager: &CommunityManager) -> Option<String> {
    (manager.name != "Unallocated").then(|| manager.name.clone())
}

/// Whether events, each with its effective time, in the order recorded, break no rule in effective
/// order.
fn is_legal(events: &[(DateTime<Utc>, PrisonerEvent)]) -> bool {
    let mut events: Vec<_> = events.iter().collect();
    events.sort_by_key(|(effective_at, _)| *effective_at);
    let mut auditor = Auditor::default();
    events.into_iter().all(|(_, event)| auditor.audit(event).is_ok())
}

/// The entries in effect, worked out anew from the voids.
fn entries_in_effect(history: &History) -> Vec<(u64, DateTime<Utc>, PrisonerEvent)> {
    let voided: BTreeSet<u64> = history
        .entries()
        .iter()
        .filter_map(|entry| match &entry.event {
            PrisonerEvent::EntryVoided(void) => Some(void.revision),
            _ => None,
        })
        .collect();
    history
        .entries()
        .iter()
        .filter(|entry| !voided.contains(&entry.revision) && !matches!(entry.event, PrisonerEvent::EntryVoided(_)))
        .map(|entry| (entry.revision, entry.effective_at, entry.event.clone()))
        .collect()
}

/// Commands with their effective times: twenty instants, so that many coincide and many are
/// backdated.
pub fn commands() -> impl Strategy<Value = Vec<(DateTime<Utc>, Command)>> {
    let step = (0..20i64).prop_map(|days| at("03-01") + TimeDelta::days(days * 5));
    prop::collection::vec((step, case_commands(|_| true)), 1..25)
}

/// What answers show of a state. A period goes on while the rest changes.
pub fn shown(state: &State) -> State {
    let mut state = State { crn: None, left_at: None, reception: None, ever_allocated: false, ..state.clone() };
    if let Some(tier) = &mut state.tier {
        *tier = TierAssigned { source: TierSource::Manual, crn: None, prison: None, ..tier.clone() };
    }
    if let Some(plan) = &mut state.arrangements.handover_plan {
        (plan.facts, plan.earliest_release) = (Facts::default(), None);
    }
    state
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn accepted_events_never_break_a_rule(commands in commands()) {
        let mut case = Case::new("A1234BC");
        for (effective_at, command) in commands {
            let before = case.history.clone();
            if case.give(effective_at, &command).is_err() {
                prop_assert_eq!(&before, &case.history);
            }
            let events: Vec<_> = entries_in_effect(&case.history).into_iter().map(|(_, at, event)| (at, event)).collect();
            prop_assert!(is_legal(&events), "after {:?}", command);
        }
    }

    /// A command that is legal on the past up to its effective time is legal backdated exactly if
    /// the later entries stay legal.
    #[test]
    fn backdated_is_accepted_exactly_when_the_whole_history_stays_legal(commands in commands()) {
        let mut case = Case::new("A1234BC");
        for (effective_at, command) in commands {
            let decided = case.decide(effective_at, &command);
            let in_effect = entries_in_effect(&case.history);
            let voids = match &command {
                Command::Void(void) => BTreeSet::from([void.revision]),
                Command::VoidEntries(voids) => voids.revisions.clone(),
                _ => BTreeSet::new(),
            };
            if !voids.is_empty() {
                let found = voids.iter().all(|void| in_effect.iter().any(|(revision, _, _)| revision == void));
                let retired = case.history.state().retired_into.is_some();
                let kept: Vec<_> = in_effect
                    .iter()
                    .filter(|(revision, _, _)| !voids.contains(revision))
                    .map(|(_, at, event)| (*at, event.clone()))
                    .collect();
                let merge = case.history.entries().iter().any(|entry| voids.contains(&entry.revision)
                    && matches!(entry.event, PrisonerEvent::PrisonerNumberMerged(_)));
                prop_assert_eq!(decided.is_ok(), found && !retired && !merge && is_legal(&kept), "{:?}", command);
            } else {
                let mut past = Case::new("A1234BC");
                let mut ordered: Vec<_> = in_effect.iter().filter(|(_, at, _)| *at <= effective_at).collect();
                ordered.sort_by_key(|(_, at, _)| *at);
                for (_, at, event) in ordered {
                    record(&mut past.history, *at, std::slice::from_ref(event));
                }
                let retired = case.history.state().retired_into.is_some();
                let expected = past.decide(effective_at, &command).is_ok_and(|events| {
                    let mut all: Vec<_> = in_effect.iter().map(|(_, at, event)| (*at, event.clone())).collect();
                    all.extend(events.into_iter().map(|event| (effective_at, event)));
                    !retired && is_legal(&all)
                });
                prop_assert_eq!(decided.is_ok(), expected, "{:?} gave {:?}", command, decided);
            }
            if let Ok(events) = decided {
                record(&mut case.history, effective_at, &events);
            }
        }
    }

    #[test]
    fn replaying_the_accepted_events_gives_the_same_state(commands in commands(), known in 0..30u64) {
        let mut case = Case::new("A1234BC");
        let mut as_known = case.history.clone();
        for (effective_at, command) in commands {
            let _ = case.give(effective_at, &command);
            if case.history.entries().len() as u64 <= known {
                as_known = case.history.clone();
            }
        }
        let history = &case.history;
        let replayed = History::from_entries(history.number().clone(), history.entries().to_vec());
        prop_assert_eq!(&replayed, history);
        prop_assert_eq!(replayed.state(), history.state());
        prop_assert_eq!(history.known_at_position(as_known.entries().len() as u64), as_known);
    }

    #[test]
    fn events_round_trip_through_json(commands in commands()) {
        let mut case = Case::new("A1234BC");
        for (effective_at, command) in commands {
            let _ = case.give(effective_at, &command);
        }
        let stream = Stream::Prisoner(case.history.number().clone());
        for Entry { event, .. } in case.history.entries() {
            let json = serde_json::to_string(event).expect("JSON");
            prop_assert_eq!(&serde_json::from_str::<PrisonerEvent>(&json).expect("an event"), event);
            let wrapped = Event::Prisoner(event.clone());
            let data = wrapped.serialize_data(serde_json::value::Serializer).expect("JSON");
            let read = Event::deserialize_data(&stream, wrapped.type_name(), data).expect("an event");
            prop_assert_eq!(read, wrapped);
        }
    }

    /// Periods adjoin, and what they say at an instant is what a fold up to that instant says.
    #[test]
    fn periods_agree_with_the_fold(commands in commands(), days in 0..700i64) {
        let mut case = Case::new("A1234BC");
        for (effective_at, command) in commands {
            let _ = case.give(effective_at, &command);
        }
        let periods = periods(&case.history);
        prop_assert!(periods.windows(2).all(|pair| pair[0].to == Some(pair[1].from)));
        prop_assert!(periods.iter().all(|period| period.to.is_none_or(|to| period.from < to)));
        prop_assert!(periods.iter().all(|period| period.responsible_since <= period.from));
        let instant = at("02-20") + TimeDelta::days(days);
        let state = case.history.state_at(instant);
        match period_at(&periods, instant) {
            Some(period) => {
                prop_assert_eq!(period.responsibility, responsibility(&state, instant));
                prop_assert_eq!(shown(&period.state), shown(&state));
            }
            None => prop_assert!(state == Default::default() || state.retired_into.is_some()),
        }
    }
}
