//! Answers that others rely on, with exactly the members and texts that they know: those of the
//! live "Manage POM cases" service, and of the first allocation API (2019).

pub(super) mod active_allocations;
pub(super) mod allocation;
pub(super) mod handover;
pub(super) mod poms;
pub(super) mod status;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_api::headers::LEDGER_POSITION;
use serde::Serialize;
use utoipa::ToSchema;

/// As for every answer: caches must not keep it.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The live service's error answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LiveError {
    status: &'static str,
    message: &'static str,
}

/// The live service's 404; clients act on the text.
fn live_not_found(position: u64, message: &'static str) -> Response {
    let error = Json(LiveError { status: "error", message });
    let headers = [(LEDGER_POSITION, HeaderValue::from(position)), (header::CACHE_CONTROL, NO_STORE)];
    (StatusCode::NOT_FOUND, headers, error).into_response()
}

/// A POM's name, which the ledger keeps as "Surname, Forename", in its two parts.
fn name_parts(name: &str) -> (&str, &str) {
    name.split_once(',').map_or((name.trim(), ""), |(surname, forename)| (surname.trim(), forename.trim()))
}

/// A time as Rails writes it: UTC, in milliseconds.
fn rails_time(instant: chrono::DateTime<chrono::Utc>) -> String {
    instant.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_two_parts() {
        assert_eq!(name_parts("Okafor, Grace"), ("Okafor", "Grace"));
        assert_eq!(name_parts("Van der Berg, Anne Marie"), ("Van der Berg", "Anne Marie"));
        assert_eq!(name_parts("Okafor"), ("Okafor", ""));
    }
}
