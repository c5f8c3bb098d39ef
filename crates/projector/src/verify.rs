//! Compares every row of every view with a replay of the log.
//!
//! 1. The stored rows are read in one snapshot, with its position, and kept as two hashes each: of
//!    the key and of the whole row. At the same time the log is read up to that position into an
//!    [`EventBuffer`](crate::event_buffer::EventBuffer).
//! 2. Partition after partition, the histories give rows, and each is looked for among those read.
//! 3. Differences are checked a second time, with nothing hashed: the histories concerned are
//!    folded up to the position of a new snapshot, their rows put into temporary tables, and
//!    Postgres tells which rows differ. So events that are recorded meanwhile cause no false
//!    report. The streams aside are checked so, too: their rows must be refused once more.
//!
//! The replay shares nothing with the stored rows but the definition of the rows in the crate
//! `views`.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    num::NonZero,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use domain::Stream;
use event_log::SharedLog;
use futures::{
    FutureExt as _,
    future::{BoxFuture, try_join, try_join_all},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, Postgres, Row as _, Transaction};

use views::{
    CopyRows, EncodedRows, Owner, VIEWS, VIEWS_VERSION, View,
    checkpoint::{self, Checkpoint},
    stream_aside::StreamAside,
};

use crate::{
    BuildError, ProjectorError,
    any_history::AnyHistory,
    blocking::run_blocking,
    checkpoint::check_is_of,
    event_buffer::BufferPartition,
    pg_copy::{RawRow, RowCutter, each_row},
    rebuild::{BuildObserver, BuildProgress, THREADS_MAX, buffer_events},
    rows, schema, set_aside,
};

/// The table of the streams that the views leave out.
const STREAM_ASIDE: &str = "stream_aside";

/// Cases and prisons that are checked a second time in one transaction.
const SECOND_LOOK_MAX: usize = 200;

/// A row that is not as the log says.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The table: a view, or `stream_aside`.
    pub table: &'static str,
    /// The columns of its key.
    pub key: &'static [&'static str],
    /// The row as it is stored, a JSON object by column; `None` where it is missing.
    pub stored: Option<String>,
    /// The row as the log says; `None` where there should be no such row.
    pub expected: Option<String>,
}

/// The outcome of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyOutcome {
    /// The position up to which the log was replayed, which is the views' own.
    pub position: u64,
    /// Where the log ended: events that the views lack were not compared.
    pub head: u64,
    /// Rows that were compared.
    pub rows: u64,
    /// Rows that are not as the log says.
    pub differences: u64,
    /// Cases and prisons that the views leave out, by stream.
    pub aside: Vec<StreamAside>,
}

/// Compares the views in `schema`, or one of them, with the log; `report` is told of each
/// difference.
///
/// # Errors
/// [`BuildError::OtherVersion`], or the log or the database fails: an event that cannot be read is
/// named by its position.
pub fn verify<'a>(
    log: &'a SharedLog,
    views: &'a PgPool,
    schema: &'a str,
    only: Option<View>,
    progress: BuildObserver<'a>,
    report: &'a mut (dyn FnMut(Difference) + Send),
) -> BoxFuture<'a, Result<VerifyOutcome, BuildError>> {
    async move {
        schema::check_exists(views, schema).await?;
        let mut connection =
            PgConnection::connect_with(&views.connect_options()).await.map_err(ProjectorError::from)?;
        let selected: Vec<View> = VIEWS.into_iter().filter(|view| only.is_none_or(|only| only == *view)).collect();

        // Views of another version may lack a table that is locked below.
        let (transaction, checkpoint) = snapshot(&mut connection, schema, &[]).await?;
        transaction.rollback().await.map_err(ProjectorError::from)?;
        if checkpoint.version != VIEWS_VERSION {
            return Err(BuildError::OtherVersion { found: checkpoint.version });
        }
        check_is_of(checkpoint, log).await?;
        let (mut transaction, checkpoint) = snapshot(&mut connection, schema, &selected).await?;
        let position = checkpoint.position;
        let reading = async {
            let mut stored = StoredHashes::default();
            for view in &selected {
                stored.read(&mut transaction, *view).await?;
            }
            let aside = set_aside::read(&mut *transaction).await?;
            // Ended as soon as the rows are read: an old snapshot would keep Postgres from tidying
            // up.
            transaction.commit().await?;
            Ok::<_, ProjectorError>((stored, aside))
        };
        let buffering =
            buffer_events(log, position, |read| progress(BuildProgress::Reading { position: read, to: position }));
        let ((stored, aside), (buffer, last)) = try_join(reading, buffering).await?;
        // They may have been put in place since.
        let is_other = (last.position, last.recorded_at) != (position, checkpoint.recorded_at);
        if is_other || checkpoint.event_id.is_some_and(|id| last.event_id != Some(id)) {
            return Err(ProjectorError::OtherLog { position }.into());
        }

        let rows = stored.rows.len() as u64;
        let (stored, mut suspects) = compare(stored, buffer.into_partitions(), only, progress).await?;
        suspects.extend(stored.find_unexpected(&mut connection, schema, &selected).await?);
        suspects.extend(aside.iter().map(|row| Subject::of_stream(&row.stream)));
        let mut differences = 0;
        let suspects: Vec<Subject> = suspects.into_iter().collect();
        for subjects in suspects.chunks(SECOND_LOOK_MAX) {
            for difference in second_look(log, &mut connection, schema, &selected, subjects).await? {
                differences += 1;
                report(difference);
            }
        }
        connection.close().await.map_err(ProjectorError::from)?;
        Ok(VerifyOutcome { position, head: log.head().await?, rows, differences, aside })
    }
    .boxed()
}

/// Begins a transaction that sees the views in `schema` as they are now, and goes on seeing them
/// so.
async fn snapshot<'c>(
    connection: &'c mut PgConnection,
    schema: &str,
    selected: &[View],
) -> Result<(Transaction<'c, Postgres>, Checkpoint), ProjectorError> {
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").execute(&mut *transaction).await?;
    schema::choose_here(&mut transaction, schema).await?;
    // Before the snapshot is taken: a table that a rebuild puts in place after it would look empty.
    let views: String = selected.iter().map(|view| format!(", {view}")).collect();
    sqlx::raw_sql(AssertSqlSafe(format!("LOCK TABLE checkpoint{views} IN ACCESS SHARE MODE")))
        .execute(&mut *transaction)
        .await?;
    let checkpoint = checkpoint::read(&mut *transaction).await?;
    Ok((transaction, checkpoint))
}

/// The rows that are stored, each as the hash of its key and, by that, the hash of all of it.
#[derive(Debug, Default)]
struct StoredHashes {
    rows: HashMap<u64, HashedRow, BuildHasherDefault<KeyHasher>>,
    /// The owners of rows whose keys have the same hash; one in millions of ledgers has any.
    ambiguous: BTreeSet<Subject>,
}

#[derive(Debug)]
struct HashedRow {
    hash: u64,
    /// Whether the log says that there should be a row with this key.
    is_expected: AtomicBool,
}

/// Hashes keys that are hashes already.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl std::hash::Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }
    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// The case, the prison or the person that a row is of, by its first column, which may be no
/// prisoner number or prison code at all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Case(String),
    Prison(String),
    Contacts(String),
}

impl Subject {
    fn of_row(view: View, row: &RawRow) -> Self {
        let text = String::from_utf8_lossy(row.fields().next().flatten().unwrap_or_default()).into_owned();
        match view.owner() {
            Owner::Case => Self::Case(text),
            Owner::Prison => Self::Prison(text),
            Owner::Contacts => Self::Contacts(text),
        }
    }

    fn of_stream(stream: &Stream) -> Self {
        match stream {
            Stream::Prisoner(number) => Self::Case(number.to_string()),
            Stream::Prison(code) => Self::Prison(code.to_string()),
            Stream::Contacts(number) => Self::Contacts(number.to_string()),
        }
    }

    /// The stream that its rows follow from; `None` where the ledger can have no stream of that
    /// name.
    fn stream(&self) -> Option<Stream> {
        match self {
            Self::Case(text) => text.parse().ok().map(Stream::Prisoner),
            Self::Prison(text) => text.parse().ok().map(Stream::Prison),
            Self::Contacts(text) => text.parse().ok().map(Stream::Contacts),
        }
    }

    fn owner(&self) -> Owner {
        match self {
            Self::Case(_) => Owner::Case,
            Self::Prison(_) => Owner::Prison,
            Self::Contacts(_) => Owner::Contacts,
        }
    }

    fn into_text(self) -> String {
        match self {
            Self::Case(text) | Self::Prison(text) | Self::Contacts(text) => text,
        }
    }
}

fn hash(view: View, bytes: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one((view, bytes))
}

impl StoredHashes {
    async fn read(&mut self, connection: &mut PgConnection, view: View) -> Result<(), ProjectorError> {
        let query = format!("SELECT {} FROM {view}", view.column_list());
        each_row(connection, &query, |row| {
            let key = hash(view, row.first(view.key().len()));
            let stored = HashedRow { hash: hash(view, row.bytes()), is_expected: AtomicBool::new(false) };
            if self.rows.insert(key, stored).is_some() {
                self.ambiguous.insert(Subject::of_row(view, &row));
            }
        })
        .await?;
        Ok(())
    }

    /// Whether there is just such a row.
    fn has(&self, view: View, key: &[u8], row: &[u8]) -> bool {
        let Some(stored) = self.rows.get(&hash(view, key)) else { return false };
        stored.is_expected.store(true, Ordering::Relaxed);
        stored.hash == hash(view, row)
    }

    /// The owners of rows that the log has no reason for. Reads the tables again where there are
    /// any.
    async fn find_unexpected(
        mut self,
        connection: &mut PgConnection,
        schema: &str,
        selected: &[View],
    ) -> Result<BTreeSet<Subject>, ProjectorError> {
        let mut subjects = std::mem::take(&mut self.ambiguous);
        self.rows.retain(|_, row| !row.is_expected.load(Ordering::Relaxed));
        if self.rows.is_empty() {
            return Ok(subjects);
        }
        let (mut transaction, _) = snapshot(connection, schema, selected).await?;
        for &view in selected {
            let query = format!("SELECT {} FROM {view}", view.column_list());
            each_row(&mut transaction, &query, |row| {
                if self.rows.contains_key(&hash(view, row.first(view.key().len()))) {
                    subjects.insert(Subject::of_row(view, &row));
                }
            })
            .await?;
        }
        transaction.rollback().await?;
        Ok(subjects)
    }
}

/// Looks up the rows of all histories; returns the owners whose rows differ.
async fn compare(
    stored: StoredHashes,
    partitions: Vec<BufferPartition>,
    only: Option<View>,
    progress: BuildObserver<'_>,
) -> Result<(StoredHashes, BTreeSet<Subject>), ProjectorError> {
    let parts = partitions.len();
    let partitions = Arc::new(Mutex::new(partitions));
    let stored = Arc::new(stored);
    let (done, mut finished) = tokio::sync::mpsc::unbounded_channel();
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
    let comparing = try_join_all((0..threads).map(|_| {
        let (partitions, stored, done) = (Arc::clone(&partitions), Arc::clone(&stored), done.clone());
        run_blocking(move || {
            let mut suspects = BTreeSet::new();
            let next = || partitions.lock().unwrap_or_else(PoisonError::into_inner).pop();
            while let Some(partition) = next() {
                for history in partition.histories()? {
                    if !is_stored(&stored, &history, only) {
                        suspects.insert(Subject::of_stream(&history.stream()));
                    }
                }
                // The receiver is gone once another thread has failed, or the caller has given up.
                if done.send(()).is_err() {
                    break;
                }
            }
            Ok::<_, ProjectorError>(suspects)
        })
    }));
    drop(done);
    let counting = async {
        let mut compared = 0;
        while finished.recv().await.is_some() {
            compared += 1;
            progress(BuildProgress::Comparing { compared, parts });
        }
        Ok(())
    };
    let (suspects, ()) = try_join(comparing, counting).await?;
    let stored = Arc::into_inner(stored).expect("the threads that shared it have ended");
    Ok((stored, suspects.into_iter().flatten().collect()))
}

/// Whether all rows of a history are there just so.
fn is_stored(stored: &StoredHashes, history: &AnyHistory, only: Option<View>) -> bool {
    let mut encoded = EncodedRows::of(only);
    rows::add(history, &mut encoded);
    let mut all = true;
    for (view, copy) in encoded {
        for row in rows_of(copy) {
            // Not `&&`: each row's key is to be ticked off.
            all &= stored.has(view, row.first(view.key().len()), row.bytes());
        }
    }
    all
}

fn rows_of(copy: CopyRows) -> impl Iterator<Item = RawRow> {
    let mut cutter = RowCutter::default();
    cutter.push(&copy.into_bytes());
    std::iter::from_fn(move || cutter.next())
}

/// Compares the rows of some streams exactly, in a snapshot of their own.
async fn second_look(
    log: &SharedLog,
    connection: &mut PgConnection,
    schema: &str,
    selected: &[View],
    subjects: &[Subject],
) -> Result<Vec<Difference>, ProjectorError> {
    let (mut transaction, Checkpoint { position, .. }) = snapshot(connection, schema, selected).await?;
    let streams: Vec<Stream> = subjects.iter().filter_map(Subject::stream).collect();
    let histories = set_aside::read_histories(log, &streams, position).await?;
    // Temporary tables come first on the search path, so from here on a table's bare name means the
    // expected rows. They refuse the rows that the views refuse.
    for table in VIEWS.map(View::name).into_iter().chain([STREAM_ASIDE]) {
        let sql = format!(
            "CREATE TEMPORARY TABLE {table} (LIKE {schema}.{table} INCLUDING CONSTRAINTS INCLUDING INDEXES) ON COMMIT DROP"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
    }
    let aside = set_aside::write(&histories, subjects.len(), &mut transaction).await?;
    set_aside::insert(&aside, &mut transaction).await?;
    // By kind: a person's case and contacts have the same key, and one of them may be no subject.
    let keys_of = |owner: Owner| -> Vec<String> {
        subjects.iter().filter(|subject| subject.owner() == owner).cloned().map(Subject::into_text).collect()
    };
    let names: Vec<String> = streams.iter().map(Stream::to_string).collect();
    let mut differences = Vec::new();
    let tables = selected.iter().map(|view| (view.name(), view.key(), keys_of(view.owner())));
    for (table, key, owners) in tables.chain([(STREAM_ASIDE, &["stream"][..], names)]) {
        let (columns, first) = (key.join(", "), key[0]);
        let sql = format!(
            "SELECT to_jsonb(stored)::text AS stored, to_jsonb(expected)::text AS expected
               FROM (SELECT * FROM {schema}.{table} WHERE {first} = ANY($1)) AS stored
               FULL JOIN {table} AS expected USING ({columns})
              WHERE stored IS DISTINCT FROM expected
              ORDER BY {columns}"
        );
        for row in sqlx::query(AssertSqlSafe(sql)).bind(owners).fetch_all(&mut *transaction).await? {
            let read = |column| -> Result<Option<String>, ProjectorError> { Ok(row.try_get(column)?) };
            differences.push(Difference { table, key, stored: read("stored")?, expected: read("expected")? });
        }
    }
    transaction.rollback().await?;
    Ok(differences)
}
