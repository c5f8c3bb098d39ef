//! Gauges, sampled on each scrape.

use std::sync::Arc;

use access_log::AccessLog;
use command::Clock;
use event_log::{LogError, SharedLog};
use http_api::metrics::{Metrics, Sample};
use sqlx::PgPool;

use crate::build_info;

/// Shows which version of the program this is, and of which commit. An empty label is one that the
/// build did not know.
pub(super) fn build(metrics: &Metrics) {
    metrics.add_sampler(|| {
        let commit = build_info::COMMIT.unwrap_or_default();
        let labels = vec![("version", env!("CARGO_PKG_VERSION")), ("commit", commit)];
        let build =
            Sample { labels, ..sample("ledger_build_info", "Always 1; the labels say which program this is", 1.0) };
        std::future::ready(vec![build])
    });
}

/// Shows how far the log goes.
pub(super) fn log(metrics: &Metrics, log: &SharedLog) {
    let log = Arc::clone(log);
    metrics.add_sampler(move || {
        let log = Arc::clone(&log);
        async move {
            let head = log.head().await.ok();
            let help = "Position of the last event in the log";
            head.map(|head| sample("ledger_log_position", help, head as f64)).into_iter().collect()
        }
    });
}

/// Shows how far the views have come, view by view although they move together: should a view ever
/// be kept apart, its metric needs no other name.
pub(super) fn views(metrics: &Metrics, log: &SharedLog, views: &PgPool) {
    let (log, views) = (Arc::clone(log), views.clone());
    metrics.add_sampler(move || {
        let (log, views) = (Arc::clone(&log), views.clone());
        async move {
            let Ok(position) = projector::position(&views).await else { return Vec::new() };
            let of_each = |name, help, value| {
                projector::VIEWS.map(|view| Sample { labels: vec![("view", view.name())], ..sample(name, help, value) })
            };
            let help = "Position of the last event that a view includes";
            let mut samples = of_each("ledger_projection_position", help, position as f64).to_vec();
            if let Ok(streams) = projector::streams_aside(&views).await {
                let help = "Cases and prisons that the views leave out, as Postgres refuses their rows";
                samples.push(sample("ledger_projection_streams_aside", help, streams as f64));
            }
            if let Ok(lag_s) = lag_s(&log, position).await {
                let help = "How long ago the first event was recorded that a view lacks; 0 where it lacks none";
                samples.extend(of_each("ledger_projection_lag_seconds", help, lag_s));
            }
            samples
        }
    });
}

/// Shows how long entries of the access log wait to be stored.
pub(super) fn access_log(metrics: &Metrics, access_log: &AccessLog) {
    let access_log = access_log.clone();
    metrics.add_sampler(move || {
        let help = "How long the oldest read has waited to be stored in the access log, or none could be stored";
        let waiting_s = access_log.longest_wait().as_secs_f64();
        std::future::ready(vec![sample("ledger_access_log_waiting_seconds", help, waiting_s)])
    });
}

/// Shows the connections of a pool.
pub(super) fn connections(metrics: &Metrics, of: &'static str, pool: &PgPool) {
    let pool = pool.clone();
    metrics.add_sampler(move || {
        let idle = pool.num_idle();
        let in_use = (pool.size() as usize).saturating_sub(idle);
        let samples = [("idle", idle), ("in-use", in_use)].map(|(state, count)| Sample {
            labels: vec![("pool", of), ("state", state)],
            ..sample("ledger_postgres_connections", "Connections to Postgres, by pool and state", count as f64)
        });
        std::future::ready(samples.to_vec())
    });
}

/// The lag in seconds, by the time of one event. The lag in events would have to be counted by
/// reading them, as positions may have gaps.
async fn lag_s(log: &SharedLog, position: u64) -> Result<f64, LogError> {
    let lacking = log.read_all(position, 1).await?;
    Ok(lacking.first().map_or(0.0, |first| (Clock::system().now() - first.recorded_at).as_seconds_f64().max(0.0)))
}

fn sample(name: &'static str, help: &'static str, value: f64) -> Sample {
    Sample { name, help, labels: Vec::new(), value }
}
