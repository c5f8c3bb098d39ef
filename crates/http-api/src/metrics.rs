//! Metrics of a service, in the text format of Prometheus.
//!
//! Requests, problems and the time that requests take are counted here. The parts of the program
//! add what they count ([`Metrics::register`]) and samplers that run on each scrape
//! ([`Metrics::add_sampler`]), or shortly before it: scrapes share their samples.
//!
//! Labels have few values, all of them known to the program: route templates and never paths, codes
//! and never sentences. So the number of series is bounded, and nothing that a client sends shows.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    num::NonZeroU32,
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use axum::{
    extract::MatchedPath,
    http::{Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use event_log::lock;
use futures::future::{BoxFuture, join_all};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, prometheus_text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tokio::time::timeout;

use crate::shared_check::SharedCheck;

/// Upper bounds of the buckets of times, in seconds.
pub const BUCKETS_S: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// How long a sampler may take; the scrape then goes on without it.
const SAMPLE_TIME_MAX: Duration = Duration::from_secs(2);

/// Most texts that are made in a second; further scrapes get the last one. Nothing limits how many
/// scrapes come, and a text takes half a millisecond or so.
const TEXTS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);

/// The metrics of one process; clones share them.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<MetricsInner>,
}

struct MetricsInner {
    registry: Mutex<Registry>,
    samplers: Mutex<Vec<Sampler>>,
    sampled: SharedCheck<Vec<Sample>>,
    texts: DefaultDirectRateLimiter,
    last_text: Mutex<Option<String>>,
    requests: Family<RequestLabels, Counter>,
    problems: Family<ProblemLabels, Counter>,
    seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
}

type Sampler = Arc<dyn Fn() -> BoxFuture<'static, Vec<Sample>> + Send + Sync>;

/// The present value of a gauge.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name of its series.
    pub name: &'static str,
    /// The help text, without a full stop.
    pub help: &'static str,
    /// The labels that tell it from other samples of the name.
    pub labels: Vec<(&'static str, &'static str)>,
    /// The value.
    pub value: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: Route,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProblemLabels {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: Route,
}

/// The template of the route that answered, if one did.
#[derive(Debug, Clone)]
pub(crate) struct Route(pub(crate) Option<MatchedPath>);

impl Route {
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_ref().map_or("unknown", MatchedPath::as_str)
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl EncodeLabelValue for Route {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}

/// The name of a method. All methods that a client makes up are `other`, so that labels stay
/// bounded.
#[must_use]
pub fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// A histogram of times.
#[must_use]
pub fn seconds() -> Histogram {
    Histogram::new(BUCKETS_S)
}

impl Default for Metrics {
    fn default() -> Self {
        let (requests, problems) = (Family::default(), Family::default());
        let seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        let mut registry = Registry::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register("http_problems", "Problem documents sent, by code", problems.clone());
        registry.register("http_request_duration_seconds", "From the request's head to the answer's", seconds.clone());
        Self {
            inner: Arc::new(MetricsInner {
                registry: Mutex::new(registry),
                samplers: Mutex::default(),
                sampled: SharedCheck::default(),
                texts: RateLimiter::direct(Quota::per_second(TEXTS_PER_SECOND)),
                last_text: Mutex::default(),
                requests,
                problems,
                seconds,
            }),
        }
    }
}

impl Metrics {
    /// Registers the metrics of a part of the program.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut lock(&self.inner.registry));
    }

    /// Adds a sampler, which runs on each scrape. It must leave out the samples that it does not
    /// know at that time.
    pub fn add_sampler<F>(&self, sample: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Vec<Sample>> + Send + 'static,
    {
        lock(&self.inner.samplers).push(Arc::new(move || Box::pin(sample())));
    }

    /// Counts an answered request.
    pub(crate) fn count_answer(
        &self,
        method: &'static str,
        route: Route,
        status: StatusCode,
        problem: Option<&'static str>,
        took: Duration,
    ) {
        let MetricsInner { requests, problems, seconds, .. } = &*self.inner;
        let at = RouteLabels { route: route.clone() };
        seconds.get_or_create(&at).observe(took.as_secs_f64());
        requests.get_or_create(&RequestLabels { method, route, status: status.as_u16() }).inc();
        if let Some(code) = problem {
            problems.get_or_create(&ProblemLabels { code }).inc();
        }
    }

    /// The metrics and `more` as an answer to `GET /metrics`.
    pub(crate) async fn render(&self, more: impl Future<Output = Vec<Sample>>) -> Response {
        ([(header::CONTENT_TYPE, prometheus_text::CONTENT_TYPE)], self.text(more).await).into_response()
    }

    async fn text(&self, more: impl Future<Output = Vec<Sample>>) -> String {
        if self.inner.texts.check().is_err()
            && let Some(last) = lock(&self.inner.last_text).clone()
        {
            return last;
        }
        let samplers = lock(&self.inner.samplers).clone();
        let sampled = self.inner.sampled.result(|| async move {
            let answers = join_all(samplers.iter().map(|sample| timeout(SAMPLE_TIME_MAX, sample()))).await;
            answers.into_iter().flat_map(Result::unwrap_or_default).collect()
        });
        let (sampled, more) = futures::join!(sampled, more);
        let now = gauge_registry(sampled.unwrap_or_default().into_iter().chain(more));
        let mut text = String::new();
        for registry in [&*lock(&self.inner.registry), &now] {
            // Writing to a `String` cannot fail.
            let _ = prometheus_text::encode(&mut text, registry);
        }
        let text = sort_series(&text);
        *lock(&self.inner.last_text) = Some(text.clone());
        text
    }
}

/// The same families with their series in the order of their labels, so that two scrapes can be
/// compared line by line: the library keeps them in a hash map. The lines of a histogram keep their
/// order.
fn sort_series(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut sorted = String::with_capacity(text.len());
    for family in lines.chunk_by(|_, next| !next.starts_with("# HELP ")) {
        let (about, series) = family.split_at(family.iter().take_while(|line| line.starts_with('#')).count());
        let mut series = series.to_vec();
        series.sort_by_key(|line| series_labels(line));
        for line in about.iter().chain(&series) {
            sorted.push_str(line);
            sorted.push('\n');
        }
    }
    sorted
}

/// The labels of a line, without the bound of a bucket, which is the last one.
fn series_labels(line: &str) -> &str {
    let Some((from, to)) = line.find('{').zip(line.rfind('}')) else { return "" };
    let labels = &line[from + 1..to];
    if labels.starts_with("le=\"") { "" } else { labels.rsplit_once(",le=\"").map_or(labels, |(labels, _)| labels) }
}

/// Samples by the name of their series.
fn gauge_registry(samples: impl IntoIterator<Item = Sample>) -> Registry {
    type Gauges = Family<Vec<(&'static str, &'static str)>, Gauge<f64, AtomicU64>>;
    let mut series: BTreeMap<_, (_, Gauges)> = BTreeMap::new();
    for Sample { name, help, labels, value } in samples {
        let (_, gauges) = series.entry(name).or_insert_with(|| (help, Gauges::default()));
        gauges.get_or_create(&labels).set(value);
    }
    let mut registry = Registry::default();
    for (name, (help, gauges)) in series {
        registry.register(name, help, gauges);
    }
    registry
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn few_texts_are_made_in_a_second() {
        let metrics = Metrics::default();
        let mut texts = std::collections::BTreeSet::new();
        for number in 0..2_000 {
            let sample = Sample { name: "number", help: "A number", labels: Vec::new(), value: f64::from(number) };
            texts.insert(metrics.text(std::future::ready(vec![sample])).await);
        }
        assert!((20..1_000).contains(&texts.len()), "{}", texts.len());
    }

    #[tokio::test]
    async fn counts_and_samples_are_rendered_together() {
        let metrics = Metrics::default();
        let [log, views] = [("log", 7.5), ("views", 6.0)].map(|(of, value)| Sample {
            name: "ledger_position",
            help: "How far",
            labels: vec![("of", of)],
            value,
        });
        metrics.add_sampler(move || std::future::ready(vec![log.clone()]));
        metrics.add_sampler(|| std::future::ready(Vec::new()));
        let problem = Some("path-unknown");
        metrics.count_answer("GET", Route(None), StatusCode::NOT_FOUND, problem, Duration::from_millis(2));
        let text = metrics.text(std::future::ready(vec![views])).await;
        for line in [
            "http_requests_total{method=\"GET\",route=\"unknown\",status=\"404\"} 1",
            "http_problems_total{code=\"path-unknown\"} 1",
            "http_request_duration_seconds_bucket{route=\"unknown\",le=\"0.001\"} 0",
            "http_request_duration_seconds_bucket{route=\"unknown\",le=\"0.0025\"} 1",
            "http_request_duration_seconds_count{route=\"unknown\"} 1",
            "# HELP ledger_position How far.",
            "# TYPE ledger_position gauge",
            "ledger_position{of=\"log\"} 7.5",
            "ledger_position{of=\"views\"} 6.0",
        ] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in:\n{text}");
        }
        assert_eq!(text.matches("# TYPE ledger_position").count(), 1, "{text}");
    }

    #[tokio::test]
    async fn series_are_in_the_order_of_their_labels_and_buckets_in_that_of_their_bounds() {
        let metrics = Metrics::default();
        let statuses = [500, 201, 404, 200, 503, 409, 412, 422, 400, 304];
        for status in statuses {
            let status = StatusCode::from_u16(status).expect("a status");
            metrics.count_answer("GET", Route(None), status, None, Duration::ZERO);
        }
        let samples = ["c", "a", "d", "b"].map(|of| Sample {
            name: "ledger_role",
            help: "A label that ends as `le` does",
            labels: vec![("role", of)],
            value: 1.0,
        });
        let text = metrics.text(std::future::ready(samples.to_vec())).await;
        for family in ["http_requests_total{", "ledger_role{"] {
            let lines: Vec<_> = text.lines().filter(|line| line.starts_with(family)).collect();
            assert!(lines.len() >= 4 && lines.is_sorted(), "{lines:#?}");
        }
        let buckets = text.lines().filter_map(|line| line.strip_prefix("http_request_duration_seconds_bucket"));
        let bounds: Vec<_> = buckets.filter_map(|line| line.split("le=\"").nth(1)?.split('"').next()).collect();
        let numbers: Vec<f64> = bounds.iter().filter_map(|bound| bound.parse().ok()).collect();
        assert_eq!((numbers, bounds.last()), ([&BUCKETS_S[..], &[f64::INFINITY]].concat(), Some(&"+Inf")), "{text}");
    }
}
