//! `GET /prisons/{prisonCode}/spreadsheets/{spreadsheetId}`: the state of an upload.

use axum::{extract::State, http::StatusCode, response::Response};
use domain::identifier::PrisonCode;
use http_api::{CallerScope, PathParams, Problem, problem::ProblemDocument};
use uuid::Uuid;

use super::answer::{Spreadsheet, state_answer};
use crate::uploads::Imports;

/// The state of an uploaded spreadsheet: how its columns were read, what would be recorded or was,
/// and its first refused rows.
#[utoipa::path(
    get, path = "/prisons/{prisonCode}/spreadsheets/{spreadsheetId}", tag = "Spreadsheets",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"),
        ("spreadsheetId" = Uuid, Path, description = "The upload's id", example = "63ba0b4b-2a6e-4d6c-9f59-2f6f0a3f8a11"),
    ),
    responses(
        (status = 200, description = "Its state", body = Spreadsheet),
        (status = 400, description = "The request cannot be read", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "No such spreadsheet is kept", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "A fault inside the ledger", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The read cannot be recorded", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_spreadsheet(
    State(imports): State<Imports>,
    caller: CallerScope,
    PathParams((prison, id)): PathParams<(PrisonCode, Uuid)>,
) -> Result<Response, Problem> {
    Ok(state_answer(StatusCode::OK, &*imports.find(&prison, id, &caller.confinement)?))
}
