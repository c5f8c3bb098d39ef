//! The operations of the roles that a process does not have: a caller that asks one is told which
//! service has it.

use axum::http::{Method, Uri};
use domain::text::Excerpt;
use http_api::{GuardedRouter, Problem, ProblemCode, access::methods};

use super::jobs;

/// Routes the operations that a process does not have to a refusal. It tells nothing about people,
/// so it asks for no token.
pub(super) fn refuse_other_roles(router: GuardedRouter) -> GuardedRouter {
    let own = router.access().clone();
    let others = [
        ("command", command::openapi()),
        ("command", import::openapi()),
        ("query", query::openapi()),
        ("integration", hmpps::openapi()),
        ("projector", jobs::openapi()),
    ];
    others.into_iter().fold(router, |router, (service, openapi)| {
        openapi.paths.paths.iter().fold(router, |router, (path, item)| {
            let elsewhere = methods(item).into_iter().filter(|method| own.find(path, method).is_none());
            elsewhere.fold(router, |router, method| {
                router.open_route_for(&method, path, async move |method, uri| refuse(service, method, uri))
            })
        })
    })
}

fn refuse(service: &str, method: Method, uri: Uri) -> Problem {
    let path = Excerpt(uri.path());
    let detail =
        format!("{method} {path} is for the {service} service, and this service has another role. Ask that one.");
    Problem::not_found(ProblemCode::PathUnknown, detail)
}
