//! A prison's front page: the cases that wait, handovers, POMs.

use askama::Template;
use axum::{
    extract::{Path as PathPart, Query, State},
    response::Response,
};
use domain::identifier::PrisonCode;
use futures::try_join;
use serde::Deserialize;

use crate::{
    Pages,
    answers::{ShownCase, ShownHandovers, ShownRosterPom, ShownWaitingCase},
    api::{ApiAnswer, Path},
    clocks::{self, Clocks},
    page_error::PageError,
    page_frame::{PageFrame, show},
    visitor::Visitor,
    words,
};

/// Cases of a list that the page shows at first: so a page of a large prison has less than 100 kB.
const SHOWN_AT_FIRST: usize = 50;

/// The prison of an address.
pub(crate) fn prison_of(text: &str) -> Result<PrisonCode, PageError> {
    text.parse().map_err(|_| {
        PageError::Address("A prison's code is three capital letters, such as LEI. Check the address.".to_owned())
    })
}

/// The name of a prison, or its code where the list has none.
pub(crate) fn prison_name(prison: &PrisonCode) -> String {
    prison.listed_name().map_or_else(|| prison.to_string(), str::to_owned)
}

#[derive(Template)]
#[template(path = "prison.html")]
struct PrisonPage {
    frame: PageFrame,
    prison: PrisonCode,
    name: String,
    clocks: Clocks,
    waiting: Shortened<ShownWaitingCase>,
    overdue: Shortened<ShownCase>,
    due: Shortened<ShownCase>,
    starting: Shortened<ShownCase>,
    poms: Vec<PomLine>,
    streams_aside: u64,
    /// Whether a command led here.
    is_recorded: bool,
}

/// A list, of which the page perhaps shows the beginning alone.
struct Shortened<T> {
    shown: Vec<T>,
    total: usize,
}

impl<T> Shortened<T> {
    fn new(mut list: Vec<T>, is_whole: bool) -> Self {
        let total = list.len();
        if !is_whole {
            list.truncate(SHOWN_AT_FIRST);
        }
        Self { shown: list, total }
    }

    fn is_shortened(&self) -> bool {
        self.shown.len() < self.total
    }
}

impl PrisonPage {
    /// The address of the page with the whole of a list.
    fn whole(&self, list: &str) -> String {
        let clocks = self.clocks.query();
        let separator = if clocks.is_empty() { '?' } else { '&' };
        format!("{}{clocks}{separator}whole={list}#{list}", self.address())
    }

    fn address(&self) -> String {
        format!("/pages/prisons/{}", self.prison)
    }
}

/// A POM of the roster, as the page shows it.
struct PomLine {
    pom: ShownRosterPom,
    /// Cases by tier letter, as `A 2, B 5`.
    tiers: String,
}

impl From<ShownRosterPom> for PomLine {
    fn from(pom: ShownRosterPom) -> Self {
        let tiers = pom.caseload.primary.by_tier.iter();
        let tiers = tiers.map(|(tier, cases)| match tier.as_str() {
            "NONE" => format!("no tier {cases}"),
            tier => format!("{tier} {cases}"),
        });
        Self { tiers: tiers.collect::<Vec<_>>().join(", "), pom }
    }
}

/// The day of a case's handover, or of its start.
pub(crate) fn handover_day(item: &ShownCase) -> String {
    item.reason.as_ref().and_then(|reason| reason.handover_date).map(clocks::day).unwrap_or_default()
}

/// The question of the page.
#[derive(Deserialize)]
pub(crate) struct PrisonQuery {
    #[serde(default)]
    on: String,
    #[serde(default, rename = "known-at")]
    known_at: String,
    /// The list that is shown as a whole.
    #[serde(default)]
    whole: String,
    /// The position of the command that led here.
    recorded: Option<u64>,
}

/// `GET /pages/prisons/{prison}`
pub(crate) async fn show_prison(
    State(pages): State<Pages>,
    visitor: Visitor,
    PathPart(prison): PathPart<String>,
    Query(PrisonQuery { on, known_at, whole, recorded }): Query<PrisonQuery>,
) -> Result<Response, PageError> {
    let prison = prison_of(&prison)?;
    let clocks = Clocks { on, known_at };
    let path = |part: &str| clocks.of(Path::new(format!("/prisons/{prison}/{part}")).at_least(recorded));
    let (waiting, handovers, poms): (
        ApiAnswer<Vec<ShownWaitingCase>>,
        ApiAnswer<ShownHandovers>,
        ApiAnswer<Vec<ShownRosterPom>>,
    ) = try_join!(
        pages.api.get(&visitor, path("unallocated").with("limit", Some("1000"))),
        pages.api.get(&visitor, path("handovers").with("within", Some("30d"))),
        pages.api.get(&visitor, path("poms")),
    )?;
    let ShownHandovers { starting, due, overdue } = handovers.content;
    let name = prison_name(&prison);
    Ok(show(&PrisonPage {
        frame: PageFrame::new(name.clone(), &visitor).back("/pages/prisons", "all prisons"),
        prison,
        name,
        clocks,
        waiting: Shortened::new(waiting.content, whole == "waiting"),
        overdue: Shortened::new(overdue, whole == "overdue"),
        due: Shortened::new(due, whole == "due"),
        starting: Shortened::new(starting, whole == "starting"),
        poms: poms.content.into_iter().map(PomLine::from).collect(),
        streams_aside: waiting.streams_aside,
        is_recorded: recorded.is_some(),
    }))
}
