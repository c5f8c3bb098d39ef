//! `GET /api/allocation/{prisonerNumber}` and `…/primary_pom`, as the live service answers.

use access_log::Shown;
use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use domain::{Event, identifier::PrisonerNumber, prisoner::PrisonerEvent};
use http_api::{CallerScope, Problem};
use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, Ref, RefOr, Type,
        schema::{OneOfBuilder, Schema},
    },
};
use views::{CasePeriodRow, CasePom};

use super::{LiveError, live_not_found, name_parts};
use crate::{
    QueryState,
    http::{answer::Answer, error_problem::damaged, own_cases::check_case},
    past,
    present::case::CaseAt,
};

/// The live service's text where there was no primary POM yet.
const NOT_READY: &str = "Not ready for allocation";

/// The live service's text where there is no primary POM any more.
const NOT_ALLOCATED: &str = "Not allocated";

/// The POMs of a case.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct LiveAllocation<'a> {
    primary_pom: LiveStaffMember<'a>,
    /// `{}` where there is no co-working POM.
    secondary_pom: LiveSecondaryPom<'a>,
}

/// A co-working POM, or `{}`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum LiveSecondaryPom<'a> {
    Pom(LiveStaffMember<'a>),
    None {},
}

impl PartialSchema for LiveSecondaryPom<'_> {
    fn schema() -> RefOr<Schema> {
        let pom = Ref::from_schema_name(LiveStaffMember::name());
        let none = ObjectBuilder::new().schema_type(Type::Object).max_properties(Some(0));
        let either = OneOfBuilder::new().description(Some("A co-working POM, or `{}`.")).item(pom).item(none);
        Schema::from(either.build()).into()
    }
}

impl ToSchema for LiveSecondaryPom<'_> {}

/// A POM.
#[derive(Debug, Serialize, ToSchema)]
struct LiveStaffMember<'a> {
    staff_id: i64,
    name: &'a str,
}

impl<'a> From<&'a CasePom> for LiveStaffMember<'a> {
    fn from(holder: &'a CasePom) -> Self {
        Self { staff_id: holder.staff_id.get(), name: &holder.name }
    }
}

/// The primary POM of a case.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct LivePrimaryPom<'a> {
    manager: LiveManager<'a>,
    prison: LivePrison<'a>,
}

/// The primary POM.
#[derive(Debug, Serialize, ToSchema)]
struct LiveManager<'a> {
    code: i64,
    forename: &'a str,
    surname: &'a str,
    email: Option<&'a str>,
}

/// The prison where the case is held.
#[derive(Debug, Serialize, ToSchema)]
struct LivePrison<'a> {
    code: Option<&'a str>,
}

/// The POMs of a case, as the live service answers.
#[utoipa::path(
    get, path = "/api/allocation/{prisonerNumber}", tag = "Live service",
    params(("prisonerNumber" = String, Path, description = "Prisoner number", example = "A1000AA")),
    responses(
        (status = 200, body = LiveAllocation),
        (status = 404, body = LiveError, description = "`Not ready for allocation` or `Not allocated`"),
    ),
)]
pub(in crate::http) async fn get_live_allocation(
    State(state): State<QueryState>,
    caller: CallerScope,
    Path(number): Path<String>,
) -> Result<Response, Problem> {
    let (position, case) = look_up(&state, &caller, &number).await?;
    match primary_pom_of(&case) {
        Ok((case, pom)) => {
            let secondary_pom =
                case.coworker.as_ref().map_or(LiveSecondaryPom::None {}, |pom| LiveSecondaryPom::Pom(pom.into()));
            let answer = LiveAllocation { primary_pom: pom.into(), secondary_pom };
            Ok(Answer::new(position, answer, Shown::prisoners([&case.prisoner_number])).into_response())
        }
        Err(message) => without_pom(&state, &caller, &number, position, message).await,
    }
}

/// The primary POM of a case, as the live service answers.
#[utoipa::path(
    get, path = "/api/allocation/{prisonerNumber}/primary_pom", tag = "Live service",
    params(("prisonerNumber" = String, Path, description = "Prisoner number", example = "A1000AA")),
    responses(
        (status = 200, body = LivePrimaryPom),
        (status = 404, body = LiveError, description = "`Not ready for allocation` or `Not allocated`"),
    ),
)]
pub(in crate::http) async fn get_live_primary_pom(
    State(state): State<QueryState>,
    caller: CallerScope,
    Path(number): Path<String>,
) -> Result<Response, Problem> {
    let (position, case) = look_up(&state, &caller, &number).await?;
    match primary_pom_of(&case) {
        Ok((case, pom)) => {
            Ok(Answer::new(position, manager(case, pom), Shown::prisoners([&case.prisoner_number])).into_response())
        }
        Err(message) => without_pom(&state, &caller, &number, position, message).await,
    }
}

fn manager<'a>(case: &'a CasePeriodRow, pom: &'a CasePom) -> LivePrimaryPom<'a> {
    let (surname, forename) = name_parts(&pom.name);
    LivePrimaryPom {
        manager: LiveManager { code: pom.staff_id.get(), forename, surname, email: pom.email.as_deref() },
        prison: LivePrison { code: case.prison.as_ref().map(|prison| prison.as_str()) },
    }
}

/// The case as it is now, if there is one that is the caller's; a problem where it is damaged. As
/// in the live service, a text that is no prisoner number has none.
pub(super) async fn look_up(
    state: &QueryState,
    caller: &CallerScope,
    number: &str,
) -> Result<(u64, Option<Box<CasePeriodRow>>), Problem> {
    let Ok(number) = number.parse::<PrisonerNumber>() else { return Ok((0, None)) };
    let (position, case) = past::case_at(state, &caller.texts, &number, state.now(), None).await?;
    if check_case(state, &caller.confinement, &number).await?.is_err() {
        return Ok((position, None));
    }
    Ok(match case {
        CaseAt::Case(case) => (position, Some(case)),
        CaseAt::Unknown | CaseAt::NotYet(_) => (position, None),
        CaseAt::Damaged(aside) => return Err(damaged(&aside).with_position(position)),
    })
}

/// The answer that there is no primary POM. Whoever has been told of an allocation removes it by
/// `Not allocated` alone, so that is the text also where each allocation that was recorded is
/// voided: the views leave those out, and the log has them.
async fn without_pom(
    state: &QueryState,
    caller: &CallerScope,
    number: &str,
    position: u64,
    message: &'static str,
) -> Result<Response, Problem> {
    let was_told = message == NOT_READY && has_voided_allocation(state, caller, number, position).await?;
    Ok(live_not_found(position, if was_told { NOT_ALLOCATED } else { message }))
}

/// Whether an allocation of the case, if that is the caller's, is voided.
async fn has_voided_allocation(
    state: &QueryState,
    caller: &CallerScope,
    number: &str,
    position: u64,
) -> Result<bool, Problem> {
    let Ok(number) = number.parse::<PrisonerNumber>() else { return Ok(false) };
    if check_case(state, &caller.confinement, &number).await?.is_err() {
        return Ok(false);
    }
    let entries = past::case_history_to(&state.log, &number, position).await?;
    let of_primary_pom = |event: &Event| {
        matches!(event, Event::Prisoner(PrisonerEvent::AllocationMade(_) | PrisonerEvent::Reallocated(_)))
    };
    Ok(entries.iter().any(|entry| entry.voided_by.is_some() && of_primary_pom(&entry.stored.entry.event)))
}

/// The primary POM, or the live service's text that there is none.
fn primary_pom_of(case: &Option<Box<CasePeriodRow>>) -> Result<(&CasePeriodRow, &CasePom), &'static str> {
    match case.as_deref() {
        Some(CasePeriodRow { ever_allocated: false, .. }) | None => Err(NOT_READY),
        Some(case) => case.pom.as_ref().map(|pom| (case, pom)).ok_or(NOT_ALLOCATED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::responsibility::tests::example;
    use serde_json::json;

    #[test]
    fn answers_have_the_members_and_texts_of_the_live_service() {
        let case = Some(Box::new(CasePeriodRow { coworker: example().pom, ..example() }));
        let (found, pom) = primary_pom_of(&case).expect("allocated");
        assert_eq!(
            json!(manager(found, pom)),
            json!({
                "manager": {"code": 485_926, "forename": "Grace", "surname": "Okafor", "email": null},
                "prison": {"code": "LEI"},
            })
        );
        assert_eq!(
            json!(LiveAllocation { primary_pom: pom.into(), secondary_pom: LiveSecondaryPom::None {} }),
            json!({"primary_pom": {"staff_id": 485_926, "name": "Okafor, Grace"}, "secondary_pom": {}})
        );
        let was = Some(Box::new(CasePeriodRow { pom: None, ..example() }));
        assert_eq!(primary_pom_of(&was).expect_err("not now"), "Not allocated");
        let never = Some(Box::new(CasePeriodRow { pom: None, ever_allocated: false, ..example() }));
        assert_eq!(primary_pom_of(&never).expect_err("never"), "Not ready for allocation");
        assert_eq!(primary_pom_of(&None).expect_err("unknown"), "Not ready for allocation");
    }
}
