//! `integration publish`: domain events of earlier positions, once more.

use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use crate::{serve::TopicSettings, shared_settings::StoreSettings, stdout::print_line, stores::Stores};

/// The settings of `integration publish`.
#[derive(Debug, Args)]
pub struct PublishSettings {
    /// The position after which events are published, up to where the serving publisher has come
    #[arg(long, value_name = "POSITION")]
    since: u64,
    /// Where, and with which links.
    #[command(flatten)]
    topic: TopicSettings,
    /// Where the ledger is kept.
    #[command(flatten)]
    stores: StoreSettings,
}

/// Sends the domain events of earlier positions.
///
/// # Errors
/// The ledger cannot be reached, no publisher has begun, or no topic is named.
pub(super) async fn publish(settings: &PublishSettings) -> anyhow::Result<()> {
    let arn = settings.topic.arn().context("name the topic with --domain-events-topic")?;
    Stores::with_existing(&settings.stores, async |stores| {
        let topic = hmpps::Topic::open(arn).await;
        let publisher = settings.topic.publisher(Arc::clone(&stores.log), &stores.views, Some(topic))?;
        let sent = publisher.publish_since(settings.since).await.context("publish domain events")?;
        print_line(&format!("{sent} messages were sent."))
    })
    .await
}
