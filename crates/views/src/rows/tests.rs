//! Rows of cases and prisons, from their histories.

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Entry,
    event::RecordedBy,
    identifier::{CommandId, EventId, PrisonCode, PrisonerNumber, StaffId},
    nomis_contacts::{NomisContactEvent, NomisContactFound, NomisContactRemovalConfirmed},
    officer::{Pom, PomKind},
    prison::{Estate, PomRegistered, PrisonEvent, PrisonJoinedOmic},
    prisoner::{
        AllocationMade, Choice, CoworkerAllocated, Deallocated, DeallocationTrigger, EntryVoided, OverrideReason,
        PrisonerEvent, PrisonerNumberRetired, Reallocated, RecommendationPolicy, TierAssigned, WaitingReason,
    },
    tier::TierSource,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    AllocationKind, CopyRows, Damage, HEADER, ViewTable,
    columns::{Fields, RowReader},
    postgres_time::{EARLIEST_DAY, LATEST_DAY},
    tables::case_prison::prisons_held_at,
    values::PeriodEnd,
};

fn at(instant: &str) -> DateTime<Utc> {
    instant.parse().expect("an instant")
}

fn entry<E>(revision: u64, effective_at: &str, event: E) -> Entry<E> {
    let command_id = CommandId(Uuid::from_u128(u128::from(revision)));
    Entry {
        event_id: EventId(command_id.0),
        revision,
        position: 100 + revision,
        effective_at: at(effective_at),
        recorded_at: at("2026-12-31T00:00:00Z"),
        recorded_by: RecordedBy {
            username: Some("HOMD".parse().expect("a username")),
            client: "tests".into(),
            auth_source: None,
        },
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
        CaseRows {
            prisoner_case: None,
            case_period: Vec::new(),
            case_prison: Vec::new(),
            allocation: Vec::new(),
            reception: Vec::new(),
            control_entry: Vec::new(),
        }
    );
}

#[test]
fn an_allocation_knows_its_wait_and_its_london_month() {
    // The last minute of March in UTC is April in London, on the third day after that of the tier.
    let rows = rows(vec![("2026-03-29T09:00:00Z", tier()), ("2026-03-31T23:59:00Z", made(1))]);
    let allocation = &rows.allocation[0];
    assert_eq!(allocation.days_waited, Some(3));
    assert_eq!(allocation.waiting_since, Some("2026-03-29T09:00:00Z".parse().expect("an instant")));
    assert_eq!(allocation.waited_because, Some(WaitingReason::Received));
    assert_eq!(allocation.month.to_string(), "2026-04-01");
    assert!(allocation.is_override);
    assert_eq!((allocation.revision, allocation.kind), (1, AllocationKind::Allocation));
    let case = rows.prisoner_case.expect("a row");
    assert_eq!((case.revision, case.position, case.ever_allocated), (1, 101, true));
    assert_eq!(case.crn.expect("a CRN").as_str(), "X123456");
    let last = rows.case_period.last().expect("a period");
    assert_eq!((last.valid_to, last.allocation_revision, last.waiting), (PeriodEnd(None), Some(1), None));
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
    assert_eq!((reallocation.reason.as_deref(), reallocation.waited_because), (Some("caseload"), None));
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
    assert_eq!(rows.case_period[0].valid_to, PeriodEnd(Some(at("2026-03-05T09:00:00Z"))));
    assert_eq!(rows.case_period.len(), 1);
}

fn at_prison(event: PrisonerEvent, code: &str) -> PrisonerEvent {
    let prison: PrisonCode = code.parse().expect("a prison");
    match event {
        PrisonerEvent::TierAssigned(tier) => PrisonerEvent::TierAssigned(TierAssigned { prison: Some(prison), ..tier }),
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

/// Something that happens to the case, on one of some days: mostly on one after the other, now and
/// then before.
fn case_event() -> impl Strategy<Value = (u32, PrisonerEvent)> {
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
    /// `case_prison` finds every prison that a list could have had the case at, whenever and as
    /// known whenever.
    #[test]
    fn a_case_is_found_wherever_it_was_known_to_be(case_events in prop::collection::vec(case_event(), 1..9)) {
        let instant = |day: u32| DateTime::from_timestamp(86_400 * i64::from(day), 0).expect("an instant");
        // Only what was recorded before can be voided.
        let legal = |revision, event| match event {
            PrisonerEvent::EntryVoided(EntryVoided { revision: any, .. }) => void(any % revision),
            event => event,
        };
        let entries = (0..).zip([(0, tier())].into_iter().chain(case_events)).map(|(revision, (day, event))| Entry {
            effective_at: instant(day),
            ..entry(revision, "2026-03-01T09:00:00Z", legal(revision, event))
        });
        let history = prisoner::History::from_entries("A1234BC".parse().expect("a number"), entries.collect());
        let rows = case_rows(&history).case_prison;
        for position in history.entries().iter().map(|entry| entry.position) {
            let known = history.known_at_position(position);
            let periods = prisoner::periods(&known);
            for allocation in case_rows(&known).allocation {
                let was_seen = |row: &CasePrisonRow| row.prison == allocation.prison && row.first_position <= position;
                prop_assert!(rows.iter().any(was_seen), "allocated at {}: {rows:?}", allocation.prison);
            }
            for at in (0..9).map(instant) {
                let found: Vec<_> = rows.iter().filter(|row| {
                    row.first_position <= position
                        && (row.left_position.is_none_or(|left| left > position)
                            || row.left_at.is_some_and(|left| left >= at))
                }).map(|row| &row.prison).collect();
                let state = prisoner::period_at(&periods, at).map(|period| period.state.clone()).unwrap_or_default();
                for prison in prisons_held_at(&state).into_iter().flatten() {
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
    assert_eq!((rows.case_period[0].prison.as_ref(), rows.case_period[0].valid_to), (None, PeriodEnd(None)));
}

#[test]
fn times_out_of_range_are_the_first_or_the_last_in_range() {
    let rows = rows(vec![("-9999-01-01T00:00:00Z", tier()), ("2026-03-01T09:00:00Z", made(1))]);
    assert_eq!(rows.case_period[0].valid_from.date_naive(), EARLIEST_DAY);
    assert_eq!(rows.prisoner_case.expect("a row").first_effective_at.date_naive(), EARLIEST_DAY);
    assert_eq!(rows.case_period.len(), 2);
    let joined =
        PrisonEvent::PrisonJoinedOmic(PrisonJoinedOmic { go_live_date: NaiveDate::MAX, estate: Estate::Womens });
    let entries = vec![entry(0, "2026-01-02T00:00:00Z", joined)];
    let rows = prison_rows(&prison::History::from_entries("LEI".parse().expect("a prison"), entries));
    assert_eq!(rows.prison.expect("a row").go_live_date, Some(LATEST_DAY));
}

/// Postgres, unlike `chrono`, has one instant for a leap second and the second after it.
#[test]
fn a_leap_second_makes_no_period() {
    let rows = rows(vec![("2016-12-31T23:59:60Z", tier()), ("2017-01-01T00:00:00Z", made(1))]);
    assert_eq!(rows.case_period.len(), 1);
    assert_eq!(rows.case_period[0].valid_from, at("2017-01-01T00:00:00Z"));
}

#[test]
fn a_prison_has_its_roster() {
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
    ];
    let entries = (0..).zip(events).map(|(revision, event)| entry(revision, "2026-01-02T00:00:00Z", event)).collect();
    let rows = prison_rows(&prison::History::from_entries("LEI".parse().expect("a prison"), entries));
    check_read_back(&rows.prison);
    check_read_back(&rows.pom_period);
    let prison = rows.prison.expect("a row");
    assert_eq!((prison.revision, prison.position, prison.estate), (1, 101, Some(Estate::Womens)));
    assert_eq!((rows.pom_period.len(), rows.pom_period[0].valid_to), (1, PeriodEnd(None)));
}

#[test]
fn a_person_has_a_row_for_each_contact_ever_seen() {
    let number: PrisonerNumber = "A1234BC".parse().expect("a number");
    let contact = |id, prison: &str| NomisContactFound {
        contact_id: Uuid::from_u128(id),
        prison: prison.parse().expect("a prison"),
        prisoner_number: number.clone(),
        staff_id: None,
        name: Some("Okafor, Grace".into()),
        contact_type: "POM".into(),
    };
    let removed = NomisContactRemovalConfirmed { contact: contact(1, "LEI") };
    let events = [
        NomisContactEvent::NomisContactFound(contact(1, "LEI")),
        NomisContactEvent::NomisContactFound(contact(2, "MDI")),
        NomisContactEvent::NomisContactRemovalConfirmed(removed),
    ];
    let entries = (0..).zip(events).map(|(revision, event)| entry(revision, "2026-01-02T00:00:00Z", event)).collect();
    let rows = contact_rows(&nomis_contacts::History::from_entries(number.clone(), entries));
    check_read_back(&rows.nomis_contact);
    let shown = rows.nomis_contact.iter().map(|row| (row.prison_code.as_str(), row.removed_at, row.position));
    let gone = Some(at("2026-01-02T00:00:00Z"));
    assert_eq!(shown.collect::<Vec<_>>(), [("LEI", gone, 102), ("MDI", None, 102)]);
    assert!(contact_rows(&nomis_contacts::History::new(number)).nomis_contact.is_empty());
}

/// A row as Postgres gives it, from what was written for `COPY`.
struct CopiedRow(Vec<Option<Vec<u8>>>);

impl Fields for CopiedRow {
    fn field(&self, index: usize) -> Option<Option<&[u8]>> {
        Some(self.0.get(index)?.as_deref())
    }
}

impl CopiedRow {
    fn of<T: ViewTable>(row: &T) -> Self {
        let mut copy = CopyRows::default();
        copy.push(row);
        let bytes = copy.into_bytes();
        let mut rest = &bytes[HEADER.len() + size_of::<i16>()..];
        let mut fields = Vec::new();
        while let Some((len, after)) = rest.split_first_chunk() {
            let len = usize::try_from(i32::from_be_bytes(*len)).ok();
            let (field, after) = after.split_at(len.unwrap_or_default());
            fields.push(len.map(|_| field.to_vec()));
            rest = after;
        }
        assert_eq!(fields.len(), T::WIDTH);
        Self(fields)
    }

    fn read<T: ViewTable>(&self) -> Result<T, Damage> {
        T::read(&mut RowReader::new(T::NAME, T::COLUMNS, self))
    }
}

#[track_caller]
fn check_read_back<'a, T: ViewTable + PartialEq + std::fmt::Debug + 'a>(rows: impl IntoIterator<Item = &'a T>) {
    for row in rows {
        assert_eq!(CopiedRow::of(row).read().as_ref(), Ok(row));
    }
}

#[test]
fn damage_names_table_column_and_row() {
    let rows = rows(vec![("2026-03-01T09:00:00Z", tier()), ("2026-03-02T09:00:00Z", made(1))]);
    let mut stored = CopiedRow::of(&rows.allocation[0]);
    stored.0[2] = Some(b"DREAMED".to_vec());
    let damage = Damage { table: "allocation", column: "kind", row: "A1234BC".to_owned(), value: "DREAMED".to_owned() };
    assert_eq!(stored.read::<AllocationRow>(), Err(damage));
    stored.0[2] = None;
    let found = stored.read::<AllocationRow>().expect_err("a kind is never null");
    assert_eq!((found.column, found.value.as_str()), ("kind", "null"));
    let mut stored = CopiedRow::of(&rows.case_period[1]);
    stored.0[7] = Some((-1_i64).to_be_bytes().to_vec());
    let found = stored.read::<CasePeriodRow>().expect_err("no staff id is negative");
    assert_eq!(found.column, "pom_staff_id");
}

#[test]
fn controls_look_at_voids_late_entries_and_choices_against_the_recommendation() {
    let late = Entry { recorded_at: at("2026-03-09T00:30:00Z"), ..entry(0, "2026-03-01T23:30:00Z", tier()) };
    let in_time = |revision, at, event| Entry { recorded_at: self::at(at), ..entry(revision, at, event) };
    let entries = vec![
        late,
        in_time(1, "2026-03-10T09:00:00Z", made(1)),
        in_time(2, "2026-03-11T09:00:00Z", tier()),
        in_time(3, "2026-03-12T09:00:00Z", void(1)),
    ];
    let rows = case_rows(&prisoner::History::from_entries("A1234BC".parse().expect("a number"), entries));
    check_read_back(&rows.control_entry);
    let shown: Vec<_> = rows
        .control_entry
        .iter()
        .map(|row| {
            let prison = row.prison.as_ref().map(PrisonCode::as_str);
            (row.revision, row.days_late, row.is_override, row.voided_by, row.voided_revision, prison)
        })
        .collect();
    let leeds = Some("LEI");
    // A void is recorded at the prison that holds the case.
    let expected =
        [(0, 8, false, None, None, leeds), (1, 0, true, Some(3), None, leeds), (3, 0, false, None, Some(1), leeds)];
    assert_eq!(shown, expected);
    assert_eq!(rows.control_entry[2].voided_type.map(|voided| voided.name()), Some("AllocationMade"));
}
