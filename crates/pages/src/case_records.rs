//! More of a case: what was said then and is said now, who looked at it, and its file for printing.

use askama::Template;
use axum::{
    extract::{Path as PathPart, Query, State},
    response::Response,
};
use chrono::{DateTime, Utc};
use domain::identifier::PrisonerNumber;
use futures::{join, try_join};
use serde::Deserialize;

use crate::{
    Pages,
    answers::{ShownEntry, ShownPeriod, ShownResponsibility},
    api::{ApiAnswer, ApiError, Path},
    case_page::{Tense, number_of, sentence},
    clocks::{self, Clocks, day, time},
    entry::{EntryLine, evidence},
    page_error::PageError,
    page_frame::{PageFrame, show},
    timeline::{Timeline, officer_words},
    visitor::Visitor,
    words,
};

fn frame_of(title: String, number: &PrisonerNumber, visitor: &Visitor) -> PageFrame {
    PageFrame::new(title, visitor).back(format!("/pages/cases/{number}"), format!("case {number}"))
}

/// A line of the difference: what it is about, what was said then, and what is said now.
struct DifferenceLine {
    label: &'static str,
    then: String,
    now: String,
}

impl DifferenceLine {
    fn is_different(&self) -> bool {
        self.then != self.now
    }
}

#[derive(Template)]
#[template(path = "difference.html")]
struct DifferencePage {
    frame: PageFrame,
    number: String,
    clocks: Clocks,
    lines: Vec<DifferenceLine>,
    /// The entries that were recorded after the moment of then.
    later: Vec<EntryLine>,
}

impl DifferencePage {
    fn address(&self) -> String {
        format!("/pages/cases/{}/difference", self.number)
    }
}

/// The answer about a case, part by part; `None` where the ledger knew nothing of it.
fn told(case: Option<&ShownResponsibility>) -> [(&'static str, String); 6] {
    const LABELS: [&str; 6] = ["Responsible", "Supporting", "Prison", "Tier", "Where the case is", "Handover"];
    let Some(case) = case else { return LABELS.map(|label| (label, "Nothing was known".to_owned())) };
    let plan = case.reason.as_ref();
    let handover = plan.and_then(|plan| plan.handover_date).map_or_else(|| "No date".to_owned(), day);
    let parts = [
        officer_words(&case.responsible),
        case.supporting.as_ref().map_or_else(|| "Nobody".to_owned(), officer_words),
        case.prison.clone().unwrap_or_else(|| "None".to_owned()),
        case.tier.clone().unwrap_or_else(|| "None".to_owned()),
        words::phase(&case.phase).to_owned(),
        handover,
    ];
    let mut labels = LABELS.into_iter();
    parts.map(|part| (labels.next().unwrap_or_default(), part))
}

/// An answer, or `None` where the ledger knew nothing of the case.
fn known(answer: Result<ApiAnswer<ShownResponsibility>, ApiError>) -> Result<Option<ShownResponsibility>, ApiError> {
    match answer {
        Ok(answer) => Ok(Some(answer.content)),
        Err(ApiError::Refused(problem)) if problem.code == "prisoner-unknown" => Ok(None),
        Err(error) => Err(error),
    }
}

/// `GET /pages/cases/{number}/difference?on=&known-at=`: what the ledger said then about a day, and
/// what it says now about the same day.
pub(crate) async fn show_difference(
    State(pages): State<Pages>,
    visitor: Visitor,
    PathPart(number): PathPart<String>,
    Query(clocks): Query<Clocks>,
) -> Result<Response, PageError> {
    let number = number_of(&number)?;
    let now = Clocks { known_at: String::new(), ..clocks.clone() };
    let responsibility = || Path::new(format!("/prisoners/{number}/responsibility"));
    let history = Path::new(format!("/prisoners/{number}/history")).with("limit", Some("1000"));
    let (then, today, history) = join!(
        pages.api.get::<ShownResponsibility>(&visitor, clocks.of(responsibility())),
        pages.api.get::<ShownResponsibility>(&visitor, now.of(responsibility())),
        pages.api.get::<Vec<ShownEntry>>(&visitor, history),
    );
    let (then, today, history) = (known(then)?, known(today)?, history?);
    let lines = told(then.as_ref()).into_iter().zip(told(today.as_ref()));
    let lines = lines.map(|((label, then), (_, now))| DifferenceLine { label, then, now }).collect();
    // A date stands for its end.
    let known_until = match clocks.known_at.trim().parse().ok().and_then(|day: chrono::NaiveDate| day.succ_opt()) {
        Some(next) => Some(domain::london::midnight(next)),
        None => clocks::instant_of(clocks.known_at.trim()),
    };
    let later = history.content.iter().filter(|entry| known_until.is_some_and(|until| entry.recorded_at >= until));
    let later = later.map(EntryLine::from).collect();
    let frame = frame_of(format!("{number}: then and now"), &number, &visitor);
    Ok(show(&DifferencePage { frame, number: number.to_string(), clocks, lines, later }))
}

/// A read of a case.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    at: DateTime<Utc>,
    username: Option<String>,
    client: Option<String>,
    operation: String,
    status: Option<i32>,
}

#[derive(Template)]
#[template(path = "readers.html")]
struct ReadersPage {
    frame: PageFrame,
    number: String,
    reads: Vec<Read>,
    next: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct AfterQuery {
    after: Option<String>,
}

/// `GET /pages/cases/{number}/readers`: who looked at a case.
pub(crate) async fn show_readers(
    State(pages): State<Pages>,
    visitor: Visitor,
    PathPart(number): PathPart<String>,
    Query(query): Query<AfterQuery>,
) -> Result<Response, PageError> {
    let number = number_of(&number)?;
    let path = Path::new("/access-log").with("prisoner", Some(number.as_str())).with("after", query.after.as_deref());
    let reads: ApiAnswer<Vec<Read>> = pages.api.get(&visitor, path).await?;
    let frame = frame_of(format!("Who looked at {number}"), &number, &visitor);
    Ok(show(&ReadersPage { frame, number: number.to_string(), reads: reads.content, next: reads.next }))
}

#[derive(Template)]
#[template(path = "case_file.html")]
struct CaseFilePage {
    frame: PageFrame,
    number: String,
    made_at: String,
    sentence: String,
    timeline: Option<Timeline>,
    entries: Vec<(EntryLine, String)>,
    has_more: bool,
}

/// `GET /pages/cases/{number}/file`: all of a case on one page, for printing.
pub(crate) async fn show_file(
    State(pages): State<Pages>,
    visitor: Visitor,
    PathPart(number): PathPart<String>,
) -> Result<Response, PageError> {
    let number = number_of(&number)?;
    let path = |part: &str| Path::new(format!("/prisoners/{number}/{part}"));
    let (case, periods, history): (
        ApiAnswer<ShownResponsibility>,
        ApiAnswer<Vec<ShownPeriod>>,
        ApiAnswer<Vec<ShownEntry>>,
    ) = try_join!(
        pages.api.get(&visitor, path("responsibility")),
        pages.api.get(&visitor, path("responsibility/periods")),
        pages.api.get(&visitor, path("history").with("limit", Some("1000"))),
    )?;
    let now = pages.now();
    Ok(show(&CaseFilePage {
        frame: frame_of(format!("Case file {number}"), &number, &visitor),
        number: number.to_string(),
        made_at: time(now),
        sentence: sentence(&case.content, Tense::Now),
        timeline: Timeline::new(&periods.content, now),
        has_more: history.next.is_some(),
        entries: history.content.iter().map(|entry| (EntryLine::from(entry), evidence(&entry.data))).collect(),
    }))
}
