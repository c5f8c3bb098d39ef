//! Questions about the past, on a large ledger.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use domain::identifier::PrisonerNumber;
use event_log::SharedLog;
use projector::SCHEMA;
use query::past::whole_case;
use sqlx::PgPool;
use tokio::net::TcpListener;

use crate::http::Connection;

/// The number of cases whose history is read.
const CASES: i64 = 200;

/// The number of prisons whose lists are read.
const PRISONS: i64 = 10;

/// The number of connections of the query service, as a small `serve` uses them.
const CONNECTIONS_MAX: u32 = 4;

/// The times that lists took.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownAtTimes {
    pub(super) median: Duration,
    pub(super) longest: Duration,
}

/// Measures the median time to read a case from the log and fold it.
pub(super) async fn history(log: &SharedLog, pool: &PgPool) -> anyhow::Result<Duration> {
    // The cases are chosen by a hash, so that they are of all ages and the same in each run.
    let numbers: Vec<String> =
        sqlx::query_scalar("SELECT prisoner_number FROM views.prisoner_case ORDER BY md5(prisoner_number) LIMIT $1")
            .bind(CASES)
            .fetch_all(pool)
            .await
            .context("choose cases")?;
    let mut taken = Vec::new();
    for number in numbers {
        let number: PrisonerNumber = number.parse().context("a case of the views")?;
        let started = Instant::now();
        let case = whole_case(log, &number, None).await.with_context(|| format!("read the history of {number}"))?;
        std::hint::black_box(case);
        taken.push(started.elapsed());
    }
    taken.sort_unstable();
    taken.get(taken.len() / 2).copied().context("the ledger has no cases")
}

/// Measures the time for the case lists of large prisons, as known when half of the log was
/// recorded.
pub(super) async fn known_at(log: &SharedLog, pool: &PgPool, url: &str) -> anyhow::Result<KnownAtTimes> {
    let prisons: Vec<String> = sqlx::query_scalar(
        "SELECT prison FROM views.case_period WHERE valid_to = 'infinity' AND prison IS NOT NULL
          GROUP BY prison ORDER BY count(*) DESC, prison LIMIT $1",
    )
    .bind(PRISONS)
    .fetch_all(pool)
    .await
    .context("choose prisons")?;
    let known_at = log.head().await.context("look where the log ends")? / 2;

    let views = query::connect(url.parse().context("read the server's URL")?, SCHEMA, CONNECTIONS_MAX);
    let router = query::router(query::QueryState::new(views.clone(), log.clone(), Duration::MAX)).unguarded();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("listen on a free port")?;
    let address = listener.local_addr().context("read the address listened on")?.to_string();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let taken = lists(&address, &prisons, known_at).await;
    serving.abort();
    // The service must return its connections before the server stops.
    let _ = serving.await;
    views.close().await;
    let mut taken = taken?;
    taken.sort_unstable();
    let (Some(&median), Some(&longest)) = (taken.get(taken.len() / 2), taken.last()) else {
        bail!("no prison of the ledger holds a case");
    };
    Ok(KnownAtTimes { median, longest })
}

async fn lists(address: &str, prisons: &[String], known_at: u64) -> anyhow::Result<Vec<Duration>> {
    let mut connection = Connection::open(address).await?;
    let mut taken = Vec::new();
    for prison in prisons {
        let request =
            format!("GET /prisons/{prison}/cases?known-at={known_at}&limit=1000 HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let started = Instant::now();
        connection.ask(&request).await.with_context(|| format!("ask for the cases at {prison}"))?;
        taken.push(started.elapsed());
    }
    Ok(taken)
}
