//! Query parameters that several operations have, each with its text in the OpenAPI document.

use axum::extract::{RawPathParams, rejection::RawPathParamsRejection};
use chrono::{DateTime, Utc};
use domain::identifier::PrisonerNumber;
use event_log::KnownAt;
use http_api::{
    Problem,
    instant::{DateOrInstant, KnownAtParam, optional_known_at},
    page::{Cursor, Limit},
};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;

use crate::QueryState;

/// The name that every route gives to the prisoner number in its path.
const NUMBER_PARAM: &str = "prisonerNumber";

/// The prisoner number in a path; `None` where there is none, or what is there is no number.
pub(super) fn number_in(path: Result<RawPathParams, RawPathParamsRejection>) -> Option<PrisonerNumber> {
    path.ok()?.iter().find(|(name, _)| *name == NUMBER_PARAM)?.1.parse().ok()
}

/// When in the world, and when in what the ledger knew.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AsOfQuery {
    /// Asks about this instant, or about the start of this London date; absent, about now.
    #[param(inline)]
    on: Option<DateOrInstant>,
    /// Asks what was known then: an instant, the end of a London date, or a position in the ledger;
    /// absent, what is known now.
    #[serde(default, deserialize_with = "optional_known_at")]
    #[param(inline, value_type = Option<KnownAtParam>)]
    pub(super) known_at: Option<KnownAt>,
}

impl AsOfQuery {
    /// The instant asked about.
    pub(super) fn on(self, state: &QueryState) -> DateTime<Utc> {
        self.on.map_or_else(|| state.now(), DateOrInstant::instant)
    }
}

/// When in what the ledger knew.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct KnownAtQuery {
    /// Asks what was known then: an instant, the end of a London date, or a position in the ledger;
    /// absent, what is known now.
    #[serde(default, deserialize_with = "optional_known_at")]
    #[param(inline, value_type = Option<KnownAtParam>)]
    pub(super) known_at: Option<KnownAt>,
}

/// Which page of a list.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// Cursor of the page before.
    #[param(inline)]
    after: Option<Cursor>,
    /// Rows in a page.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 50)]
    pub(super) limit: Limit,
}

impl Paging {
    /// The key of the last row of the page before, of the type that this list's cursors have.
    pub(super) fn after<K: DeserializeOwned>(&self) -> Result<Option<K>, Problem> {
        self.after.as_ref().map(Cursor::key).transpose()
    }
}

/// Which page of a list whose pages end by their bytes alone.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LongPaging {
    /// Cursor of the page before. A page has all that is left, up to 4 MiB.
    #[param(inline)]
    after: Option<Cursor>,
}

impl LongPaging {
    /// The key of the last row of the page before.
    pub(super) fn after<K: DeserializeOwned>(&self) -> Result<Option<K>, Problem> {
        self.after.as_ref().map(Cursor::key).transpose()
    }
}

/// This operation has no parameters; any that is given is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoParams {}
