//! Rule 13: a text names no other person in prison.

use std::collections::BTreeSet;

use domain::{
    Rule,
    identifier::StaffId,
    officer::{CommunityManager, PomKind},
    prison::{self, GoLiveCorrection, PomDetailsChanged},
    prisoner::{
        Allocate, AllocateWithTier, ChoiceReasons, Command, EntryVoided, OverrideReason, Reallocate,
        ResponsibilityOverridden, ResponsibilityOverrideReason, ResponsibleService, VoidEntries, merge_of,
    },
};

use crate::case::{Case, at, command, register, status, try_prison};

/// Reasons with one text, in each of their members in turn.
fn reasons(text: &str) -> [ChoiceReasons; 3] {
    let against = vec![OverrideReason::Suitability, OverrideReason::Other];
    let both = ChoiceReasons {
        override_reasons: against,
        suitability_detail: Some("known".into()),
        override_detail: Some("known".into()),
        ..ChoiceReasons::default()
    };
    [
        ChoiceReasons { suitability_detail: Some(text.into()), ..both.clone() },
        ChoiceReasons { override_detail: Some(text.into()), ..both.clone() },
        ChoiceReasons { note: Some(text.into()), ..both },
    ]
}

/// Commands that a case with an allocation permits but for the text, one for each member.
fn commands(text: &str) -> Vec<Command> {
    let prison = || "LEI".parse().expect("a prison code");
    let staff_id = |id: i64| StaffId::try_from(id).expect("a staff id");
    let manager = CommunityManager { name: "Lee, Sam".into(), email: None, team: None, ldu: None };
    let reallocate = |reason: &str, reasons| {
        let staff_id = staff_id(102);
        Command::Reallocate(Reallocate {
            prison: prison(),
            staff_id,
            expected_holder: None,
            reason: reason.into(),
            reasons,
        })
    };
    let mut commands = vec![
        Command::AssignCommunityManager(CommunityManager { name: text.into(), ..manager.clone() }),
        Command::AssignCommunityManager(CommunityManager { email: Some(text.into()), ..manager.clone() }),
        Command::AssignCommunityManager(CommunityManager { team: Some(text.into()), ..manager.clone() }),
        Command::AssignCommunityManager(CommunityManager { ldu: Some(text.into()), ..manager }),
        Command::OverrideResponsibility(ResponsibilityOverridden {
            responsible: ResponsibleService::Prison,
            reason: ResponsibilityOverrideReason::Other,
            detail: Some(text.into()),
        }),
        Command::Void(EntryVoided { revision: 1, reason: text.into() }),
        Command::VoidEntries(VoidEntries { revisions: BTreeSet::from([1]), reason: text.into() }),
    ];
    let [known, ..] = reasons("known");
    commands.push(reallocate(text, known.clone()));
    for reasons in reasons(text) {
        commands.push(reallocate("caseload", reasons.clone()));
        let allocate = Allocate { prison: prison(), staff_id: staff_id(102), reasons };
        commands.push(take(allocate, "caseload"));
    }
    commands.push(take(Allocate { prison: prison(), staff_id: staff_id(102), reasons: known }, text));
    commands
}

fn take(allocate: Allocate, reason: &str) -> Command {
    let Command::AssignTier(tier) = command(&["tier", "C1"]) else { panic!("a tier") };
    Command::AllocateWithTier(Box::new(AllocateWithTier { tier, allocate, reallocation_reason: Some(reason.into()) }))
}

fn allocated(number: &str) -> Case {
    let mut case = Case::new(number);
    case.read("03-01 tier C LEI   | TierAssigned\n03-02 allocate 101 | AllocationMade");
    case
}

#[track_caller]
fn check_refused(case: &Case, command: &Command) {
    let refusal = case.decide(at("03-03"), command).expect_err("a refusal");
    assert_eq!(refusal.rule, Rule::TextNamesPrisoner, "{command:?}: {refusal}");
    assert!(refusal.sentence.contains(" names the prisoner number B1234BC."), "{refusal}");
}

#[test]
fn rule_13_a_text_on_a_case_names_no_other_prisoner() {
    let case = allocated("A1234BC");
    for command in commands("as his brother b1234bc, says A1234BC") {
        check_refused(&case, &command);
    }
    for command in commands("A1234BC and X123456 of AB1234BC") {
        case.decide(at("03-03"), &command).unwrap_or_else(|refusal| panic!("{command:?}: {refusal}"));
    }
    let Command::Reallocate(to) = reallocation("B1234BC") else { panic!("a reallocation") };
    let allocate = Allocate { prison: to.prison, staff_id: to.staff_id, reasons: to.reasons };
    let mut waiting = Case::new("A1234BC");
    waiting.read("03-01 tier C LEI | TierAssigned");
    check_refused(&waiting, &Command::Allocate(allocate));
    check_refused(&Case::new("A1234BC"), &command(&["com", "B1234BC"]));
}

fn reallocation(note: &str) -> Command {
    let [.., with_note] = reasons(note);
    Command::Reallocate(Reallocate {
        prison: "LEI".parse().expect("a prison code"),
        staff_id: StaffId::try_from(103).expect("a staff id"),
        expected_holder: None,
        reason: "caseload".into(),
        reasons: with_note,
    })
}

/// They are numbers of one person. What the removed number's texts say stays, too.
#[test]
fn rule_13_a_text_may_name_a_number_that_was_merged_into_the_case() {
    let mut removed = allocated("B1234BC");
    let detail = Some("of B1234BC".to_owned());
    let (responsible, reason) = (ResponsibleService::Prison, ResponsibilityOverrideReason::Other);
    let decision = ResponsibilityOverridden { responsible, reason, detail };
    removed.give(at("03-03"), &Command::OverrideResponsibility(decision)).expect("its own number");
    let retirement = removed.give(at("03-04"), &command(&["retire", "A1234BC"])).expect("a retirement");
    let merge = merge_of(&removed.history, removed.history.entries().len() as u64 - 1);
    assert_eq!(retirement.last().map(|event| event.type_name()), Some("PrisonerNumberRetired"));

    let mut survivor = Case::new("A1234BC");
    survivor.read("03-01 tier C LEI | TierAssigned");
    survivor.give(at("03-04"), &Command::CompleteMerge(Box::new(merge))).expect("a merge");
    survivor.give(at("03-05"), &reallocation("see B1234BC")).expect("a number of the same person");
    let refusal = survivor.give(at("03-06"), &reallocation("see C1234BC")).map_err(|refusal| refusal.rule);
    assert_eq!(refusal, Err(Rule::TextNamesPrisoner));
}

#[test]
fn rule_13_a_text_on_a_roster_names_no_prisoner() {
    let mut history = prison::History::new("LEI".parse().expect("a prison code"));
    let text = || "complaint of B1234BC".to_owned();
    let prison::Command::RegisterPom(pom) = register(101, PomKind::Prison) else { panic!("a registration") };
    let prison::Command::ChangePomStatus(away) = status(101, domain::officer::PomStatus::Inactive) else {
        panic!("a status")
    };
    let details =
        PomDetailsChanged { staff_id: pom.staff_id, name: None, kind: None, working_pattern: None, email: None };
    let go_live_date = "2026-01-01".parse().expect("a date");
    for command in [
        prison::Command::CorrectGoLiveDate(GoLiveCorrection { go_live_date, reason: Some(text()) }),
        prison::Command::RegisterPom(prison::PomRegistered { name: text(), ..pom.clone() }),
        prison::Command::RegisterPom(prison::PomRegistered { email: Some(text()), ..pom }),
        prison::Command::ChangePomDetails(PomDetailsChanged { name: Some(text()), ..details.clone() }),
        prison::Command::ChangePomDetails(PomDetailsChanged { email: Some(text()), ..details }),
        prison::Command::ChangePomStatus(prison::PomStatusChanged { reason: Some(text()), ..away }),
    ] {
        let refusal = try_prison(&mut history, "2026-03-01", &command).expect_err("a refusal");
        assert_eq!(refusal.rule, Rule::TextNamesPrisoner, "{command:?}: {refusal}");
    }
}
