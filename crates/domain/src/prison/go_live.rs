//! The correction of a prison's go-live date.
//!
//! The corrected date counts for all time, as the first one did. So a later date would leave
//! allocations before it without a prison on OMiC (rule 1), and is refused while there are any. The
//! caller finds them: they are in the cases' histories.

use chrono::{DateTime, NaiveDate, Utc};

use super::{GoLiveCorrection, History, PrisonEvent, PrisonOmicDateCorrected, Roster};
use crate::{
    Refusal, Rule,
    identifier::{PrisonCode, PrisonerNumber},
    london,
    prisoner::{self, RoleChange},
    refusal::{DETAIL_LEN_MAX, refuse_long},
};

/// Most cases that a refusal names: more of them make no sentence that a person reads.
const NAMED_MAX: usize = 100;

/// A case that was given to a POM at a prison before an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlyAllocation {
    /// The case.
    pub number: PrisonerNumber,
    /// The position in the log of the entry that gave the role.
    pub position: u64,
    /// The effective time of the entry.
    pub effective_at: DateTime<Utc>,
}

/// The first entry of a case, voided ones left out, that gave a POM a role at the prison before an
/// instant.
#[must_use]
pub fn find_early_allocation(
    case: &prisoner::History,
    prison: &PrisonCode,
    before: DateTime<Utc>,
) -> Option<EarlyAllocation> {
    let gives_role = |change: &RoleChange<'_>| matches!(change, RoleChange::Given(at, _) if *at == prison);
    let in_effect = case.in_effective_order();
    let mut early = in_effect.iter().take_while(|entry| entry.effective_at < before);
    early.find(|entry| entry.event.role_changes().iter().any(gives_role)).map(|entry| EarlyAllocation {
        number: case.number().clone(),
        position: entry.position,
        effective_at: entry.effective_at,
    })
}

/// Refuses a go-live date after allocations that hold. `position` is that of the log up to which
/// they were looked for.
///
/// # Errors
/// `allocations-before-go-live`, with the cases.
pub fn refuse_go_live_after(
    code: &PrisonCode,
    go_live_date: NaiveDate,
    mut early: Vec<EarlyAllocation>,
    position: u64,
) -> Result<(), Refusal> {
    early.sort_by(|one, other| (one.effective_at, &one.number).cmp(&(other.effective_at, &other.number)));
    let Some(first) = early.first() else { return Ok(()) };
    let written = |at: DateTime<Utc>| london::date(at).format("%-d %B %Y").to_string();
    let named = early.iter().take(NAMED_MAX);
    let mut named: Vec<_> = named.map(|case| format!("{} on {}", case.number, written(case.effective_at))).collect();
    if let Some(more @ 1..) = early.len().checked_sub(NAMED_MAX) {
        named.push(format!("and {more} more"));
    }
    let cases = if early.len() == 1 { "1 case was".to_owned() } else { format!("{} cases were", early.len()) };
    Err(Refusal::new(
        Rule::AllocationsBeforeGoLive,
        format!(
            "{cases} allocated at {code} before {}: {}. Use a date by {}, or void those allocations first. (The log was \
             looked through up to position {position}.)",
            go_live_date.format("%-d %B %Y"),
            named.join(", "),
            written(first.effective_at),
        ),
    ))
}

/// The event of a correction on a roster.
pub(super) fn correct(
    code: &PrisonCode,
    roster: &Roster,
    correction: &GoLiveCorrection,
) -> Result<PrisonEvent, Refusal> {
    refuse_long("reason", correction.reason.as_ref(), DETAIL_LEN_MAX)?;
    let joined = roster.joined.as_ref().ok_or_else(|| {
        Refusal::new(
            Rule::PrisonNotOnOmic,
            format!("{code} has no go-live date that could be corrected. Record its onboarding first."),
        )
    })?;
    if joined.go_live_date == correction.go_live_date {
        return Err(Refusal::new(
            Rule::NothingChanged,
            format!("The go-live date of {code} is {} already.", joined.go_live_date.format("%-d %B %Y")),
        ));
    }
    Ok(PrisonEvent::PrisonOmicDateCorrected(PrisonOmicDateCorrected {
        go_live_date: correction.go_live_date,
        go_live_date_before: joined.go_live_date,
        reason: correction.reason.clone(),
    }))
}

/// Refuses a correction that would take effect before one that is recorded: the older one would
/// count.
pub(super) fn refuse_backdated(history: &History, effective_at: DateTime<Utc>) -> Result<(), Refusal> {
    let is_later_correction = |event: &PrisonEvent| matches!(event, PrisonEvent::PrisonOmicDateCorrected(_));
    match history.entries().iter().find(|entry| entry.effective_at > effective_at && is_later_correction(&entry.event))
    {
        Some(later) => Err(Refusal {
            later_entry: Some(later.revision),
            ..Refusal::new(
                Rule::LaterEntryConflict,
                format!(
                    "The go-live date of {} was corrected later than that. Use a later effective time.",
                    history.code()
                ),
            )
        }),
        None => Ok(()),
    }
}
