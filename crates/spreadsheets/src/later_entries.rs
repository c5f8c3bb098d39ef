//! Refusals of rows and departures because of what the ledger holds of a later time: a command may
//! be legal on its day, and yet not lead to what the row says.

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Entry, Refusal, Rule,
    identifier::{PrisonCode, PrisonerNumber},
    london,
    prisoner::{self, PrisonerEvent},
    tier::Tier,
};

use super::day_words::{describe_day, describe_moment};

/// A refusal because of later entries.
pub(super) fn refuse(sentence: &str) -> Refusal {
    Refusal::new(Rule::LaterEntryConflict, sentence.trim_end())
}

/// The effective time of what a sheet says of a London day: after everything that the ledger has of
/// that day, as the sheet is the later word. Entries of one instant hold in the order recorded.
pub(super) fn find_effective_time(history: &prisoner::History, on: NaiveDate) -> DateTime<Utc> {
    let entries = history.in_effective_order().into_iter().map(|entry| entry.effective_at);
    entries.filter(|at| london::date(*at) == on).fold(london::midnight(on), Ord::max)
}

/// How to take back a later entry that is wrong, as a sentence; none of an entry that cannot be
/// voided.
pub(super) fn advise_void(history: &prisoner::History, revision: u64) -> String {
    let entry = usize::try_from(revision).ok().and_then(|index| history.entries().get(index));
    let is_of_merge = entry.is_none_or(|entry| {
        matches!(entry.event, PrisonerEvent::PrisonerNumberMerged(_) | PrisonerEvent::PrisonerNumberRetired(_))
    });
    if is_of_merge {
        return String::new();
    }
    let number = history.number();
    format!(
        "If entry {revision} of the case is wrong, void it first, with its revision and a reason: POST \
         /prisoners/{number}/voids."
    )
}

/// The newest tier in effect, and the entry that gave it.
pub(super) fn newest_tier(history: &prisoner::History) -> Option<(Tier, &Entry<PrisonerEvent>)> {
    history.in_effective_order().into_iter().rev().find_map(|entry| match &entry.event {
        PrisonerEvent::TierAssigned(assigned) => Some((assigned.tier, entry)),
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
        Some((newest, since)) if !tier.includes(newest) => Err(refuse(&format!(
            "The ledger has a newer tier of {}: {newest} since {}, so that tier {tier} from {} does not hold now. \
             {advice} {}",
            after.number(),
            describe_moment(since.effective_at),
            describe_moment(effective_at),
            advise_void(after, since.revision),
        ))),
        _ => Ok(()),
    }
}

/// The entry since which a case is at a prison without a break; `None` if it is elsewhere.
pub(super) fn at_prison_since<'a>(
    history: &'a prisoner::History,
    prison: &PrisonCode,
) -> Option<&'a Entry<PrisonerEvent>> {
    let mut state = prisoner::State::default();
    let mut since = None;
    for entry in history.in_effective_order() {
        state.apply(entry);
        let is_there = state.prison.as_ref() == Some(prison);
        since = if is_there { since.or(Some(entry)) } else { None };
    }
    since
}

/// The place of a case that is not at `prison`, or waits there, as a sentence without its end.
pub(super) fn describe_place(history: &prisoner::History, prison: &PrisonCode) -> String {
    let (number, state) = (history.number(), history.state());
    if let Some(survivor) = &state.retired_into {
        return format!("{number} was merged into {survivor}");
    }
    if let Some(left_at) = state.left_at {
        let on = describe_day(london::date(left_at));
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
    refuse(&format!(
        "By the ledger {}. An earlier import recorded this row before that. If the row is right again, give it the date \
         from which it is; otherwise leave the row out.",
        describe_place(history, prison)
    ))
}
