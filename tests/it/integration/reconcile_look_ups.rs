//! `integration reconcile` by look-ups: prisoner search says who is at the prison and where others
//! are, and probation is asked by CRN.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{
        Method, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE},
    },
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{
    ToolOutput,
    ledger::{Ledger, PRISON, SHAH},
    questions::{ask, record},
    run_in,
};

/// The services of the estate, on one port: the answer of each path. Other paths are not there.
#[derive(Clone, Default)]
struct EstateServices {
    answers: Arc<Mutex<BTreeMap<String, Value>>>,
    url: String,
}

impl EstateServices {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let services = Self { url, ..Self::default() };
        let router = Router::new().fallback(answer).with_state(services.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        services
    }

    fn set(&self, path: &str, answer: Value) {
        self.answers.lock().expect("a lock").insert(path.to_owned(), answer);
    }

    /// Sets the people at the prison, each in a page of their own.
    fn set_people(&self, people: &[Value]) {
        for (page, person) in people.iter().enumerate() {
            let path = format!("/prisoner-search/prison/{PRISON}?page={page}&size=500");
            self.set(&path, json!({"content": [person], "totalPages": people.len(), "last": page + 1 == people.len()}));
        }
    }

    async fn reconcile(&self, ledger: &Ledger, more: &[&str]) -> ToolOutput {
        ask(ledger, "/prisons/LEI/cases").await;
        let auth = format!("{}/auth", self.url);
        let environment = [
            ("HMPPS_AUTH_URL", auth.as_str()),
            ("SYSTEM_CLIENT_ID", "ledger"),
            ("SYSTEM_CLIENT_SECRET", "secret"),
            ("PRISONER_SEARCH_API_URL", &self.url),
            ("TIER_API_URL", &self.url),
            ("MANAGE_POM_CASES_AND_DELIUS_API_URL", &self.url),
        ];
        let stores = ledger.database.arguments();
        let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
        let arguments = ["integration", "reconcile", "--prison", PRISON, "--json"];
        run_in(&environment, &[&arguments[..], more, &stores].concat()).await
    }
}

async fn answer(State(services): State<EstateServices>, request: Request) -> (StatusCode, Json<Value>) {
    let path = request.uri().path_and_query().expect("a path").as_str();
    if *request.method() == Method::POST {
        return (StatusCode::OK, Json(json!({"access_token": "a-token", "expires_in": 3600})));
    }
    // As Spring answers where a handler names the type of the body.
    if request.headers().get(CONTENT_TYPE).is_none_or(|sent| sent != "application/json") {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, Json(Value::Null));
    }
    if request.headers().get(AUTHORIZATION).is_none_or(|sent| sent != "Bearer a-token") {
        return (StatusCode::UNAUTHORIZED, Json(Value::Null));
    }
    match services.answers.lock().expect("a lock").get(path) {
        Some(answer) => (StatusCode::OK, Json(answer.clone())),
        None => (StatusCode::NOT_FOUND, Json(json!({"status": 404}))),
    }
}

/// The differences that a tool wrote as JSON, in a few words.
fn differences(ran: &ToolOutput) -> Vec<String> {
    let word = |line: &Value, member: &str| line[member].as_str().unwrap_or("-").to_owned();
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        ["prisonerNumber", "difference", "outcome"].map(|member| word(&line, member)).join(" ")
    };
    ran.stdout.lines().map(line).collect()
}

#[tokio::test]
async fn a_prison_is_compared_with_what_the_services_of_the_estate_answer() {
    let services = EstateServices::start().await;
    let ledger = Ledger::start_all_roles().await;
    for number in ["A1111AA", "A1112AA", "A1113AA", "A1114AA"] {
        ledger.case(number, SHAH).await;
    }
    let tier = json!({"tier": "C1", "source": "DELIUS", "crn": "X123456", "effectiveAt": "2026-02-03T09:00:00Z"});
    record(&ledger, "POST /prisoners/A1112AA/tier", tier).await;
    // Of another person, as Delius has it.
    let tier = json!({"tier": "C1", "source": "DELIUS", "crn": "X999999", "effectiveAt": "2026-02-03T09:00:00Z"});
    record(&ledger, "POST /prisoners/A1114AA/tier", tier).await;
    let here = |number: &str| {
        json!({"prisonerNumber": number, "prisonId": PRISON, "lastMovementTypeCode": "ADM",
        "lastAdmissionDate": "2026-03-01", "restrictedPatient": false, "aliases": [], "currentIncentive": null})
    };
    services.set_people(&[here("A1112AA"), here("A1118AA"), here("A1114AA")]);
    let gone = json!({"prisonerNumber": "A1111AA", "prisonId": "OUT", "lastMovementTypeCode": "REL",
        "lastMovementReasonCode": "CR", "restrictedPatient": false});
    services.set("/prisoner/A1111AA", gone);
    let manager = json!({"name": {"forename": "Sam", "surname": "Lee"}, "team": {"description": "North"}});
    let case_record = |crn: &str, number: &str| json!({"crn": crn, "nomsId": number, "manager": manager});
    services.set("/case-records/X123456", case_record("X123456", "A1112AA"));
    services.set("/case-records/X999999", case_record("X999999", "A9999ZZ"));
    let tier = json!({"tierScore": "A", "calculationId": "1", "calculationDate": "2026-03-01T10:00:00"});
    services.set("/v3/crn/X123456/tier", tier.clone());
    services.set("/v3/crn/X999999/tier", tier);

    let compared = services.reconcile(&ledger, &["--tier-version", "v3"]).await;
    let expected = |outcome: &str| {
        [
            format!("A1111AA RELEASED {outcome}"),
            format!("A1112AA TIER {outcome}"),
            format!("A1112AA COM {outcome}"),
            "A1113AA ABSENT LEFT".to_owned(),
            "A1118AA UNKNOWN LEFT".to_owned(),
        ]
    };
    assert_eq!(differences(&compared), expected("WOULD_RECORD"), "{}", compared.stderr);
    let applied = services.reconcile(&ledger, &["--tier-version", "v3", "--apply"]).await;
    assert_eq!(differences(&applied), expected("RECORDED"), "{}", applied.stderr);
    let recorded = ledger.event_count().await;
    // Without a version the tiers are not compared, and that is told.
    let again = services.reconcile(&ledger, &["--apply"]).await;
    assert_eq!(differences(&again), ["A1113AA ABSENT LEFT", "A1118AA UNKNOWN LEFT"], "{}", again.stderr);
    assert!(again.stderr.contains("Tiers are not compared"), "{}", again.stderr);
    assert_eq!(ledger.event_count().await, recorded);
    let state = ledger.state("A1112AA").await;
    assert_eq!(state.tier.map(|held| held.tier.to_string()).as_deref(), Some("A"));
    assert_eq!(state.community_manager.map(|role| role.manager.name).as_deref(), Some("Lee, Sam"));
}

#[tokio::test]
async fn an_answer_that_is_missing_or_makes_no_sense_records_nothing() {
    let services = EstateServices::start().await;
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1111AA", SHAH).await;
    let before = ledger.event_count().await;
    let wrong = json!({"prisonerNumber": "A1118AA", "prisonId": PRISON, "lastAdmissionDate": "a while ago"});
    for (person, told) in [
        (None, "prisoner search does not know the prison"),
        (Some(json!("nobody")), "prisoner search answers with a wrong `prisonerNumber`"),
    ] {
        if let Some(person) = person {
            services.set_people(&[person]);
        }
        let ran = services.reconcile(&ledger, &["--apply"]).await;
        assert_eq!((ran.status.code(), ran.stdout.as_str()), (Some(1), ""), "{}", ran.stderr);
        assert!(ran.stderr.contains(told) && !ran.stderr.contains(&services.url), "{told}: {}", ran.stderr);
    }
    services.set(&format!("/prisoner-search/prison/{PRISON}?page=0&size=500"), json!({"content": [], "totalPages": 0}));
    services.set("/prisoner/A1111AA", json!({"prisonerNumber": "A2222BB", "prisonId": "OUT"}));
    let ran = services.reconcile(&ledger, &["--apply"]).await;
    assert_eq!(differences(&ran), ["A1111AA UNREADABLE LEFT"], "{}", ran.stderr);
    assert!(ran.stdout.contains("prisoner search answers with another person"), "{}", ran.stdout);
    // The others are compared all the same.
    services.set_people(&[wrong, json!({"prisonerNumber": "A1111AA", "prisonId": PRISON})]);
    let ran = services.reconcile(&ledger, &["--apply"]).await;
    assert_eq!(differences(&ran), ["A1118AA UNREADABLE LEFT"], "{}", ran.stderr);
    assert!(ran.stdout.contains("prisoner search answers with a wrong `lastAdmissionDate`"), "{}", ran.stdout);
    assert_eq!(ledger.event_count().await, before);
}
