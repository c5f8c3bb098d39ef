//! A case: who is responsible and why, its dates, its timeline, and every entry.

use askama::Template;
use axum::{
    extract::{Path as PathPart, Query, State},
    response::{IntoResponse as _, Redirect, Response},
};
use chrono::{DateTime, Utc};
use domain::identifier::{PrisonCode, PrisonerNumber};
use futures::try_join;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Pages,
    answers::{PlanReason, ShownEntry, ShownOfficer, ShownPeriod, ShownResponsibility},
    api::{ApiAnswer, Path},
    clocks::{self, Clocks, day, day_of},
    entry::EntryLine,
    page_error::PageError,
    page_frame::{PageFrame, show},
    prison_page::prison_name,
    timeline::Timeline,
    visitor::Visitor,
    words,
};

/// Entries that a page shows.
const ENTRIES_SHOWN: &str = "1000";

/// The number of an address.
pub(crate) fn number_of(text: &str) -> Result<PrisonerNumber, PageError> {
    text.parse().map_err(|_| {
        let detail =
            "A prisoner number is one letter, four digits and two letters, such as A1234BC. Check the address.";
        PageError::Address(detail.to_owned())
    })
}

#[derive(Deserialize, Default)]
pub(crate) struct CaseQuery {
    #[serde(default)]
    on: String,
    #[serde(default, rename = "known-at")]
    known_at: String,
    /// The position of the command that led here.
    recorded: Option<u64>,
    /// The number that was merged into this one, and led here.
    merged: Option<String>,
}

#[derive(Template)]
#[template(path = "case.html")]
struct CasePage {
    frame: PageFrame,
    number: String,
    prison: Option<(String, String)>,
    clocks: Clocks,
    sentence: String,
    case: ShownResponsibility,
    facts: CaseFacts,
    timeline: Option<Timeline>,
    entries: Vec<EntryLine>,
    has_more_entries: bool,
    /// The entry that the command which led here has recorded.
    recorded: Option<String>,
    /// The merged number that led here.
    merged: Option<String>,
    may_change: bool,
    has_pom: bool,
    waits: bool,
    pom_words: String,
}

impl CasePage {
    fn address(&self) -> String {
        format!("/pages/cases/{}", self.number)
    }

    /// The address of a form of this case.
    fn form(&self, slug: &str) -> String {
        format!("/pages/cases/{}/{slug}", self.number)
    }
}

/// Facts that only the entries tell.
#[derive(Default)]
struct CaseFacts {
    crn: Option<String>,
    rosh: Option<String>,
    com: Option<String>,
}

/// The POM of a case, who is responsible or supports.
fn pom_of(case: &ShownResponsibility) -> Option<&ShownOfficer> {
    let officers = std::iter::once(&case.responsible).chain(&case.supporting);
    officers.into_iter().find(|officer| officer.role.as_deref() == Some("POM") && officer.name.is_some())
}

impl CaseFacts {
    /// The facts of the entries that count at a moment.
    fn of(entries: &[ShownEntry], at: DateTime<Utc>) -> Self {
        let mut facts = Self::default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let mut counting: Vec<_> =
            entries.iter().filter(|entry| entry.voided_by.is_none() && entry.effective_at <= at).collect();
        counting.sort_by_key(|entry| (entry.effective_at, entry.position));
        for ShownEntry { event_type, data, .. } in counting {
            match event_type.as_str() {
                "TierAssigned" => {
                    facts.rosh = text(&data["roshLevel"]);
                    facts.crn = text(&data["crn"]).or(facts.crn);
                }
                "CrnRecorded" => facts.crn = text(&data["crn"]),
                "CommunityManagerAssigned" => facts.com = text(&data["name"]),
                "CommunityManagerRemoved" => facts.com = None,
                _ => {}
            }
        }
        facts
    }
}

/// Whether a moment is now, before or to come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tense {
    Now,
    Past,
    Future,
}

impl Tense {
    /// The tense of a moment that is asked about.
    fn of(clocks: &Clocks, moment: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        if clocks.on.trim().is_empty() && clocks.known_at.trim().is_empty() {
            Self::Now
        } else if moment > now {
            Self::Future
        } else {
            Self::Past
        }
    }
}

/// Who is responsible and why, in a sentence or two.
pub(crate) fn sentence(case: &ShownResponsibility, tense: Tense) -> String {
    let (is, since_words) = match tense {
        Tense::Now => ("is", ", and has been since"),
        Tense::Past => ("was", ", and had been since"),
        Tense::Future => ("will be", " from"),
    };
    let officer = &case.responsible;
    let mut sentence = match (&officer.name, officer.vacancy.as_deref(), officer.since) {
        (Some(name), _, Some(since)) => {
            let role = officer.role.as_deref().unwrap_or("officer");
            format!("{name} ({role}) {is} responsible{since_words} {}.", day_of(since))
        }
        (Some(name), ..) => format!("{name} {is} responsible."),
        (None, Some("COM_NOT_NAMED"), _) => format!("The community {is} responsible, and no COM {is} named."),
        (None, Some("NOT_IN_CUSTODY"), _) => format!("Nobody {is} responsible: the person {is} not in custody."),
        (None, ..) => format!("The prison {is} responsible, and the case {is} allocated to nobody."),
    };
    if let Some(decided) = &case.in_force {
        let service = if decided.responsible == "PRISON" { "prison" } else { "community" };
        sentence += &format!(
            " The {service} was made responsible against the plan: {}.",
            words::responsibility_reason(&decided.reason).to_lowercase()
        );
    } else if let Some(plan) = &case.reason {
        sentence += &plan_words(plan);
    } else if case.phase != "NOT_IN_CUSTODY" {
        sentence += " No handover is planned yet.";
    }
    sentence
}

fn plan_words(plan: &PlanReason) -> String {
    let why = words::plan_reason(&plan.code);
    match (plan.start_date, plan.handover_date) {
        (Some(start), Some(handover)) if start < handover => {
            format!(" A COM supports from {} and is responsible from {} ({why}).", day(start), day(handover))
        }
        (_, Some(handover)) => format!(" A COM is responsible from {} ({why}).", day(handover)),
        _ => format!(" The plan has no handover date ({why})."),
    }
}

/// The moment that a question is about.
fn moment(clocks: &Clocks, now: DateTime<Utc>) -> DateTime<Utc> {
    clocks::instant_of(clocks.on.trim()).or_else(|| clocks.on.trim().parse().ok()).unwrap_or(now)
}

/// `GET /pages/cases/{number}`
pub(crate) async fn show_case(
    State(pages): State<Pages>,
    visitor: Visitor,
    PathPart(number): PathPart<String>,
    Query(query): Query<CaseQuery>,
) -> Result<Response, PageError> {
    let number = number_of(&number)?;
    let clocks = Clocks { on: query.on, known_at: query.known_at };
    let known = Clocks { on: String::new(), ..clocks.clone() };
    let path = |part: &str| Path::new(format!("/prisoners/{number}/{part}")).at_least(query.recorded);
    let (case, periods, history): (
        ApiAnswer<ShownResponsibility>,
        ApiAnswer<Vec<ShownPeriod>>,
        ApiAnswer<Vec<ShownEntry>>,
    ) = try_join!(
        pages.api.get(&visitor, clocks.of(path("responsibility"))),
        pages.api.get(&visitor, known.of(path("responsibility/periods"))),
        pages.api.get(&visitor, known.of(path("history")).with("limit", Some(ENTRIES_SHOWN))),
    )?;
    let case = case.content;
    if case.prisoner_number != number.as_str() {
        let address = format!("/pages/cases/{}?merged={number}", case.prisoner_number);
        return Ok(Redirect::to(&address).into_response());
    }
    let prison = case.prison.clone().map(|code| {
        let name = code.parse::<PrisonCode>().map_or_else(|_| code.clone(), |prison| prison_name(&prison));
        (code, name)
    });
    let mut frame = PageFrame::new(format!("Case {number}"), &visitor);
    frame = match &prison {
        Some((code, name)) => frame.back(format!("/pages/prisons/{code}"), name.clone()),
        None => frame.back("/pages/cases", "Find a case"),
    };
    let mut entries: Vec<_> = history.content.iter().map(EntryLine::from).collect();
    entries.reverse();
    let recorded = query.recorded.and_then(|position| entries.iter().find(|entry| entry.position == position));
    let (pom, now) = (pom_of(&case), pages.now());
    Ok(show(&CasePage {
        has_pom: pom.is_some(),
        waits: pom.is_none() && case.phase != "NOT_IN_CUSTODY" && case.tier.is_some(),
        pom_words: pom.and_then(|pom| pom.name.clone()).unwrap_or_else(|| "Nobody".to_owned()),
        recorded: recorded.map(|entry| entry.title.clone()),
        merged: query.merged.filter(|merged| merged.parse::<PrisonerNumber>().is_ok()),
        frame,
        sentence: sentence(&case, Tense::of(&clocks, moment(&clocks, now), now)),
        facts: CaseFacts::of(&history.content, moment(&clocks, now)),
        timeline: Timeline::new(&periods.content, moment(&clocks, now)),
        number: number.to_string(),
        prison,
        may_change: clocks.are_now(),
        has_more_entries: history.next.is_some(),
        case,
        entries,
        clocks,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The sentence of a case with these members, now and at other times.
    fn sentences(members: &Value) -> [String; 3] {
        let mut case = json!({"prisonerNumber": "A1234BC", "prison": "LEI", "phase": "CUSTODY_ONLY", "tier": "B2", "supporting": null, "coworker": null,
                              "reason": null, "override": null, "asOf": {"position": 9, "revision": 3}});
        case.as_object_mut().expect("an object").extend(members.as_object().expect("members").clone());
        let case = serde_json::from_value(case).expect("a case");
        [Tense::Now, Tense::Past, Tense::Future].map(|tense| sentence(&case, tense))
    }

    #[test]
    fn a_sentence_says_who_is_responsible_and_why() {
        let pom = json!({"role": "POM", "staffId": 1, "name": "Okafor, Grace", "since": "2026-03-01T09:00:00Z"});
        let plan = json!({"code": "recall_case", "startDate": "2026-10-01", "handoverDate": "2027-01-10"});
        assert_eq!(
            sentences(&json!({"responsible": pom, "reason": plan})),
            [
                "Okafor, Grace (POM) is responsible, and has been since 1 March 2026. A COM supports from 1 October 2026 \
                 and is responsible from 10 January 2027 (recall).",
                "Okafor, Grace (POM) was responsible, and had been since 1 March 2026. A COM supports from 1 October 2026 \
                 and is responsible from 10 January 2027 (recall).",
                "Okafor, Grace (POM) will be responsible from 1 March 2026. A COM supports from 1 October 2026 \
                 and is responsible from 10 January 2027 (recall).",
            ]
        );
        let nobody = json!({"role": "COM", "staffId": null, "name": null, "vacancy": "COM_NOT_NAMED"});
        let decided = json!({"responsible": "PROBATION", "reason": "PRISONER_HAS_BEEN_RECALLED", "detail": null});
        assert_eq!(
            sentences(&json!({"responsible": nobody, "override": decided}))[0],
            "The community is responsible, and no COM is named. The community was made responsible against the plan: \
             prisoner has been recalled."
        );
        let vacant = json!({"role": "POM", "staffId": null, "name": null, "vacancy": "NOT_ALLOCATED"});
        assert_eq!(
            sentences(&json!({"responsible": vacant}))[0],
            "The prison is responsible, and the case is allocated to nobody. No handover is planned yet."
        );
    }
}
