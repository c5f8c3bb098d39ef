//! Projects the event log into the Postgres views (read models) that `query` answers from.
//!
//! | module | knows |
//! |---|---|
//! | `live` | replaces the rows that a batch of events touches, with the checkpoint |
//! | `set_aside` | finds the streams whose rows Postgres refuses, and leaves them out |
//! | `rebuild` | reads the log once, and fills a second schema with the rows of everything |
//! | `rebuild_by_hand` | builds views by hand: the serving ones anew, or as of a past position |
//! | `rows` | deletes and writes the rows of cases and prisons, as `views` defines them |
//! | `pg_copy` | rows to and from Postgres with `COPY` |
//! | `checkpoint` | moves the checkpoint, and fences projectors that have lost their lock |
//! | `any_history` | histories, built event by event |
//! | `blocking` | runs long work on threads that may block |
//! | `event_buffer` | keeps millions of events small until all of a history's are there |
//! | `verify` | compares every row with a replay of the log |
//! | `views_status` | how far the views have come, how large they are |
//! | [`export`] | views and the log, taken away as CSV, JSON lines and Parquet |
//! | `schema` | makes the schemas, drops left-overs |
//! | `swap` | puts filled views in the place of the serving ones |
//! | `run` | one active projector a database, stand-bys, outages, stopping and going on |
//!
//! Promises: the rows are a function of the log's prefix, whatever the batches and restarts; rows
//! and checkpoint change in one transaction; readers never see half a view; a projector that has
//! lost its lock cannot write; an event that cannot be read is never skipped; a stream that the
//! views leave out is named in them.
//!
//! Refuses to know: the clock, how the log is stored, and which questions the views answer.
//!
//! To add a column or a view: see the crate `views`. Nothing changes here.

mod any_history;
mod blocking;
mod checkpoint;
mod error;
mod event_buffer;
pub mod export;
mod live;
mod pg_copy;
mod rebuild;
mod rebuild_by_hand;
mod rows;
mod run;
mod schema;
mod set_aside;
mod swap;
mod verify;
mod views_status;

pub use checkpoint::CHANNEL;
pub use error::ProjectorError;
pub use rebuild::{BuildObserver, BuildProgress};
pub use rebuild_by_hand::{
    AsOfSchema, BuildError, BuiltViews, RebuildScope, as_of_schemas, build_as_of, drop_unfinished, rebuild,
};
pub use run::{FatalStop, ProjectorSettings, Status, StoppedStream, run};
pub use schema::{OWNING_ROLE, READING_ROLES, SCHEMA, migrate, prepare};
pub use set_aside::STREAMS_ASIDE_MAX;
pub use verify::{Difference, VerifyOutcome, verify};
pub use views::{UnknownView, VIEWS, VIEWS_VERSION, View, stream_aside::StreamAside};
pub use views_status::{ViewStatus, ViewsStatus, position, status, streams_aside};
