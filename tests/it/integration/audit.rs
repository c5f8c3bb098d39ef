//! The audit service hears of each command and each read, whatever was away meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};

use crate::support::{
    Program, Proxy, TestDatabase,
    audit_sink::AuditSink,
    bare_database, database,
    estate::Estate,
    eventually,
    ledger::{Ledger, NOVAK, PRISON, SHAH},
    projections::execute,
    questions::{ask, record},
    random_numbers::RandomNumbers,
    run, run_in,
};

/// The queue of the audit service.
const AUDIT: &str = "audit-queue";

/// How long the sender waits for an answer of SQS.
const SQS_TIME_MAX: Duration = Duration::from_secs(5);

const ARGUMENTS: [&str; 2] = ["--audit-queue", AUDIT];

/// Bodies that the audit service got, each once: a request that was sent again doubles messages.
#[derive(Default)]
struct Heard(BTreeMap<String, Value>);

impl Heard {
    fn add(&mut self, body: Value) {
        for name in ["what", "when", "service", "subjectType", "details"] {
            assert!(body[name].is_string(), "{name}: {body}");
        }
        let details = details(&body);
        let id = details.get("eventId").or(details.get("entryId")).and_then(Value::as_str).expect("an id");
        self.0.insert(format!("{id} {}", body["subjectId"]), body);
    }

    /// Adds the messages that have come to the queue.
    async fn receive(&mut self, estate: &Estate) {
        for message in estate.take_messages_from(AUDIT).await {
            let attribute = &message["MessageAttributes"]["eventType"];
            assert_eq!(
                (&attribute["DataType"], &attribute["StringValue"]),
                (&json!("String"), &json!("hmpps-audit-event"))
            );
            self.add(serde_json::from_str(message["Body"].as_str().expect("a body")).expect("JSON"));
        }
    }

    /// The positions of the commands.
    fn positions(&self) -> BTreeSet<u64> {
        self.0.values().filter_map(|body| details(body)["position"].as_u64()).collect()
    }

    /// The ids of the entries of reads.
    fn entries(&self) -> BTreeSet<String> {
        self.0.values().filter_map(|body| details(body)["entryId"].as_str().map(str::to_owned)).collect()
    }

    /// The one message of a kind.
    #[track_caller]
    fn only(&self, what: &str) -> &Value {
        let found: Vec<&Value> = self.0.values().filter(|body| body["what"] == what).collect();
        let [body] = found.as_slice() else { panic!("{what}: {found:?}") };
        body
    }
}

fn details(body: &Value) -> Value {
    serde_json::from_str(body["details"].as_str().expect("a text")).expect("JSON in the details")
}

/// The component of the health.
async fn component(program: &Program) -> Value {
    program.client().get("/health").await.body["components"]["audit"].clone()
}

async fn wait_for_state(program: &Program, state: &str) -> Value {
    let in_state = async || {
        let component = component(program).await;
        (component["details"]["state"] == state).then_some(component)
    };
    eventually(&format!("a sender that is {state}"), in_state).await
}

/// The ids of the entries that are stored.
async fn stored_entries(pool: &PgPool) -> BTreeSet<String> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT id::text FROM access.entry").fetch_all(pool).await.expect("entries");
    ids.into_iter().collect()
}

/// Waits until all that is recorded after a position, and all reads that were noted, have been
/// heard.
async fn hear_all(heard: &mut Heard, estate: &Estate, ledger: &Ledger, after: u64) {
    ledger.wait_for_policies().await;
    let expected: BTreeSet<u64> = ledger.positions().await.into_iter().filter(|position| *position > after).collect();
    eventually("everything is heard", async || {
        let entries = stored_entries(&ledger.database.pool).await;
        heard.receive(estate).await;
        let is_heard = expected.is_subset(&heard.positions()) && entries.is_subset(&heard.entries());
        is_heard.then_some(())
    })
    .await;
}

/// A ledger with the queue, once its sender has begun, and the end of its log by then.
async fn audited(estate: &Estate) -> (Ledger, u64) {
    estate.make_queue(AUDIT).await;
    let ledger = Ledger::start_all_roles_in(&estate.environment(), &ARGUMENTS).await;
    wait_for_state(&ledger.program, "sending").await;
    let end = ledger.event_count().await;
    (ledger, end)
}

async fn status(ledger: &Ledger, arguments: &[&str]) -> String {
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let ran = run(&[&["integration", "status"], arguments, &stores].concat()).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    ran.stdout
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[tokio::test]
async fn each_command_and_each_read_arrives_with_its_members() {
    let Some(estate) = Estate::start().await else { return };
    let (ledger, begun) = audited(&estate).await;
    let headers = [("X-Recorded-By", "SPO_GEN"), ("X-Correlation-Id", "5f0c2a52-7d3b-4d1e-9a55-0d1b8f7c9a01")];
    let tier = json!({"tier": "C1", "source": "DELIUS", "prison": PRISON, "effectiveAt": "2026-01-05T09:00:00Z"});
    let path = "/prisoners/A1111AA/tier";
    let recorded = ledger.client().send(reqwest::Method::POST, path, &headers, Some(&tier)).await;
    assert_eq!(recorded.status, 201, "{}", recorded.text);
    ledger.allocate("A1111AA", SHAH).await;
    ledger.case("A2222BB", NOVAK).await;
    let decision = json!({"responsible": "PRISON", "reason": "OTHER", "detail": "He said so himself"});
    record(&ledger, "PUT /prisoners/A1111AA/responsibility-override", decision).await;
    ledger.register_pom(PRISON, 485_930, "Quill, Ada", "PRISON").await;
    let read = ask(&ledger, "/prisoners/A1111AA/responsibility").await;
    assert_eq!(read.status, 200, "{}", read.text);
    assert_eq!(ask(&ledger, "/prisons/LEI/cases").await.status, 200);
    assert_eq!(ask(&ledger, "/prisoners/A9999ZZ/history").await.status, 404);
    let page = format!("/events?after={begun}&limit=2");
    assert_eq!(ask(&ledger, &page).await.status, 200);
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let ran = run(&[&["history", "A2222BB"], &stores[..]].concat()).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    let mut heard = Heard::default();
    hear_all(&mut heard, &estate, &ledger, begun).await;

    let event = &ledger.case_events("A1111AA").await[0];
    let of_tier = heard.0.values().find(|body| body["what"] == "TIER_ASSIGNED" && body["subjectId"] == "A1111AA");
    let of_tier = of_tier.expect("the tier");
    let expected_details = json!({
        "eventId": event.entry.event_id.0, "position": event.entry.position, "commandId": event.entry.command_id.0,
        "effectiveAt": "2026-01-05T09:00:00Z", "username": "SPO_GEN", "client": event.entry.recorded_by.client,
        "prisons": [PRISON],
    });
    let expected = json!({
        "what": "TIER_ASSIGNED", "when": instant(event.entry.recorded_at), "who": "SPO_GEN", "subjectId": "A1111AA",
        "subjectType": "PRISONER_ID", "correlationId": headers[1].1, "service": "allocation-ledger",
        "details": of_tier["details"],
    });
    assert_eq!((of_tier, details(of_tier)), (&expected, expected_details));
    let of_poms = heard.0.values().filter(|body| body["what"] == "POM_REGISTERED");
    let of_pom = of_poms.max_by_key(|body| details(body)["position"].as_u64()).expect("the POM");
    assert_eq!((&of_pom["subjectId"], &of_pom["subjectType"]), (&json!(PRISON), &json!("PRISON_ID")));

    let of_read = heard.only("READ_PRISONERS_RESPONSIBILITY");
    let entry_id = details(of_read)["entryId"].clone();
    let expected_details = json!({"entryId": entry_id, "operation": "/prisoners/{prisonerNumber}/responsibility",
        "method": "GET", "status": 200, "people": 1});
    let expected = json!({
        "what": "READ_PRISONERS_RESPONSIBILITY", "when": of_read["when"], "subjectId": "A1111AA",
        "subjectType": "PRISONER_ID", "correlationId": read.header("x-correlation-id"), "service": "allocation-ledger",
        "details": of_read["details"],
    });
    assert_eq!((of_read, details(of_read)), (&expected, expected_details));
    let listed = heard.0.values().filter(|body| body["what"] == "READ_PRISONS_CASES");
    let listed: BTreeSet<&str> = listed.map(|body| body["subjectId"].as_str().expect("a number")).collect();
    assert_eq!(listed, BTreeSet::from(["A1111AA", "A2222BB"]), "a message for each person");
    assert_eq!(heard.only("READ_PRISONERS_HISTORY")["subjectId"], "A9999ZZ");
    let of_page = heard.only("READ_EVENTS");
    assert_eq!(of_page["subjectType"], "NOT_APPLICABLE");
    assert_eq!(details(of_page)["afterPosition"], begun);
    let of_tool = heard.only("READ_HISTORY");
    assert!(of_tool["who"].is_string() && of_tool["subjectId"] == "A2222BB", "{of_tool}");
    let texts: Vec<String> = heard.0.values().map(Value::to_string).collect();
    assert!(!texts.join("\n").contains("himself") && !texts.join("\n").contains("Quill"), "no text of a person");

    let document: Value = serde_json::from_str(&status(&ledger, &["--json"]).await).expect("JSON");
    let audit = &document["audit"];
    assert_eq!((&audit["position"], &audit["waitsFor"]), (&audit["logEnd"], &Value::Null), "{document}");
    let metrics = ledger.client().get("/metrics").await.text;
    for line in [
        "ledger_audit_waiting 0.0",
        "ledger_audit_sent_total{kind=\"command\"}",
        "ledger_audit_lag_seconds{kind=\"read\"}",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(ledger.program.stop().await.success());
}

#[tokio::test]
async fn nothing_is_noted_or_sent_where_no_queue_is_named() {
    let ledger = Ledger::start_all_roles_in(&[("AUDIT_SQS_QUEUE_URL", "")], &[]).await;
    ledger.case("A1111AA", SHAH).await;
    assert_eq!(ask(&ledger, "/prisoners/A1111AA/responsibility").await.status, 200);
    let stored = async || (!stored_entries(&ledger.database.pool).await.is_empty()).then_some(());
    eventually("the entry of the read", stored).await;
    let noted: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM access.unsent_entry) + (SELECT count(*) FROM access.audit_checkpoint)",
    )
    .fetch_one(&ledger.database.pool)
    .await
    .expect("counts");
    assert_eq!((noted, component(&ledger.program).await), (0, Value::Null));
    assert!(!ledger.client().get("/metrics").await.text.contains("ledger_audit_"));
    assert!(status(&ledger, &[]).await.contains("Nothing is sent to the audit queue."));
}

#[tokio::test]
async fn a_queue_that_is_away_slows_no_request_and_gets_everything_later() {
    let Some(estate) = Estate::start().await else { return };
    estate.make_queue(AUDIT).await;
    let proxy = Proxy::to(estate.url().trim_start_matches("http://"));
    let url = proxy.http_url();
    // So that no answer goes out before its entry is stored.
    let arguments = [&ARGUMENTS[..], &["--access-log", "required"]].concat();
    let ledger = Ledger::start_all_roles_in(&Estate::environment_at(&url), &arguments).await;
    wait_for_state(&ledger.program, "sending").await;
    let begun = ledger.event_count().await;
    // It takes connections and says nothing. Whoever waits for it waits for the time limit of the
    // sender, which one answer alone would show.
    proxy.freeze();
    let numbers: Vec<String> = (0..10).map(|index| format!("A{index:04}AA")).collect();
    let frozen_at = Instant::now();
    for number in &numbers {
        ledger.case(number, SHAH).await;
        assert_eq!(ask(&ledger, &format!("/prisoners/{number}/responsibility")).await.status, 200);
    }
    let requests = u32::try_from(numbers.len() * 3).expect("a number");
    assert!(frozen_at.elapsed() < SQS_TIME_MAX * requests, "each waits: {:?}", frozen_at.elapsed());
    let waiting = wait_for_state(&ledger.program, "waiting").await;
    assert_eq!(waiting["status"], "DEGRADED", "{waiting}");
    let reason = waiting["details"]["warning"].as_str().expect("a reason");
    assert!(reason.starts_with("the audit queue takes no messages: SQS "), "{reason}");
    assert_eq!(ledger.client().get("/health/readiness").await.status, 200);
    let shown =
        async || status(&ledger, &[]).await.contains("The sender waits: the audit queue takes no").then_some(());
    eventually("the reason in the status", shown).await;
    let is_behind = async || {
        let metrics = ledger.client().get("/metrics").await.text;
        let value = |series: &str| {
            let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok());
            value.unwrap_or_default()
        };
        let lags = ["command", "read"].map(|kind| value(&format!("ledger_audit_lag_seconds{{kind=\"{kind}\"}}")));
        (value("ledger_audit_waiting") > 0.0 && lags.iter().all(|lag_s| *lag_s > 0.0)).then_some(())
    };
    eventually("the metrics of a queue that is away", is_behind).await;
    let log = ledger.program.log();
    assert!(!numbers.iter().any(|number| log.contains(number)), "the log names a person: {log}");
    // A restart meanwhile forgets nothing.
    let Ledger { database, program } = ledger;
    program.kill();
    let ledger = Ledger::start_all_roles_on(database, &Estate::environment_at(&url), &arguments).await;
    ledger.case("B1111BB", NOVAK).await;
    proxy.reset();
    proxy.pass();
    hear_all(&mut Heard::default(), &estate, &ledger, begun).await;
    wait_for_state(&ledger.program, "sending").await;
    let is_noted = async || (!status(&ledger, &[]).await.contains("The sender waits")).then_some(());
    eventually("no reason to wait in the status", is_noted).await;
    assert!(ledger.program.stop().await.success());
}

/// Adds an entry that was asked an hour ago, in a transaction or out of one.
async fn add_entry<'a>(executor: impl sqlx::PgExecutor<'a>, number: &str) {
    const SQL: &str = "INSERT INTO access.entry (at, id, operation, prisoners)
        VALUES (now() - interval '1 hour', gen_random_uuid(), 'tests', ARRAY[$1])";
    sqlx::query(SQL).bind(number).execute(executor).await.expect("an entry");
}

/// Waits until the audit service has heard of reads of a person.
async fn wait_for_read(heard: &mut Heard, estate: &Estate, number: &str) {
    eventually("the read", async || {
        heard.receive(estate).await;
        heard.0.values().any(|body| body["what"] == "READ_TESTS" && body["subjectId"] == number).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_entry_that_becomes_visible_late_is_sent() {
    let Some(estate) = Estate::start().await else { return };
    let (ledger, _) = audited(&estate).await;
    let pool = &ledger.database.pool;
    let mut late = pool.begin().await.expect("a transaction");
    add_entry(&mut *late, "A1111AA").await;
    add_entry(pool, "B2222BB").await;
    let mut heard = Heard::default();
    wait_for_read(&mut heard, &estate, "B2222BB").await;
    let are_sent = async || {
        let left = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM access.unsent_entry").fetch_one(pool).await;
        (left.expect("a count") == 0).then_some(())
    };
    eventually("all that is visible is sent", are_sent).await;
    assert_eq!(heard.0.values().filter(|body| body["what"] == "READ_TESTS").count(), 1);
    late.commit().await.expect("the late entry");
    wait_for_read(&mut heard, &estate, "A1111AA").await;
}

#[tokio::test]
async fn an_entry_that_is_not_sent_outlives_its_time() {
    let database = database().await;
    let pool = &database.pool;
    access_log::SCHEMA.migrate_as_owner(pool).await.expect("the access log");
    let add = "INSERT INTO access.entry (at, id, operation, prisoners)
        VALUES (now() - interval '60 days', gen_random_uuid(), 'tests', '{A1111AA}')";
    execute(pool, add).await;
    let begin = access_log::AuditPosition { position: 0, event_id: None, recorded_at: None };
    assert!(access_log::AuditCheckpoint::begin(pool, begin).await.expect("a checkpoint"));
    execute(pool, add).await;
    let remove = async || access_log::remove_old(pool, 30).await.expect("a removal");
    assert_eq!((remove().await, remove().await), (1, 0), "that of the time before");
    let unsent = access_log::read_unsent(pool).await.expect("entries");
    assert_eq!(unsent.len(), 1);
    // An operator who ends the audit queue is told of it, and may let it go.
    let unsent: i64 = sqlx::query_scalar("SELECT access.end_audit()").fetch_one(pool).await.expect("the end");
    assert_eq!((unsent, remove().await), (1, 0));
    execute(pool, "DELETE FROM access.unsent_entry").await;
    assert_eq!(remove().await, 1);
    assert_eq!(access_log::AuditCheckpoint::read(pool).await.expect("no checkpoint"), None);
}

/// The login of an integration service, made by `prepare` and an operator.
async fn login(database: &TestDatabase) -> String {
    let ran = run(&["prepare", "--event-store", &database.url, "--views", &database.url]).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    let login = format!("{}_audit", database.name);
    let made = format!("CREATE ROLE {login} LOGIN IN ROLE ledger_append, ledger_integrate");
    sqlx::raw_sql(AssertSqlSafe(made)).execute(&database.pool).await.expect("make a login");
    database.url_for(&login)
}

#[tokio::test]
async fn the_rights_of_its_roles_are_enough_to_send_and_read_no_other_entry() {
    let Some(estate) = Estate::start().await else { return };
    estate.make_queue(AUDIT).await;
    let database = bare_database().await;
    let url = login(&database).await;
    let arguments = ["--role", "integration", "--audit-queue", AUDIT, "--event-store", &url, "--views", &url];
    let program = Program::start_in(&estate.environment(), &arguments).await.into_ready().await;
    wait_for_state(&program, "sending").await;
    add_entry(&database.pool, "A1111AA").await;
    wait_for_read(&mut Heard::default(), &estate, "A1111AA").await;
    let pool = PgPool::connect(&url).await.expect("the login");
    for sql in [
        "SELECT FROM access.entry",
        "INSERT INTO access.unsent_entry VALUES (now(), gen_random_uuid())",
        "SELECT access.end_audit()",
    ] {
        let refused = sqlx::raw_sql(sql).execute(&pool).await.expect_err(sql);
        assert_eq!(refused.as_database_error().and_then(|error| error.code()).as_deref(), Some("42501"), "{sql}");
    }
    assert!(program.stop().await.success());
}

/// As after an upgrade: the rights that come with the schema are not there yet.
#[tokio::test]
async fn a_schema_that_its_login_may_not_use_is_waited_for_and_told() {
    let Some(estate) = Estate::start().await else { return };
    estate.make_queue(AUDIT).await;
    let database = bare_database().await;
    let url = login(&database).await;
    execute(&database.pool, "REVOKE ALL ON SCHEMA access FROM ledger_integrate").await;
    let arguments = ["--role", "integration", "--audit-queue", AUDIT, "--event-store", &url, "--views", &url];
    let program = Program::start_in(&estate.environment(), &arguments).await;
    let starting = wait_for_state(&program, "starting").await;
    assert_eq!(starting["status"], "DEGRADED", "{starting}");
    let told = async || program.log().contains("the schema `access` is for the owner").then_some(());
    eventually("the advice in the log", told).await;
    let ran = run(&["prepare", "--event-store", &database.url, "--views", &database.url]).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    wait_for_state(&program, "sending").await;
    assert!(program.stop().await.success());
}

/// A sender that is killed amid its requests, again and again, beside a ledger that goes on.
#[tokio::test(flavor = "multi_thread")]
async fn whenever_the_sender_is_killed_nothing_is_missing() {
    const KILLS: usize = 5;
    let sink = AuditSink::start(23).await;
    let ledger = Ledger::start_all_roles_in(&[], &[]).await;
    let (environment, url) = (Estate::environment_at(&sink.server), sink.url());
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let arguments = [&["--role", "integration", "--audit-queue", &url], &stores[..]].concat();
    let start = async || Program::start_in(&environment, &arguments).await;
    let sender = start().await;
    wait_for_state(&sender, "sending").await;
    let begun = ledger.event_count().await;
    sender.kill();
    let mut numbers = RandomNumbers(23);
    for round in 0..KILLS {
        sink.go_on();
        sink.stop_after(1 + numbers.roll(30));
        let sender = start().await;
        for index in 0..10 {
            let number = format!("{}{index:04}AA", char::from(b'A' + u8::try_from(round).expect("few rounds")));
            ledger.case(&number, SHAH).await;
            assert_eq!(ask(&ledger, &format!("/prisoners/{number}/responsibility")).await.status, 200);
            assert_eq!(ask(&ledger, "/prisons/LEI/cases?limit=20").await.status, 200);
        }
        eventually("a queue that has stopped", async || sink.has_stopped().then_some(())).await;
        sender.kill();
    }
    sink.go_on();
    // One of two sends, and the other takes over.
    let first = start().await;
    wait_for_state(&first, "sending").await;
    let second = start().await;
    wait_for_state(&second, "standby").await;
    first.kill();
    wait_for_state(&second, "sending").await;
    ledger.case("Z0001ZZ", NOVAK).await;
    ledger.wait_for_policies().await;
    let expected: BTreeSet<u64> = ledger.positions().await.into_iter().filter(|position| *position > begun).collect();
    let heard = eventually("everything is heard", async || {
        let entries = stored_entries(&ledger.database.pool).await;
        let mut heard = Heard::default();
        sink.taken().into_iter().for_each(|body| heard.add(body));
        (expected == heard.positions() && entries.is_subset(&heard.entries())).then_some(heard)
    })
    .await;
    let sent = sink.taken().len();
    assert!(sent > heard.0.len(), "none of {sent} messages came twice, so no kill was amid a request");
    assert!(sink.refused() > 0 && heard.entries().len() >= 2 * KILLS * 10, "{} reads", heard.entries().len());
    assert!(second.stop().await.success());
}

/// A log that was put back from a backup does not have the last command that was sent.
#[tokio::test]
async fn a_checkpoint_of_another_log_holds_commands_back_and_no_read() {
    let Some(estate) = Estate::start().await else { return };
    let (ledger, _) = audited(&estate).await;
    ledger.case("A1111AA", SHAH).await;
    let end = ledger.event_count().await;
    let has_come = async || {
        let document: Value = serde_json::from_str(&status(&ledger, &["--json"]).await).expect("JSON");
        (document["audit"]["position"] == end).then_some(())
    };
    eventually("the commands are sent", has_come).await;
    let Ledger { database, program } = ledger;
    assert!(program.stop().await.success());
    execute(&database.pool, "UPDATE access.audit_checkpoint SET event_id = gen_random_uuid()").await;
    let ledger = Ledger::start_all_roles_on(database, &estate.environment(), &ARGUMENTS).await;
    let waiting = wait_for_state(&ledger.program, "waiting").await;
    let reason = waiting["details"]["warning"].as_str().expect("a reason");
    assert!(reason.contains("of another log") && reason.contains("access.end_audit()"), "{reason}");
    add_entry(&ledger.database.pool, "B2222BB").await;
    wait_for_read(&mut Heard::default(), &estate, "B2222BB").await;
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let ran = run_in(&estate.environment(), &[&["integration", "status"], &stores[..]].concat()).await;
    assert!(ran.stdout.contains("of another log"), "{} {}", ran.stdout, ran.stderr);
    execute(&ledger.database.pool, "SELECT access.end_audit()").await;
    wait_for_state(&ledger.program, "sending").await;
}
