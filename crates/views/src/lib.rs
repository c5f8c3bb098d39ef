//! The views (read models): their tables, and which rows a case or a prison has in them.
//!
//! `projector` writes these tables and `query` reads them. Both take from here what a column is
//! called, which type it has, and how its value travels to and from Postgres.
//!
//! | question | module |
//! |---|---|
//! | which columns has a table, and which rule fills them? | `tables`, one file a table |
//! | which rows has a case or a prison, given its history? | `rows` |
//! | which views are there? | `view` |
//! | how is a table declared? | `table` |
//! | how do rows become bytes in Postgres's binary format? | `columns` |
//! | how do their values? | `values`, `postgres_time` |
//! | what is sent with `COPY`? | `pg_copy` |
//! | which statements make the tables, in which version? | `definition`, with `sql_text` |
//! | how far have the views come? | [`checkpoint`] |
//! | which cases and prisons do the tables leave out? | [`stream_aside`] |
//! | how are the cases now, or at an instant? | [`case_now`] |
//! | whose case has a number of Delius? | [`crn_map`] |
//! | what are prisons called? | [`establishment`] |
//!
//! Promises: the rows are a pure function of a history, and live projection, rebuild, verification
//! and the answers about the past all call it; a row that was encoded is read back equal; a stored
//! value that no row can have is reported with its table, column and row.
//!
//! Refuses to know: the clock, the log, and which questions the tables answer.
//!
//! # To add a column
//!
//! 1. Declare it in the table's file in `tables`, with its comment: the data dictionary shows it.
//!    Fill it in the function below the declaration; that is the column's rule.
//! 2. `UPDATE_VIEWS=1 cargo test -p views` writes the new tables to `definition.sql`, with the next
//!    [`VIEWS_VERSION`]: projectors rebuild the views when they next start. Where only the rule
//!    changes, raise the version there by hand.
//! 3. `UPDATE_DICTIONARY=1 cargo test -p tests --test it dictionary::` renews the dictionary.
//!
//! # To add a view
//!
//! 1. Write a file in `tables` that declares it and makes its rows.
//! 2. Add a line to `views!` in `view`, and the call that makes its rows to `rows`.
//! 3. Add its indexes, if it needs any, to `indexes.sql`.
//! 4. Renew the two files as for a column.
//! 5. Write the statements that read it in a module of `query::present`.

pub mod case_now;
pub mod checkpoint;
mod columns;
pub mod crn_map;
mod definition;
pub mod establishment;
mod pg_copy;
mod postgres_time;
mod rows;
mod sql_text;
pub mod stream_aside;
mod table;
mod tables;
mod values;
mod view;

pub use columns::{Columns, Damage, ViewColumn};
pub use definition::{VIEWS_VERSION, create_keys_sql, create_tables_sql};
pub use pg_copy::{CopyRows, END, HEADER};
pub use rows::{case_rows, contact_rows, prison_rows};
pub use table::ViewTable;
pub use tables::{
    allocation::AllocationRow,
    case_period::{CaseCom, CasePeriodRow, CasePlan, CasePom},
    case_prison::CasePrisonRow,
    control_entry::ControlEntryRow,
    nomis_contact::NomisContactRow,
    pom_period::PomPeriodRow,
    prison::PrisonRow,
    prisoner_case::PrisonerCaseRow,
    reception::ReceptionRow,
};
pub use values::{AllocationKind, PeriodEnd};
pub use view::{CaseRows, ContactRows, EncodedRows, Owner, PrisonRows, UnknownView, VIEWS, View};
