//! The log as it grows, and an entry with its evidence.

use askama::Template;
use axum::{
    extract::{Path as PathPart, Query, State},
    response::Response,
};
use domain::event::Event;
use serde::Deserialize;

use crate::{
    Pages,
    answers::{ShownEntry, ShownView},
    api::{ApiAnswer, ApiError, Path},
    entry::{EntryLine, evidence},
    page_error::PageError,
    page_frame::{PageFrame, show},
    visitor::Visitor,
};

/// Entries on a page of the log.
const SHOWN: usize = 50;

/// How far before the end of the log the newest entries are looked for first. Positions are those
/// of the store: on some stores each event has the next number, on others the distance is larger.
const FIRST_DISTANCE: u64 = 64;

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage {
    frame: PageFrame,
    entries: Vec<EntryLine>,
    /// Where newer entries begin.
    newest: u64,
    is_newest: bool,
    /// The types of events, which the API's stream names.
    types: String,
}

#[derive(Template)]
#[template(path = "log_entries.html")]
struct LogEntries {
    entries: Vec<EntryLine>,
}

#[derive(Deserialize)]
pub(crate) struct LogQuery {
    after: Option<u64>,
}

async fn entries_after(pages: &Pages, visitor: &Visitor, after: u64) -> Result<ApiAnswer<Vec<ShownEntry>>, ApiError> {
    let path = Path::new("/events").with("after", Some(&after.to_string())).with("limit", Some("1000"));
    pages.api.get(visitor, path).await
}

/// The newest entries, the oldest first.
async fn newest_entries(pages: &Pages, visitor: &Visitor) -> Result<Vec<ShownEntry>, ApiError> {
    let views: ApiAnswer<Vec<ShownView>> = pages.api.get(visitor, Path::new("/projections")).await?;
    let end = views.position.unwrap_or(0);
    let mut distance = FIRST_DISTANCE;
    loop {
        let after = end.saturating_sub(distance);
        let mut entries = entries_after(pages, visitor, after).await?.content;
        if entries.len() >= SHOWN || after == 0 {
            return Ok(entries.split_off(entries.len().saturating_sub(SHOWN)));
        }
        distance = distance.saturating_mul(2);
    }
}

/// `GET /pages/log?after=`: the newest entries, or those after a position.
pub(crate) async fn show_log(
    State(pages): State<Pages>,
    visitor: Visitor,
    Query(query): Query<LogQuery>,
) -> Result<Response, PageError> {
    let entries = match query.after {
        Some(after) => {
            let mut entries = entries_after(&pages, &visitor, after).await?.content;
            entries.truncate(SHOWN);
            entries
        }
        None => newest_entries(&pages, &visitor).await?,
    };
    let newest = entries.last().map_or(query.after.unwrap_or(0), |entry| entry.position);
    let is_newest = entries.len() < SHOWN || query.after.is_none();
    let types = Event::type_names().collect::<Vec<_>>().join(" ");
    let entries = entries.iter().rev().map(EntryLine::from).collect();
    Ok(show(&LogPage { frame: PageFrame::new("The log", &visitor), entries, newest, is_newest, types }))
}

/// `GET /pages/log/newer?after=`: the entries after a position as a part of a page, for the script.
pub(crate) async fn show_newer(
    State(pages): State<Pages>,
    visitor: Visitor,
    Query(query): Query<LogQuery>,
) -> Result<Response, PageError> {
    let mut entries = entries_after(&pages, &visitor, query.after.unwrap_or(0)).await?.content;
    entries.truncate(SHOWN);
    Ok(show(&LogEntries { entries: entries.iter().rev().map(EntryLine::from).collect() }))
}

/// `GET /pages/log/stream?after=`: tells the script of each new entry, as the API's own stream
/// does.
pub(crate) async fn follow(State(pages): State<Pages>, visitor: Visitor, Query(query): Query<LogQuery>) -> Response {
    let after = query.after.map(|after| after.to_string());
    pages.api.pass_on(&visitor, Path::new("/events").with("after", after.as_deref()), "text/event-stream").await
}

#[derive(Template)]
#[template(path = "entry.html")]
struct EntryPage {
    frame: PageFrame,
    entry: EntryLine,
    stream: String,
    evidence: String,
}

/// `GET /pages/log/{position}`: an entry with its evidence.
pub(crate) async fn show_entry(
    State(pages): State<Pages>,
    visitor: Visitor,
    PathPart(position): PathPart<String>,
) -> Result<Response, PageError> {
    let unknown = || PageError::Address(format!("There is no entry at position {position} of the log."));
    let at: u64 = position.parse().map_err(|_| unknown())?;
    let before = at.checked_sub(1).map(|before| before.to_string());
    let path = Path::new("/events").with("after", before.as_deref()).with("limit", Some("1"));
    let found: ApiAnswer<Vec<ShownEntry>> = pages.api.get(&visitor, path).await?;
    let entry = found.content.into_iter().find(|entry| entry.position == at).ok_or_else(unknown)?;
    let frame = PageFrame::new(format!("Entry {at} of the log"), &visitor).back("/pages/log", "the log");
    let evidence = evidence(&entry.data);
    Ok(show(&EntryPage { frame, entry: EntryLine::from(&entry), stream: entry.stream, evidence }))
}
