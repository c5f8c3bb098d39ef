//! The members that allocations and reallocations, of one case or many, share: the choice of a POM.

use domain::{identifier::StaffId, prisoner::OverrideReason};
use serde::Deserialize;
use utoipa::ToSchema;

/// Most override reasons in one request: each of the four once, and room for a client that repeats
/// itself.
const OVERRIDE_REASONS_MAX: usize = 16;

/// A POM, by staff id; the rest is on the roster.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ChosenPom {
    /// NOMIS staff id.
    pub(super) staff_id: StaffId,
}

/// Override reasons, each once, in the order given.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(try_from = "Vec<OverrideReason>")]
#[schema(value_type = Vec<OverrideReason>, max_items = 16, example = json!(["SUITABILITY"]))]
pub(super) struct OverrideReasons(pub(super) Vec<OverrideReason>);

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

/// Declares the body of a request that chooses a POM: its own members, and those that all such
/// bodies share. A macro, because serde's `flatten` would accept unknown members.
macro_rules! choice_body {
    ($(#[$attribute:meta])* pub(super) struct $name:ident { $($own_members:tt)* }) => {
        #[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        $(#[$attribute])*
        pub(super) struct $name {
            $($own_members)*
            /// The reasons, if the POM is not of the recommended kind.
            override_reasons: Option<$crate::http::choice::OverrideReasons>,
            /// Why the prisoner is suitable for the other kind of POM; goes with `SUITABILITY`.
            #[schema(value_type = Option<domain::openapi::Detail>)]
            suitability_detail: Option<domain::text::Lines>,
            /// The reason in words; goes with `OTHER`.
            #[schema(value_type = Option<domain::openapi::Detail>)]
            override_detail: Option<domain::text::Lines>,
            /// Note to the POM.
            #[schema(value_type = Option<domain::openapi::Note>)]
            note: Option<domain::text::Lines>,
            /// When it holds from, in the past; absent, from now.
            effective_at: Option<domain::moment::Instant>,
        }

        impl $name {
            /// Takes the reasons out of the body, as the domain has them.
            fn take_choice_reasons(&mut self) -> domain::prisoner::ChoiceReasons {
                domain::prisoner::ChoiceReasons {
                    override_reasons: self.override_reasons.take().unwrap_or_default().0,
                    suitability_detail: self.suitability_detail.take().map(Into::into),
                    override_detail: self.override_detail.take().map(Into::into),
                    note: self.note.take().map(Into::into),
                    nomis_booking_id: None,
                }
            }
        }
    };
}

pub(super) use choice_body;
