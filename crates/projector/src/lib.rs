//! From the event log to the Postgres views that `query` answers from.
//!
//! | module | knows |
//! |---|---|
//! | `rows` | which rows a case or a prison has, given its history: pure, the one definition that everything here shares |
//! | `views` | one module a table: its columns and every statement that touches it |
//! | `copy` | how rows are written so that Postgres takes them in with `COPY` |
//! | `folding` | histories, put together event by event |
//! | `live` | replaces the rows of what a batch of events touched, and moves the checkpoint, in one transaction |
//! | `rebuild` | reads the log once, and fills a second schema with the rows of everything |
//! | `shelf` | keeps millions of events small until all of a history's are there |
//! | `schema` | makes the schema, drops left-overs, swaps a rebuilt one in |
//! | `run` | one active projector a database, stand-bys, outages, stopping at what cannot be read |
//!
//! Promises: the rows are a function of the log's prefix, whatever the batches and restarts; rows and checkpoint change
//! in one transaction; readers never see half a view; a projector that has lost its lock cannot write; an event that
//! cannot be read is never skipped.
//!
//! Refuses to know: the clock, how the log is stored, what anybody asks of the views.
//!
//! To add a column or a view: `migrations/views.sql` with its comment, the row in `rows`, the table's module in `views`,
//! and raise [`VIEWS_VERSION`]; the projector then rebuilds at its next start.

mod copy;
mod error;
mod folding;
mod live;
mod rebuild;
mod rows;
mod run;
mod schema;
mod shelf;
mod views;

pub use error::Error;
pub use run::{Settings, Status, Stopped, run};
pub use schema::{READING_ROLES, SCHEMA, VIEWS_VERSION, migrate};
pub use views::checkpoint::CHANNEL;
