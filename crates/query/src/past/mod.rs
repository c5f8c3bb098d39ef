//! The past: every question that takes `known-at`, and everything that happened to a case.
//!
//! | question | module |
//! |---|---|
//! | whose case is a number, at an instant or from first to last? | `case_at` |
//! | which cases, POMs or contacts did a list have? | `lists` |
//! | how many receptions and allocations were there? | `statistics` |
//! | which POMs may take a case that waits? | `suggestions` |
//! | what happened to a case, under all of its numbers? | `case_history` |
//! | how are histories read from the log, each once? | `histories` |
//! | which numbers are of one case? | `numbers` |
//! | which texts may the caller read? | `readable` |
//!
//! An answer to a caller has no free text that the caller may not read
//! ([`http_api::ReadableTexts`]), and a list no case that is not the caller's.
//!
//! Each function takes an optional [`KnownAt`](event_log::KnownAt). Without one, the answer is of
//! the present: from the views, with the time before a merge from the log up to the position of the
//! views. With one, it is the answer that the views would have given, had the log ended there. Each
//! function also answers the one position that the whole answer is of; of a list, its
//! `ListExtent`.
//!
//! It knows nothing of HTTP: [`PastError`] is translated in `http`.

mod case_at;
mod case_history;
mod error;
mod histories;
mod lists;
mod numbers;
mod point;
mod readable;
mod statistics;
mod suggestions;

pub use case_history::{CaseEntry, CasePeriod, WholeCase, whole_case};
pub use error::PastError;
pub use numbers::case_numbers;

pub(crate) use case_at::{case_at, case_periods, cases_at, prisons_now};
pub(crate) use case_history::{case_history, case_history_to, own_entries};
pub(crate) use lists::{
    CaseListScope, ListExtent, case_lists, check_names_no_pom, contacts, contacts_of_prisoners, roster,
};
pub(crate) use numbers::merge_partner;
pub(crate) use statistics::{months, periods};
pub(crate) use suggestions::suggestions;
