//! Rebuilds, verifications and exports as jobs over HTTP.

use event_log::{RecordedEvent, SharedLog};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection as _;
use uuid::Uuid;

use crate::support::{
    Client, HttpAnswer, Program, TestDatabase, dump_views, eventually, http_client,
    ledger::assert_refused,
    projections::{DAMAGE, execute, projected_ledger, run_projections, schemas},
};

/// Serves the given roles over a test's database.
async fn serve(database: &TestDatabase, role: &[&str]) -> Program {
    let url = database.url.as_str();
    Program::serve_with(&[&["--event-store", url, "--views", url], role].concat()).await
}

/// The schemas with views.
async fn schemas_of_views(database: &TestDatabase) -> Vec<String> {
    let mut schemas = schemas(&database.pool).await;
    schemas.retain(|schema| schema != "integration");
    schemas
}

/// Waits until a rebuild has views of its own.
async fn wait_for_rebuild(database: &TestDatabase) {
    eventually("a rebuild that waits to be put in place", async || {
        (schemas_of_views(database).await.len() > 1).then_some(())
    })
    .await;
}

/// Begins a job, and returns its path.
async fn begin(client: &Client, body: Value) -> String {
    let answer = client.post("/projections/jobs", &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let path = answer.header("location").expect("its address").to_owned();
    assert_eq!(path, format!("/projections/jobs/{}", answer.body["id"].as_str().expect("an id")));
    path
}

/// The job once it has ended.
async fn ended(client: &Client, path: &str) -> Value {
    eventually("the end of a job", async || {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        (answer.body["state"] != "RUNNING").then_some(answer.body)
    })
    .await
}

/// Begins a job and asserts that it comes to its end.
async fn done(client: &Client, body: Value) -> Value {
    let job = ended(client, &begin(client, body).await).await;
    assert_eq!((&job["state"], &job["failure"]), (&json!("DONE"), &Value::Null), "{job}");
    assert!(job["endedAt"].is_string(), "{job}");
    job
}

async fn file(client: &Client, job: &Value) -> HttpAnswer {
    client.get(&format!("/projections/jobs/{}/file", job["id"].as_str().expect("an id"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_verifies_the_views_and_another_repairs_them() {
    let (database, ledger, views) = projected_ledger().await;
    let program = serve(&database, &[]).await;
    let client = program.client();
    let head = ledger.log.head().await.expect("the head");
    let sound = done(client, json!({"kind": "VERIFY"})).await;
    let result = &sound["result"];
    assert_eq!((&result["differences"], &result["position"], &result["head"]), (&json!(0), &json!(head), &json!(head)));
    assert!(result["rows"].as_u64().is_some_and(|rows| rows > 10), "{sound}");
    execute(&database.pool, DAMAGE).await;
    let damaged = done(client, json!({"kind": "VERIFY"})).await;
    let by_view = damaged["result"]["differencesByView"].as_object().expect("views");
    let sum: u64 = by_view.values().filter_map(Value::as_u64).sum();
    assert!(sum > 0 && damaged["result"]["differences"] == sum, "{damaged}");
    let one = done(client, json!({"kind": "VERIFY", "view": "reception"})).await;
    assert_eq!(one["view"], "reception");

    let rebuilt = done(client, json!({"kind": "REBUILD"})).await;
    assert_eq!((&rebuilt["result"], &rebuilt["view"]), (&json!({"position": head, "streamsAside": 0}), &Value::Null));
    assert_eq!(dump_views(&database.pool, "views").await, views);
    assert_eq!(schemas_of_views(&database).await, ["views"]);
    done(client, json!({"kind": "REBUILD", "view": "allocation"})).await;
    let kinds: Vec<Value> = client
        .get("/projections/jobs")
        .await
        .body
        .as_array()
        .expect("jobs")
        .iter()
        .map(|job| job["kind"].clone())
        .collect();
    assert_eq!(kinds, ["REBUILD", "REBUILD", "VERIFY", "VERIFY", "VERIFY"], "the last one first");
}

/// A rebuild waits while a reader holds the views, so it is at work for as long as the test wants.
#[tokio::test(flavor = "multi_thread")]
async fn one_job_is_at_work_at_a_time_and_a_cancelled_one_leaves_nothing_behind() {
    let (database, _ledger, views) = projected_ledger().await;
    let program = serve(&database, &[]).await;
    let client = program.client();
    let mut reader = database.pool.acquire().await.expect("a connection");
    let mut reading = reader.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE views.allocation IN ACCESS SHARE MODE").execute(&mut *reading).await.expect("a lock");
    let path = begin(client, json!({"kind": "REBUILD"})).await;
    wait_for_rebuild(&database).await;
    for other in [json!({"kind": "VERIFY"}), json!({"kind": "EXPORT", "view": "prison"})] {
        let refused = client.post("/projections/jobs", &other).await;
        assert_refused(&refused, 409, "job-running");
        assert!(path.split('/').next_back().is_some_and(|id| refused.text.contains(id)), "{}", refused.text);
    }
    let cancelled = client.send(Method::DELETE, &path, &[], None).await;
    assert_eq!(cancelled.status, 202, "{}", cancelled.text);
    assert_eq!(ended(client, &path).await["state"], "CANCELLED");
    assert_eq!(schemas_of_views(&database).await, ["views"]);
    reading.rollback().await.expect("the end of the lock");
    assert_eq!(dump_views(&database.pool, "views").await, views);
    done(client, json!({"kind": "REBUILD"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_stops_ends_the_job_at_work() {
    let (database, _ledger, views) = projected_ledger().await;
    let program = serve(&database, &[]).await;
    let mut reader = database.pool.acquire().await.expect("a connection");
    let mut reading = reader.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE views.allocation IN ACCESS SHARE MODE").execute(&mut *reading).await.expect("a lock");
    begin(program.client(), json!({"kind": "REBUILD"})).await;
    wait_for_rebuild(&database).await;
    assert!(program.stop().await.success());
    assert_eq!(schemas_of_views(&database).await, ["views"]);
    reading.rollback().await.expect("the end of the lock");
    assert_eq!(dump_views(&database.pool, "views").await, views);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_file_is_that_of_the_command_line() {
    let (database, ledger, _) = projected_ledger().await;
    let program = serve(&database, &[]).await;
    let client = program.client();
    let then = middle(&ledger.log).await;
    let files = tempfile::tempdir().expect("a folder");
    let written = files.path().join("written");
    let output = written.to_str().expect("UTF-8");
    let as_of = then.to_string();
    for (body, command) in [
        (json!({"view": "allocation"}), vec!["allocation", "--format", "csv"]),
        (json!({"view": "case_period", "format": "parquet"}), vec!["case_period", "--format", "parquet"]),
        (
            json!({"view": "case_now", "format": "jsonl", "on": "2026-06-01", "prison": "LEI"}),
            vec!["case_now", "--format", "jsonl", "--on", "2026-06-01", "--prison", "LEI"],
        ),
        (json!({"view": "case_period", "knownAt": as_of}), vec!["case_period", "--format", "csv", "--as-of", &as_of]),
        (json!({"view": "log", "format": "jsonl"}), vec!["log", "--format", "jsonl"]),
        (json!({"view": "log", "knownAt": as_of}), vec!["log", "--format", "csv", "--as-of", &as_of]),
    ] {
        let mut job = body;
        job["kind"] = json!("EXPORT");
        let job = done(client, job).await;
        let ran = run_projections(&database, &[&["export"], &command[..], &["--output", output]].concat()).await;
        assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
        let url = format!("{}/projections/jobs/{}/file", client.base_url(), job["id"].as_str().expect("an id"));
        let answer = http_client().get(url).send().await.expect("an answer");
        let disposition = answer.headers()["content-disposition"].to_str().expect("text").to_owned();
        let ending = command[2];
        let position = &job["result"]["position"];
        assert_eq!(disposition, format!("attachment; filename=\"{}-{position}.{ending}\"", command[0]));
        let bytes = answer.bytes().await.expect("a body");
        let expected = std::fs::read(&written).expect("the file");
        assert_eq!(bytes.len(), expected.len(), "{command:?}");
        assert!(bytes == expected && job["result"]["bytes"] == bytes.len(), "{command:?}");
        assert!(job["fileUntil"].is_string(), "{job}");
    }
}

/// A position with events on both sides.
async fn middle(log: &SharedLog) -> u64 {
    let events: Vec<RecordedEvent> = log.read_all(0, 1_000).await.expect("events");
    events[events.len() / 2].position
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_there_until_the_next_export_and_a_repeated_request_begins_nothing() {
    let (database, ..) = projected_ledger().await;
    let program = serve(&database, &[]).await;
    let client = program.client();
    let key = Uuid::new_v4().to_string();
    let body = json!({"kind": "EXPORT", "view": "prison"});
    let send = async |key: &str, body: &Value| {
        client.send(Method::POST, "/projections/jobs", &[("Idempotency-Key", key)], Some(body)).await
    };
    let first = send(&key, &body).await;
    let job = ended(client, first.header("location").expect("its address")).await;
    let again = send(&key, &body).await;
    assert_eq!((again.status.as_u16(), &again.body["id"], &again.body["state"]), (202, &job["id"], &json!("DONE")));
    assert_refused(&send(&key, &json!({"kind": "VERIFY"})).await, 422, "idempotency-key-reused");
    let csv = file(client, &job).await;
    assert_eq!((csv.status.as_u16(), csv.header("content-type")), (200, Some("text/csv; charset=utf-8")));
    assert!(csv.text.contains("prison_code"), "{}", csv.text);
    let verified = done(client, json!({"kind": "VERIFY"})).await;
    assert_refused(&file(client, &verified).await, 404, "export-file-gone");
    assert_eq!(file(client, &job).await.status, 200);
    done(client, json!({"kind": "EXPORT", "view": "prison"})).await;
    assert_refused(&file(client, &job).await, 404, "export-file-gone");
    assert_eq!(client.get(first.header("location").expect("its address")).await.body["fileUntil"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_no_job_is_refused_in_words() {
    let (database, ledger, _) = projected_ledger().await;
    let program = serve(&database, &[]).await;
    let client = program.client();
    let ahead = (ledger.log.head().await.expect("the head") + 1).to_string();
    for (body, code, words) in [
        (json!({}), "field-missing", "kind"),
        (json!({"kind": "REPAIR"}), "field-invalid", "REBUILD"),
        (json!({"kind": "REBUILD", "view": "caseload"}), "field-invalid", "there is no view `caseload`"),
        (json!({"kind": "REBUILD", "format": "csv"}), "field-invalid", "only an export has this"),
        (json!({"kind": "VERIFY", "prison": "LEI"}), "field-invalid", "only an export has this"),
        (json!({"kind": "EXPORT"}), "field-missing", "say which"),
        (json!({"kind": "EXPORT", "view": "all"}), "field-invalid", "one file"),
        (json!({"kind": "EXPORT", "view": "prison", "format": "xlsx"}), "field-invalid", "there is no format `xlsx`"),
        (json!({"kind": "EXPORT", "view": "case_now"}), "field-missing", "which day"),
        (json!({"kind": "EXPORT", "view": "log", "on": "2026-01-01"}), "field-invalid", "no periods"),
        (json!({"kind": "EXPORT", "view": "log", "prison": "LEI"}), "field-invalid", "two prisons"),
        (json!({"kind": "EXPORT", "view": "prison", "knownAt": ahead}), "field-invalid", "the log ends at"),
        (json!({"kind": "EXPORT", "view": "prison", "knownAt": "2199-01-01"}), "field-invalid", "not over yet"),
    ] {
        let answer = client.post("/projections/jobs", &body).await;
        assert_refused(&answer, 400, code);
        assert!(answer.text.contains(words), "{words}: {}", answer.text);
    }
    assert_eq!(client.get("/projections/jobs").await.body, json!([]), "none has begun");
    let unknown = format!("/projections/jobs/{}", Uuid::new_v4());
    assert_refused(&client.get(&unknown).await, 404, "job-unknown");
    assert_refused(&client.send(Method::DELETE, &unknown, &[], None).await, 404, "job-unknown");
    // The work itself finds what no request shows.
    let path = begin(client, json!({"kind": "EXPORT", "view": "allocation", "on": "2026-01-01"})).await;
    let failed = ended(client, &path).await;
    assert_eq!(failed["state"], "FAILED");
    assert!(failed["failure"].as_str().is_some_and(|failure| failure.contains("has no periods")), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_those_of_the_projectors_service() {
    let (database, ..) = projected_ledger().await;
    let projector = serve(&database, &["--role", "projector"]).await;
    done(projector.client(), json!({"kind": "REBUILD"})).await;
    let query = serve(&database, &["--role", "query"]).await;
    let elsewhere = query.client().post("/projections/jobs", &json!({"kind": "VERIFY"})).await;
    assert_refused(&elsewhere, 404, "path-unknown");
    assert!(elsewhere.text.contains("is for the projector service"), "{}", elsewhere.text);
}
