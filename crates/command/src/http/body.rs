//! The body of a command.

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use domain::moment::Instant;
use event_log::request_digest;
use http_api::{
    Problem,
    extract::{body_bytes, from_json, require_json},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::ToSchema;

use super::strict_object::StrictObject;

/// A command's body, and the parts of the request that identify a repeat. No body counts as an
/// empty object, which `T` may refuse.
pub(super) struct CommandBody<T> {
    pub(super) fields: T,
    path: String,
    sent: Value,
}

impl<T> CommandBody<T> {
    /// The digest that tells a repeat of this request from another request with the same key.
    pub(super) fn digest(&self, operation: &str) -> String {
        request_digest(operation, &self.path, &self.sent)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for CommandBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let path = request.uri().path().to_owned();
        let is_json = require_json(request.headers());
        let mut bytes = body_bytes(request, state).await?;
        if bytes.is_empty() {
            bytes = Bytes::from_static(b"{}");
        } else {
            is_json?;
        }
        let StrictObject(fields) = from_json(&bytes)?;
        Ok(Self { fields, path, sent: from_json(&bytes)? })
    }
}

/// A body with nothing to say but when it holds from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = OnlyEffectiveAt)]
pub(super) struct OnlyEffectiveAtBody {
    /// When it holds from, in the past; absent, from now.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) effective_at: Option<Instant>,
}
