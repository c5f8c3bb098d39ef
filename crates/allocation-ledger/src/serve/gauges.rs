//! Gauges, sampled on each scrape.

use std::sync::Arc;

use access_log::{AccessLog, AuditCheckpoint};
use command::Clock;
use event_log::{LogError, SharedLog};
use http_api::metrics::{Metrics, Sample};
use sqlx::PgPool;
use tokio::sync::watch;

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

/// Shows how many messages wait for a person, and where messages are received, whether they are.
pub(super) fn messages(
    metrics: &Metrics,
    parked: &hmpps::ParkedMessages,
    intake: Option<(watch::Receiver<hmpps::ConsumerStatus>, watch::Receiver<Option<String>>)>,
) {
    let parked = parked.clone();
    metrics.add_sampler(move || {
        let parked = parked.clone();
        let is_receiving = intake
            .as_ref()
            .is_none_or(|(status, failure)| receives_messages(&status.borrow(), failure.borrow().as_deref()));
        async move {
            let help =
                "1 while no messages of HMPPS are received, because the queue or a store is away or the intake ended";
            let mut samples = vec![sample("ledger_messages_waiting", help, f64::from(u8::from(!is_receiving)))];
            if let Ok((messages, deletions)) = parked.count().await {
                let help = "Messages of HMPPS that wait for a person, those about deletions left out";
                samples.push(sample("ledger_messages_parked", help, messages as f64));
                let help = "Messages about people whose data other services have deleted, and that wait for a person";
                samples.push(sample("ledger_deletions_parked", help, deletions as f64));
            }
            samples
        }
    });
}

/// Shows how many messages the queue and its dead-letter queue have, as far as SQS tells. A queue
/// that is not named has none.
pub(super) fn message_queue(metrics: &Metrics, state: Option<&watch::Receiver<hmpps::QueueState>>) {
    let state = state.cloned();
    metrics.add_sampler(move || {
        let state = state.as_ref().map(|state| state.borrow().clone());
        let count = |of: fn(&hmpps::QueueState) -> Option<u64>| state.as_ref().map_or(Some(0), of);
        let given_up = "Messages of HMPPS that were handed out too often, and wait on the dead-letter queue";
        let samples = [
            (
                "ledger_messages_on_queue",
                "Messages of HMPPS that wait on the queue",
                count(|state| state.messages_on_queue),
            ),
            (
                "ledger_messages_in_flight",
                "Messages of HMPPS that are at work",
                count(|state| state.messages_in_flight),
            ),
            ("ledger_messages_on_dlq", given_up, count(|state| state.messages_on_dlq)),
        ];
        let counted = samples.into_iter().filter_map(|(name, help, count)| Some(sample(name, help, count? as f64)));
        std::future::ready(counted.collect())
    });
}

/// Whether messages are received. An intake that starts for ever or has ended receives none.
fn receives_messages(status: &hmpps::ConsumerStatus, failure: Option<&str>) -> bool {
    *status == hmpps::ConsumerStatus::Receiving && failure.is_none()
}

/// Whether domain events are published, here or by another process. A publisher that starts for
/// ever or has ended publishes none.
fn publishes_or_stands_by(status: &hmpps::PublisherStatus, failure: Option<&str>) -> bool {
    use hmpps::PublisherStatus::{Publishing, StandBy};
    matches!(status, Publishing(_) | StandBy) && failure.is_none()
}

/// Shows how far the publisher of domain events has come, and whether this process's waits.
pub(super) fn publisher(
    metrics: &Metrics,
    log: &SharedLog,
    database: &PgPool,
    (status, failure): (watch::Receiver<hmpps::PublisherStatus>, watch::Receiver<Option<String>>),
) {
    let (log, database) = (Arc::clone(log), database.clone());
    metrics.add_sampler(move || {
        let (log, database) = (Arc::clone(&log), database.clone());
        let is_waiting = !publishes_or_stands_by(&status.borrow(), failure.borrow().as_deref());
        async move {
            let help = "1 while no domain events are published, because the topic, the views or a store hold them back \
                        or the publisher ended";
            let mut samples = vec![sample("ledger_publisher_waiting", help, f64::from(u8::from(is_waiting)))];
            if let Ok(Some(publication)) = hmpps::Publication::read(&database).await {
                let position = publication.last.position;
                let help = "Position of the last event whose domain events were published";
                samples.push(sample("ledger_publisher_position", help, position as f64));
                if let Ok(lag_s) = lag_s(&log, position).await {
                    let help = "How long ago the first event was recorded that is not published; 0 where all are";
                    samples.push(sample("ledger_publisher_lag_seconds", help, lag_s));
                }
            }
            samples
        }
    });
}

/// Shows whether this process's sender to the audit queue waits.
pub(super) fn audit_sender(
    metrics: &Metrics,
    (state, failure): (watch::Receiver<hmpps::AuditState>, watch::Receiver<Option<String>>),
) {
    metrics.add_sampler(move || {
        let is_waiting = !sends_or_stands_by(&state.borrow(), failure.borrow().as_deref());
        let help =
            "1 while the audit service hears of nothing, because its queue or a store is away or the sender ended";
        std::future::ready(vec![sample("ledger_audit_waiting", help, f64::from(u8::from(is_waiting)))])
    });
}

/// Whether the audit service is told, by this process or by another.
fn sends_or_stands_by(state: &hmpps::AuditState, failure: Option<&str>) -> bool {
    state.role != hmpps::AuditRole::Starting && state.waits_for().is_none() && failure.is_none()
}

/// Shows how far the audit queue is behind, once a sender has begun: also where none works now.
pub(super) fn audit_lag(metrics: &Metrics, log: &SharedLog, database: &PgPool) {
    let (log, database) = (Arc::clone(log), database.clone());
    metrics.add_sampler(move || {
        let (log, database) = (Arc::clone(&log), database.clone());
        async move {
            let Ok(Some(checkpoint)) = AuditCheckpoint::read(&database).await else { return Vec::new() };
            let of_kind = |kind, lag_s| {
                let help = "How long ago the first was recorded that the audit queue has not had; 0 where it has all";
                let labels = vec![("kind", kind)];
                Sample { labels, ..sample("ledger_audit_lag_seconds", help, lag_s) }
            };
            let commands = lag_s(&log, checkpoint.last.position).await.ok();
            let reads = access_log::unsent_lag_s(&database).await.ok();
            let commands = commands.map(|lag_s| of_kind("command", lag_s));
            commands.into_iter().chain(reads.map(|lag_s| of_kind("read", lag_s))).collect()
        }
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

#[cfg(test)]
mod tests {
    use hmpps::{AuditRole, AuditState, ConsumerStatus, Outage, PublisherStatus};

    use super::{publishes_or_stands_by, receives_messages, sends_or_stands_by};

    #[test]
    fn only_an_intake_that_receives_is_no_reason_for_an_alert() {
        assert!(receives_messages(&ConsumerStatus::Receiving, None));
        assert!(!receives_messages(&ConsumerStatus::Receiving, Some("it ended by itself")));
        assert!(!receives_messages(&ConsumerStatus::Starting, None));
        assert!(!receives_messages(&ConsumerStatus::Waiting(Outage::Unprepared), None));
    }

    #[test]
    fn a_sender_that_has_ended_or_not_begun_is_a_reason_for_an_alert() {
        let mut state = AuditState::default();
        assert!(!sends_or_stands_by(&state, None));
        for role in [AuditRole::StandBy, AuditRole::Active] {
            state.role = role;
            assert!(sends_or_stands_by(&state, None));
            assert!(!sends_or_stands_by(&state, Some("it ended by itself")));
        }
    }

    #[test]
    fn a_publisher_that_has_ended_or_waits_is_a_reason_for_an_alert() {
        assert!(publishes_or_stands_by(&PublisherStatus::Publishing(7), None));
        assert!(publishes_or_stands_by(&PublisherStatus::StandBy, None));
        assert!(!publishes_or_stands_by(&PublisherStatus::Publishing(7), Some("it ended by itself")));
        assert!(!publishes_or_stands_by(&PublisherStatus::Starting, None));
        assert!(!publishes_or_stands_by(&PublisherStatus::Waiting("no topic".to_owned()), None));
    }
}
