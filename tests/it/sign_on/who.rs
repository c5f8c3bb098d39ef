//! Who recorded a command: the token says it, and nothing else.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    HttpAnswer,
    ledger::assert_recorded,
    tokens::{GuardedProgram, TestKey, changed, client, person},
    topology::require_single_program,
};

async fn post(program: &GuardedProgram, path: &str, headers: &[(&str, &str)], body: &Value) -> HttpAnswer {
    program.program.client().send(Method::POST, path, headers, Some(body)).await
}

async fn get(program: &GuardedProgram, path: &str, headers: &[(&str, &str)]) -> HttpAnswer {
    program.program.client().send(Method::GET, path, headers, None).await
}

/// Records a tier, and returns the recorder in the answer.
async fn tier(program: &GuardedProgram, number: &str, headers: &[(&str, &str)]) -> Value {
    let path = format!("/prisoners/{number}/tier");
    let answer = post(program, &path, headers, &json!({"tier": "B1", "source": "MANUAL"})).await;
    assert_recorded(&answer).body["events"][0]["recordedBy"].clone()
}

fn bearer(key: &TestKey, claims: &Value) -> String {
    format!("Bearer {}", key.token(claims))
}

#[tokio::test]
async fn the_token_says_who_recorded() {
    require_single_program();
    let key = TestKey::of_sign_on();
    let program = GuardedProgram::serve(Some(&key), &[]).await;
    let of_person = bearer(&key, &changed(person(&["ROLE_ALLOC_MGR"]), json!({"user_name": "homd_lei"})));
    let of_client = bearer(&key, &client("prison-sync", &["ROLE_ALLOCATION_LEDGER__RW"], "write"));
    let named = ("X-Recorded-By", "SOMEBODY_ELSE");
    let by_person = tier(&program, "A1111AA", &[("Authorization", &of_person), named, ("User-Agent", "curl/8")]).await;
    assert_eq!(by_person, json!({"username": "HOMD_LEI", "client": "manage-poms", "authSource": "nomis"}));
    let by_client = tier(&program, "A1112AA", &[("Authorization", &of_client), named, ("User-Agent", "curl/8")]).await;
    assert_eq!(by_client, json!({"username": null, "client": "prison-sync", "authSource": "none"}));
    // As the log has it, for later questions.
    let history = get(&program, "/prisoners/A1111AA/history", &[("Authorization", &of_person)]).await;
    assert_eq!(history.body[0]["recordedBy"], by_person, "{}", history.text);

    for name in ["Frank Smith", "straße", &"x".repeat(255)] {
        let claims = changed(person(&["ROLE_ALLOC_MGR"]), json!({ "user_name": name }));
        let token = bearer(&key, &claims);
        let answer = post(&program, "/prisoners/A1113AA/tier", &[("Authorization", &token)], &json!({})).await;
        assert_eq!((answer.status.as_u16(), &answer.body["code"]), (401, &json!("token-invalid")), "{name}");
    }
}

#[tokio::test]
async fn the_creator_in_a_body_counts_only_without_a_sign_on() {
    require_single_program();
    let key = TestKey::of_sign_on();
    let token = bearer(&key, &person(&["ROLE_ALLOC_MGR"]));
    for (with, headers, username) in
        [(Some(&key), vec![("Authorization", token.as_str())], "HOMD_LEI"), (None, vec![], "SOMEBODY_ELSE")]
    {
        let program = GuardedProgram::serve(with, &[]).await;
        let onboarding = json!({"goLiveDate": "2019-01-01", "estate": "MENS_CLOSED"});
        assert_recorded(&post(&program, "/prisons/LEI/onboarding", &headers, &onboarding).await);
        let pom = json!({"staffId": 1, "name": "Shah, Priya", "kind": "PRISON"});
        assert_recorded(&post(&program, "/prisons/LEI/poms", &headers, &pom).await);
        let body = json!({
            "nomis_staff_id": 1, "nomis_offender_id": "A1111AA", "allocated_at_tier": "C", "prison": "LEI",
            "created_by": "SOMEBODY_ELSE",
        });
        let answer = post(&program, "/allocation", &headers, &body).await;
        assert_eq!((answer.status.as_u16(), &answer.body["status"]), (200, &json!("ok")), "{}", answer.text);
        let history = get(&program, "/prisoners/A1111AA/history", &headers).await;
        assert_eq!(history.body[0]["recordedBy"]["username"], username, "{}", history.text);
    }
}

#[tokio::test]
async fn a_header_that_is_sent_twice_is_refused() {
    require_single_program();
    let key = TestKey::of_sign_on();
    let token = bearer(&key, &person(&["ROLE_ALLOC_MGR"]));
    let id = "7d3f0b0e-7f3a-4a58-9d10-3c2b7d8b6c11";
    for with in [None, Some(&key)] {
        let program = GuardedProgram::serve(with, &[]).await;
        for (name, value) in
            [("X-Recorded-By", "ATTACKER"), ("Idempotency-Key", id), ("If-Match", "\"0\""), ("Authorization", &token)]
        {
            let mut headers = vec![(name, value), (name, value)];
            if name != "Authorization" {
                headers.push(("Authorization", &token));
            }
            let answer =
                post(&program, "/prisoners/A1111AA/tier", &headers, &json!({"tier": "B1", "source": "MANUAL"})).await;
            assert_eq!(
                (answer.status.as_u16(), &answer.body["code"]),
                (400, &json!("header-invalid")),
                "{}",
                answer.text
            );
            let header = answer.body["errors"][0]["header"].as_str().unwrap_or_default();
            assert!(header.eq_ignore_ascii_case(name) && !answer.text.contains(&token), "{}", answer.text);
        }
    }
}
