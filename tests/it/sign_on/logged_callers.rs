//! The caller in the log line of a request that is refused.

use serde_json::{Value, json};

use crate::support::{
    raw_http::exchange_from,
    tokens::{GuardedProgram, TestKey, changed, client, person},
    topology::require_single_program,
};

#[tokio::test]
async fn a_caller_that_may_not_do_what_it_asks_is_in_the_log() {
    require_single_program();
    let (key, files) = (TestKey::of_sign_on(), tempfile::tempdir().expect("a folder"));
    let prisons = files.path().join("prisons");
    std::fs::write(&prisons, "user HOMD_LEI LEI\n").expect("write the prisons");
    let prisons = prisons.to_str().expect("UTF-8");
    // No service listens at the address of the caseloads.
    let caseloads = "http://127.0.0.1:9/me/caseloads";
    let settings = ["--auth-prisons", prisons, "--auth-caseloads-url", caseloads, "--rate-limit", "1"];
    let guarded = GuardedProgram::serve(Some(&key), &settings).await;
    let url = guarded.program.client().base_url().to_owned();
    let ask = async |from, claims: Value, path, times| {
        let token = key.token(&claims);
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
        exchange_from(from, &url, &request.repeat(times)).await
    };
    let (reads, exports) = (["ROLE_ALLOCATION_LEDGER__RO"], ["ROLE_ALLOCATION_LEDGER__EXPORT"]);
    ask(2, client("exporter", &exports, "read"), "/nomis-contacts", 1).await;
    ask(3, person(&exports), "/events", 1).await;
    ask(4, changed(person(&reads), json!({"user_name": "HOMD_MDI"})), "/nomis-contacts", 1).await;
    let busy = client("busy", &reads, "read");
    assert!(ask(5, busy.clone(), "/projections", 1).await.starts_with("HTTP/1.1 200 "));
    assert!(ask(5, busy, "/projections", 20).await.contains("rate-limited"));

    let (_, log) = guarded.program.stop_and_read_log().await;
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let answers = lines.filter(|line| line["target"] == "http_api::middleware" && line["status"] != 200);
    let mut answers: Vec<_> =
        answers.map(|line| json!([line["status"], line["code"], line["principal"], line["client"]])).collect();
    answers.dedup();
    assert_eq!(
        answers,
        [
            json!([403, "role-missing", "exporter", "exporter"]),
            json!([403, "prison-not-yours", "HOMD_LEI", "manage-poms"]),
            json!([503, "prisons-unavailable", "HOMD_MDI", "manage-poms"]),
            json!([429, "rate-limited", "busy", "busy"]),
        ],
        "{log}"
    );
}
