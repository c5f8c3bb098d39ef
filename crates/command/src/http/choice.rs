//! What allocations and reallocations, of one case or many, all say about the choice of POM.

use domain::{
    identifier::StaffId,
    prisoner::{ChoiceReasons, OverrideReason},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::text::Lines;

/// Most override reasons in one request: each of the four once, and room for a client that repeats itself.
const OVERRIDE_REASONS_MAX: usize = 16;

/// A POM, by staff id; the rest is on the roster.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ChosenPom {
    /// NOMIS staff id.
    #[schema(value_type = i64, minimum = 1, example = 485_926)]
    pub(super) staff_id: StaffId,
}

/// Override reasons, each once, in the order given.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(try_from = "Vec<OverrideReason>")]
#[schema(value_type = Vec<String>, example = json!(["SUITABILITY"]))]
pub(super) struct OverrideReasons(Vec<OverrideReason>);

impl TryFrom<Vec<OverrideReason>> for OverrideReasons {
    type Error = String;
    fn try_from(given: Vec<OverrideReason>) -> Result<Self, String> {
        if given.len() > OVERRIDE_REASONS_MAX {
            return Err(format!("{} override reasons; give each of the four at most once", given.len()));
        }
        let mut reasons: Vec<OverrideReason> = Vec::new();
        for reason in given {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        Ok(Self(reasons))
    }
}

/// The reasons as the domain takes them.
pub(super) fn reasons(
    override_reasons: Option<OverrideReasons>,
    suitability_detail: Option<Lines>,
    override_detail: Option<Lines>,
    note: Option<Lines>,
) -> ChoiceReasons {
    ChoiceReasons {
        override_reasons: override_reasons.unwrap_or_default().0,
        suitability_detail: suitability_detail.map(Into::into),
        override_detail: override_detail.map(Into::into),
        note: note.map(Into::into),
        nomis_booking_id: None,
    }
}
