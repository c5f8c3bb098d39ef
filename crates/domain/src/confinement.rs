//! The prisons that a caller is confined to, and what such a caller may see and record (rule 12).
//!
//! The case counts as it is now: neither the time that a question is about nor the effective time
//! of a command makes a difference.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    Refusal, Rule,
    identifier::{PrisonCode, PrisonerNumber},
    prisoner::{Command, History, State, refuse_retired_number},
};

/// The prisons of a caller.
pub type Prisons = Arc<BTreeSet<PrisonCode>>;

/// The prisons that a caller is confined to. By default it is confined to none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Confinement(Option<Prisons>);

impl From<Option<Prisons>> for Confinement {
    /// Confines to these prisons; to none where there is no such list.
    fn from(prisons: Option<Prisons>) -> Self {
        Self(prisons)
    }
}

impl Confinement {
    /// The prisons; `None` where the caller is not confined.
    #[must_use]
    pub fn prisons(&self) -> Option<&BTreeSet<PrisonCode>> {
        self.0.as_deref()
    }

    /// Whether a case at a prison is the caller's. A case at no prison is not that of a confined
    /// caller.
    #[must_use]
    pub fn has(&self, prison: Option<&PrisonCode>) -> bool {
        self.prisons().is_none_or(|prisons| prison.is_some_and(|prison| prisons.contains(prison)))
    }

    /// Refuses a prison that is not the caller's.
    ///
    /// # Errors
    /// `prison-not-yours`.
    pub fn check_prison(&self, prison: &PrisonCode) -> Result<(), Refusal> {
        if self.has(Some(prison)) {
            return Ok(());
        }
        let sentence =
            format!("{prison} is not one of your prisons. If it should be, ask whoever gives you your caseloads.");
        Err(Refusal::new(Rule::PrisonNotYours, sentence))
    }

    /// Refuses a case that is not the caller's, by the prison at which it is now. The refusal is
    /// the same for a number that the ledger does not know, so that it tells nothing about one.
    ///
    /// # Errors
    /// `prison-not-yours`.
    pub fn check_case(&self, number: &PrisonerNumber, prison: Option<&PrisonCode>) -> Result<(), Refusal> {
        if self.has(prison) { Ok(()) } else { Err(refuse_case(number)) }
    }

    /// Refuses a command to a case that is not the caller's. A case that no POM holds may be
    /// received at a prison of the caller's: by a tier that names it, or by an allocation there.
    ///
    /// # Errors
    /// `prison-not-yours`, or `prisoner-number-retired`, whose survivor may not be the caller's.
    pub fn check_command(&self, history: &History, command: &Command) -> Result<(), Refusal> {
        if self.0.is_none() {
            return Ok(());
        }
        if let Some((_, survivor)) = history.retirement() {
            return Err(refuse_retired_number(history.number(), survivor));
        }
        let arrival = command.prison_of_arrival();
        if let Some(named) = arrival.or(command.prison_of_new_role()) {
            self.check_prison(named)?;
        }
        let state = history.state();
        let is_held = state.roles().next().is_some();
        let may_arrive = arrival.is_some() && !is_held;
        // The other number of a merge may never have been at a prison.
        let may_retire = matches!(command, Command::Retire(_)) && is_nowhere(&state);
        if may_arrive || may_retire { Ok(()) } else { self.check_case(history.number(), state.prison.as_ref()) }
    }

    /// Refuses a merge where the case of one of the numbers is at a prison that is not the
    /// caller's, or neither is at one that is. Each number comes with the history that its case
    /// goes on under now. The refusal has the caller's number: that of the history may be another
    /// prison's.
    ///
    /// # Errors
    /// `prison-not-yours`.
    pub fn check_merge(
        &self,
        survivor: (&PrisonerNumber, &History),
        removed: (&PrisonerNumber, &History),
    ) -> Result<(), Refusal> {
        if self.0.is_none() {
            return Ok(());
        }
        let states = [survivor, removed].map(|(number, history)| (number, history.state()));
        for (number, state) in &states {
            if !is_nowhere(state) {
                self.check_case(number, state.prison.as_ref())?;
            }
        }
        let is_any_own = states.iter().any(|(_, state)| self.has(state.prison.as_ref()));
        if is_any_own { Ok(()) } else { Err(refuse_case(survivor.0)) }
    }
}

/// Whether the case is at no prison, and no POM holds it.
fn is_nowhere(state: &State) -> bool {
    state.prison.is_none() && state.roles().next().is_none()
}

fn refuse_case(number: &PrisonerNumber) -> Refusal {
    let sentence = format!(
        "No case of {number} is held or waits at your prisons. Check the number. If the person has come to one of them, \
         record a tier that names that prison, once no POM of another prison holds the case."
    );
    Refusal::new(Rule::PrisonNotYours, sentence)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::{
        Entry,
        event::RecordedBy,
        identifier::{CommandId, EventId},
        prisoner::{
            Allocate, AllocateCoworker, ChoiceReasons, EntryVoided, PrisonerEvent, PrisonerNumberRetired, Reallocate,
            Release, TierAssigned, Transfer,
        },
        tier::TierSource,
    };

    fn code(text: &str) -> PrisonCode {
        text.parse().expect("a prison")
    }

    fn leeds() -> Confinement {
        Confinement::from(Some(Arc::new([code("LEI")].into())))
    }

    /// The history of events, each of a day of its own.
    fn history(events: &[(&str, Value)]) -> History {
        let first: DateTime<Utc> = "2026-01-01T09:00:00Z".parse().expect("an instant");
        let entry = |(revision, (type_name, data)): (u64, &(&str, Value))| Entry {
            event_id: EventId(Uuid::from_u128(revision.into())),
            revision,
            position: revision + 1,
            effective_at: first,
            recorded_at: first,
            recorded_by: RecordedBy { username: None, client: "tests".to_owned(), auth_source: None },
            command_id: CommandId(Uuid::from_u128(revision.into())),
            event: PrisonerEvent::deserialize_data(type_name, data.clone()).expect("an event"),
        };
        History::from_entries("A1234BC".parse().expect("a number"), (0..).zip(events).map(entry).collect())
    }

    fn tier(prison: &str) -> (&'static str, Value) {
        ("TierAssigned", json!({"tier": "C1", "source": "MANUAL", "prison": prison}))
    }

    fn allocation(prison: &str) -> (&'static str, Value) {
        let pom = json!({"staffId": 1, "name": "Shah, Priya", "kind": "PRISON"});
        ("AllocationMade", json!({"prison": prison, "pom": pom, "tier": "C1", "recommendationPolicy": "TIER"}))
    }

    fn departure(trigger: &str, prison: &str, to_prison: Option<&str>) -> (&'static str, Value) {
        let pom = json!({"staffId": 1, "name": "Shah, Priya", "kind": "PRISON"});
        let mut data = json!({"prison": prison, "pom": pom, "trigger": trigger});
        if let Some(to_prison) = to_prison {
            data["toPrison"] = json!(to_prison);
        }
        ("Deallocated", data)
    }

    /// The commands that a caller of Leeds may send to a case, in their order: a tier that names
    /// LEI, one that names MDI, one that names none, an allocation at LEI, one at MDI, a
    /// reallocation at LEI, a co-working POM at LEI, a release, a transfer, a void, a retirement.
    fn permitted(history: &History) -> String {
        let tier = |prison: Option<&str>| {
            Command::AssignTier(TierAssigned {
                tier: "C1".parse().expect("a tier"),
                rosh_level: None,
                source: TierSource::Manual,
                crn: None,
                prison: prison.map(code),
            })
        };
        let staff_id = 1.try_into().expect("a staff id");
        let reasons = ChoiceReasons::default;
        let allocate = |prison| Command::Allocate(Allocate { prison: code(prison), staff_id, reasons: reasons() });
        let reallocate = Command::Reallocate(Reallocate {
            prison: code("LEI"),
            staff_id,
            expected_holder: None,
            reason: "Leaving".to_owned(),
            reasons: reasons(),
        });
        let commands = [
            tier(Some("LEI")),
            tier(Some("MDI")),
            tier(None),
            allocate("LEI"),
            allocate("MDI"),
            reallocate,
            Command::AllocateCoworker(AllocateCoworker { prison: code("LEI"), staff_id }),
            Command::Release(Release { prison: None }),
            Command::Transfer(Transfer { to_prison: code("MDI") }),
            Command::Void(EntryVoided { revision: 0, reason: "Another person".to_owned() }),
            Command::Retire(PrisonerNumberRetired { survivor: "A9999ZZ".parse().expect("a number") }),
        ];
        commands.iter().map(|command| if leeds().check_command(history, command).is_ok() { 'y' } else { '-' }).collect()
    }

    #[test]
    fn rule_12_a_confined_caller_changes_the_cases_of_its_prisons_and_receives_free_ones() {
        let [lei, mdi] = ["LEI", "MDI"].map(|prison| vec![tier(prison), allocation(prison)]);
        let left = |mut events: Vec<_>, departure| {
            events.push(departure);
            history(&events)
        };
        for (what, history, expected) in [
            ("not known", history(&[]), "y--y------y"),
            ("held here", history(&lei), "y-yy-yyyyyy"),
            ("held elsewhere", history(&mdi), "-----------"),
            ("waits here", history(&lei[..1]), "y-yy-yyyyyy"),
            ("waits elsewhere", history(&mdi[..1]), "y--y-------"),
            ("released here", left(lei.clone(), departure("RELEASED", "LEI", None)), "y--y------y"),
            ("gone elsewhere", left(lei.clone(), departure("TRANSFERRED", "LEI", Some("MDI"))), "y--y-------"),
            ("on the way", left(lei.clone(), departure("TRANSFERRED", "LEI", Some("TRN"))), "y--y-------"),
            ("come from elsewhere", left(mdi, departure("TRANSFERRED", "MDI", Some("LEI"))), "y-yy-yyyyyy"),
        ] {
            assert_eq!(permitted(&history), expected, "{what}");
        }
        let retired = left(lei, ("PrisonerNumberRetired", json!({"survivor": "A9999ZZ"})));
        let release = Command::Release(Release { prison: None });
        let refusal = leeds().check_command(&retired, &release).expect_err("retired");
        assert_eq!(refusal.rule, Rule::PrisonerNumberRetired);
        assert!(Confinement::default().check_command(&retired, &release).is_ok(), "for the other rules to refuse");
    }

    #[test]
    fn both_numbers_of_a_merge_are_the_callers_or_at_no_prison() {
        let (unknown, lei, mdi) = (history(&[]), history(&[tier("LEI")]), history(&[tier("MDI")]));
        for (survivor, removed, is_permitted) in [
            (&lei, &lei, true),
            (&lei, &unknown, true),
            (&unknown, &lei, true),
            (&lei, &mdi, false),
            (&mdi, &lei, false),
            (&unknown, &unknown, false),
        ] {
            // Numbers that were retired, whose cases go on under those of the histories.
            let asked = ["A2222BB", "A3333CC"].map(|number| number.parse().expect("a number"));
            let merge = |caller: Confinement| caller.check_merge((&asked[0], survivor), (&asked[1], removed));
            let refused = merge(leeds());
            assert_eq!(refused.is_ok(), is_permitted);
            assert!(merge(Confinement::default()).is_ok());
            if let Err(refusal) = refused {
                let named = if removed == &mdi { "A3333CC" } else { "A2222BB" };
                assert!(refusal.sentence.contains(named) && !refusal.sentence.contains("A1234BC"), "{refusal:?}");
            }
        }
    }
}
