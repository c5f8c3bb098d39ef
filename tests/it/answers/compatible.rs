//! The endpoints for clients of the live service and of the first allocation API, member by member.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    ledger::{Ledger, NOVAK, OKAFOR, SHAH},
    questions::{ask, ask_with, assert_ok, record},
};

/// Asks and checks the status and the body.
async fn check(ledger: &Ledger, path: &str, status: u16, body: Value) {
    let answer = ask(ledger, path).await;
    assert_eq!((answer.status.as_u16(), &answer.body), (status, &body), "{path}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
}

#[tokio::test]
async fn the_live_services_endpoints_answer_member_by_member() {
    let ledger = Ledger::start_all_roles().await;
    let error = |message: &str| json!({"status": "error", "message": message});
    for path in ["/api/allocation/A1234BC", "/api/allocation/A1234BC/primary_pom"] {
        check(&ledger, path, 404, error("Not ready for allocation")).await;
    }
    check(&ledger, "/api/allocation/nobody", 404, error("Not ready for allocation")).await;
    check(&ledger, "/api/handovers/A1234BC", 404, error("Not found")).await;

    ledger.tier("A1234BC").await;
    check(&ledger, "/api/allocation/A1234BC", 404, error("Not ready for allocation")).await;
    let email = json!({"email": "priya.shah@example.org", "effectiveAt": "2019-01-02T00:00:00Z"});
    record(&ledger, &format!("PATCH /prisons/LEI/poms/{SHAH}"), email).await;
    ledger.allocate("A1234BC", SHAH).await;
    let shah = json!({"staff_id": SHAH, "name": "Shah, Priya"});
    check(&ledger, "/api/allocation/A1234BC", 200, json!({"primary_pom": shah, "secondary_pom": {}})).await;
    let manager = json!({"code": SHAH, "forename": "Priya", "surname": "Shah", "email": "priya.shah@example.org"});
    let path = "/api/allocation/A1234BC/primary_pom";
    check(&ledger, path, 200, json!({"manager": manager, "prison": {"code": "LEI"}})).await;
    let coworker = json!({"prison": "LEI", "pom": {"staffId": OKAFOR}});
    record(&ledger, "POST /prisoners/A1234BC/co-workers", coworker).await;
    let okafor = json!({"staff_id": OKAFOR, "name": "Okafor, Grace"});
    check(&ledger, "/api/allocation/A1234BC", 200, json!({"primary_pom": shah, "secondary_pom": okafor})).await;

    let plan =
        json!({"indeterminate": false, "sentenceStartDate": "2024-01-01", "conditionalReleaseDate": "2099-01-01"});
    record(&ledger, "POST /prisoners/A1234BC/handover-plans", plan).await;
    let mut handover = json!({
        "nomsNumber": "A1234BC", "handoverDate": "2098-04-17", "handoverStartDate": "2098-04-17",
        "responsibility": "POM", "responsibleComName": null, "responsibleComEmail": null,
        "responsiblePomName": "Shah, Priya", "responsiblePomNomisId": SHAH,
    });
    check(&ledger, "/api/handovers/A1234BC", 200, handover.clone()).await;
    let com = json!({"name": "Lee, Sam", "email": "sam.lee@example.org"});
    record(&ledger, "PUT /prisoners/A1234BC/community-manager", com).await;
    check(&ledger, "/api/handovers/A1234BC", 200, handover.clone()).await;
    let recall = json!({"indeterminate": false, "recalled": true});
    record(&ledger, "POST /prisoners/A1234BC/handover-plans", recall).await;
    for (member, value) in [
        ("handoverDate", json!(null)),
        ("handoverStartDate", json!(null)),
        ("responsibility", json!("COM")),
        ("responsibleComName", json!("Lee, Sam")),
        ("responsibleComEmail", json!("sam.lee@example.org")),
        ("responsiblePomName", json!(null)),
        ("responsiblePomNomisId", json!(null)),
    ] {
        handover[member] = value;
    }
    check(&ledger, "/api/handovers/A1234BC", 200, handover).await;

    record(&ledger, "POST /prisoners/A1234BC/deallocations", json!({"trigger": "MANUAL"})).await;
    for path in ["/api/allocation/A1234BC", "/api/allocation/A1234BC/primary_pom"] {
        check(&ledger, path, 404, error("Not allocated")).await;
    }
}

#[tokio::test]
async fn the_first_allocation_apis_endpoints_answer_member_by_member() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1234BC", SHAH).await;
    ledger.tier("A1234BD").await;
    let allocation = json!({
        "prison": "LEI", "pom": {"staffId": OKAFOR}, "overrideReasons": ["CONTINUITY", "OTHER"], "overrideDetail": "Speaks Welsh", "note": "As before.",
        "effectiveAt": "2026-02-02T09:00:00Z",
    });
    record(&ledger, "POST /prisoners/A1234BD/allocations", allocation).await;
    ledger.tier("A1234BE").await;

    let asked = json!(["A1234BC", "A1234BD", "A1234BE", "A9999ZZ", "nobody", "no\0body"]);
    let active = ask_with(&ledger, Method::POST, "/allocation/active", Some(&asked)).await;
    let body = assert_ok(&active).clone();
    assert_eq!((&body["status"], &body["errorMessage"]), (&json!("ok"), &json!("")));
    let data = body["data"].as_object().expect("by number");
    assert_eq!(data.keys().collect::<Vec<_>>(), ["A1234BC", "A1234BD"]);
    let mut okafors = data["A1234BD"].clone();
    let updated_at = okafors["updated_at"].take();
    assert!(updated_at.as_str().is_some_and(|time| time.len() == "2026-02-02T09:00:00.000Z".len()), "{updated_at}");
    assert_eq!(okafors["created_by"], Value::Null, "no request named a user");
    assert_eq!(
        okafors,
        json!({
            "nomis_offender_id": "A1234BD", "nomis_booking_id": null, "nomis_staff_id": OKAFOR, "prison": "LEI",
            "allocated_at_tier": "C1", "override_reason": "CONTINUITY,Speaks Welsh", "note": "As before.", "email": null,
            "created_by": null, "active": true, "created_at": "2026-02-02T09:00:00.000Z", "updated_at": null,
        })
    );
    let nobody = ask_with(&ledger, Method::POST, "/allocation/active", Some(&json!([]))).await;
    assert_eq!(nobody.body, json!({"status": "ok", "errorMessage": "", "data": {}}));
    let wrong = ask_with(&ledger, Method::POST, "/allocation/active", Some(&json!({"ids": 1}))).await;
    assert_eq!(
        (wrong.status.as_u16(), &wrong.body),
        (200, &json!({"status": "error", "errorMessage": "Invalid request"}))
    );

    let part_time = json!({"workingPattern": 0.5, "effectiveAt": "2019-01-02T00:00:00Z"});
    record(&ledger, &format!("PATCH /prisons/LEI/poms/{NOVAK}"), part_time).await;
    let poms = ask(&ledger, &format!("/poms/{OKAFOR},{NOVAK},1")).await;
    let poms = assert_ok(&poms)["poms"].as_array().expect("a list").clone();
    assert_eq!(poms.len(), 2);
    assert_eq!((&poms[0]["nomis_staff_id"], &poms[1]["nomis_staff_id"]), (&json!(OKAFOR), &json!(NOVAK)));
    assert_eq!(poms[0]["allocations"][0]["nomis_offender_id"], "A1234BD");
    assert_eq!((&poms[1]["working_pattern"], &poms[1]["status"]), (&json!("0.5"), &json!("active")));
    assert_eq!(poms[1]["allocations"], json!([]));
    // The first day of the POM, whatever has changed since.
    assert_eq!(poms[1]["created_at"], poms[0]["created_at"]);
    assert_eq!(poms[1]["updated_at"], "2019-01-02T00:00:00.000Z");
    let one = ask(&ledger, &format!("/poms/{SHAH}")).await;
    assert_eq!(assert_ok(&one)["poms"][0]["allocations"][0]["nomis_offender_id"], "A1234BC");

    let status = ask(&ledger, "/status").await;
    assert_eq!(status.body["status"], "ok");
    assert!(status.body["postgresVersion"].as_str().is_some_and(|version| version.starts_with("PostgreSQL ")));
}
