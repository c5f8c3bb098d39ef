//! Every operation, asked by a caller of another prison.

use serde_json::{Value, json};

use super::{POM_LEI, POM_MDI, Prisons, assert_not_yours};
use crate::{sign_on::matrix::ROUTES, support::topology::require_single_program};

/// The case of the caller's prison, and that of another.
const OWN: &str = "A1111AA";
const OTHER: &str = "A2222BB";

/// The answer that a caller of another prison should get.
#[derive(Debug, Clone)]
enum Expected {
    /// 403 `prison-not-yours`.
    NotYours,
    /// An answer of this status, without a trace of the other prison.
    Without(u16),
    /// An answer of this status with this text.
    Text(u16, &'static str),
}

use Expected::{NotYours, Text, Without};

/// The request that an operation is tried with, and what should come of it.
fn attempt(method: &str, path: &str) -> (String, Option<Value>, Expected) {
    let of_case = path.replace("{prisonerNumber}", OTHER).replace("{revision}", "0");
    let of_prison = of_case.replace("{prisonCode}", "MDI").replace("{staffId}", &POM_MDI.to_string());
    let case = |body: Value| (of_case.clone(), Some(body), NotYours);
    let prison = |body: Value| (of_prison.clone(), Some(body), NotYours);
    match (method, path) {
        ("POST", "/allocation") => {
            let body = json!({"nomis_staff_id": POM_LEI, "nomis_offender_id": OTHER, "allocated_at_tier": "C", "prison": "LEI"});
            (path.to_owned(), Some(body), Text(200, r#"{"status":"error","errorMessage":"No case of A2222BB is held"#))
        }
        ("POST", "/allocation/active") => (path.to_owned(), Some(json!([OWN, OTHER])), Without(200)),
        ("GET", "/poms/{staffIds}") => (format!("/poms/{POM_LEI},{POM_MDI}"), None, Without(200)),
        ("GET", "/api/allocation/{prisonerNumber}" | "/api/allocation/{prisonerNumber}/primary_pom") => {
            (of_case, None, Text(404, r#"{"status":"error","message":"Not ready for allocation"}"#))
        }
        ("GET", "/api/handovers/{prisonerNumber}") => {
            (of_case, None, Text(404, r#"{"status":"error","message":"Not found"}"#))
        }
        ("GET", "/status" | "/projections" | "/nomis-contacts") => (path.to_owned(), None, Without(200)),
        // Without the role of an auditor.
        ("GET", "/access-log" | "/control-reports") => (path.to_owned(), None, Without(403)),
        ("GET", "/control-reports/{report}") => ("/control-reports/voids".to_owned(), None, Without(403)),
        ("GET", "/projections/jobs") => (path.to_owned(), None, Without(200)),
        // Every export has data of other prisons.
        ("POST", "/projections/jobs") => (path.to_owned(), Some(json!({"kind": "EXPORT", "view": "prison"})), NotYours),
        (_, path) if path.starts_with("/projections/jobs/") => {
            let expected = if path.ends_with("/file") { NotYours } else { Without(404) };
            (path.replace("{jobId}", "63ba0b4b-2a6e-4d6c-9f59-2f6f0a3f8a11"), None, expected)
        }
        ("GET", "/integration/parked") | ("PUT", "/queue-admin/retry-all-dlqs") => {
            (path.to_owned(), None, Without(200))
        }
        (_, path) if path.starts_with("/integration/parked/") => {
            let path = path.replace("{messageId}", "63ba0b4b-2a6e-4d6c-9f59-2f6f0a3f8a11");
            (path, None, Without(404))
        }
        ("GET", "/events") => (path.to_owned(), None, NotYours),
        // Such a request is about all that is held on the person.
        ("GET", "/subject-access-request") => (format!("{path}?prn={OTHER}"), None, Text(200, r#"{"content":"#)),
        ("GET", "/subject-access-request/template") => (path.to_owned(), None, Text(200, "<h1 class=")),
        ("POST", "/handover-dates") => {
            let facts = json!({"indeterminate": false, "sentenceStartDate": "2024-01-01", "conditionalReleaseDate": "2030-01-01"});
            (path.to_owned(), Some(facts), Without(200))
        }
        ("POST", "/responsibilities") => {
            let refused = r#"{"prisonerNumber":"A2222BB","error":{"code":"prison-not-yours","#;
            (path.to_owned(), Some(json!([OTHER])), Text(200, refused))
        }
        ("GET", "/poms/{staffId}/cases") => (format!("/poms/{POM_MDI}/cases"), None, Without(200)),
        ("GET", _) if path.starts_with("/prisoners/") => (of_case, None, NotYours),
        ("POST", "/prisons/{prisonCode}/spreadsheets") => (format!("{of_prison}?file-name=a.csv"), None, NotYours),
        (_, path) if path.starts_with("/prisons/{prisonCode}/spreadsheets/") => {
            (of_prison.replace("{spreadsheetId}", "63ba0b4b-2a6e-4d6c-9f59-2f6f0a3f8a11"), None, NotYours)
        }
        ("GET", _) if path.starts_with("/prisons/") => (of_prison, None, NotYours),
        ("POST", "/prisoners/{prisonerNumber}/allocations") => {
            case(json!({"prison": "LEI", "pom": {"staffId": POM_LEI}}))
        }
        ("POST", "/prisoners/{prisonerNumber}/co-workers") => case(json!({"prison": "MDI", "pom": {"staffId": 3}})),
        ("PUT", "/prisoners/{prisonerNumber}/community-manager") => case(json!({"name": "Lee, Sam"})),
        ("POST", "/prisoners/{prisonerNumber}/deallocations") => case(json!({"trigger": "MANUAL"})),
        ("POST", "/prisoners/{prisonerNumber}/handover-plans") => case(json!({"indeterminate": true})),
        ("POST", "/prisoners/{prisonerNumber}/merges") => case(json!({"removedNumber": OWN})),
        ("POST", "/prisoners/{prisonerNumber}/reallocations") => {
            case(json!({"prison": "MDI", "pom": {"staffId": 3}, "reason": "Wing move"}))
        }
        ("POST", "/prisoners/{prisonerNumber}/receptions") => case(json!({"prison": "LEI", "reason": "READMISSION"})),
        ("POST", "/prisoners/{prisonerNumber}/releases") => case(json!({})),
        ("PUT", "/prisoners/{prisonerNumber}/responsibility-override") => {
            case(json!({"responsible": "PROBATION", "reason": "OTHER", "detail": "Agreed"}))
        }
        ("POST", "/prisoners/{prisonerNumber}/tier") => case(json!({"tier": "B2", "prison": "LEI"})),
        ("POST", "/prisoners/{prisonerNumber}/transfers") => case(json!({"toPrison": "LEI"})),
        ("POST", "/prisoners/{prisonerNumber}/voids") => case(json!({"revision": 1, "reason": "Another person"})),
        ("DELETE", _) if path.starts_with("/prisoners/") => case(json!({})),
        ("PUT", "/prisons/{prisonCode}/go-live-date") => prison(json!({"goLiveDate": "2018-11-03"})),
        ("POST", "/prisons/{prisonCode}/nomis-contacts") => {
            prison(json!({"prisonerNumber": OWN, "staffId": POM_LEI, "contactType": "POM"}))
        }
        ("POST", "/prisons/{prisonCode}/nomis-contacts/{contactId}/removal") => {
            let path = of_prison.replace("{contactId}", "678a2bdd-631e-50d3-bd8a-eeb7212091dd");
            (path, Some(json!({})), NotYours)
        }
        ("POST", "/prisons/{prisonCode}/onboarding") => {
            prison(json!({"goLiveDate": "2019-01-01", "estate": "MENS_CLOSED"}))
        }
        ("POST", "/prisons/{prisonCode}/poms") => prison(json!({"staffId": 9, "name": "Lee, Sam", "kind": "PRISON"})),
        ("PATCH", "/prisons/{prisonCode}/poms/{staffId}") => prison(json!({"workingPattern": 0.5})),
        ("PUT", "/prisons/{prisonCode}/poms/{staffId}/status") => prison(json!({"status": "INACTIVE"})),
        ("POST", "/prisons/{prisonCode}/reallocations") => {
            prison(json!({"fromStaffId": POM_MDI, "toStaffId": 3, "reason": "Leaving"}))
        }
        _ => panic!("say what a caller of another prison gets from {method} {path}"),
    }
}

#[tokio::test]
async fn no_operation_shows_or_changes_what_is_at_another_prison() {
    require_single_program();
    let prisons = Prisons::start().await;
    let sync = prisons.sync();
    let pom = json!({"staffId": 3, "name": "Byrne, Liam", "kind": "PRISON"});
    prisons.record(&sync, "POST", "/prisons/MDI/poms", pom).await;
    prisons.case(OWN, "LEI", "note of Leeds").await;
    prisons.case(OTHER, "MDI", "note of Moorland").await;
    for (prison, number) in [("LEI", OWN), ("MDI", OTHER)] {
        let contact = json!({"prisonerNumber": number, "name": "Old, Olly", "contactType": "POM"});
        prisons.record(&sync, "POST", &format!("/prisons/{prison}/nomis-contacts"), contact).await;
    }
    // Every role but that of an auditor, who is not confined.
    let caller = prisons.user(
        "HOMD_LEI",
        &[
            "ROLE_ALLOC_MGR",
            "ROLE_ALLOCATION_LEDGER__EXPORT",
            "ROLE_ALLOCATION_LEDGER__OPERATE",
            "ROLE_QUEUE_ADMIN",
            "ROLE_VIEW_POM_ALLOCATIONS",
            "ROLE_SAR_DATA_ACCESS",
        ],
    );
    let before = prisons.get(&prisons.auditor(), "/events?limit=1000").await.body;
    let mut wrong = Vec::new();
    for (method, path, _) in ROUTES {
        let (filled, body, expected) = attempt(method, path);
        let answer = prisons.send(&caller, method, &filled, body.as_ref()).await;
        let status = answer.status.as_u16();
        let is_expected = match expected {
            NotYours => status == 403 && answer.body["code"] == "prison-not-yours",
            Without(expected) => {
                status == expected
                    && ![OTHER, "MDI", "Novak", "Moorland"].iter().any(|trace| answer.text.contains(trace))
            }
            Text(expected, text) => status == expected && answer.text.trim_start_matches('[').starts_with(text),
        };
        if !is_expected {
            wrong.push(format!("{method} {filled}: {status} {}", answer.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(prisons.get(&prisons.auditor(), "/events?limit=1000").await.body, before, "nothing is recorded");
    // A path that is spelt in another way leads to no other answer.
    for path in [
        "/prisons/%4DDI/cases",
        "/prisons/M%44I/poms",
        "/prisoners/%412222BB/history",
        "/prisons/LEI/unallocated/A2222BB/suggestions",
    ] {
        assert_not_yours(&prisons.get(&caller, path).await, path);
    }
    // The lists of all prisons have the caller's own.
    for path in ["/nomis-contacts", "/poms/1/cases", "/poms/1"] {
        let answer = prisons.get(&caller, path).await;
        assert!(answer.status == 200 && answer.text.contains(OWN), "{path}: {}", answer.text);
    }
    let active = prisons.send(&caller, "POST", "/allocation/active", Some(&json!([OWN, OTHER]))).await;
    assert!(active.body["data"][OWN].is_object(), "{}", active.text);
}

#[tokio::test]
async fn a_number_that_is_not_known_is_refused_as_one_of_another_prison() {
    require_single_program();
    let prisons = Prisons::start().await;
    prisons.case(OTHER, "MDI", "note of Moorland").await;
    let caller = prisons.head("HOMD_LEI");
    for (method, path, body) in [
        ("GET", "/prisoners/{}/history", None),
        ("GET", "/prisoners/{}/responsibility?on=2020-01-01", None),
        ("GET", "/prisoners/{}/history/99", None),
        ("GET", "/prisons/LEI/unallocated/{}/suggestions", None),
        ("POST", "/prisoners/{}/releases", Some(json!({}))),
        ("POST", "/prisoners/{}/tier", Some(json!({"tier": "C1"}))),
    ] {
        let ask = async |number: &str| {
            let answer = prisons.send(&caller, method, &path.replace("{}", number), body.as_ref()).await;
            assert_not_yours(&answer, path);
            answer.text.replace(number, "NUMBER")
        };
        assert_eq!(ask(OTHER).await, ask("A9999ZZ").await, "{method} {path}");
    }
    // Nor does the revision of the case say that there is one.
    let headers = [("Authorization", caller.as_str()), ("If-Match", "\"7\"")];
    let client = prisons.program.program.client();
    let answer = client.send(reqwest::Method::POST, "/prisoners/A2222BB/releases", &headers, Some(&json!({}))).await;
    assert_not_yours(&answer, "If-Match");
}

#[tokio::test]
async fn a_damaged_case_of_another_prison_is_not_named() {
    require_single_program();
    let prisons = Prisons::start().await;
    prisons.case(OWN, "LEI", "note of Leeds").await;
    prisons.case(OTHER, "MDI", "note of Moorland").await;
    // A mistake of the program is imitated: Postgres refuses the rows of the case.
    sqlx::raw_sql("ALTER TABLE views.case_period ADD CONSTRAINT refused CHECK (com_name <> 'Refused, Rows') NOT VALID")
        .execute(&prisons.program.database.pool)
        .await
        .expect("a constraint");
    let com = json!({"name": "Refused, Rows"});
    prisons.record(&prisons.sync(), "PUT", &format!("/prisoners/{OTHER}/community-manager"), com).await;
    let path = format!("/poms/{POM_LEI},{POM_MDI}");
    let caller = prisons.head("HOMD_LEI");
    let answer = prisons.get(&caller, &path).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.text.contains(OWN) && !answer.text.contains(OTHER), "{}", answer.text);
    let of_moorland = prisons.head("HOMD_MDI");
    let damaged = prisons.get(&of_moorland, &path).await;
    assert_eq!((damaged.status.as_u16(), &damaged.body["code"]), (500, &json!("case-damaged")), "{}", damaged.text);
}
