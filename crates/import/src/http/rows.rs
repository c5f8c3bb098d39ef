//! `GET /prisons/{prisonCode}/spreadsheets/{spreadsheetId}/rows`: the rows of an upload, each with
//! what became of it, or would.

use axum::{
    Json,
    extract::State,
    http::{Uri, header},
    response::Response,
};
use domain::identifier::PrisonCode;
use http_api::{
    CallerScope, Params, PathParams, Problem, ProblemCode,
    page::{Cursor, Limit},
    problem::ProblemDocument,
};
use serde::Deserialize;
use spreadsheets::plan::PlannedRow;
use utoipa::IntoParams;
use uuid::Uuid;

use super::answer::{RowAnswer, answer_showing, outcome_of, row_answer, shown_by};
use crate::{
    row_line::{RowLine, RowOutcome},
    upload::{ReadUpload, Stage},
    uploads::Imports,
};

/// Which rows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RowsQuery {
    /// Those of this outcome alone.
    #[param(inline)]
    outcome: Option<RowOutcome>,
    /// The page after this one: from the `Link` header of an answer.
    after: Option<Cursor>,
    /// At most so many, 1 to 1000; 50 where it is absent.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 50)]
    limit: Limit,
}

/// The rows of an uploaded spreadsheet, in the order of the sheet.
#[utoipa::path(
    get, path = "/prisons/{prisonCode}/spreadsheets/{spreadsheetId}/rows", tag = "Spreadsheets",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"),
        ("spreadsheetId" = Uuid, Path, description = "The upload's id", example = "63ba0b4b-2a6e-4d6c-9f59-2f6f0a3f8a11"),
        RowsQuery,
    ),
    responses(
        (status = 200, description = "The rows", body = Vec<RowLine>, headers(
            ("Link" = String, description = "Where the next page is, if there is one")
        )),
        (status = 400, description = "The request cannot be read", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "No such spreadsheet is kept", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "The file is not read", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "A fault inside the ledger", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The read cannot be recorded", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list_spreadsheet_rows(
    State(imports): State<Imports>,
    caller: CallerScope,
    PathParams((prison, id)): PathParams<(PrisonCode, Uuid)>,
    Params(query): Params<RowsQuery>,
    uri: Uri,
) -> Result<Response, Problem> {
    let stage = imports.find(&prison, id, &caller.confinement)?.stage();
    let read = read_of(&stage)?;
    let after: u32 = query.after.as_ref().map(Cursor::key).transpose()?.unwrap_or_default();
    let is_wanted = |row: &&PlannedRow| {
        row.row.number > after && query.outcome.is_none_or(|outcome| outcome_of(&stage, row) == outcome)
    };
    let mut rows: Vec<&PlannedRow> = read.plan.rows.iter().filter(is_wanted).take(query.limit.rows() + 1).collect();
    let is_last_page = rows.len() <= query.limit.rows();
    rows.truncate(query.limit.rows());
    let last = rows.last().filter(|_| !is_last_page);
    let next = last.and_then(|last| Cursor::after(&last.row.number).next_link(&uri));
    let sheet = &read.sheet.table.sheet;
    let answers: Vec<RowAnswer> = rows.iter().map(|row| row_answer(&stage, sheet, row)).collect();
    let mut answer = answer_showing(Json(answers), shown_by(rows.into_iter()));
    if let Some(link) = next {
        answer.headers_mut().insert(header::LINK, link);
    }
    Ok(answer)
}

/// The rows of an upload that is read.
pub(super) fn read_of(stage: &Stage) -> Result<&ReadUpload, Problem> {
    stage.read.as_ref().ok_or_else(|| {
        let detail = stage.detail.clone().unwrap_or_else(|| "The file is still being read.".to_owned());
        Problem::new(ProblemCode::ImportNotReady, detail)
    })
}
