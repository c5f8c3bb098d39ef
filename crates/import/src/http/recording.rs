//! `POST /prisons/{prisonCode}/spreadsheets/{spreadsheetId}/recording`: record the rows of an
//! upload.

use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    response::Response,
};
use domain::{identifier::PrisonCode, moment::Date};
use http_api::{
    CommandHeaders, PathParams, Problem,
    extract::{body_bytes, from_json, require_json},
    headers::IDEMPOTENCY_KEY,
    problem::ProblemDocument,
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::answer::{Spreadsheet, state_answer};
use crate::{upload::ImportCaller, uploads::Imports};

/// The recording of a spreadsheet.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = RecordSpreadsheet)]
pub(super) struct RecordingBody {
    /// The first London day on which cases are allocated at the prison; needed where the prison
    /// joins OMiC by the sheet, and no date came with the upload.
    #[schema(value_type = Option<domain::openapi::LondonDate>)]
    go_live_date: Option<Date>,
}

/// The header of a recording, for the OpenAPI document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "described, not read")]
pub(super) struct RecordingHeaderParams {
    /// A key that no other recording has. Sent again, with it or without one, nothing is done
    /// twice.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<Uuid>,
}

/// Record the rows of an uploaded spreadsheet that its state says would be.
///
/// The rows are planned once more on what the ledger has by now, and recorded; ask for the state
/// until it is `DONE`. Sent again, nothing is recorded twice; after a failure or a cancellation it
/// goes on where it ended.
#[utoipa::path(
    post, path = "/prisons/{prisonCode}/spreadsheets/{spreadsheetId}/recording", tag = "Spreadsheets",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"),
        ("spreadsheetId" = Uuid, Path, description = "The upload's id", example = "63ba0b4b-2a6e-4d6c-9f59-2f6f0a3f8a11"),
        RecordingHeaderParams,
    ),
    request_body(content = Option<RecordingBody>, description = "May be left out"),
    responses(
        (status = 200, description = "The recording runs already, or is done", body = Spreadsheet),
        (status = 202, description = "The recording has begun", body = Spreadsheet),
        (status = 400, description = "The request cannot be read, or the go-live date is missing", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "No such spreadsheet is kept", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "The file is not read", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "The body is not announced as JSON", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "The key is that of another recording", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "A fault inside the ledger", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The read cannot be recorded", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn record_spreadsheet(
    State(imports): State<Imports>,
    PathParams((prison, id)): PathParams<(PrisonCode, Uuid)>,
    headers: CommandHeaders,
    request: Request,
) -> Result<Response, Problem> {
    headers.refuse_if_match("a recording concerns several streams, so there is no one revision to match")?;
    let has_key = request.headers().contains_key(IDEMPOTENCY_KEY);
    let has_type = request.headers().contains_key(header::CONTENT_TYPE);
    let is_json = require_json(request.headers());
    let bytes = body_bytes(request, &()).await?;
    if has_type || !bytes.is_empty() {
        is_json?;
    }
    let body: RecordingBody = if bytes.is_empty() { RecordingBody::default() } else { from_json(&bytes)? };
    let upload = imports.find(&prison, id, &headers.scope.confinement)?;
    let caller = ImportCaller { recorded_by: headers.recorded_by, confinement: headers.scope.confinement };
    let key = has_key.then_some(headers.command_id);
    let begins = imports.begin_recording(&upload, caller, key, body.go_live_date.map(Into::into))?;
    Ok(state_answer(if begins { StatusCode::ACCEPTED } else { StatusCode::OK }, &upload))
}
