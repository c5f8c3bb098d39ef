//! Counts in the text format of Prometheus.
//!
//! Requests by route and status, problems by code and the time that requests take are counted here; what the parts of
//! the program want to show beside them are gauges, asked when the metrics are read.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    http::{StatusCode, header},
    response::IntoResponse,
};

/// Upper bounds of the buckets of request times, in seconds.
const BUCKETS_S: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// The counts of one process; clones share them.
#[derive(Clone, Default)]
pub struct Metrics {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// By method, route and status. Routes are templates, so the number of series is bounded.
    requests: BTreeMap<(String, String, u16), u64>,
    problems: BTreeMap<String, u64>,
    seconds: BTreeMap<String, Histogram>,
    gauges: Vec<Gauge>,
}

#[derive(Default)]
struct Histogram {
    buckets: [u64; BUCKETS_S.len()],
    count: u64,
    sum: Duration,
}

struct Gauge {
    name: &'static str,
    help: &'static str,
    read: Box<dyn Fn() -> Option<f64> + Send + Sync>,
}

impl Metrics {
    /// Shows a value that is asked whenever the metrics are read; `None` leaves it out.
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        self.lock().gauges.push(Gauge { name, help, read: Box::new(read) });
    }

    /// Counts an answered request.
    pub(crate) fn answered(
        &self,
        method: &str,
        route: &str,
        status: StatusCode,
        problem: Option<&str>,
        took: Duration,
    ) {
        let mut inner = self.lock();
        *inner.requests.entry((method.to_owned(), route.to_owned(), status.as_u16())).or_default() += 1;
        if let Some(code) = problem {
            *inner.problems.entry(code.to_owned()).or_default() += 1;
        }
        let histogram = inner.seconds.entry(route.to_owned()).or_default();
        histogram.count += 1;
        histogram.sum += took;
        for (bucket, bound) in histogram.buckets.iter_mut().zip(BUCKETS_S) {
            *bucket += u64::from(took.as_secs_f64() <= bound);
        }
    }

    /// The metrics as an answer to `GET /metrics`.
    pub fn render(&self) -> impl IntoResponse + use<> {
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], self.lock().text())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A count that a panicking thread left is as good as any.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        heading(out, "http_requests_total", "counter", "Requests answered.")?;
        for ((method, route, status), count) in &self.requests {
            writeln!(out, "http_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}} {count}")?;
        }
        heading(out, "http_problems_total", "counter", "Problem documents sent, by code.")?;
        for (code, count) in &self.problems {
            writeln!(out, "http_problems_total{{code=\"{code}\"}} {count}")?;
        }
        heading(out, "http_request_duration_seconds", "histogram", "From the request's head to the answer's.")?;
        for (route, histogram) in &self.seconds {
            for (count, bound) in histogram.buckets.iter().zip(BUCKETS_S) {
                writeln!(out, "http_request_duration_seconds_bucket{{route=\"{route}\",le=\"{bound}\"}} {count}")?;
            }
            let (count, sum) = (histogram.count, histogram.sum.as_secs_f64());
            writeln!(out, "http_request_duration_seconds_bucket{{route=\"{route}\",le=\"+Inf\"}} {count}")?;
            writeln!(out, "http_request_duration_seconds_sum{{route=\"{route}\"}} {sum}")?;
            writeln!(out, "http_request_duration_seconds_count{{route=\"{route}\"}} {count}")?;
        }
        for gauge in &self.gauges {
            if let Some(value) = (gauge.read)() {
                heading(out, gauge.name, "gauge", gauge.help)?;
                writeln!(out, "{} {value}", gauge.name)?;
            }
        }
        Ok(())
    }
}

fn heading(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_problems_and_gauges_are_shown() {
        let metrics = Metrics::default();
        metrics.gauge("ledger_position", "How far.", || Some(7.0));
        metrics.gauge("ledger_absent", "Not known.", || None);
        metrics.answered("GET", "/x/{n}", StatusCode::NOT_FOUND, Some("prisoner-unknown"), Duration::from_millis(2));
        let text = metrics.lock().text();
        for line in [
            "http_requests_total{method=\"GET\",route=\"/x/{n}\",status=\"404\"} 1",
            "http_problems_total{code=\"prisoner-unknown\"} 1",
            "http_request_duration_seconds_bucket{route=\"/x/{n}\",le=\"0.001\"} 0",
            "http_request_duration_seconds_bucket{route=\"/x/{n}\",le=\"0.0025\"} 1",
            "http_request_duration_seconds_count{route=\"/x/{n}\"} 1",
            "ledger_position 7",
        ] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in:\n{text}");
        }
        assert!(!text.contains("ledger_absent"));
    }
}
