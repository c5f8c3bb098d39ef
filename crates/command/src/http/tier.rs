//! `POST /prisoners/{prisonerNumber}/tier`: give a case a tier.

use axum::extract::State;
use domain::{
    identifier::{Crn, PrisonCode, PrisonerNumber},
    moment::Instant,
    prisoner::{self, TierAssigned},
    tier::{RoshLevel, Tier, TierSource},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CommandBody, CommandResponses, HeaderParams, IfMatchParam, RecordedResponse, record_on_case};
use crate::Service;
use http_api::{CommandHeaders, PathParams, Problem};

/// A tier and where it came from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = AssignTier)]
pub(super) struct AssignTierBody {
    /// A letter A to G, optionally with a change level 0 to 3 and an `S` for a case that is not
    /// supervised now.
    tier: Tier,
    /// Risk of serious harm, where known.
    rosh_level: Option<RoshLevel>,
    /// `DELIUS`, or `MANUAL` for a tier that was entered by hand.
    #[serde(default = "manual")]
    #[schema(default = "MANUAL")]
    source: TierSource,
    /// The case's number in Delius, where known.
    crn: Option<Crn>,
    /// Where the case is held, so that it can be seen waiting there.
    prison: Option<PrisonCode>,
    /// When it holds from, in the past; absent, from now.
    effective_at: Option<Instant>,
}

fn manual() -> TierSource {
    TierSource::Manual
}

/// Give a case a tier.
#[utoipa::path(
    post, path = "/prisoners/{prisonerNumber}/tier", tag = "Commands to a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1199AA"),
        HeaderParams, IfMatchParam,
    ),
    request_body(content = AssignTierBody, example = json!({"tier": "C1", "source": "MANUAL", "prison": "LEI"})),
    responses(CommandResponses),
)]
pub(super) async fn assign_tier(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: CommandBody<AssignTierBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_case(&service, number, headers, body, "assign-tier", |body| {
        (
            prisoner::Command::AssignTier(TierAssigned {
                tier: body.tier,
                rosh_level: body.rosh_level,
                source: body.source,
                crn: body.crn,
                prison: body.prison,
            }),
            body.effective_at,
        )
    })
    .await
}
