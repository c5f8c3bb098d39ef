//! The settings of `serve`, and the roles that a process may have.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use domain::{caseload::TierWeights, prisoner::SuggestionSettings};
use http_api::TrustedProxies;

use super::{AccessLogSettings, AuditSettings, PagesSettings, PublisherSettings, ServerTlsSettings, SignOnSettings};
use crate::{look_up_settings::LookUpSettings, shared_settings};

/// The default for how far the views may be behind the log. They follow within milliseconds; a
/// rebuild swaps them within a second, and a projector takes over from another within some ten
/// seconds. A longer lag is worth an alarm.
pub const LAG_MAX_SECONDS: u64 = 30;

/// The default for the requests that a client may send in a second: more than one client has a use
/// for, and more than `bench` sends from one address.
pub const RATE_LIMIT: u32 = 50_000;

/// The settings of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeSettings {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, env = "LEDGER_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = shared_settings::listen_address)]
    pub listen: SocketAddr,
    /// Name under which clients reach the ledger, as in their URLs, without a port; may be given
    /// several times, or several with commas between them. Names of this machine alone
    /// (localhost, 127.0.0.1) count always
    #[arg(long = "host", env = "LEDGER_HOSTS", value_name = "NAME", value_delimiter = ',', value_parser = parse_host)]
    pub hosts: Vec<String>,
    /// Address of a proxy, or a range of addresses as 10.0.0.0/8, whose X-Forwarded-For says from
    /// which client a request comes; may be given several times, or several with commas between
    /// them. Limits then hold for each of its clients
    #[arg(long = "trusted-proxy", env = "LEDGER_TRUSTED_PROXIES", value_name = "ADDRESS", value_delimiter = ',')]
    pub trusted_proxies: Vec<String>,
    /// How many requests a client may send in a second, and twice as many at once; 0 for any number
    #[arg(long, env = "LEDGER_RATE_LIMIT", value_name = "REQUESTS", default_value_t = RATE_LIMIT)]
    pub rate_limit: u32,
    /// Who may use the ledger.
    #[command(flatten)]
    pub sign_on: SignOnSettings,
    /// How people sign on to the pages.
    #[command(flatten)]
    pub pages: PagesSettings,
    /// How clients speak to it.
    #[command(flatten)]
    pub tls: ServerTlsSettings,
    /// Who read which person's data.
    #[command(flatten)]
    pub access_log: AccessLogSettings,
    /// The role of this process
    #[arg(long, env = "LEDGER_ROLE", value_enum, default_value_t = Role::All)]
    pub role: Role,
    /// The messages that are taken in.
    #[command(flatten)]
    pub message_queue: shared_settings::MessageQueueSettings,
    /// The services that are asked what messages do not say.
    #[command(flatten)]
    pub look_ups: LookUpSettings,
    /// Which domain events it publishes.
    #[command(flatten)]
    pub publisher: PublisherSettings,
    /// Who hears of commands and reads.
    #[command(flatten)]
    pub audit: AuditSettings,
    /// Where the ledger is kept.
    #[command(flatten)]
    pub stores: shared_settings::StoreSettings,
    /// How commands are decided.
    #[command(flatten)]
    pub commands: shared_settings::CommandSettings,
    /// How much work a case is by the letter of its tier, for suggestions of a POM; a letter that
    /// is left out keeps its default
    #[arg(long, env = "LEDGER_TIER_WEIGHTS", value_name = "WEIGHTS", default_value_t)]
    pub tier_weights: TierWeights,
    /// How many seconds the views may be behind the log before a service that answers from them is
    /// not ready
    #[arg(long, env = "LEDGER_LAG_MAX", value_name = "SECONDS", default_value_t = LAG_MAX_SECONDS)]
    pub lag_max: u64,
    /// The product of HMPPS that the service belongs to, for /info
    #[arg(long, env = "PRODUCT_ID", value_name = "ID", default_value = "default")]
    pub product_id: String,
}

impl ServeSettings {
    /// The proxies whose word on their clients' addresses is taken.
    ///
    /// # Errors
    /// One of the texts is no address and no range.
    pub(super) fn trusted_proxies(&self) -> anyhow::Result<TrustedProxies> {
        TrustedProxies::parse(&self.trusted_proxies).context("--trusted-proxy")
    }

    /// How POMs are suggested for a case.
    pub(super) fn suggestion_settings(&self) -> SuggestionSettings {
        SuggestionSettings {
            recommendation_policy: self.commands.recommendation_policy(),
            tier_weights: self.tier_weights,
        }
    }

    /// How many requests a client may send in a second; `None` for any number.
    pub(super) fn requests_per_second(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.rate_limit)
    }
}

/// Reads a name of a host, or an address. An empty one counts as none.
fn parse_host(text: &str) -> Result<String, String> {
    let name = text.trim();
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    if let Ok(address) = address.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    if name.contains(['/', ':', '@', ' ', '[', ']']) {
        return Err("write the name alone, without scheme and port, e.g. ledger.example".to_owned());
    }
    Ok(name.to_owned())
}

/// The role of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Everything.
    All,
    /// Takes commands and follows up on them.
    Command,
    /// Keeps the views up with the log.
    Projector,
    /// Answers questions.
    Query,
    /// Takes in the domain events of HMPPS, publishes those of the ledger, and tells the audit
    /// service of commands and reads.
    Integration,
}

impl Role {
    /// The name in the settings.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    pub(super) fn commands(self) -> bool {
        matches!(self, Self::All | Self::Command)
    }

    pub(super) fn projects(self) -> bool {
        matches!(self, Self::All | Self::Projector)
    }

    pub(super) fn integrates(self) -> bool {
        matches!(self, Self::All | Self::Integration)
    }

    pub(super) fn answers(self) -> bool {
        matches!(self, Self::All | Self::Query)
    }
}
