//! The allocation of a case to a POM: the POM on the roster of the prison (rule 1), and the choice
//! with the recommendation and the reasons (rule 5).
//!
//! These rules hold when a command is decided, since a choice is judged by what was known when it
//! was made. They are not looked at again when an entry before the allocation is backdated or
//! voided.

use chrono::{DateTime, Utc};

use super::{
    pom_role_rules::primary,
    recommended_kind::recommend_kind,
    shared_refusals::{self, NOTE_LEN_MAX},
};
use crate::{
    Refusal, Rule,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    london,
    officer::{Pom, PomKind, PomStatus},
    prison,
    prisoner::{
        Allocate, AllocateCoworker, AllocateWithTier, AllocationMade, Choice, ChoiceReasons, Context,
        CoworkerAllocated, CoworkerReallocated, OverrideReason, PrisonerEvent, Reallocate, Reallocated, State,
        TierAssigned,
    },
    refusal::{DETAIL_LEN_MAX, refuse_long},
    text::is_blank,
    words::alternatives,
};

pub(super) fn allocate_case(
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

pub(super) fn reallocate_case(
    number: &PrisonerNumber,
    state: &State,
    reallocate: &Reallocate,
    context: &Context<'_>,
) -> Result<PrisonerEvent, Refusal> {
    let role = primary(number, state, &reallocate.prison)?;
    if let Some(expected) = reallocate.expected_holder
        && expected != role.pom.staff_id
    {
        return Err(shared_refusals::other_holder(number, role, &format!("staff id {expected}")));
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

/// The tier, unless the case has it, and the allocation, or the reallocation where another POM
/// holds the case.
pub(super) fn allocate_with_tier(
    number: &PrisonerNumber,
    state: &State,
    both: &AllocateWithTier,
    context: &Context<'_>,
) -> Result<Vec<PrisonerEvent>, Refusal> {
    let mut state = state.clone();
    let mut events = Vec::with_capacity(2);
    let held = state.tier.as_ref();
    if !held.is_some_and(|held| both.tier.tier.includes(held.tier)) {
        let rosh_level = both.tier.rosh_level.or(held.and_then(|held| held.rosh_level));
        let assigned = PrisonerEvent::TierAssigned(TierAssigned { rosh_level, ..both.tier.clone() });
        // The revision of a tier is of no account.
        state.apply_event(&assigned, context.effective_at, 0);
        events.push(assigned);
    }
    events.push(match (&state.primary_pom, &both.reallocation_reason) {
        (Some(_), Some(reason)) => {
            let reallocate = Reallocate {
                prison: both.allocate.prison.clone(),
                staff_id: both.allocate.staff_id,
                expected_holder: None,
                reason: reason.clone(),
                reasons: both.allocate.reasons.clone(),
            };
            reallocate_case(number, &state, &reallocate, context)?
        }
        _ => allocate_case(number, &state, &both.allocate, context)?,
    });
    Ok(events)
}

pub(super) fn allocate_coworker(
    number: &PrisonerNumber,
    state: &State,
    allocate: &AllocateCoworker,
    context: &Context<'_>,
) -> Result<PrisonerEvent, Refusal> {
    primary(number, state, &allocate.prison)?;
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
    let prison = require_on_omic(code, context.prison, at)?;
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

/// Rule 1: the prison, if it has joined OMiC by an instant.
pub(super) fn require_on_omic<'p>(
    code: &PrisonCode,
    prison: Option<&'p prison::History>,
    at: DateTime<Utc>,
) -> Result<&'p prison::History, Refusal> {
    prison.filter(|prison| prison.joined_at(at).is_some()).ok_or_else(|| {
        let on = london::date(at).format("%-d %B %Y");
        Refusal::new(
            Rule::PrisonNotOnOmic,
            format!("{code} had not joined OMiC on {on}. Record its onboarding, with a go-live date by then, first."),
        )
    })
}

/// Rule 5: the choice, with the recommendation at that moment.
fn make_choice(
    number: &PrisonerNumber,
    state: &State,
    pom: &Pom,
    reasons: &ChoiceReasons,
    context: &Context<'_>,
) -> Result<Choice, Refusal> {
    let tier = state.tier.as_ref().ok_or_else(|| shared_refusals::unknown_tier(number))?;
    let choice = Choice {
        tier: tier.tier,
        rosh_level: tier.rosh_level,
        recommendation_policy: context.recommendation_policy,
        recommended_pom_kind: recommend_kind(state, context.recommendation_policy, context.effective_at)
            .and_then(|recommendation| recommendation.kind),
        override_reasons: reasons.override_reasons.clone(),
        suitability_detail: reasons.suitability_detail.clone(),
        override_detail: reasons.override_detail.clone(),
        note: reasons.note.clone(),
        nomis_booking_id: reasons.nomis_booking_id,
    };
    refuse_unreasoned(number, pom, &choice)?;
    Ok(choice)
}

/// Rule 5: refuses a choice whose reasons are missing or too long.
fn refuse_unreasoned(number: &PrisonerNumber, pom: &Pom, choice: &Choice) -> Result<(), Refusal> {
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
    let given = |detail: &Option<String>| detail.as_ref().is_some_and(|detail| !is_blank(detail));
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
    refuse_long("note", choice.note.as_ref(), NOTE_LEN_MAX)
}
