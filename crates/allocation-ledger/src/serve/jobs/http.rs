//! The routes of jobs: `/projections/jobs`.

use std::sync::Arc;

use access_log::{AccessEntry, Reader, Shown};
use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use command::Clock;
use http_api::{
    Access, CommandHeaders, GuardedRouter, JsonBody, Params, PathParams, Problem, ProblemCode, QuotaExceeded,
    ReadableTexts, RequestClient,
    access::of_every_prison,
    headers::{AuthenticatedCaller, LEDGER_POSITION},
    problem::ProblemDocument,
};
use serde::Deserialize;
use sign_on::Right;
use utoipa::OpenApi;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{
    Job, Jobs, NotBegun,
    document::JobDocument,
    request::{BeginJob, JobKind},
};

/// The path of jobs.
const JOBS: &str = "/projections/jobs";

/// The template of the path of a file, in the access log.
const FILE: &str = "/projections/jobs/{jobId}/file";

/// Every route about jobs.
fn routes() -> GuardedRouter<Jobs> {
    GuardedRouter::new(Description::openapi())
        .described(Access::JobRequests, routes!(begin_job))
        .described(Access::Jobs, routes!(list_jobs))
        .described(Access::Jobs, routes!(get_job))
        .described(Access::Jobs, routes!(cancel_job))
        .described(Access::ExportFiles, routes!(get_exported_file))
}

/// The HTTP API of the jobs of a process.
pub(in crate::serve) fn router(jobs: Jobs) -> GuardedRouter {
    routes().map(|router| router.with_state(jobs))
}

/// The OpenAPI description of the HTTP API.
pub(in crate::serve) fn openapi() -> utoipa::openapi::OpenApi {
    routes().openapi().clone()
}

#[derive(OpenApi)]
#[openapi(components(schemas(ProblemDocument)))]
struct Description;

/// Such a request has no parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoQuery {}

/// The caller that a token names, and its client.
type Caller = Option<Extension<AuthenticatedCaller>>;

/// Begins a rebuild, a verification or an export.
///
/// A rebuild and a verification need the right `OPERATE`, an export `EXPORT`. A service works on
/// one job at a time. The same request with the same `Idempotency-Key` answers with the job that it
/// began. In an export of a caller without the right `AUDIT` the free texts are null. A caller that
/// is confined to prisons exports nothing.
#[utoipa::path(
    post, path = "/projections/jobs", tag = "The log and the views",
    params(
        ("Idempotency-Key" = Option<Uuid>, Header, description = "A UUID of this request: sent again, it begins nothing"),
    ),
    request_body(content = BeginJob, example = json!({"kind": "EXPORT", "view": "case_period", "format": "csv"})),
    responses(
        (status = 202, description = "It has begun, or had already", body = JobDocument),
        (status = 400, description = "The request cannot be read", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`job-running`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "`idempotency-key-reused`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "A fault inside the ledger", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "A store is out of reach", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
async fn begin_job(
    State(jobs): State<Jobs>,
    caller: Caller,
    headers: CommandHeaders,
    JsonBody(body): JsonBody<BeginJob>,
) -> Result<Response, Problem> {
    require_right(&caller, body.kind)?;
    if body.kind == JobKind::Export && headers.scope.confinement.prisons().is_some() {
        return Err(of_every_prison("The rows of an export are"));
    }
    let request = body.request(&jobs.0.log, &headers.scope).await?;
    let job = jobs.begin(headers.command_id, request, headers.recorded_by).map_err(|not_begun| match not_begun {
        NotBegun::Busy(id) => {
            Problem::new(ProblemCode::JobRunning, format!("The job {id} is at work, and there is one at a time."))
        }
        NotBegun::KeyReused(id) => Problem::new(
            ProblemCode::IdempotencyKeyReused,
            format!("Another request with this Idempotency-Key began the job {id}. Please use a new key."),
        ),
    })?;
    let mut answer = answer((StatusCode::ACCEPTED, Json(JobDocument::from(job.clone()))));
    if let Ok(location) = HeaderValue::try_from(format!("{JOBS}/{}", job.id)) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    Ok(answer)
}

/// The jobs of this service, the last one first.
///
/// It keeps the last 20, until it is restarted.
#[utoipa::path(
    get, path = "/projections/jobs", tag = "The log and the views",
    responses(
        (status = 200, description = "The jobs", body = Vec<JobDocument>),
        (status = 400, description = "The request cannot be read", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "A fault inside the ledger", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The service has as much at work as it can", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
async fn list_jobs(State(jobs): State<Jobs>, Params(NoQuery {}): Params<NoQuery>) -> Response {
    let documents: Vec<JobDocument> = jobs.list().into_iter().map(JobDocument::from).collect();
    answer(Json(documents))
}

/// A job and how far it has come.
#[utoipa::path(
    get, path = "/projections/jobs/{jobId}", tag = "The log and the views",
    params(("jobId" = Uuid, Path, description = "The job's id", example = "0b5b2c5e-6e0a-4a0e-9c55-2a3c6d1f8e11")),
    responses(
        (status = 200, description = "The job", body = JobDocument),
        (status = 400, description = "The request cannot be read", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`job-unknown`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "A fault inside the ledger", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The service has as much at work as it can", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
async fn get_job(
    State(jobs): State<Jobs>,
    PathParams(id): PathParams<Uuid>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Result<Response, Problem> {
    Ok(answer(Json(JobDocument::from(find(&jobs, id)?))))
}

/// Cancels a job: it stops soon, and leaves nothing behind. One that has ended stays as it is.
///
/// Needs the right that beginning it needs. A rebuild that was just put in place stays there.
#[utoipa::path(
    delete, path = "/projections/jobs/{jobId}", tag = "The log and the views",
    params(("jobId" = Uuid, Path, description = "The job's id", example = "0b5b2c5e-6e0a-4a0e-9c55-2a3c6d1f8e11")),
    responses(
        (status = 202, description = "It was told to stop", body = JobDocument),
        (status = 400, description = "The request cannot be read", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`job-unknown`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "A fault inside the ledger", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The service has as much at work as it can", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
async fn cancel_job(
    State(jobs): State<Jobs>,
    caller: Caller,
    PathParams(id): PathParams<Uuid>,
) -> Result<Response, Problem> {
    let job = find(&jobs, id)?;
    require_right(&caller, job.request.kind())?;
    job.cancel.send_replace(true);
    Ok(answer((StatusCode::ACCEPTED, Json(JobDocument::from(job)))))
}

/// The file of an export that is done.
///
/// It is kept for an hour, and until the next export begins.
#[utoipa::path(
    get, path = "/projections/jobs/{jobId}/file", tag = "The log and the views",
    params(("jobId" = Uuid, Path, description = "The job's id", example = "0b5b2c5e-6e0a-4a0e-9c55-2a3c6d1f8e11")),
    responses(
        (status = 200, description = "The file", content(
            (String = "text/csv"), (String = "application/jsonl"), (Vec<u8> = "application/vnd.apache.parquet"),
        )),
        (status = 400, description = "The request cannot be read", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`job-unknown`, `export-file-gone`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "A fault inside the ledger", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`overloaded`, `access-log-unavailable`", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
async fn get_exported_file(
    State(jobs): State<Jobs>,
    caller: Caller,
    Extension(client): Extension<RequestClient>,
    PathParams(id): PathParams<Uuid>,
    headers: CommandHeaders,
    Params(NoQuery {}): Params<NoQuery>,
) -> Result<Response, Problem> {
    let job = find(&jobs, id)?;
    let gone = || Problem::not_found(ProblemCode::ExportFileGone, "This job has no file, or none any more.");
    let file = job.file.as_ref().ok_or_else(gone)?;
    // The job may be another caller's.
    if !file.without_texts && headers.scope.texts != ReadableTexts::All {
        let detail = "The file has free texts, which only callers with the right AUDIT read. Export the view anew: the \
                      file then has none.";
        return Err(Problem::new(ProblemCode::RoleMissing, detail));
    }
    let share = jobs.0.downloads.take(Some(&client), 1).map_err(|exceeded| {
        let detail = match exceeded {
            QuotaExceeded::ByAll => "As many files are taken as this service allows. Please try again.",
            QuotaExceeded::ByClient => "This client takes as many files as one may. Please wait for their end.",
        };
        Problem::new(ProblemCode::Overloaded, detail)
    })?;
    let shown = Shown::events(file.what.clone(), 0, Some(file.position));
    record_read(&jobs, &caller, headers.correlation_id, shown).await?;
    let mut answer = answer(Arc::clone(file).body(share));
    let disposition = HeaderValue::try_from(format!("attachment; filename=\"{}\"", file.name));
    let members = answer.headers_mut();
    members.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media_type));
    members.insert(header::CONTENT_LENGTH, HeaderValue::from(file.len()));
    members.insert(LEDGER_POSITION, HeaderValue::from(file.position));
    if let Ok(disposition) = disposition {
        members.insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(answer)
}

fn find(jobs: &Jobs, id: Uuid) -> Result<Job, Problem> {
    let unknown =
        || Problem::not_found(ProblemCode::JobUnknown, "This service has no job of this id, or none any more.");
    jobs.find(id).ok_or_else(unknown)
}

/// Refuses a caller that has not the right of the work. Where there is no sign-on, everybody has.
fn require_right(caller: &Caller, kind: JobKind) -> Result<(), Problem> {
    let right = match kind {
        JobKind::Rebuild | JobKind::Verify => Right::Operate,
        JobKind::Export => Right::Export,
    };
    match caller {
        Some(Extension(AuthenticatedCaller { caller, .. })) if !caller.has_any(&[right]) => {
            let detail = format!("A job of this kind needs a role with the right {}.", right.word());
            Err(Problem::new(ProblemCode::RoleMissing, detail))
        }
        _ => Ok(()),
    }
}

/// Records that a caller takes a file.
async fn record_read(jobs: &Jobs, caller: &Caller, correlation_id: Uuid, shown: Shown) -> Result<(), Problem> {
    let caller = caller.as_ref().map(|Extension(authenticated)| &authenticated.caller);
    let reader = Reader {
        username: caller.and_then(|caller| caller.user_name.clone()),
        client: caller.and_then(|caller| caller.client_id.clone()),
        auth_source: caller.and_then(|caller| caller.auth_source.clone()),
    };
    let entry = AccessEntry {
        method: Some("GET"),
        status: Some(StatusCode::OK.as_u16()),
        correlation_id: Some(correlation_id),
        ..AccessEntry::of_tool(Clock::system().now(), FILE, reader, shown)
    };
    jobs.0.access_log.record(entry).await.map_err(|not_kept| {
        tracing::warn!(error = &not_kept as &dyn std::error::Error, "a read is refused, as it cannot be recorded");
        let detail = "Who reads a person's data is recorded, and that is not possible for now. Please try again.";
        Problem::new(ProblemCode::AccessLogUnavailable, detail)
    })
}

fn answer(body: impl IntoResponse) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    (headers, body).into_response()
}
