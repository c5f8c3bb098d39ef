//! The demonstration, served from a database of the test.

use command::{Clock, Service, ServiceSettings};
use domain::prisoner::RecommendationPolicy;

use reqwest::Method;

use super::{
    Program, TestDatabase, database, eventually,
    tokens::{GuardedProgram, TestKey},
};

/// A serving program with the demonstration in its ledger.
pub struct Demonstration {
    pub program: Program,
    _database: TestDatabase,
}

impl Demonstration {
    /// Records the demonstration as of now, and serves it once the views include it.
    pub async fn serve() -> Self {
        let (database, head) = record().await;
        let program = Program::serve_all(&database).await;
        wait_for_views(&program, &head, &[]).await;
        Self { program, _database: database }
    }

    /// As [`Self::serve`], for callers with a token of this key, of which one is given.
    pub async fn serve_guarded(key: &TestKey, token: &str) -> GuardedProgram {
        let (database, head) = record().await;
        let guarded = GuardedProgram::serve_from(database, Some(key), &[]).await;
        wait_for_views(&guarded.program, &head, &[("Authorization", &format!("Bearer {token}"))]).await;
        guarded
    }
}

/// Records the demonstration as of now. Returns the position of its last event, too.
async fn record() -> (TestDatabase, String) {
    let database = database().await;
    let log = database.log().await;
    let clock = Clock::system();
    let now = clock.now();
    let settings = ServiceSettings { clock, recommendation_policy: RecommendationPolicy::default() };
    let service = Service::new(log.clone(), settings);
    allocation_ledger::tools::demo::fill(&service, now).await.expect("record the demonstration");
    let head = log.head().await.expect("the head").to_string();
    (database, head)
}

/// Waits until the views include a position, as a caller with these headers.
async fn wait_for_views(program: &Program, head: &str, headers: &[(&str, &str)]) {
    let headers = [&[("Ledger-Position-At-Least", head)], headers].concat();
    let is_included = async || {
        let answer = program.client().send(Method::GET, "/projections", &headers, None).await;
        answer.status.is_success().then_some(())
    };
    eventually("the demonstration in the views", is_included).await;
}
