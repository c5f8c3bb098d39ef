//! How far long work has come: for the jobs of a service, and as bars on standard error, where that
//! is a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use projector::{BuildProgress, export::ExportProgress};
use serde::Serialize;
use utoipa::ToSchema;

/// A bar over positions of the log, which need not be as many as its events.
pub const POSITIONS: &str = "{msg} {wide_bar} {human_pos} of {human_len} positions {per_sec:0} {eta}";

/// A bar over parts of the work, of about the same size.
const PARTS: &str = "{msg} {wide_bar} part {human_pos} of {human_len} {eta}";

/// A bar over rows.
const ROWS: &str = "{msg} {wide_bar} {human_pos} of {human_len} rows {per_sec:0} {eta}";

/// A bar over cases.
pub const CASES: &str = "{msg} {wide_bar} {human_pos} of {human_len} cases {eta}";

/// A bar of which the message says how much is done.
pub const PERCENT: &str = "{prefix} {msg} {wide_bar} {percent} % {eta}";

/// Work of which it is not known how much there is.
const UNMEASURED: &str = "{msg} {spinner}";

/// The style of a bar with one of these templates.
#[must_use]
pub fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// How far work on the views has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct WorkProgress {
    /// The work under way.
    stage: WorkStage,
    /// How much of it is done.
    done: u64,
    /// How much there is: positions of the log where it is read, rows where they are exported, else
    /// parts of about the same size; null where nobody knows.
    #[schema(required)]
    of: Option<u64>,
}

/// A stage of work on the views.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum WorkStage {
    /// It begins.
    Beginning,
    /// The log is read.
    ReadingLog,
    /// Rows are made and written.
    WritingRows,
    /// Rows are compared.
    ComparingRows,
    /// Keys and indexes are made.
    Indexing,
    /// Events that were recorded meanwhile are projected.
    CatchingUp,
    /// Rows of views are exported.
    ExportingRows,
    /// Events are exported.
    ExportingEvents,
}

impl WorkStage {
    /// The stage in words, and the template of its bar.
    const fn bar(self) -> (&'static str, &'static str) {
        match self {
            Self::Beginning => ("beginning", UNMEASURED),
            Self::ReadingLog => ("reading the log", POSITIONS),
            Self::WritingRows => ("writing rows", PARTS),
            Self::ComparingRows => ("comparing rows", PARTS),
            Self::Indexing => ("making indexes", UNMEASURED),
            Self::CatchingUp => ("catching up", UNMEASURED),
            Self::ExportingRows => ("exporting", ROWS),
            Self::ExportingEvents => ("exporting", POSITIONS),
        }
    }
}

impl From<BuildProgress> for WorkProgress {
    fn from(progress: BuildProgress) -> Self {
        let (stage, done, of) = match progress {
            BuildProgress::Reading { position, to } => (WorkStage::ReadingLog, position, Some(to)),
            BuildProgress::Writing { written, parts } => (WorkStage::WritingRows, written as u64, Some(parts as u64)),
            BuildProgress::Comparing { compared, parts } => {
                (WorkStage::ComparingRows, compared as u64, Some(parts as u64))
            }
            BuildProgress::Indexing => (WorkStage::Indexing, 0, None),
            BuildProgress::CatchingUp { position } => (WorkStage::CatchingUp, position, None),
        };
        Self { stage, done, of }
    }
}

impl From<ExportProgress> for WorkProgress {
    fn from(progress: ExportProgress) -> Self {
        match progress {
            ExportProgress::Building(progress) => progress.into(),
            ExportProgress::Writing { written, of } => {
                Self { stage: WorkStage::ExportingRows, done: written, of: Some(of) }
            }
        }
    }
}

impl WorkProgress {
    /// Nothing is done yet.
    pub(crate) const BEGINNING: Self = Self { stage: WorkStage::Beginning, done: 0, of: None };

    /// An export of the log that has come to `position`.
    pub(crate) fn of_log_export(position: u64, to: u64) -> Self {
        Self { stage: WorkStage::ExportingEvents, done: position, of: Some(to) }
    }

    /// Shows it: a bar a stage.
    pub(crate) fn show(self, bar: &ProgressBar) {
        let (message, template) = self.stage.bar();
        if bar.message() != message {
            bar.reset();
            bar.set_style(style(template));
            bar.set_message(message);
        }
        match self.of {
            Some(of) => bar.set_length(of),
            None => bar.unset_length(),
        }
        bar.set_position(self.done);
    }
}
