//! The demonstration, served from a database of the test.

use command::{Clock, Service, ServiceSettings};
use domain::prisoner::RecommendationPolicy;

use reqwest::Method;

use super::{Program, TestDatabase, database, eventually};

/// A serving program with the demonstration in its ledger.
pub struct Demonstration {
    pub program: Program,
    _database: TestDatabase,
}

impl Demonstration {
    /// Records the demonstration as of now, and serves it once the views include it.
    pub async fn serve() -> Self {
        let database = database().await;
        let log = database.log().await;
        let clock = Clock::system();
        let now = clock.now();
        let settings = ServiceSettings { clock, recommendation_policy: RecommendationPolicy::default() };
        let service = Service::new(log.clone(), settings);
        allocation_ledger::tools::demo::fill(&service, now).await.expect("record the demonstration");
        let head = log.head().await.expect("the head").to_string();
        let program = Program::serve_all(&database).await;
        let headers = [("Ledger-Position-At-Least", head.as_str())];
        let is_included = async || {
            let answer = program.client().send(Method::GET, "/projections", &headers, None).await;
            answer.status.is_success().then_some(())
        };
        eventually("the demonstration in the views", is_included).await;
        Self { program, _database: database }
    }
}
