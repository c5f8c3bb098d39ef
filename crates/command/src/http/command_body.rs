//! The body of a command.

use axum::{
    extract::{FromRequest, Request},
    http::header,
};
use bytes::Bytes;
use domain::moment::Instant;
use http_api::{
    Problem,
    extract::{body_bytes, from_json, require_json},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::strict_object::StrictObject;
use crate::RequestDigest;

/// A command's body, and the parts of the request that identify a repeat. No body counts as an
/// empty object, which `T` may refuse.
pub(super) struct CommandBody<T> {
    pub(super) fields: T,
    pub(super) path: RequestPath,
}

/// The path that a request was sent to.
pub(super) struct RequestPath(String);

impl RequestPath {
    /// The digest that tells a repeat of this request from another request with the same key;
    /// `read` is what the request says, as it was read.
    pub(super) fn digest(&self, operation: &str, read: &impl Serialize) -> RequestDigest {
        RequestDigest::of(operation, &self.0, read)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for CommandBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let path = RequestPath(request.uri().path().to_owned());
        let has_type = request.headers().contains_key(header::CONTENT_TYPE);
        let is_json = require_json(request.headers());
        let mut bytes = body_bytes(request, state).await?;
        // An empty body of another type is what a form of any page can send.
        if has_type || !bytes.is_empty() {
            is_json?;
        }
        if bytes.is_empty() {
            bytes = Bytes::from_static(b"{}");
        }
        let StrictObject(fields) = from_json(&bytes)?;
        Ok(Self { fields, path })
    }
}

/// A body with nothing to say but when it holds from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = OnlyEffectiveAt)]
pub(super) struct OnlyEffectiveAtBody {
    /// When it holds from, in the past; absent, from now.
    pub(super) effective_at: Option<Instant>,
}
