//! The work of a job: what the tools do, without a terminal.

use std::collections::BTreeMap;

use anyhow::Context as _;
use event_log::{SharedLog, error_chain};
use projector::{
    BuiltViews, Difference, RebuildScope, SCHEMA, VerifyOutcome,
    export::{ExportSummary, export_log, export_views, export_views_as_of},
};
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::{
    exported_file::{ExportedFile, FileInTheMaking},
    request::{ExportRequest, JobRequest},
};
use crate::progress::WorkProgress;

/// The outcome of a job that came to its end. Members that its kind has not are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobResult {
    /// The position of the last event that the views, or the file, include.
    pub(super) position: u64,
    /// Of a verification: where the log ended. Events after `position` were not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    head: Option<u64>,
    /// Rows that were compared, or exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rows: Option<u64>,
    /// Of a verification: rows that are not as the log says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    differences: Option<u64>,
    /// Of a verification: the same by table; those without a difference are left out. The command
    /// `projections verify` names the rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    differences_by_view: Option<BTreeMap<&'static str, u64>>,
    /// Of an export: the bytes of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    bytes: Option<u64>,
    /// Cases and prisons that the views leave out.
    streams_aside: u64,
}

/// Works until the end, and answers the file of an export.
///
/// # Errors
/// In a sentence without any person's data; the service's health has the same.
pub(super) async fn run(
    log: &SharedLog,
    views: &PgPool,
    request: &JobRequest,
    progress: impl Fn(WorkProgress) + Sync,
) -> Result<(JobResult, Option<ExportedFile>), String> {
    let done = match request {
        JobRequest::Rebuild(view) => {
            let scope = view.map_or(RebuildScope::All, RebuildScope::One);
            let observer = |building| progress(WorkProgress::from(building));
            let built = projector::rebuild(log, views, scope, &observer).await.context("rebuild the views");
            built.map(|BuiltViews { position, streams_aside }| {
                let streams_aside = streams_aside as u64;
                (JobResult { position, streams_aside, ..JobResult::default() }, None)
            })
        }
        JobRequest::Verify(view) => {
            let mut by_view = BTreeMap::new();
            let mut report = |Difference { table, .. }| *by_view.entry(table).or_default() += 1;
            let observer = |building| progress(WorkProgress::from(building));
            let verified = projector::verify(log, views, SCHEMA, *view, &observer, &mut report).await;
            verified.context("compare the views with the log").map(|outcome| {
                let VerifyOutcome { position, head, rows, differences, aside } = outcome;
                let result = JobResult {
                    position,
                    head: Some(head),
                    rows: Some(rows),
                    differences: Some(differences),
                    differences_by_view: Some(by_view),
                    bytes: None,
                    streams_aside: aside.len() as u64,
                };
                (result, None)
            })
        }
        JobRequest::Export(request) => export(log, views, request, progress).await,
    };
    done.map_err(|error| error_chain(&*error))
}

async fn export(
    log: &SharedLog,
    views: &PgPool,
    request: &ExportRequest,
    progress: impl Fn(WorkProgress) + Sync,
) -> anyhow::Result<(JobResult, Option<ExportedFile>)> {
    let making = FileInTheMaking::new(request).context("make a temporary file")?;
    let (format, open) = (request.format, making.opener()?);
    let show = |exporting| progress(WorkProgress::from(exporting));
    let summary = match (request.selection()?, request.known_at) {
        (Some(selection), None) => export_views(views, &selection, format, open, show).await?,
        (Some(selection), Some(position)) => {
            export_views_as_of(log, views, position, &selection, format, open, show).await?
        }
        (None, known_at) => {
            let to = match known_at {
                Some(position) => position,
                None => log.head().await?,
            };
            let show = |position| progress(WorkProgress::of_log_export(position, to));
            export_log(log, to, false, format, open, show).await?
        }
    };
    let ExportSummary { rows, position, streams_aside } = summary;
    let file = making.complete(position)?;
    let result = JobResult {
        position,
        rows: Some(rows),
        bytes: Some(file.len()),
        streams_aside: streams_aside as u64,
        ..JobResult::default()
    };
    Ok((result, Some(file)))
}
