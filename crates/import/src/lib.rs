//! Imports of a prison's files: what the command line and the HTTP API share, and the HTTP API for
//! spreadsheets. Each door has the same rules, because both are here.
//!
//! | question | module |
//! |---|---|
//! | where are the cases in a file, and what do its rows say? | [`sheet`], by the crate `spreadsheets` |
//! | which rows would be recorded? | [`sheet_import`] |
//! | how are they recorded, and what if others record meanwhile? | [`record`] |
//! | how do events name the file, the row and the run? | [`source`] |
//! | how do two imports into a prison take turns? | [`turn`] |
//! | how does a report show a row and a caseload? | [`row_line`] |
//! | what is known of an upload, and what works on it? | [`upload`], [`Imports`] |
//! | what does `/prisons/{prisonCode}/spreadsheets` take and answer? | `http` |
//! | how does a sentence of the reading name a parameter? | `http_words` |
//!
//! It knows no view. An upload is in the memory of one process: a restart forgets it.
//!
//! To add a choice that a caller has about the reading: a member of [`sheet::SheetChoices`], an
//! option of `import spreadsheet` and a parameter of the upload.

mod http;
mod http_words;
pub mod record;
pub mod row_line;
pub mod sheet;
pub mod sheet_import;
pub mod source;
pub mod turn;
pub mod upload;
mod uploads;

pub use http::{openapi, router};
pub use uploads::Imports;
