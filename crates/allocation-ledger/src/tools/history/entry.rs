//! An event of a case in words.

use chrono::NaiveDate;
use domain::{
    officer::{Pom, PomKind},
    prisoner::{Choice, DeallocationTrigger, PrisonerEvent, ResponsibilityOverrideReason, ResponsibleService},
};

/// An event in words.
pub(super) struct EventSummary {
    /// The event in one sentence.
    pub(super) sentence: String,
    /// Further details, a line each.
    pub(super) remarks: Vec<String>,
}

/// Puts an event into words.
pub(super) fn describe(event: &PrisonerEvent) -> EventSummary {
    let mut remarks = Vec::new();
    let mut remark = |name: &str, value: Option<String>| remarks.extend(value.map(|value| format!("{name}: {value}")));
    let sentence = match event {
        PrisonerEvent::Received(received) => {
            format!("Received at {} ({})", received.prison, received.reason.word())
        }
        PrisonerEvent::TierAssigned(tier) => {
            remark("RoSH", tier.rosh_level.map(|level| level.word().to_owned()));
            remark("CRN", tier.crn.as_ref().map(ToString::to_string));
            let held = tier.prison.as_ref().map(|prison| format!(", held at {prison}")).unwrap_or_default();
            format!("Tier {} assigned ({}){held}", tier.tier, tier.source.word())
        }
        PrisonerEvent::AllocationMade(made) => {
            describe_choice(&made.choice, &mut remark);
            format!("Allocated at {} to {}, tier {}", made.prison, pom(&made.pom), made.choice.tier)
        }
        PrisonerEvent::Reallocated(moved) => {
            remark("reason", Some(moved.reason.clone()));
            describe_choice(&moved.choice, &mut remark);
            let (before, after) = (pom(&moved.pom_before), pom(&moved.pom_after));
            format!("Reallocated at {} from {before} to {after}, tier {}", moved.prison, moved.choice.tier)
        }
        PrisonerEvent::Deallocated(ended) => {
            let at = ended.prison.as_ref().map(|prison| format!(" at {prison}")).unwrap_or_default();
            let from = match &ended.pom {
                Some(holder) => format!(" from {}", pom(holder)),
                None => ", held by nobody".to_owned(),
            };
            let to = ended.to_prison.as_ref().map(|prison| format!(" to {prison}")).unwrap_or_default();
            format!("Deallocated{at}{from}: {}{to}", cause(ended.trigger))
        }
        PrisonerEvent::CoworkerAllocated(made) => {
            format!("Co-working POM at {}: {}", made.prison, pom(&made.pom))
        }
        PrisonerEvent::CoworkerReallocated(moved) => format!(
            "Co-working POM at {}: {} in the place of {}",
            moved.prison,
            pom(&moved.pom_after),
            pom(&moved.pom_before)
        ),
        PrisonerEvent::CoworkerDeallocated(ended) => {
            format!("Co-working POM at {} ended, {}: {}", ended.prison, pom(&ended.pom), cause(ended.trigger))
        }
        PrisonerEvent::CrnRecorded(recorded) => format!("CRN recorded: {}", recorded.crn),
        PrisonerEvent::CommunityManagerAssigned(manager) => {
            remark("email", manager.email.clone());
            remark("team", manager.team.clone());
            remark("LDU", manager.ldu.clone());
            format!("COM named: {}", manager.name)
        }
        PrisonerEvent::CommunityManagerRemoved(manager) => format!("COM removed: {}", manager.name),
        PrisonerEvent::HandoverPlanned(plan) => {
            let earliest = plan.earliest_release.map(|release| format!("{} {}", release.name.word(), release.date));
            remark("earliest release", earliest);
            let dates = handover_dates(plan.start_date, plan.handover_date);
            format!("Handover planned: {dates} ({})", plan.reason.label())
        }
        PrisonerEvent::ResponsibilityOverridden(made) => {
            remark("detail", made.detail.clone());
            format!("Responsibility overridden: {} ({})", service(made.responsible), override_reason(made.reason))
        }
        PrisonerEvent::ResponsibilityOverrideRemoved(removed) => {
            format!(
                "Responsibility override removed: {} ({})",
                service(removed.responsible),
                override_reason(removed.reason)
            )
        }
        PrisonerEvent::EntryVoided(voided) => {
            remark("reason", Some(voided.reason.clone()));
            format!("Entry {} voided", voided.revision)
        }
        PrisonerEvent::PrisonerNumberMerged(merged) => {
            format!("Number {} merged into this one", merged.removed_number)
        }
        PrisonerEvent::PrisonerNumberRetired(retired) => {
            format!("Number retired; the case goes on as {}", retired.survivor)
        }
    };
    EventSummary { sentence, remarks }
}

fn describe_choice(choice: &Choice, remark: &mut impl FnMut(&str, Option<String>)) {
    if !choice.override_reasons.is_empty() {
        let reasons: Vec<_> = choice.override_reasons.iter().map(|reason| reason.word()).collect();
        remark("against the recommendation", Some(reasons.join(", ")));
    }
    remark("suitability", choice.suitability_detail.clone());
    remark("detail", choice.override_detail.clone());
    remark("note", choice.note.clone());
}

pub(super) fn pom(pom: &Pom) -> String {
    let kind = match pom.kind {
        PomKind::Prison => "prison POM",
        PomKind::Probation => "probation POM",
    };
    format!("{} ({}, {kind})", pom.name, pom.staff_id)
}

pub(super) fn service(responsible: ResponsibleService) -> &'static str {
    match responsible {
        ResponsibleService::Prison => "the POM is responsible",
        ResponsibleService::Probation => "the COM is responsible",
    }
}

/// The dates of a handover plan in words.
pub(super) fn handover_dates(start: Option<NaiveDate>, handover: Option<NaiveDate>) -> String {
    match (start, handover) {
        (Some(start), Some(handover)) if start < handover => {
            format!("COM supports from {start}, is responsible from {handover}")
        }
        (_, Some(handover)) => format!("COM is responsible from {handover}"),
        (_, None) => "no dates".to_owned(),
    }
}

pub(super) fn override_reason(reason: ResponsibilityOverrideReason) -> &'static str {
    match reason {
        ResponsibilityOverrideReason::LessThan10MonthsToServe => "less than 10 months to serve",
        ResponsibilityOverrideReason::CommunityTeamToWorkWithOffender => "the community team works with the person now",
        ResponsibilityOverrideReason::PrisonerHasBeenRecalled => "recalled",
        ResponsibilityOverrideReason::PrisonerMovedToOpenPrison => "moved to an open prison",
        ResponsibilityOverrideReason::Other => "another reason",
    }
}

fn cause(trigger: DeallocationTrigger) -> &'static str {
    match trigger {
        DeallocationTrigger::Released => "released",
        DeallocationTrigger::Transferred => "transferred",
        DeallocationTrigger::PomInactive => "the POM became inactive",
        DeallocationTrigger::LegalStatusChanged => "the legal status changed",
        DeallocationTrigger::Merged => "the number was merged",
        DeallocationTrigger::Manual => "ended by hand",
    }
}
