//! `GET /status`, as the first allocation API (2019) answered.

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use http_api::Problem;
use serde::Serialize;
use utoipa::ToSchema;

use super::NO_STORE;
use crate::{QueryState, present::checkpoint};

/// That the database answers, and what it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct DatabaseStatus {
    status: &'static str,
    #[schema(example = "PostgreSQL 17.2")]
    postgres_version: String,
}

/// That the views' database answers, as the first allocation API said it.
#[utoipa::path(
    get, path = "/status", tag = "First allocation API",
    responses((status = 200, body = DatabaseStatus)),
)]
pub(in crate::http) async fn get_first_api_status(State(state): State<QueryState>) -> Result<Response, Problem> {
    let postgres_version = checkpoint::server_version(&state.views).await?;
    Ok(([(header::CACHE_CONTROL, NO_STORE)], Json(DatabaseStatus { status: "ok", postgres_version })).into_response())
}
