//! The operations of the roles that a process does not have: a caller that asks one is told which
//! service has it.

use axum::{
    Router,
    http::{Method, Uri},
    routing::{MethodFilter, on},
};
use domain::text::Excerpt;
use http_api::{Problem, ProblemCode};
use utoipa::openapi::{OpenApi, path::PathItem};

/// Routes the operations that a process does not have, by its own description, to a refusal.
pub(super) fn refuse_other_roles(router: Router, own: &OpenApi) -> Router {
    let others = [("command", command::openapi()), ("query", query::openapi())];
    others.into_iter().fold(router, |router, (service, openapi)| {
        openapi.paths.paths.iter().fold(router, |router, (path, item)| {
            let is_here = |method| own.paths.paths.get(path).is_some_and(|own| methods(own).any(|own| own == method));
            let elsewhere = methods(item).filter(|method| !is_here(*method));
            elsewhere.fold(router, |router, method| {
                router.route(path, on(method, async move |method, uri| refuse(service, method, uri)))
            })
        })
    })
}

/// The methods of a path.
fn methods(item: &PathItem) -> impl Iterator<Item = MethodFilter> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [
        (get, MethodFilter::GET),
        (put, MethodFilter::PUT),
        (post, MethodFilter::POST),
        (delete, MethodFilter::DELETE),
        (patch, MethodFilter::PATCH),
    ]
    .into_iter()
    .filter_map(|(operation, method)| operation.is_some().then_some(method))
}

fn refuse(service: &str, method: Method, uri: Uri) -> Problem {
    let path = Excerpt(uri.path());
    let detail =
        format!("{method} {path} is for the {service} service, and this service has another role. Ask that one.");
    Problem::not_found(ProblemCode::PathUnknown, detail)
}
