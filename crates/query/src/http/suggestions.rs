//! `GET /prisons/{prisonCode}/unallocated/{prisonerNumber}/suggestions`: the POMs who may take a
//! case that waits, the most suitable first, each with its reasons.

use std::collections::BTreeMap;

use access_log::Shown;
use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use domain::{
    caseload::{FullTimeLoad, TierWeights},
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    london,
    officer::{PomKind, WorkingPattern},
    prisoner::{HeldBefore, RecommendationPolicy, RecommendationReason, SuggestedPom, SuggestionSettings, Suggestions},
};
use http_api::{Params, PathParams, Problem, ProblemCode};
use serde::Serialize;
use utoipa::ToSchema;
use views::CasePeriodRow;

use super::{
    answer::{Answer, problem_that_shows},
    error_problem::known_case,
    parameters::AsOfQuery,
    poms::CaseloadByRole,
    unallocated::WaitingCase,
};
use crate::{QueryState, past, present::roster::PomCaseload};

/// The POMs who may take a case.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AllocationSuggestions<'a> {
    /// The case.
    case: WaitingCase<'a>,
    /// The kind of POM that is recommended.
    recommendation: KindRecommendation,
    /// The weight of a case for its primary POM by the letter of its tier; for a co-working POM it
    /// is half of that.
    #[schema(example = json!({"A": 3.0, "B": 2.0, "C": 1.5, "D": 1.0, "E": 1.0, "F": 1.0, "G": 1.0}))]
    tier_weights: BTreeMap<char, f64>,
    /// The POMs, the most suitable first. Empty where the prison has none who may take the case.
    suggestions: Vec<PomSuggestion>,
}

/// The kind of POM that is recommended for a case.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KindRecommendation {
    /// The kind; null where none is recommended.
    kind: Option<PomKind>,
    /// The part of the rule that it follows from.
    code: RecommendationReason,
    /// The policy of the ledger.
    policy: RecommendationPolicy,
    /// All of it in a sentence.
    #[schema(example = "A probation POM is recommended for tier B2.")]
    text: String,
}

/// A POM who may take a case.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PomSuggestion {
    /// NOMIS staff id.
    #[schema(example = 485_926)]
    staff_id: i64,
    /// "Surname, Forename".
    #[schema(example = "Okafor, Grace")]
    name: String,
    /// Prison or probation POM.
    kind: PomKind,
    /// Work e-mail address.
    email: Option<String>,
    /// Share of full time.
    #[schema(example = 0.6)]
    working_pattern: f64,
    /// The cases held at this prison.
    caseload: CaseloadByRole,
    /// The weight of these cases.
    #[schema(example = 20.5)]
    weighted_caseload: f64,
    /// The weight with this case, divided by the share of full time. The POM with the lowest load
    /// has the most room.
    #[schema(example = 37.5)]
    load_with_case: f64,
    /// The last time that the POM was the primary POM of the case; null where there was none.
    held_before: Option<EarlierRole>,
    /// The reasons for the place in the list, the weightiest first.
    reasons: Vec<SuggestionReason>,
}

/// A time as primary POM of a case.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EarlierRole {
    /// Where.
    prison: PrisonCode,
    /// From when.
    since: DateTime<Utc>,
    /// The first instant after it.
    until: DateTime<Utc>,
}

/// A reason for the place of a POM in the list.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct SuggestionReason {
    /// Which reason it is.
    code: SuggestionReasonCode,
    /// The reason in words.
    #[schema(example = "A probation POM, as is recommended.")]
    text: String,
}

/// A kind of reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum SuggestionReasonCode {
    /// The POM is of the recommended kind.
    RecommendedKind,
    /// The POM is of the other kind; an allocation needs a reason.
    OtherKind,
    /// No kind is recommended for the case.
    NoKindRecommended,
    /// The POM held the case before.
    HeldBefore,
    /// How much room the POM has, compared with the others.
    Room,
}

impl<'a> AllocationSuggestions<'a> {
    fn new(
        case: &'a CasePeriodRow,
        at: DateTime<Utc>,
        found: Suggestions,
        mut caseloads: BTreeMap<StaffId, PomCaseload>,
        SuggestionSettings { recommendation_policy, tier_weights }: SuggestionSettings,
    ) -> Self {
        let count = found.poms.len();
        let case_weight = f64::from(found.case_weight);
        let suggestions = found.poms.into_iter().map(|suggested| {
            let load = caseloads.remove(&suggested.pom.staff_id).unwrap_or_default();
            PomSuggestion::new(suggested, load, case_weight, count)
        });
        Self {
            suggestions: suggestions.collect(),
            case: WaitingCase::new(case, at),
            recommendation: KindRecommendation {
                kind: found.recommendation.kind,
                code: found.recommendation.reason,
                policy: recommendation_policy,
                text: recommendation_text(case, found.recommendation.kind, found.recommendation.reason),
            },
            tier_weights: letter_weights(tier_weights),
        }
    }
}

impl PomSuggestion {
    fn new(suggested: SuggestedPom, cases: PomCaseload, case_weight: f64, count: usize) -> Self {
        let caseload = CaseloadByRole::from(cases);
        let reasons = reasons(&suggested, &caseload, case_weight, count);
        let SuggestedPom { pom, held_before, caseload: weight, load, .. } = suggested;
        Self {
            staff_id: pom.staff_id.get(),
            name: pom.name,
            kind: pom.kind,
            email: pom.email,
            working_pattern: pom.working_pattern.into(),
            caseload,
            weighted_caseload: weight.into(),
            load_with_case: hundredths(load),
            held_before: held_before.map(|HeldBefore { prison, since, until }| EarlierRole { prison, since, until }),
            reasons,
        }
    }
}

fn letter_weights(weights: TierWeights) -> BTreeMap<char, f64> {
    weights.letters().map(|(letter, weight)| (letter, weight.into())).collect()
}

/// A load to the hundredth, which is as much as a reader can use.
fn hundredths(load: FullTimeLoad) -> f64 {
    (f64::from(load) * 100.0).round() / 100.0
}

fn kind_name(kind: PomKind) -> &'static str {
    match kind {
        PomKind::Prison => "prison",
        PomKind::Probation => "probation",
    }
}

fn recommendation_text(case: &CasePeriodRow, kind: Option<PomKind>, reason: RecommendationReason) -> String {
    let tier = case.tier.map(|tier| tier.to_string()).unwrap_or_default();
    let because = match reason {
        RecommendationReason::ImmigrationCase => "since it is an immigration case".to_owned(),
        RecommendationReason::ComResponsible => "since the COM is responsible".to_owned(),
        RecommendationReason::Tier => format!("for tier {tier}"),
        RecommendationReason::Rosh => match case.rosh_level {
            Some(level) => format!("for tier {tier} and risk of serious harm {}", level.word()),
            None => format!("for tier {tier}"),
        },
        RecommendationReason::RoshUnknown => "since the risk of serious harm is not known".to_owned(),
    };
    match kind {
        Some(kind) => format!("A {} POM is recommended {because}.", kind_name(kind)),
        None => format!("No kind of POM is recommended, {because}."),
    }
}

fn reasons(
    suggested: &SuggestedPom,
    caseload: &CaseloadByRole,
    case_weight: f64,
    count: usize,
) -> Vec<SuggestionReason> {
    let kind = kind_name(suggested.pom.kind);
    let (code, text) = match suggested.is_recommended {
        Some(true) => (SuggestionReasonCode::RecommendedKind, format!("A {kind} POM, as is recommended.")),
        Some(false) => (
            SuggestionReasonCode::OtherKind,
            format!("A {kind} POM, though the other kind is recommended: the allocation needs a reason."),
        ),
        None => (SuggestionReasonCode::NoKindRecommended, format!("A {kind} POM; no kind is recommended.")),
    };
    let mut reasons = vec![SuggestionReason { code, text }];
    if let Some(held) = &suggested.held_before {
        let day = |at| london::date(at).format("%-d %B %Y");
        let prison = held.prison.listed_name().unwrap_or(held.prison.as_str());
        reasons.push(SuggestionReason {
            code: SuggestionReasonCode::HeldBefore,
            text: format!("Held the case from {} to {} at {prison}.", day(held.since), day(held.until)),
        });
    }
    let (primary, coworking) = (caseload.primary.total, caseload.coworking.total);
    let cases = if primary == 1 { "case" } else { "cases" };
    let time = match suggested.pom.working_pattern {
        WorkingPattern::FULL_TIME => "full time".to_owned(),
        share => format!("{} of full time", f64::from(share)),
    };
    let text = format!(
        "Holds {primary} {cases} as primary and {coworking} as co-working POM, of weight {}. With this case, of weight \
         {case_weight}, and at {time} that comes to {}: place {} of {count} by room.",
        f64::from(suggested.caseload),
        hundredths(suggested.load),
        suggested.place_by_room,
    );
    reasons.push(SuggestionReason { code: SuggestionReasonCode::Room, text });
    reasons
}

/// The problem that a case does not wait at a prison.
fn not_waiting(case: &CasePeriodRow, prison: &PrisonCode) -> Problem {
    let number = &case.prisoner_number;
    let why = match (&case.pom, &case.waiting, &case.prison) {
        (Some(pom), _, Some(at)) => format!("{} (staff id {}) holds it at {at}", pom.name, pom.staff_id),
        (Some(pom), _, None) => format!("{} (staff id {}) holds it", pom.name, pom.staff_id),
        (None, Some(_), Some(at)) => format!("it waits at {at}"),
        (None, None, Some(at)) if case.tier.is_none() => format!("it is at {at} and has no tier yet"),
        (None, _, Some(at)) => format!("it is at {at}"),
        (None, _, None) => "it is at no prison".to_owned(),
    };
    let detail = format!("{number} does not wait to be allocated at {prison} at the time asked about: {why}.");
    Problem::new(ProblemCode::CaseNotWaiting, detail)
}

/// The POMs who may take a case that waits.
///
/// Those are the active POMs of the prison other than the co-working POM of the case. POMs of the
/// recommended kind come first; of these the ones who held the case before, the last one first;
/// then those with the most room. POMs that are equal in all of that are in the order of their
/// staff ids. Nothing is chosen: an allocation names its POM.
#[utoipa::path(
    get, path = "/prisons/{prisonCode}/unallocated/{prisonerNumber}/suggestions", tag = "Questions about a prison",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"),
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1198AA"),
        AsOfQuery,
    ),
    responses(
        (status = 200, body = AllocationSuggestions),
        (status = 404, body = http_api::problem::ProblemDocument, description = "`prisoner-unknown`, `case-not-waiting`, `prison-unknown`"),
        (
            status = 422, body = http_api::problem::ProblemDocument,
            description = "No POM may take the case: `prison-not-on-omic`, `tier-unknown`",
        ),
    ),
)]
pub(super) async fn get_allocation_suggestions(
    State(state): State<QueryState>,
    PathParams((prison, number)): PathParams<(PrisonCode, PrisonerNumber)>,
    Params(as_of): Params<AsOfQuery>,
) -> Result<Response, Problem> {
    let at = as_of.on(&state);
    let found = past::suggestions(&state, &prison, &number, at, as_of.known_at).await?;
    let shown = Shown::prisoners(found.case.number());
    let suggestions = known_case(&found.case, &number).and_then(|case| match found.suggestions {
        Some(suggestions) => Ok((case, suggestions?)),
        None => Err(not_waiting(case, &prison)),
    });
    Ok(match suggestions {
        Ok((case, suggestions)) => {
            let body = AllocationSuggestions::new(case, at, suggestions, found.caseloads, state.suggestions);
            Answer::list(found.extent, body, shown).into_response()
        }
        Err(problem) => problem_that_shows(problem.with_position(found.extent.position), shown),
    })
}
