//! Handover dates: the worked examples, every row of the rules with its edges, and what holds for
//! all facts.

use chrono::{Days, NaiveDate};
use domain::{
    Rule,
    handover::{Facts, HandoverReason, PlannedPhase, phase_on, plan},
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn phase_name(phase: PlannedPhase) -> &'static str {
    match phase {
        PlannedPhase::CustodyOnly => "CustodyOnly",
        PlannedPhase::CustodyWithCom => "CustodyWithCom",
        PlannedPhase::Community => "Community",
    }
}

/// The plan that the rules make of facts, in the form of the examples.
fn answer(facts: &Facts) -> Value {
    let today = facts.calculated_on.expect("the facts say when they are looked at");
    match plan(facts, today) {
        Ok(plan) => json!({
            "startDate": plan.start_date,
            "handoverDate": plan.handover_date,
            "reason": plan.reason,
            "earliestRelease": plan.earliest_release,
            "responsibility": phase_name(phase_on(plan.reason, plan.start_date, plan.handover_date, today)),
        }),
        Err(refusal) => json!({ "refused": refusal.rule }),
    }
}

/// The worked cases; each expects some members of the answer.
#[test]
fn the_plans_of_the_worked_examples_are_as_expected() {
    let examples = include_str!("../data/handover/examples.jsonl");
    let mut wrong = Vec::new();
    for line in examples.lines() {
        let example: Value = serde_json::from_str(line).expect("an example is JSON");
        let facts: Facts = serde_json::from_value(example["facts"].clone()).expect("an example has facts");
        let answer = answer(&facts);
        for (member, expected) in example["expect"].as_object().expect("an example expects members") {
            if answer[member] != *expected {
                wrong.push(format!("{}: {member} is {}, not {expected}", example["name"], answer[member]));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(examples.lines().count(), 60);
}

/// Facts in a short form: words `ind`, `recalled`, `immigration`, `isp`, `refused`, `early`,
/// `open`, `rules`, `women`, and `name=date` for `start`, `ted`, `thd`, `ped`, `ard`, `crd`,
/// `category`, `arrival`, `mappa=level`.
fn facts(today: &str, words: &str) -> Facts {
    let mut facts = Facts { calculated_on: Some(today.parse().expect("a date")), ..Facts::default() };
    for word in words.split_whitespace() {
        match word.split_once('=') {
            Some(("mappa", level)) => facts.mappa_level = Some(level.parse().expect("a level")),
            Some((name, date)) => {
                let date = Some(date.parse().expect("a date"));
                match name {
                    "start" => facts.sentence_start_date = date,
                    "ted" => facts.tariff_date = date,
                    "thd" => facts.target_hearing_date = date,
                    "ped" => facts.parole_eligibility_date = date,
                    "ard" => facts.automatic_release_date = date,
                    "crd" => facts.conditional_release_date = date,
                    "category" => facts.category_active_since = date,
                    "arrival" => facts.prison_arrival_date = date,
                    _ => panic!("no such date: {name}"),
                }
            }
            None => match word {
                "ind" => facts.indeterminate = true,
                "recalled" => facts.recalled = true,
                "immigration" => facts.immigration_case = true,
                "isp" => facts.additional_indeterminate_sentence = true,
                "refused" => facts.parole_outcome_not_release = true,
                "early" => facts.early_allocation = true,
                "open" => facts.in_open_conditions = true,
                "rules" => facts.open_prison_rules_apply = true,
                "women" => facts.womens_estate = true,
                _ => panic!("no such fact: {word}"),
            },
        }
    }
    facts
}

/// `expected`: reason, earliest release, start date, handover date, phase today; `-` for none; or
/// `!code`.
#[track_caller]
fn check(today: &str, words: &str, expected: &str) {
    let answer = answer(&facts(today, words));
    let text = |value: &Value| value.as_str().map_or_else(|| "-".to_owned(), str::to_owned);
    let found = match answer.get("refused") {
        Some(code) => format!("!{}", text(code)),
        None => format!(
            "{} {} {} {} {}",
            text(&answer["reason"]),
            text(&answer["earliestRelease"]["name"]),
            text(&answer["startDate"]),
            text(&answer["handoverDate"]),
            text(&answer["responsibility"])
        ),
    };
    assert_eq!(found, expected, "{words}");
}

#[test]
fn an_indeterminate_sentence_counts_from_its_tariff_or_hearing() {
    let today = "2024-05-20";
    let check = |words: &str, name: &str| {
        let found = answer(&facts(today, &format!("ind {words}")))["earliestRelease"]["name"].clone();
        assert_eq!(found.as_str().unwrap_or("-"), name, "{words}");
    };
    // TED in the future, however far, before a nearer THD.
    check("ted=2030-01-01 thd=2024-06-01", "TED");
    check("ted=2024-05-21 thd=2024-05-22", "TED");
    // Today is not in the future.
    check("ted=2024-05-20 thd=2024-05-21", "THD");
    check("ted=2024-05-20 thd=2024-05-20", "TED");
    // Both past: the nearer; a tie: TED.
    check("ted=2024-05-01 thd=2024-05-19", "THD");
    check("ted=2024-05-19 thd=2024-05-01", "TED");
    check("ted=2024-05-19 thd=2024-05-19", "TED");
    check("ted=2020-01-01", "TED");
    check("thd=2020-01-01", "THD");
    // The dates of determinate sentences do not count.
    check("ped=2025-01-01 ard=2025-01-01 crd=2025-01-01", "-");
}

#[test]
fn a_determinate_sentence_counts_from_its_parole_or_release_date() {
    let check = |words: &str, name: &str| {
        let found =
            answer(&facts("2024-05-20", &format!("start=2015-01-01 {words}")))["earliestRelease"]["name"].clone();
        assert_eq!(found.as_str().unwrap_or("-"), name, "{words}");
    };
    // PED wins even when it is past, and later than the others.
    check("ped=2020-01-01 crd=2026-01-01", "PED");
    check("ped=2027-01-01 crd=2026-01-01 ard=2025-01-01", "PED");
    check("crd=2026-01-01 ard=2026-01-02", "CRD");
    check("crd=2026-01-02 ard=2026-01-01", "ARD");
    check("crd=2026-01-01 ard=2026-01-01", "ARD");
    check("crd=2020-01-01", "CRD");
    check("ted=2026-01-01 thd=2026-01-01", "-");
}

#[test]
fn the_first_policy_that_applies_fixes_the_plan() {
    let far = "thd=2025-05-21"; // one day more than 12 months
    let check = |words: &str, expected: &str| check("2024-05-20", words, expected);
    check(&format!("ind isp recalled immigration refused mappa=2 {far}"), "additional_isp THD - - CustodyOnly");
    for mappa in ["", "mappa=0", "mappa=1"] {
        let recalled = "recall_thd_over_12_months THD - - CustodyWithCom";
        check(&format!("ind recalled {mappa} {far}"), recalled);
        check(&format!("ind recalled immigration refused {mappa} {far}"), recalled);
        check(&format!("ind refused immigration {mappa} {far}"), "thd_over_12_months THD - - CustodyWithCom");
    }
    for mappa in ["mappa=2", "mappa=3"] {
        check(&format!("ind refused {mappa} {far}"), "parole_mappa_2_3 THD - - Community");
        check(&format!("ind refused recalled {mappa} {far}"), "parole_mappa_2_3 THD - - Community");
        check(&format!("ind recalled {mappa} {far}"), "recall_case THD - - Community");
        check(&format!("ind {mappa} {far}"), "indeterminate THD 2024-05-21 2024-05-21 CustodyOnly");
    }
    check("ind recalled immigration", "recall_case - - - Community");
    check("recalled immigration crd=2030-01-01", "recall_case CRD - - Community");
    check("immigration early crd=2030-01-01", "immigration_case CRD - - Community");
    check("immigration", "immigration_case - - - Community");
    check("", "release_date_unknown - - - CustodyOnly");
    check("ind early", "release_date_unknown - - - CustodyOnly");
    // Facts of indeterminate sentences change nothing for determinate ones.
    check(
        &format!("isp refused mappa=3 {far} start=2020-01-01 crd=2030-01-15"),
        "determinate CRD 2029-05-01 2029-05-01 CustodyOnly",
    );
}

#[test]
fn twelve_months_to_the_hearing_are_not_more_than_twelve() {
    check("2024-05-20", "ind refused thd=2025-05-20", "indeterminate THD 2024-05-20 2024-05-20 Community");
    check("2024-05-20", "ind refused thd=2025-05-21", "thd_over_12_months THD - - CustodyWithCom");
    // 29 February plus 12 months is 28 February.
    check("2024-02-29", "ind refused thd=2025-02-28", "indeterminate THD 2024-02-28 2024-02-28 Community");
    check("2024-02-29", "ind refused thd=2025-03-01", "thd_over_12_months THD - - CustodyWithCom");
    check("2024-05-20", "ind refused ted=2030-01-01", "indeterminate TED 2029-01-01 2029-01-01 CustodyOnly");
}

#[test]
fn each_kind_of_sentence_has_its_handover_date() {
    let check = |words: &str, expected: &str| check("2024-05-20", words, expected);
    check("early start=2020-01-01 crd=2027-05-31", "early_allocation CRD 2026-02-28 2026-02-28 CustodyOnly");
    check("early crd=2027-05-31", "early_allocation CRD 2026-02-28 2026-02-28 CustodyOnly");
    check("early ped=2027-05-31", "early_allocation PED 2026-02-28 2026-02-28 CustodyOnly");
    // Early allocation comes before the short sentence.
    check("early start=2024-05-01 crd=2024-06-01", "early_allocation CRD 2023-03-01 2023-03-01 Community");
    check("ind early open ted=2027-05-31", "early_allocation TED 2026-02-28 2026-02-28 CustodyOnly");
    check("ind ted=2028-02-29", "indeterminate TED 2027-02-28 2027-02-28 CustodyOnly");
    check("ind open ted=2028-02-29", "indeterminate_open TED 2027-02-28 2027-02-28 CustodyOnly");
    check("start=2020-01-01 ped=2026-01-01", "determinate_parole PED 2025-01-01 2025-01-01 CustodyOnly");
    // Months first, clamped to the end of the month, then days: 31 October to 28 February to 14
    // February.
    check("start=2020-01-01 crd=2025-10-31", "determinate CRD 2025-02-14 2025-02-14 CustodyOnly");
    check("start=2020-01-01 ard=2024-11-01", "determinate ARD 2024-02-16 2024-02-16 Community");
    check("crd=2026-01-01", "!sentence-start-unknown");
    check("ped=2026-01-01", "!sentence-start-unknown");
}

#[test]
fn a_sentence_of_ten_months_is_short() {
    let check = |words: &str, expected: &str| check("2024-05-20", words, expected);
    check("start=2024-01-01 crd=2024-11-01", "determinate_short CRD - - Community");
    check("start=2024-01-01 crd=2024-10-31", "determinate_short CRD - - Community");
    check("start=2024-01-01 crd=2024-11-02", "determinate CRD 2024-02-17 2024-02-17 Community");
    check("start=2024-01-01 ped=2024-11-01", "determinate_short PED - - Community");
    // 30 April plus ten months is 28 February.
    check("start=2024-04-30 crd=2025-02-28", "determinate_short CRD - - Community");
    check("start=2024-04-30 crd=2025-03-01", "determinate CRD 2024-06-17 2024-06-17 CustodyOnly");
}

#[test]
fn open_prison_rules_bring_the_start_date_forward() {
    let check = |words: &str, expected: &str| check("2024-05-20", words, expected);
    let days = "category=2023-01-01 arrival=2023-06-01 ted=2026-01-01";
    check(&format!("ind open rules {days}"), "indeterminate_open TED 2023-06-01 2025-01-01 CustodyWithCom");
    check(&format!("ind open rules women {days}"), "indeterminate_open TED 2023-01-01 2025-01-01 CustodyWithCom");
    // Conditions choose the reason, rules choose the start date, each without the other.
    check(&format!("ind rules {days}"), "indeterminate TED 2023-06-01 2025-01-01 CustodyWithCom");
    check(&format!("ind open {days}"), "indeterminate_open TED 2025-01-01 2025-01-01 CustodyOnly");
    check(&format!("ind early open rules {days}"), "early_allocation TED 2023-06-01 2024-10-01 CustodyWithCom");
    check(
        &format!("start=2020-01-01 early open rules crd=2026-01-01 {days}"),
        "early_allocation CRD 2024-10-01 2024-10-01 CustodyOnly",
    );
    // The day unknown, or after the handover date: the handover date.
    check(
        "ind open rules category=2023-01-01 ted=2026-01-01",
        "indeterminate_open TED 2025-01-01 2025-01-01 CustodyOnly",
    );
    check(
        "ind open rules women arrival=2023-01-01 ted=2026-01-01",
        "indeterminate_open TED 2025-01-01 2025-01-01 CustodyOnly",
    );
    check(
        "ind open rules arrival=2025-01-02 ted=2026-01-01",
        "indeterminate_open TED 2025-01-01 2025-01-01 CustodyOnly",
    );
}

#[test]
fn the_phase_follows_from_the_day_and_the_plan() {
    let (start, handover) = ("2025-01-01".parse().expect("a date"), "2025-03-01".parse().expect("a date"));
    let check = |day: &str, phase| {
        let day = day.parse().expect("a date");
        assert_eq!(phase_on(HandoverReason::IndeterminateOpen, Some(start), Some(handover), day), phase, "{day}");
    };
    check("2024-12-31", PlannedPhase::CustodyOnly);
    check("2025-01-01", PlannedPhase::CustodyWithCom);
    check("2025-02-28", PlannedPhase::CustodyWithCom);
    check("2025-03-01", PlannedPhase::Community);
    for &reason in HandoverReason::ALL {
        let expected = match reason {
            HandoverReason::AdditionalIsp | HandoverReason::ReleaseDateUnknown => PlannedPhase::CustodyOnly,
            HandoverReason::RecallThdOver12Months | HandoverReason::ThdOver12Months => PlannedPhase::CustodyWithCom,
            _ => PlannedPhase::Community,
        };
        assert_eq!(phase_on(reason, None, None, start), expected, "{reason:?}");
        assert!(!reason.label().is_empty());
    }
}

fn day() -> impl Strategy<Value = NaiveDate> {
    // Four years with a leap day: close enough together that ties and edges are met often.
    (0..1_500u64).prop_map(|days| NaiveDate::from_ymd_opt(2022, 1, 1).expect("a date") + Days::new(days))
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let dates = proptest::array::uniform8(proptest::option::of(day()));
    let flags = proptest::array::uniform10(any::<bool>());
    (dates, flags, proptest::option::of(0..=3u8)).prop_map(|(dates, flags, mappa_level)| Facts {
        sentence_start_date: dates[0],
        tariff_date: dates[1],
        target_hearing_date: dates[2],
        parole_eligibility_date: dates[3],
        conditional_release_date: dates[4],
        automatic_release_date: dates[5],
        category_active_since: dates[6],
        prison_arrival_date: dates[7],
        indeterminate: flags[0],
        determinate_parole: flags[1],
        additional_indeterminate_sentence: flags[2] && flags[3],
        recalled: flags[3] && flags[4],
        immigration_case: flags[5] && flags[6],
        parole_outcome_not_release: flags[6],
        early_allocation: flags[7],
        in_open_conditions: flags[8],
        open_prison_rules_apply: flags[9],
        womens_estate: flags[1],
        mappa_level,
        calculated_on: None,
    })
}

proptest! {
    #[test]
    fn dates_come_in_order_and_together(facts in any_facts(), today in day()) {
        let first = plan(&facts, today);
        prop_assert_eq!(&first, &plan(&facts, today));
        match first {
            Ok(plan) => {
                prop_assert_eq!(plan.start_date.is_some(), plan.handover_date.is_some());
                prop_assert!(plan.start_date <= plan.handover_date);
                prop_assert!(plan.handover_date.is_none() || plan.earliest_release.is_some());
                prop_assert!(plan.handover_date.zip(plan.earliest_release).is_none_or(|(day, release)| day < release.date));
            }
            Err(refusal) => {
                prop_assert_eq!(refusal.rule, Rule::SentenceStartUnknown);
                prop_assert!(!facts.indeterminate && facts.sentence_start_date.is_none());
            }
        }
    }

    /// A case only ever moves towards the community as days go by.
    #[test]
    fn phases_only_move_on(facts in any_facts(), today in day(), one in day(), other in day()) {
        if let Ok(plan) = plan(&facts, today) {
            let phase = |day| phase_on(plan.reason, plan.start_date, plan.handover_date, day);
            prop_assert!(phase(one.min(other)) <= phase(one.max(other)));
        }
    }
}
