//! A caller's own prisons: what it may do there, and when a case is there.

use command::{CommandError, Request};
use domain::{
    Command, Confinement, Rule,
    event::RecordedBy,
    identifier::CommandId,
    prisoner::{self, Release, Transfer},
};
use serde_json::json;
use uuid::Uuid;

use super::{POM_LEI, POM_MDI, Prisons, assert_not_yours};
use crate::support::{
    commands::service_on,
    ledger::{Ledger, SHAH},
    topology::require_single_program,
};

#[tokio::test]
async fn a_case_is_that_of_the_prison_where_it_is_now() {
    require_single_program();
    let prisons = Prisons::start().await;
    let (leeds, moorland, both) = (prisons.head("HOMD_LEI"), prisons.head("HOMD_MDI"), prisons.head("HOMD_BOTH"));
    // A case that the ledger does not know is received at the caller's prison.
    let elsewhere = json!({"tier": "C1", "prison": "MDI"});
    assert_not_yours(
        &prisons.send(&leeds, "POST", "/prisoners/A1111AA/tier", Some(&elsewhere)).await,
        "received at MDI",
    );
    prisons.record(&leeds, "POST", "/prisoners/A1111AA/tier", json!({"tier": "C1", "prison": "LEI"})).await;
    let allocation = json!({"prison": "LEI", "pom": {"staffId": POM_LEI}, "note": "note of Leeds"});
    let made = prisons.record(&leeds, "POST", "/prisoners/A1111AA/allocations", allocation).await;
    let since = made.body["events"][0]["effectiveAt"].as_str().expect("an instant").to_owned();
    let held = prisons.position.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(prisons.get(&leeds, "/prisoners/A1111AA/responsibility").await.body["responsible"]["staffId"], POM_LEI);
    assert_not_yours(&prisons.get(&moorland, "/prisoners/A1111AA/responsibility").await, "held at LEI");

    prisons.record(&leeds, "POST", "/prisoners/A1111AA/transfers", json!({"toPrison": "MDI"})).await;
    let (then, list) = (format!("known-at={held}"), format!("/prisons/LEI/cases?known-at={held}"));
    for path in ["responsibility", "responsibility/periods", "history"] {
        let path = format!("/prisoners/A1111AA/{path}?{then}");
        assert_not_yours(&prisons.get(&leeds, &path).await, &path);
        assert_eq!(prisons.get(&moorland, &path).await.status, 200, "{path}");
    }
    // Nor do the lists of a time at which it was there have it.
    let pom = format!("/poms/{POM_LEI}/cases?{then}");
    let (list_then, pom_then) = (format!("/prisons/LEI/cases?on={since}"), format!("/poms/{POM_LEI}/cases?on={since}"));
    for path in [&list, &pom, &list_then, &pom_then] {
        assert_eq!(prisons.get(&leeds, path).await.body, json!([]), "{path}");
        assert_eq!(prisons.get(&both, path).await.body[0]["prisonerNumber"], "A1111AA", "{path}");
    }
    assert_not_yours(&prisons.send(&leeds, "POST", "/prisoners/A1111AA/releases", Some(&json!({}))).await, "gone");
    // It waits at MDI, and no POM holds it, so LEI may have it back.
    let back = json!({"prison": "LEI", "pom": {"staffId": POM_LEI}});
    prisons.record(&leeds, "POST", "/prisoners/A1111AA/allocations", back).await;
    assert_eq!(prisons.get(&leeds, "/prisoners/A1111AA/history").await.status, 200);
    assert_not_yours(&prisons.get(&moorland, "/prisoners/A1111AA/history").await, "back at LEI");
}

#[tokio::test]
async fn a_merged_number_is_that_of_the_survivor() {
    require_single_program();
    let prisons = Prisons::start().await;
    let (leeds, moorland, both) = (prisons.head("HOMD_LEI"), prisons.head("HOMD_MDI"), prisons.head("HOMD_BOTH"));
    prisons.case("A1111AA", "LEI", "note of Leeds").await;
    prisons.case("A2222BB", "MDI", "note of Moorland").await;
    let merge = json!({"removedNumber": "A1111AA"});
    for (caller, what) in [(&leeds, "the survivor is at MDI"), (&moorland, "the removed number is at LEI")] {
        let answer = prisons.send(caller, "POST", "/prisoners/A2222BB/merges", Some(&merge)).await;
        assert_not_yours(&answer, what);
    }
    let known = prisons.position.load(std::sync::atomic::Ordering::SeqCst);
    let entries = prisons.get(&prisons.auditor(), "/prisoners/A2222BB/history").await;
    let before = entries.body[1]["effectiveAt"].as_str().expect("an instant").to_owned();
    prisons.record(&both, "POST", "/prisoners/A2222BB/merges", merge).await;
    assert_eq!(prisons.get(&moorland, "/prisoners/A1111AA/history").await.status, 200);
    assert_not_yours(&prisons.get(&leeds, "/prisoners/A1111AA/history").await, "the survivor is at MDI");
    let release = Some(json!({}));
    let answer = prisons.send(&moorland, "POST", "/prisoners/A1111AA/releases", release.as_ref()).await;
    assert_eq!((answer.status.as_u16(), &answer.body["survivor"]), (422, &json!("A2222BB")), "{}", answer.text);
    let answer = prisons.send(&leeds, "POST", "/prisoners/A1111AA/releases", release.as_ref()).await;
    assert_not_yours(&answer, "the survivor is not named");
    assert!(!answer.text.contains("A2222BB"), "{}", answer.text);
    // So it is in the lists of a time before the merge, as they are and as they were known.
    for path in ["/prisons/LEI/cases".to_owned(), format!("/poms/{POM_LEI}/cases")] {
        for at in [format!("on={before}"), format!("known-at={known}")] {
            let path = format!("{path}?{at}");
            assert_eq!(prisons.get(&leeds, &path).await.body, json!([]), "{path}");
            let listed = prisons.get(&both, &path).await;
            assert_eq!(listed.body[0]["prisonerNumber"], "A1111AA", "{path}: {}", listed.text);
        }
    }
    // A number that the ledger has never heard of is no one's.
    let unknown = json!({"removedNumber": "A3333CC"});
    prisons.record(&moorland, "POST", "/prisoners/A2222BB/merges", unknown).await;
}

#[tokio::test]
async fn a_refused_merge_names_the_numbers_that_the_caller_gave() {
    require_single_program();
    let prisons = Prisons::start().await;
    prisons.case("A1111AA", "LEI", "note of Leeds").await;
    prisons.case("A3333CC", "MDI", "note of Moorland").await;
    prisons.record(&prisons.sync(), "POST", "/prisoners/A3333CC/merges", json!({"removedNumber": "A2222BB"})).await;
    let leeds = prisons.head("HOMD_LEI");
    // The case of A2222BB goes on at MDI under a number that is not the caller's to learn.
    for (survivor, removed) in [("A1111AA", "A2222BB"), ("A2222BB", "A1111AA"), ("A2222BB", "A9999ZZ")] {
        let (path, merge) = (format!("/prisoners/{survivor}/merges"), json!({"removedNumber": removed}));
        let answer = prisons.send(&leeds, "POST", &path, Some(&merge)).await;
        assert_not_yours(&answer, &path);
        assert!(answer.text.contains("A2222BB") && !answer.text.contains("A3333CC"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_bulk_moves_the_cases_of_the_prison_alone() {
    require_single_program();
    let prisons = Prisons::start().await;
    prisons.case("A1111AA", "LEI", "note of Leeds").await;
    prisons.case("A2222BB", "MDI", "note of Moorland").await;
    let pom = json!({"staffId": 4, "name": "Byrne, Liam", "kind": "PRISON"});
    prisons.record(&prisons.sync(), "POST", "/prisons/LEI/poms", pom).await;
    let bulk = json!({"fromStaffId": POM_LEI, "toStaffId": 4, "prisonerNumbers": ["A1111AA", "A2222BB", "A9999ZZ"],
        "reason": "Leaving"});
    let leeds = prisons.head("HOMD_LEI");
    let answer = prisons.send(&leeds, "POST", "/prisons/LEI/reallocations", Some(&bulk)).await;
    assert_eq!(answer.body["accepted"][0]["prisonerNumber"], "A1111AA", "{}", answer.text);
    let refused = answer.body["refused"].as_array().expect("refusals");
    let codes: Vec<_> = refused.iter().map(|case| (&case["prisonerNumber"], &case["code"])).collect();
    let not_yours = json!("prison-not-yours");
    assert_eq!(codes, [(&json!("A2222BB"), &not_yours), (&json!("A9999ZZ"), &not_yours)], "{}", answer.text);
}

#[tokio::test]
async fn callers_without_a_line_of_their_own() {
    require_single_program();
    let prisons = Prisons::start().await;
    prisons.case("A1111AA", "LEI", "note of Leeds").await;
    prisons.case("A2222BB", "MDI", "note of Moorland").await;
    let stranger = prisons.head("HOMD_WYI");
    let kiosk = prisons.bearer(&crate::support::tokens::client("kiosk", &["ROLE_ALLOCATION_LEDGER__RO"], ""));
    for (caller, leeds, moorland) in
        [(&stranger, 403, 403), (&kiosk, 200, 403), (&prisons.sync(), 200, 200), (&prisons.auditor(), 200, 200)]
    {
        for (number, status) in [("A1111AA", leeds), ("A2222BB", moorland)] {
            let answer = prisons.get(caller, &format!("/prisoners/{number}/responsibility")).await;
            assert_eq!(answer.status, status, "{number}: {}", answer.text);
        }
    }
    assert_eq!(prisons.get(&stranger, &format!("/poms/{POM_MDI}/cases")).await.body, json!([]));
    // An auditor who may record is confined in that.
    let auditor = prisons.user("AUDITOR", &["ROLE_ALLOCATION_LEDGER__AUDIT", "ROLE_ALLOC_MGR"]);
    assert_eq!(prisons.get(&auditor, "/prisoners/A1111AA/history").await.status, 200);
    let release = prisons.send(&auditor, "POST", "/prisoners/A1111AA/releases", Some(&json!({}))).await;
    assert_not_yours(&release, "an auditor records");
}

#[tokio::test]
async fn a_case_that_moves_while_a_command_is_decided_is_decided_on_anew() {
    require_single_program();
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1111AA", SHAH).await;
    let (here, there) = (service_on(ledger.log().await), service_on(ledger.log().await));
    let request = |command, confinement| Request {
        command: Command::Prisoner("A1111AA".parse().expect("a number"), command),
        command_id: CommandId(Uuid::new_v4()),
        request_digest: "a request".to_owned().into(),
        recorded_by: RecordedBy { username: None, client: "tests".to_owned(), auth_source: None },
        correlation_id: Uuid::new_v4(),
        causation_id: None,
        provenance: None,
        effective_at: None,
        if_match: None,
        confinement,
    };
    let leeds = || Confinement::from(Some(std::sync::Arc::new(["LEI".parse().expect("a prison")].into())));
    // The first service has the case in its cache, at LEI.
    let com = prisoner::Command::AssignCommunityManager(domain::officer::CommunityManager {
        name: "Lee, Sam".to_owned(),
        email: None,
        team: None,
        ldu: None,
    });
    here.execute(request(com, leeds())).await.expect("recorded");
    let transfer = prisoner::Command::Transfer(Transfer { to_prison: "MDI".parse().expect("a prison") });
    there.execute(request(transfer, leeds())).await.expect("recorded");
    let release = prisoner::Command::Release(Release { prison: None });
    let error = here.execute(request(release, leeds())).await.expect_err("the case is at MDI");
    assert!(matches!(&error, CommandError::Refused(refusal) if refusal.rule == Rule::PrisonNotYours), "{error}");
}
