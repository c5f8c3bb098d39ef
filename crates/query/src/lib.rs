//! The query side: answers over HTTP from the views and from the log's history.
//!
//! | question | module |
//! |---|---|
//! | what do the views hold, and which SQL asks them? | `present` |
//! | what did the ledger know then, and what happened to a case? | [`past`] |
//! | which of the log's events does a reader get? | [`feed`] |
//! | how do many look-ups at once stay quick? | `case_lookups` |
//! | how does a caller get an answer that includes its own write? | `checkpoint_watch` |
//! | are the views there, and far enough? | `health` |
//! | what does `GET …` take and answer? | `http` |
//! | how does a read come into the access log? | `http::read_recording` |
//! | what does a tool ask of the cases of a prison? | `prison_cases` |
//! | what do handover dates come to, with nothing recorded? | [`handover_dates`] |
//!
//! It writes nothing but the access log, which names the reader of each person's data: its sessions
//! on the views are read-only. Every answer says how far it goes in the log,
//! read in the same statement as its rows, so that it never claims more than it holds. `projector`
//! derives and `domain` decides; this crate only answers.
//!
//! To add an answer: its SQL in the module of `present` that owns the table, one file with its
//! types, description and handler in `http/`, which says whom the answer shows, one line in the
//! list of routes of `http/mod.rs`, its test in `tests/it/answers/`.

mod case_lookups;
mod checkpoint_watch;
mod error;
pub mod feed;
pub mod handover_dates;
mod health;
mod http;
pub mod past;
mod present;
mod prison_cases;
mod state;

pub use error::QueryError;
pub use http::{
    case_item, openapi, recorded_read, responsibility_at, responsibility_period, router, shown_by_access_log,
};
pub use prison_cases::{PrisonCases, ViewsCondition, prison_cases, views_condition};
pub use state::{QueryState, connect};
