//! Which rows a case or a prison has, given its history.
//!
//! Pure and without a clock: the same history gives the same rows. Live projection, rebuild and verification all go
//! through here. The structs mirror the tables of `migrations/views.sql`, whose comments say what each column means.
//!
//! Postgres keeps whole microseconds and no time before 4713 BC; what the log holds beyond that is brought within it
//! here, so that the rows compare equal to what Postgres gives back.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, SubsecRound, Utc};
use domain::{
    Entry,
    handover::{HandoverReason, Phase},
    identifier::{Crn, PrisonCode, PrisonerNumber, StaffId, Username},
    london,
    officer::{CommunityManager, Pom, PomKind, PomStatus, WorkingPattern},
    prison::{self, Contact, Estate, RosterPeriod},
    prisoner::{
        self, Choice, OfficerRole, OverrideReason, Period, PrisonerEvent, ResponsibilityOverrideReason,
        ResponsibleService, State,
    },
    tier::{RoshLevel, Tier},
};
use uuid::Uuid;

/// The rows of one case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CaseRows {
    /// `None` while nothing is recorded of the case.
    pub(crate) prisoner_case: Option<PrisonerCase>,
    pub(crate) case_period: Vec<CasePeriod>,
    pub(crate) case_prison: Vec<CasePrison>,
    pub(crate) allocation: Vec<Allocation>,
}

/// The rows of one prison.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PrisonRows {
    /// `None` while nothing is recorded of the prison.
    pub(crate) prison: Option<Prison>,
    pub(crate) pom_period: Vec<PomPeriod>,
    pub(crate) nomis_contact: Vec<NomisContact>,
}

/// A row of `prisoner_case`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PrisonerCase {
    pub(crate) prisoner_number: PrisonerNumber,
    pub(crate) revision: u64,
    pub(crate) position: u64,
    pub(crate) crn: Option<Crn>,
    pub(crate) merged_into: Option<PrisonerNumber>,
    pub(crate) first_effective_at: DateTime<Utc>,
    pub(crate) ever_allocated: bool,
}

/// A row of `case_period`; `valid_to` is `None` for infinity, and the columns of one officer are together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CasePeriod {
    pub(crate) prisoner_number: PrisonerNumber,
    pub(crate) valid_from: DateTime<Utc>,
    pub(crate) valid_to: Option<DateTime<Utc>>,
    pub(crate) revision: u64,
    pub(crate) prison: Option<PrisonCode>,
    pub(crate) tier: Option<Tier>,
    pub(crate) rosh_level: Option<RoshLevel>,
    pub(crate) pom: Option<Pom>,
    pub(crate) pom_since: Option<DateTime<Utc>>,
    pub(crate) allocation_revision: Option<u64>,
    pub(crate) coworker: Option<Pom>,
    pub(crate) coworker_since: Option<DateTime<Utc>>,
    pub(crate) com: Option<CommunityManager>,
    pub(crate) com_since: Option<DateTime<Utc>>,
    pub(crate) phase: Phase,
    pub(crate) responsible: OfficerRole,
    pub(crate) responsible_since: DateTime<Utc>,
    pub(crate) supporting: Option<OfficerRole>,
    pub(crate) plan_reason: Option<HandoverReason>,
    pub(crate) plan_start_date: Option<NaiveDate>,
    pub(crate) plan_handover_date: Option<NaiveDate>,
    pub(crate) override_responsible: Option<ResponsibleService>,
    pub(crate) override_reason: Option<ResponsibilityOverrideReason>,
    pub(crate) override_detail: Option<String>,
    pub(crate) waiting_since: Option<DateTime<Utc>>,
    /// What a look-up of the period wants to know of the case.
    pub(crate) case: PrisonerCase,
}

/// A row of `case_prison`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CasePrison {
    pub(crate) prisoner_number: PrisonerNumber,
    pub(crate) prison: PrisonCode,
    pub(crate) first_position: u64,
    pub(crate) left_position: Option<u64>,
    pub(crate) left_at: Option<DateTime<Utc>>,
}

/// Whether a POM was given a case that nobody had, or one that another POM had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum AllocationKind {
    Allocation,
    Reallocation,
}

/// A row of `allocation`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Allocation {
    pub(crate) prisoner_number: PrisonerNumber,
    pub(crate) revision: u64,
    pub(crate) kind: AllocationKind,
    pub(crate) effective_at: DateTime<Utc>,
    pub(crate) month: NaiveDate,
    pub(crate) recorded_at: DateTime<Utc>,
    pub(crate) recorded_by: Username,
    pub(crate) prison: PrisonCode,
    pub(crate) staff_id: StaffId,
    pub(crate) pom_kind: PomKind,
    pub(crate) staff_id_before: Option<StaffId>,
    pub(crate) tier: Tier,
    pub(crate) rosh_level: Option<RoshLevel>,
    pub(crate) recommended_pom_kind: Option<PomKind>,
    pub(crate) is_override: bool,
    pub(crate) override_reasons: Vec<OverrideReason>,
    pub(crate) suitability_detail: Option<String>,
    pub(crate) override_detail: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) note: Option<String>,
    pub(crate) nomis_booking_id: Option<i64>,
    pub(crate) days_waited: Option<i32>,
}

/// A row of `prison`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Prison {
    pub(crate) prison_code: PrisonCode,
    pub(crate) revision: u64,
    pub(crate) position: u64,
    pub(crate) go_live_date: Option<NaiveDate>,
    pub(crate) estate: Option<Estate>,
}

/// A row of `pom_period`; `valid_to` is `None` for infinity.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PomPeriod {
    pub(crate) prison_code: PrisonCode,
    pub(crate) staff_id: StaffId,
    pub(crate) valid_from: DateTime<Utc>,
    pub(crate) valid_to: Option<DateTime<Utc>>,
    pub(crate) name: String,
    pub(crate) kind: PomKind,
    pub(crate) email: Option<String>,
    pub(crate) working_pattern: WorkingPattern,
    pub(crate) status: PomStatus,
    pub(crate) returns_on: Option<NaiveDate>,
    pub(crate) reason: Option<String>,
}

/// A row of `nomis_contact`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NomisContact {
    pub(crate) prison_code: PrisonCode,
    pub(crate) contact_id: Uuid,
    pub(crate) prisoner_number: PrisonerNumber,
    pub(crate) staff_id: Option<StaffId>,
    pub(crate) name: Option<String>,
    pub(crate) contact_type: String,
    pub(crate) found_at: DateTime<Utc>,
    pub(crate) removed_at: Option<DateTime<Utc>>,
}

/// The rows of a case.
pub(crate) fn case_rows(history: &prisoner::History) -> CaseRows {
    let number = history.number();
    let (case_prison, state) = case_prisons(history);
    let prisoner_case = history.entries().last().map(|last| PrisonerCase {
        prisoner_number: number.clone(),
        revision: last.revision,
        position: last.position,
        crn: state.crn,
        merged_into: state.retired_into,
        first_effective_at: first_effective_at(history),
        ever_allocated: state.ever_allocated,
    });
    let case_period = prisoner_case
        .iter()
        .flat_map(|case| prisoner::periods(history).into_iter().filter_map(|period| case_period(case, period)))
        .collect();
    CaseRows { prisoner_case, case_period, case_prison, allocation: allocations(history) }
}

/// The rows of a prison.
pub(crate) fn prison_rows(history: &prison::History) -> PrisonRows {
    let code = history.code();
    let roster = history.roster();
    let prison = history.entries().last().map(|last| Prison {
        prison_code: code.clone(),
        revision: last.revision,
        position: last.position,
        go_live_date: roster.joined.as_ref().map(|joined| day(joined.go_live_date)),
        estate: roster.joined.as_ref().map(|joined| joined.estate),
    });
    PrisonRows {
        prison,
        pom_period: prison::roster_periods(history).into_iter().filter_map(|period| pom_period(code, period)).collect(),
        nomis_contact: roster
            .contacts
            .iter()
            .map(|(&contact_id, contact)| nomis_contact(code, contact_id, contact))
            .collect(),
    }
}

/// Where every entry was voided none stands; the case is then as old as the earliest of them.
fn first_effective_at(history: &prisoner::History) -> DateTime<Utc> {
    let standing = history.in_effective_order().first().map(|entry| entry.effective_at);
    let recorded = || history.entries().iter().map(|entry| entry.effective_at).min();
    instant(standing.or_else(recorded).unwrap_or_default())
}

fn case_period(case: &PrisonerCase, period: Period) -> Option<CasePeriod> {
    let (valid_from, valid_to) = within_microseconds(period.from, period.to)?;
    let State {
        prison,
        tier,
        primary_pom,
        coworking_pom,
        community_manager,
        handover_plan,
        responsibility_override,
        waiting_since,
        ..
    } = period.state;
    let (pom, pom_since, allocation_revision) =
        primary_pom.map_or((None, None, None), |role| (Some(role.pom), Some(role.since), role.allocation_revision));
    let (coworker, coworker_since) = coworking_pom.map(|role| (role.pom, role.since)).unzip();
    let (com, com_since) = community_manager.map(|role| (role.manager, role.since)).unzip();
    let plan = handover_plan.as_ref();
    Some(CasePeriod {
        prisoner_number: case.prisoner_number.clone(),
        valid_from,
        valid_to,
        revision: period.revision,
        prison,
        tier: tier.as_ref().map(|tier| tier.tier),
        rosh_level: tier.as_ref().and_then(|tier| tier.rosh_level),
        pom,
        pom_since: pom_since.map(instant),
        allocation_revision,
        coworker,
        coworker_since: coworker_since.map(instant),
        com,
        com_since: com_since.map(instant),
        phase: period.responsibility.phase,
        responsible: period.responsibility.responsible,
        responsible_since: instant(period.responsible_since),
        supporting: period.responsibility.supporting,
        plan_reason: plan.map(|plan| plan.reason),
        plan_start_date: plan.and_then(|plan| plan.start_date).map(day),
        plan_handover_date: plan.and_then(|plan| plan.handover_date).map(day),
        override_responsible: responsibility_override.as_ref().map(|decision| decision.responsible),
        override_reason: responsibility_override.as_ref().map(|decision| decision.reason),
        override_detail: responsibility_override.and_then(|decision| decision.detail),
        waiting_since: waiting_since.map(instant),
        case: case.clone(),
    })
}

/// The prisons that the case was known to be held at after any of its entries, those voided since included, by prison code;
/// and what holds after all of them.
fn case_prisons(history: &prisoner::History) -> (Vec<CasePrison>, State) {
    let mut seen = Seen { number: history.number(), rows: BTreeMap::new() };
    let mut state = State::default();
    let mut latest = DateTime::<Utc>::MIN_UTC;
    for entry in history.entries() {
        if entry.effective_at >= latest && !matches!(entry.event, PrisonerEvent::EntryVoided(_)) {
            latest = entry.effective_at;
            seen.apply(&mut state, entry, entry.position);
        } else {
            // It changes what was known of the time before.
            let known = history.known_at_position(entry.position);
            state = State::default();
            known.in_effective_order().iter().for_each(|earlier| seen.apply(&mut state, earlier, entry.position));
        }
        let held_at = held_at(&state);
        for (prison, row) in &mut seen.rows {
            if held_at.contains(&Some(prison)) {
                row.left_position = None;
            } else {
                row.left_position.get_or_insert(entry.position);
            }
        }
    }
    (seen.rows.into_values().collect(), state)
}

/// Where a case has been seen, as far as its history has been looked at.
struct Seen<'a> {
    number: &'a PrisonerNumber,
    rows: BTreeMap<PrisonCode, CasePrison>,
}

impl Seen<'_> {
    /// Takes in the next entry in effective order, which was known to stand there at a position.
    fn apply(&mut self, state: &mut State, entry: &Entry<PrisonerEvent>, position: u64) {
        let before = held_at(state).map(Option::<&PrisonCode>::cloned);
        state.apply(entry);
        let after = held_at(state);
        for prison in prisons(state).into_iter().flatten() {
            if !self.rows.contains_key(prison) {
                let row = CasePrison {
                    prisoner_number: self.number.clone(),
                    prison: prison.clone(),
                    first_position: position,
                    left_position: None,
                    left_at: None,
                };
                self.rows.insert(prison.clone(), row);
            }
        }
        for left in before.iter().flatten().filter(|prison| !after.contains(&Some(prison))) {
            if let Some(row) = self.rows.get_mut(left) {
                row.left_at = row.left_at.max(Some(instant(entry.effective_at)));
            }
        }
    }
}

/// The prisons at which somebody may hold the case.
fn prisons(state: &State) -> [Option<&PrisonCode>; 2] {
    [state.prison.as_ref(), state.coworking_pom.as_ref().map(|role| &role.prison)]
}

/// The same, but none once it was merged into another.
fn held_at(state: &State) -> [Option<&PrisonCode>; 2] {
    if state.retired_into.is_some() { [None; 2] } else { prisons(state) }
}

/// The allocations that stand, by revision.
fn allocations(history: &prisoner::History) -> Vec<Allocation> {
    let mut rows: Vec<Allocation> = prisoner::allocations(history)
        .into_iter()
        .map(|allocation| {
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
            Allocation {
                prisoner_number: history.number().clone(),
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
            }
        })
        .collect();
    rows.sort_by_key(|allocation| allocation.revision);
    rows
}

fn pom_period(code: &PrisonCode, period: RosterPeriod) -> Option<PomPeriod> {
    let (valid_from, valid_to) = within_microseconds(period.from, period.to)?;
    let pom = period.pom;
    Some(PomPeriod {
        prison_code: code.clone(),
        staff_id: pom.staff_id,
        valid_from,
        valid_to,
        name: pom.name,
        kind: pom.kind,
        email: pom.email,
        working_pattern: pom.working_pattern,
        status: pom.status,
        returns_on: pom.returns_on.map(day),
        reason: pom.reason,
    })
}

fn nomis_contact(code: &PrisonCode, contact_id: Uuid, contact: &Contact) -> NomisContact {
    NomisContact {
        prison_code: code.clone(),
        contact_id,
        prisoner_number: contact.found.prisoner_number.clone(),
        staff_id: contact.found.staff_id,
        name: contact.found.name.clone(),
        contact_type: contact.found.contact_type.clone(),
        found_at: instant(contact.found_at),
        removed_at: contact.removed_at.map(instant),
    }
}

/// The bounds of a period as Postgres can hold them; `None` for a period too short for it.
fn within_microseconds(
    from: DateTime<Utc>,
    to: Option<DateTime<Utc>>,
) -> Option<(DateTime<Utc>, Option<DateTime<Utc>>)> {
    let (from, to) = (instant(from), to.map(instant));
    to.is_none_or(|to| from < to).then_some((from, to))
}

/// The first day of the London month of an instant.
fn month(at: DateTime<Utc>) -> NaiveDate {
    let date = day(london::date(at));
    date.with_day(1).unwrap_or(date)
}

/// An instant as Postgres can hold it. Its latest instant is later than chrono's, so only the earliest needs care.
fn instant(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(6).max(EARLIEST_DAY.and_time(NaiveTime::MIN).and_utc())
}

/// A date as Postgres can hold it.
fn day(date: NaiveDate) -> NaiveDate {
    date.max(EARLIEST_DAY)
}

/// The first day of 4713 BC, which Postgres holds both as a date and as an instant.
const EARLIEST_DAY: NaiveDate = match NaiveDate::from_ymd_opt(-4712, 1, 1) {
    Some(day) => day,
    None => NaiveDate::MIN,
};

#[cfg(test)]
mod tests {
    use domain::{
        event::RecordedBy,
        identifier::CommandId,
        prison::{NomisContactFound, NomisContactRemovalConfirmed, PomRegistered, PrisonEvent, PrisonJoinedOmic},
        prisoner::{
            AllocationMade, CoworkerAllocated, Deallocated, DeallocationTrigger, EntryVoided, PrisonerNumberRetired,
            Reallocated, RecommendationPolicy, TierAssigned,
        },
        tier::TierSource,
    };
    use proptest::prelude::*;

    use super::*;

    fn at(instant: &str) -> DateTime<Utc> {
        instant.parse().expect("an instant")
    }

    fn entry<E>(revision: u64, effective_at: &str, event: E) -> Entry<E> {
        let command_id = CommandId(Uuid::from_u128(u128::from(revision)));
        Entry {
            event_id: command_id.event_id(0),
            revision,
            position: 100 + revision,
            effective_at: at(effective_at),
            recorded_at: at("2026-12-31T00:00:00Z"),
            recorded_by: RecordedBy { username: "HOMD".parse().expect("a username"), client: "tests".into() },
            command_id,
            event,
        }
    }

    fn rows(events: Vec<(&str, PrisonerEvent)>) -> CaseRows {
        let entries = (0..).zip(events).map(|(revision, (at, event))| entry(revision, at, event)).collect();
        case_rows(&prisoner::History::from_entries("A1234BC".parse().expect("a number"), entries))
    }

    fn tier() -> PrisonerEvent {
        PrisonerEvent::TierAssigned(TierAssigned {
            tier: "B2".parse().expect("a tier"),
            rosh_level: None,
            source: TierSource::Delius,
            crn: Some("X123456".parse().expect("a CRN")),
            prison: Some("LEI".parse().expect("a prison")),
        })
    }

    fn pom(staff_id: i64) -> Pom {
        let staff_id = staff_id.try_into().expect("a staff id");
        Pom { staff_id, name: "Okafor, Grace".into(), kind: PomKind::Prison, email: None }
    }

    fn choice() -> Choice {
        Choice {
            tier: "B2".parse().expect("a tier"),
            rosh_level: None,
            recommendation_policy: RecommendationPolicy::Tier,
            recommended_pom_kind: Some(PomKind::Probation),
            override_reasons: vec![OverrideReason::NoStaff],
            suitability_detail: None,
            override_detail: None,
            note: None,
            nomis_booking_id: None,
        }
    }

    fn made(staff_id: i64) -> PrisonerEvent {
        let prison = "LEI".parse().expect("a prison");
        PrisonerEvent::AllocationMade(AllocationMade { prison, pom: pom(staff_id), choice: choice() })
    }

    fn moved() -> PrisonerEvent {
        PrisonerEvent::Reallocated(Reallocated {
            prison: "LEI".parse().expect("a prison"),
            pom_before: pom(1),
            pom_after: pom(2),
            reason: "caseload".into(),
            choice: choice(),
        })
    }

    fn void(revision: u64) -> PrisonerEvent {
        PrisonerEvent::EntryVoided(EntryVoided { revision, reason: "entered in error".into() })
    }

    #[test]
    fn a_case_without_entries_has_no_rows() {
        let rows = rows(Vec::new());
        assert_eq!(
            rows,
            CaseRows { prisoner_case: None, case_period: Vec::new(), case_prison: Vec::new(), allocation: Vec::new() }
        );
    }

    #[test]
    fn an_allocation_knows_its_wait_and_its_london_month() {
        // The last minute of March in UTC is April in London, and two days and a bit are two days.
        let rows = rows(vec![("2026-03-29T09:00:00Z", tier()), ("2026-03-31T23:59:00Z", made(1))]);
        let allocation = &rows.allocation[0];
        assert_eq!(allocation.days_waited, Some(2));
        assert_eq!(allocation.month.to_string(), "2026-04-01");
        assert!(allocation.is_override);
        assert_eq!((allocation.revision, allocation.kind), (1, AllocationKind::Allocation));
        let case = rows.prisoner_case.expect("a row");
        assert_eq!((case.revision, case.position, case.ever_allocated), (1, 101, true));
        assert_eq!(case.crn.expect("a CRN").as_str(), "X123456");
        let last = rows.case_period.last().expect("a period");
        assert_eq!((last.valid_to, last.allocation_revision, last.waiting_since), (None, Some(1), None));
    }

    #[test]
    fn a_reallocation_names_who_held_the_case() {
        let rows = rows(vec![
            ("2026-03-01T09:00:00Z", tier()),
            ("2026-03-02T09:00:00Z", made(1)),
            ("2026-03-03T09:00:00Z", moved()),
        ]);
        let reallocation = &rows.allocation[1];
        assert_eq!(reallocation.kind, AllocationKind::Reallocation);
        assert_eq!(reallocation.staff_id_before.map(StaffId::get), Some(1));
        assert_eq!(reallocation.staff_id.get(), 2);
        assert_eq!((reallocation.reason.as_deref(), reallocation.days_waited), (Some("caseload"), None));
    }

    #[test]
    fn voided_allocations_have_no_row() {
        let rows = rows(vec![
            ("2026-03-01T09:00:00Z", tier()),
            ("2026-03-02T09:00:00Z", made(1)),
            ("2026-03-05T09:00:00Z", void(1)),
        ]);
        assert!(rows.allocation.is_empty());
        assert_eq!(rows.case_period.len(), 1);
        assert!(!rows.prisoner_case.expect("a row").ever_allocated);
    }

    #[test]
    fn a_case_whose_entries_are_all_voided_is_still_known() {
        let rows = rows(vec![("2026-03-01T09:00:00Z", tier()), ("2026-03-05T09:00:00Z", void(0))]);
        let case = rows.prisoner_case.expect("a row");
        assert_eq!((case.revision, case.first_effective_at), (1, at("2026-03-01T09:00:00Z")));
        assert!(rows.case_period.is_empty());
        let at_prisons = rows.case_prison.iter().map(|row| (row.prison.as_str(), row.first_position));
        assert_eq!(at_prisons.collect::<Vec<_>>(), [("LEI", 100)], "as was known before");
    }

    #[test]
    fn a_removed_number_points_to_its_survivor() {
        let survivor: PrisonerNumber = "B1234BC".parse().expect("a number");
        let rows = rows(vec![
            ("2026-03-01T09:00:00Z", tier()),
            (
                "2026-03-05T09:00:00Z",
                PrisonerEvent::PrisonerNumberRetired(PrisonerNumberRetired { survivor: survivor.clone() }),
            ),
        ]);
        assert_eq!(rows.prisoner_case.expect("a row").merged_into, Some(survivor));
        assert_eq!(rows.case_period[0].valid_to, Some(at("2026-03-05T09:00:00Z")));
        assert_eq!(rows.case_period.len(), 1);
    }

    fn at_prison(event: PrisonerEvent, code: &str) -> PrisonerEvent {
        let prison: PrisonCode = code.parse().expect("a prison");
        match event {
            PrisonerEvent::TierAssigned(tier) => {
                PrisonerEvent::TierAssigned(TierAssigned { prison: Some(prison), ..tier })
            }
            PrisonerEvent::AllocationMade(made) => PrisonerEvent::AllocationMade(AllocationMade { prison, ..made }),
            PrisonerEvent::Reallocated(moved) => PrisonerEvent::Reallocated(Reallocated { prison, ..moved }),
            PrisonerEvent::CoworkerAllocated(joined) => {
                PrisonerEvent::CoworkerAllocated(CoworkerAllocated { prison, ..joined })
            }
            PrisonerEvent::Deallocated(ended) => {
                PrisonerEvent::Deallocated(Deallocated { to_prison: Some(prison), ..ended })
            }
            event => event,
        }
    }

    fn ended(trigger: DeallocationTrigger) -> PrisonerEvent {
        PrisonerEvent::Deallocated(Deallocated { prison: None, pom: None, trigger, to_prison: None })
    }

    /// Something that happens to the case, on one of some days: mostly on one after the other, now and then before.
    fn happening() -> impl Strategy<Value = (u32, PrisonerEvent)> {
        let coworker = CoworkerAllocated { prison: "LEI".parse().expect("a prison"), pom: pom(2) };
        let survivor = "B1234BC".parse().expect("a number");
        let event = prop_oneof![
            3 => Just(tier()),
            4 => Just(made(1)),
            2 => Just(moved()),
            2 => Just(PrisonerEvent::CoworkerAllocated(coworker)),
            3 => Just(ended(DeallocationTrigger::Transferred)),
            2 => Just(ended(DeallocationTrigger::Released)),
            3 => (0_u64..6).prop_map(void),
            1 => Just(PrisonerEvent::PrisonerNumberRetired(PrisonerNumberRetired { survivor })),
        ];
        let prison = prop_oneof![Just("LEI"), Just("MDI"), Just("WWI")];
        (0_u32..8, event, prison).prop_map(|(day, event, prison)| (day, at_prison(event, prison)))
    }

    proptest! {
        /// `case_prison` finds every prison that a list could have had the case at, whenever and as known whenever.
        #[test]
        fn a_case_is_found_wherever_it_was_known_to_be(happenings in prop::collection::vec(happening(), 1..9)) {
            let instant = |day: u32| DateTime::from_timestamp(86_400 * i64::from(day), 0).expect("an instant");
            // Only what was recorded before can be voided.
            let legal = |revision, event| match event {
                PrisonerEvent::EntryVoided(EntryVoided { revision: any, .. }) => void(any % revision),
                event => event,
            };
            let entries = (0..).zip([(0, tier())].into_iter().chain(happenings)).map(|(revision, (day, event))| Entry {
                effective_at: instant(day),
                ..entry(revision, "2026-03-01T09:00:00Z", legal(revision, event))
            });
            let history = prisoner::History::from_entries("A1234BC".parse().expect("a number"), entries.collect());
            let rows = case_rows(&history).case_prison;
            for position in history.entries().iter().map(|entry| entry.position) {
                let known = history.known_at_position(position);
                let periods = prisoner::periods(&known);
                for allocation in case_rows(&known).allocation {
                    let was_seen = |row: &CasePrison| row.prison == allocation.prison && row.first_position <= position;
                    prop_assert!(rows.iter().any(was_seen), "allocated at {}: {rows:?}", allocation.prison);
                }
                for at in (0..9).map(instant) {
                    let found: Vec<_> = rows.iter().filter(|row| {
                        row.first_position <= position
                            && (row.left_position.is_none_or(|left| left > position)
                                || row.left_at.is_some_and(|left| left >= at))
                    }).map(|row| &row.prison).collect();
                    let state = prisoner::period_at(&periods, at).map(|period| period.state.clone()).unwrap_or_default();
                    for prison in held_at(&state).into_iter().flatten() {
                        prop_assert!(found.contains(&prison), "at {prison} on {at} as known at {position}: {rows:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_case_that_has_left_is_looked_for_no_longer() {
        let rows = rows(vec![
            ("2026-03-01T09:00:00Z", made(1)),
            ("2026-03-05T09:00:00Z", at_prison(ended(DeallocationTrigger::Transferred), "MDI")),
            ("2026-03-07T09:00:00Z", ended(DeallocationTrigger::Released)),
            ("2026-03-08T09:00:00Z", void(2)),
        ]);
        let rows = rows.case_prison.iter();
        let rows: Vec<_> = rows.map(|row| (row.prison.as_str(), row.left_position, row.left_at)).collect();
        let [leeds, moorland] = [at("2026-03-05T09:00:00Z"), at("2026-03-07T09:00:00Z")].map(Some);
        assert_eq!(rows, [("LEI", Some(101), leeds), ("MDI", None, moorland)]);
    }

    /// Periods that Postgres could not tell apart are left out, and the rest still adjoin.
    #[test]
    fn periods_are_told_apart_by_microseconds() {
        let released = PrisonerEvent::Deallocated(Deallocated {
            prison: None,
            pom: None,
            trigger: DeallocationTrigger::Released,
            to_prison: None,
        });
        let rows = rows(vec![
            ("2026-03-01T09:00:00.000001Z", tier()),
            ("2026-03-01T09:00:00.000001100Z", made(1)),
            ("2026-03-01T09:00:00.000001900Z", released),
        ]);
        assert_eq!(rows.case_period.len(), 1);
        assert_eq!((rows.case_period[0].prison.as_ref(), rows.case_period[0].valid_to), (None, None));
    }

    #[test]
    fn times_before_postgres_begin_with_it() {
        let rows = rows(vec![("-9999-01-01T00:00:00Z", tier()), ("2026-03-01T09:00:00Z", made(1))]);
        assert_eq!(rows.case_period[0].valid_from.date_naive(), EARLIEST_DAY);
        assert_eq!(rows.prisoner_case.expect("a row").first_effective_at.date_naive(), EARLIEST_DAY);
        assert_eq!(rows.case_period.len(), 2);
    }

    #[test]
    fn a_prison_has_its_roster_and_contacts() {
        let contact = NomisContactFound {
            contact_id: Uuid::from_u128(1),
            prisoner_number: "A1234BC".parse().expect("a number"),
            staff_id: None,
            name: Some("Okafor, Grace".into()),
            contact_type: "POM".into(),
        };
        let events = [
            PrisonEvent::PrisonJoinedOmic(PrisonJoinedOmic {
                go_live_date: "2026-01-01".parse().expect("a date"),
                estate: Estate::Womens,
            }),
            PrisonEvent::PomRegistered(PomRegistered {
                staff_id: 1.try_into().expect("a staff id"),
                name: "Okafor, Grace".into(),
                kind: PomKind::Probation,
                working_pattern: 0.6.try_into().expect("a pattern"),
                email: None,
            }),
            PrisonEvent::NomisContactFound(contact.clone()),
            PrisonEvent::NomisContactRemovalConfirmed(NomisContactRemovalConfirmed { contact }),
        ];
        let entries =
            (0..).zip(events).map(|(revision, event)| entry(revision, "2026-01-02T00:00:00Z", event)).collect();
        let rows = prison_rows(&prison::History::from_entries("LEI".parse().expect("a prison"), entries));
        let prison = rows.prison.expect("a row");
        assert_eq!((prison.revision, prison.position, prison.estate), (3, 103, Some(Estate::Womens)));
        assert_eq!((rows.pom_period.len(), rows.pom_period[0].valid_to), (1, None));
        assert_eq!(rows.nomis_contact[0].removed_at, Some(at("2026-01-02T00:00:00Z")));
    }
}
