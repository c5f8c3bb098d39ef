//! `copy`: the event log of one ledger, copied into another store event by event.
//!
//! 1. The target must be empty or hold the beginning of the source's log, from an earlier copy that
//!    was not finished. A target that holds anything else is left alone, and nothing is copied.
//! 2. The rest is appended in the order of the source, with the events' ids, bytes and recorded
//!    times. While a batch is appended, the one before it is read back.
//! 3. Both are read from the start and compared.
//!
//! To a KurrentDB server, many appends are in flight. However the copy ends, the target holds the
//! beginning of the source's log; or this run, or the next one when it compares, says that it is no
//! copy any more.
//!
//! Only positions differ in the target. The views are derived and not copied: a ledger that serves
//! the target builds them.

use std::{path::PathBuf, pin::pin, time::Duration};

use access_log::Shown;
use anyhow::{Context as _, bail};
use clap::Args;
use domain::identifier::EventId;
use event_log::{LogError, NewEvent, OrderedError, OrderedEvent, RecordedEvent, SharedLog};
use event_log_kurrentdb::StreamPrefix;
use futures::{StreamExt as _, TryStreamExt as _};
use indicatif::ProgressBar;
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    interrupt::{interruption, unless_interrupted},
    progress::{PERCENT, style},
    shared_settings,
    stdout::print_line,
    stores::{LogStore, OrderedWriter},
    tools::read_recording::record_read,
};

/// Events appended at once: enough to spread the cost of a commit, few enough to stop soon when
/// interrupted.
const BATCH_EVENTS: usize = 1_000;

/// Batches read ahead of the appending or the comparison.
const BATCHES_AHEAD: usize = 4;

const READING: &str = "read the log to copy";

/// The settings of `copy`.
#[derive(Debug, Args)]
pub struct CopySettings {
    /// The log to copy: `postgres://…`, `kurrentdb://…`, or the data directory of a ledger
    #[arg(long, value_name = "URL|DIR")]
    from: String,
    /// The log to copy into, empty or with an unfinished copy in it; a data directory is made where
    /// there is none
    #[arg(long, value_name = "URL|DIR")]
    to: String,
    /// The beginning of the names of the streams, where the log to copy is on a KurrentDB server
    #[arg(long, value_name = "PREFIX", default_value_t)]
    from_stream_prefix: StreamPrefix,
    /// The beginning of the names of the streams, where the log to copy into is on a KurrentDB
    /// server
    #[arg(long, value_name = "PREFIX", default_value_t)]
    to_stream_prefix: StreamPrefix,
    /// The naming key of the log to copy, where that is on a KurrentDB server. Without it the log
    /// is copied all the same, and the names of its streams are not checked
    #[arg(long, env = "LEDGER_FROM_NAMING_KEY", value_name = "KEY", hide_env_values = true)]
    from_naming_key: Option<String>,
    /// The naming key of the log to copy into, where that is on a KurrentDB server. It may be a new
    /// one
    #[arg(long, env = "LEDGER_TO_NAMING_KEY", value_name = "KEY", hide_env_values = true)]
    to_naming_key: Option<String>,
    /// Keep one append in flight to a KurrentDB server, for one that does not keep the order of
    /// many; slower by far
    #[arg(long)]
    one_at_a_time: bool,
    /// Directory of the server programs `postgres` and `initdb`. Default: looked for
    #[arg(long, env = "LEDGER_POSTGRES_BIN", value_name = "DIR")]
    postgres_bin: Option<PathBuf>,
    /// The database of the views of the ledger to copy, whose access log gets an entry of the copy.
    /// Default: in the embedded Postgres of --from
    #[arg(long, env = "LEDGER_VIEWS", value_name = "URL", hide_env_values = true)]
    views: Option<String>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

impl CopySettings {
    fn source(&self) -> shared_settings::LogSettings {
        let log = self.log(&self.from, &self.from_stream_prefix, &self.from_naming_key);
        shared_settings::LogSettings { can_lack_naming_key: true, ..log }
    }

    fn target(&self) -> shared_settings::LogSettings {
        self.log(&self.to, &self.to_stream_prefix, &self.to_naming_key)
    }

    fn log(&self, place: &str, prefix: &StreamPrefix, key: &Option<String>) -> shared_settings::LogSettings {
        let (data_dir, event_store) = match place.contains("://") {
            true => (None, Some(place.to_owned())),
            false => (Some(PathBuf::from(place)), None),
        };
        shared_settings::LogSettings {
            data_dir,
            postgres_bin: self.postgres_bin.clone(),
            event_store,
            stream_prefix: prefix.clone(),
            naming_key: key.clone(),
            can_lack_naming_key: false,
        }
    }
}

/// Copies the log.
///
/// # Errors
/// The target holds something else, the two differ at the end, one of them is out of reach, or it
/// is interrupted.
pub async fn run(settings: &CopySettings) -> anyhow::Result<()> {
    let (from, to) = (&settings.from, &settings.to);
    let (from_prefix, to_prefix) = (&settings.from_stream_prefix, &settings.to_stream_prefix);
    if normalise_place(from) == normalise_place(to) && from_prefix == to_prefix {
        bail!("--from and --to name the same log");
    }
    let source = LogStore::open_existing(&settings.source()).await.context("open the log to copy")?;
    let source = source.context("there is no ledger where --from says: is that the place meant?")?;
    let target = settings.target();
    let CopyOutcome { events, found, since } = source
        .close_after(async |source| {
            let log = settings.source();
            let access_log =
                source.access_log(&shared_settings::StoreSettings { log, views: settings.views.clone() })?;
            let end = source.log.head().await.context(READING)?;
            record_read(access_log.as_ref(), "copy", Shown::events("copy of the log".to_owned(), 0, Some(end))).await;
            let target = LogStore::open(&target).await.context("open the log to copy into")?;
            target.close_after(async |target| copy(settings, source, target, end).await).await
        })
        .await?;
    print_line(&if settings.json {
        json!({ "events": events, "copied": events - found, "verified": true, "recordedSince": since }).to_string()
    } else {
        let since = if since { "; more was recorded there since: the same again copies it" } else { "" };
        format!(
            "copied {} events to the {found} that stood there, and compared all {events}: the same events, the same bytes, \
             the same order{since}",
            events - found
        )
    })
}

/// The outcome of a copy.
struct CopyOutcome {
    /// Events that are in both logs.
    events: u64,
    /// Events that were in the target before.
    found: u64,
    /// Whether more was recorded in the source meanwhile.
    since: bool,
}

async fn copy(settings: &CopySettings, source: &LogStore, target: &LogStore, end: u64) -> anyhow::Result<CopyOutcome> {
    let bar = ProgressBar::new(end);
    bar.set_style(style(PERCENT));
    bar.enable_steady_tick(Duration::from_millis(200));
    let writer = if settings.one_at_a_time { target.one_at_a_time_writer() } else { target.ordered_writer() };
    let outcome = copy_to(&source.log, &target.log, writer, end, &bar).await;
    bar.finish_and_clear();
    let (events, found) = outcome?;
    let since = source.log.head().await.context(READING)? > end;
    Ok(CopyOutcome { events, found, since })
}

async fn copy_to(
    source: &SharedLog,
    target: &SharedLog,
    writer: OrderedWriter,
    end: u64,
    bar: &ProgressBar,
) -> anyhow::Result<(u64, u64)> {
    bar.set_prefix("comparing");
    let found = unless_interrupted(compare(source, target, end, bar)).await?;
    let Some(found) = found else { return Err(interruption("nothing was copied yet")) };
    if let Some(differs) = found.differs {
        bail!(
            "the log to copy into holds something else: {differs}. Copy into an empty one, or into one that an unfinished copy \
             of this log has left"
        );
    }

    bar.set_prefix("copying");
    append(source, target, writer, end, &found, bar).await?;

    bar.set_prefix("verifying");
    let both = unless_interrupted(compare(source, target, end, bar)).await?;
    let Some(both) = both else { return Err(interruption("all is copied and not compared: run the same again")) };
    match both {
        CommonBeginning { differs: None, after, .. } if after == end => Ok((both.events, found.events)),
        CommonBeginning { differs, .. } => {
            let differs = differs.unwrap_or_else(|| "it ends earlier".to_owned());
            bail!("the copy differs from the log that was copied: {differs}. Do not use it")
        }
    }
}

/// Appends what the target lacks, batch by batch.
async fn append(
    source: &SharedLog,
    target: &SharedLog,
    mut writer: OrderedWriter,
    end: u64,
    found: &CommonBeginning,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let mut batches = EventBatches::read(source, found.after, end);
    let (mut events, mut target_end) = (found.events, found.target_after);
    let mut appended = AppendedBatch { after: target_end, ids: Vec::new() };
    let mut signalled = pin!(unless_interrupted(std::future::pending::<anyhow::Result<()>>()));
    let is_interrupted = loop {
        let batch = tokio::select! {
            biased;
            _ = &mut signalled => break true,
            batch = batches.next() => batch?,
        };
        let Some(last) = batch.last().map(|last| last.position) else { break false };
        let places: Vec<u64> = batch.iter().map(|event| event.position).collect();
        let ordered: Vec<OrderedEvent> = batch.into_iter().map(into_ordered).collect();
        let (written, checked) = tokio::join!(writer.append(target_end, &ordered), appended.check_alone(target, 0));
        checked?;
        let ids = ordered.iter().map(|one| one.event.event_id).collect();
        appended = AppendedBatch { after: target_end, ids };
        target_end = written.map_err(|error| explain_append_error(error, events, &places))?;
        events += ordered.len() as u64;
        show(bar, last, events);
    };
    // Nothing is appended any more: another event at the end is another writer's.
    appended.check_alone(target, 1).await?;
    match is_interrupted {
        true => Err(interruption(&format!("{events} events are copied; the same again copies the rest"))),
        false => Ok(()),
    }
}

/// The batch that was appended last.
struct AppendedBatch {
    /// The position in the target after which it was appended.
    after: u64,
    ids: Vec<EventId>,
}

impl AppendedBatch {
    /// Checks that no other event has come between these and, of those that follow, among the next
    /// `further`. A store that checks each stream by itself does not notice that.
    async fn check_alone(&self, target: &SharedLog, further: usize) -> anyhow::Result<()> {
        let Self { after, ids } = self;
        let found = target
            .read_all(*after, ids.len() + further)
            .await
            .context("read back what was copied; the same again goes on")?;
        if !found.iter().map(|event| event.event_id).eq(ids.iter().copied()) {
            bail!(
                "another program records in the log to copy into, after position {after}: it is no copy any more, do not \
                 use it as one"
            );
        }
        Ok(())
    }
}

/// Says what to do about an append that failed: go on, wait, find the other writer, or begin anew
/// elsewhere. `places` has the positions of the events in the source.
fn explain_append_error(error: OrderedError, events: u64, places: &[u64]) -> anyhow::Error {
    let context = match &error {
        OrderedError::Overtaken { index, .. } => {
            let place =
                places.get(*index).map_or_else(String::new, |place| format!(" at position {place} of the log to copy"));
            format!(
                "the log to copy into is no copy any more, from the event{place} on: copy into another place, such as one \
                 with another --to-stream-prefix. With --one-at-a-time this cannot happen"
            )
        }
        OrderedError::Moved { .. } | OrderedError::Revision { .. } => {
            "another program records in the log to copy into, or the log to copy leaves out events of this stream"
                .to_owned()
        }
        OrderedError::RecordedTime { .. }
        | OrderedError::TooLarge { .. }
        | OrderedError::Log(LogError::Damaged { .. }) => {
            format!("{events} events or more are copied, and the next cannot be")
        }
        OrderedError::Log(LogError::Unavailable(_)) => {
            format!("write to the log to copy into: {events} events or more are copied, the same again goes on")
        }
    };
    anyhow::Error::new(error).context(context)
}

/// Makes names of the same place equal: a directory has several names, and so has a scheme.
fn normalise_place(name: &str) -> String {
    match name.split_once("://") {
        None => std::fs::canonicalize(name).map_or_else(|_| name.to_owned(), |path| path.display().to_string()),
        Some((scheme, rest)) => {
            let scheme = scheme.replace("esdb", "kurrentdb").replace("postgresql", "postgres");
            format!("{scheme}://{rest}")
        }
    }
}

fn into_ordered(event: RecordedEvent) -> OrderedEvent {
    let RecordedEvent { stream, revision, event_id, type_name, recorded_at, metadata, data, .. } = event;
    OrderedEvent { stream, revision, event: NewEvent { event_id, type_name, recorded_at, metadata, data } }
}

/// How far two logs are the same.
struct CommonBeginning {
    /// Events that are the same, from the start.
    events: u64,
    /// The position of the last of them in the source.
    after: u64,
    /// And in the target.
    target_after: u64,
    /// How they differ then, where it is not that the target ends.
    differs: Option<String>,
}

/// Compares the target with the source up to a position there, until one of them ends.
async fn compare(
    source: &SharedLog,
    target: &SharedLog,
    end: u64,
    bar: &ProgressBar,
) -> anyhow::Result<CommonBeginning> {
    let mut same = CommonBeginning { events: 0, after: 0, target_after: 0, differs: None };
    let (mut sources, mut targets) = (EventBatches::read(source, 0, end), EventBatches::read(target, 0, u64::MAX));
    let (mut source, mut target) = (Vec::new().into_iter(), Vec::new().into_iter());
    loop {
        if target.len() == 0 {
            target = targets.next().await.context("read the log to copy into")?.into_iter();
        }
        let Some(copy) = target.next() else { return Ok(same) };
        if source.len() == 0 {
            source = sources.next().await.context("read the log to copy")?.into_iter();
            show(bar, same.after, same.events);
        }
        let copied = source.next();
        let position = copy.position;
        same.differs = match &copied {
            None => Some(format!("it goes on at position {position}, where the log to copy has ended")),
            Some(event) if RecordedEvent { position, ..event.clone() } != copy => {
                Some(format!("its position {position} is not what stands at {}", event.position))
            }
            Some(_) => None,
        };
        let (Some(event), None) = (copied, &same.differs) else { return Ok(same) };
        (same.events, same.after, same.target_after) = (same.events + 1, event.position, position);
    }
}

fn show(bar: &ProgressBar, position: u64, events: u64) {
    bar.set_position(position);
    bar.set_message(format!("{events} events"));
}

/// A log's events from after one position up to another, read ahead.
struct EventBatches(mpsc::Receiver<anyhow::Result<Vec<RecordedEvent>>>);

impl EventBatches {
    fn read(log: &SharedLog, after: u64, end: u64) -> Self {
        let (read, reading) = mpsc::channel(BATCHES_AHEAD);
        let log = log.clone();
        tokio::spawn(async move {
            let mut pages = log.read_pages(after, end).map_err(anyhow::Error::from);
            while let Some(page) = pages.next().await {
                let batches = match page {
                    Ok(page) => page.chunks(BATCH_EVENTS).map(|batch| Ok(batch.to_vec())).collect(),
                    Err(error) => vec![Err(error)],
                };
                for batch in batches {
                    // The receiver is gone where the two logs differ, or after an interruption.
                    if read.send(batch).await.is_err() {
                        return;
                    }
                }
            }
        });
        Self(reading)
    }

    /// The next events; none at the end.
    async fn next(&mut self) -> anyhow::Result<Vec<RecordedEvent>> {
        self.0.recv().await.unwrap_or_else(|| Ok(Vec::new()))
    }
}
