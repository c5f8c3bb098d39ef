//! `integration`: the messages of HMPPS that the ledger could not take in, and what lost ones leave
//! open.

use access_log::Shown;
use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use command::Service;
use domain::{identifier::PrisonerNumber, london, text::Visible};
use hmpps::{Intake, ParkReason, ParkedMessage, ParkedMessages, WatchedQueue};
use serde_json::json;

use super::{integration_status, publishing, read_recording::record_read, reconcile};
use crate::{
    look_up_settings::LookUpSettings,
    shared_settings::{CommandSettings, MessageQueueSettings, StoreSettings},
    stdout::{print_line, table},
    stores::{Stores, read_only},
};

/// Messages that are listed at a time.
const PAGE_ROWS: i64 = 500;

/// The subcommands of `integration`.
#[derive(Debug, Subcommand)]
pub enum IntegrationCommand {
    /// List the messages that wait for a person, the oldest first
    Parked(ListParkedSettings),
    /// Try to take in messages that wait, as after a case was put right
    Retry(RetrySettings),
    /// Decide that nothing is to be recorded of a message
    Dismiss(DismissSettings),
    /// Show the queues, what waits for a person, and how far the publisher and the audit queue have
    /// come
    Status(integration_status::IntegrationStatusSettings),
    /// Send the messages that were given up back to the queue
    RetryDlq(RetryDlqSettings),
    /// Send the domain events of earlier positions, as of the time before the publisher began
    Publish(publishing::PublishSettings),
    /// Compare a prison with prisoner search, probation and the contacts in NOMIS, and record what
    /// is safe to record
    ///
    /// Exit status 0 when both agree, or nothing is left to a person; 3 when differences remain; 1
    /// when a file or the ledger cannot be read.
    Reconcile(Box<reconcile::ReconcileSettings>),
}

/// The settings of `integration parked`.
#[derive(Debug, Args)]
pub struct ListParkedSettings {
    /// List the messages about people whose data other services have deleted, instead of the others
    #[arg(long)]
    deletions: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Where the ledger is kept.
    #[command(flatten)]
    stores: StoreSettings,
}

/// The settings of `integration retry`.
#[derive(Debug, Args)]
pub struct RetrySettings {
    /// The ids of the messages, as `parked` lists them. Default: all that wait
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Where the ledger is kept.
    #[command(flatten)]
    stores: StoreSettings,
    /// How commands are decided.
    #[command(flatten)]
    commands: CommandSettings,
    /// The services that are asked what messages do not say.
    #[command(flatten)]
    look_ups: LookUpSettings,
}

/// The settings of `integration dismiss`.
#[derive(Debug, Args)]
pub struct DismissSettings {
    /// The id of the message, as `parked` lists it
    #[arg(value_name = "ID")]
    id: String,
    /// The username that decides it
    #[arg(long, value_name = "USERNAME")]
    recorded_by: Option<String>,
    /// Where the ledger is kept.
    #[command(flatten)]
    stores: StoreSettings,
}

/// The settings of `integration retry-dlq`.
#[derive(Debug, Args)]
pub struct RetryDlqSettings {
    /// The queue.
    #[command(flatten)]
    queue: MessageQueueSettings,
}

/// Runs a subcommand.
///
/// # Errors
/// The ledger cannot be reached, or no such message waits.
pub async fn run(command: &IntegrationCommand) -> anyhow::Result<()> {
    match command {
        IntegrationCommand::Parked(settings) => list(settings).await,
        IntegrationCommand::Retry(settings) => retry(settings).await,
        IntegrationCommand::Dismiss(settings) => dismiss(settings).await,
        IntegrationCommand::Status(settings) => integration_status::show(settings).await,
        IntegrationCommand::RetryDlq(settings) => retry_dead_letters(settings).await,
        IntegrationCommand::Publish(settings) => publishing::publish(settings).await,
        IntegrationCommand::Reconcile(settings) => reconcile::run(settings).await,
    }
}

async fn list(settings: &ListParkedSettings) -> anyhow::Result<()> {
    Stores::with_existing(&settings.stores, async |stores| {
        let reason = settings.deletions.then_some(ParkReason::Deletion);
        let messages = all_parked(stores, reason).await?;
        let named = messages.iter().flat_map(|message| PrisonerNumber::all_in(&message.detail));
        record_read(Some(&stores.views), "integration parked", Shown::prisoners(&named.collect::<Vec<_>>())).await;
        if settings.json {
            return messages.iter().try_for_each(|message| print_line(&document(message).to_string()));
        }
        if messages.is_empty() {
            return print_line("No message waits.");
        }
        let mut shown = table(&["Id", "Parked", "Type", "Reason", "Why", "Tries"]);
        shown.add_rows(messages.iter().map(cells));
        print_line(&Visible(&shown.to_string()).to_string())
    })
    .await
}

async fn retry(settings: &RetrySettings) -> anyhow::Result<()> {
    Stores::with_existing(&settings.stores, async |stores| {
        let service = Service::new(std::sync::Arc::clone(&stores.log), settings.commands.command_settings());
        let parked = ParkedMessages::new(stores.views.clone());
        let intake = Intake::new(service, parked, read_only(&stores.views), settings.look_ups.open()?);
        let ids = match &settings.ids[..] {
            [] => all_parked(stores, None).await?.into_iter().map(|message| message.id).collect(),
            ids => ids.to_vec(),
        };
        let mut failures = Vec::new();
        for id in ids {
            match intake.retry(&id).await {
                Ok(Some(outcome)) => print_line(&format!("{id} {}", outcome.word()))?,
                // Another has taken it in, or dismissed it, since they were listed.
                Ok(None) if settings.ids.is_empty() => {}
                Ok(None) => failures.push(format!("no parked message {id} waits: `integration parked` lists them")),
                Err(outage) => failures.push(format!("take in the message {id}: {outage}")),
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(anyhow!(failures.join("; "))) }
    })
    .await
}

async fn dismiss(settings: &DismissSettings) -> anyhow::Result<()> {
    Stores::with_existing(&settings.stores, async |stores| {
        let parked = ParkedMessages::new(stores.views.clone());
        let DismissSettings { id, recorded_by, .. } = settings;
        if !parked.dismiss(id, recorded_by.as_deref()).await.context("dismiss the message")? {
            bail!("no parked message {id} waits: `integration parked` lists them");
        }
        print_line(&format!("{id} DISMISSED"))
    })
    .await
}

async fn retry_dead_letters(settings: &RetryDlqSettings) -> anyhow::Result<()> {
    let retried = open_queue(&settings.queue).await?.retry_dead_letters().await.context("send messages back")?;
    let retried = retried.context("name the dead-letter queue with --domain-events-dlq")?;
    print_line(&format!("Messages that went back to the queue: {retried}"))
}

async fn open_queue(settings: &MessageQueueSettings) -> anyhow::Result<WatchedQueue> {
    settings.open().await.context("name the queue with --domain-events-queue")
}

/// All messages that wait for a reason; for any but a deletion where it is absent.
async fn all_parked(stores: &Stores, reason: Option<ParkReason>) -> anyhow::Result<Vec<ParkedMessage>> {
    let parked = ParkedMessages::new(stores.views.clone());
    let mut messages: Vec<ParkedMessage> = Vec::new();
    loop {
        let after = messages.last().map(ParkedMessage::key);
        let page = parked.list(reason, after.as_ref(), PAGE_ROWS).await;
        let page = page.context(
            "read the parked messages: is this ledger of an earlier version? `allocation-ledger serve` prepares it",
        )?;
        if page.is_empty() {
            return Ok(messages);
        }
        messages.extend(page);
    }
}

fn document(message: &ParkedMessage) -> serde_json::Value {
    let ParkedMessage { id, event_type, reason, detail, parked_at, tries } = message;
    json!({"id": id, "eventType": event_type, "reason": reason, "detail": detail, "parkedAt": parked_at,
        "tries": tries})
}

fn cells(message: &ParkedMessage) -> [String; 6] {
    [
        message.id.clone(),
        london::clock(message.parked_at),
        message.event_type.clone().unwrap_or_default(),
        message.reason.clone(),
        message.detail.clone(),
        message.tries.to_string(),
    ]
}
