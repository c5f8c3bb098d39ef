//! The state of an upload as answers show it.

use std::collections::BTreeMap;

use access_log::Shown;
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    identifier::{PrisonCode, StaffId},
    officer::PomKind,
};
use serde::Serialize;
use spreadsheets::{
    layout::SheetReading,
    plan::{ImportPlan, PlannedRow, Verdict},
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    http_words::in_words_of_http,
    row_line::{RowLine, RowOutcome, count_waiting, planned_caseloads},
    upload::{ImportState, KEPT_FOR, ReadUpload, Stage, Upload},
};

/// Most refused rows that the state of an upload shows: as many as a person reads on a screen. The
/// list of rows has all.
const REFUSED_SHOWN_MAX: usize = 50;

/// An uploaded spreadsheet.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spreadsheet {
    /// Identifies the upload.
    id: Uuid,
    /// The prison whose cases it has.
    #[schema(value_type = PrisonCode)]
    prison: String,
    /// The name of the file.
    file_name: String,
    /// When it came.
    uploaded_at: DateTime<Utc>,
    /// The user who uploaded it, where one is known.
    uploaded_by: Option<String>,
    /// How many seconds it is kept after it was last asked for.
    kept_for_seconds: u64,
    /// Where it is.
    state: ImportState,
    /// Why it failed, or how it was cancelled.
    detail: Option<String>,
    /// How far the recording is, or the last one came.
    progress: Option<RecordingProgress>,
    /// The run that its events name, once the file is read. `allocation-ledger import undo` takes
    /// back what a run recorded.
    run: Option<Uuid>,
    /// How the sheet was read, once it is.
    reading: Option<ReadingAnswer>,
    /// How many rows there are of each outcome, once the file is read.
    counts: Option<RowCounts>,
    /// The additions of the recording beside the rows themselves.
    plan: Option<PlanAnswer>,
    /// The first refused rows, 50 at most.
    #[schema(value_type = Vec<RowLine>)]
    refused_rows: Vec<RowAnswer>,
}

/// The progress of a recording.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RecordingProgress {
    /// How many rows are recorded.
    rows_recorded: usize,
    /// How many rows were to be recorded when it began, and each time that it was planned again.
    rows_due: u64,
}

/// How a sheet was read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SheetReading)]
struct ReadingAnswer {
    /// The name of the sheet.
    sheet: String,
    /// The row of the headings.
    header_row: u32,
    /// The columns with a heading or a field, from the left.
    columns: Vec<ColumnAnswer>,
    /// How values were understood, in sentences.
    notes: Vec<String>,
    /// Remarks on rows, columns and sheets that are hidden, merged, coloured or not read.
    remarks: Vec<String>,
    /// How many blank rows were passed over.
    blank_rows: u32,
    /// How many rows of totals were passed over.
    total_rows: u32,
    /// The rows that were passed over as headings or notes.
    note_rows: Vec<u32>,
}

/// How a column was read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SheetColumn)]
struct ColumnAnswer {
    /// Its letters in a spreadsheet program.
    column: String,
    /// Its heading as written; empty if it has none.
    heading: String,
    /// The field that it was taken for, by its name in `map`; null if it was not read.
    field: Option<&'static str>,
    /// Why it was not read, where its heading would name a field.
    note: Option<String>,
}

/// How many rows there are of each outcome.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RowCounts {
    /// All rows of data.
    rows: usize,
    /// Those that would be recorded.
    to_record: usize,
    /// Those that were recorded.
    recorded: usize,
    /// Those that an earlier import recorded.
    already_recorded: usize,
    /// Those that are refused.
    refused: usize,
}

/// The additions of a recording, beside its rows.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SpreadsheetPlan)]
struct PlanAnswer {
    /// The go-live date with which the prison joins OMiC, where it does: the one sent, or the
    /// earliest date in the sheet, which the caller must confirm.
    go_live_date: Option<NaiveDate>,
    /// POMs who are new on the roster.
    registered_poms: Vec<PomAnswer>,
    /// POMs who are active again after an undone import.
    reactivated_poms: Vec<PomAnswer>,
    /// The cases by POM.
    caseloads: Vec<CaseloadAnswer>,
    /// How many cases have no POM, and wait to be allocated.
    waiting: usize,
}

/// A POM on the roster.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SpreadsheetPom)]
struct PomAnswer {
    /// The staff id.
    staff_id: StaffId,
    /// The name.
    name: String,
    /// The kind.
    kind: PomKind,
}

/// The cases of a POM.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SpreadsheetCaseload)]
struct CaseloadAnswer {
    /// The POM's staff id.
    staff_id: StaffId,
    /// The POM's name on the roster.
    name: String,
    /// The POM's kind.
    kind: Option<PomKind>,
    /// How many cases.
    cases: usize,
    /// How many cases by the letter of their tier.
    by_tier: BTreeMap<char, usize>,
}

/// A row as an answer holds it.
pub(super) type RowAnswer = serde_json::Value;

impl Spreadsheet {
    fn new(upload: &Upload, stage: &Stage, refused: &[&PlannedRow]) -> Self {
        let read = stage.read.as_ref();
        Self {
            id: upload.id,
            prison: upload.prison.to_string(),
            file_name: upload.file_name.clone(),
            uploaded_at: upload.uploaded_at,
            uploaded_by: upload.uploaded_by.username.as_ref().map(ToString::to_string),
            kept_for_seconds: KEPT_FOR.as_secs(),
            state: stage.state,
            detail: stage.detail.clone(),
            progress: stage
                .run
                .as_ref()
                .map(|run| RecordingProgress { rows_recorded: run.recorded(), rows_due: run.due() }),
            run: read.map(|read| read.source.run()),
            reading: read.map(ReadingAnswer::of),
            counts: read.map(|read| RowCounts::of(stage, &read.plan)),
            plan: read.map(|read| PlanAnswer::of(&read.plan)),
            refused_rows: read.map_or_else(Vec::new, |read| {
                refused.iter().map(|row| row_answer(stage, &read.sheet.table.sheet, row)).collect()
            }),
        }
    }
}

/// The answer with the state of an upload now.
pub(super) fn state_answer(status: StatusCode, upload: &Upload) -> Response {
    let stage = upload.stage();
    let rows = stage.read.iter().flat_map(|read| read.plan.rows.iter());
    let refused = rows.filter(|row| matches!(row.verdict, Verdict::Refused(_))).take(REFUSED_SHOWN_MAX);
    let refused: Vec<&PlannedRow> = refused.collect();
    let answer = Json(Spreadsheet::new(upload, &stage, &refused));
    answer_showing((status, answer), shown_by(refused.iter().copied()))
}

impl ReadingAnswer {
    fn of(read: &ReadUpload) -> Self {
        let SheetReading { sheet, header_row, columns, notes, remarks } = &read.sheet.reading;
        let in_words = |sentences: &[String]| sentences.iter().map(|text| in_words_of_http(text)).collect();
        let table = &read.sheet.table;
        Self {
            sheet: sheet.clone(),
            header_row: *header_row,
            columns: columns
                .iter()
                .map(|column| ColumnAnswer {
                    column: column.column.clone(),
                    heading: column.heading.clone(),
                    field: column.field,
                    note: column.note.as_deref().map(in_words_of_http),
                })
                .collect(),
            notes: in_words(notes),
            remarks: in_words(remarks),
            blank_rows: table.blank_rows,
            total_rows: table.total_rows,
            note_rows: table.note_rows.clone(),
        }
    }
}

impl RowCounts {
    fn of(stage: &Stage, plan: &ImportPlan) -> Self {
        let mut counts = Self { rows: plan.rows.len(), ..Self::default() };
        for row in &plan.rows {
            let count = match outcome_of(stage, row) {
                RowOutcome::WouldRecord => &mut counts.to_record,
                RowOutcome::Recorded => &mut counts.recorded,
                RowOutcome::AlreadyRecorded => &mut counts.already_recorded,
                RowOutcome::Refused => &mut counts.refused,
            };
            *count += 1;
        }
        counts
    }
}

impl PlanAnswer {
    fn of(plan: &ImportPlan) -> Self {
        let caseloads = planned_caseloads(plan).into_iter().map(|caseload| CaseloadAnswer {
            staff_id: caseload.staff_id,
            name: caseload.name.to_owned(),
            kind: caseload.kind,
            cases: caseload.cases,
            by_tier: caseload.by_tier,
        });
        let registered = plan.registered.iter().map(|pom| (pom.staff_id, &pom.name, pom.kind));
        let reactivated = plan.reactivated.iter().map(|pom| (pom.staff_id, &pom.name, pom.kind));
        let pom =
            |(staff_id, name, kind): (StaffId, &String, PomKind)| PomAnswer { staff_id, name: name.clone(), kind };
        Self {
            go_live_date: plan.joined.as_ref().map(|joined| joined.go_live_date),
            registered_poms: registered.map(pom).collect(),
            reactivated_poms: reactivated.map(pom).collect(),
            caseloads: caseloads.collect(),
            waiting: count_waiting(plan),
        }
    }
}

/// The outcome of a row, as it is now.
pub(super) fn outcome_of(stage: &Stage, row: &PlannedRow) -> RowOutcome {
    match row.verdict {
        Verdict::Record(_) => stage.outcome_if_due(row.row.number),
        Verdict::AlreadyRecorded => RowOutcome::AlreadyRecorded,
        Verdict::Refused(_) => RowOutcome::Refused,
    }
}

/// A row of an answer.
pub(super) fn row_answer(stage: &Stage, sheet: &str, row: &PlannedRow) -> RowAnswer {
    let line = RowLine::new(sheet, row, stage.outcome_if_due(row.row.number));
    let reason = line.reason.map(in_words_of_http);
    // A line is plain JSON.
    serde_json::to_value(RowLine { reason: reason.as_deref(), ..line }).unwrap_or_default()
}

/// The people whom rows show.
pub(super) fn shown_by<'r>(rows: impl Iterator<Item = &'r PlannedRow>) -> Shown {
    Shown::prisoners(rows.filter_map(|row| row.row.prisoner_number.as_ref()))
}

/// An answer that shows these people.
pub(super) fn answer_showing(answer: impl IntoResponse, shown: Shown) -> Response {
    let mut response = answer.into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(shown);
    response
}
