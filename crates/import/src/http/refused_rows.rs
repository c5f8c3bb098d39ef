//! `GET /prisons/{prisonCode}/spreadsheets/{spreadsheetId}/refused-rows`: the refused rows as a
//! CSV file, to be corrected and uploaded.

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::Response,
};
use domain::identifier::PrisonCode;
use http_api::{CallerScope, PathParams, Problem, problem::ProblemDocument};
use spreadsheets::plan::Verdict;
use uuid::Uuid;

use super::{
    answer::{answer_showing, shown_by},
    rows::read_of,
};
use crate::{sheet::refused_rows, uploads::Imports};

/// The refused rows of an uploaded spreadsheet, each with its reason, as a CSV file.
#[utoipa::path(
    get, path = "/prisons/{prisonCode}/spreadsheets/{spreadsheetId}/refused-rows", tag = "Spreadsheets",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"),
        ("spreadsheetId" = Uuid, Path, description = "The upload's id", example = "63ba0b4b-2a6e-4d6c-9f59-2f6f0a3f8a11"),
    ),
    responses(
        (status = 200, description = "The rows", body = String, content_type = "text/csv"),
        (status = 400, description = "The request cannot be read", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "No such spreadsheet is kept", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "The file is not read", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "A fault inside the ledger", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The read cannot be recorded", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_refused_rows(
    State(imports): State<Imports>,
    caller: CallerScope,
    PathParams((prison, id)): PathParams<(PrisonCode, Uuid)>,
) -> Result<Response, Problem> {
    let stage = imports.find(&prison, id, &caller.confinement)?.stage();
    let read = read_of(&stage)?;
    let csv = read.sheet.refused_csv(&refused_rows(&read.plan));
    let refused = read.plan.rows.iter().filter(|row| matches!(row.verdict, Verdict::Refused(_)));
    let mut answer = answer_showing(csv, shown_by(refused));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    let name = HeaderValue::from_static("attachment; filename=\"refused-rows.csv\"");
    headers.insert(header::CONTENT_DISPOSITION, name);
    Ok(answer)
}
