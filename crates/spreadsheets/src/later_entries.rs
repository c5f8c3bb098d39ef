//! Refusals of rows and departures because of what the ledger holds of a later time: a command may
//! be legal on its day, and yet not lead to what the row says.

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Refusal, Rule,
    identifier::{PrisonCode, PrisonerNumber},
    london,
    prisoner::{self, PrisonerEvent},
    tier::Tier,
};

/// The date in words.
pub(super) fn in_words(date: NaiveDate) -> String {
    date.format("%-d %B %Y").to_string()
}

/// A refusal because of later entries.
pub(super) fn refuse(sentence: String) -> Refusal {
    Refusal::new(Rule::LaterEntryConflict, sentence)
}

/// The newest tier in effect, and the London day from which it holds.
pub(super) fn newest_tier(history: &prisoner::History) -> Option<(Tier, NaiveDate)> {
    history.in_effective_order().into_iter().rev().find_map(|entry| match &entry.event {
        PrisonerEvent::TierAssigned(assigned) => Some((assigned.tier, london::date(entry.effective_at))),
        _ => None,
    })
}

/// Refuses a tier that a newer one replaces. `after` is the history with the tier in it, and
/// `advice` says what to do.
pub(super) fn check_tier_holds(
    after: &prisoner::History,
    tier: Tier,
    effective_at: DateTime<Utc>,
    advice: &str,
) -> Result<(), Refusal> {
    match newest_tier(after) {
        Some((newest, since)) if !tier.includes(newest) => Err(refuse(format!(
            "The ledger has a newer tier of {}: {newest} since {}, so that tier {tier} from {} does not hold now. {advice}",
            after.number(),
            in_words(since),
            in_words(london::date(effective_at)),
        ))),
        _ => Ok(()),
    }
}

/// The London day from which a case is at a prison without a break; `None` if it is elsewhere.
pub(super) fn at_prison_since(history: &prisoner::History, prison: &PrisonCode) -> Option<NaiveDate> {
    let mut state = prisoner::State::default();
    let mut since = None;
    for entry in history.in_effective_order() {
        state.apply(entry);
        let is_there = state.prison.as_ref() == Some(prison);
        since = if is_there { since.or(Some(entry.effective_at)) } else { None };
    }
    since.map(london::date)
}

/// The place of a case that is not at `prison`, or waits there, as a sentence without its end.
pub(super) fn describe_place(history: &prisoner::History, prison: &PrisonCode) -> String {
    let (number, state) = (history.number(), history.state());
    if let Some(survivor) = &state.retired_into {
        return format!("{number} was merged into {survivor}");
    }
    if let Some(left_at) = state.left_at {
        let on = in_words(london::date(left_at));
        return format!("{number} was released, or left the scope of offender management, on {on}");
    }
    match (&state.prison, &state.primary_pom) {
        (None, _) => format!("{number} is at no prison"),
        (Some(held_at), Some(role)) => {
            format!("{number} is allocated to {} (staff id {}) at {held_at}", role.pom.name, role.pom.staff_id)
        }
        (Some(held_at), None) if held_at == prison => format!("{number} has no POM at {held_at}"),
        (Some(held_at), None) => format!("{number} is at {held_at}"),
    }
}

/// Refuses a row that an earlier import recorded, of a case that has gone on since.
pub(super) fn refuse_moved_on(history: &prisoner::History, prison: &PrisonCode) -> Refusal {
    let number: &PrisonerNumber = history.number();
    if let Some((_, survivor)) = history.retirement() {
        return prisoner::refuse_retired_number(number, survivor);
    }
    refuse(format!(
        "By the ledger {}. An earlier import recorded this row before that. If the row is right again, give it the date \
         from which it is; otherwise leave the row out.",
        describe_place(history, prison)
    ))
}
