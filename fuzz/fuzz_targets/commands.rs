//! Commands: a line with method and path, then the body.
#![no_main]

use std::{cell::LazyCell, sync::Arc};

use command::{Clock, Service, ServiceSettings};
use domain::prisoner::RecommendationPolicy;
use fuzz::{EmptyLog, Requests};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static REQUESTS: LazyCell<Requests> = LazyCell::new(|| {
        Requests::new(|| {
            let settings =
                ServiceSettings { clock: Clock::system(), recommendation_policy: RecommendationPolicy::Tier };
            command::router(Service::new(Arc::new(EmptyLog), settings))
        })
    });
}

fuzz_target!(|input: &str| REQUESTS.with(|requests| requests.send(input)));
