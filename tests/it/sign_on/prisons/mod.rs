//! Callers that are confined to prisons: what they see, what they change, and which texts they
//! read.

mod caseloads;
mod notes;
mod other_prison;
mod own_prison;
mod recorded_reads;
mod repeats;
mod uploads;

use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    HttpAnswer,
    ledger::assert_recorded,
    tokens::{GuardedProgram, TestKey, changed, client, person},
};

/// The file of the operator: heads of offender management at Leeds, at Moorland and at both.
const PRISONS: &str =
    "# user or client, name, prisons\nuser HOMD_LEI LEI\nuser HOMD_MDI MDI\nuser homd_both LEI,MDI\nclient kiosk LEI\n";

/// A POM at Leeds, and one at Moorland.
const POM_LEI: i64 = 1;
const POM_MDI: i64 = 2;

/// A program with a sign-on and two prisons.
struct Prisons {
    program: GuardedProgram,
    key: TestKey,
    /// The position of the last event that was recorded.
    position: AtomicU64,
    _files: TempDir,
}

impl Prisons {
    /// Starts a program to which the file says which prisons are whose.
    async fn start() -> Self {
        let files = tempfile::tempdir().expect("a folder");
        let path = files.path().join("prisons");
        std::fs::write(&path, PRISONS).expect("write the file");
        Self::serve(files, &["--auth-prisons", path.to_str().expect("UTF-8")]).await
    }

    async fn serve(files: TempDir, settings: &[&str]) -> Self {
        let key = TestKey::of_sign_on();
        let program = GuardedProgram::serve(Some(&key), settings).await;
        let prisons = Self { program, key, position: AtomicU64::new(0), _files: files };
        let sync = prisons.sync();
        for (prison, staff_id, name) in [("LEI", POM_LEI, "Shah, Priya"), ("MDI", POM_MDI, "Novak, Jan")] {
            let onboarding = json!({"goLiveDate": "2019-01-01", "estate": "MENS_CLOSED"});
            prisons.record(&sync, "POST", &format!("/prisons/{prison}/onboarding"), onboarding).await;
            let pom = json!({"staffId": staff_id, "name": name, "kind": "PRISON"});
            prisons.record(&sync, "POST", &format!("/prisons/{prison}/poms"), pom).await;
        }
        prisons
    }

    /// The token of a person with these roles.
    fn user(&self, name: &str, roles: &[&str]) -> String {
        self.bearer(&changed(person(roles), json!({ "user_name": name })))
    }

    /// The token of a head of offender management.
    fn head(&self, name: &str) -> String {
        self.user(name, &["ROLE_ALLOC_MGR"])
    }

    /// The token of a client that is not confined.
    fn sync(&self) -> String {
        self.bearer(&client("prison-sync", &["ROLE_ALLOCATION_LEDGER__RW"], "write"))
    }

    /// The token of an auditor.
    fn auditor(&self) -> String {
        self.user("AUDITOR", &["ROLE_ALLOCATION_LEDGER__AUDIT", "ROLE_ALLOCATION_LEDGER__EXPORT"])
    }

    fn bearer(&self, claims: &Value) -> String {
        format!("Bearer {}", self.key.token(claims))
    }

    /// Sends a request, whose answer includes what was recorded.
    async fn send(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> HttpAnswer {
        let position = self.position.load(Ordering::SeqCst).to_string();
        let headers = [("Authorization", token), ("Ledger-Position-At-Least", &position)];
        self.program.program.client().send(method.parse::<Method>().expect("a method"), path, &headers, body).await
    }

    async fn get(&self, token: &str, path: &str) -> HttpAnswer {
        self.send(token, "GET", path, None).await
    }

    /// Records a command.
    async fn record(&self, token: &str, method: &str, path: &str, body: Value) -> HttpAnswer {
        let answer = self.send(token, method, path, Some(&body)).await;
        let position = assert_recorded(&answer).header("ledger-position").and_then(|position| position.parse().ok());
        self.position.store(position.expect("a position"), Ordering::SeqCst);
        answer
    }

    /// Records a case at a prison, with its POM and a note.
    async fn case(&self, number: &str, prison: &str, note: &str) {
        let staff_id = if prison == "LEI" { POM_LEI } else { POM_MDI };
        let tier = json!({"tier": "C1", "prison": prison});
        self.record(&self.sync(), "POST", &format!("/prisoners/{number}/tier"), tier).await;
        let allocation = json!({"prison": prison, "pom": {"staffId": staff_id}, "note": note});
        self.record(&self.sync(), "POST", &format!("/prisoners/{number}/allocations"), allocation).await;
    }
}

/// Asserts that a request is refused because the prison is not the caller's.
#[track_caller]
fn assert_not_yours(answer: &HttpAnswer, what: &str) {
    assert_eq!(
        (answer.status.as_u16(), &answer.body["code"]),
        (403, &json!("prison-not-yours")),
        "{what}: {}",
        answer.text
    );
}
