//! Questions: a line with method, path and query, then the body, if there is one.
#![no_main]

use std::{cell::LazyCell, sync::Arc, time::Duration};

use fuzz::{EmptyLog, Requests};
use libfuzzer_sys::fuzz_target;
use sqlx::postgres::PgPoolOptions;

thread_local! {
    static REQUESTS: LazyCell<Requests> = LazyCell::new(|| {
        Requests::new(|| {
            // Nothing listens there: a question that is understood finds no views.
            let views = PgPoolOptions::new().acquire_timeout(Duration::from_millis(1));
            let views = views.connect_lazy("postgres://nobody@127.0.0.1:1/nowhere").expect("a URL");
            query::router(query::QueryState::new(views, Arc::new(EmptyLog), Duration::from_secs(30)))
        })
    });
}

fuzz_target!(|input: &str| REQUESTS.with(|requests| requests.send(input)));
