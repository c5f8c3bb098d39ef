//! The settings of the access log.

use access_log::{KEPT_DAYS_MIN, RecordingMode};
use anyhow::bail;
use clap::{Args, ValueEnum, value_parser};

/// How long an entry is kept by default: a yearly audit finds each read once, and can still look
/// into it a year later.
const KEPT_DAYS: u32 = 730;

/// How reads of persons' data are recorded, and for how long.
#[derive(Debug, Clone, Args)]
pub struct AccessLogSettings {
    /// Whether a read of a person's data is answered if its entry in the access log cannot be
    /// stored
    #[arg(long, env = "LEDGER_ACCESS_LOG", value_enum, default_value_t)]
    access_log: AccessLogMode,
    /// Where a query service writes the access log if --views names a replica, which takes no
    /// writes: the URL of the same database on its primary. Default: as --views
    #[arg(long, env = "LEDGER_ACCESS_LOG_URL", value_name = "URL", hide_env_values = true)]
    access_log_url: Option<String>,
    /// For how many days a projector keeps the entries of the access log
    #[arg(long, env = "LEDGER_ACCESS_LOG_KEPT_FOR", value_name = "DAYS", default_value_t = KEPT_DAYS, value_parser = value_parser!(u32).range(i64::from(KEPT_DAYS_MIN)..))]
    access_log_kept_for: u32,
}

/// How a read and its entry depend on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum AccessLogMode {
    /// It is refused: each read is answered only after its entry is stored
    Required,
    /// It is answered; its entry waits, and those that find no room are counted
    #[default]
    BestEffort,
    /// No read has an entry; only where there is no sign-on
    Off,
}

impl Default for AccessLogSettings {
    fn default() -> Self {
        Self { access_log: AccessLogMode::default(), access_log_url: None, access_log_kept_for: KEPT_DAYS }
    }
}

impl AccessLogSettings {
    /// How reads are recorded.
    ///
    /// # Errors
    /// They are not, and there is a sign-on: a ledger that lets people in says what they saw.
    pub(super) fn mode(&self, has_sign_on: bool) -> anyhow::Result<RecordingMode> {
        Ok(match self.access_log {
            AccessLogMode::Required => RecordingMode::Required,
            AccessLogMode::BestEffort => RecordingMode::BestEffort,
            AccessLogMode::Off if has_sign_on => bail!(
                "--access-log off is for trials without a sign-on, and one is configured: choose best-effort, which \
                 slows no read, or required"
            ),
            AccessLogMode::Off => RecordingMode::Off,
        })
    }

    /// Where it is written, if that is not the database that is asked.
    pub(super) fn url(&self) -> Option<&str> {
        self.access_log_url.as_deref()
    }

    /// For how many days entries are kept.
    pub(super) fn kept_days(&self) -> u32 {
        self.access_log_kept_for
    }
}
