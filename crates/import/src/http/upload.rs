//! `POST /prisons/{prisonCode}/spreadsheets`: upload a prison's spreadsheet, and have it read.

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use domain::identifier::PrisonCode;
use http_api::{CommandHeaders, PathParams, Problem, RequestClient, problem::ProblemDocument};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, SchemaFormat, Type, schema::Schema},
};

use super::{
    answer::{Spreadsheet, state_answer},
    query::{UploadParams, UploadQuery},
    receipt::{check_announced, receive},
};
use crate::{
    upload::{ImportCaller, Upload},
    uploads::Imports,
};

/// The bytes of a file, for the OpenAPI document.
#[derive(Debug)]
pub(super) struct FileBody;

impl PartialSchema for FileBody {
    fn schema() -> RefOr<Schema> {
        let binary = SchemaFormat::KnownFormat(KnownFormat::Binary);
        ObjectBuilder::new().schema_type(Type::String).format(Some(binary)).into()
    }
}

impl ToSchema for FileBody {}

/// Upload a prison's spreadsheet of allocations.
///
/// The body is the file itself, 64 MiB at most: `.xlsx`, `.xlsb`, `.xls`, `.ods` or `.csv`, told by
/// its content. It is read in a process of its own; ask for its state until that is `READ`, which
/// shows what would be recorded. With `dry-run=false` it is recorded then. An upload is kept for an
/// hour after it was last asked for.
#[utoipa::path(
    post, path = "/prisons/{prisonCode}/spreadsheets", tag = "Spreadsheets",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"),
        UploadParams,
    ),
    request_body(content = FileBody, content_type = "application/octet-stream", description = "The file itself"),
    responses(
        (status = 202, description = "The file is here and is being read", body = Spreadsheet, headers(
            ("Location" = String, description = "Where its state is")
        )),
        (status = 400, description = "The request cannot be read", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "There is no such prison", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 408, description = "The file did not come in time", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The file is too large", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "The body is not announced as a spreadsheet", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "A fault inside the ledger", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "A store is out of reach, or there is no room", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn upload_spreadsheet(
    State(imports): State<Imports>,
    PathParams(prison): PathParams<PrisonCode>,
    headers: CommandHeaders,
    query: UploadQuery,
    request: Request,
) -> Result<Response, Problem> {
    headers.refuse_if_match("an upload is of no stream, so there is no revision to match")?;
    let UploadQuery { file_name, choices } = query;
    check_announced(request.headers(), request.body())?;
    imports.check_prison(&prison, &choices).await?;
    let client = request.extensions().get::<RequestClient>().cloned();
    let client = client.ok_or_else(Problem::internal)?;
    let place = imports.take_place(&client)?;
    let file = receive(request.into_body()).await?;
    let caller = ImportCaller { recorded_by: headers.recorded_by, confinement: headers.scope.confinement };
    let now = imports.clock().now();
    let upload = Upload::new(prison, file_name, now, &caller, choices, client, place);
    let upload = imports.begin(upload, file, caller);
    let mut response = state_answer(StatusCode::ACCEPTED, &upload);
    let location = format!("/prisons/{}/spreadsheets/{}", upload.prison, upload.id);
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}
