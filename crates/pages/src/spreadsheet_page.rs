//! An uploaded spreadsheet: how it was read, what would be recorded, and its recording.

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    extract::{Path as PathPart, Query, State},
    http::{Method, StatusCode},
    response::{IntoResponse as _, Redirect, Response},
};
use chrono::NaiveDate;
use domain::identifier::PrisonCode;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    Pages,
    api::{ApiAnswer, ApiCommand, ApiError, ApiProblem, Path},
    clocks,
    command_form::faults,
    command_pages::OTHER_SESSION,
    page_error::PageError,
    page_frame::{PageFrame, show_as},
    prison_page::{prison_name, prison_of},
    sent_form::SentForm,
    visitor::Visitor,
    words,
};

/// An uploaded spreadsheet.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownSpreadsheet {
    file_name: String,
    state: String,
    detail: Option<String>,
    progress: Option<ShownProgress>,
    reading: Option<ShownReading>,
    counts: Option<ShownCounts>,
    plan: Option<ShownPlan>,
}

impl ShownSpreadsheet {
    /// Whether it goes on by itself.
    fn is_at_work(&self) -> bool {
        matches!(self.state.as_str(), "READING" | "RECORDING")
    }

    /// Whether its rows can be recorded, or the rest of them.
    fn is_recordable(&self) -> bool {
        let is_read = self.counts.as_ref().is_some_and(|counts| counts.to_record > 0);
        is_read && matches!(self.state.as_str(), "READ" | "FAILED" | "CANCELLED")
    }

    fn title(&self) -> &'static str {
        match self.state.as_str() {
            "READING" => "The file is being read",
            "READ" => "Check before you record",
            "RECORDING" => "The rows are being recorded",
            "DONE" => "The spreadsheet is recorded",
            "CANCELLED" => "The recording was cancelled",
            _ if self.reading.is_some() => "The recording could not go on",
            _ => "The file could not be read",
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownProgress {
    rows_recorded: u64,
    rows_due: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownReading {
    sheet: String,
    header_row: u32,
    columns: Vec<ShownColumn>,
    notes: Vec<String>,
    remarks: Vec<String>,
}

#[derive(Deserialize)]
struct ShownColumn {
    column: String,
    heading: String,
    field: Option<String>,
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownCounts {
    rows: u64,
    to_record: u64,
    recorded: u64,
    already_recorded: u64,
    refused: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownPlan {
    go_live_date: Option<NaiveDate>,
    registered_poms: Vec<PlannedPom>,
    reactivated_poms: Vec<PlannedPom>,
    caseloads: Vec<PlannedCases>,
    waiting: u64,
}

#[derive(Deserialize)]
struct PlannedPom {
    name: String,
    kind: String,
}

/// The cases that a POM gets.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlannedCases {
    name: String,
    kind: Option<String>,
    cases: u64,
    by_tier: BTreeMap<String, u64>,
}

impl PlannedCases {
    fn tiers(&self) -> String {
        self.by_tier.iter().map(|(tier, cases)| format!("{tier} {cases}")).collect::<Vec<_>>().join(", ")
    }
}

/// A row that is refused.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefusedRow {
    row: u32,
    prisoner_number: Option<String>,
    column: Option<String>,
    value: Option<String>,
    reason: Option<String>,
}

#[derive(Template)]
#[template(path = "spreadsheet.html")]
struct SpreadsheetPage {
    frame: PageFrame,
    prison: PrisonCode,
    name: String,
    id: Uuid,
    sheet: ShownSpreadsheet,
    refused: Vec<RefusedRow>,
    next: Option<String>,
    is_still: bool,
    errors: Vec<(String, String)>,
    go_live: String,
    csrf: String,
    key: Uuid,
}

impl SpreadsheetPage {
    fn address(&self) -> String {
        format!("/pages/prisons/{}/spreadsheets/{}", self.prison, self.id)
    }

    /// Whether the recording needs the prison's go-live date.
    fn joins_omic(&self) -> bool {
        self.sheet.plan.as_ref().is_some_and(|plan| plan.go_live_date.is_some())
    }
}

/// The question of the page.
#[derive(Default, Deserialize)]
pub(crate) struct SpreadsheetQuery {
    /// Refused rows after this place.
    after: Option<String>,
    /// Whether the page is not to load itself again.
    #[serde(default)]
    still: String,
}

fn id_of(id: &str) -> Result<Uuid, PageError> {
    id.parse().map_err(|_| PageError::Address("There is no such spreadsheet. Check the address.".to_owned()))
}

async fn show(
    pages: &Pages,
    visitor: &Visitor,
    (prison, id): (PrisonCode, Uuid),
    query: SpreadsheetQuery,
    refusal: Option<(&ApiProblem, &SentForm)>,
) -> Result<Response, PageError> {
    let path = format!("/prisons/{prison}/spreadsheets/{id}");
    let ApiAnswer { content: sheet, .. }: ApiAnswer<ShownSpreadsheet> =
        pages.api.get(visitor, Path::new(path.clone())).await?;
    let has_refused = !sheet.is_at_work() && sheet.counts.as_ref().is_some_and(|counts| counts.refused > 0);
    let (refused, next) = if has_refused {
        let rows = Path::new(format!("{path}/rows")).with("outcome", Some("refused")).with("limit", Some("100"));
        let rows = pages.api.get::<Vec<RefusedRow>>(visitor, rows.with("after", query.after.as_deref())).await?;
        (rows.content, rows.next)
    } else {
        (Vec::new(), None)
    };
    let errors = refusal.map(|(problem, _)| faults(problem)).unwrap_or_default().into_iter();
    let is_of_date = |name: &str| name.trim_start_matches('/') == "goLiveDate" || name == "go-live";
    let field_of = |name: String| if is_of_date(&name) { "go-live" } else { "recording" }.to_owned();
    let errors: Vec<_> = errors.map(|(name, error)| (field_of(name), error)).collect();
    let typed = refusal.map(|(_, sent)| &sent.typed);
    let planned = sheet.plan.as_ref().and_then(|plan| plan.go_live_date).map(|date| date.to_string());
    let name = prison_name(&prison);
    let page = SpreadsheetPage {
        frame: PageFrame::new(format!("{}: {name}", sheet.title()), visitor)
            .back(format!("/pages/prisons/{prison}"), name.clone())
            .with_errors(!errors.is_empty()),
        name,
        refused,
        next,
        is_still: !query.still.is_empty(),
        errors,
        go_live: typed.map_or_else(|| planned.unwrap_or_default(), |typed| typed.text("go-live").to_owned()),
        csrf: visitor.csrf.clone(),
        key: typed.map_or_else(Uuid::new_v4, crate::command_form::Typed::key),
        prison,
        id,
        sheet,
    };
    let status = refusal.and_then(|(problem, _)| StatusCode::from_u16(problem.status).ok());
    Ok(show_as(status.unwrap_or(StatusCode::OK), &page))
}

/// `GET /pages/prisons/{prison}/spreadsheets/{id}`
pub(crate) async fn show_spreadsheet(
    State(pages): State<Pages>,
    visitor: Visitor,
    PathPart((prison, id)): PathPart<(String, String)>,
    Query(query): Query<SpreadsheetQuery>,
) -> Result<Response, PageError> {
    show(&pages, &visitor, (prison_of(&prison)?, id_of(&id)?), query, None).await
}

/// `GET /pages/prisons/{prison}/spreadsheets/{id}/refused-rows`: the API's file.
pub(crate) async fn download_refused_rows(
    State(pages): State<Pages>,
    visitor: Visitor,
    PathPart((prison, id)): PathPart<(String, String)>,
) -> Result<Response, PageError> {
    let (prison, id) = (prison_of(&prison)?, id_of(&id)?);
    let path = Path::new(format!("/prisons/{prison}/spreadsheets/{id}/refused-rows"));
    Ok(pages.api.download(&visitor, path).await?)
}

/// `POST /pages/prisons/{prison}/spreadsheets/{id}`: records it, or cancels.
pub(crate) async fn act_on_spreadsheet(
    State(pages): State<Pages>,
    PathPart((prison, id)): PathPart<(String, String)>,
    sent: SentForm,
) -> Result<Response, PageError> {
    let SentForm { visitor, typed, is_of_session } = &sent;
    let (prison, id) = (prison_of(&prison)?, id_of(&id)?);
    let own = format!("/prisons/{prison}/spreadsheets");
    let is_recording = typed.step() == "record";
    let go_live = Some(typed.text("go-live")).filter(|date| is_recording && !date.is_empty());
    let command = ApiCommand {
        method: if is_recording { Method::POST } else { Method::DELETE },
        path: Path::new(format!("{own}/{id}{}", if is_recording { "/recording" } else { "" })),
        body: go_live.map_or(Value::Null, |date| json!({ "goLiveDate": date })),
        key: typed.key(),
        revision: None,
    };
    let done = if *is_of_session {
        pages.api.send(visitor, &command).await
    } else {
        Err(ApiError::Refused(Box::new(ApiProblem::of_pages(403, OTHER_SESSION))))
    };
    match done {
        // It is forgotten.
        Ok(recorded) if recorded.is_empty() => Ok(Redirect::to(&format!("/pages{own}")).into_response()),
        Ok(_) => Ok(Redirect::to(&format!("/pages{own}/{id}")).into_response()),
        Err(ApiError::Refused(problem)) => {
            show(&pages, visitor, (prison, id), SpreadsheetQuery::default(), Some((&problem, &sent))).await
        }
        Err(error) => Err(error.into()),
    }
}
