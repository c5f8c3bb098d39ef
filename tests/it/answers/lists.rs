//! Lists of a prison and of a POM: cases, waiting cases, roster and statistics.

use serde_json::json;

use crate::support::{
    ledger::{Ledger, NOVAK, SHAH},
    questions::{ask, assert_ok, members, next_page, record},
};

/// Five cases of one prison, of which three are held, and a co-worker. The higher the number, the
/// longer the case waits.
async fn ledger_of_five_cases() -> Ledger {
    let ledger = Ledger::start_all_roles().await;
    for (number, tier, staff_id, day) in [
        ("A0001AA", "D2", Some(SHAH), 9),
        ("A0002AA", "C1", Some(NOVAK), 8),
        ("A0003AA", "C2", None, 7),
        ("A0004AA", "E0", Some(SHAH), 6),
        ("A0005AA", "C1", None, 5),
    ] {
        let effective_at = format!("2026-01-0{day}T09:00:00Z");
        let body = json!({"tier": tier, "source": "DELIUS", "prison": "LEI", "effectiveAt": effective_at});
        record(&ledger, &format!("POST /prisoners/{number}/tier"), body).await;
        if let Some(staff_id) = staff_id {
            ledger.allocate(number, staff_id).await;
        }
    }
    let coworker = json!({"prison": "LEI", "pom": {"staffId": SHAH}, "effectiveAt": "2026-02-03T09:00:00Z"});
    record(&ledger, "POST /prisoners/A0002AA/co-workers", coworker).await;
    ledger
}

#[tokio::test]
async fn cases_are_filtered() {
    let ledger = ledger_of_five_cases().await;
    let check = async |query: &str, expected: &[&str]| {
        let answer = ask(&ledger, &format!("/prisons/LEI/cases?{query}")).await;
        assert_eq!(members(&answer, "prisonerNumber"), expected, "{query}");
    };
    check("", &["A0001AA", "A0002AA", "A0003AA", "A0004AA", "A0005AA"]).await;
    check("tier=C", &["A0002AA", "A0003AA", "A0005AA"]).await;
    check("tier=C1", &["A0002AA", "A0005AA"]).await;
    check(&format!("pom={SHAH}"), &["A0001AA", "A0002AA", "A0004AA"]).await;
    check(&format!("pom={SHAH}&role=PRIMARY"), &["A0001AA", "A0004AA"]).await;
    check(&format!("pom={SHAH}&role=COWORKING"), &["A0002AA"]).await;
    check("allocated=false", &["A0003AA", "A0005AA"]).await;
    check("waiting=false", &["A0001AA", "A0002AA", "A0004AA"]).await;
    check("phase=CUSTODY_ONLY&allocated=true&tier=D", &["A0001AA"]).await;
    check("responsible=COM", &[]).await;
    check("on=2026-01-20&waiting=true", &["A0001AA", "A0002AA", "A0003AA", "A0004AA", "A0005AA"]).await;
    check("on=2026-01-01", &[]).await;
    let elsewhere = ask(&ledger, "/prisons/MDI/cases").await;
    assert_eq!(assert_ok(&elsewhere), &json!([]));
    assert!(elsewhere.header("ledger-position").is_some());
}

#[tokio::test]
async fn cases_are_sorted_by_each_column_in_both_directions() {
    let ledger = ledger_of_five_cases().await;
    let check = async |query: &str, expected: &[&str]| {
        let answer = ask(&ledger, &format!("/prisons/LEI/cases?{query}")).await;
        assert_eq!(members(&answer, "prisonerNumber"), expected, "{query}");
    };
    check("sort=tier", &["A0002AA", "A0005AA", "A0003AA", "A0001AA", "A0004AA"]).await;
    check("sort=-prisonerNumber", &["A0005AA", "A0004AA", "A0003AA", "A0002AA", "A0001AA"]).await;
    check("sort=-tier", &["A0004AA", "A0001AA", "A0003AA", "A0002AA", "A0005AA"]).await;
    check("sort=pom", &["A0002AA", "A0001AA", "A0004AA", "A0003AA", "A0005AA"]).await;
    check("sort=-pom", &["A0001AA", "A0004AA", "A0002AA", "A0003AA", "A0005AA"]).await;
    check("sort=waitingSince", &["A0005AA", "A0003AA", "A0001AA", "A0002AA", "A0004AA"]).await;
    check("sort=-waitingSince", &["A0003AA", "A0005AA", "A0001AA", "A0002AA", "A0004AA"]).await;
    let on = "on=2026-01-20";
    check(&format!("{on}&sort=responsibleSince"), &["A0005AA", "A0004AA", "A0003AA", "A0002AA", "A0001AA"]).await;
    check(&format!("{on}&sort=-responsibleSince"), &["A0001AA", "A0002AA", "A0003AA", "A0004AA", "A0005AA"]).await;
}

#[tokio::test]
async fn pages_of_cases_add_up_to_the_whole_list_in_every_order() {
    let ledger = ledger_of_five_cases().await;
    for sort in [
        "prisonerNumber",
        "-prisonerNumber",
        "tier",
        "-tier",
        "pom",
        "-pom",
        "waitingSince",
        "-waitingSince",
        "-responsibleSince",
    ] {
        let whole = members(&ask(&ledger, &format!("/prisons/LEI/cases?sort={sort}")).await, "prisonerNumber");
        let mut paged = Vec::new();
        let mut next = Some(format!("/prisons/LEI/cases?sort={sort}&limit=2"));
        while let Some(path) = next {
            let page = ask(&ledger, &path).await;
            paged.extend(members(&page, "prisonerNumber"));
            next = next_page(&page);
        }
        assert_eq!(paged, whole, "{sort}");
    }
}

#[tokio::test]
async fn a_poms_cases_include_those_worked_with_another() {
    let ledger = ledger_of_five_cases().await;
    let held = ask(&ledger, &format!("/poms/{SHAH}/cases")).await;
    assert_eq!(members(&held, "role"), ["PRIMARY", "COWORKING", "PRIMARY"]);
    assert_eq!(members(&held, "prisonerNumber"), ["A0001AA", "A0002AA", "A0004AA"]);
    let second = &assert_ok(&held)[1];
    assert_eq!((&second["pom"]["staffId"], &second["coworker"]["staffId"]), (&json!(NOVAK), &json!(SHAH)));
}

#[tokio::test]
async fn waiting_cases_count_their_days() {
    let ledger = ledger_of_five_cases().await;
    let waiting = ask(&ledger, "/prisons/LEI/unallocated?on=2026-02-12").await;
    assert_eq!(members(&waiting, "prisonerNumber"), ["A0005AA", "A0003AA"]);
    assert_eq!(members(&waiting, "waitingSince"), ["2026-01-05T09:00:00Z", "2026-01-07T09:00:00Z"]);
    assert_eq!(members(&waiting, "days"), [38, 36], "days of London's calendar");
}

#[tokio::test]
async fn the_roster_counts_each_poms_caseload_by_tier() {
    let ledger = ledger_of_five_cases().await;
    let roster = ask(&ledger, "/prisons/LEI/poms?on=2026-02-12").await;
    assert_eq!(members(&roster, "name"), ["Byrne, Liam", "Novak, Jan", "Okafor, Grace", "Shah, Priya"]);
    assert_eq!(
        assert_ok(&roster)[3]["caseload"],
        json!({"primary": {"total": 2, "byTier": {"D": 1, "E": 1}}, "coworking": {"total": 1, "byTier": {"C": 1}}})
    );
}

#[tokio::test]
async fn statistics_measure_the_days_to_allocation() {
    let ledger = ledger_of_five_cases().await;
    let statistics = ask(&ledger, "/prisons/LEI/statistics").await;
    assert_eq!(members(&statistics, "allocations"), [3]);
    assert_eq!(members(&statistics, "daysToAllocate"), [json!({"mean": 25.3, "median": 25.0, "max": 27})]);
}
