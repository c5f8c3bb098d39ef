//! A job as the API shows it: without any person's data.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Job, JobState,
    request::{ExportRequest, JobKind, JobRequest},
    work::JobResult,
};
use crate::progress::WorkProgress;

/// A rebuild, a verification or an export.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Job)]
pub(super) struct JobDocument {
    /// Identifies it.
    id: Uuid,
    /// The work.
    kind: JobKind,
    /// `RUNNING`, `DONE`, `FAILED` or `CANCELLED`.
    state: &'static str,
    /// The view; null for all of them.
    #[schema(required)]
    view: Option<&'static str>,
    /// Of an export: the format, the rows and the point that it is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    export: Option<ExportDocument>,
    /// The user that began it; null where the request named none.
    #[schema(required)]
    requested_by: Option<String>,
    /// The client that the request came from.
    client: String,
    /// When it began.
    begun_at: DateTime<Utc>,
    /// When it ended; null while it is at work.
    #[schema(required)]
    ended_at: Option<DateTime<Utc>>,
    /// How far it has come, or had come when it ended.
    progress: WorkProgress,
    /// The outcome, once it is done.
    #[schema(required)]
    result: Option<JobResult>,
    /// Why it failed.
    #[schema(required)]
    failure: Option<String>,
    /// Until when the file of an export is there; null where there is none, or none any more.
    #[schema(required)]
    file_until: Option<DateTime<Utc>>,
}

/// The rows of an export.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExportDocument {
    /// `csv`, `jsonl` or `parquet`.
    format: &'static str,
    /// Only rows that hold at this instant.
    #[schema(required)]
    on: Option<DateTime<Utc>>,
    /// As known at this position; null for all that is known.
    #[schema(required)]
    known_at: Option<u64>,
    /// Only rows of this prison.
    #[schema(required)]
    prison: Option<String>,
}

impl From<&ExportRequest> for ExportDocument {
    fn from(request: &ExportRequest) -> Self {
        let ExportRequest { format, on, known_at, prison, .. } = request;
        Self { format: format.ending(), on: *on, known_at: *known_at, prison: prison.as_ref().map(ToString::to_string) }
    }
}

impl From<Job> for JobDocument {
    fn from(job: Job) -> Self {
        let (view, export) = match &job.request {
            JobRequest::Rebuild(view) | JobRequest::Verify(view) => (view.map(|view| view.name()), None),
            JobRequest::Export(request) => (Some(request.subject.name()), Some(request.into())),
        };
        let (state, result, failure) = match job.state {
            JobState::Running => ("RUNNING", None, None),
            JobState::Done(result) => ("DONE", Some(result), None),
            JobState::Failed(failure) => ("FAILED", None, Some(failure)),
            JobState::Cancelled => ("CANCELLED", None, None),
        };
        Self {
            id: job.id,
            kind: job.request.kind(),
            state,
            view,
            export,
            requested_by: job.requested_by.username.map(|username| username.to_string()),
            client: job.requested_by.client,
            begun_at: job.begun_at,
            ended_at: job.ended_at,
            progress: job.progress,
            result,
            failure,
            file_until: job.file.map(|file| file.kept_until),
        }
    }
}
