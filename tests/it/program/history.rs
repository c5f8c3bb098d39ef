//! `history`: a case for a person to read, with its periods of responsibility and its entries.

use serde_json::{Value, json};

use crate::support::{
    ToolOutput,
    ledger::{Ledger, NOVAK, OKAFOR, SHAH},
    questions::{ask, record},
    run,
};

async fn history(ledger: &Ledger, number: &str, arguments: &[&str]) -> ToolOutput {
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    run(&[&["history", number], &stores[..], arguments].concat()).await
}

/// Asserts success, and replaces the parts that differ from run to run.
async fn print_history(ledger: &Ledger, number: &str, arguments: &[&str]) -> String {
    let ran = history(ledger, number, arguments).await;
    assert!(ran.status.success() && ran.stderr.is_empty(), "{}", ran.stderr);
    let lines = ran.stdout.lines().map(|line| match line.split_once(", recorded ") {
        Some((entry, recorded)) => {
            let by = recorded.split_once(" by ").map(|(_, by)| by.split(" with ").next().unwrap_or_default());
            format!("{entry}, recorded TIME by {}", by.unwrap_or_default())
        }
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A case at Leeds with a plan, a removed override, an entry made in error, and a release.
async fn ledger() -> Ledger {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1234BC", SHAH).await;
    let by = [("X-Recorded-By", "HOMD_LEI")];
    let send = async |method: reqwest::Method, path: &str, body: Value| {
        let answer = ledger.client().send(method, path, &by, Some(&body)).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    };
    let post = reqwest::Method::POST;
    send(
        post.clone(),
        "/prisoners/A1234BC/handover-plans",
        json!({"indeterminate": false, "sentenceStartDate": "2024-01-01", "conditionalReleaseDate": "2199-01-01",
            "calculatedOn": "2026-02-03", "effectiveAt": "2026-02-03T09:00:00Z"}),
    )
    .await;
    send(
        post.clone(),
        "/prisoners/A1234BC/reallocations",
        json!({"prison": "LEI", "pom": {"staffId": OKAFOR}, "reason": "Shah is away", "overrideReasons": ["NO_STAFF"],
            "effectiveAt": "2026-04-01T08:00:00Z"}),
    )
    .await;
    send(post.clone(), "/prisoners/A1234BC/voids", json!({"revision": 3, "reason": "the wrong case"})).await;
    send(
        reqwest::Method::PUT,
        "/prisoners/A1234BC/responsibility-override",
        json!({"responsible": "PROBATION", "reason": "OTHER", "detail": "agreed with the court",
            "effectiveAt": "2026-05-01T08:00:00Z"}),
    )
    .await;
    ledger
}

#[tokio::test]
async fn history_prints_periods_and_entries() {
    let ledger = ledger().await;
    let positions = ledger.case_events("A1234BC").await.into_iter().map(|event| event.entry.position);
    let positions: Vec<u64> = positions.collect();
    let expected = format!(
        "\
A1234BC: 6 entries, newest last; times are London's

WHO WAS RESPONSIBLE

2026-01-05 09:00 GMT to 2026-02-02 09:00 GMT
    a POM, but the case is not allocated, at LEI
    why: no handover plan is known

2026-02-02 09:00 GMT to 2026-02-03 09:00 GMT
    Shah, Priya (485928, prison POM), at LEI
    why: no handover plan is known

2026-02-03 09:00 GMT to 2026-05-01 09:00 BST
    Shah, Priya (485928, prison POM), at LEI
    why: handover plan: COM is responsible from 2198-04-17 (Determinate sentence more than 10 months)

2026-05-01 09:00 BST to no end known
    a COM, but none is named, at LEI; supporting: Shah, Priya (485928, prison POM)
    why: overridden, the COM is responsible (another reason: agreed with the court)

WHAT HAPPENED

2026-01-05 09:00 GMT  Tier C1 assigned (DELIUS), held at LEI
    entry 0, position {}, recorded TIME by no named user

2026-02-02 09:00 GMT  Allocated at LEI to Shah, Priya (485928, prison POM), tier C1
    entry 1, position {}, recorded TIME by no named user

2026-02-03 09:00 GMT  Handover planned: COM is responsible from 2198-04-17 (Determinate sentence more than 10 months)
    earliest release: CRD 2199-01-01
    entry 2, position {}, recorded TIME by HOMD_LEI

2026-04-01 09:00 BST  [voided by entry 4] Reallocated at LEI from Shah, Priya (485928, prison POM) to Okafor, Grace (485926, probation POM), tier C1
    reason: Shah is away
    against the recommendation: NO_STAFF
    entry 3, position {}, recorded TIME by HOMD_LEI",
        positions[0], positions[1], positions[2], positions[3]
    );
    let said = print_history(&ledger, "A1234BC", &[]).await;
    assert!(said.starts_with(&expected), "{said}\n--- and not ---\n{expected}");
    assert!(said.contains("Entry 3 voided\n    reason: the wrong case"), "{said}");
    assert!(
        said.contains("2026-05-01 09:00 BST  Responsibility overridden: the COM is responsible (another reason)"),
        "{said}"
    );
}

#[tokio::test]
async fn history_marks_planned_periods() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1234BC", SHAH).await;
    record(
        &ledger,
        "POST /prisoners/A1234BC/handover-plans",
        json!({"indeterminate": false, "sentenceStartDate": "2024-01-01", "conditionalReleaseDate": "2199-01-01",
            "calculatedOn": "2026-02-03", "effectiveAt": "2026-02-03T09:00:00Z"}),
    )
    .await;
    let said = print_history(&ledger, "A1234BC", &[]).await;
    let planned =
        "2198-04-17 00:00 GMT to no end known  [planned]\n    a COM, but none is named, at LEI; supporting: Shah";
    let planned = planned.replace("GMT", if said.contains("2198-04-17 00:00 BST") { "BST" } else { "GMT" });
    assert!(said.contains(&planned), "{said}");
}

#[tokio::test]
async fn history_as_known_at_a_point_leaves_out_later_entries() {
    let ledger = ledger().await;
    let (head, events) = (ledger.event_count().await, ledger.case_events("A1234BC").await);
    // Before the void was recorded, the entry made in error counted.
    let before_void = events[3].entry.position.to_string();
    let then = print_history(&ledger, "A1234BC", &["--known-at", &before_void]).await;
    assert!(
        then.contains("2026-04-01 09:00 BST to no end known\n    Okafor, Grace")
            || then.contains("2026-04-01 09:00 BST to 2198"),
        "{then}"
    );
    assert!(!then.contains("voided"), "{then}");
    let recorded = events[3].entry.recorded_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let at = print_history(&ledger, "A1234BC", &["--known-at", &recorded]).await;
    assert_eq!(at.lines().skip(1).collect::<Vec<_>>(), then.lines().skip(1).collect::<Vec<_>>());
    let path = format!("/prisoners/A1234BC/history?known-at={before_void}");
    let over_http = ask(&ledger, &path).await;
    assert_eq!(over_http.body.as_array().map(Vec::len), Some(4), "{}", over_http.text);
    assert_eq!(over_http.header("ledger-position"), Some(before_void.as_str()));

    let before = history(&ledger, "A1234BC", &["--known-at", "2020-01-01"]).await;
    assert_eq!(before.status.code(), Some(1));
    assert!(before.stderr.contains("nothing was known of A1234BC at that point"), "{}", before.stderr);
    let ahead = history(&ledger, "A1234BC", &["--known-at", &(head + 1).to_string()]).await;
    assert_eq!(ahead.status.code(), Some(1));
    assert!(ahead.stderr.contains(&format!("the log ends at position {head}")), "{}", ahead.stderr);
    assert_eq!(history(&ledger, "A1234BC", &["--known-at", "soon"]).await.status.code(), Some(2));
}

#[tokio::test]
async fn history_as_json_equals_the_answer_over_http() {
    let ledger = ledger().await;
    ledger.case("A2222AA", NOVAK).await;
    record(&ledger, "POST /prisoners/A2222AA/merges", json!({"removedNumber": "A1234BC"})).await;
    ledger.wait_for_policies().await;
    for number in ["A1234BC", "A2222AA"] {
        let ran = history(&ledger, number, &["--json"]).await;
        let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let (periods, entries): (Vec<Value>, Vec<Value>) =
            lines.into_iter().partition(|line| line.get("eventId").is_none());
        let path = format!("/prisoners/{number}");
        assert_eq!(ask(&ledger, &format!("{path}/responsibility/periods")).await.body, Value::Array(periods));
        assert_eq!(ask(&ledger, &format!("{path}/history?limit=1000")).await.body, Value::Array(entries));
    }
    let said = print_history(&ledger, "A1234BC", &[]).await;
    assert!(said.starts_with("A1234BC, which goes on as A2222AA: "), "{said}");
    assert!(said.contains(" under A1234BC, position "), "{said}");
    assert!(said.contains("Number A1234BC merged into this one"), "{said}");
}
