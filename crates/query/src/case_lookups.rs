//! Look-ups of single cases in batches: those that arrive while others are at the database share
//! the next statement.
//!
//! A statement for sixteen cases costs the database and this program little more than one for a
//! single case, so a busy server answers several times as many; a look-up that comes alone goes at
//! once, in one round trip.

use std::{num::NonZero, ops::RangeInclusive, sync::Arc, thread::available_parallelism, time::Duration};

use chrono::{DateTime, Utc};
use domain::identifier::PrisonerNumber;
use sqlx::{PgPool, Postgres, pool::PoolConnection};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::timeout,
};

use crate::{
    QueryError,
    present::{
        STATEMENT_TIMEOUT_MS,
        case::{self, PositionedCase},
    },
};

/// Bounds of the statements under way at a time, of which there are as many as this machine has
/// processors: enough to keep them busy, few enough for batches to form.
const STATEMENTS: RangeInclusive<usize> = 2..=8;

/// Most look-ups in one statement; bounds how long the first of them waits for the last.
const LOOKUPS_MAX: usize = 128;

/// Most look-ups in the queue; beyond it callers wait for a place.
const QUEUE_MAX: usize = 4_096;

/// How long the database may be silent, somewhat longer than it works on a statement: nothing else
/// tells that a connection is dead.
const ANSWER_MAX: Duration = Duration::from_millis(STATEMENT_TIMEOUT_MS + 2_000);

type LookupResult = Result<PositionedCase, Arc<QueryError>>;

/// Looks cases up; clones share the statements.
#[derive(Clone)]
pub(crate) struct CaseLookups {
    queue: mpsc::Sender<CaseLookup>,
}

struct CaseLookup {
    number: PrisonerNumber,
    instant: DateTime<Utc>,
    answer: oneshot::Sender<LookupResult>,
}

impl CaseLookups {
    /// Starts the tasks that ask the views; they end when the last clone is dropped.
    pub(crate) fn new(views: &PgPool) -> Self {
        let (queue, lookups) = mpsc::channel(QUEUE_MAX);
        let lookups = Arc::new(Mutex::new(lookups));
        let processors = available_parallelism().map_or(*STATEMENTS.start(), NonZero::get);
        let statements = processors.clamp(*STATEMENTS.start(), *STATEMENTS.end());
        let connections = pool_for_keyed_statements(views, u32::try_from(statements).unwrap_or(1));
        for _ in 0..statements {
            tokio::spawn(run_statements(connections.clone(), Arc::clone(&lookups)));
        }
        Self { queue }
    }

    /// A case at an instant; of a number that was merged, the survivor.
    pub(crate) async fn case_at(
        &self,
        number: PrisonerNumber,
        instant: DateTime<Utc>,
    ) -> Result<PositionedCase, QueryError> {
        let gone = || QueryError::Views(sqlx::Error::WorkerCrashed);
        let (answer, result) = oneshot::channel();
        self.queue.send(CaseLookup { number, instant, answer }).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())?.map_err(QueryError::Shared)
    }
}

/// Runs a statement on the connection of the one before; where that fails, it may have been cut
/// since, so once more on another.
async fn cases_at(
    views: &PgPool,
    idle: &mut Option<PoolConnection<Postgres>>,
    cases: Vec<(PrisonerNumber, DateTime<Utc>)>,
) -> Result<Vec<PositionedCase>, QueryError> {
    let (found, connection) = match idle.take() {
        Some(connection) => match cases_at_on(connection, cases.clone()).await {
            Ok(answer) => answer,
            Err(_) => cases_at_on(views.acquire().await?, cases).await?,
        },
        None => cases_at_on(views.acquire().await?, cases).await?,
    };
    *idle = Some(connection);
    Ok(found)
}

async fn cases_at_on(
    mut connection: PoolConnection<Postgres>,
    cases: Vec<(PrisonerNumber, DateTime<Utc>)>,
) -> Result<(Vec<PositionedCase>, PoolConnection<Postgres>), QueryError> {
    match timeout(ANSWER_MAX, case::each_at(&mut connection, cases)).await {
        Ok(found) => Ok((found?, connection)),
        Err(_) => {
            // The pool would wait for a connection that is returned to it.
            connection.close_on_drop();
            Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into())
        }
    }
}

/// Connections for a statement that looks rows up by their keys and has one good plan, whatever the
/// tables hold: planning it anew each time would take longer than running it.
fn pool_for_keyed_statements(views: &PgPool, connections_max: u32) -> PgPool {
    let options = views.connect_options().as_ref().clone().options([
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
    ]);
    views.options().clone().min_connections(0).max_connections(connections_max).connect_lazy_with(options)
}

/// Runs a statement for each batch of look-ups, until no more can come.
async fn run_statements(views: PgPool, lookups: Arc<Mutex<mpsc::Receiver<CaseLookup>>>) {
    let mut batch = Vec::with_capacity(LOOKUPS_MAX);
    // Held from one statement to the next: returning it to the pool and acquiring it again costs
    // round trips.
    let mut idle = None;
    while gather(&mut *lookups.lock().await, &mut batch).await {
        let (cases, answers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|lookup| ((lookup.number, lookup.instant), lookup.answer)).unzip();
        // Sending fails where the caller has gone, which then needs no answer.
        match cases_at(&views, &mut idle, cases).await {
            Ok(found) => {
                for (answer, found) in answers.into_iter().zip(found) {
                    let _ = answer.send(Ok(found));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for answer in answers {
                    let _ = answer.send(Err(Arc::clone(&error)));
                }
            }
        }
    }
}

/// Waits for look-ups; false where no more will come. On a busy server those of the requests that
/// have just been read come within the same turn of the runtime: to let them join costs no time and
/// halves the number of statements.
async fn gather(lookups: &mut mpsc::Receiver<CaseLookup>, batch: &mut Vec<CaseLookup>) -> bool {
    if lookups.recv_many(batch, LOOKUPS_MAX).await == 0 {
        return false;
    }
    tokio::task::yield_now().await;
    while batch.len() < LOOKUPS_MAX
        && let Ok(lookup) = lookups.try_recv()
    {
        batch.push(lookup);
    }
    true
}
