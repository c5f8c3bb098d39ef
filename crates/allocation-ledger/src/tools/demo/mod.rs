//! `demo`: a small realistic prison on a temporary ledger, to look around in.
//!
//! All events are recorded by the command side, so the demonstration keeps every rule. The same day
//! gives the same cases: they are laid out by number, not drawn at random, so that the commands
//! printed always work.
//!
//! The modules `cases` and `roster` are one idea and depend on each other: the cases go to the POMs
//! of the roster, and the roster's NOMIS contacts are of these cases.

mod cases;
mod roster;

use std::{io::Write as _, net::SocketAddr};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use command::{Clock, Request, Service};
use domain::{Command, Confinement, caseload::TierWeights, event::RecordedBy, identifier::CommandId};
use event_log::request_digest;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;

use crate::{look_up_settings::LookUpSettings, serve, shared_settings, temporary_directory::temporary_directory};

/// Namespace of the demonstration's command ids.
const NAMESPACE: Uuid = Uuid::from_u128(0x6a1d_9c70_51b7_4b0e_8f0b_9d7c_3e5a_d001);

/// Cases filled in side by side; each is a chain of commands that wait for one another.
const CASES_AT_ONCE: usize = 32;

/// The settings of `demo`.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoSettings {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, env = "LEDGER_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = shared_settings::listen_address)]
    listen: SocketAddr,
    /// How commands are decided.
    #[command(flatten)]
    commands: shared_settings::CommandSettings,
}

/// Serves a temporary ledger with the demonstration in it until a signal ends it, and removes it.
///
/// # Errors
/// It cannot start, or a part of it fails.
pub async fn run(settings: &DemoSettings) -> anyhow::Result<()> {
    let directory = temporary_directory("allocation-ledger-demo-")?;
    let running = serve::ServingLedger::start(&serve::ServeSettings {
        listen: settings.listen,
        hosts: Vec::new(),
        trusted_proxies: Vec::new(),
        rate_limit: serve::RATE_LIMIT,
        sign_on: serve::SignOnSettings::default(),
        pages: serve::PagesSettings::default(),
        tls: serve::ServerTlsSettings::default(),
        message_queue: shared_settings::MessageQueueSettings::default(),
        look_ups: LookUpSettings::default(),
        publisher: serve::PublisherSettings::default(),
        audit: serve::AuditSettings::default(),
        access_log: serve::AccessLogSettings::default(),
        role: serve::Role::All,
        stores: shared_settings::StoreSettings::in_dir(directory.path().to_owned()),
        commands: settings.commands.clone(),
        tier_weights: TierWeights::default(),
        lag_max: serve::LAG_MAX_SECONDS,
        product_id: "default".to_owned(),
    })
    .await?;
    let service = running.service().context("find the command side")?;
    fill(service, Clock::system().now()).await?;
    running.wait_for_views().await?;
    // A reader of standard output that has gone is no failure.
    let _ = writeln!(std::io::stdout(), "{}", invitation(running.url()));
    running.run_until_signal().await
}

/// Records the demonstration's two years up to `now`.
///
/// # Errors
/// A command is refused (a mistake in the demonstration) or the store is out of reach.
pub async fn fill(service: &Service, now: DateTime<Utc>) -> anyhow::Result<()> {
    for step in roster::onboarding(now) {
        record(service, step).await?;
    }
    stream::iter(cases::all(now))
        .map(|steps| async move {
            for step in steps {
                record(service, step).await?;
            }
            anyhow::Ok(())
        })
        .buffer_unordered(CASES_AT_ONCE)
        .try_collect::<()>()
        .await?;
    for step in roster::afterwards(now) {
        record(service, step).await?;
    }
    Ok(())
}

/// The commands to try first, which work as pasted.
#[must_use]
pub fn invitation(base_url: &str) -> String {
    let prison = roster::PRISON;
    let example = cases::EXAMPLE;
    let waiting = cases::WAITING;
    [
        format!("In the browser:         {base_url}/pages"),
        format!("  A story of 3 minutes: be HOMD_LEI, open Leeds, and allocate {waiting}; look at {example} and its"),
        "                        timeline; then be AUDITOR, and ANALYST (docs/pages.md has each step)".to_owned(),
        format!("Who is responsible?     curl {base_url}/prisoners/{example}/responsibility"),
        format!("Everything, with voids: curl {base_url}/prisoners/{example}/history"),
        format!("Who waits for a POM?    curl {base_url}/prisons/{prison}/unallocated"),
        format!("Which handovers come?   curl '{base_url}/prisons/{prison}/handovers?within=30d'"),
        format!(
            "Allocate one of them:   curl -X POST {base_url}/prisoners/{waiting}/allocations \
             -H 'Content-Type: application/json' -d '{{\"prison\":\"{prison}\",\"pom\":{{\"staffId\":{}}}}}'",
            roster::EXAMPLE_STAFF_ID
        ),
        format!("All of the API:         {base_url}/docs"),
    ]
    .join("\n")
}

/// One command of the demonstration.
struct DemoStep {
    /// Identifies the command: its id is derived from this.
    label: String,
    at: DateTime<Utc>,
    command: Command,
}

impl DemoStep {
    fn new(label: impl Into<String>, at: DateTime<Utc>, command: Command) -> Self {
        Self { label: label.into(), at, command }
    }

    fn request(self) -> Request {
        let command_id = CommandId::of_content(NAMESPACE, &self.label);
        Request {
            request_digest: request_digest("demo", &self.label, &()).into(),
            command: self.command,
            command_id,
            recorded_by: recorded_by(),
            correlation_id: command_id.0,
            causation_id: None,
            provenance: None,
            effective_at: Some(self.at),
            if_match: None,
            confinement: Confinement::default(),
        }
    }
}

fn recorded_by() -> RecordedBy {
    RecordedBy {
        username: Some("HOMD_LEI".parse().expect("a username by its format")),
        client: "allocation-ledger demo".to_owned(),
        auth_source: None,
    }
}

async fn record(service: &Service, step: DemoStep) -> anyhow::Result<()> {
    let label = step.label.clone();
    service
        .execute(step.request())
        .await
        .map_err(|error| anyhow::Error::new(error).context(format!("record \"{label}\" of the demonstration")))?;
    Ok(())
}

/// `days` before `now`, at a time of day in office hours that differs from case to case.
fn days_before(now: DateTime<Utc>, days: i64, index: usize) -> DateTime<Utc> {
    let minutes = i64::try_from(index * 37 % 480).unwrap_or(0);
    now - TimeDelta::days(days) - TimeDelta::minutes(minutes)
}
