//! The settings of the publisher of domain events.

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use sqlx::PgPool;

use crate::stores::{self, read_only};

/// Whether, where and with which links domain events are published.
#[derive(Debug, Clone, Default, Args)]
pub struct PublisherSettings {
    /// Where and with which links.
    #[command(flatten)]
    pub topic: TopicSettings,
    /// Whether domain events are sent
    #[arg(long, env = "LEDGER_DOMAIN_EVENTS_MODE", value_enum, default_value_t)]
    domain_events_mode: DomainEventsMode,
}

/// Where domain events are published, and with which links.
#[derive(Debug, Clone, Default, Args)]
pub struct TopicSettings {
    /// The topic of SNS to which the ledger publishes domain events, by its ARN. Region, endpoint
    /// and credentials are found as by every program with the client of AWS
    #[arg(long, env = "DOMAIN_EVENTS_TOPIC_ARN", value_name = "ARN")]
    domain_events_topic: Option<String>,
    /// The URL under which consumers of domain events ask the ledger, for the links in them
    #[arg(long, env = "LEDGER_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// A read replica of the views from which query services answer: a domain event goes out only
    /// when each replica has it; may be given several times, or several with spaces between them
    #[arg(
        long = "views-replica",
        env = "LEDGER_VIEWS_REPLICAS",
        value_name = "URL",
        value_delimiter = ' ',
        hide_env_values = true
    )]
    views_replicas: Vec<String>,
}

/// Whether domain events are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum DomainEventsMode {
    /// They are, if a topic is named
    #[default]
    Send,
    /// They are worked out and counted, and none is sent, nor later what happened meanwhile
    Shadow,
}

impl PublisherSettings {
    /// Whether there is anything to do for a publisher.
    pub(super) fn is_on(&self) -> bool {
        self.domain_events_mode == DomainEventsMode::Shadow || self.topic.arn().is_some()
    }

    /// The publisher that these settings describe; `None` where there is nothing to do for it.
    ///
    /// # Errors
    /// The URL for links, or that of a replica, is missing or none.
    pub(super) async fn open(
        &self,
        log: event_log::SharedLog,
        database: &PgPool,
    ) -> anyhow::Result<Option<hmpps::Publisher>> {
        Ok(match self.domain_events_mode {
            DomainEventsMode::Shadow => Some(self.topic.publisher(log, database, None)?),
            DomainEventsMode::Send => match self.topic.arn() {
                Some(arn) => Some(self.topic.publisher(log, database, Some(hmpps::Topic::open(arn).await))?),
                None => None,
            },
        })
    }
}

impl TopicSettings {
    /// The ARN of the topic, where one is named.
    #[must_use]
    pub fn arn(&self) -> Option<&str> {
        self.domain_events_topic.as_deref().map(str::trim).filter(|arn| !arn.is_empty())
    }

    /// A publisher to a topic, or in shadow mode.
    ///
    /// # Errors
    /// The URL for links, or that of a replica, is missing or none.
    pub fn publisher(
        &self,
        log: event_log::SharedLog,
        database: &PgPool,
        topic: Option<hmpps::Topic>,
    ) -> anyhow::Result<hmpps::Publisher> {
        let url = self.public_url.as_deref().map(str::trim).filter(|url| !url.is_empty());
        let url = url.context(
            "domain events have links to the ledger: say with --public-url under which URL their consumers ask it",
        )?;
        if !["https://", "http://"].iter().any(|scheme| url.starts_with(scheme)) {
            anyhow::bail!("--public-url must be a URL such as https://ledger.example");
        }
        let mut views = vec![read_only(database)];
        for replica in self.views_replicas.iter().filter(|url| !url.is_empty()) {
            views.push(read_only(&stores::lazy_pool("--views-replica", Some(replica))?));
        }
        Ok(hmpps::Publisher::new(log, database.clone(), views, url, topic))
    }
}
