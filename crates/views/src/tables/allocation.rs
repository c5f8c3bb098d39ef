//! Table `allocation`: one row an allocation or reallocation that was not voided.

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber, StaffId, Username},
    london,
    officer::PomKind,
    prisoner::{self, Choice, History, OverrideReason, WaitingReason},
    tier::{RoshLevel, Tier},
};

use crate::{
    postgres_time::{day, instant},
    table::table,
    values::AllocationKind,
};

table! {
    /// One row an allocation or reallocation of a primary POM, voided ones left out.
    AllocationRow in allocation, key (prisoner_number, revision) {
        /// NOMS number.
        prisoner_number: PrisonerNumber,
        /// Revision of the event in the case's stream.
        revision: u64,
        /// ALLOCATION or REALLOCATION.
        kind: AllocationKind,
        /// When it holds from.
        effective_at: DateTime<Utc>,
        /// First day of its London month.
        month: NaiveDate,
        /// When the ledger learnt of it.
        recorded_at: DateTime<Utc>,
        /// Username of the recorder; null where the request named no user.
        recorded_by: Option<Username>,
        /// Where.
        prison: PrisonCode,
        /// The primary POM.
        staff_id: StaffId,
        /// PRISON or PROBATION.
        pom_kind: PomKind,
        /// For a reallocation: the primary POM before.
        staff_id_before: Option<StaffId>,
        /// The case's tier at that moment.
        tier: Tier,
        /// The case's RoSH level at that moment.
        rosh_level: Option<RoshLevel>,
        /// The recommended kind; null where there was no recommendation.
        recommended_pom_kind: Option<PomKind>,
        /// Whether the choice went against the recommendation.
        is_override: bool,
        /// Why it did: SUITABILITY, NO_STAFF, CONTINUITY, OTHER.
        override_reasons: Vec<OverrideReason>,
        /// Detail for SUITABILITY.
        suitability_detail: Option<String>,
        /// Detail for OTHER.
        override_detail: Option<String>,
        /// For a reallocation: why the case moved.
        reason: Option<String>,
        /// Note to the POM.
        note: Option<String>,
        /// NOMIS booking, where a client of the first allocation API gave one.
        nomis_booking_id: Option<i64>,
        /// For an allocation: calendar days in London that the case had been waiting.
        days_waited: Option<i32>,
        /// For an allocation: since when it had been waiting.
        waiting_since: Option<DateTime<Utc>>,
        /// What began that wait: RECEIVED, TRANSFERRED, POM_INACTIVE, DEALLOCATED, MERGED.
        waited_because: Option<WaitingReason>,
        /// For an allocation: when the person was received at the prison, if the ledger was told.
        received_at: Option<DateTime<Utc>>,
        /// For an allocation: calendar days in London from that reception.
        days_from_reception: Option<i32>,
        /// Whether it is the first allocation since that reception; false without one, and after
        /// one as TRANSFERRED.
        is_first_since_reception: bool,
    }
}

impl AllocationRow {
    /// The rows of a case, by revision.
    #[must_use]
    pub fn all_of(history: &History) -> Vec<Self> {
        let allocations = prisoner::allocations(history);
        let mut rows: Vec<Self> = allocations.iter().map(|allocation| Self::of(history.number(), allocation)).collect();
        rows.sort_by_key(|allocation| allocation.revision);
        rows
    }

    fn of(number: &PrisonerNumber, allocation: &prisoner::Allocation<'_>) -> Self {
        let Choice {
            tier,
            rosh_level,
            recommendation_policy: _,
            recommended_pom_kind,
            override_reasons,
            suitability_detail,
            override_detail,
            note,
            nomis_booking_id,
        } = allocation.choice.clone();
        let (entry, pom) = (allocation.entry, allocation.pom);
        Self {
            prisoner_number: number.clone(),
            revision: entry.revision,
            kind: match allocation.pom_before {
                None => AllocationKind::Allocation,
                Some(_) => AllocationKind::Reallocation,
            },
            effective_at: instant(entry.effective_at),
            month: month(entry.effective_at),
            recorded_at: instant(entry.recorded_at),
            recorded_by: entry.recorded_by.username.clone(),
            prison: allocation.prison.clone(),
            staff_id: pom.staff_id,
            pom_kind: pom.kind,
            staff_id_before: allocation.pom_before.map(|before| before.staff_id),
            tier,
            rosh_level,
            recommended_pom_kind,
            is_override: allocation.choice.is_override(pom.kind),
            override_reasons,
            suitability_detail,
            override_detail,
            reason: allocation.reason.map(str::to_owned),
            note,
            nomis_booking_id,
            days_waited: allocation.days_waited(),
            waiting_since: allocation.waiting.map(|waiting| instant(waiting.since)),
            waited_because: allocation.waiting.map(|waiting| waiting.reason),
            received_at: allocation.reception.map(|reception| instant(reception.since)),
            days_from_reception: allocation.days_from_reception(),
            is_first_since_reception: allocation.is_first_since_reception,
        }
    }
}

/// The first day of the London month of an instant.
fn month(at: DateTime<Utc>) -> NaiveDate {
    let date = day(london::date(at));
    date.with_day(1).unwrap_or(date)
}
