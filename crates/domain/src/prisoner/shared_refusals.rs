//! The refusals of a case's rules that are made in more than one place or carry more than a
//! sentence.

use crate::{
    Entry, Refusal, Rule,
    identifier::{PrisonCode, PrisonerNumber},
    london,
    prisoner::{PomRole, PrisonerEvent, ResponsibilityOverridden, lineage::MergeCircle},
};

/// Longest note to a POM, in characters: some two pages, and a bound on what one event can weigh.
pub const NOTE_LEN_MAX: usize = 4_000;

pub(super) fn later_entry_conflict(entry: &Entry<PrisonerEvent>, refusal: &Refusal) -> Refusal {
    let sentence = format!(
        "The later entry {} ({}, effective {}) would no longer be possible: {} Void that entry first, or use a later effective time.",
        entry.revision,
        entry.event.type_name(),
        london::date(entry.effective_at).format("%-d %B %Y"),
        refusal.sentence,
    );
    Refusal { later_entry: Some(entry.revision), ..Refusal::new(Rule::LaterEntryConflict, sentence) }
}

/// A POM role's holder, for a sentence.
pub(super) fn describe_holder(role: &PomRole) -> String {
    format!("{} (staff id {}) at {}", role.pom.name, role.pom.staff_id, role.prison)
}

/// A number takes no commands: its case goes on under the survivor.
#[must_use]
pub fn refuse_retired_number(number: &PrisonerNumber, survivor: &PrisonerNumber) -> Refusal {
    Refusal {
        survivor: Some(survivor.clone()),
        ..Refusal::new(
            Rule::PrisonerNumberRetired,
            format!("{number} was merged into {survivor} and takes no further commands. Use {survivor}."),
        )
    }
}

pub(super) fn unknown_tier(number: &PrisonerNumber) -> Refusal {
    Refusal::new(
        Rule::TierUnknown,
        format!("{number} has no tier at that time. Assign a tier before allocating the case."),
    )
}

pub(super) fn missing_primary_pom(number: &PrisonerNumber) -> Refusal {
    Refusal::new(Rule::NotAllocated, format!("{number} has no primary POM at that time. Allocate the case first."))
}

pub(super) fn other_prison(number: &PrisonerNumber, held_at: &PrisonCode, named: &PrisonCode) -> Refusal {
    Refusal::new(
        Rule::CaseAtAnotherPrison,
        format!(
            "{number} is held at {held_at} at that time, not at {named}. Use {held_at}, or record the transfer first."
        ),
    )
}

pub(super) fn other_holder(number: &PrisonerNumber, role: &PomRole, named: &str) -> Refusal {
    Refusal::new(
        Rule::PomNotHolder,
        format!("{number} is held by {} at that time, not by {named}.", describe_holder(role)),
    )
}

pub(super) fn same_pom(number: &PrisonerNumber, role: &PomRole, kind: &str) -> Refusal {
    Refusal::new(
        Rule::SamePom,
        format!("{} is already the {kind} POM of {number}. Choose another POM.", describe_holder(role)),
    )
}

pub(super) fn missing_community_manager(number: &PrisonerNumber) -> Refusal {
    Refusal::new(Rule::NoCommunityManager, format!("{number} has no such COM at that time."))
}

/// There is no override to take back, or another one is in effect than the one taken back.
pub(super) fn missing_override(number: &PrisonerNumber, in_effect: Option<&ResponsibilityOverridden>) -> Refusal {
    let sentence = match in_effect {
        None => format!("Responsibility for {number} is not overridden at that time."),
        Some(other) => format!(
            "The override of responsibility for {number} at that time is another than the one taken back: to {}, reason {}.",
            other.responsible.word(),
            other.reason.word()
        ),
    };
    Refusal::new(Rule::NoResponsibilityOverride, sentence)
}

/// A number would be merged into itself.
#[must_use]
pub fn refuse_self_merge(number: &PrisonerNumber) -> Refusal {
    Refusal::new(
        Rule::MergeCircle,
        format!("{number} cannot be merged into itself. Check which number was removed and which survives."),
    )
}

/// Numbers were merged into each other, so that none is left for the case to go on under.
#[must_use]
pub fn refuse_closed_circle(circle: &MergeCircle) -> Refusal {
    let numbers: Vec<_> = circle.numbers.iter().map(PrisonerNumber::as_str).collect();
    Refusal::new(
        Rule::MergeCircle,
        format!(
            "{} were merged into each other at the same moment, so none of them is left to go on under. Record the \
             case under another number, and tell whoever runs the ledger.",
            numbers.join(" and ")
        ),
    )
}
