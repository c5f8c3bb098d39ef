//! Tools that show persons.

use serde_json::{Value, json};

use super::entries;
use crate::support::{
    ToolOutput,
    ledger::{Ledger, SHAH},
    questions::{ask, record},
    run,
};

async fn run_on(ledger: &Ledger, arguments: &[&str]) -> ToolOutput {
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let ran = run(&[arguments, &stores[..]].concat()).await;
    assert!(ran.status.success(), "{arguments:?}: {}", ran.stderr);
    assert!(!ran.stderr.contains("access log"), "{arguments:?}: {}", ran.stderr);
    ran
}

#[tokio::test]
async fn what_a_tool_shows_has_an_entry_with_the_user_of_the_system() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1111AA", SHAH).await;
    let before_contact = ledger.event_count().await.cast_signed();
    let contact = json!({"prisonerNumber": "A1115AA", "staffId": 7, "contactType": "POM"});
    record(&ledger, "POST /prisons/LEI/nomis-contacts", contact).await;
    ask(&ledger, "/projections").await;
    let head = ledger.event_count().await.cast_signed();
    let user = String::from_utf8(std::process::Command::new("id").arg("-un").output().expect("the user").stdout);
    let user = user.expect("UTF-8").trim().to_owned();

    let case = &["A1111AA"][..];
    let as_of = before_contact.to_string();
    let export_as_of = format!("export of case_period as of position {as_of}");
    for (arguments, prisoners, filter, positions) in [
        (&["history", "A1111AA"][..], case, None, (None, None)),
        (&["responsibility", "A1111AA", "--json"], case, None, (None, None)),
        (&["cases", "LEI"], case, None, (None, None)),
        (&["nomis-contacts"], &["A1115AA"], None, (None, None)),
        (&["replay", "--after", "2"], &[], Some("events"), (Some(2), Some(head))),
        (
            &["replay", "--prisoner", "A1111AA", "--type", "TierAssigned"],
            case,
            Some("events of a case TierAssigned"),
            (Some(0), Some(head)),
        ),
        (
            &["export", "case_period", "--prison", "LEI"],
            &[],
            Some("export of case_period at LEI"),
            (Some(0), Some(head)),
        ),
        (&["export", "case_period", "--as-of", &as_of], &[], Some(&export_as_of), (Some(0), Some(before_contact))),
        (&["export", "log"], &[], Some("export of the log"), (Some(0), Some(head))),
        (&["access-log", "--prisoner", "A1111AA"], case, Some("access log"), (None, None)),
    ] {
        run_on(&ledger, arguments).await;
        let entry = entries(&ledger.database).await.pop().unwrap_or_else(|| panic!("no entry of {arguments:?}"));
        let who = (entry.username.as_deref(), entry.client.as_deref(), entry.auth_source.as_deref());
        assert_eq!(who, (Some(user.as_str()), None, Some("os")), "{arguments:?}");
        assert_eq!((entry.operation.as_str(), entry.method, entry.status), (arguments[0], None, None));
        assert_eq!(entry.prisoners, prisoners, "{arguments:?}");
        assert_eq!((entry.filter.as_deref(), (entry.after_position, entry.to_position)), (filter, positions));
    }
    let before = entries(&ledger.database).await.len();
    for nobody in [&["replay", "--digest"][..], &["projections", "status"]] {
        run_on(&ledger, nobody).await;
    }
    assert_eq!(entries(&ledger.database).await.len(), before);

    let shown = run_on(&ledger, &["access-log", "--user", &user, "--limit", "2"]).await.stdout;
    assert!(shown.contains("access-log") && shown.contains("2 entries of the access log, newest first;"), "{shown}");
    let json = run_on(&ledger, &["access-log", "--json", "--prisoner", "A1115AA"]).await.stdout;
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 1, "{json}");
    assert_eq!((&lines[0]["operation"], &lines[0]["prisonerNumbers"]), (&json!("nomis-contacts"), &json!(["A1115AA"])));
}

#[tokio::test]
async fn a_tool_that_cannot_record_says_so_and_goes_on() {
    let ledger = Ledger::start().await;
    ledger.tier("A1111AA").await;
    let [flag, store] = ledger.database.store.arguments();
    let ran = run(&["history", "A1111AA", &flag, &store]).await;
    assert!(ran.status.success() && ran.stdout.contains("A1111AA"), "{}", ran.stderr);
    assert_eq!(ran.stderr, "This read is not in the access log: --views does not name the database that has it.\n");
    sqlx::raw_sql("DROP SCHEMA access CASCADE").execute(&ledger.database.pool).await.expect("no access log");
    run_on(&ledger, &["history", "A1111AA"]).await;
    assert_eq!(entries(&ledger.database).await.len(), 1, "a login that may prepares the access log");
}
