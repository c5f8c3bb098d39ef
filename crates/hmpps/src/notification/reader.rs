//! Reads the fact in a domain event. Publishers differ in how they write it: members that are not
//! needed are not looked at.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use domain::{identifier::PrisonerNumber, prisoner::ReceptionReason, text::Excerpt};
use serde_json::{Map, Value};

use super::{Deletion, DeletionReason, DeliusFact, Fact, Movement, PrisonerUpdate};
use crate::lookup::TierVersion;

const RELEASED: &str = "prisoner-offender-search.prisoner.released";
const RECEIVED: &str = "prisoner-offender-search.prisoner.received";
const MERGED: &str = "prison-offender-events.prisoner.merged";
const BOOKING_MOVED: &str = "prison-offender-events.prisoner.booking.moved";
const TIER_CHANGED: &str = "tier.calculation.changed";
const OFFENDER_MANAGER_CHANGED: &str = "OFFENDER_MANAGER_CHANGED";
const OFFENDER_OFFICER_CHANGED: &str = "OFFENDER_OFFICER_CHANGED";
const OFFENDER_DETAILS_CHANGED: &str = "OFFENDER_DETAILS_CHANGED";
const COM_ALLOCATED: &str = "person.community.manager.allocated";
const REGISTRATION_ADDED: &str = "probation-case.registration.added";
const REGISTRATION_UPDATED: &str = "probation-case.registration.updated";
const REGISTRATION_DELETED: &str = "probation-case.registration.deleted";
const REGISTRATION_ENDED: &str = "probation-case.registration.deregistered";
const MATCHED: &str = "probation-case.prison-identifier.added";
const CASES_MERGED: &str = "probation-case.merge.completed";
const CASES_UNMERGED: &str = "probation-case.unmerge.completed";
const CASE_DELETED: &str = "probation-case.deleted.gdpr";
const REMOVED: &str = "prisoner-offender-search.prisoner.removed";
const UPDATED: &str = "prisoner-offender-search.prisoner.updated";
const RETENTION_ENDED: &str = "DATA_COMPLIANCE_DELETE-OFFENDER";

/// The types that the ledger reads; all others are passed over unread.
pub const READ_TYPES: [&str; 20] = [
    RELEASED,
    RECEIVED,
    MERGED,
    BOOKING_MOVED,
    TIER_CHANGED,
    OFFENDER_MANAGER_CHANGED,
    OFFENDER_OFFICER_CHANGED,
    OFFENDER_DETAILS_CHANGED,
    COM_ALLOCATED,
    REGISTRATION_ADDED,
    REGISTRATION_UPDATED,
    REGISTRATION_DELETED,
    REGISTRATION_ENDED,
    MATCHED,
    CASES_MERGED,
    CASES_UNMERGED,
    CASE_DELETED,
    UPDATED,
    REMOVED,
    RETENTION_ENDED,
];

/// The types of registration in Delius that say how high the risk of serious harm is: very high,
/// high, medium and low. Others say nothing that the ledger keeps.
const ROSH_REGISTER_TYPES: [&str; 4] = ["RVHR", "RHRH", "RMRH", "RLRH"];

pub(super) fn read_fact(event_type: &str, event: &Map<String, Value>) -> Result<Fact, String> {
    let nothing = Map::new();
    let information = event.get("additionalInformation").and_then(Value::as_object).unwrap_or(&nothing);
    match event_type {
        RELEASED => {
            let movement = || read_movement(event, information);
            match text(information, "reason")?.as_str() {
                "RELEASED" => movement().map(Fact::Released),
                "TRANSFERRED" => movement().map(Fact::TransferredOut),
                "TEMPORARY_ABSENCE_RELEASE" | "RELEASED_TO_HOSPITAL" | "SENT_TO_COURT" => Ok(Fact::Irrelevant),
                other => Err(format!("its reason is `{}`, which the ledger does not know", Excerpt(other))),
            }
        }
        RECEIVED => {
            let reason = match text(information, "reason")?.as_str() {
                "NEW_ADMISSION" => ReceptionReason::NewAdmission,
                "READMISSION" => ReceptionReason::Readmission,
                "READMISSION_SWITCH_BOOKING" => ReceptionReason::ReadmissionSwitchBooking,
                "TRANSFERRED" => ReceptionReason::Transferred,
                "RETURN_FROM_COURT" | "TEMPORARY_ABSENCE_RETURN" | "POST_MERGE_ADMISSION" => {
                    return Ok(Fact::Irrelevant);
                }
                other => return Err(format!("its reason is `{}`, which the ledger does not know", Excerpt(other))),
            };
            Ok(Fact::Received(read_movement(event, information)?, reason))
        }
        MERGED => Ok(Fact::Merged {
            kept: number(information, "nomsNumber")?,
            removed: number(information, "removedNomsNumber")?,
            at: occurred_at(event)?,
        }),
        BOOKING_MOVED => Ok(Fact::BookingMoved {
            from: number(information, "movedFromNomsNumber")?,
            to: number(information, "movedToNomsNumber")?,
        }),
        UPDATED => {
            let categories = information.get("categoriesChanged").and_then(Value::as_array);
            let has = |category: &str| categories.into_iter().flatten().any(|changed| changed == category);
            let (status, sentence) = (has("STATUS"), has("SENTENCE"));
            if !status && !sentence {
                return Ok(Fact::Irrelevant);
            }
            let (number, at) = (number(information, "nomsNumber")?, occurred_at(event)?);
            Ok(Fact::Updated(PrisonerUpdate { number, status, sentence, at }))
        }
        REMOVED => {
            Ok(Fact::Deletion(Deletion { number: number(information, "nomsNumber")?, reason: DeletionReason::Removed }))
        }
        // Of the older topic, whose messages are not wrapped as the others are.
        RETENTION_ENDED => Ok(Fact::Deletion(Deletion {
            number: identifier(event, "offenderIdDisplay", "prisoner number")?,
            reason: DeletionReason::Retention,
        })),
        _ => read_delius_fact(event_type, event, information),
    }
}

fn read_delius_fact(
    event_type: &str,
    event: &Map<String, Value>,
    information: &Map<String, Value>,
) -> Result<Fact, String> {
    let fact = match event_type {
        TIER_CHANGED => DeliusFact::TierChanged {
            crn: referred(event, "CRN")?,
            version: event.get("detailUrl").and_then(Value::as_str).and_then(TierVersion::of_address),
        },
        // Of the older topic, whose messages are not wrapped as the others are.
        OFFENDER_MANAGER_CHANGED | OFFENDER_OFFICER_CHANGED | OFFENDER_DETAILS_CHANGED => {
            DeliusFact::RecordChanged { crn: identifier(event, "crn", "CRN")? }
        }
        COM_ALLOCATED => DeliusFact::RecordChanged { crn: referred(event, "CRN")? },
        REGISTRATION_ADDED | REGISTRATION_UPDATED | REGISTRATION_DELETED | REGISTRATION_ENDED => {
            match given_text(information.get("registerTypeCode")) {
                Some(code) if !ROSH_REGISTER_TYPES.contains(&code.as_str()) => return Ok(Fact::Irrelevant),
                _ => DeliusFact::RecordChanged { crn: referred(event, "CRN")? },
            }
        }
        MATCHED => DeliusFact::Matched {
            crn: referred(event, "CRN")?,
            number: referred(event, "NOMS")?,
            at: occurred_at(event)?,
        },
        CASES_MERGED => DeliusFact::Merged {
            source: identifier(information, "sourceCRN", "CRN")?,
            target: identifier(information, "targetCRN", "CRN")?,
            at: occurred_at(event)?,
        },
        CASES_UNMERGED => DeliusFact::Unmerged {
            reactivated: identifier(information, "reactivatedCRN", "CRN")?,
            unmerged: identifier(information, "unmergedCRN", "CRN")?,
        },
        CASE_DELETED => DeliusFact::Deleted { crn: referred(event, "CRN")? },
        _ => return Ok(Fact::Irrelevant),
    };
    Ok(Fact::InDelius(fact))
}

fn read_movement(event: &Map<String, Value>, information: &Map<String, Value>) -> Result<Movement, String> {
    let prison = text(information, "prisonId")?;
    let prison = prison.parse().map_err(|_| format!("its prisonId is `{}`, which is no prison", Excerpt(&prison)))?;
    Ok(Movement { number: number(information, "nomsNumber")?, prison, at: occurred_at(event)? })
}

/// A member of the additional information: trimmed, in capital letters.
fn text(information: &Map<String, Value>, member: &str) -> Result<String, String> {
    given_text(information.get(member)).ok_or_else(|| format!("it has no {member} in additionalInformation"))
}

fn given_text(value: Option<&Value>) -> Option<String> {
    value?.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_ascii_uppercase)
}

fn number(information: &Map<String, Value>, member: &str) -> Result<PrisonerNumber, String> {
    let text = text(information, member)?;
    text.parse().map_err(|_| format!("its {member} is `{}`, which is no prisoner number", Excerpt(&text)))
}

/// The identifier that a member names.
fn identifier<T: FromStr>(members: &Map<String, Value>, member: &str, what: &str) -> Result<T, String> {
    let text = given_text(members.get(member)).ok_or_else(|| format!("it has no {member}"))?;
    text.parse().map_err(|_| format!("its {member} is `{}`, which is no {what}", Excerpt(&text)))
}

/// The identifier of a type by which a message refers to its person.
fn referred<T: FromStr>(event: &Map<String, Value>, identifier_type: &str) -> Result<T, String> {
    let identifiers = event.get("personReference").and_then(|reference| reference["identifiers"].as_array());
    let mut of_type = identifiers.into_iter().flatten().filter(|entry| entry["type"] == *identifier_type);
    let text = of_type.find_map(|entry| given_text(entry.get("value")));
    let text = text.ok_or_else(|| format!("it has no {identifier_type} in personReference"))?;
    text.parse().map_err(|_| format!("its {identifier_type} is `{}`, which is none", Excerpt(&text)))
}

fn occurred_at(event: &Map<String, Value>) -> Result<DateTime<Utc>, String> {
    let Some(text) = event.get("occurredAt").and_then(Value::as_str) else {
        return Err("it has no occurredAt".to_owned());
    };
    let instant = DateTime::parse_from_rfc3339(text.trim());
    let instant =
        instant.map_err(|_| format!("its occurredAt is `{}`, which is no instant with an offset", Excerpt(text)))?;
    Ok(instant.to_utc())
}
