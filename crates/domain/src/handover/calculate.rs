//! Handover dates from sentence facts, as the OMiC policy has them ("Handover dates" in
//! `docs/domain.md`).

use chrono::{Days, Months, NaiveDate};

use crate::{
    Refusal, Rule,
    handover::{Facts, HandoverReason, NamedDate, PlannedPhase, ReleaseDateName},
};

/// Handover dates and the reason for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// London day from which a COM supports.
    pub start_date: Option<NaiveDate>,
    /// London day from which the COM is responsible.
    pub handover_date: Option<NaiveDate>,
    /// The reason for the dates.
    pub reason: HandoverReason,
    /// The release date counted back from.
    pub earliest_release: Option<NamedDate>,
}

/// Works out the handover dates, `today` being the London day of the calculation.
///
/// # Errors
/// `sentence-start-unknown` for a determinate sentence without a start date, where the rules come
/// to need it.
pub fn plan(facts: &Facts, today: NaiveDate) -> Result<Plan, Refusal> {
    let earliest_release = earliest_release(facts, today);
    let fixed = |reason| Ok(Plan { start_date: None, handover_date: None, reason, earliest_release });
    if let Some(reason) = fixed_by_policy(facts, today) {
        return fixed(reason);
    }
    let Some(NamedDate { date: release, .. }) = earliest_release else {
        return fixed(HandoverReason::ReleaseDateUnknown);
    };
    let (handover_date, reason) = if facts.early_allocation {
        (months_before(release, 15), HandoverReason::EarlyAllocation)
    } else if facts.indeterminate {
        let reason =
            if facts.in_open_conditions { HandoverReason::IndeterminateOpen } else { HandoverReason::Indeterminate };
        (months_before(release, 12), reason)
    } else {
        let Some(sentence_start) = facts.sentence_start_date else {
            return Err(Refusal::new(
                Rule::SentenceStartUnknown,
                "A determinate sentence needs its sentenceStartDate for the handover dates to be worked out.",
            ));
        };
        if months_after(sentence_start, 10) >= release {
            return fixed(HandoverReason::DeterminateShort);
        }
        if facts.parole_eligibility_date.is_some() {
            (months_before(release, 12), HandoverReason::DeterminateParole)
        } else {
            (days_before(months_before(release, 8), 14), HandoverReason::Determinate)
        }
    };
    Ok(Plan {
        start_date: Some(start_date(facts, handover_date)),
        handover_date: Some(handover_date),
        reason,
        earliest_release,
    })
}

/// The phase of a case on a London day, by its plan.
#[must_use]
pub fn phase_on(
    reason: HandoverReason,
    start_date: Option<NaiveDate>,
    handover_date: Option<NaiveDate>,
    day: NaiveDate,
) -> PlannedPhase {
    use HandoverReason as Reason;
    match (reason, handover_date) {
        (Reason::AdditionalIsp | Reason::ReleaseDateUnknown, _) => PlannedPhase::CustodyOnly,
        (Reason::RecallThdOver12Months | Reason::ThdOver12Months, _) => PlannedPhase::CustodyWithCom,
        (_, None) => PlannedPhase::Community,
        (_, Some(handover_date)) if day >= handover_date => PlannedPhase::Community,
        (_, Some(handover_date)) if day >= start_date.unwrap_or(handover_date) => PlannedPhase::CustodyWithCom,
        (_, Some(_)) => PlannedPhase::CustodyOnly,
    }
}

fn fixed_by_policy(facts: &Facts, today: NaiveDate) -> Option<HandoverReason> {
    if facts.indeterminate {
        if facts.additional_indeterminate_sentence {
            return Some(HandoverReason::AdditionalIsp);
        }
        let mappa_2_or_3 = matches!(facts.mappa_level, Some(2 | 3));
        if facts.target_hearing_date.is_some_and(|thd| thd > months_after(today, 12)) {
            if facts.recalled && !mappa_2_or_3 {
                return Some(HandoverReason::RecallThdOver12Months);
            }
            if facts.parole_outcome_not_release {
                return Some(if mappa_2_or_3 {
                    HandoverReason::ParoleMappa23
                } else {
                    HandoverReason::ThdOver12Months
                });
            }
        }
    }
    if facts.recalled {
        Some(HandoverReason::RecallCase)
    } else if facts.immigration_case {
        Some(HandoverReason::ImmigrationCase)
    } else {
        None
    }
}

fn earliest_release(facts: &Facts, today: NaiveDate) -> Option<NamedDate> {
    let named = |name, date: Option<NaiveDate>| date.map(|date| NamedDate { name, date });
    if facts.indeterminate {
        let ted = named(ReleaseDateName::Ted, facts.tariff_date);
        let thd = named(ReleaseDateName::Thd, facts.target_hearing_date);
        let future = |date: &NamedDate| date.date > today;
        let distance = |date: &NamedDate| (date.date - today).abs();
        // `min_by_key` keeps the first of equals: TED.
        ted.filter(future).or(thd.filter(future)).or_else(|| [ted, thd].into_iter().flatten().min_by_key(distance))
    } else {
        let ard = named(ReleaseDateName::Ard, facts.automatic_release_date);
        let crd = named(ReleaseDateName::Crd, facts.conditional_release_date);
        named(ReleaseDateName::Ped, facts.parole_eligibility_date)
            .or_else(|| [ard, crd].into_iter().flatten().min_by_key(|date| date.date))
    }
}

fn start_date(facts: &Facts, handover_date: NaiveDate) -> NaiveDate {
    if !facts.indeterminate || !facts.open_prison_rules_apply {
        return handover_date;
    }
    let open_since = if facts.womens_estate { facts.category_active_since } else { facts.prison_arrival_date };
    open_since.map_or(handover_date, |day| day.min(handover_date))
}

/// Calendar dates of sentences are centuries away from the end of the calendar; should one not be,
/// it clamps.
fn months_before(date: NaiveDate, months: u32) -> NaiveDate {
    date.checked_sub_months(Months::new(months)).unwrap_or(NaiveDate::MIN)
}

fn months_after(date: NaiveDate, months: u32) -> NaiveDate {
    date.checked_add_months(Months::new(months)).unwrap_or(NaiveDate::MAX)
}

fn days_before(date: NaiveDate, days: u64) -> NaiveDate {
    date.checked_sub_days(Days::new(days)).unwrap_or(NaiveDate::MIN)
}
