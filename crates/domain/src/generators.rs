//! Random commands of every kind, for tests by property.
//!
//! They are addressed to the prisons LEI and MDI and to POMs, mostly 101 to 104, now and then 108,
//! 109 or 999. How many of them are legal depends on the roster that a test sets up. To add a kind
//! of command: its weight and its strategy, in the exhaustive matches below.

use chrono::DateTime;
use proptest::{prelude::*, sample::select, strategy::Union};

use crate::{
    handover::{Facts, HandoverReason},
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    nomis_contacts::{self, ContactSeen},
    officer::{CommunityManager, Pom, PomKind, PomStatus, WorkingPattern},
    prison::{self, Estate, GoLiveCorrection, PomDetailsChanged, PomRegistered, PomStatusChanged, PrisonJoinedOmic},
    prisoner::{
        Allocate, AllocateCoworker, AllocateWithTier, AllocationReference, Arrangements, ChoiceReasons, Command,
        CommandKind, CrnRecorded, Deallocate, DeallocationTrigger, EndPomRole, EntryVoided, HandoverPlanned,
        MergedHoldings, MergedPast, OfficerRole, OverrideReason, PrisonerNumberMerged, PrisonerNumberRetired,
        Reallocate, Received, Reception, ReceptionReason, Release, ResponsibilityOverridden,
        ResponsibilityOverrideReason, ResponsibleService, TierAssigned, Transfer, VoidEntries, Waiting, WaitingReason,
    },
    tier::{RoshLevel, Tier, TierSource},
};

/// The share of choices that give reasons, which most of those against the recommendation need.
const REASONS_GIVEN_SHARE: f64 = 0.8;

/// Commands to a case, of the kinds wanted; weighted towards those that make a case eventful.
pub fn case_commands(is_wanted: impl Fn(CommandKind) -> bool) -> impl Strategy<Value = Command> {
    let kinds = CommandKind::ALL.iter().filter(|kind| is_wanted(**kind));
    Union::new_weighted(kinds.map(|kind| (weight(*kind), case_command(*kind))).collect())
}

fn weight(kind: CommandKind) -> u32 {
    match kind {
        CommandKind::Allocate | CommandKind::Reallocate => 4,
        CommandKind::AssignTier | CommandKind::AllocateCoworker | CommandKind::PlanHandover | CommandKind::Void => 3,
        CommandKind::AllocateWithTier | CommandKind::EndPomRole | CommandKind::VoidEntries => 2,
        CommandKind::Receive
        | CommandKind::RecordCrn
        | CommandKind::Deallocate
        | CommandKind::RemoveCoworker
        | CommandKind::AssignCommunityManager
        | CommandKind::RemoveCommunityManager
        | CommandKind::OverrideResponsibility
        | CommandKind::RemoveResponsibilityOverride
        | CommandKind::Release
        | CommandKind::Transfer
        | CommandKind::Retire
        | CommandKind::CompleteMerge => 1,
    }
}

fn case_command(kind: CommandKind) -> BoxedStrategy<Command> {
    match kind {
        CommandKind::Receive => received().prop_map(Command::Receive).boxed(),
        CommandKind::AssignTier => tier_assigned().prop_map(Command::AssignTier).boxed(),
        CommandKind::RecordCrn => select(vec!["X123456", "X654321"])
            .prop_map(|crn| Command::RecordCrn(CrnRecorded { crn: crn.parse().expect("a CRN") }))
            .boxed(),
        CommandKind::Allocate => (prison(), staff_id(), reasons())
            .prop_map(|(prison, staff_id, reasons)| Command::Allocate(Allocate { prison, staff_id, reasons }))
            .boxed(),
        CommandKind::Reallocate => (prison(), staff_id(), reasons())
            .prop_map(|(prison, staff_id, reasons)| {
                let reason = "caseload".to_owned();
                Command::Reallocate(Reallocate { prison, staff_id, expected_holder: None, reason, reasons })
            })
            .boxed(),
        CommandKind::AllocateWithTier => (tier_assigned(), prison(), staff_id(), reasons(), prop::bool::ANY)
            .prop_map(|(tier, prison, staff_id, reasons, may_move)| {
                Command::AllocateWithTier(Box::new(AllocateWithTier {
                    tier,
                    allocate: Allocate { prison, staff_id, reasons },
                    reallocation_reason: may_move.then(|| "as told".to_owned()),
                }))
            })
            .boxed(),
        CommandKind::Deallocate => select(vec![DeallocationTrigger::Manual, DeallocationTrigger::LegalStatusChanged])
            .prop_map(|trigger| Command::Deallocate(Deallocate { trigger }))
            .boxed(),
        CommandKind::EndPomRole => (prison(), staff_id())
            .prop_map(|(prison, staff_id)| Command::EndPomRole(EndPomRole { prison, staff_id }))
            .boxed(),
        CommandKind::AllocateCoworker => (prison(), staff_id())
            .prop_map(|(prison, staff_id)| Command::AllocateCoworker(AllocateCoworker { prison, staff_id }))
            .boxed(),
        CommandKind::RemoveCoworker => Just(Command::RemoveCoworker).boxed(),
        CommandKind::AssignCommunityManager => community_manager().prop_map(Command::AssignCommunityManager).boxed(),
        CommandKind::RemoveCommunityManager => Just(Command::RemoveCommunityManager).boxed(),
        CommandKind::PlanHandover => facts().prop_map(Command::PlanHandover).boxed(),
        CommandKind::OverrideResponsibility => responsibility().prop_map(Command::OverrideResponsibility).boxed(),
        CommandKind::RemoveResponsibilityOverride => Just(Command::RemoveResponsibilityOverride).boxed(),
        CommandKind::Release => {
            prop::option::of(prison()).prop_map(|prison| Command::Release(Release { prison })).boxed()
        }
        CommandKind::Transfer => prison().prop_map(|to_prison| Command::Transfer(Transfer { to_prison })).boxed(),
        CommandKind::Void => (0..12u64)
            .prop_map(|revision| Command::Void(EntryVoided { revision, reason: "entered in error".to_owned() }))
            .boxed(),
        CommandKind::VoidEntries => prop::collection::btree_set(0..12u64, 1..4)
            .prop_map(|revisions| {
                Command::VoidEntries(VoidEntries { revisions, reason: "entered in error".to_owned() })
            })
            .boxed(),
        CommandKind::Retire => {
            Just(Command::Retire(PrisonerNumberRetired { survivor: prisoner_number("B1234BC") })).boxed()
        }
        CommandKind::CompleteMerge => held()
            .prop_map(|held| {
                let removed_number = prisoner_number("C1234BC");
                Command::CompleteMerge(Box::new(PrisonerNumberMerged { removed_number, history_ends_at: 7, held }))
            })
            .boxed(),
    }
}

/// Commands to a prison, of the kinds wanted.
pub fn prison_commands(is_wanted: impl Fn(prison::CommandKind) -> bool) -> impl Strategy<Value = prison::Command> {
    let kinds = prison::CommandKind::ALL.iter().filter(|kind| is_wanted(**kind));
    Union::new(kinds.map(|kind| prison_command(*kind)))
}

fn prison_command(kind: prison::CommandKind) -> BoxedStrategy<prison::Command> {
    match kind {
        prison::CommandKind::JoinOmic => Just(prison::Command::JoinOmic(PrisonJoinedOmic {
            go_live_date: chrono::NaiveDate::from_ymd_opt(2026, 1, 1).expect("a date"),
            estate: Estate::MensClosed,
        }))
        .boxed(),
        prison::CommandKind::JoinOmicUnlisted => Just(prison::Command::JoinOmicUnlisted(PrisonJoinedOmic {
            go_live_date: chrono::NaiveDate::from_ymd_opt(2026, 1, 2).expect("a date"),
            estate: Estate::Womens,
        }))
        .boxed(),
        prison::CommandKind::CorrectGoLiveDate => (1..28_u32)
            .prop_map(|day| {
                let go_live_date = chrono::NaiveDate::from_ymd_opt(2025, 12, day).expect("a date");
                prison::Command::CorrectGoLiveDate(GoLiveCorrection { go_live_date, reason: None })
            })
            .boxed(),
        prison::CommandKind::RegisterPom => (staff_id(), pom_kind(), working_pattern())
            .prop_map(|(staff_id, kind, working_pattern)| {
                let name = format!("Surname{staff_id}, Forename");
                prison::Command::RegisterPom(PomRegistered { staff_id, name, kind, working_pattern, email: None })
            })
            .boxed(),
        prison::CommandKind::ChangePomDetails => (staff_id(), working_pattern())
            .prop_map(|(staff_id, working_pattern)| {
                prison::Command::ChangePomDetails(PomDetailsChanged {
                    staff_id,
                    name: None,
                    kind: None,
                    working_pattern: Some(working_pattern),
                    email: Some(format!("pom{}@example.org", working_pattern.tenths())),
                })
            })
            .boxed(),
        prison::CommandKind::ChangePomStatus => (staff_id(), select(PomStatus::ALL))
            .prop_map(|(staff_id, status)| {
                let reason = Some("as told".to_owned());
                prison::Command::ChangePomStatus(PomStatusChanged { staff_id, status, returns_on: None, reason })
            })
            .boxed(),
    }
}

/// Commands to the contacts of persons, each with the person's number.
pub fn contact_commands() -> impl Strategy<Value = (PrisonerNumber, nomis_contacts::Command)> {
    let kinds = nomis_contacts::CommandKind::ALL.iter();
    (contact_holder(), Union::new(kinds.map(|kind| contact_command(*kind))))
}

fn contact_command(kind: nomis_contacts::CommandKind) -> BoxedStrategy<nomis_contacts::Command> {
    match kind {
        nomis_contacts::CommandKind::RecordNomisContact => {
            contact().prop_map(nomis_contacts::Command::RecordNomisContact).boxed()
        }
        nomis_contacts::CommandKind::ConfirmNomisContactRemoval => (contact(), contact_holder())
            .prop_map(|(contact, number)| nomis_contacts::Command::ConfirmNomisContactRemoval {
                contact_id: contact.contact_id(&number),
                prison: contact.prison,
            })
            .boxed(),
    }
}

fn prison() -> impl Strategy<Value = PrisonCode> + Clone {
    // Mostly the same one, so that most commands fit the case.
    prop_oneof![3 => Just(prison_code("LEI")), 1 => Just(prison_code("MDI"))]
}

fn staff_id() -> impl Strategy<Value = StaffId> + Clone {
    prop_oneof![6 => 101..=104i64, 1 => select(vec![108i64, 109, 999])]
        .prop_map(|id| StaffId::try_from(id).expect("a staff id"))
}

fn pom_kind() -> impl Strategy<Value = PomKind> {
    select(PomKind::ALL)
}

fn working_pattern() -> impl Strategy<Value = WorkingPattern> {
    (1..=10u8).prop_map(|tenths| WorkingPattern::try_from(f64::from(tenths) / 10.0).expect("a share"))
}

fn tier_assigned() -> impl Strategy<Value = TierAssigned> {
    let tier = select(vec!["A", "B", "B2", "C", "D"]).prop_map(|tier| tier.parse::<Tier>().expect("a tier"));
    let crn = prop::option::of(Just("X123456".parse().expect("a CRN")));
    (tier, prop::option::of(select(RoshLevel::ALL)), crn, prop::option::of(prison())).prop_map(
        |(tier, rosh_level, crn, prison)| TierAssigned { tier, rosh_level, source: TierSource::Manual, crn, prison },
    )
}

fn received() -> impl Strategy<Value = Received> {
    (prison(), select(ReceptionReason::ALL)).prop_map(|(prison, reason)| Received { prison, reason })
}

fn reception() -> impl Strategy<Value = Reception> {
    select(ReceptionReason::ALL).prop_map(|reason| Reception { since: DateTime::UNIX_EPOCH, reason })
}

fn reasons() -> impl Strategy<Value = ChoiceReasons> {
    prop::option::weighted(REASONS_GIVEN_SHARE, Just(())).prop_map(|given| match given {
        Some(()) => ChoiceReasons {
            override_reasons: vec![OverrideReason::Suitability],
            suitability_detail: Some("known".to_owned()),
            note: Some("a note".to_owned()),
            ..ChoiceReasons::default()
        },
        None => ChoiceReasons::default(),
    })
}

fn community_manager() -> impl Strategy<Value = CommunityManager> {
    select(vec!["Lee, Sam", "Shah, Priya", "Unallocated"]).prop_map(|name| CommunityManager {
        name: name.to_owned(),
        email: Some("com@example.org".to_owned()),
        team: None,
        ldu: Some("Leeds".to_owned()),
    })
}

/// Facts of a recall, of a handover soon, of one later, of a life sentence, and facts that lack a
/// sentence's start.
fn facts() -> impl Strategy<Value = Facts> {
    let day = |year, month, day| chrono::NaiveDate::from_ymd_opt(year, month, day);
    let start = day(2020, 1, 1);
    select(vec![
        Facts { recalled: true, ..Facts::default() },
        Facts { sentence_start_date: start, conditional_release_date: day(2027, 1, 20), ..Facts::default() },
        Facts { sentence_start_date: start, conditional_release_date: day(2030, 1, 1), ..Facts::default() },
        Facts { indeterminate: true, tariff_date: day(2027, 5, 5), ..Facts::default() },
        Facts { conditional_release_date: day(2030, 1, 1), ..Facts::default() },
    ])
}

fn responsibility() -> impl Strategy<Value = ResponsibilityOverridden> {
    select(ResponsibleService::ALL).prop_map(|responsible| ResponsibilityOverridden {
        responsible,
        reason: ResponsibilityOverrideReason::Other,
        detail: Some("a detail".to_owned()),
    })
}

/// A removed number's end: its POMs, if any, are at its prison.
fn held() -> impl Strategy<Value = MergedHoldings> {
    let poms = (prison(), prop::option::of(pom(102)), prop::option::of(pom(103)));
    let community_manager = prop::option::of(community_manager());
    (prop::option::of(poms), prop::option::of(tier_assigned()), community_manager, arrangements(), past()).prop_map(
        |(poms, tier, community_manager, arrangements, past)| {
            let (prison, primary_pom, coworking_pom) =
                poms.map_or((None, None, None), |(prison, primary, coworking)| (Some(prison), primary, coworking));
            let past = Some(past);
            MergedHoldings { prison, primary_pom, coworking_pom, tier, community_manager, arrangements, past }
        },
    )
}

/// The past of a removed number. Every merge carries it that is recorded now.
fn past() -> impl Strategy<Value = MergedPast> {
    let long_ago = DateTime::UNIX_EPOCH;
    let since = prop::option::of(Just(long_ago));
    let waiting =
        prop::option::of(select(WaitingReason::ALL).prop_map(move |reason| Waiting { since: long_ago, reason }));
    let reception = prop::option::of(reception());
    (prop::bool::ANY, since, reception, waiting).prop_map(|(ever_allocated, since, reception, waiting)| MergedPast {
        ever_allocated,
        crn: None,
        left_at: since,
        reception,
        waiting,
        primary_pom_since: since,
        allocation: Some(AllocationReference { prisoner_number: prisoner_number("C1234BC"), revision: 1 }),
        coworking_pom_since: since,
        community_manager_since: since,
        responsible: Some(OfficerRole::Pom),
        responsible_since: since,
    })
}

fn arrangements() -> impl Strategy<Value = Arrangements> {
    let handover_plan = Just(HandoverPlanned {
        facts: Facts { recalled: true, ..Facts::default() },
        start_date: None,
        handover_date: None,
        reason: HandoverReason::RecallCase,
        earliest_release: None,
    });
    (prop::option::of(handover_plan), prop::option::of(responsibility()))
        .prop_map(|(handover_plan, responsibility_override)| Arrangements { handover_plan, responsibility_override })
}

fn pom(id: i64) -> impl Strategy<Value = Pom> + Clone {
    Just(Pom {
        staff_id: StaffId::try_from(id).expect("a staff id"),
        name: format!("Surname{id}, Forename"),
        kind: if id % 2 == 0 { PomKind::Probation } else { PomKind::Prison },
        email: None,
    })
}

/// Two persons, so that most removals are of a contact that was found.
fn contact_holder() -> impl Strategy<Value = PrisonerNumber> {
    (0..2u8).prop_map(|case| prisoner_number(&format!("A{case:04}BC")))
}

fn contact() -> impl Strategy<Value = ContactSeen> {
    (prison(), select(vec!["POM", "COPOM"])).prop_map(|(prison, contact_type)| ContactSeen {
        prison,
        staff_id: None,
        name: Some("Okafor, Grace".to_owned()),
        contact_type: contact_type.to_owned(),
    })
}

fn prison_code(code: &str) -> PrisonCode {
    code.parse().expect("a prison code")
}

fn prisoner_number(number: &str) -> PrisonerNumber {
    number.parse().expect("a prisoner number")
}
