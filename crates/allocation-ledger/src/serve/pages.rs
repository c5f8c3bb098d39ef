//! The pages for people, beside the API that they ask.

use axum::{Router, extract::Request, routing::any};
use http_api::{HostNames, InputEnd, PeerAddress, RequestLimits, metrics::Metrics};
use pages::{LedgerApi, PageSessions};
use tower_service::Service as _;

/// Adds the pages to the API. A page asks the API within the process as any client does, so that
/// what it may see and do, and how often, is decided there; at the door of the pages themselves the
/// address of a browser counts.
pub(super) fn add_pages(
    api: Router,
    sessions: PageSessions,
    metrics: Metrics,
    hosts: HostNames,
    limits: RequestLimits,
) -> Router {
    let pages = pages::router(LedgerApi::in_process(api.clone()), sessions);
    let pages = http_api::add_middleware(pages, None, metrics, hosts, limits);
    let show = any(async move |request: Request| {
        let Ok(response) = pages.clone().call(as_received(request)).await;
        response
    });
    api.route("/pages", show.clone()).route("/pages/{*rest}", show)
}

/// The request without what a router has found out about it: the pages have routes of their own.
fn as_received(request: Request) -> Request {
    let (mut parts, body) = request.into_parts();
    let peer: Option<PeerAddress> = parts.extensions.remove();
    let input_end: Option<InputEnd> = parts.extensions.remove();
    parts.extensions.clear();
    if let Some(peer) = peer {
        parts.extensions.insert(peer);
    }
    if let Some(input_end) = input_end {
        parts.extensions.insert(input_end);
    }
    Request::from_parts(parts, body)
}
