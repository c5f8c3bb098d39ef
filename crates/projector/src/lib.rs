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
//! | `build` | views built by hand: the serving ones anew beside a projector that goes on, or as of a past position |
//! | `copy_out` | rows as Postgres gives them with `COPY` |
//! | `verify` | compares every row with a replay of the log |
//! | `status` | how far the views have come, how large they are |
//! | `shelf` | keeps millions of events small until all of a history's are there |
//! | [`export`] | views and the log, taken away as CSV, JSON lines and Parquet |
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

mod build;
mod copy;
mod copy_out;
mod error;
pub mod export;
mod folding;
mod live;
mod rebuild;
mod rows;
mod run;
mod schema;
mod shelf;
mod status;
mod verify;
mod views;

pub use build::{AsOf, BuildError, Rebuild, as_of_schemas, build_as_of, drop_unfinished, rebuild};
pub use error::Error;
pub use rebuild::Progress;
pub use run::{Settings, Status, Stopped, run};
pub use schema::{OWNING_ROLE, READING_ROLES, SCHEMA, VIEWS_VERSION, migrate, prepare};
pub use status::{ViewStatus, Views, position, status};
pub use verify::{Difference, Verified, verify};
pub use views::{UnknownView, VIEWS, View, checkpoint::CHANNEL};
