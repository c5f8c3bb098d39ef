//! From a case's past and a command to new events, or to a refusal.
//!
//! This file has both lists: [`effect_of`] says which events each command makes, and [`check`] says
//! which state each event may follow. New events are checked with [`check`], and so is every later
//! entry when an entry is inserted before it or taken out (rule 8): a rule in [`effect_of`] alone
//! is not looked at again then. The rules of allocating and of POM roles are in `allocate.rs` and
//! `pom_role_rules.rs`, the sentences that several of them share in `shared_refusals.rs`. "Rule N"
//! is in `docs/domain.md`.

use super::{
    allocate::{allocate_case, allocate_coworker, allocate_with_tier, reallocate_case},
    pom_role_rules::{self, coworker, end_both_roles, end_coworker, end_held_roles, end_pom_role},
    shared_refusals,
};
use crate::{
    Entry, Refusal, Rule,
    effective_time::check_effective_at,
    handover,
    identifier::PrisonerNumber,
    london,
    named_prisoners::refuse_named_prisoners,
    prisoner::{
        Command, Context, Deallocate, DeallocationTrigger, EntryVoided, HandoverPlanned, History, PrisonerEvent,
        Release, ResponsibilityOverridden, ResponsibilityOverrideReason, ResponsibilityOverrideRemoved, State,
        Transfer, VoidEntries,
    },
    refusal::{DETAIL_LEN_MAX, refuse_long},
    text::is_blank,
};

/// Decides a command: one event or more, all of them effective at the context's time, or the first
/// rule that says no.
///
/// # Errors
/// A [`Refusal`] with the code and the sentence of the rule. A backdated command is refused with
/// `later-entry-conflict` where the history with it inserted would not be legal (rule 8).
pub fn decide(history: &History, command: &Command, context: &Context<'_>) -> Result<Vec<PrisonerEvent>, Refusal> {
    check_effective_at(context.effective_at, context.now)?;
    let number = history.number();
    if let Some((_, survivor)) = history.retirement() {
        return Err(shared_refusals::refuse_retired_number(number, survivor));
    }
    refuse_named_prisoners(command.texts(), |named| named == number || history.has_taken_over(named))?;
    let in_effect = history.in_effective_order();
    let split = in_effect.partition_point(|entry| entry.effective_at <= context.effective_at);
    let (earlier, later) = in_effect.split_at(split);
    let mut state = State::default();
    for entry in earlier {
        state.apply(entry);
    }
    if earlier.is_empty() {
        refuse_unknown(number, command)?;
    }
    match effect_of(number, &state, command, context)? {
        Effect::TakeOut(voids) => void_entries(history, &in_effect, voids),
        Effect::Insert(events) => {
            // The new events one after the other, then all that is already recorded for later.
            for (index, event) in events.iter().enumerate() {
                check(number, &state, event)?;
                state.apply_event(event, context.effective_at, (history.entries().len() + index) as u64);
            }
            check_later(number, state, later.iter().copied(), &in_effect)?;
            Ok(events)
        }
    }
}

/// How a command changes the past.
enum Effect {
    /// It puts these events into it, at the effective time.
    Insert(Vec<PrisonerEvent>),
    /// It takes entries out of it.
    TakeOut(Vec<EntryVoided>),
}

/// The effect of a command on a case in `state`. Refuses only commands that give no event or that
/// the roster forbids; whether the events may follow `state` is for [`check`].
fn effect_of(
    number: &PrisonerNumber,
    state: &State,
    command: &Command,
    context: &Context<'_>,
) -> Result<Effect, Refusal> {
    Ok(Effect::Insert(match command {
        Command::Receive(received) => vec![PrisonerEvent::Received(received.clone())],
        Command::AssignTier(tier) => vec![PrisonerEvent::TierAssigned(tier.clone())],
        Command::RecordCrn(recorded) => vec![PrisonerEvent::CrnRecorded(recorded.clone())],
        Command::Allocate(allocate) => vec![allocate_case(number, state, allocate, context)?],
        Command::Reallocate(reallocate) => vec![reallocate_case(number, state, reallocate, context)?],
        Command::AllocateWithTier(both) => allocate_with_tier(number, state, both, context)?,
        Command::Deallocate(deallocate) => end_roles(number, state, *deallocate)?,
        Command::EndPomRole(end) => end_pom_role(number, state, end)?,
        Command::AllocateCoworker(allocate) => vec![allocate_coworker(number, state, allocate, context)?],
        Command::RemoveCoworker => {
            coworker(number, state)?;
            end_coworker(state, DeallocationTrigger::Manual)
        }
        Command::AssignCommunityManager(manager) => vec![PrisonerEvent::CommunityManagerAssigned(manager.clone())],
        Command::RemoveCommunityManager => {
            let role =
                state.community_manager.as_ref().ok_or_else(|| shared_refusals::missing_community_manager(number))?;
            vec![PrisonerEvent::CommunityManagerRemoved(role.manager.clone())]
        }
        Command::PlanHandover(facts) => vec![plan_handover(facts, context)?],
        Command::OverrideResponsibility(decision) => vec![override_responsibility(decision)?],
        Command::RemoveResponsibilityOverride => {
            let decision = state
                .arrangements
                .responsibility_override
                .clone()
                .ok_or_else(|| shared_refusals::missing_override(number, None))?;
            vec![PrisonerEvent::ResponsibilityOverrideRemoved(ResponsibilityOverrideRemoved {
                responsible: decision.responsible,
                reason: decision.reason,
                detail: decision.detail,
            })]
        }
        Command::Release(release) => release_person(number, state, release)?,
        Command::Transfer(transfer) => transfer_person(number, state, transfer)?,
        Command::Retire(retired) => {
            let mut events = end_held_roles(state, DeallocationTrigger::Merged);
            events.push(PrisonerEvent::PrisonerNumberRetired(retired.clone()));
            events
        }
        Command::CompleteMerge(merged) => vec![PrisonerEvent::PrisonerNumberMerged(merged.clone())],
        Command::Void(void) => return Ok(Effect::TakeOut(vec![void.clone()])),
        Command::VoidEntries(VoidEntries { revisions, reason }) => {
            // The last entry first, as a person would void them one by one.
            let void = |&revision: &u64| EntryVoided { revision, reason: reason.clone() };
            return Ok(Effect::TakeOut(revisions.iter().rev().map(void).collect()));
        }
    }))
}

/// Whether `event` may follow `state`.
fn check(number: &PrisonerNumber, state: &State, event: &PrisonerEvent) -> Result<(), Refusal> {
    if let Some(survivor) = &state.retired_into {
        return Err(shared_refusals::refuse_retired_number(number, survivor));
    }
    match event {
        PrisonerEvent::TierAssigned(_)
        | PrisonerEvent::CrnRecorded(_)
        | PrisonerEvent::CommunityManagerAssigned(_)
        | PrisonerEvent::HandoverPlanned(_)
        | PrisonerEvent::ResponsibilityOverridden(_)
        | PrisonerEvent::EntryVoided(_)
        | PrisonerEvent::PrisonerNumberMerged(_) => Ok(()),
        PrisonerEvent::Received(received) => pom_role_rules::check_reception(number, state, received),
        PrisonerEvent::AllocationMade(made) => pom_role_rules::check_allocation(number, state, made),
        PrisonerEvent::Reallocated(moved) => pom_role_rules::check_reallocation(number, state, moved),
        PrisonerEvent::Deallocated(ended) => pom_role_rules::check_deallocation(number, state, ended),
        PrisonerEvent::CoworkerAllocated(joined) => pom_role_rules::check_coworker_allocation(number, state, joined),
        PrisonerEvent::CoworkerReallocated(moved) => pom_role_rules::check_coworker_reallocation(number, state, moved),
        PrisonerEvent::CoworkerDeallocated(ended) => pom_role_rules::check_coworker_deallocation(number, state, ended),
        PrisonerEvent::CommunityManagerRemoved(manager) => match &state.community_manager {
            Some(role) if role.manager == *manager => Ok(()),
            _ => Err(shared_refusals::missing_community_manager(number)),
        },
        PrisonerEvent::ResponsibilityOverrideRemoved(removed) => match &state.arrangements.responsibility_override {
            Some(decision)
                if decision.responsible == removed.responsible
                    && decision.reason == removed.reason
                    && decision.detail == removed.detail =>
            {
                Ok(())
            }
            other => Err(shared_refusals::missing_override(number, other.as_ref())),
        },
        PrisonerEvent::PrisonerNumberRetired(retired) => {
            if retired.survivor == *number {
                return Err(shared_refusals::refuse_self_merge(number));
            }
            if state.primary_pom.is_some() || state.coworking_pom.is_some() {
                return Err(Refusal::new(
                    Rule::RolesRemain,
                    format!("The POM roles on {number} have to end before the number is retired."),
                ));
            }
            Ok(())
        }
    }
}

/// Whether `entries`, in effective order, may follow `state` one after the other; the first that
/// may not is named. `unchanged` is the history in effective order without the change: an entry
/// that breaks the same rule there was recorded when the rules were others, and no change is to
/// blame.
fn check_later<'a>(
    number: &PrisonerNumber,
    mut state: State,
    entries: impl IntoIterator<Item = &'a Entry<PrisonerEvent>>,
    unchanged: &[&Entry<PrisonerEvent>],
) -> Result<(), Refusal> {
    for entry in entries {
        if let Err(refusal) = check(number, &state, &entry.event)
            && broken_rule(number, unchanged, entry) != Some(refusal.rule)
        {
            return Err(shared_refusals::later_entry_conflict(entry, &refusal));
        }
        state.apply(entry);
    }
    Ok(())
}

/// The rule that an entry of a history breaks after the entries before it, if it breaks one.
fn broken_rule(
    number: &PrisonerNumber,
    in_effect: &[&Entry<PrisonerEvent>],
    entry: &Entry<PrisonerEvent>,
) -> Option<Rule> {
    let mut state = State::default();
    for earlier in in_effect.iter().take_while(|earlier| earlier.revision != entry.revision) {
        state.apply(earlier);
    }
    check(number, &state, &entry.event).err().map(|refusal| refusal.rule)
}

fn end_roles(number: &PrisonerNumber, state: &State, deallocate: Deallocate) -> Result<Vec<PrisonerEvent>, Refusal> {
    if deallocate.trigger == DeallocationTrigger::LegalStatusChanged {
        return Ok(end_both_roles(state, deallocate.trigger, None));
    }
    let events = end_held_roles(state, deallocate.trigger);
    if events.is_empty() { Err(shared_refusals::missing_primary_pom(number)) } else { Ok(events) }
}

fn plan_handover(facts: &handover::Facts, context: &Context<'_>) -> Result<PrisonerEvent, Refusal> {
    let today = facts.calculated_on.unwrap_or_else(|| london::date(context.effective_at));
    let plan = handover::plan(facts, today)?;
    Ok(PrisonerEvent::HandoverPlanned(HandoverPlanned {
        facts: handover::Facts { calculated_on: Some(today), ..facts.clone() },
        start_date: plan.start_date,
        handover_date: plan.handover_date,
        reason: plan.reason,
        earliest_release: plan.earliest_release,
    }))
}

fn override_responsibility(decision: &ResponsibilityOverridden) -> Result<PrisonerEvent, Refusal> {
    let detail = decision.detail.as_ref();
    if decision.reason == ResponsibilityOverrideReason::Other && detail.is_none_or(|detail| is_blank(detail)) {
        return Err(Refusal::new(
            Rule::OverrideDetailNeeded,
            "The reason OTHER needs a detail: say what the reason is.",
        ));
    }
    refuse_long("detail", detail, DETAIL_LEN_MAX)?;
    Ok(PrisonerEvent::ResponsibilityOverridden(decision.clone()))
}

fn release_person(number: &PrisonerNumber, state: &State, release: &Release) -> Result<Vec<PrisonerEvent>, Refusal> {
    if let (Some(named), Some(held_at)) = (&release.prison, &state.prison)
        && named != held_at
    {
        return Err(shared_refusals::other_prison(number, held_at, named));
    }
    // If the ledger was never told the prison, the caller may name it.
    let told = State { prison: state.prison.clone().or_else(|| release.prison.clone()), ..state.clone() };
    Ok(end_both_roles(&told, DeallocationTrigger::Released, None))
}

fn transfer_person(number: &PrisonerNumber, state: &State, transfer: &Transfer) -> Result<Vec<PrisonerEvent>, Refusal> {
    if state.prison.as_ref() == Some(&transfer.to_prison) {
        return Err(Refusal::new(
            Rule::NothingChanged,
            format!("{number} is already held at {} at that time.", transfer.to_prison),
        ));
    }
    Ok(end_both_roles(state, DeallocationTrigger::Transferred, Some(transfer.to_prison.clone())))
}

/// Rule 8 for voids: the whole history without the entries must be legal. `in_effect` is the
/// history in effective order.
fn void_entries(
    history: &History,
    in_effect: &[&Entry<PrisonerEvent>],
    voids: Vec<EntryVoided>,
) -> Result<Vec<PrisonerEvent>, Refusal> {
    let number = history.number();
    if voids.is_empty() {
        return Err(Refusal::new(
            Rule::EntryUnknown,
            format!("No entry of {number} was named to be voided. Name one."),
        ));
    }
    voids.iter().try_for_each(|void| check_voidable(history, void))?;
    let is_kept = |entry: &&Entry<PrisonerEvent>| voids.iter().all(|void| void.revision != entry.revision);
    check_later(number, State::default(), in_effect.iter().copied().filter(is_kept), in_effect)?;
    Ok(voids.into_iter().map(PrisonerEvent::EntryVoided).collect())
}

/// Whether the entry that a void names is one that can be voided.
fn check_voidable(history: &History, void: &EntryVoided) -> Result<(), Refusal> {
    let number = history.number();
    let Some(entry) = history.entries().iter().find(|entry| entry.revision == void.revision) else {
        return Err(Refusal::new(
            Rule::EntryUnknown,
            format!("{number} has no entry {}. Its history lists the entries with their revisions.", void.revision),
        ));
    };
    if let Some(by) = history.voided_by(void.revision) {
        return Err(Refusal::new(
            Rule::EntryAlreadyVoided,
            format!("Entry {} of {number} was already voided, by entry {by}.", void.revision),
        ));
    }
    if matches!(
        entry.event,
        PrisonerEvent::EntryVoided(_)
            | PrisonerEvent::PrisonerNumberMerged(_)
            | PrisonerEvent::PrisonerNumberRetired(_)
    ) {
        return Err(Refusal::new(
            Rule::EntryNotVoidable,
            format!(
                "Entry {} of {number} is of type {}, which cannot be voided. Record what is right as a new entry instead.",
                void.revision,
                entry.event.type_name()
            ),
        ));
    }
    refuse_long("reason", Some(&void.reason), DETAIL_LEN_MAX)
}

/// Refuses to end what has not begun: at the effective time nothing had happened to the case.
fn refuse_unknown(number: &PrisonerNumber, command: &Command) -> Result<(), Refusal> {
    let ends = match command {
        Command::Release(_) | Command::Transfer(_) => true,
        Command::Deallocate(ended) => ended.trigger == DeallocationTrigger::LegalStatusChanged,
        _ => false,
    };
    if !ends {
        return Ok(());
    }
    Err(Refusal::new(
        Rule::PrisonerUnknown,
        format!("The ledger knows nothing of {number} at that time. Check the number, or assign a tier first."),
    ))
}
