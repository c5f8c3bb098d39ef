//! Control reports for auditors: voids, backdating, choices against the recommendation.

use askama::Template;
use axum::{
    extract::{Path as PathPart, Query, State},
    response::Response,
};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::{
    Pages,
    api::{ApiAnswer, Path},
    page_error::PageError,
    page_frame::{PageFrame, show},
    visitor::Visitor,
    words,
};

/// The reports: the API's name, and the name that people see.
const REPORTS: [(&str, &str); 3] = [
    ("voids", "Voids"),
    ("backdated-entries", "Backdated entries"),
    ("overrides", "Choices against the recommendation"),
];

/// The entries that a report is asked about, as the visitor has typed it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct TypedControlFilter {
    from: String,
    to: String,
    prison: String,
    recorded_by: String,
    days: String,
    after: String,
}

impl TypedControlFilter {
    fn pairs(&self) -> [(&'static str, &str); 5] {
        [
            ("from", self.from.trim()),
            ("to", self.to.trim()),
            ("prison", self.prison.trim()),
            ("recorded-by", self.recorded_by.trim()),
            ("days", self.days.trim()),
        ]
    }

    fn of(&self, path: Path) -> Path {
        self.pairs().into_iter().fold(path, |path, (name, value)| path.with(name, Some(value)))
    }

    /// The filter as the query of a link, narrowed to a person and a prison or to a page.
    fn query(&self, further: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.pairs() {
            if !value.is_empty() && !further.iter().any(|(narrowed, _)| *narrowed == name) {
                query.append_pair(name, value);
            }
        }
        further.iter().filter(|(_, value)| !value.is_empty()).for_each(|(name, value)| {
            query.append_pair(name, value);
        });
        query.finish()
    }
}

/// The counts of a person at a prison.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PersonCounts {
    recorded_by: Option<String>,
    client: String,
    prison: Option<String>,
    voids: u64,
    backdated: u64,
    overrides: u64,
}

#[derive(Template)]
#[template(path = "controls.html")]
struct ControlsPage {
    frame: PageFrame,
    filter: TypedControlFilter,
    counts: Vec<PersonCounts>,
    has_more: bool,
}

impl ControlsPage {
    fn link(&self, report: &str, counts: &PersonCounts) -> String {
        let prison = counts.prison.as_deref().unwrap_or_default();
        let person = counts.recorded_by.as_deref().unwrap_or_default();
        let query = self.filter.query(&[("prison", prison), ("recorded-by", person)]);
        format!("/pages/controls/{report}?{query}")
    }
}

/// `GET /pages/controls`: how many voids, backdated entries and choices against the recommendation
/// each person recorded at each prison.
pub(crate) async fn show_controls(
    State(pages): State<Pages>,
    visitor: Visitor,
    Query(filter): Query<TypedControlFilter>,
) -> Result<Response, PageError> {
    let path = filter.of(Path::new("/control-reports")).with("limit", Some("200"));
    let counts: ApiAnswer<Vec<PersonCounts>> = pages.api.get(&visitor, path).await?;
    let frame = PageFrame::new("Control reports", &visitor);
    Ok(show(&ControlsPage { frame, filter, has_more: counts.next.is_some(), counts: counts.content }))
}

/// An entry of a report.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReportedEntry {
    prisoner_number: String,
    prison: Option<String>,
    position: u64,
    recorded_by: Option<String>,
    client: String,
    recorded_at: DateTime<Utc>,
    effective_at: DateTime<Utc>,
    days_late: i64,
    voided_by: Option<u64>,
    void: Option<ReportedVoid>,
    choice: Option<ReportedChoice>,
}

/// The entry that a void takes back.
#[derive(Deserialize)]
struct ReportedVoid {
    revision: u64,
    reason: Option<String>,
}

/// A choice of a POM against the recommendation.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReportedChoice {
    #[serde(default)]
    override_reasons: Vec<String>,
}

impl ReportedEntry {
    /// Further facts in words.
    fn facts(&self) -> String {
        let mut facts = Vec::new();
        if let Some(void) = &self.void {
            let reason = void.reason.as_deref().unwrap_or("not shown");
            facts.push(format!("takes back entry {}: {reason}", void.revision));
        }
        if let Some(choice) = &self.choice {
            facts.extend(choice.override_reasons.iter().map(|code| words::override_reason(code).to_owned()));
        }
        if self.days_late > 0 {
            facts.push(format!("{} days late", self.days_late));
        }
        if let Some(by) = self.voided_by {
            facts.push(format!("taken back by entry {by}"));
        }
        facts.join("; ")
    }
}

#[derive(Template)]
#[template(path = "control_report.html")]
struct ControlReportPage {
    frame: PageFrame,
    title: &'static str,
    filter: TypedControlFilter,
    entries: Vec<ReportedEntry>,
    next: Option<String>,
}

/// `GET /pages/controls/{report}`: the entries of a report, the newest first.
pub(crate) async fn show_report(
    State(pages): State<Pages>,
    visitor: Visitor,
    PathPart(report): PathPart<String>,
    Query(filter): Query<TypedControlFilter>,
) -> Result<Response, PageError> {
    let (report, title) = *REPORTS
        .iter()
        .find(|(name, _)| *name == report)
        .ok_or_else(|| PageError::Address("There is no such report. Check the address.".to_owned()))?;
    let path = filter.of(Path::new(format!("/control-reports/{report}"))).with("after", Some(&filter.after));
    let entries: ApiAnswer<Vec<ReportedEntry>> = pages.api.get(&visitor, path).await?;
    let frame = PageFrame::new(title, &visitor).back("/pages/controls", "control reports");
    let next = entries.next.map(|after| format!("/pages/controls/{report}?{}", filter.query(&[("after", &after)])));
    Ok(show(&ControlReportPage { frame, title, filter, entries: entries.content, next }))
}
