//! Jobs on the views: who may begin which, and which texts an export has.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    HttpAnswer, eventually,
    ledger::{assert_recorded, assert_refused},
    questions::assert_ok,
    tokens::{GuardedProgram, TestKey, client},
    topology::require_single_program,
};

struct Worked {
    program: GuardedProgram,
    key: TestKey,
}

impl Worked {
    /// A program with a case whose allocation has a note.
    async fn start() -> Self {
        let key = TestKey::of_sign_on();
        let worked = Self { program: GuardedProgram::serve(Some(&key), &[]).await, key };
        for (path, body) in [
            ("/prisons/LEI/onboarding", json!({"goLiveDate": "2019-01-01", "estate": "MENS_CLOSED"})),
            ("/prisons/LEI/poms", json!({"staffId": 1, "name": "Shah, Priya", "kind": "PRISON"})),
            ("/prisoners/A1111AA/tier", json!({"tier": "C1", "prison": "LEI"})),
            (
                "/prisoners/A1111AA/allocations",
                json!({"prison": "LEI", "pom": {"staffId": 1}, "note": "walks with a stick"}),
            ),
        ] {
            assert_recorded(&worked.send(&["RW"], "POST", path, Some(&body)).await);
        }
        worked
    }

    async fn send(&self, rights: &[&str], method: &str, path: &str, body: Option<&Value>) -> HttpAnswer {
        let roles: Vec<String> = rights.iter().map(|right| format!("ROLE_ALLOCATION_LEDGER__{right}")).collect();
        let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
        let token = format!("Bearer {}", self.key.token(&client("a-client", &roles, "")));
        let method: Method = method.parse().expect("a method");
        self.program.program.client().send(method, path, &[("Authorization", &token)], body).await
    }

    /// The file of an export, which has this text or not.
    async fn export(&self, rights: &[&str], has_note: bool) -> String {
        let body = json!({"kind": "EXPORT", "view": "allocation"});
        let path = eventually("an export with the allocation", async || {
            let begun = self.send(rights, "POST", "/projections/jobs", Some(&body)).await;
            assert_eq!(begun.status, 202, "{}", begun.text);
            let path = begun.header("location").expect("its address").to_owned();
            let job = eventually("the end of a job", async || {
                let job = self.send(rights, "GET", &path, None).await;
                (assert_ok(&job)["state"] != "RUNNING").then_some(job.body)
            })
            .await;
            // The views may not have come so far.
            (job["result"]["rows"] == 1).then_some(path)
        })
        .await;
        let file = self.send(rights, "GET", &format!("{path}/file"), None).await;
        assert_eq!(file.text.contains("walks with a stick"), has_note, "{}", file.text);
        assert!(file.text.contains("A1111AA"), "{}", file.text);
        path
    }
}

#[tokio::test]
async fn an_export_has_free_texts_for_auditors_alone_and_is_recorded() {
    require_single_program();
    let worked = Worked::start().await;
    let path = worked.export(&["EXPORT"], false).await;
    let with_texts = worked.export(&["EXPORT", "AUDIT"], true).await;
    assert_refused(&worked.send(&["EXPORT"], "GET", &format!("{with_texts}/file"), None).await, 403, "role-missing");
    let log = json!({"kind": "EXPORT", "view": "log"});
    assert_refused(&worked.send(&["EXPORT"], "POST", "/projections/jobs", Some(&log)).await, 403, "role-missing");
    let begun = worked.send(&["EXPORT", "AUDIT"], "POST", "/projections/jobs", Some(&log)).await;
    assert_eq!(begun.status, 202, "{}", begun.text);
    assert_refused(&worked.send(&["OPERATE"], "GET", &format!("{path}/file"), None).await, 403, "role-missing");

    let taken = eventually("the entries of both files", async || {
        let log = worked.send(&["AUDIT"], "GET", "/access-log?limit=1000", None).await;
        let entries = assert_ok(&log).as_array().expect("entries").clone();
        let of_files = entries.into_iter().filter(|entry| entry["operation"] == "/projections/jobs/{jobId}/file");
        let taken: Vec<Value> = of_files.collect();
        (taken.len() == 2).then_some(taken)
    })
    .await;
    for entry in taken {
        assert_eq!((&entry["client"], &entry["filter"]), (&json!("a-client"), &json!("export of allocation")));
        assert_eq!(entry["positions"], json!({"after": 0, "to": 4}));
    }
}

#[tokio::test]
async fn a_job_needs_the_right_of_its_kind() {
    require_single_program();
    let worked = Worked::start().await;
    let bodies = ["REBUILD", "VERIFY", "EXPORT"].map(|kind| json!({"kind": kind, "view": "prison"}));
    for (right, body) in [("EXPORT", &bodies[0]), ("EXPORT", &bodies[1]), ("OPERATE", &bodies[2])] {
        let refused = worked.send(&[right], "POST", "/projections/jobs", Some(body)).await;
        assert_refused(&refused, 403, "role-missing");
    }
    let begun = worked.send(&["OPERATE"], "POST", "/projections/jobs", Some(&bodies[1])).await;
    assert_eq!(begun.status, 202, "{}", begun.text);
    let path = begun.header("location").expect("its address").to_owned();
    assert_refused(&worked.send(&["EXPORT"], "DELETE", &path, None).await, 403, "role-missing");
    assert_eq!(worked.send(&["EXPORT"], "GET", &path, None).await.status, 200);
    assert_eq!(worked.send(&["OPERATE"], "DELETE", &path, None).await.status, 202);
}
