//! What the targets that send requests share: a router to send them to, and a log without events.

mod empty_log;

use std::net::Ipv4Addr;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, header},
};
use http_api::{GuardedRouter, RequestClient};
use tokio::runtime::{Builder, Runtime};
use tower_service::Service as _;

pub use empty_log::EmptyLog;

/// A router that is sent requests one after the other.
pub struct Requests {
    runtime: Runtime,
    router: Router,
}

impl Requests {
    /// The router that `make` makes in an async runtime.
    pub fn new(make: impl FnOnce() -> GuardedRouter) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let entered = runtime.enter();
        let router = make().unguarded();
        drop(entered);
        Self { runtime, router }
    }

    /// Sends a request: a line with its method and its target, then its body. It must not fail,
    /// whatever it holds: stores that are away are the only reason for an error of the program.
    pub fn send(&self, input: &str) {
        let (line, body) = input.split_once('\n').unwrap_or((input, ""));
        let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
        let request = Request::builder().method(method).uri(target).header(header::HOST, "localhost");
        // The middleware, which is not here, puts the client there.
        let request = request.extension(RequestClient::at(Ipv4Addr::LOCALHOST.into()));
        let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_owned()));
        // Such a text never comes in by HTTP.
        let Ok(request) = request else { return };
        self.runtime.block_on(async {
            let response = self.router.clone().call(request).await.expect("a router never fails");
            let status = response.status();
            let body = to_bytes(response.into_body(), 8 << 20).await.expect("a body");
            assert!(status != 500, "{line}: {}", String::from_utf8_lossy(&body));
        });
    }
}
