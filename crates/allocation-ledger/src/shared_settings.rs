//! Settings that several subcommands share: flags with the same names as environment variables.
//! There is no file.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use domain::{event::RecordedBy, identifier::Username, prisoner::RecommendationPolicy};
use event_log::KnownAt;
use event_log_kurrentdb::{KurrentLog, NamingKey, NamingKeyError, StreamPrefix};
use http_api::instant::{DateOrInstant, parse_known_at};
use nix::unistd::Uid;

/// The heading in the help over the settings that say where the ledger is kept.
const PLACE: &str = "Place of the ledger";

/// Reads an identifier in any case: on a command line it is typed by hand.
///
/// # Errors
/// It has not the form of such an identifier.
pub fn identifier<T: FromStr>(text: &str) -> Result<T, T::Err> {
    text.trim().to_ascii_uppercase().parse()
}

/// Reads an address to listen on.
///
/// # Errors
/// It is no IP address with a port; the error shows one.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let port = text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).unwrap_or(8080);
        format!("give an IP address and a port, such as 127.0.0.1:{port}")
    })
}

/// The knowledge from which a question is to be answered.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct KnowledgeSettings {
    /// Leave out what was recorded after this position, instant or London date
    #[arg(long, value_name = "POSITION|INSTANT|DATE", value_parser = parse_known_at)]
    pub known_at: Option<KnownAt>,
}

/// The time that a question is about.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct QuestionTimeSettings {
    /// Ask about this instant, or the start of this London date, past or to come. Default: now
    #[arg(long, value_name = "INSTANT|DATE")]
    pub on: Option<DateOrInstant>,
    /// The knowledge that it is answered from.
    #[command(flatten)]
    pub knowledge: KnowledgeSettings,
}

/// The queue with the messages of HMPPS.
#[derive(Debug, Clone, Default, Args)]
pub struct MessageQueueSettings {
    /// The queue of SQS with the domain events of HMPPS, by its name or URL. Region, endpoint and
    /// credentials are found as by every program with the client of AWS
    #[arg(long, env = "DOMAIN_EVENTS_SQS_QUEUE_NAME", value_name = "NAME|URL")]
    domain_events_queue: Option<String>,
    /// Its dead-letter queue, by its name or URL
    #[arg(long, env = "DOMAIN_EVENTS_SQS_DLQ_NAME", value_name = "NAME|URL")]
    domain_events_dlq: Option<String>,
}

impl MessageQueueSettings {
    /// The queues; `None` where none is named. Nothing is asked of SQS yet.
    pub(crate) async fn open(&self) -> Option<hmpps::WatchedQueue> {
        let queue = given_name(self.domain_events_queue.as_ref())?;
        Some(hmpps::WatchedQueue::open(queue, given_name(self.domain_events_dlq.as_ref())).await)
    }

    /// Whether a queue is named.
    pub(crate) fn is_named(&self) -> bool {
        given_name(self.domain_events_queue.as_ref()).is_some()
    }
}

/// A name that is given, and is not empty.
pub(crate) fn given_name(setting: Option<&String>) -> Option<&str> {
    setting.map(|name| name.trim()).filter(|name| !name.is_empty())
}

/// Where the event log is kept.
#[derive(Debug, Clone, Default, Args)]
pub struct LogSettings {
    /// Directory of the embedded Postgres. Default: /var/lib/allocation-ledger for root,
    /// allocation-ledger in $XDG_DATA_HOME or ~/.local/share for others
    #[arg(long, env = "LEDGER_DATA_DIR", value_name = "DIR", help_heading = PLACE)]
    pub data_dir: Option<PathBuf>,
    /// Directory of the server programs `postgres` and `initdb`. Default: looked for
    #[arg(long, env = "LEDGER_POSTGRES_BIN", value_name = "DIR", help_heading = PLACE)]
    pub postgres_bin: Option<PathBuf>,
    /// The event log, `postgres://…`, `kurrentdb://…` or `esdb://…`. Default: in the embedded
    /// Postgres
    #[arg(long, env = "LEDGER_EVENT_STORE", value_name = "URL", hide_env_values = true, help_heading = PLACE)]
    pub event_store: Option<String>,
    /// The beginning of the names of the log's streams on a KurrentDB server
    #[arg(long, env = "LEDGER_STREAM_PREFIX", value_name = "PREFIX", default_value_t, help_heading = PLACE)]
    pub stream_prefix: StreamPrefix,
    /// The key from which the names of persons' streams on a KurrentDB server are made, 64
    /// hexadecimal digits. `prepare` makes one
    #[arg(long, env = "LEDGER_NAMING_KEY", value_name = "KEY", hide_env_values = true, help_heading = PLACE)]
    pub naming_key: Option<String>,
    /// Whether the log may be read without its naming key: whole, and its streams' names unchecked.
    #[arg(skip)]
    pub can_lack_naming_key: bool,
}

/// Where the event log and the views are kept.
#[derive(Debug, Clone, Default, Args)]
pub struct StoreSettings {
    /// The event log.
    #[command(flatten)]
    pub log: LogSettings,
    /// The database of the views, `postgres://…`. Default: in the embedded Postgres
    #[arg(long, env = "LEDGER_VIEWS", value_name = "URL", hide_env_values = true, help_heading = PLACE)]
    pub views: Option<String>,
}

impl StoreSettings {
    /// The settings of a separate ledger in a directory.
    #[must_use]
    pub fn in_dir(data_dir: PathBuf) -> Self {
        Self { log: LogSettings { data_dir: Some(data_dir), ..LogSettings::default() }, views: None }
    }

    /// Whether a store is in the embedded Postgres.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.log.event_store.is_none() || self.views.is_none()
    }
}

impl LogSettings {
    /// The data directory: the one given, else the usual one.
    ///
    /// # Errors
    /// None is given and the machine does not say where the user's data belongs.
    pub fn data_dir(&self) -> anyhow::Result<PathBuf> {
        if let Some(dir) = &self.data_dir {
            return Ok(dir.clone());
        }
        if Uid::effective().is_root() {
            return Ok(PathBuf::from("/var/lib/allocation-ledger"));
        }
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        match absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share"))) {
            Some(dir) => Ok(dir.join("allocation-ledger")),
            None => bail!("neither HOME nor XDG_DATA_HOME is set: say where the ledger is kept with --data-dir"),
        }
    }

    /// The log on the KurrentDB server that a URL names.
    ///
    /// # Errors
    /// It is no URL of a server, or the naming key is missing or none.
    pub fn kurrent_log(&self, url: &str) -> anyhow::Result<KurrentLog> {
        let key = self.naming_key()?;
        if key.is_none() {
            ensure!(self.can_lack_naming_key, NamingKeyError::Missing);
            tracing::warn!("no naming key is given, so the names of streams in the log that is read are not checked");
        }
        Ok(KurrentLog::new(url, &self.stream_prefix, key)?)
    }

    /// The naming key, where one is given.
    ///
    /// # Errors
    /// It is none.
    pub fn naming_key(&self) -> anyhow::Result<Option<NamingKey>> {
        let text = self.naming_key.as_deref().filter(|text| !text.is_empty());
        text.map(str::parse)
            .transpose()
            .context("read LEDGER_NAMING_KEY, or the file that LEDGER_NAMING_KEY_FILE names")
    }

    /// How the embedded Postgres is run.
    #[must_use]
    pub fn postgres_options(&self) -> embedded_postgres::Options {
        let options = embedded_postgres::Options::default();
        embedded_postgres::Options { binaries: self.postgres_bin.clone().or(options.binaries), ..options }
    }
}

/// How commands are decided.
#[derive(Debug, Clone, Args)]
pub struct CommandSettings {
    /// How the recommended kind of POM is worked out: from the tier alone, or from the tier and the
    /// risk of serious harm
    #[arg(long, env = "LEDGER_RECOMMENDATION_POLICY", value_enum, default_value_t = RecommendationSetting::Tier)]
    recommendation_policy: RecommendationSetting,
}

/// A way to work out the recommended kind of POM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RecommendationSetting {
    /// Tier A or B: a probation POM; other tiers: a prison POM.
    Tier,
    /// Tier A, or RoSH very high or high: a probation POM; RoSH unknown: none; else a prison POM.
    Rosh,
}

impl CommandSettings {
    /// The settings as arguments of `serve`.
    #[must_use]
    pub fn arguments(&self) -> [String; 2] {
        let policy = self.recommendation_policy.to_possible_value().expect("no value is skipped");
        ["--recommendation-policy".to_owned(), policy.get_name().to_owned()]
    }

    /// The settings in the form that the command side takes.
    #[must_use]
    pub fn command_settings(&self) -> command::ServiceSettings {
        command::ServiceSettings {
            clock: command::Clock::system(),
            recommendation_policy: self.recommendation_policy(),
        }
    }

    /// How the recommended kind of POM is worked out.
    #[must_use]
    pub fn recommendation_policy(&self) -> RecommendationPolicy {
        match self.recommendation_policy {
            RecommendationSetting::Tier => RecommendationPolicy::Tier,
            RecommendationSetting::Rosh => RecommendationPolicy::Rosh,
        }
    }
}

/// The recorder of the events that a tool records.
#[derive(Debug, Clone, Args)]
pub struct RecorderSettings {
    /// The username that events are recorded under, in any case, e.g. AB12345_GEN or an e-mail
    /// address. Default: the events say that no user was named
    #[arg(long, value_name = "USERNAME", value_parser = Username::read)]
    recorded_by: Option<Username>,
}

impl RecorderSettings {
    /// The recorder, with the client that the events name.
    #[must_use]
    pub fn recorded_by(&self, client: &str) -> RecordedBy {
        RecordedBy { username: self.recorded_by.clone(), client: client.to_owned(), auth_source: None }
    }
}
