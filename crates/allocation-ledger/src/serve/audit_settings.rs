//! The settings of the audit queue.

use clap::Args;
use event_log::SharedLog;
use sqlx::PgPool;

use crate::shared_settings::given_name;

/// The longest name of a service that the audit service takes, in characters.
const SERVICE_NAME_LEN_MAX: usize = 200;

/// Whether and where the audit service of HMPPS hears of commands and reads.
#[derive(Debug, Clone, Default, Args)]
pub struct AuditSettings {
    /// The queue of SQS of the audit service, by its name or URL: it gets each command that is
    /// recorded and each read of a person's data
    #[arg(long, env = "AUDIT_SQS_QUEUE_URL", value_name = "NAME|URL")]
    audit_queue: Option<String>,
    /// The region of that queue. Default: as of other queues
    #[arg(long, env = "AUDIT_SQS_REGION", value_name = "REGION")]
    audit_region: Option<String>,
    /// The name of the ledger in the messages to the audit service
    #[arg(long, env = "AUDIT_SERVICE_NAME", value_name = "NAME", default_value = "allocation-ledger", value_parser = parse_service_name)]
    audit_service_name: String,
}

impl AuditSettings {
    /// Whether a queue is named.
    pub(super) fn is_on(&self) -> bool {
        given_name(self.audit_queue.as_ref()).is_some()
    }

    /// The sender to the queue; `None` where none is named. Nothing is asked of SQS yet.
    pub(super) async fn open(&self, log: SharedLog, database: &PgPool) -> Option<hmpps::AuditSender> {
        let name = given_name(self.audit_queue.as_ref())?;
        let queue = hmpps::Queue::open_in(name, given_name(self.audit_region.as_ref())).await;
        Some(hmpps::AuditSender::new(log, database.clone(), queue, &self.audit_service_name))
    }
}

fn parse_service_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    match name.chars().count() {
        0 => Err("give a name, such as allocation-ledger".to_owned()),
        1..=SERVICE_NAME_LEN_MAX => Ok(name.to_owned()),
        _ => Err(format!("give a name of at most {SERVICE_NAME_LEN_MAX} characters")),
    }
}
