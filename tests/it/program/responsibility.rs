//! `responsibility` and `cases`: the answers of the API on the command line.

use chrono::{DateTime, Utc};
use domain::{Stream, identifier::CommandId};
use event_log::{ExpectedRevision, Salt, encode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    ToolOutput,
    builders::{metadata, tier_assigned},
    database,
    ledger::{Ledger, NOVAK, OKAFOR, SHAH},
    projections::assert_failure,
    questions::{ask, determinate_sentence, record},
    run,
};

/// Two cases at Leeds, of which one is reallocated, and one that waits.
async fn ledger() -> Ledger {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1234BC", SHAH).await;
    ledger.case("A2222AA", NOVAK).await;
    ledger.tier("A3333AA").await;
    record(&ledger, "POST /prisoners/A1234BC/handover-plans", determinate_sentence()).await;
    record(
        &ledger,
        "POST /prisoners/A1234BC/reallocations",
        json!({"prison": "LEI", "pom": {"staffId": OKAFOR}, "reason": "Shah is away", "overrideReasons": ["NO_STAFF"],
            "effectiveAt": "2026-04-01T08:00:00Z"}),
    )
    .await;
    ledger
}

async fn responsibility(ledger: &Ledger, arguments: &[&str]) -> ToolOutput {
    let [flag, store] = ledger.database.store.arguments();
    run(&[&["responsibility"], arguments, &[flag.as_str(), store.as_str()]].concat()).await
}

async fn cases(ledger: &Ledger, arguments: &[&str]) -> ToolOutput {
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    run(&[&["cases"], arguments, &stores].concat()).await
}

/// The JSON lines of a tool that succeeded.
#[track_caller]
fn lines(ran: &ToolOutput) -> Vec<Value> {
    assert!(ran.status.success(), "{}", ran.stderr);
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The position after which the case A1234BC was reallocated.
async fn before_reallocation(ledger: &Ledger) -> String {
    let events = ledger.case_events("A1234BC").await;
    (events.last().expect("an event").entry.position - 1).to_string()
}

#[tokio::test]
async fn responsibility_as_json_equals_the_answer_over_http() {
    let ledger = ledger().await;
    let known_at = before_reallocation(&ledger).await;
    record(&ledger, "POST /prisoners/A2222AA/merges", json!({"removedNumber": "A1234BC"})).await;
    ledger.wait_for_policies().await;
    // Before and after the reallocation, after the handover, and by a number in small letters.
    for (number, on) in [("A1234BC", "2026-03-01"), ("A2222AA", "2026-04-02"), ("a2222aa", "2026-06-01T09:00:00Z")] {
        for known_at in [None, Some(known_at.as_str())] {
            let known = known_at.map_or(vec![], |known_at| vec!["--known-at", known_at]);
            let ran = responsibility(&ledger, &[&[number, "--json", "--on", on], &known[..]].concat()).await;
            let known = known_at.map(|known_at| format!("&known-at={known_at}")).unwrap_or_default();
            let path = format!("/prisoners/{}/responsibility?on={on}{known}", number.to_uppercase());
            assert_eq!(lines(&ran), [ask(&ledger, &path).await.body], "{number} on {on}, known at {known_at:?}");
        }
    }
    // Now.
    let mut answers = [lines(&responsibility(&ledger, &["A2222AA", "--json"]).await).remove(0)].to_vec();
    answers.push(ask(&ledger, "/prisoners/A2222AA/responsibility").await.body);
    answers.iter_mut().for_each(|answer| drop(answer["on"].take()));
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn responsibility_says_who_why_and_as_of_when() {
    let ledger = ledger().await;
    let head = ledger.event_count().await;
    let ran = responsibility(&ledger, &["a1234bc", "--on", "2026-03-01"]).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    let expected = format!(
        "\
A1234BC on 2026-03-01 00:00 GMT:
    Shah, Priya (485928, prison POM), at LEI
    2026-02-03 09:00 GMT to 2026-04-01 09:00 BST
    why: handover plan: COM is responsible from 2026-04-17 (Determinate sentence more than 10 months)
    tier C1; as known at position {head}; times are London's
"
    );
    assert_eq!(ran.stdout, expected);
    let later = responsibility(&ledger, &["A1234BC", "--on", "2199-01-01"]).await.stdout;
    assert!(later.contains("a COM, but none is named, at LEI; supporting: Okafor, Grace"), "{later}");

    let unknown = responsibility(&ledger, &["A9999AA"]).await;
    assert_failure(&unknown, &["nothing is known of A9999AA"]);
    let too_early = responsibility(&ledger, &["A1234BC", "--on", "2020-01-01"]).await;
    assert_failure(&too_early, &["nothing had happened to A1234BC yet", "begins 2026-01-05 09:00 GMT"]);
    let not_known_yet = responsibility(&ledger, &["A1234BC", "--known-at", "2020-01-01"]).await;
    assert_failure(&not_known_yet, &["nothing was known of A1234BC at that point"]);
    let ahead = responsibility(&ledger, &["A1234BC", "--known-at", &(head + 1).to_string()]).await;
    assert_failure(&ahead, &[&format!("the log ends at position {head}")]);
}

/// As `history` marks it. A stretch that had yet to begin when it was known has begun since.
#[tokio::test]
async fn responsibility_that_was_planned_at_a_point_is_marked() {
    let database = database().await;
    let instant = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
    let (recorded, begins) = (instant("2024-01-05T09:00:00Z"), instant("2024-02-01T09:00:00Z"));
    let stream = Stream::Prisoner("A1234BC".parse().expect("a prisoner number"));
    let metadata = metadata(begins, "TEST", CommandId(Uuid::new_v4()));
    let event = encode(&stream, &tier_assigned("B2"), 0, &metadata, recorded, Salt::random());
    let appended = database.log().await.append(&stream, ExpectedRevision::NoStream, vec![event]).await.expect("append");
    let position = appended.events[0].0.to_string();
    let [flag, store] = database.store.arguments();
    for (known_at, mark) in
        [(&["--known-at", "2024-01-10"][..], ", as planned"), (&["--known-at", &position], ", as planned"), (&[], "")]
    {
        let asked = ["responsibility", "A1234BC", "--on", "2024-02-02", &flag, &store];
        let ran = run(&[&asked, known_at].concat()).await;
        let expected = format!("\n    2024-02-01 09:00 GMT to no end known{mark}\n");
        assert!(ran.stdout.contains(&expected), "{known_at:?}: {}{}", ran.stdout, ran.stderr);
    }
}

#[tokio::test]
async fn cases_as_json_equal_the_list_over_http() {
    let ledger = ledger().await;
    let known_at = before_reallocation(&ledger).await;
    for (arguments, query) in [
        (&["--on", "2026-04-02"][..], "on=2026-04-02".to_owned()),
        (&["--on", "2026-04-02", "--known-at", &known_at], format!("on=2026-04-02&known-at={known_at}")),
        (&[], String::new()),
    ] {
        let listed = ask(&ledger, &format!("/prisons/LEI/cases?limit=1000&{query}")).await;
        let ran = cases(&ledger, &[&["lei", "--json"], arguments].concat()).await;
        assert_eq!(Value::Array(lines(&ran)), listed.body, "{arguments:?}");
        assert_eq!(listed.body.as_array().map(Vec::len), Some(3), "{}", listed.text);
        let position = listed.header("ledger-position").expect("a position");
        assert!(ran.stderr.contains(&format!("As known at position {position}.")), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn cases_are_a_table_with_its_extent() {
    let ledger = ledger().await;
    let head = ledger.event_count().await;
    ask(&ledger, "/projections").await;
    let ran = cases(&ledger, &["LEI", "--on", "2026-04-02"]).await;
    assert_eq!((ran.status.code(), ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    let row = |number: &str| {
        let line = ran.stdout.lines().find(|line| line.contains(number)).unwrap_or_else(|| panic!("{}", ran.stdout));
        let cells = line.trim_matches('│').split('┆').map(|cell| cell.trim().to_owned());
        cells.collect::<Vec<_>>()
    };
    assert_eq!(row("A1234BC"), ["A1234BC", "C1", "Okafor, Grace (POM)", "", "2026-04-17", ""]);
    assert_eq!(row("A2222AA"), ["A2222AA", "C1", "Novak, Jan (POM)", "", "", ""]);
    assert_eq!(row("A3333AA"), ["A3333AA", "C1", "POM not allocated", "", "", "2026-01-05"]);
    let summary = format!(
        "3 cases at LEI (Leeds) on 2026-04-02 00:00 BST, 1 waiting to be allocated.\nAs known at position {head}."
    );
    assert!(ran.stdout.ends_with(&format!("\n{summary}\n")), "{}", ran.stdout);
    assert_failure(&cases(&ledger, &["ZZZ"]).await, &["ZZZ is not in the list of prisons", "is that the code meant?"]);
    let nobody = cases(&ledger, &["BXI"]).await;
    assert!(nobody.stdout.starts_with("0 cases at BXI"), "{}{}", nobody.stdout, nobody.stderr);
}

/// The random ledger is in Postgres.
mod log_in_postgres {
    use super::*;
    use crate::support::{
        projections::{execute, projected_ledger},
        random_ledger::tier,
        topology::require_log_in_postgres,
    };

    #[tokio::test(flavor = "multi_thread")]
    async fn cases_say_what_to_do_where_the_views_are_behind_or_missing() {
        require_log_in_postgres();
        let (database, mut ledger, _) = projected_ledger().await;
        let stores = database.arguments();
        let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
        let cases = async |more: &[&str]| run(&[&["cases", "LEI"], more, &stores].concat()).await;
        assert_eq!(cases(&[]).await.stderr, "");
        let included = ledger.log.head().await.expect("the head");
        assert!(ledger.case("Z0001ZZ", 3, tier("C", None)).await);
        let behind = cases(&[]).await;
        assert!(
            behind.status.success() && behind.stdout.contains(&format!("position {included}")),
            "{}",
            behind.stdout
        );
        let to_do = "`allocation-ledger projections rebuild`";
        assert!(behind.stderr.contains("lack 1 of its events") && behind.stderr.contains(to_do), "{}", behind.stderr);
        assert_failure(
            &cases(&["--known-at", &(included + 1).to_string()]).await,
            &["have not come to that point", to_do],
        );

        execute(&database.pool, "UPDATE views.checkpoint SET version = version - 1").await;
        assert_failure(&cases(&[]).await, &["of another version than this program's", to_do]);
        execute(&database.pool, "DROP SCHEMA views CASCADE").await;
        assert_failure(&cases(&[]).await, &["this ledger has no views yet", to_do]);
    }
}
