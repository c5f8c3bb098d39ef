//! The bounds of the time from which an event is effective (rule 8 in `docs/domain.md`).

use chrono::{DateTime, Datelike as _, Utc};

use crate::{Refusal, Rule, moment::YEARS};

/// Refuses an effective time in the future, or so long ago that it is a slip of the pen.
///
/// # Errors
/// The refusal.
pub fn check_effective_at(effective_at: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), Refusal> {
    if effective_at > now {
        return Err(Refusal::new(
            Rule::EffectiveTimeInFuture,
            "The effective time is in the future. An event can be backdated, never postdated.",
        ));
    }
    if effective_at.year() < *YEARS.start() {
        return Err(Refusal::new(
            Rule::EffectiveTimeTooEarly,
            format!("The effective time is before {}. Check the year.", YEARS.start()),
        ));
    }
    Ok(())
}
