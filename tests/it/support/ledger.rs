//! A running ledger with a database of its own, and requests to it.

use domain::{Stream, prisoner};
use event_log::{SharedLog, StoredEvent};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::{Client, HttpAnswer, Program, TestDatabase, database, eventually, whole_log::read_stored};

/// A prison on OMiC since 2019, with four POMs.
pub const PRISON: &str = "LEI";
/// A probation POM, the kind recommended for tiers A and B.
pub const OKAFOR: i64 = 485_926;
/// A probation POM.
pub const BYRNE: i64 = 485_927;
/// A prison POM, the kind recommended for the other tiers.
pub const SHAH: i64 = 485_928;
/// A prison POM.
pub const NOVAK: i64 = 485_929;

/// A running ledger.
pub struct Ledger {
    pub database: TestDatabase,
    pub program: Program,
}

impl Ledger {
    /// Starts the command role on an empty ledger.
    pub async fn empty() -> Self {
        let database = database().await;
        let program = serve_commands(&database).await;
        Self { database, program }
    }

    /// Starts the command role. [`PRISON`] has joined OMiC and has its POMs.
    pub async fn start() -> Self {
        let ledger = Self::empty().await;
        ledger.register_prison().await;
        ledger
    }

    /// Starts the program with all its roles. [`PRISON`] has joined OMiC and has its POMs.
    pub async fn start_all_roles() -> Self {
        let database = database().await;
        let program = Program::serve_all(&database).await;
        let ledger = Self { database, program };
        ledger.register_prison().await;
        ledger
    }

    /// As [`Self::start_all_roles`] in one process, with additions to its environment and further
    /// arguments.
    pub async fn start_all_roles_in(environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let ledger = Self::start_all_roles_on(database().await, environment, arguments).await;
        ledger.register_prison().await;
        ledger
    }

    /// Starts all roles in one process on a database that a ledger may have used before.
    pub async fn start_all_roles_on(database: TestDatabase, environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let stores = database.arguments();
        let arguments: Vec<&str> = stores.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        let program = Program::start_in(environment, &arguments).await.into_ready().await;
        Self { database, program }
    }

    async fn register_prison(&self) {
        self.join_omic(PRISON).await;
        for (staff_id, name, kind) in [
            (OKAFOR, "Okafor, Grace", "PROBATION"),
            (BYRNE, "Byrne, Liam", "PROBATION"),
            (SHAH, "Shah, Priya", "PRISON"),
            (NOVAK, "Novak, Jan", "PRISON"),
        ] {
            self.register_pom(PRISON, staff_id, name, kind).await;
        }
    }

    pub fn client(&self) -> &Client {
        self.program.client()
    }

    /// Kills the program as `kill -9` does, and starts it again on the same database.
    pub async fn kill_and_restart(self) -> Self {
        self.program.kill();
        let program = serve_commands(&self.database).await;
        Self { database: self.database, program }
    }

    pub async fn join_omic(&self, prison: &str) {
        let body = json!({"goLiveDate": "2019-01-01", "estate": "MENS_CLOSED", "effectiveAt": "2019-01-01T00:00:00Z"});
        assert_recorded(&self.client().post(&format!("/prisons/{prison}/onboarding"), &body).await);
    }

    pub async fn register_pom(&self, prison: &str, staff_id: i64, name: &str, kind: &str) {
        let body = json!({"staffId": staff_id, "name": name, "kind": kind, "effectiveAt": "2019-01-01T00:00:00Z"});
        assert_recorded(&self.client().post(&format!("/prisons/{prison}/poms"), &body).await);
    }

    /// Assigns tier `C1` to a case. A prison POM is recommended for it.
    pub async fn tier(&self, number: &str) -> HttpAnswer {
        let body = json!({"tier": "C1", "source": "DELIUS", "prison": PRISON, "effectiveAt": "2026-01-05T09:00:00Z"});
        assert_recorded(&self.client().post(&format!("/prisoners/{number}/tier"), &body).await).clone()
    }

    /// Allocates a case with tier `C1` to a prison POM at [`PRISON`].
    pub async fn allocate(&self, number: &str, staff_id: i64) -> HttpAnswer {
        let body = json!({"prison": PRISON, "pom": {"staffId": staff_id}, "effectiveAt": "2026-02-02T09:00:00Z"});
        assert_recorded(&self.client().post(&format!("/prisoners/{number}/allocations"), &body).await).clone()
    }

    /// Creates a case with tier `C1` and allocates it to a prison POM at [`PRISON`].
    pub async fn case(&self, number: &str, staff_id: i64) {
        self.tier(number).await;
        self.allocate(number, staff_id).await;
    }

    pub async fn status(&self, staff_id: i64, status: &str) -> HttpAnswer {
        let path = format!("/prisons/{PRISON}/poms/{staff_id}/status");
        assert_recorded(&self.client().put(&path, &json!({ "status": status })).await).clone()
    }

    /// Sends a request with an idempotency key.
    pub async fn send(&self, method: Method, path: &str, key: &str, body: &Value) -> HttpAnswer {
        self.client().send(method, path, &[("Idempotency-Key", key)], Some(body)).await
    }

    pub async fn log(&self) -> SharedLog {
        self.database.log().await
    }

    /// Reads all events of the log.
    pub async fn events(&self) -> Vec<StoredEvent> {
        read_stored(&*self.log().await).await
    }

    /// The end of the log. In Postgres that is the number of events.
    pub async fn event_count(&self) -> u64 {
        self.log().await.head().await.expect("the log's end")
    }

    /// The positions of all events.
    pub async fn positions(&self) -> Vec<u64> {
        self.events().await.iter().map(|event| event.entry.position).collect()
    }

    /// The types of a case's events, in the order recorded.
    pub async fn types(&self, number: &str) -> Vec<&'static str> {
        self.case_events(number).await.iter().map(|event| event.entry.event.type_name()).collect()
    }

    /// A case's events, in the order recorded.
    pub async fn case_events(&self, number: &str) -> Vec<StoredEvent> {
        let stream = Stream::Prisoner(number.parse().expect("a prisoner number"));
        self.events().await.into_iter().filter(|event| event.stream == stream).collect()
    }

    /// Gives a case's second event in a Postgres log an unknown type, and returns its position.
    pub async fn harm_second_event(&self, number: &str) -> u64 {
        let position = self.case_events(number).await[1].entry.position;
        change_event(&self.database, position, "type = 'AllocationMad'").await;
        position
    }

    /// The current state of a case.
    pub async fn state(&self, number: &str) -> prisoner::State {
        history(number, self.case_events(number).await).state()
    }

    /// Waits until the views have come to the end of the log.
    pub async fn wait_for_views(&self) {
        let head = self.event_count().await.to_string();
        let headers = [("Ledger-Position-At-Least", head.as_str())];
        let are_there = async || {
            let answer = self.client().send(Method::GET, "/projections", &headers, None).await;
            answer.status.is_success().then_some(())
        };
        eventually("the views at the end of the log", are_there).await;
    }

    /// Waits until the log has not grown for a moment longer than a policy takes, and returns its
    /// end.
    pub async fn wait_for_policies(&self) -> u64 {
        let mut count = self.event_count().await;
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            let now = self.event_count().await;
            if now == count {
                return count;
            }
            count = now;
        }
    }
}

/// Changes an event of a Postgres log, which no program can.
pub async fn change_event(database: &TestDatabase, position: u64, change: &str) {
    let sql = format!(
        "BEGIN; SET LOCAL session_replication_role = replica;
         UPDATE log.event SET {change} WHERE position = {position}; COMMIT"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&database.pool).await.expect("change the log");
}

/// Starts the program's command role on a database.
pub async fn serve_commands(database: &TestDatabase) -> Program {
    let stores = database.arguments();
    let mut arguments = vec!["--role", "command"];
    arguments.extend(stores.iter().map(String::as_str));
    Program::serve_with(&arguments).await
}

/// The history that a case's events make.
pub fn history(number: &str, events: Vec<StoredEvent>) -> prisoner::History {
    let mut history = prisoner::History::new(number.parse().expect("a prisoner number"));
    for stored in events {
        event_log::history::push(&mut history, stored.entry).expect("the next event of the case");
    }
    history
}

/// Asserts that a command recorded events, instead of repeating an earlier answer.
#[track_caller]
pub fn assert_recorded(answer: &HttpAnswer) -> &HttpAnswer {
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer
}

/// Asserts that the answer is a problem document with this status and code.
#[track_caller]
pub fn assert_refused<'a>(answer: &'a HttpAnswer, status: u16, code: &str) -> &'a HttpAnswer {
    assert_eq!((answer.status.as_u16(), &answer.body["code"]), (status, &json!(code)), "{}", answer.text);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.body["errorCode"], answer.body["code"]);
    answer
}

/// The types of the events in an answer.
pub fn event_types(answer: &HttpAnswer) -> Vec<String> {
    let events = answer.body["events"].as_array().cloned().unwrap_or_default();
    events.iter().map(|event| event["type"].as_str().unwrap_or_default().to_owned()).collect()
}
