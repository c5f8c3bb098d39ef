//! Values and events for tests, each built in one place.

use chrono::{DateTime, SubsecRound as _, Utc};
use domain::{
    Event,
    event::RecordedBy,
    identifier::{CommandId, PrisonCode, StaffId},
    officer::PomStatus,
    prison::{PomStatusChanged, PrisonEvent},
    prisoner::{PrisonerEvent, PrisonerNumberRetired, TierAssigned},
    tier::TierSource,
};
use event_log::{Metadata, NewEvent, Salt, contract, encode};
use uuid::Uuid;

pub fn recorded_by(username: &str) -> RecordedBy {
    RecordedBy { username: Some(username.parse().expect("a username")), client: "test".to_owned(), auth_source: None }
}

/// The metadata of the events of a command.
pub fn metadata(effective_at: DateTime<Utc>, username: &str, command_id: CommandId) -> Metadata {
    let request_digest = "0".repeat(64);
    Metadata::new(effective_at, recorded_by(username), command_id, request_digest, command_id.0, None)
}

/// A moment that the log can hold: it counts in microseconds.
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// An event recorded now by a command of its own.
pub fn new_event(event: &Event) -> NewEvent {
    let now = now();
    let stream = contract::made_up_stream(Uuid::new_v4(), 0);
    encode(&stream, event, 0, &metadata(now, "TEST", CommandId(Uuid::new_v4())), now, Salt::random())
}

/// An event of the contract of stores, with a number in a run of the contract.
pub fn contract_event(run: Uuid, number: usize) -> NewEvent {
    contract::made_up_event(contract::made_up_event_id(run, number), Utc::now())
}

pub fn prison_code(code: &str) -> PrisonCode {
    code.parse().expect("a prison code")
}

pub fn staff_id(id: i64) -> StaffId {
    id.try_into().expect("a staff id")
}

/// A tier for a case, entered by hand.
pub fn manual_tier(tier: &str) -> TierAssigned {
    TierAssigned {
        tier: tier.parse().expect("a tier"),
        rosh_level: None,
        source: TierSource::Manual,
        crn: None,
        prison: None,
    }
}

/// The event of a tier that is entered by hand.
pub fn tier_assigned(tier: &str) -> Event {
    Event::Prisoner(PrisonerEvent::TierAssigned(manual_tier(tier)))
}

/// The first event of a merge: a prisoner number is retired for another.
pub fn number_retired(survivor: &str) -> Event {
    let survivor = survivor.parse().expect("a prisoner number");
    Event::Prisoner(PrisonerEvent::PrisonerNumberRetired(PrisonerNumberRetired { survivor }))
}

/// The event of a POM who becomes inactive.
pub fn pom_inactive(staff: i64) -> Event {
    Event::Prison(PrisonEvent::PomStatusChanged(PomStatusChanged {
        staff_id: staff_id(staff),
        status: PomStatus::Inactive,
        returns_on: None,
        reason: None,
    }))
}
