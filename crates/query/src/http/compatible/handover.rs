//! `GET /api/handovers/{prisonerNumber}`, as the live service answers.

use access_log::Shown;
use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use chrono::NaiveDate;
use domain::{identifier::PrisonerNumber, prisoner::OfficerRole};
use http_api::{CallerScope, Problem};
use serde::Serialize;
use utoipa::ToSchema;
use views::{CasePeriodRow, CasePlan};

use super::{LiveError, allocation::look_up, live_not_found};
use crate::{QueryState, http::answer::Answer};

/// A case's handover.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct LiveHandover<'a> {
    noms_number: &'a PrisonerNumber,
    handover_date: Option<NaiveDate>,
    handover_start_date: Option<NaiveDate>,
    /// `POM` or `COM`.
    responsibility: OfficerRole,
    /// Where the COM is responsible.
    responsible_com_name: Option<&'a str>,
    responsible_com_email: Option<&'a str>,
    /// Where the POM is responsible.
    responsible_pom_name: Option<&'a str>,
    responsible_pom_nomis_id: Option<i64>,
}

impl<'a> LiveHandover<'a> {
    fn new(case: &'a CasePeriodRow, plan: CasePlan, responsible: OfficerRole) -> Self {
        let com = case.com.as_ref().filter(|_| responsible == OfficerRole::Com);
        let pom = case.pom.as_ref().filter(|_| responsible == OfficerRole::Pom);
        Self {
            noms_number: &case.prisoner_number,
            handover_date: plan.handover_date,
            handover_start_date: plan.start_date,
            responsibility: responsible,
            responsible_com_name: com.map(|com| com.name.as_str()),
            responsible_com_email: com.and_then(|com| com.email.as_deref()),
            responsible_pom_name: pom.map(|pom| pom.name.as_str()),
            responsible_pom_nomis_id: pom.map(|pom| pom.staff_id.get()),
        }
    }
}

/// A case's handover, as the live service answers.
#[utoipa::path(
    get, path = "/api/handovers/{prisonerNumber}", tag = "Live service",
    params(("prisonerNumber" = String, Path, description = "Prisoner number", example = "A1000AA")),
    responses((status = 200, body = LiveHandover), (status = 404, body = LiveError, description = "`Not found`")),
)]
pub(in crate::http) async fn get_live_handover(
    State(state): State<QueryState>,
    caller: CallerScope,
    Path(number): Path<String>,
) -> Result<Response, Problem> {
    let (position, case) = look_up(&state, &caller, &number).await?;
    let planned = case.as_deref().and_then(|case| Some((case, case.plan?, case.responsible?)));
    Ok(planned.map_or_else(
        || live_not_found(position, "Not found"),
        |(case, plan, responsible)| {
            let shown = Shown::prisoners([&case.prisoner_number]);
            Answer::new(position, LiveHandover::new(case, plan, responsible), shown).into_response()
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::responsibility::tests::example;
    use serde_json::json;

    #[test]
    fn only_the_responsible_officer_is_named() {
        let case = example();
        assert_eq!(
            json!(LiveHandover::new(&case, case.plan.expect("a plan"), OfficerRole::Pom)),
            json!({
                "nomsNumber": "A1234BC", "handoverDate": "2027-01-10", "handoverStartDate": "2026-10-01",
                "responsibility": "POM", "responsibleComName": null, "responsibleComEmail": null,
                "responsiblePomName": "Okafor, Grace", "responsiblePomNomisId": 485_926,
            })
        );
        assert_eq!(
            json!(LiveHandover::new(&case, case.plan.expect("a plan"), OfficerRole::Com)),
            json!({
                "nomsNumber": "A1234BC", "handoverDate": "2027-01-10", "handoverStartDate": "2026-10-01",
                "responsibility": "COM", "responsibleComName": "Lee, Sam", "responsibleComEmail": "sam.lee@example.org",
                "responsiblePomName": null, "responsiblePomNomisId": null,
            })
        );
    }
}
