//! The questions of auditors.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    HttpAnswer, eventually,
    ledger::assert_recorded,
    questions::{assert_ok, members, next_page},
    tokens::{GuardedProgram, TestKey, changed, client, person},
};

/// A program with two cases of which one was merged into the other, and tokens for it.
struct Audited {
    program: GuardedProgram,
    key: TestKey,
}

impl Audited {
    async fn start() -> Self {
        let key = TestKey::of_sign_on();
        let audited = Self { program: GuardedProgram::serve(Some(&key), &[]).await, key };
        let manager = audited.person("HOMD_LEI", "ROLE_ALLOC_MGR");
        for number in ["A1111AA", "A1112AA", "A1113AA"] {
            let tier = json!({"tier": "B1", "source": "MANUAL"});
            assert_recorded(&audited.send(&manager, "POST", &format!("/prisoners/{number}/tier"), Some(&tier)).await);
        }
        let merge = json!({"removedNumber": "A1111AA"});
        assert_recorded(&audited.send(&manager, "POST", "/prisoners/A1112AA/merges", Some(&merge)).await);
        audited
    }

    fn person(&self, name: &str, role: &str) -> String {
        format!("Bearer {}", self.key.token(&changed(person(&[role]), json!({ "user_name": name }))))
    }

    async fn send(&self, authorization: &str, method: &str, path: &str, body: Option<&Value>) -> HttpAnswer {
        let method: Method = method.parse().expect("a method");
        self.program.program.client().send(method, path, &[("Authorization", authorization)], body).await
    }

    async fn get(&self, authorization: &str, path: &str) -> HttpAnswer {
        self.send(authorization, "GET", path, None).await
    }
}

#[tokio::test]
async fn an_auditor_finds_reads_by_prisoner_by_user_and_by_time() {
    let audited = Audited::start().await;
    let pom = audited.person("POM_LEI", "ROLE_ALLOC_CASE_MGR");
    let client =
        format!("Bearer {}", audited.key.token(&client("prison-sync", &["ROLE_ALLOCATION_LEDGER__RO"], "read")));
    let auditor = audited.person("AUDITOR", "ROLE_ALLOCATION_LEDGER__AUDIT");
    for (who, path) in [
        (&pom, "/prisoners/A1111AA/history"),
        (&pom, "/prisoners/A1113AA/history"),
        (&client, "/prisoners/A1112AA/history"),
    ] {
        assert_eq!(audited.get(who, path).await.status, 200, "{path}");
    }
    let ask = async |query: &str| audited.get(&auditor, &format!("/access-log{query}")).await;
    eventually("the entries", async || {
        (assert_ok(&ask("?user=prison-sync").await).as_array()?.len() == 1).then_some(())
    })
    .await;

    let by_pom = ask("?user=POM_LEI").await;
    assert_eq!(members(&by_pom, "operation"), ["/prisoners/{prisonerNumber}/history"; 2]);
    let newest = &by_pom.body[0];
    assert_eq!(newest["prisonerNumbers"], json!(["A1113AA"]));
    for (member, value) in
        [("username", "POM_LEI"), ("client", "manage-poms"), ("authSource", "nomis"), ("method", "GET")]
    {
        assert_eq!(newest[member], value, "{newest}");
    }
    assert_eq!(
        (&newest["status"], &newest["positions"], &newest["notKept"]),
        (&json!(200), &Value::Null, &Value::Null)
    );
    assert!(newest["correlationId"].is_string() && newest["at"].is_string(), "{newest}");
    let by_client = ask("?user=prison-sync").await;
    assert_eq!((&by_client.body[0]["username"], &by_client.body[0]["client"]), (&Value::Null, &json!("prison-sync")));

    // Of a person under each number, whichever was asked.
    for number in ["A1111AA", "A1112AA"] {
        let of_person = ask(&format!("?prisoner={number}&user=POM_LEI")).await;
        assert_eq!(members(&of_person, "prisonerNumbers"), [json!(["A1111AA", "A1112AA"])]);
        assert_eq!(ask(&format!("?prisoner={number}&user=prison-sync")).await.body.as_array().map(Vec::len), Some(1));
    }
    assert_eq!(ask("?user=pom_lei").await.body, json!([]), "in its own letters");

    let at = newest["at"].as_str().expect("an instant");
    assert_eq!(members(&ask(&format!("?user=POM_LEI&from={at}")).await, "prisonerNumbers"), [json!(["A1113AA"])]);
    assert_eq!(
        members(&ask(&format!("?user=POM_LEI&to={at}")).await, "prisonerNumbers"),
        [json!(["A1111AA", "A1112AA"])]
    );
    let first = ask("?user=POM_LEI&limit=1").await;
    let next = next_page(&first).expect("another page");
    let second = audited.get(&auditor, &next).await;
    assert_eq!((members(&second, "prisonerNumbers"), next_page(&second)), (vec![json!(["A1111AA", "A1112AA"])], None));

    // Asking is an entry, too, with the conditions in the place of the numbers shown.
    let asked = eventually("the auditor's own entries", async || {
        let asked = ask("?user=AUDITOR&limit=1000").await;
        let conditions = json!(["/access-log", "access log of prison-sync", []]);
        let of = |entry: &Value| json!([entry["operation"], entry["filter"], entry["prisonerNumbers"]]);
        asked.body.as_array()?.iter().find(|entry| of(entry) == conditions).cloned()
    })
    .await;
    assert_eq!(asked["status"], 200, "{asked}");
    eventually("the auditor's entry of a number", async || {
        let of_number = ask("?user=AUDITOR&prisoner=A1111AA").await;
        (members(&of_number, "prisonerNumbers").first()? == &json!(["A1111AA", "A1112AA"])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_refused_caller_has_no_entry_and_a_malformed_question_is_refused() {
    let audited = Audited::start().await;
    let auditor = audited.person("AUDITOR", "ROLE_ALLOCATION_LEDGER__AUDIT");
    let manager = audited.person("HOMD_LEI", "ROLE_ALLOC_MGR");
    let refused = audited.get(&manager, "/access-log").await;
    assert_eq!((refused.status.as_u16(), &refused.body["code"]), (403, &json!("role-missing")));
    assert_eq!(audited.get("Bearer rubbish", "/prisoners/A1111AA/history").await.status, 401);
    let backwards = "?from=2026-11-02&to=2026-11-01";
    for query in ["?user=", "?user=%00", "?prisoner=x", "?from=soon", "?after=00", "?limit=0", "?who=x", backwards] {
        assert_eq!(audited.get(&auditor, &format!("/access-log{query}")).await.status, 400, "{query}");
    }
    let of_no_time = "/access-log?from=2026-11-01&to=2026-11-01";
    for path in ["/access-log", of_no_time] {
        assert_eq!(audited.get(&auditor, path).await.body, json!([]), "{path}");
    }
}
