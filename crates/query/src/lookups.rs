//! Look-ups of single cases, gathered: those that arrive while others are at the database share the next statement.
//!
//! A statement for sixteen cases costs the database and this program little more than one for a single case, so a busy
//! server answers several times as many; a look-up that comes alone goes at once, in one round trip.

use std::{num::NonZero, ops::RangeInclusive, sync::Arc, thread::available_parallelism, time::Duration};

use chrono::{DateTime, Utc};
use domain::identifier::PrisonerNumber;
use http_api::Problem;
use sqlx::{PgPool, Postgres, pool::PoolConnection};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::timeout,
};

use crate::{
    Error,
    present::case::{self, Found},
    state::STATEMENT_TIMEOUT_MS,
};

/// Bounds of the statements under way at a time, of which there are as many as this machine has processors: enough to keep
/// them busy, few enough for look-ups to gather.
const STATEMENTS: RangeInclusive<usize> = 2..=8;

/// Most look-ups in one statement; bounds how long the first of them waits for the last.
const LOOKUPS_MAX: usize = 128;

/// Most look-ups that wait; beyond it callers wait to be let in.
const QUEUE_MAX: usize = 4_096;

/// How long the database may say nothing, some longer than it works on a statement: a connection on which nothing comes any
/// more says so by nothing else.
const ANSWER_MAX: Duration = Duration::from_millis(STATEMENT_TIMEOUT_MS + 2_000);

/// What a look-up found, and the position in the log that it is of.
type Outcome = Result<(u64, Found), Arc<Error>>;

/// Looks cases up; clones share the statements.
#[derive(Clone)]
pub(crate) struct Lookups {
    queue: mpsc::Sender<Lookup>,
}

struct Lookup {
    number: PrisonerNumber,
    instant: DateTime<Utc>,
    answer: oneshot::Sender<Outcome>,
}

impl Lookups {
    /// Starts the tasks that ask the views; they end when the last clone is dropped.
    pub(crate) fn new(views: &PgPool) -> Self {
        let (queue, asked) = mpsc::channel(QUEUE_MAX);
        let asked = Arc::new(Mutex::new(asked));
        let processors = available_parallelism().map_or(*STATEMENTS.start(), NonZero::get);
        let statements = processors.clamp(*STATEMENTS.start(), *STATEMENTS.end());
        let connections = keyed(views, u32::try_from(statements).unwrap_or(1));
        for _ in 0..statements {
            tokio::spawn(look_up(connections.clone(), Arc::clone(&asked)));
        }
        Self { queue }
    }

    /// A case at an instant; of a number that was merged, the survivor.
    pub(crate) async fn at(&self, number: PrisonerNumber, instant: DateTime<Utc>) -> Result<(u64, Found), Problem> {
        let gone = || Problem::from(Error::Views(sqlx::Error::WorkerCrashed));
        let (answer, outcome) = oneshot::channel();
        self.queue.send(Lookup { number, instant, answer }).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?.map_err(|error| Problem::from(&*error))
    }
}

/// Asks on the connection that was kept; where that fails, it may have been cut since, so once more on another.
async fn each_at(
    views: &PgPool,
    kept: &mut Option<PoolConnection<Postgres>>,
    cases: Vec<(PrisonerNumber, DateTime<Utc>)>,
) -> Result<(u64, Vec<Found>), Error> {
    let (found, connection) = match kept.take() {
        Some(connection) => match each_at_on(connection, cases.clone()).await {
            Ok(answer) => answer,
            Err(_) => each_at_on(views.acquire().await?, cases).await?,
        },
        None => each_at_on(views.acquire().await?, cases).await?,
    };
    *kept = Some(connection);
    Ok(found)
}

async fn each_at_on(
    mut connection: PoolConnection<Postgres>,
    cases: Vec<(PrisonerNumber, DateTime<Utc>)>,
) -> Result<((u64, Vec<Found>), PoolConnection<Postgres>), Error> {
    match timeout(ANSWER_MAX, case::each_at(&mut connection, cases)).await {
        Ok(found) => Ok((found?, connection)),
        Err(_) => {
            // Given back, the pool would wait for it.
            connection.close_on_drop();
            Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into())
        }
    }
}

/// Connections for a statement that looks rows up by their keys and has one good plan, whatever the tables hold: planning it
/// anew each time would take longer than running it.
fn keyed(views: &PgPool, connections_max: u32) -> PgPool {
    let options = views.connect_options().as_ref().clone().options([
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
    ]);
    views.options().clone().min_connections(0).max_connections(connections_max).connect_lazy_with(options)
}

async fn look_up(views: PgPool, asked: Arc<Mutex<mpsc::Receiver<Lookup>>>) {
    let mut lookups = Vec::with_capacity(LOOKUPS_MAX);
    // Kept from one statement to the next: giving it back to the pool and taking it again costs round trips.
    let mut kept = None;
    while gather(&mut *asked.lock().await, &mut lookups).await {
        let (cases, answers): (Vec<_>, Vec<_>) =
            lookups.drain(..).map(|lookup| ((lookup.number, lookup.instant), lookup.answer)).unzip();
        // Sending fails where the caller has gone, who then needs no answer.
        match each_at(&views, &mut kept, cases).await {
            Ok((position, found)) => {
                for (answer, found) in answers.into_iter().zip(found) {
                    let _ = answer.send(Ok((position, found)));
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

/// Waits for look-ups; false where no more will come. On a busy server those of the requests that have just been read come
/// within the same turn of the runtime: to let them join costs no time and halves the number of statements.
async fn gather(asked: &mut mpsc::Receiver<Lookup>, lookups: &mut Vec<Lookup>) -> bool {
    if asked.recv_many(lookups, LOOKUPS_MAX).await == 0 {
        return false;
    }
    tokio::task::yield_now().await;
    while lookups.len() < LOOKUPS_MAX
        && let Ok(lookup) = asked.try_recv()
    {
        lookups.push(lookup);
    }
    true
}
