//! The wait of a case to be allocated ("Waiting and overdue" in `docs/domain.md`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{london, words::words};

words! {
    /// Why a case waits to be allocated.
    WaitingReason {
        /// Its first tier at the prison.
        Received => "RECEIVED",
        /// It came from another prison.
        Transferred => "TRANSFERRED",
        /// Its primary POM became inactive.
        PomInactive => "POM_INACTIVE",
        /// Its primary POM's role was ended by hand.
        Deallocated => "DEALLOCATED",
        /// It was merged, and the merge does not say since when it had waited.
        Merged => "MERGED",
    }
}

/// The wait of a case at the prison that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// The effective time from which it waits.
    pub since: DateTime<Utc>,
    /// Why it waits.
    pub reason: WaitingReason,
}

impl Waiting {
    /// For how many calendar days in London the case has been waiting at `instant`.
    #[must_use]
    pub fn days_at(self, instant: DateTime<Utc>) -> i64 {
        (london::date(instant) - london::date(self.since)).num_days()
    }
}
