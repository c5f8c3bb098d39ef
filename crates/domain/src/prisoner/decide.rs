//! From a case's past and a command to new events, or to a refusal.
//!
//! This file makes the events, and judges what depends on more than the case: the roster and the
//! recommendation at the effective time. Whether events may follow each other is for `legality.rs`,
//! for the new ones and for those recorded for later alike; the refusals with their sentences are
//! in `refusals.rs`. "Rule N" is in `docs/domain.md`.

use chrono::{DateTime, Utc};

use super::legality::{self, check, check_later};
use crate::{
    Entry, Refusal, Rule, handover,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    london,
    officer::{Pom, PomKind, PomStatus},
    prison,
    prisoner::{
        Allocate, AllocateCoworker, AllocationMade, Choice, ChoiceReasons, Command, CoworkerAllocated,
        CoworkerDeallocated, CoworkerReallocated, Deallocated, DeallocationTrigger, EndPomRole, EntryVoided,
        HandoverPlanned, History, MergedHoldings, OfficerRole, OverrideReason, PrisonerEvent, PrisonerNumberMerged,
        Reallocate, Reallocated, RecommendationPolicy, ResponsibilityOverridden, ResponsibilityOverrideReason,
        ResponsibilityOverrideRemoved, State, refusals, responsibility,
    },
    refusal::check_effective_at,
    words::alternatives,
};

/// Longest detail of an override, in characters ("Streams and events" in `docs/domain.md`).
pub const DETAIL_LEN_MAX: usize = 175;

/// Longest note to a POM, in characters: some two pages, and a bound on what one event can weigh.
pub const NOTE_LEN_MAX: usize = 4_000;

/// The circumstances of a decision beside the case's own past.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The recorder's clock.
    pub now: DateTime<Utc>,
    /// The effective time of the command; a time later than `now` is refused.
    pub effective_at: DateTime<Utc>,
    /// The prison named by a command that gives a role to a POM.
    pub prison: Option<&'a prison::History>,
    /// How the recommended kind of POM is worked out.
    pub recommendation_policy: RecommendationPolicy,
}

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
        return Err(refusals::retired_number(number, survivor));
    }
    let in_effect = history.in_effective_order();
    let split = in_effect.partition_point(|entry| entry.effective_at <= context.effective_at);
    let (earlier, later) = in_effect.split_at(split);
    let mut state = State::default();
    for entry in earlier {
        state.apply(entry);
    }
    match effect_of(number, &state, command, context)? {
        Effect::TakeOut(void) => void_entry(history, &in_effect, void),
        Effect::Insert(events) => {
            // The new events one after the other, then all that is already recorded for later.
            for (index, event) in events.iter().enumerate() {
                check(number, &state, event)?;
                state.apply_event(event, context.effective_at, (history.entries().len() + index) as u64);
            }
            check_later(number, state, later.iter().copied())?;
            Ok(events)
        }
    }
}

/// How a command changes the past.
enum Effect<'a> {
    /// It puts these events into it, at the effective time.
    Insert(Vec<PrisonerEvent>),
    /// It takes an entry out of it.
    TakeOut(&'a EntryVoided),
}

/// The data of the survivor's event for a number that was retired at `retired_revision` of its
/// history.
///
/// # Panics
/// If the history has no such revision.
#[must_use]
pub fn merge_of(removed: &History, retired_revision: u64) -> PrisonerNumberMerged {
    let index = usize::try_from(retired_revision).expect("a revision is an index");
    let retirement = &removed.entries()[index];
    let mut state = State::default();
    for entry in removed.in_effective_order() {
        // The retirement's own command has ended the open roles: what was held is what held before
        // it.
        if entry.command_id != retirement.command_id {
            state.apply(entry);
        }
    }
    PrisonerNumberMerged {
        removed_number: removed.number().clone(),
        history_ends_at: retired_revision,
        held: MergedHoldings::from(state),
    }
}

/// The effect of a command on a case in `state`. Refuses only commands that give no event or that
/// the roster forbids; whether the events may follow `state` is for [`check`].
fn effect_of<'a>(
    number: &PrisonerNumber,
    state: &State,
    command: &'a Command,
    context: &Context<'_>,
) -> Result<Effect<'a>, Refusal> {
    Ok(Effect::Insert(match command {
        Command::AssignTier(tier) => vec![PrisonerEvent::TierAssigned(tier.clone())],
        Command::Allocate(allocate) => vec![allocate_case(number, state, allocate, context)?],
        Command::Reallocate(reallocate) => vec![reallocate_case(number, state, reallocate, context)?],
        Command::Deallocate(deallocate) => match deallocate.trigger {
            DeallocationTrigger::LegalStatusChanged => {
                refuse_unknown(number, state)?;
                end_roles(state, DeallocationTrigger::LegalStatusChanged, None)
            }
            trigger => {
                let mut events = end_coworker(state, trigger);
                if state.primary_pom.is_some() {
                    events.push(end_primary(state, trigger, None));
                }
                if events.is_empty() {
                    return Err(refusals::missing_primary_pom(number));
                }
                events
            }
        },
        Command::EndPomRole(end) => end_pom_role(number, state, end)?,
        Command::AllocateCoworker(allocate) => vec![allocate_coworker(number, state, allocate, context)?],
        Command::RemoveCoworker => {
            legality::coworker(number, state)?;
            end_coworker(state, DeallocationTrigger::Manual)
        }
        Command::AssignCommunityManager(manager) => vec![PrisonerEvent::CommunityManagerAssigned(manager.clone())],
        Command::RemoveCommunityManager => {
            let role = state.community_manager.as_ref().ok_or_else(|| refusals::missing_community_manager(number))?;
            vec![PrisonerEvent::CommunityManagerRemoved(role.manager.clone())]
        }
        Command::PlanHandover(facts) => {
            let today = facts.calculated_on.unwrap_or_else(|| london::date(context.effective_at));
            let plan = handover::plan(facts, today)?;
            vec![PrisonerEvent::HandoverPlanned(HandoverPlanned {
                facts: handover::Facts { calculated_on: Some(today), ..facts.clone() },
                start_date: plan.start_date,
                handover_date: plan.handover_date,
                reason: plan.reason,
                earliest_release: plan.earliest_release,
            })]
        }
        Command::OverrideResponsibility(decision) => vec![override_responsibility(decision)?],
        Command::RemoveResponsibilityOverride => {
            let decision =
                state.arrangements.responsibility_override.clone().ok_or_else(|| refusals::missing_override(number))?;
            vec![PrisonerEvent::ResponsibilityOverrideRemoved(ResponsibilityOverrideRemoved {
                responsible: decision.responsible,
                reason: decision.reason,
                detail: decision.detail,
            })]
        }
        Command::Release(release) => {
            refuse_unknown(number, state)?;
            if let (Some(named), Some(held_at)) = (&release.prison, &state.prison)
                && named != held_at
            {
                return Err(refusals::other_prison(number, held_at, named));
            }
            // If the ledger was never told the prison, the caller may name it.
            let told = State { prison: state.prison.clone().or_else(|| release.prison.clone()), ..state.clone() };
            end_roles(&told, DeallocationTrigger::Released, None)
        }
        Command::Transfer(transfer) => {
            refuse_unknown(number, state)?;
            if state.prison.as_ref() == Some(&transfer.to_prison) {
                return Err(Refusal::new(
                    Rule::NothingChanged,
                    format!("{number} is already held at {} at that time.", transfer.to_prison),
                ));
            }
            end_roles(state, DeallocationTrigger::Transferred, Some(transfer.to_prison.clone()))
        }
        Command::Retire(retired) => {
            let mut events = end_coworker(state, DeallocationTrigger::Merged);
            if state.primary_pom.is_some() {
                events.push(end_primary(state, DeallocationTrigger::Merged, None));
            }
            events.push(PrisonerEvent::PrisonerNumberRetired(retired.clone()));
            events
        }
        Command::CompleteMerge(merged) => vec![PrisonerEvent::PrisonerNumberMerged(merged.clone())],
        Command::Void(void) => return Ok(Effect::TakeOut(void)),
    }))
}

fn allocate_case(
    number: &PrisonerNumber,
    state: &State,
    allocate: &Allocate,
    context: &Context<'_>,
) -> Result<PrisonerEvent, Refusal> {
    let pom = find_active_pom(&allocate.prison, allocate.staff_id, context)?;
    let made = AllocationMade {
        prison: allocate.prison.clone(),
        choice: make_choice(number, state, &pom, &allocate.reasons, context)?,
        pom,
    };
    Ok(PrisonerEvent::AllocationMade(made))
}

fn reallocate_case(
    number: &PrisonerNumber,
    state: &State,
    reallocate: &Reallocate,
    context: &Context<'_>,
) -> Result<PrisonerEvent, Refusal> {
    let role = legality::primary(number, state, &reallocate.prison)?;
    if let Some(expected) = reallocate.expected_holder
        && expected != role.pom.staff_id
    {
        return Err(refusals::other_holder(number, role, &format!("staff id {expected}")));
    }
    let pom_after = find_active_pom(&reallocate.prison, reallocate.staff_id, context)?;
    refuse_long("reason", Some(&reallocate.reason), DETAIL_LEN_MAX)?;
    Ok(PrisonerEvent::Reallocated(Reallocated {
        prison: reallocate.prison.clone(),
        pom_before: role.pom.clone(),
        reason: reallocate.reason.clone(),
        choice: make_choice(number, state, &pom_after, &reallocate.reasons, context)?,
        pom_after,
    }))
}

fn allocate_coworker(
    number: &PrisonerNumber,
    state: &State,
    allocate: &AllocateCoworker,
    context: &Context<'_>,
) -> Result<PrisonerEvent, Refusal> {
    legality::primary(number, state, &allocate.prison)?;
    let pom = find_active_pom(&allocate.prison, allocate.staff_id, context)?;
    let prison = allocate.prison.clone();
    Ok(match &state.coworking_pom {
        Some(role) => PrisonerEvent::CoworkerReallocated(CoworkerReallocated {
            prison,
            pom_before: role.pom.clone(),
            pom_after: pom,
        }),
        None => PrisonerEvent::CoworkerAllocated(CoworkerAllocated { prison, pom }),
    })
}

/// Rule 1: the POM, if the prison has joined OMiC and has that POM on its roster, active, at the
/// effective time.
fn find_active_pom(code: &PrisonCode, staff_id: StaffId, context: &Context<'_>) -> Result<Pom, Refusal> {
    let at = context.effective_at;
    let on = london::date(at).format("%-d %B %Y");
    let joined = context.prison.and_then(|prison| prison.joined_at(at));
    let Some(prison) = context.prison.filter(|_| joined.is_some()) else {
        return Err(Refusal::new(
            Rule::PrisonNotOnOmic,
            format!("{code} had not joined OMiC on {on}. Record its onboarding, with a go-live date by then, first."),
        ));
    };
    let Some(pom) = prison.pom_at(staff_id, at) else {
        return Err(Refusal::new(
            Rule::PomNotRegistered,
            format!(
                "No POM with staff id {staff_id} was on the roster of {code} on {on}. Register the POM there first, or choose one who is."
            ),
        ));
    };
    if pom.status != PomStatus::Active {
        return Err(Refusal::new(
            Rule::PomNotActive,
            format!(
                "{} (staff id {staff_id}) takes no new cases at {code} on {on}: the status is {}. Choose an active POM.",
                pom.name,
                pom.status.word(),
            ),
        ));
    }
    Ok(Pom { staff_id, name: pom.name, kind: pom.kind, email: pom.email })
}

/// Rule 5: the recommendation at that moment, and the reasons where the choice goes against it.
fn make_choice(
    number: &PrisonerNumber,
    state: &State,
    pom: &Pom,
    reasons: &ChoiceReasons,
    context: &Context<'_>,
) -> Result<Choice, Refusal> {
    let tier = state.tier.as_ref().ok_or_else(|| refusals::unknown_tier(number))?;
    let choice = Choice {
        tier: tier.tier,
        rosh_level: tier.rosh_level,
        recommendation_policy: context.recommendation_policy,
        recommended_pom_kind: recommend_kind(state, context),
        override_reasons: reasons.override_reasons.clone(),
        suitability_detail: reasons.suitability_detail.clone(),
        override_detail: reasons.override_detail.clone(),
        note: reasons.note.clone(),
        nomis_booking_id: reasons.nomis_booking_id,
    };
    let name = |kind| match kind {
        PomKind::Prison => "prison",
        PomKind::Probation => "probation",
    };
    if let Some(recommended) = choice.recommended_pom_kind
        && choice.is_override(pom.kind)
        && choice.override_reasons.is_empty()
    {
        return Err(Refusal::new(
            Rule::OverrideReasonsNeeded,
            format!(
                "A {} POM is recommended for {number} and {} is a {} POM. Say why, with overrideReasons: {}.",
                name(recommended),
                pom.name,
                name(pom.kind),
                alternatives::<OverrideReason>(),
            ),
        ));
    }
    let given = |detail: &Option<String>| detail.as_ref().is_some_and(|detail| !detail.trim().is_empty());
    if choice.override_reasons.contains(&OverrideReason::Suitability) && !given(&choice.suitability_detail) {
        return Err(Refusal::new(
            Rule::SuitabilityDetailNeeded,
            "The override reason SUITABILITY needs suitabilityDetail: say why the prisoner is suitable for the other kind of POM.",
        ));
    }
    if choice.override_reasons.contains(&OverrideReason::Other) && !given(&choice.override_detail) {
        return Err(Refusal::new(
            Rule::OverrideDetailNeeded,
            "The override reason OTHER needs overrideDetail: say what the reason is.",
        ));
    }
    refuse_long("suitabilityDetail", choice.suitability_detail.as_ref(), DETAIL_LEN_MAX)?;
    refuse_long("overrideDetail", choice.override_detail.as_ref(), DETAIL_LEN_MAX)?;
    refuse_long("note", choice.note.as_ref(), NOTE_LEN_MAX)?;
    Ok(choice)
}

fn recommend_kind(state: &State, context: &Context<'_>) -> Option<PomKind> {
    let immigration_case = state.arrangements.handover_plan.as_ref().is_some_and(|plan| plan.facts.immigration_case);
    if immigration_case || responsibility(state, context.effective_at).responsible == OfficerRole::Com {
        return Some(PomKind::Prison);
    }
    let tier = state.tier.as_ref()?;
    match context.recommendation_policy {
        RecommendationPolicy::Tier if matches!(tier.tier.letter(), 'A' | 'B') => Some(PomKind::Probation),
        RecommendationPolicy::Tier => Some(PomKind::Prison),
        RecommendationPolicy::Rosh => {
            use crate::tier::RoshLevel::{High, Low, Medium, VeryHigh};
            match (tier.tier.letter(), tier.rosh_level) {
                ('A', _) | (_, Some(VeryHigh | High)) => Some(PomKind::Probation),
                (_, Some(Medium | Low)) => Some(PomKind::Prison),
                (_, None) => None,
            }
        }
    }
}

fn override_responsibility(decision: &ResponsibilityOverridden) -> Result<PrisonerEvent, Refusal> {
    let detail = decision.detail.as_ref().filter(|detail| !detail.trim().is_empty());
    if decision.reason == ResponsibilityOverrideReason::Other && detail.is_none() {
        return Err(Refusal::new(
            Rule::OverrideDetailNeeded,
            "The reason OTHER needs a detail: say what the reason is.",
        ));
    }
    refuse_long("detail", detail, DETAIL_LEN_MAX)?;
    Ok(PrisonerEvent::ResponsibilityOverridden(decision.clone()))
}

/// The ends of both roles; the primary one's also ends the arrangements, if the trigger does (rule
/// 6).
fn end_roles(state: &State, trigger: DeallocationTrigger, to_prison: Option<PrisonCode>) -> Vec<PrisonerEvent> {
    let mut events = end_coworker(state, trigger);
    events.push(end_primary(state, trigger, to_prison));
    events
}

fn end_primary(state: &State, trigger: DeallocationTrigger, to_prison: Option<PrisonCode>) -> PrisonerEvent {
    PrisonerEvent::Deallocated(Deallocated {
        prison: state.prison.clone(),
        pom: state.primary_pom.as_ref().map(|role| role.pom.clone()),
        trigger,
        to_prison,
    })
}

fn end_coworker(state: &State, trigger: DeallocationTrigger) -> Vec<PrisonerEvent> {
    let ended = state.coworking_pom.as_ref().map(|role| {
        PrisonerEvent::CoworkerDeallocated(CoworkerDeallocated {
            prison: role.prison.clone(),
            pom: role.pom.clone(),
            trigger,
        })
    });
    ended.into_iter().collect()
}

fn end_pom_role(number: &PrisonerNumber, state: &State, end: &EndPomRole) -> Result<Vec<PrisonerEvent>, Refusal> {
    let held = |role: Option<&crate::prisoner::PomRole>| {
        role.is_some_and(|role| role.pom.staff_id == end.staff_id && role.prison == end.prison)
    };
    if held(state.primary_pom.as_ref()) {
        Ok(vec![end_primary(state, DeallocationTrigger::PomInactive, None)])
    } else if held(state.coworking_pom.as_ref()) {
        Ok(end_coworker(state, DeallocationTrigger::PomInactive))
    } else {
        Err(Refusal::new(
            Rule::PomNotHolder,
            format!("Staff id {} holds no role on {number} at {} at that time.", end.staff_id, end.prison),
        ))
    }
}

/// Rule 8 for voids: the whole history without the entry must be legal. `in_effect` is the history
/// in effective order.
fn void_entry(
    history: &History,
    in_effect: &[&Entry<PrisonerEvent>],
    void: &EntryVoided,
) -> Result<Vec<PrisonerEvent>, Refusal> {
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
    refuse_long("reason", Some(&void.reason), DETAIL_LEN_MAX)?;
    let kept = in_effect.iter().copied().filter(|entry| entry.revision != void.revision);
    check_later(number, State::default(), kept)?;
    Ok(vec![PrisonerEvent::EntryVoided(void.clone())])
}

fn refuse_unknown(number: &PrisonerNumber, state: &State) -> Result<(), Refusal> {
    if *state == State::default() {
        return Err(Refusal::new(
            Rule::PrisonerUnknown,
            format!("The ledger knows nothing of {number} at that time. Check the number, or assign a tier first."),
        ));
    }
    Ok(())
}

fn refuse_long(field: &str, text: Option<&String>, len_max: usize) -> Result<(), Refusal> {
    match text.map(|text| text.chars().count()) {
        Some(len) if len > len_max => Err(Refusal::new(
            Rule::DetailTooLong,
            format!("{field} has {len} characters; at most {len_max} are allowed. Shorten it."),
        )),
        _ => Ok(()),
    }
}
