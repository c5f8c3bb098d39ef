//! The refusals of limits in the OpenAPI document.

use axum::http::header;
use utoipa::{
    ToSchema as _,
    openapi::{ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, ResponseBuilder, Type, path::PathItem},
};

use crate::problem;

/// Adds to each operation of a path the answer to a client that asks for more than its part.
pub(crate) fn describe_refusal(item: &mut PathItem) {
    let PathItem { get, put, post, delete, patch, .. } = item;
    for operation in [get, put, post, delete, patch].into_iter().flatten() {
        let seconds = HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(Type::Integer).build()))
            .description(Some("How many seconds to wait"))
            .build();
        let schema = Ref::from_schema_name(problem::ProblemDocument::name());
        let refusal = ResponseBuilder::new()
            .description("The client asks for more than one may; send the same again after `Retry-After` seconds")
            .header(header::RETRY_AFTER.as_str(), seconds)
            .content(problem::CONTENT_TYPE, ContentBuilder::new().schema(Some(schema)).build())
            .build();
        operation.responses.responses.insert("429".to_owned(), refusal.into());
    }
}
