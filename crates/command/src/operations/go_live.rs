//! The correction of a prison's go-live date.
//!
//! A later date is refused while allocations at the prison are earlier. They are looked for up to
//! the log's end at that moment, through the policies' index. An allocation that is recorded after
//! that, on a roster with the earlier date, still counts, and [`crate::policies`] reports it.

use chrono::{DateTime, Utc};
use domain::{
    identifier::PrisonCode,
    london,
    prison::{EarlyAllocation, GoLiveCorrection, find_early_allocation, refuse_go_live_after},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{CommandError, Outcome, Request, Service, streams::answer_to_request};

/// Most cases loaded at a time.
const LOOK_UPS_MAX: usize = 64;

/// Corrects the go-live date, unless allocations that hold are earlier than the new one.
///
/// # Errors
/// [`CommandError`]; `allocations-before-go-live` names the cases.
pub(crate) async fn correct(
    service: &Service,
    code: &PrisonCode,
    correction: &GoLiveCorrection,
    request: Request,
) -> Result<Outcome, CommandError> {
    let prison = service.prison_now(code).await?;
    // A repeat gets the first answer, whatever has been allocated since.
    if let Some(answer) = answer_to_request(&prison.read(), &request) {
        return answer;
    }
    let before = prison.read().history().roster().joined.as_ref().map(|joined| joined.go_live_date);
    if before.is_some_and(|before| before < correction.go_live_date) {
        let position = service.log().head().await?;
        let go_live = london::midnight(correction.go_live_date);
        let early = find_early_allocations(service, code, go_live, position).await?;
        refuse_go_live_after(code, correction.go_live_date, early, position)?;
    }
    service.execute(request).await
}

/// The cases that were given to a POM at the prison before an instant, as of a position or later.
pub(crate) async fn find_early_allocations(
    service: &Service,
    prison: &PrisonCode,
    before: DateTime<Utc>,
    position: u64,
) -> Result<Vec<EarlyAllocation>, CommandError> {
    let numbers = service.obligations().cases_ever_at(prison, position).await?;
    stream::iter(numbers)
        .map(|number| async move {
            let case = service.case_now(&number).await?;
            let early = find_early_allocation(case.read().history(), prison, before);
            Ok::<_, CommandError>(early)
        })
        .buffered(LOOK_UPS_MAX)
        .try_filter_map(|early| async move { Ok(early) })
        .try_collect()
        .await
}
