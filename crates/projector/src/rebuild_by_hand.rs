//! Builds views by hand, beside a projector that goes on: the serving views anew, or the views as
//! they were at an earlier position.
//!
//! 1. A lock makes sure that one such build runs at a time, and that the schema of a dead one is
//!    dropped.
//! 2. `rebuild` fills the schema [`schema::BUILDING`] up to the log's end, and `live` follows the
//!    log until the schema is close.
//! 3. One transaction stops the serving views, projects the last events, and puts the new views in
//!    their place under a new epoch. The projector that kept the old ones up finds itself fenced
//!    and goes on with the new.
//!
//! Readers and writers go on all the while. A build that dies leaves the serving views as they
//! were.

use std::time::Duration;

use event_log::{PAGE_EVENTS_MAX, SharedLog};
use futures::{FutureExt as _, future::BoxFuture};
use sqlx::{Connection as _, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::time::sleep;

use views::{
    VIEWS_VERSION, View,
    checkpoint::{Checkpoint, read as read_checkpoint},
};

use crate::{
    ProjectorError, checkpoint,
    live::LiveProjection,
    rebuild::{self, BuildObserver, BuildProgress, RebuildTarget},
    schema::{self, BUILDING, SCHEMA},
    set_aside, swap,
};

/// Most events that may be missing when the serving views are stopped: some tens of milliseconds'
/// work.
const LAST_EVENTS_MAX: usize = 500;

/// Most pages to catch up on before the serving views are stopped all the same. Where events come
/// faster than the views follow, a quiet moment would never come.
const CATCH_UP_PAGES_MAX: usize = 10;

/// The pause before the swap is tried again, where readers were in its way or the serving views are
/// behind.
const SWAP_PAUSE: Duration = Duration::from_millis(100);

/// Begins the comment of each schema that [`build_as_of`] has made, by which it is known.
const AS_OF: &str = "The views as of position ";

/// Why views were not built, or not compared.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Another build is under way.
    #[error("another rebuild is under way in this database: wait for it to end")]
    Busy,
    /// The schema asked for is there.
    #[error(
        "the schema `{0}` is there already: give another name, or have it replaced (--replace), which is done only to \
         views as of a position"
    )]
    SchemaExists(String),
    /// The schema to replace is not one that a build as of a position has made.
    #[error("the schema `{0}` is not one that a rebuild as of a position has made, so it is not replaced")]
    NotAsOf(String),
    /// The schema asked for is not there, or has no views in it.
    #[error("there are no views in a schema `{0}`: `projections status` lists what there is")]
    NoSuchSchema(String),
    /// The schema asked for cannot have this name.
    #[error(
        "`{0}` cannot be the schema's name: write a letter a to z, then letters, digits and `_`, at most 63 in all, and \
         not a name that the ledger or Postgres uses (views, log, public, views_…, pg_…) nor a word of SQL"
    )]
    SchemaName(String),
    /// The position asked for is past the log's end.
    #[error("the log ends at position {head}: there is no position {position} yet")]
    PastEnd {
        /// The position asked for.
        position: u64,
        /// The position of the log's last event.
        head: u64,
    },
    /// One view alone cannot go beside others of another version.
    #[error(
        "the serving views are of version {found}, this program makes version {VIEWS_VERSION}: rebuild all of them"
    )]
    OtherVersion {
        /// The version found.
        found: i32,
    },
    /// The log or the database failed.
    #[error(transparent)]
    Failed(#[from] ProjectorError),
}

impl From<sqlx::Error> for BuildError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<event_log::LogError> for BuildError {
    fn from(error: event_log::LogError) -> Self {
        Self::Failed(error.into())
    }
}

/// The serving views to build anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebuildScope {
    /// One of them, beside the others.
    One(View),
    /// All.
    All,
    /// All, also where the serving views are of another log: those of this log take their place.
    AllOfOtherLog,
}

/// Views that were built, at the moment at which they were put in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltViews {
    /// Position of the last event that they include.
    pub position: u64,
    /// How many cases and prisons they leave out.
    pub streams_aside: usize,
}

/// Builds the serving views anew, or one of them, and puts them in the place of the old ones.
///
/// # Errors
/// [`BuildError`]; the serving views are then as they were.
pub fn rebuild<'a>(
    log: &'a SharedLog,
    views: &'a PgPool,
    what: RebuildScope,
    progress: BuildObserver<'a>,
) -> BoxFuture<'a, Result<BuiltViews, BuildError>> {
    async move {
        schema::migrate(views).await?;
        let mut builder = ViewBuilder::begin(views).await?;
        let outcome = builder.rebuild(log, what, progress).await;
        builder.end(outcome).await
    }
    .boxed()
}

/// Builds the views as they were when the log ended at `position`, in the schema `name` beside the
/// serving one. With `replace`, it takes the place of a schema that an earlier build has made
/// there.
///
/// # Errors
/// [`BuildError`]; a schema of that name is then as it was.
pub fn build_as_of<'a>(
    log: &'a SharedLog,
    views: &'a PgPool,
    position: u64,
    name: &'a str,
    replace: bool,
    progress: BuildObserver<'a>,
) -> BoxFuture<'a, Result<BuiltViews, BuildError>> {
    async move {
        check_name(name)?;
        let head = log.head().await?;
        if position > head {
            return Err(BuildError::PastEnd { position, head });
        }
        let builder = ViewBuilder::begin(views).await?;
        let outcome = builder.build_as_of(log, position, name, replace, progress).await;
        builder.end(outcome).await
    }
    .boxed()
}

/// Builds the views as they were when the log ended at `position`, calls `read`, and drops them
/// again. They are in the schema chosen on the connection that `read` is given.
///
/// # Errors
/// [`BuildError`]. An error of `read` is the caller's to handle: it is in the answer.
pub(crate) async fn with_views_as_of<T>(
    log: &SharedLog,
    views: &PgPool,
    position: u64,
    progress: BuildObserver<'_>,
    read: impl AsyncFnOnce(&mut PgConnection) -> T,
) -> Result<T, BuildError> {
    let builder = ViewBuilder::begin(views).await?;
    let outcome = async {
        let target = RebuildTarget { options: &builder.options, schema: BUILDING, to: position, epoch: 0 };
        rebuild::fill(log, &target, progress).await?;
        let mut connection = PgConnection::connect_with(&builder.options).await?;
        schema::choose(&mut connection, BUILDING).await?;
        Ok(read(&mut connection).await)
    }
    .await;
    builder.end(outcome).await
}

/// Checks that a schema may have a name, one that need not be quoted in SQL. Returns whether a
/// schema of that name gives way.
async fn check_free(connection: &mut PgConnection, name: &str, replace: bool) -> Result<bool, BuildError> {
    let (is_word, exists, is_as_of): (bool, bool, bool) = sqlx::query_as(
        "SELECT quote_ident($1) = $1,
                to_regnamespace(quote_ident($1)) IS NOT NULL,
                coalesce(starts_with(obj_description(to_regnamespace(quote_ident($1)), 'pg_namespace'), $2), false)",
    )
    .bind(name)
    .bind(AS_OF)
    .fetch_one(connection)
    .await?;
    match (exists, replace) {
        _ if !is_word => Err(BuildError::SchemaName(name.to_owned())),
        (true, false) => Err(BuildError::SchemaExists(name.to_owned())),
        (true, true) if !is_as_of => Err(BuildError::NotAsOf(name.to_owned())),
        (exists, _) => Ok(exists),
    }
}

/// Drops the schema that an interrupted build has left, and waits for the server to notice that the
/// build's connections are gone. Does nothing while another build is under way.
///
/// # Errors
/// The database fails.
pub async fn drop_unfinished(views: &PgPool) -> Result<(), ProjectorError> {
    let mut connection = PgConnection::connect_with(&schema::as_owner(&views.connect_options()).await?).await?;
    for _ in 0..DROP_TRIES {
        if schema::begin_building(&mut connection).await? {
            break;
        }
        sleep(SWAP_PAUSE).await;
    }
    connection.close().await?;
    Ok(())
}

/// Tries for the lock of a build that was ended, with a pause between tries: some two seconds.
const DROP_TRIES: usize = 20;

/// A schema with views as of a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsOfSchema {
    /// The schema's name.
    pub schema: String,
    /// Its comment, which says of which position it is.
    pub what: String,
}

/// The schemas that [`build_as_of`] has made, by name.
///
/// # Errors
/// The database fails.
pub async fn as_of_schemas(views: &PgPool) -> Result<Vec<AsOfSchema>, ProjectorError> {
    let found: Vec<(String, String)> = sqlx::query_as(
        "SELECT nspname::text, obj_description(oid, 'pg_namespace')
           FROM pg_namespace
          WHERE starts_with(obj_description(oid, 'pg_namespace'), $1)
          ORDER BY nspname",
    )
    .bind(AS_OF)
    .fetch_all(views)
    .await?;
    Ok(found.into_iter().map(|(schema, what)| AsOfSchema { schema, what }).collect())
}

/// Checks a name: it is put into statements as it is, so it must be a plain word, and not one that
/// the ledger or Postgres uses.
fn check_name(name: &str) -> Result<(), BuildError> {
    const LEN_MAX: usize = 63;
    let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.len() <= LEN_MAX
        && name.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_');
    let is_taken = [SCHEMA, "log", "public", "information_schema"].contains(&name)
        || name.starts_with("views_")
        || name.starts_with("pg_");
    if is_plain && !is_taken { Ok(()) } else { Err(BuildError::SchemaName(name.to_owned())) }
}

/// A build under way; holds the lock for as long as it lasts.
struct ViewBuilder {
    lock: PgConnection,
    options: PgConnectOptions,
}

impl ViewBuilder {
    async fn begin(views: &PgPool) -> Result<Self, BuildError> {
        let options = views.connect_options().as_ref().clone().application_name("allocation-ledger rebuild");
        let options = schema::as_owner(&options).await?;
        let mut lock = PgConnection::connect_with(&options).await?;
        if !schema::begin_building(&mut lock).await? {
            return Err(BuildError::Busy);
        }
        Ok(Self { lock, options })
    }

    /// Drops the schema, whatever the outcome.
    async fn end<T>(mut self, outcome: Result<T, BuildError>) -> Result<T, BuildError> {
        let dropped = schema::drop_schema(&mut self.lock, BUILDING).await;
        let answer = outcome?;
        dropped?;
        self.lock.close().await?;
        Ok(answer)
    }

    async fn rebuild(
        &mut self,
        log: &SharedLog,
        what: RebuildScope,
        progress: BuildObserver<'_>,
    ) -> Result<BuiltViews, BuildError> {
        let is_one = matches!(what, RebuildScope::One(_));
        let mut serving = PgConnection::connect_with(&self.options).await?;
        schema::choose(&mut serving, SCHEMA).await?;
        let served = read_checkpoint(&mut serving).await?;
        if is_one && served.version != VIEWS_VERSION {
            return Err(BuildError::OtherVersion { found: served.version });
        }
        if what != RebuildScope::AllOfOtherLog {
            checkpoint::check_is_of(served, log).await?;
        }
        // One view goes beside the others at their position, so the others need not be moved on.
        let to = if is_one { served.position } else { log.head().await? };
        let target = RebuildTarget { options: &self.options, schema: BUILDING, to, epoch: 0 };
        let mut built = rebuild::fill(log, &target, progress).await?;
        let mut building = PgConnection::connect_with(&self.options).await?;
        schema::choose(&mut building, BUILDING).await?;
        let mut live = LiveProjection::new(log.clone());
        loop {
            let to = if is_one { read_checkpoint(&mut serving).await?.position } else { u64::MAX };
            for _ in 0..CATCH_UP_PAGES_MAX {
                if catch_up(log, &mut live, &mut building, &mut built, to).await? <= LAST_EVENTS_MAX {
                    break;
                }
                progress(BuildProgress::CatchingUp { position: built.position });
            }
            // A build that has lost the lock may have lost the schema to another one.
            self.lock.ping().await?;
            if let Some(built) = swap(log, &mut live, &mut serving, &mut building, &mut built, what).await? {
                return Ok(built);
            }
            sleep(SWAP_PAUSE).await;
        }
    }

    async fn build_as_of(
        &self,
        log: &SharedLog,
        position: u64,
        name: &str,
        replace: bool,
        progress: BuildObserver<'_>,
    ) -> Result<BuiltViews, BuildError> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        check_free(&mut connection, name, replace).await?;
        let target = RebuildTarget { options: &self.options, schema: BUILDING, to: position, epoch: 0 };
        rebuild::fill(log, &target, progress).await?;
        let what = format!("{AS_OF}{position}. Made by hand and kept up by nobody; drop it when it is of no more use.");
        let mut transaction = connection.begin().await?;
        // Checked again: another program may have made a schema meanwhile.
        if check_free(&mut transaction, name, replace).await? {
            schema::drop_schema(&mut transaction, name).await?;
        }
        let streams_aside = set_aside::read_in(BUILDING, &mut *transaction).await?.len();
        schema::keep(&mut transaction, BUILDING, name, &what).await?;
        transaction.commit().await?;
        connection.close().await?;
        Ok(BuiltViews { position, streams_aside })
    }
}

/// Projects a page of the events that are missing, no further than `to`. Returns how many there
/// were.
async fn catch_up(
    log: &SharedLog,
    live: &mut LiveProjection,
    building: &mut PgConnection,
    built: &mut Checkpoint,
    to: u64,
) -> Result<usize, ProjectorError> {
    let mut page = log.read_all(built.position, PAGE_EVENTS_MAX).await?;
    page.truncate(page.partition_point(|event| event.position <= to));
    let events = page.len();
    while !page.is_empty() {
        let rest = page.split_off(page.len().min(BATCH_EVENTS_MAX));
        live.project(building, built, std::mem::replace(&mut page, rest)).await?;
    }
    Ok(events)
}

/// Puts the new views in the place of the serving ones; `None` where the caller must try again.
async fn swap(
    log: &SharedLog,
    live: &mut LiveProjection,
    serving: &mut PgConnection,
    building: &mut PgConnection,
    built: &mut Checkpoint,
    what: RebuildScope,
) -> Result<Option<BuiltViews>, ProjectorError> {
    let mut transaction = swap::begin_swap(serving).await?;
    if swap_in(log, live, &mut transaction, building, built, what).await? {
        let streams_aside = set_aside::read(&mut *transaction).await?.len();
        checkpoint::notify(&mut transaction, built.position).await?;
        transaction.commit().await?;
        Ok(Some(BuiltViews { position: built.position, streams_aside }))
    } else {
        // At once: until then the views cannot be moved on.
        transaction.rollback().await?;
        Ok(None)
    }
}

async fn swap_in(
    log: &SharedLog,
    live: &mut LiveProjection,
    serving: &mut PgConnection,
    building: &mut PgConnection,
    built: &mut Checkpoint,
    what: RebuildScope,
) -> Result<bool, ProjectorError> {
    // The table and not the row: a projector that waited for the row would hold the table, which is
    // dropped below. Readers go on.
    let still = sqlx::query("LOCK TABLE checkpoint IN SHARE ROW EXCLUSIVE MODE").execute(&mut *serving).await;
    if !swap::succeeded_or_locked(still.map(|_| ()))? {
        return Ok(false);
    }
    let served = read_checkpoint(&mut *serving).await?;
    let other_log = || ProjectorError::OtherLog { position: served.position };
    // Views never go back; but those of another log give way where that was asked for.
    if checkpoint::is_of(served, log).await? {
        while built.position < served.position {
            if catch_up(log, live, building, built, served.position).await? == 0 {
                return Err(other_log());
            }
        }
    } else if what != RebuildScope::AllOfOtherLog {
        return Err(other_log());
    }
    let replaced = match what {
        RebuildScope::All | RebuildScope::AllOfOtherLog => swap::replace(serving, BUILDING).await,
        // Beside the other views only at their very position.
        RebuildScope::One(_) if built.position != served.position => return Ok(false),
        // A stream is in all views or in none.
        RebuildScope::One(_) if set_aside::read(&mut *serving).await? != set_aside::read(&mut *building).await? => {
            return Err(ProjectorError::OtherStreamsAside);
        }
        RebuildScope::One(view) => swap::replace_view(serving, BUILDING, view).await,
    };
    if !swap::succeeded_or_locked(replaced)? {
        return Ok(false);
    }
    // Only now: while the swap may have to be tried again, the new views are moved on under the
    // epoch that they began with.
    if !matches!(what, RebuildScope::One(_)) && !checkpoint::set_epoch(serving, served.epoch + 1).await? {
        return Err(ProjectorError::Fenced { epoch: served.epoch });
    }
    Ok(true)
}

/// Events in one transaction while catching up.
const BATCH_EVENTS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_schemas_are_plain_words_that_nobody_relies_on() {
        for name in ["march", "as_of_2026_03_05", "x"] {
            check_name(name).expect(name);
        }
        let long = "a".repeat(64);
        for name in ["", "views", "log", "public", "views_next_1", "pg_temp", "March", "1st", "a-b", "a;b", "é", &long]
        {
            check_name(name).expect_err(name);
        }
    }
}
