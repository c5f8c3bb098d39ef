//! `DELETE /prisons/{prisonCode}/spreadsheets/{spreadsheetId}`: forget an upload, or cancel its
//! recording.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use domain::identifier::PrisonCode;
use http_api::{CallerScope, PathParams, Problem, problem::ProblemDocument};
use uuid::Uuid;

use super::answer::{Spreadsheet, state_answer};
use crate::uploads::Imports;

/// Forget an uploaded spreadsheet, or cancel its recording.
///
/// A recording ends after the rows that are being recorded at that moment, and the upload stays, so
/// that its state says which rows were. Nothing that was recorded is taken back.
#[utoipa::path(
    delete, path = "/prisons/{prisonCode}/spreadsheets/{spreadsheetId}", tag = "Spreadsheets",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"),
        ("spreadsheetId" = Uuid, Path, description = "The upload's id", example = "63ba0b4b-2a6e-4d6c-9f59-2f6f0a3f8a11"),
    ),
    responses(
        (status = 202, description = "The recording is being cancelled", body = Spreadsheet),
        (status = 204, description = "The upload is forgotten"),
        (status = 400, description = "The request cannot be read", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "No such spreadsheet is kept", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "A fault inside the ledger", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The read cannot be recorded", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn remove_spreadsheet(
    State(imports): State<Imports>,
    caller: CallerScope,
    PathParams((prison, id)): PathParams<(PrisonCode, Uuid)>,
) -> Result<Response, Problem> {
    let upload = imports.find(&prison, id, &caller.confinement)?;
    Ok(match imports.remove(&upload) {
        true => StatusCode::NO_CONTENT.into_response(),
        false => state_answer(StatusCode::ACCEPTED, &upload),
    })
}
