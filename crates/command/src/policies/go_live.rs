//! Rule 1 of `docs/domain.md`: allocations at a prison are not earlier than its go-live date.
//!
//! A later go-live date is refused where such an allocation holds. One that was recorded in the
//! same moment counts, and this policy reports it: a person decides which of the two is wrong.

use domain::{identifier::PrisonCode, london};

use crate::{CommandError, Service, operations::go_live::find_early_allocations};

/// Most events that a report names: the first ones tell a person where to look.
const POSITIONS_MAX: usize = 10;

/// Reports the allocations that are earlier than the prison's go-live date, if there are any, by
/// position: the log must name no prisoner.
pub(super) async fn discharge(service: &Service, prison: &PrisonCode) -> Result<(), CommandError> {
    let joined = service.prison_now(prison).await?.read().history().roster().joined.clone();
    let Some(joined) = joined else { return Ok(()) };
    let go_live = london::midnight(joined.go_live_date);
    let position = service.obligations().position();
    let early = find_early_allocations(service, prison, go_live, position).await?;
    if !early.is_empty() {
        let positions: Vec<_> = early.iter().take(POSITIONS_MAX).map(|case| case.position.to_string()).collect();
        tracing::error!(
            %prison,
            go_live_date = %joined.go_live_date,
            cases = early.len(),
            "{} cases were allocated at {prison} before its go-live date, {}, first by the events at position {}: void \
             those allocations, or correct the date",
            early.len(),
            joined.go_live_date,
            positions.join(", ")
        );
    }
    Ok(())
}
