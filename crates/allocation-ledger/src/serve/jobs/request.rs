//! The request for a job, as it is read from a body.

use chrono::{DateTime, Utc};
use domain::{identifier::PrisonCode, moment::Instant, openapi::LondonDate};
use event_log::{KnownAt, KnownAtError, SharedLog};
use http_api::{
    CallerScope, Problem, ProblemCode, ReadableTexts,
    instant::{DateOrInstant, optional_known_at},
    problem::Fault,
};
use projector::{
    VIEWS, View,
    export::{ExportFormat, ExportSelection},
};
use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema as _, ToSchema,
    openapi::{
        ObjectBuilder, Type,
        schema::{AnyOfBuilder, OneOfBuilder, Schema},
    },
};

use crate::{
    export_subject::{ExportSubject, SelectionRefusal},
    known_position::{PositionError, position_of},
};

/// A job to begin.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BeginJob {
    /// The work.
    pub(super) kind: JobKind,
    /// The view: where it is absent, a rebuild or a verification is of all. An export is of one, of
    /// `case_now`, `establishment` or `log`.
    #[schema(schema_with = view_names)]
    view: Option<String>,
    /// Of an export: `csv`, `jsonl` or `parquet`; `csv` where it is absent.
    #[schema(schema_with = format_names)]
    format: Option<String>,
    /// Of an export: only the rows that hold at this instant, or at the start of this London date.
    on: Option<DateOrInstant>,
    /// Of an export: as it was known then, a position, an instant or the end of a London date.
    #[serde(default, deserialize_with = "optional_known_at")]
    #[schema(schema_with = known_at_texts)]
    known_at: Option<KnownAt>,
    /// Of an export: only the rows of this prison.
    prison: Option<PrisonCode>,
}

/// The schema of the names of what may be exported, most of which may be rebuilt.
fn view_names() -> Schema {
    let others = [ExportSubject::CaseNow, ExportSubject::Establishment, ExportSubject::Log].map(ExportSubject::name);
    words(VIEWS.map(View::name).into_iter().chain(others))
}

fn format_names() -> Schema {
    words(ExportFormat::ALL.map(ExportFormat::ending).into_iter())
}

fn words(names: impl Iterator<Item = &'static str>) -> Schema {
    optional(ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into())
}

/// The schema of a member that may be null.
fn optional(schema: Schema) -> Schema {
    OneOfBuilder::new().item(ObjectBuilder::new().schema_type(Type::Null)).item(schema).into()
}

/// The schema of a point in what was known, as a text.
fn known_at_texts() -> Schema {
    let position = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9]{1,19}$"));
    optional(AnyOfBuilder::new().item(position).item(LondonDate::schema()).item(Instant::schema()).into())
}

/// The kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum JobKind {
    /// The views are built anew from the log, beside those that serve, and take their place.
    Rebuild,
    /// Every row of the views is compared with a replay of the log.
    Verify,
    /// A view, or the log, is written to a file.
    Export,
}

/// The work of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum JobRequest {
    /// Of one view, or of all.
    Rebuild(Option<View>),
    /// Of one view, or of all.
    Verify(Option<View>),
    Export(ExportRequest),
}

/// The rows to export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExportRequest {
    pub(super) subject: ExportSubject,
    pub(super) format: ExportFormat,
    pub(super) on: Option<DateTime<Utc>>,
    /// The position of the point in what was known.
    pub(super) known_at: Option<u64>,
    pub(super) prison: Option<PrisonCode>,
    /// Whether free texts are left out.
    pub(super) without_texts: bool,
}

impl JobRequest {
    pub(super) fn kind(&self) -> JobKind {
        match self {
            Self::Rebuild(_) => JobKind::Rebuild,
            Self::Verify(_) => JobKind::Verify,
            Self::Export(_) => JobKind::Export,
        }
    }

    /// Whether it builds views, which are dropped where it does not come to its end.
    pub(super) fn builds(&self) -> bool {
        match self {
            Self::Rebuild(_) => true,
            Self::Verify(_) => false,
            Self::Export(export) => export.known_at.is_some() && export.subject != ExportSubject::Log,
        }
    }
}

impl ExportRequest {
    /// The rows to export from the views; `None` of the log.
    pub(super) fn selection(&self) -> Result<Option<ExportSelection>, SelectionRefusal> {
        let selection = self.subject.selection(self.on, self.prison.clone())?;
        Ok(selection.map(|selection| ExportSelection { without_texts: self.without_texts, ..selection }))
    }

    /// The export in words, for the access log.
    pub(super) fn describe(&self) -> String {
        let mut text = self.subject.describe(self.prison.as_ref(), self.on);
        text.extend(self.known_at.map(|position| format!(" as of position {position}")));
        text
    }
}

impl BeginJob {
    /// The work, with the free texts that the caller may read.
    ///
    /// # Errors
    /// A member that the work has not, or that it lacks; or the log is out of reach.
    pub(super) async fn request(self, log: &SharedLog, scope: &CallerScope) -> Result<JobRequest, Problem> {
        if self.kind == JobKind::Export {
            return self.export(log, scope).await.map(JobRequest::Export);
        }
        let given = [
            ("format", self.format.is_some()),
            ("on", self.on.is_some()),
            ("knownAt", self.known_at.is_some()),
            ("prison", self.prison.is_some()),
        ];
        if let Some((name, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
            return Err(invalid(name, "only an export has this; leave it out"));
        }
        let view = self.view.as_deref().map(|name| name.parse::<View>().map_err(|error| invalid("view", error)));
        let view = view.transpose()?;
        Ok(if self.kind == JobKind::Rebuild { JobRequest::Rebuild(view) } else { JobRequest::Verify(view) })
    }

    async fn export(self, log: &SharedLog, scope: &CallerScope) -> Result<ExportRequest, Problem> {
        let Some(view) = self.view else {
            let detail = "an export is of one view: say which, or `log`";
            return Err(Problem::fault(ProblemCode::FieldMissing, Fault::pointer("#/view", detail)));
        };
        let subject: ExportSubject = view.parse().map_err(|error: String| invalid("view", error))?;
        if subject == ExportSubject::All {
            return Err(invalid("view", "an export is one file: name one view, or use the command line for all"));
        }
        let format = self.format.map_or(Ok(ExportFormat::Csv), |name| name.parse());
        let format = format.map_err(|error| invalid("format", error))?;
        let known_at = match self.known_at {
            Some(point) => Some(past_position(log, point).await?),
            None => None,
        };
        let without_texts = scope.texts != ReadableTexts::All;
        if without_texts && subject == ExportSubject::Log {
            let detail = "The log has the free texts of every prison, which only callers with the right AUDIT read. \
                          Export views, which then have none, or follow GET /events.";
            return Err(Problem::new(ProblemCode::RoleMissing, detail));
        }
        let on = self.on.map(DateOrInstant::instant);
        let request = ExportRequest { subject, format, on, known_at, prison: self.prison, without_texts };
        match request.selection() {
            Ok(_) => Ok(request),
            Err(refusal) => Err(match refusal {
                SelectionRefusal::LogHasNoPeriods => {
                    invalid("on", "the log has no periods: knownAt leaves out what was recorded later")
                }
                SelectionRefusal::LogNamesNoPrison => {
                    invalid("prison", "an event may be about two prisons, or name none; leave it out to export the log")
                }
                SelectionRefusal::AllHasEveryPeriod => invalid("on", "all views have every period; leave it out"),
                SelectionRefusal::NowNeedsInstant => {
                    let detail = "say of which day or instant the cases should be";
                    Problem::fault(ProblemCode::FieldMissing, Fault::pointer("#/on", detail))
                }
            }),
        }
    }
}

/// The position of a point that must not lie ahead.
async fn past_position(log: &SharedLog, point: KnownAt) -> Result<u64, Problem> {
    position_of(log, point).await.map_err(|error| match error {
        PositionError::NotOver(_) | PositionError::InLog(KnownAtError::Ahead { .. }) => invalid("knownAt", error),
        PositionError::InLog(KnownAtError::Log(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the event log cannot be read for now");
            Problem::new(ProblemCode::EventStoreUnavailable, "The event store cannot be reached. Please try again.")
        }
    })
}

fn invalid(name: &str, detail: impl ToString) -> Problem {
    Problem::fault(ProblemCode::FieldInvalid, Fault::pointer(format!("#/{name}"), detail.to_string()))
}
