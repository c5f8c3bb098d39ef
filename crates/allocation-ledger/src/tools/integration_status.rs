//! `integration status`: the queues, the messages that wait, and how far the publisher and the
//! audit queue have come.

use access_log::{AuditCheckpoint, UnsentEntries};
use anyhow::Context as _;
use clap::Args;
use command::Clock;
use domain::text::Visible;
use hmpps::{ParkedMessages, Publication, QueueState};
use serde_json::{Value, json};

use crate::{
    shared_settings::{MessageQueueSettings, StoreSettings},
    stdout::print_line,
    stores::Stores,
};

/// The settings of `integration status`.
#[derive(Debug, Args)]
pub struct IntegrationStatusSettings {
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// The queue, if messages are taken in.
    #[command(flatten)]
    queue: MessageQueueSettings,
    /// Where the ledger is kept.
    #[command(flatten)]
    stores: StoreSettings,
}

const UNPREPARED: &str = "read how far messages have come: is this ledger of an earlier version? `allocation-ledger prepare` brings it up to date";

/// How far the publisher is.
struct PublisherState {
    publication: Publication,
    /// The age of the first event that is not published, in seconds.
    lag_s: i64,
    /// The last position of the log.
    log_end: u64,
    /// The position of the views; `None` where they cannot be asked.
    views: Option<u64>,
}

/// How far the audit queue has come.
struct AuditProgress {
    checkpoint: AuditCheckpoint,
    /// The age of the first command that it has not had, in seconds.
    lag_s: i64,
    /// The last position of the log.
    log_end: u64,
    /// The reads that it has not had.
    reads: UnsentEntries,
}

/// Shows the state.
///
/// # Errors
/// The ledger cannot be reached. A queue that does not answer is shown without its counts.
pub(super) async fn show(settings: &IntegrationStatusSettings) -> anyhow::Result<()> {
    let queue = match settings.queue.open().await {
        Some(queue) => Some(queue.state().await),
        None => None,
    };
    Stores::with_existing(&settings.stores, async |stores| {
        let counting = ParkedMessages::new(stores.views.clone());
        let (parked, deletions) = counting.count().await.context("count the parked messages")?;
        let publisher = read_publisher(stores).await?;
        let audit = read_audit(stores).await?;
        if settings.json {
            let (publisher, audit) = (publisher.as_ref().map(publisher_document), audit.as_ref().map(audit_document));
            let document = json!({
                "queue": queue, "parked": parked, "deletions": deletions, "publisher": publisher, "audit": audit,
            });
            return print_line(&document.to_string());
        }
        let lines = [
            publisher.map_or_else(|| "No publisher has begun.".to_owned(), publisher_text),
            queue.map_or_else(|| "No queue is named.".to_owned(), queue_text),
            format!("Messages that wait for a person: {parked}; about deletions: {deletions}"),
            audit.map_or_else(|| "Nothing is sent to the audit queue.".to_owned(), audit_text),
        ];
        print_line(&Visible(&lines.join("\n")).to_string())
    })
    .await
}

async fn read_publisher(stores: &Stores) -> anyhow::Result<Option<PublisherState>> {
    let Some(publication) = Publication::read(&stores.views).await.context(UNPREPARED)? else { return Ok(None) };
    let (lag_s, log_end) = read_lag(stores, publication.last.position).await?;
    let views = projector::position(&stores.views).await.ok();
    Ok(Some(PublisherState { publication, lag_s, log_end, views }))
}

async fn read_audit(stores: &Stores) -> anyhow::Result<Option<AuditProgress>> {
    let Some(checkpoint) = AuditCheckpoint::read(&stores.views).await.context(UNPREPARED)? else { return Ok(None) };
    let (lag_s, log_end) = read_lag(stores, checkpoint.last.position).await?;
    let reads = UnsentEntries::count(&stores.views).await.context("count the reads that are not sent")?;
    Ok(Some(AuditProgress { checkpoint, lag_s, log_end, reads }))
}

/// The age in seconds of the first event after a position, and the last position of the log.
async fn read_lag(stores: &Stores, position: u64) -> anyhow::Result<(i64, u64)> {
    let log_end = stores.log.head().await.context("find the end of the log")?;
    let behind = stores.log.read_all(position, 1).await.context("read the log")?;
    let lag_s = behind.first().map_or(0, |first| (Clock::system().now() - first.recorded_at).num_seconds().max(0));
    Ok((lag_s, log_end))
}

fn audit_document(progress: &AuditProgress) -> Value {
    let AuditProgress { checkpoint, lag_s, log_end, reads } = progress;
    json!({"position": checkpoint.last.position, "logEnd": log_end, "lagSeconds": lag_s, "readsUnsent": reads.count,
        "readsLagSeconds": reads.lag_s.floor(), "waitsFor": checkpoint.waits_for})
}

fn audit_text(progress: AuditProgress) -> String {
    let AuditProgress { checkpoint, lag_s, log_end, reads: UnsentEntries { count, lag_s: reads_lag_s } } = progress;
    let waits = checkpoint.waits_for.map(|reason| format!("\nThe sender waits: {reason}")).unwrap_or_default();
    let position = checkpoint.last.position;
    format!(
        "The audit queue has had commands up to position {position} of {log_end}, {lag_s} s behind; {count} reads wait, \
         {reads_lag_s:.0} s behind.{waits}"
    )
}

fn publisher_document(state: &PublisherState) -> Value {
    let PublisherState { publication, lag_s, log_end, views } = state;
    json!({"position": publication.last.position, "logEnd": log_end, "viewsPosition": views, "lagSeconds": lag_s,
        "mode": mode(publication), "handoverDay": publication.handover_day, "waitsFor": publication.waits_for})
}

fn publisher_text(state: PublisherState) -> String {
    let PublisherState { publication, lag_s, log_end, views } = state;
    let views = views.map_or_else(|| "unknown".to_owned(), |position| position.to_string());
    let (position, mode, day) = (publication.last.position, mode(&publication), publication.handover_day);
    let waits = publication.waits_for.map(|reason| format!("\nThe publisher waits: {reason}")).unwrap_or_default();
    format!(
        "The publisher (mode {mode}) has come to position {position} of {log_end}, {lag_s} s behind; the views to {views}.\n\
         Handovers are published up to {day}.{waits}"
    )
}

fn mode(publication: &Publication) -> &'static str {
    if publication.is_shadow { "shadow" } else { "send" }
}

fn queue_text(state: QueueState) -> String {
    let count = |messages: Option<u64>| messages.map_or("unknown".to_owned(), |messages| messages.to_string());
    let given_up = state.dlq_name.map(|name| format!("; given up, on {name}: {}", count(state.messages_on_dlq)));
    format!(
        "Messages on the queue {}: {}; at work: {}{}",
        state.queue_name,
        count(state.messages_on_queue),
        count(state.messages_in_flight),
        given_up.unwrap_or_default()
    )
}
