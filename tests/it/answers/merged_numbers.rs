//! Questions about prisoner numbers that were merged.

use std::time::Duration;

use domain::Stream;
use event_log::ExpectedRevision;
use query::past::{PastError, whole_case};
use reqwest::Method;
use serde_json::json;

use crate::support::{
    builders::{new_event, number_retired},
    ledger::{Ledger, SHAH, assert_refused},
    questions::{ask, ask_with, assert_ok, members, record},
};

#[tokio::test]
async fn merged_numbers_answer_with_the_survivor() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1111AA", SHAH).await;
    ledger.tier("A2222BB").await;
    record(&ledger, "POST /prisoners/A2222BB/merges", json!({"removedNumber": "A1111AA"})).await;
    ledger.wait_for_policies().await;
    for number in ["A1111AA", "A2222BB"] {
        let answer = ask(&ledger, &format!("/prisoners/{number}/responsibility")).await;
        assert_eq!(assert_ok(&answer)["prisonerNumber"], "A2222BB");
        assert_eq!(assert_ok(&answer)["responsible"]["staffId"], SHAH, "taken over");
        let history = ask(&ledger, &format!("/prisoners/{number}/history")).await;
        let numbers = members(&history, "prisonerNumber");
        assert!(numbers.contains(&json!("A1111AA")) && numbers.contains(&json!("A2222BB")), "{}", history.text);
        assert_eq!(members(&history, "type").last(), Some(&json!("PrisonerNumberMerged")));
        let periods = ask(&ledger, &format!("/prisoners/{number}/responsibility/periods")).await;
        assert!(members(&periods, "prisonerNumber").iter().all(|number| number == "A2222BB"), "{}", periods.text);
    }
    let both = ask_with(&ledger, Method::POST, "/responsibilities", Some(&json!(["A1111AA", "A2222BB"]))).await;
    assert_eq!(members(&both, "prisonerNumber"), ["A2222BB", "A2222BB"]);
    // Known before the merge, the removed number was a case of its own.
    let before = ledger
        .case_events("A1111AA")
        .await
        .iter()
        .filter(|event| event.entry.event.type_name() == "AllocationMade")
        .map(|event| event.entry.position)
        .next_back()
        .expect("an allocation");
    let known = ask(&ledger, &format!("/prisoners/A1111AA/responsibility?known-at={before}")).await;
    assert_eq!(assert_ok(&known)["prisonerNumber"], "A1111AA");
}

#[tokio::test]
async fn a_day_before_a_merge_is_answered_from_the_removed_number() {
    let ledger = Ledger::start_all_roles().await;
    let tier = |tier: &str, day: &str| json!({"tier": tier, "source": "DELIUS", "prison": "LEI", "effectiveAt": format!("{day}T09:00:00Z")});
    // A chain of three numbers, each with events from a later day on.
    record(&ledger, "POST /prisoners/A1111AA/tier", tier("A", "2026-01-05")).await;
    record(&ledger, "POST /prisoners/A2222BB/tier", tier("B", "2026-02-05")).await;
    record(&ledger, "POST /prisoners/A2222BB/merges", json!({"removedNumber": "A1111AA"})).await;
    ledger.wait_for_policies().await;
    record(&ledger, "POST /prisoners/A3333CC/tier", tier("C", "2026-03-05")).await;
    record(&ledger, "POST /prisoners/A3333CC/merges", json!({"removedNumber": "A2222BB"})).await;
    ledger.wait_for_policies().await;
    let head = ledger.event_count().await;
    for (number, known_at) in [
        ("A1111AA", String::new()),
        ("A2222BB", String::new()),
        ("A3333CC", String::new()),
        ("A1111AA", format!("&known-at={head}")),
        ("A3333CC", format!("&known-at={head}")),
    ] {
        for (day, expected) in [("2026-01-20", "A"), ("2026-02-20", "B"), ("2026-03-20", "C")] {
            let path = format!("/prisoners/{number}/responsibility?on={day}{known_at}");
            let answer = ask(&ledger, &path).await;
            assert_eq!(
                (&assert_ok(&answer)["tier"], &answer.body["prisonerNumber"]),
                (&json!(expected), &json!("A3333CC"))
            );
        }
        let path = format!("/prisoners/{number}/responsibility?on=2026-01-01{known_at}");
        assert_refused(&ask(&ledger, &path).await, 404, "prisoner-unknown");
    }
    let many = ask_with(&ledger, Method::POST, "/responsibilities?on=2026-01-20", Some(&json!(["A3333CC"]))).await;
    assert_eq!(members(&many, "tier"), ["A"]);
    let periods = ask(&ledger, "/prisoners/A1111AA/responsibility/periods").await;
    let tiers = members(&periods, "tier");
    assert_eq!(tiers[..3], ["A", "B", "C"]);
    assert_eq!(
        members(&periods, "from")[..3],
        ["2026-01-05T09:00:00Z", "2026-02-05T09:00:00Z", "2026-03-05T09:00:00Z"]
    );
    assert_eq!(members(&periods, "to")[..2], ["2026-02-05T09:00:00Z", "2026-03-05T09:00:00Z"]);
    assert!(members(&periods, "prisonerNumber").iter().all(|number| number == "A3333CC"), "{}", periods.text);
}

/// The rules refuse a circle, but two servers could make one if neither saw the other's merge.
#[tokio::test]
async fn a_circle_of_merges_is_an_error_instead_of_an_endless_read() {
    let ledger = Ledger::start_all_roles().await;
    let numbers = ["A1111AA", "A2222BB"];
    for number in numbers {
        ledger.tier(number).await;
    }
    let log = ledger.log().await;
    // The policies would complete the first merge, so the program must not run.
    assert!(ledger.program.stop().await.success());
    for (removed, survivor) in [(numbers[0], numbers[1]), (numbers[1], numbers[0])] {
        let event = new_event(&number_retired(survivor));
        let stream = Stream::Prisoner(removed.parse().expect("a number"));
        log.append(&stream, ExpectedRevision::Exact(0), vec![event]).await.expect("append");
    }
    let number = numbers[0].parse().expect("a number");
    let read = tokio::time::timeout(Duration::from_secs(60), whole_case(&log, &number, None)).await.expect("an end");
    assert!(matches!(read, Err(PastError::Failure(query::Error::MergeCircle { .. }))), "{read:?}");
}
