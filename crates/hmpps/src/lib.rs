//! Messages from the rest of HMPPS and to it, an anti-corruption layer: no other crate knows SQS,
//! SNS or the messages of the estate.
//!
//! | question | module |
//! |---|---|
//! | what does a message say? | `notification` |
//! | what is to be done with it, by what is known of the case? | `plan` |
//! | how is it recorded once, or parked? | `intake` |
//! | where do parked messages wait? | `parked`, `schema` |
//! | which messages are decided again when an earlier one comes late? | `passed` |
//! | what does a message about a case in Delius mean? | `inquiry` |
//! | what do other services know of a person? | `lookup` |
//! | why is nothing taken in for now? | `outage` |
//! | how are messages received and deleted? | `consumer`, `queue` |
//! | how are SQS and SNS reached, and their failures told? | `aws` |
//! | what was given up, and how does it come back? | `dead_letters` |
//! | who may look at parked messages over HTTP? | `http`, `queue_admin` |
//! | what is published of the ledger's decisions, and when? | `publisher` |
//! | what does the audit service hear of commands and reads? | `audit` |
//! | which process publishes, or sends to the audit service? | `sender_lock` |
//! | how is the log followed meanwhile? | `background_follower` |
//! | where do the ledger and the estate differ, after messages were lost? | [`reconcile`] |
//!
//! To take in a further type of message: its fact in `notification`, what follows from it in
//! `plan`, its line in `docs/integration.md`.

mod audit;
mod aws;
mod background_follower;
mod consumer;
mod dead_letters;
mod http;
mod inquiry;
mod intake;
mod lookup;
mod metrics;
mod notification;
mod outage;
mod parked;
mod passed;
mod plan;
mod publisher;
mod queue;
mod queue_admin;
pub mod reconcile;
mod schema;
mod sender_lock;

pub use audit::{AuditRole, AuditSender, AuditState};
pub use consumer::{Consumer, ConsumerStatus};
pub use dead_letters::{QueueState, WatchedQueue};
pub use http::{openapi, router};
pub use intake::Intake;
pub use lookup::{
    Absence, CaseRecord, ClientCredentials, LookUpAddresses, LookUpClient, LookUpError, LookUpService, LookUps,
    PrisonerRecord, RecordedRosh, TierRecord, TierVersion, ToldDate,
};
pub use notification::{
    Deletion, DeletionReason, DeliusFact, Fact, Movement, Notification, PrisonerUpdate, READ_TYPES, Unreadable,
};
pub use outage::Outage;
pub use parked::{ParkedMessage, ParkedMessages};
pub use plan::{IntakeOutcome, MessagePlan, ParkReason, PassReason, plan};
pub use publisher::{MessageType, Publication, Publisher, PublisherError, PublisherStatus, Topic};
pub use queue::{Queue, QueueError};
pub use schema::SCHEMA;
