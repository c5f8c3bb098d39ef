//! Spreadsheets over HTTP: `/prisons/{prisonCode}/spreadsheets`, one file per operation.
//!
//! A file is uploaded and read; its rows are looked at, and recorded once the caller says so. Each
//! answer that shows rows is recorded in the access log, since it says what the ledger has of them.

mod answer;
mod query;
mod read_recording;
mod receipt;
mod recording;
mod refused_rows;
mod removal;
mod rows;
mod state;
mod upload;

use axum::middleware;
use http_api::{Access, GuardedRouter, page::Cursor, problem::ProblemDocument};
use utoipa::OpenApi;
use utoipa_axum::routes;

use crate::uploads::Imports;

/// Every route about spreadsheets.
fn routes() -> GuardedRouter<Imports> {
    GuardedRouter::new(Description::openapi())
        .described(Access::Uploads, routes!(upload::upload_spreadsheet))
        .described(Access::Commands, routes!(state::get_spreadsheet))
        .described(Access::Commands, routes!(rows::list_spreadsheet_rows))
        .described(Access::Commands, routes!(refused_rows::get_refused_rows))
        .described(Access::Commands, routes!(recording::record_spreadsheet))
        .described(Access::Commands, routes!(removal::remove_spreadsheet))
}

/// The HTTP API of the imports of a command service.
pub fn router(imports: Imports) -> GuardedRouter {
    routes().map(|router| {
        let recording = middleware::from_fn_with_state(imports.clone(), read_recording::record_read);
        router.route_layer(recording).with_state(imports)
    })
}

/// The OpenAPI description of the HTTP API.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().openapi().clone()
}

#[derive(OpenApi)]
#[openapi(components(schemas(ProblemDocument, Cursor)))]
struct Description;
