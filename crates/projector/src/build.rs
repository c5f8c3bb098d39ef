//! Views built by hand, beside a projector that goes on: the serving ones anew, or as they were at an earlier position.
//!
//! 1. A lock sees to it that one such build runs at a time, and that what a dead one left is dropped.
//! 2. The schema [`schema::BUILDING`] is filled up to the log's end (`rebuild`), and follows it (`live`) until it is close.
//! 3. In one transaction the serving views stand still, the last events are taken in, and the new views take their place
//!    under a new epoch: the projector that kept the old ones up finds itself fenced and goes on with the new.
//!
//! Readers and writers go on all the while. A build that dies leaves the serving views as they were.

use std::time::Duration;

use event_log::{PAGE_EVENTS_MAX, SharedLog};
use sqlx::{Connection as _, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::time::sleep;

use views::{
    VIEWS_VERSION, View,
    checkpoint::{Checkpoint, read as read_checkpoint},
};

use crate::{
    Error, checkpoint,
    live::LiveProjection,
    rebuild::{self, BuildProgress, Target},
    schema::{self, BUILDING, SCHEMA},
};

/// Most events that may be found missing before the serving views are made to stand still: some tens of milliseconds' work.
const LAST_EVENTS_MAX: usize = 500;

/// Most pages that are caught up on before the serving views are made to stand still all the same: where events come faster than
/// views follow, to wait for a quiet moment would be to wait for ever.
const CATCH_UP_PAGES_MAX: usize = 10;

/// The pause before the swap is tried again, where readers were in its way or the serving views are behind.
const SWAP_PAUSE: Duration = Duration::from_millis(100);

/// Begins the comment of each schema that [`build_as_of`] has made, by which it is known.
const AS_OF: &str = "The views as of position ";

/// Why views were not built, or not compared.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Somebody else builds.
    #[error("another rebuild is under way in this database: wait for it to end")]
    Busy,
    /// The schema asked for is there.
    #[error(
        "the schema `{0}` is there already: give another name, or have it replaced (--replace), which is done only to \
         views as of a position"
    )]
    SchemaExists(String),
    /// The schema to be replaced is not one that may go.
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
    Failed(#[from] Error),
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

/// Which serving views are built anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebuildScope {
    /// One of them, beside the others.
    One(View),
    /// All.
    All,
    /// All, also where those that serve are of another log: this one's take their place.
    AllOfOtherLog,
}

/// Builds the serving views anew, or one of them, and puts them in the place of the old ones. Answers the position that they
/// have come to.
///
/// # Errors
/// [`BuildError`]; the serving views are then as they were.
pub async fn rebuild(
    log: &SharedLog,
    views: &PgPool,
    what: RebuildScope,
    progress: impl Fn(BuildProgress) + Sync,
) -> Result<u64, BuildError> {
    schema::migrate(views).await?;
    let mut builder = ViewBuilder::begin(views).await?;
    let outcome = builder.rebuild(log, what, progress).await;
    builder.end(outcome).await
}

/// Builds the views as they were when the log ended at `position`, in the schema `name` beside the serving one; in the place
/// of the one that an earlier build has made there, if it may be replaced.
///
/// # Errors
/// [`BuildError`]; what has that name is then as it was.
pub async fn build_as_of(
    log: &SharedLog,
    views: &PgPool,
    position: u64,
    name: &str,
    replace: bool,
    progress: impl Fn(BuildProgress) + Sync,
) -> Result<(), BuildError> {
    check_name(name)?;
    let head = log.head().await?;
    if position > head {
        return Err(BuildError::PastEnd { position, head });
    }
    let builder = ViewBuilder::begin(views).await?;
    let outcome = builder.build_as_of(log, position, name, replace, progress).await;
    builder.end(outcome).await
}

/// Builds one view as it was when the log ended at `position`, lets `read` look at it, and drops it again. It is in the
/// schema chosen on the connection that `read` is given.
///
/// # Errors
/// [`BuildError`]; what `read` answers is not looked at.
pub(crate) async fn with_view_as_of<T>(
    log: &SharedLog,
    views: &PgPool,
    position: u64,
    view: View,
    progress: impl Fn(BuildProgress) + Sync,
    read: impl AsyncFnOnce(&mut PgConnection) -> T,
) -> Result<T, BuildError> {
    let builder = ViewBuilder::begin(views).await?;
    let outcome = async {
        let target = Target { options: &builder.options, schema: BUILDING, to: position, epoch: 0, only: Some(view) };
        rebuild::fill(log, &target, progress).await?;
        let mut connection = PgConnection::connect_with(&builder.options).await?;
        schema::choose(&mut connection, BUILDING).await?;
        Ok(read(&mut connection).await)
    }
    .await;
    builder.end(outcome).await
}

/// Makes sure that a schema may have a name, one that need not be quoted in SQL; answers whether there is one that gives way.
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

/// Drops what an interrupted build has left, waiting for the server to notice that its connections are gone. Does nothing
/// while another build is under way.
///
/// # Errors
/// The database fails.
pub async fn drop_unfinished(views: &PgPool) -> Result<(), Error> {
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

/// Looks, one pause after the other, whether the lock of a build that was ended is free: some two seconds.
const DROP_TRIES: usize = 20;

/// A schema with views as of a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsOfSchema {
    /// The schema's name.
    pub schema: String,
    /// What it is, in words: its comment.
    pub what: String,
}

/// The schemas that [`build_as_of`] has made, by name.
///
/// # Errors
/// The database fails.
pub async fn as_of_schemas(views: &PgPool) -> Result<Vec<AsOfSchema>, Error> {
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

/// Names are put into statements as they are, so they are plain words; and none that somebody relies on.
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

/// Who builds: holds the lock for as long as it is there.
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

    /// Leaves nothing behind, whatever the outcome.
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
        progress: impl Fn(BuildProgress) + Sync,
    ) -> Result<u64, BuildError> {
        let only = match what {
            RebuildScope::One(view) => Some(view),
            RebuildScope::All | RebuildScope::AllOfOtherLog => None,
        };
        let mut serving = PgConnection::connect_with(&self.options).await?;
        schema::choose(&mut serving, SCHEMA).await?;
        let served = read_checkpoint(&mut serving).await?;
        if only.is_some() && served.version != VIEWS_VERSION {
            return Err(BuildError::OtherVersion { found: served.version });
        }
        if what != RebuildScope::AllOfOtherLog {
            checkpoint::check_is_of(served, log).await?;
        }
        // One view goes beside the others at their very position, which nobody need move on.
        let to = if only.is_some() { served.position } else { log.head().await? };
        let target = Target { options: &self.options, schema: BUILDING, to, epoch: 0, only };
        let mut built = rebuild::fill(log, &target, &progress).await?;
        let mut building = PgConnection::connect_with(&self.options).await?;
        schema::choose(&mut building, BUILDING).await?;
        let mut live = LiveProjection::new(log.clone());
        loop {
            let to = if only.is_some() { read_checkpoint(&mut serving).await?.position } else { u64::MAX };
            for _ in 0..CATCH_UP_PAGES_MAX {
                if catch_up(log, &mut live, &mut building, &mut built, to).await? <= LAST_EVENTS_MAX {
                    break;
                }
                progress(BuildProgress::CatchingUp { position: built.position });
            }
            // Who has lost the lock may have lost the schema to another builder.
            self.lock.ping().await?;
            if let Some(position) = swap(log, &mut live, &mut serving, &mut building, &mut built, what).await? {
                return Ok(position);
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
        progress: impl Fn(BuildProgress) + Sync,
    ) -> Result<(), BuildError> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        check_free(&mut connection, name, replace).await?;
        let target = Target { options: &self.options, schema: BUILDING, to: position, epoch: 0, only: None };
        rebuild::fill(log, &target, progress).await?;
        let what = format!("{AS_OF}{position}. Made by hand and kept up by nobody; drop it when it is of no more use.");
        let mut transaction = connection.begin().await?;
        // Looked at again, since somebody may have made one meanwhile.
        if check_free(&mut transaction, name, replace).await? {
            schema::drop_schema(&mut transaction, name).await?;
        }
        schema::keep(&mut transaction, BUILDING, name, &what).await?;
        transaction.commit().await?;
        connection.close().await?;
        Ok(())
    }
}

/// Takes in a page of what is missing, no further than `to`; answers how many events that were.
async fn catch_up(
    log: &SharedLog,
    live: &mut LiveProjection,
    building: &mut PgConnection,
    built: &mut Checkpoint,
    to: u64,
) -> Result<usize, Error> {
    let mut page = log.read_all(built.position, PAGE_EVENTS_MAX).await?;
    page.truncate(page.partition_point(|event| event.position <= to));
    let events = page.len();
    while !page.is_empty() {
        let rest = page.split_off(page.len().min(BATCH_EVENTS_MAX));
        live.project(building, built, std::mem::replace(&mut page, rest)).await?;
    }
    Ok(events)
}

/// Puts what was built in the place of the serving views and answers its position; `None` where it has to be tried again.
async fn swap(
    log: &SharedLog,
    live: &mut LiveProjection,
    serving: &mut PgConnection,
    building: &mut PgConnection,
    built: &mut Checkpoint,
    what: RebuildScope,
) -> Result<Option<u64>, Error> {
    let mut transaction = schema::begin_swap(serving).await?;
    if swap_in(log, live, &mut transaction, building, built, what).await? {
        checkpoint::notify(&mut transaction, built.position).await?;
        transaction.commit().await?;
        Ok(Some(built.position))
    } else {
        // At once: until then nobody can move the views on.
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
) -> Result<bool, Error> {
    // The table and not the row: a projector that waited for the row would hold the table, which is dropped below. Its
    // readers go on.
    let still = sqlx::query("LOCK TABLE checkpoint IN SHARE ROW EXCLUSIVE MODE").execute(&mut *serving).await;
    if !schema::succeeded_or_locked(still.map(|_| ()))? {
        return Ok(false);
    }
    let served = read_checkpoint(&mut *serving).await?;
    let other_log = || Error::OtherLog { position: served.position };
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
        RebuildScope::All | RebuildScope::AllOfOtherLog => schema::replace(serving, BUILDING).await,
        // Beside the other views only at their very position.
        RebuildScope::One(_) if built.position != served.position => return Ok(false),
        RebuildScope::One(view) => schema::replace_view(serving, BUILDING, view).await,
    };
    if !schema::succeeded_or_locked(replaced)? {
        return Ok(false);
    }
    // Only now: while the swap may have to be tried again, what is built is moved on under the epoch that it began with.
    if !matches!(what, RebuildScope::One(_)) && !checkpoint::set_epoch(serving, served.epoch + 1).await? {
        return Err(Error::Fenced { epoch: served.epoch });
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
