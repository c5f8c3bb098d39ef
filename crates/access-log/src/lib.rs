//! The access log: who read which person's data, kept in a Postgres schema of its own.
//!
//! | question | module |
//! |---|---|
//! | what does an entry say? | `entry` |
//! | how do requests hand in their entries, and when do they wait? | `recorder` |
//! | how do entries reach Postgres, and what if they do not? | `writer` |
//! | which statements write and read the table? | `statements` |
//! | which entries has the audit queue of HMPPS not had yet? | `audit` |
//! | who makes the schema, and who may do what with it? | `schema`, and the files in `migrations` |
//!
//! Promises: a request waits for Postgres only where [`RecordingMode::Required`] says so; the
//! memory that waiting entries take is bounded; reads whose entries could not be kept are counted,
//! and their number and times are an entry themselves; a repeated insert stores an entry once.
//!
//! Refuses to know: HTTP, the event log, and the questions that are asked.

mod audit;
mod entry;
mod recorder;
mod schema;
mod statements;
mod writer;

pub use audit::{AuditCheckpoint, AuditPosition, UNSENT_PAGE_MAX, UnsentEntries, mark_sent, read_unsent, unsent_lag_s};
pub use entry::{AccessEntry, LostReads, Reader, Shown};
pub use recorder::{AccessLog, NotKept, RecordingMode};
pub use schema::SCHEMA;
pub use statements::{
    AccessKey, AccessPage, AccessQuestion, KEPT_DAYS_MIN, StoredAccess, insert, read_entries, remove_old,
};
