//! The plan for a message, by the histories of the cases that it is about, and by what was looked
//! up (`finding`). It is pure; the rules of the domain are asked afterwards, by the command side.

mod finding;

use chrono::{DateTime, Utc};
use domain::{
    identifier::PrisonerNumber,
    prisoner::{Command, History, Received, ReceptionReason, Release, State, Transfer},
};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::notification::{Deletion, DeletionReason, Fact, Movement};

pub(crate) use self::finding::{Finding, FoundFact, MESSAGES_CLIENT, plan_finding};

/// The plan for a message.
#[derive(Debug, Clone, PartialEq)]
pub enum MessagePlan {
    /// A command to the case of a number.
    Record {
        /// The number.
        number: PrisonerNumber,
        /// The operation, in the words of the HTTP API: it is a part of the command's id.
        operation: &'static str,
        /// The command.
        command: Command,
    },
    /// Merge a number into another.
    Merge {
        /// The number that stays.
        kept: PrisonerNumber,
        /// The number that goes.
        removed: PrisonerNumber,
    },
    /// Nothing, and why.
    PassOver(PassReason),
    /// Nothing until a person has decided, and why.
    Park(ParkReason, String),
}

/// Why nothing is recorded of a message that is in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassReason {
    /// It is of a type, or for a reason, of which the ledger records nothing.
    Irrelevant,
    /// The ledger does not know the person.
    UnknownPerson,
    /// The ledger has it already.
    AlreadyHeld,
    /// A person has decided that nothing is to be recorded of it.
    Dismissed,
}

/// Why a message waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ParkReason {
    /// It cannot be read.
    Unreadable,
    /// A rule of the ledger refuses it.
    Refused,
    /// A person has to say what it means for the case.
    NeedsDecision,
    /// It says that a person's data are deleted elsewhere: a person has to decide about those here.
    Deletion,
    /// The ledger could not record it, by a fault of its own.
    Failed,
}

/// The end of a try to take a message in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntakeOutcome {
    /// It was recorded, now or when it came before.
    Recorded,
    /// Nothing is to be recorded of it.
    PassedOver(PassReason),
    /// It waits for a person.
    Parked,
}

impl IntakeOutcome {
    /// The word for it in answers and in the output of tools.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Recorded => "RECORDED",
            Self::PassedOver(PassReason::AlreadyHeld) => "ALREADY_HELD",
            Self::PassedOver(PassReason::UnknownPerson) => "UNKNOWN_PERSON",
            Self::PassedOver(PassReason::Irrelevant) => "IRRELEVANT",
            Self::PassedOver(PassReason::Dismissed) => "DISMISSED",
            Self::Parked => "PARKED",
        }
    }
}

impl ParkReason {
    /// The word that is kept and shown.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unreadable => "UNREADABLE",
            Self::Refused => "REFUSED",
            Self::NeedsDecision => "NEEDS_DECISION",
            Self::Deletion => "DELETION",
            Self::Failed => "FAILED",
        }
    }
}

impl Fact {
    /// Whether an earlier fact that is heard of late can make something of this one, which was
    /// passed over.
    pub(crate) fn may_mean_more_later(&self, passed_over: PassReason) -> bool {
        match (passed_over, self) {
            (PassReason::UnknownPerson, Self::InDelius(_)) => false,
            (PassReason::UnknownPerson, _) => self.occurred_at().is_some(),
            (PassReason::AlreadyHeld, Self::Released(_) | Self::TransferredOut(_) | Self::Received(..)) => true,
            (
                PassReason::AlreadyHeld,
                Self::Merged { .. }
                | Self::BookingMoved { .. }
                | Self::Updated(_)
                | Self::Deletion(_)
                | Self::InDelius(_)
                | Self::Irrelevant,
            )
            | (PassReason::Irrelevant | PassReason::Dismissed, _) => false,
        }
    }
}

/// Plans what to do with a fact as it is told, given the histories of [`Fact::numbers`] in their
/// order. An update, or a fact of Delius, tells nothing by itself: see `plan_finding`.
#[must_use]
pub fn plan(fact: &Fact, cases: &[History]) -> MessagePlan {
    let is_unknown = !cases.iter().any(|case| is_known_at(case, fact));
    match fact {
        Fact::Updated(_) | Fact::InDelius(_) | Fact::Irrelevant => MessagePlan::PassOver(PassReason::Irrelevant),
        Fact::Received(movement, reason) if is_unknown || *reason != ReceptionReason::Transferred => {
            let received = Received { prison: movement.prison.clone(), reason: *reason };
            record(movement, "receive", Command::Receive(received))
        }
        Fact::BookingMoved { from, to } => move_booking(from, to, cases),
        Fact::Deletion(deletion) => await_erasure(deletion, cases),
        _ if is_unknown => MessagePlan::PassOver(PassReason::UnknownPerson),
        Fact::Received(movement, _) => transfer(movement, movement.prison.clone()),
        Fact::Released(movement) => {
            let release = Release { prison: Some(movement.prison.clone()) };
            record(movement, "release", Command::Release(release))
        }
        Fact::TransferredOut(movement) => leave(movement, cases),
        Fact::Merged { kept, removed, .. } => MessagePlan::Merge { kept: kept.clone(), removed: removed.clone() },
    }
}

/// Whether the ledger knows something of a person at the time of a fact. Two numbers are one
/// person's at all times, so that a merge looks at everything that is known.
fn is_known_at(case: &History, fact: &Fact) -> bool {
    match fact {
        Fact::Merged { .. }
        | Fact::BookingMoved { .. }
        | Fact::Updated(_)
        | Fact::Deletion(_)
        | Fact::InDelius(_)
        | Fact::Irrelevant => !case.is_empty(),
        Fact::Released(movement) | Fact::TransferredOut(movement) | Fact::Received(movement, _) => {
            case.in_effective_order().first().is_some_and(|entry| entry.effective_at <= movement.at)
        }
    }
}

/// A booking went to another number. A number that was merged has nothing any more: its case goes
/// on under the survivor.
fn move_booking(from: &PrisonerNumber, to: &PrisonerNumber, cases: &[History]) -> MessagePlan {
    let Some(case) = cases.first() else { return MessagePlan::PassOver(PassReason::Irrelevant) };
    match case.retirement() {
        Some((_, survivor)) if survivor == to => MessagePlan::PassOver(PassReason::AlreadyHeld),
        None if has_something_to_lose(case) => {
            let why = format!(
                "A booking of {from} went to {to}, and {from} has a POM, a handover plan or an override. Say under which \
                 number the case goes on."
            );
            MessagePlan::Park(ParkReason::NeedsDecision, why)
        }
        _ => MessagePlan::PassOver(PassReason::Irrelevant),
    }
}

/// NOMIS has no data of a person any more. A number that is gone because it was merged is no reason
/// to delete anything: the case goes on under the survivor.
fn await_erasure(deletion: &Deletion, cases: &[History]) -> MessagePlan {
    let Deletion { number, reason } = deletion;
    let why = match reason {
        _ if cases.iter().all(History::is_empty) => return MessagePlan::PassOver(PassReason::UnknownPerson),
        DeletionReason::Removed if cases.iter().any(|case| case.retirement().is_some()) => {
            return MessagePlan::PassOver(PassReason::AlreadyHeld);
        }
        DeletionReason::Removed => "was removed from NOMIS",
        DeletionReason::Retention => "was deleted in NOMIS, as its time to be kept is over",
    };
    MessagePlan::Park(ParkReason::Deletion, format!("{number} {why}. Decide about what the ledger has of the person."))
}

fn record(movement: &Movement, operation: &'static str, command: Command) -> MessagePlan {
    MessagePlan::Record { number: movement.number.clone(), operation, command }
}

fn transfer(movement: &Movement, to_prison: domain::identifier::PrisonCode) -> MessagePlan {
    record(movement, "transfer", Command::Transfer(Transfer { to_prison }))
}

/// A person left a prison for another one. The message of the arrival may have come before this
/// one: then the ledger knows more than this message says.
fn leave(movement: &Movement, cases: &[History]) -> MessagePlan {
    let Some(case) = cases.first() else { return MessagePlan::PassOver(PassReason::UnknownPerson) };
    let then = case.state_at(movement.at);
    let (number, left) = (&movement.number, &movement.prison);
    match then.prison {
        Some(prison) if prison.is_in_transit() => MessagePlan::PassOver(PassReason::AlreadyHeld),
        Some(prison) if prison == *left && arrives_elsewhere(case, movement) => {
            MessagePlan::PassOver(PassReason::AlreadyHeld)
        }
        Some(prison) if prison != *left => {
            let why = format!("The message says that {number} left {left}, and the case was at {prison}.");
            MessagePlan::Park(ParkReason::NeedsDecision, why)
        }
        None if then.left_at.is_some() && is_later(case, movement.at, |state| state.left_at.is_none()) => {
            MessagePlan::PassOver(PassReason::AlreadyHeld)
        }
        // A transfer would bring the person back into custody.
        None if then.left_at.is_some() => {
            let why = format!("The message says that {number} left {left} for another prison, after a release.");
            MessagePlan::Park(ParkReason::NeedsDecision, why)
        }
        Some(_) | None => transfer(movement, "TRN".parse().expect("the code of being in transit")),
    }
}

/// Whether the person next comes to another prison, or is on the way there. After a release they
/// are at none.
fn arrives_elsewhere(case: &History, left: &Movement) -> bool {
    let mut state = case.state_at(left.at);
    let mut prisons = case.in_effective_order().into_iter().filter(|entry| entry.effective_at > left.at).map(|entry| {
        state.apply(entry);
        state.prison.clone()
    });
    prisons.find(|prison| prison.as_ref() != Some(&left.prison)).flatten().is_some()
}

/// Whether something holds of a case after a later entry.
fn is_later(case: &History, at: DateTime<Utc>, holds: impl Fn(&State) -> bool) -> bool {
    let mut state = case.state_at(at);
    case.in_effective_order().iter().filter(|entry| entry.effective_at > at).any(|entry| {
        state.apply(entry);
        holds(&state)
    })
}

/// Whether a case has what must not stay behind with a number that is no longer the person's.
fn has_something_to_lose(case: &History) -> bool {
    let state = case.state();
    state.roles().next().is_some() || state.arrangements != domain::prisoner::Arrangements::default()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use domain::{
        Entry,
        event::RecordedBy,
        identifier::{CommandId, EventId},
        prisoner::PrisonerEvent,
    };
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    pub(super) fn at(day: i64) -> DateTime<Utc> {
        let first: DateTime<Utc> = "2026-03-01T09:00:00Z".parse().expect("an instant");
        first + TimeDelta::days(day)
    }

    /// A case with events, each of the day with its number.
    pub(super) fn case(events: &[(&str, Value)]) -> History {
        let entry = |(revision, (type_name, data)): (u64, &(&str, Value))| Entry {
            event_id: EventId(Uuid::from_u128(revision.into())),
            revision,
            position: revision + 1,
            effective_at: at(revision.cast_signed()),
            recorded_at: at(100),
            recorded_by: RecordedBy { username: None, client: "tests".to_owned(), auth_source: None },
            command_id: CommandId(Uuid::from_u128(revision.into())),
            event: PrisonerEvent::deserialize_data(type_name, data.clone()).expect("an event"),
        };
        History::from_entries("A1234BC".parse().expect("a number"), (0..).zip(events).map(entry).collect())
    }

    pub(super) fn received(prison: &str) -> (&'static str, Value) {
        ("Received", json!({"prison": prison, "reason": "NEW_ADMISSION"}))
    }

    fn transferred(from: &str, to: &str) -> (&'static str, Value) {
        ("Deallocated", json!({"prison": from, "trigger": "TRANSFERRED", "toPrison": to}))
    }

    fn released(from: &str) -> (&'static str, Value) {
        ("Deallocated", json!({"prison": from, "trigger": "RELEASED"}))
    }

    fn moved(prison: &str, day: i64) -> Movement {
        let prison = prison.parse().expect("a prison");
        Movement { number: "A1234BC".parse().expect("a number"), prison, at: at(day) }
    }

    /// A plan in a few words.
    fn in_words(plan: &MessagePlan) -> String {
        match plan {
            MessagePlan::Record { operation, command: Command::Transfer(transfer), .. } => {
                format!("{operation} {}", transfer.to_prison)
            }
            MessagePlan::Record { operation, .. } => (*operation).to_owned(),
            MessagePlan::Merge { .. } => "merge".to_owned(),
            MessagePlan::PassOver(why) => IntakeOutcome::PassedOver(*why).word().to_owned(),
            MessagePlan::Park(reason, _) => reason.word().to_owned(),
        }
    }

    #[test]
    fn a_departure_is_a_transfer_unless_the_ledger_knows_more() {
        let here = case(&[received("LEI")]);
        let gone = case(&[received("LEI"), transferred("LEI", "TRN")]);
        let arrived = case(&[received("LEI"), transferred("LEI", "MDI")]);
        let returned = case(&[received("LEI"), transferred("LEI", "MDI"), transferred("MDI", "LEI")]);
        let free = case(&[received("LEI"), released("LEI")]);
        let elsewhere = case(&[received("LEI"), released("LEI"), received("MDI")]);
        let received_elsewhere = case(&[received("LEI"), received("MDI")]);
        let back = case(&[received("LEI"), released("LEI"), received("LEI"), received("LEI")]);
        for (what, case, day, expected) in [
            ("unknown", case(&[]), 1, "UNKNOWN_PERSON"),
            ("here", here.clone(), 1, "transfer TRN"),
            ("before the case begins", here, -1, "UNKNOWN_PERSON"),
            ("on the way, told once more", gone.clone(), 2, "ALREADY_HELD"),
            ("on the way, told late", gone, 0, "ALREADY_HELD"),
            ("arrived before the message", arrived.clone(), 0, "ALREADY_HELD"),
            ("went and came back before the message", returned.clone(), 0, "ALREADY_HELD"),
            ("leaves again after that", returned, 3, "transfer TRN"),
            ("at another prison", arrived, 2, "NEEDS_DECISION"),
            ("released after it", free.clone(), 0, "transfer TRN"),
            ("released after it, and received elsewhere since", elsewhere, 0, "transfer TRN"),
            ("received elsewhere after it", received_elsewhere, 0, "ALREADY_HELD"),
            ("released, and never received again", free, 2, "NEEDS_DECISION"),
            ("released then, and received since", back, 1, "ALREADY_HELD"),
        ] {
            let planned = plan(&Fact::TransferredOut(moved("LEI", day)), &[case]);
            assert_eq!(in_words(&planned), expected, "{what}");
        }
    }

    #[test]
    fn what_happens_before_a_case_begins_is_of_an_unknown_person() {
        let known = case(&[received("LEI")]);
        for (what, fact, expected) in [
            ("a release", Fact::Released(moved("LEI", -1)), "UNKNOWN_PERSON"),
            ("a release later", Fact::Released(moved("LEI", 1)), "release"),
            ("an arrival", Fact::Received(moved("LEI", -1), ReceptionReason::Transferred), "receive"),
            ("an arrival later", Fact::Received(moved("MDI", 1), ReceptionReason::Transferred), "transfer MDI"),
        ] {
            assert_eq!(in_words(&plan(&fact, std::slice::from_ref(&known))), expected, "{what}");
        }
    }

    #[test]
    fn a_booking_leaves_nothing_behind_with_a_number_that_was_merged() {
        let planned = ("ResponsibilityOverridden", json!({"responsible": "PRISON", "reason": "OTHER", "detail": "x"}));
        let retired = ("PrisonerNumberRetired", json!({"survivor": "B2222BB"}));
        let (unknown, with_override) = (case(&[]), case(std::slice::from_ref(&planned)));
        for (what, from, to, expected) in [
            ("a case with an override", with_override, "B2222BB", "NEEDS_DECISION"),
            ("a case with nothing", case(&[received("LEI")]), "B2222BB", "IRRELEVANT"),
            ("no case", unknown.clone(), "B2222BB", "IRRELEVANT"),
            ("merged into that number", case(&[planned.clone(), retired.clone()]), "B2222BB", "ALREADY_HELD"),
            ("merged into another", case(&[planned, retired]), "C3333CC", "IRRELEVANT"),
        ] {
            let [from_number, to] = ["A1234BC", to].map(|number| number.parse().expect("a number"));
            let fact = Fact::BookingMoved { from: from_number, to };
            assert_eq!(in_words(&plan(&fact, &[from, unknown.clone()])), expected, "{what}");
        }
    }

    #[test]
    fn a_deletion_waits_for_a_person_where_the_ledger_has_a_case_that_goes_on() {
        let retired = case(&[received("LEI"), ("PrisonerNumberRetired", json!({"survivor": "B2222BB"}))]);
        for (what, reason, case, expected) in [
            ("removed", DeletionReason::Removed, case(&[received("LEI")]), "DELETION"),
            ("removed, unknown", DeletionReason::Removed, case(&[]), "UNKNOWN_PERSON"),
            ("removed after a merge", DeletionReason::Removed, retired.clone(), "ALREADY_HELD"),
            ("retention", DeletionReason::Retention, case(&[received("LEI")]), "DELETION"),
            ("retention after a merge", DeletionReason::Retention, retired, "DELETION"),
            ("retention, unknown", DeletionReason::Retention, case(&[]), "UNKNOWN_PERSON"),
        ] {
            let fact = Fact::Deletion(Deletion { number: "A1234BC".parse().expect("a number"), reason });
            assert_eq!(in_words(&plan(&fact, &[case])), expected, "{what}");
        }
    }

    #[test]
    fn movements_that_are_passed_over_may_mean_more_once_an_earlier_one_is_heard_of() {
        let release = Fact::Released(moved("LEI", 1));
        let [kept, removed] = ["A1234BC", "B2222BB"].map(|number| number.parse().expect("a number"));
        let merged = Fact::Merged { kept, removed, at: at(1) };
        for (fact, why, expected) in [
            (&release, PassReason::UnknownPerson, true),
            (&release, PassReason::AlreadyHeld, true),
            (&release, PassReason::Dismissed, false),
            (&merged, PassReason::UnknownPerson, true),
            (&merged, PassReason::AlreadyHeld, false),
            (&Fact::Irrelevant, PassReason::Irrelevant, false),
        ] {
            assert_eq!(fact.may_mean_more_later(why), expected, "{fact:?} {why:?}");
        }
    }
}
