//! Table `control_entry`: the entries that the controls of auditors look at.

use chrono::{DateTime, Utc};
use domain::{
    Entry,
    identifier::{PrisonCode, PrisonerNumber, StaffId, Username},
    london,
    officer::{Pom, PomKind},
    prisoner::{Choice, EntryVoided, History, OverrideReason, PrisonerEvent, PrisonerEventType},
};

use crate::{postgres_time::instant, table::table, values::ColumnValue};

table! {
    /// One row an entry of a case that controls look at: a void, one that was recorded on a later
    /// day than it holds from, a choice of a primary POM against the recommendation. Those voided
    /// since are there too.
    ControlEntryRow in control_entry, key (prisoner_number, revision) {
        /// NOMS number that it was recorded under.
        prisoner_number: PrisonerNumber,
        /// Revision of the event in that number's stream.
        revision: u64,
        /// Position of the event in the log.
        position: u64,
        /// Type of the event, e.g. TierAssigned.
        event_type: PrisonerEventType,
        /// The prison that the event names, or else the one that held the case when it was
        /// recorded; null where none did.
        prison: Option<PrisonCode>,
        /// When it holds from.
        effective_at: DateTime<Utc>,
        /// When the ledger learnt of it.
        recorded_at: DateTime<Utc>,
        /// Username of the recorder; null where the request named no user.
        recorded_by: Option<Username>,
        /// The client that recorded it.
        client: String,
        /// Calendar days in London from when it holds to when it was recorded; 0 where it was not
        /// recorded later.
        days_late: i32,
        /// Revision of the entry that voided this one; null where none did.
        voided_by: Option<u64>,
        /// For a void: revision of the entry that it takes back.
        voided_revision: Option<u64>,
        /// For a void: type of that entry.
        voided_type: Option<PrisonerEventType>,
        /// For a void: when that entry was recorded.
        voided_recorded_at: Option<DateTime<Utc>>,
        /// For a void: username of the recorder of that entry.
        voided_recorded_by: Option<Username>,
        /// Whether it is a choice against the recommendation.
        is_override: bool,
        /// For a choice of a primary POM: the POM.
        staff_id: Option<StaffId>,
        /// For a choice of a primary POM: PRISON or PROBATION.
        pom_kind: Option<PomKind>,
        /// For a choice of a primary POM: the recommended kind, where there was one.
        recommended_pom_kind: Option<PomKind>,
        /// Reasons for an override: SUITABILITY, NO_STAFF, CONTINUITY, OTHER.
        override_reasons: Vec<OverrideReason>,
        /// Detail for SUITABILITY.
        suitability_detail: Option<String>,
        /// Detail for OTHER.
        override_detail: Option<String>,
        /// For a void or a reallocation: its reason.
        reason: Option<String>,
    }
}

/// The name of a type of event, as the log has it.
impl ColumnValue for PrisonerEventType {
    const SQL: &'static str = "text";

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.name().as_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Self::from_name(std::str::from_utf8(bytes).ok()?)
    }
}

impl ControlEntryRow {
    /// The rows of a case, by revision.
    #[must_use]
    pub fn all_of(history: &History) -> Vec<Self> {
        let mut rows: Vec<Self> =
            history.entries().iter().map(|entry| Self::of(history, entry)).filter(Self::is_for_controls).collect();
        // The prisons of a long history cost much, and most histories have no such entry.
        if !rows.is_empty() {
            let prisons = history.prisons_of_entries();
            for row in &mut rows {
                row.prison = usize::try_from(row.revision).ok().and_then(|index| prisons.get(index).cloned().flatten());
            }
        }
        rows
    }

    fn is_for_controls(&self) -> bool {
        self.voided_revision.is_some() || self.days_late > 0 || self.is_override
    }

    /// The row of an entry, without its prison.
    fn of(history: &History, entry: &Entry<PrisonerEvent>) -> Self {
        let (effective_at, recorded_at) = (instant(entry.effective_at), instant(entry.recorded_at));
        let days_late = (london::date(recorded_at) - london::date(effective_at)).num_days().max(0);
        let row = Self {
            prisoner_number: history.number().clone(),
            revision: entry.revision,
            position: entry.position,
            event_type: entry.event.event_type(),
            prison: None,
            effective_at,
            recorded_at,
            recorded_by: entry.recorded_by.username.clone(),
            client: entry.recorded_by.client.clone(),
            days_late: i32::try_from(days_late).unwrap_or(i32::MAX),
            voided_by: history.voided_by(entry.revision),
            voided_revision: None,
            voided_type: None,
            voided_recorded_at: None,
            voided_recorded_by: None,
            is_override: false,
            staff_id: None,
            pom_kind: None,
            recommended_pom_kind: None,
            override_reasons: Vec::new(),
            suitability_detail: None,
            override_detail: None,
            reason: None,
        };
        match &entry.event {
            PrisonerEvent::AllocationMade(made) => row.with_choice(&made.pom, &made.choice),
            PrisonerEvent::Reallocated(moved) => {
                Self { reason: Some(moved.reason.clone()), ..row.with_choice(&moved.pom_after, &moved.choice) }
            }
            PrisonerEvent::EntryVoided(void) => row.with_void(history, void),
            PrisonerEvent::Received(_)
            | PrisonerEvent::TierAssigned(_)
            | PrisonerEvent::CrnRecorded(_)
            | PrisonerEvent::Deallocated(_)
            | PrisonerEvent::CoworkerAllocated(_)
            | PrisonerEvent::CoworkerReallocated(_)
            | PrisonerEvent::CoworkerDeallocated(_)
            | PrisonerEvent::CommunityManagerAssigned(_)
            | PrisonerEvent::CommunityManagerRemoved(_)
            | PrisonerEvent::HandoverPlanned(_)
            | PrisonerEvent::ResponsibilityOverridden(_)
            | PrisonerEvent::ResponsibilityOverrideRemoved(_)
            | PrisonerEvent::PrisonerNumberMerged(_)
            | PrisonerEvent::PrisonerNumberRetired(_) => row,
        }
    }

    fn with_choice(self, pom: &Pom, choice: &Choice) -> Self {
        Self {
            is_override: choice.is_override(pom.kind),
            staff_id: Some(pom.staff_id),
            pom_kind: Some(pom.kind),
            recommended_pom_kind: choice.recommended_pom_kind,
            override_reasons: choice.override_reasons.clone(),
            suitability_detail: choice.suitability_detail.clone(),
            override_detail: choice.override_detail.clone(),
            ..self
        }
    }

    fn with_void(self, history: &History, void: &EntryVoided) -> Self {
        let voided = usize::try_from(void.revision).ok().and_then(|index| history.entries().get(index));
        Self {
            voided_revision: Some(void.revision),
            voided_type: voided.map(|voided| voided.event.event_type()),
            voided_recorded_at: voided.map(|voided| instant(voided.recorded_at)),
            voided_recorded_by: voided.and_then(|voided| voided.recorded_by.username.clone()),
            reason: Some(void.reason.clone()),
            ..self
        }
    }
}
