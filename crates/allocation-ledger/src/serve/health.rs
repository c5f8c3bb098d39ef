//! The health of the parts of a serving ledger.

use std::{sync::Arc, time::Duration};

use access_log::AccessLog;
use embedded_postgres::{ServerCondition, StartFailure};
use http_api::health::{Component, Health};
use serde_json::Value;
use sign_on::SignOn;
use tokio::{sync::watch, time::timeout};

use super::{Role, ServeSettings};
use crate::stores::LogStore;

/// How long an entry of the access log may wait. While Postgres is there, it waits 100 ms.
const ACCESS_LOG_WAIT_MAX: Duration = Duration::from_secs(60);

/// How long the parked messages may take to be counted.
const PARKED_COUNT_TIME_MAX: Duration = Duration::from_secs(1);

/// Adds the event log. A process that only answers questions does so from the views, so it is ready
/// while the event store is away.
pub(super) fn with_event_log(health: Health, store: &LogStore, settings: &ServeSettings) -> Health {
    let log = Arc::clone(&store.log);
    let embedded = settings.stores.log.event_store.is_none().then(|| store.embedded_condition()).flatten();
    let check = move || {
        let log = Arc::clone(&log);
        let failure = embedded.as_ref().and_then(ServerCondition::failure);
        async move {
            if let Some(StartFailure { tries, is_final, .. }) = failure {
                let (does, next) = if is_final {
                    ("cannot be started again", "mend the reason that this program's log names, and restart it")
                } else {
                    ("does not start", "it is tried again, and this program's log names the reason")
                };
                return Component::down(format!("the embedded Postgres {does} (tries: {tries}): {next}"));
            }
            match log.head().await {
                Ok(position) => Component::up().with("position", position),
                Err(error) => Component::failed(&error),
            }
        }
    };
    match settings.role {
        Role::Query => health.with_dispensable("eventLog", check),
        Role::All | Role::Command | Role::Projector | Role::Integration => health.with("eventLog", check),
    }
}

/// Adds the sign-on, where there is one: without its keys no caller can be let in.
pub(super) fn with_sign_on(health: Health, sign_on: Option<Arc<SignOn>>) -> Health {
    let Some(sign_on) = sign_on else { return health };
    health.with("signOn", move || {
        let component = match sign_on.check_keys() {
            Ok(()) => Component::up(),
            Err(why) => Component::down(why),
        };
        async { component }
    })
}

/// Adds the policies.
pub(super) fn with_policies(
    health: Health,
    service: command::Service,
    failure: watch::Receiver<Option<String>>,
) -> Health {
    health.with("policies", move || {
        let component = policies_component(service.is_caught_up(), failure.borrow().as_deref());
        async { component }
    })
}

fn policies_component(is_caught_up: bool, failure: Option<&str>) -> Component {
    match (failure, is_caught_up) {
        (Some(reason), _) => Component::down(reason).with("state", "stopped"),
        (None, false) => Component::down("the log has not been read to its end yet").with("state", "catching-up"),
        (None, true) => Component::up().with("state", "running"),
    }
}

/// Adds the projector.
pub(super) fn with_projector(
    health: Health,
    statuses: watch::Receiver<projector::Status>,
    failure: watch::Receiver<Option<String>>,
) -> Health {
    health.with("projector", move || {
        let component = projector_component(&statuses.borrow(), failure.borrow().as_deref());
        async { component }
    })
}

fn projector_component(status: &projector::Status, failure: Option<&str>) -> Component {
    let (state, position) = match status {
        // The reason that the projector gives says more than that its worker has ended.
        projector::Status::Stopped { reason } => return Component::down(reason.clone()).with("state", "stopped"),
        _ if failure.is_some() => return Component::down(failure.unwrap_or_default()).with("state", "stopped"),
        projector::Status::Retrying { reason } => return Component::down(reason.clone()).with("state", "retrying"),
        projector::Status::Starting => ("starting", None),
        projector::Status::StandBy => ("standby", None),
        projector::Status::Rebuilding { position, .. } => ("rebuilding", Some(*position)),
        projector::Status::Running { position, streams_aside: 0 } => ("running", Some(*position)),
        projector::Status::Running { position, streams_aside } => {
            return Component::with_streams_aside(*streams_aside).with("state", "running").with("position", *position);
        }
        projector::Status::Ended => ("ended", None),
    };
    let component = if status.is_ready() { Component::up() } else { Component::down("not at work yet") };
    let component = component.with("state", state);
    match position {
        Some(position) => component.with("position", position),
        None => component,
    }
}

/// Adds the access log. It is never down: whether reads go on without it is the operator's choice.
pub(super) fn with_access_log(
    health: Health,
    access_log: AccessLog,
    failure: watch::Receiver<Option<String>>,
) -> Health {
    health.with_dispensable("accessLog", move || {
        let component = access_log_component(access_log.longest_wait(), failure.borrow().as_deref());
        async { component }
    })
}

fn access_log_component(longest_wait: Duration, failure: Option<&str>) -> Component {
    let component = match failure {
        Some(reason) => Component::degraded(reason).with("state", "stopped"),
        None if longest_wait > ACCESS_LOG_WAIT_MAX => {
            Component::degraded("entries cannot be stored: the log of this program says why").with("state", "waiting")
        }
        None => Component::up().with("state", "running"),
    };
    component.with("waitingSeconds", longest_wait.as_secs())
}

/// Adds the intake of messages: degraded while none is received, and never down, as the ledger does
/// the rest of its work without them.
pub(super) fn with_messages(
    health: Health,
    parked: hmpps::ParkedMessages,
    (status, queue): (watch::Receiver<hmpps::ConsumerStatus>, watch::Receiver<hmpps::QueueState>),
    failure: watch::Receiver<Option<String>>,
) -> Health {
    health.with_dispensable("messages", move || {
        let parked = parked.clone();
        let component = messages_component(&status.borrow(), failure.borrow().as_deref());
        let component = with_queue(component, &queue.borrow());
        async move {
            // A Postgres that has vanished must not make the component look down.
            match timeout(PARKED_COUNT_TIME_MAX, parked.count()).await {
                Ok(Ok((messages, _))) => component.with("parked", messages),
                Ok(Err(_)) | Err(_) => component,
            }
        }
    })
}

/// Adds the counts of a queue, by the names that other services of HMPPS have for them.
fn with_queue(component: Component, state: &hmpps::QueueState) -> Component {
    let Ok(Value::Object(details)) = serde_json::to_value(state) else { return component };
    details.into_iter().fold(component, |component, (name, value)| component.with(&name, value))
}

fn messages_component(status: &hmpps::ConsumerStatus, failure: Option<&str>) -> Component {
    match (failure, status) {
        (Some(reason), _) => Component::degraded(reason).with("state", "stopped"),
        (None, hmpps::ConsumerStatus::Waiting(outage)) => {
            Component::degraded(outage.to_string()).with("state", "waiting")
        }
        (None, hmpps::ConsumerStatus::Starting) => Component::up().with("state", "starting"),
        (None, hmpps::ConsumerStatus::Receiving) => Component::up().with("state", "receiving"),
    }
}

/// Adds the publisher of domain events: degraded while it waits, and never down, as the ledger does
/// the rest of its work without it.
pub(super) fn with_publisher(
    health: Health,
    status: watch::Receiver<hmpps::PublisherStatus>,
    failure: watch::Receiver<Option<String>>,
) -> Health {
    health.with_dispensable("publisher", move || {
        let component = publisher_component(&status.borrow(), failure.borrow().as_deref());
        async { component }
    })
}

fn publisher_component(status: &hmpps::PublisherStatus, failure: Option<&str>) -> Component {
    use hmpps::PublisherStatus::{Publishing, StandBy, Starting, Waiting};
    match (failure, status) {
        (Some(reason), _) => Component::degraded(reason).with("state", "stopped"),
        (None, Waiting(reason)) => Component::degraded(reason.clone()).with("state", "waiting"),
        (None, Starting) => Component::up().with("state", "starting"),
        (None, StandBy) => Component::up().with("state", "standby"),
        (None, Publishing(position)) => Component::up().with("state", "publishing").with("position", *position),
    }
}

/// Adds the sender to the audit queue: degraded while it waits, and never down, as no request needs
/// it.
pub(super) fn with_audit(
    health: Health,
    state: watch::Receiver<hmpps::AuditState>,
    failure: watch::Receiver<Option<String>>,
) -> Health {
    health.with_dispensable("audit", move || {
        let component = audit_component(&state.borrow(), failure.borrow().as_deref());
        async { component }
    })
}

fn audit_component(state: &hmpps::AuditState, failure: Option<&str>) -> Component {
    use hmpps::AuditRole::{Active, StandBy, Starting};
    match (failure, state.waits_for(), state.role) {
        (Some(reason), _, _) => Component::degraded(reason).with("state", "stopped"),
        (None, Some(reason), _) => Component::degraded(reason).with("state", "waiting"),
        (None, None, Starting) => {
            let why = "the sender has not begun: Postgres is away, or waits for `allocation-ledger prepare`";
            Component::degraded(why).with("state", "starting")
        }
        (None, None, StandBy) => Component::up().with("state", "standby"),
        (None, None, Active) => Component::up().with("state", "sending"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(component: &Component, status: &str, state: &str, error: Option<&str>) {
        let component = serde_json::to_value(component).expect("JSON");
        let details = &component["details"];
        let said = (component["status"].as_str(), details["state"].as_str(), details["error"].as_str());
        assert_eq!(said, (Some(status), Some(state), error));
    }

    #[test]
    fn a_component_that_is_down_still_tells_its_state() {
        check(&policies_component(true, None), "UP", "running", None);
        check(
            &policies_component(false, None),
            "DOWN",
            "catching-up",
            Some("the log has not been read to its end yet"),
        );
        check(&policies_component(true, Some("panicked")), "DOWN", "stopped", Some("panicked"));

        let running = projector::Status::Running { position: 7, streams_aside: 0 };
        check(&projector_component(&running, None), "UP", "running", None);
        let lacking = projector::Status::Running { position: 7, streams_aside: 2 };
        check(&projector_component(&lacking, None), "DEGRADED", "running", None);
        check(&projector_component(&running, Some("panicked")), "DOWN", "stopped", Some("panicked"));
        let stopped = projector::Status::Stopped { reason: "position 8".to_owned() };
        check(&projector_component(&stopped, Some("run the projector")), "DOWN", "stopped", Some("position 8"));
        let retrying = projector::Status::Retrying { reason: "out of reach".to_owned() };
        check(&projector_component(&retrying, None), "DOWN", "retrying", Some("out of reach"));
    }

    #[test]
    fn messages_that_are_not_received_degrade_the_service() {
        use hmpps::ConsumerStatus::{Receiving, Starting, Waiting};
        check(&messages_component(&Starting, None), "UP", "starting", None);
        check(&messages_component(&Receiving, None), "UP", "receiving", None);
        check(&messages_component(&Waiting(hmpps::Outage::Unprepared), None), "DEGRADED", "waiting", None);
        check(&messages_component(&Receiving, Some("panicked")), "DEGRADED", "stopped", None);
    }

    #[test]
    fn a_publisher_that_waits_degrades_the_service() {
        use hmpps::PublisherStatus::{Publishing, StandBy, Waiting};
        check(&publisher_component(&Publishing(7), None), "UP", "publishing", None);
        check(&publisher_component(&StandBy, None), "UP", "standby", None);
        check(&publisher_component(&Waiting("no topic".to_owned()), None), "DEGRADED", "waiting", None);
        check(&publisher_component(&Publishing(7), Some("panicked")), "DEGRADED", "stopped", None);
    }

    #[test]
    fn a_sender_to_the_audit_queue_is_never_down() {
        use hmpps::AuditRole::{Active, StandBy};
        let mut state = hmpps::AuditState::default();
        check(&audit_component(&state, None), "DEGRADED", "starting", None);
        state.role = StandBy;
        check(&audit_component(&state, None), "UP", "standby", None);
        state.role = Active;
        check(&audit_component(&state, None), "UP", "sending", None);
        check(&audit_component(&state, Some("panicked")), "DEGRADED", "stopped", None);
    }

    #[test]
    fn an_access_log_that_stores_nothing_is_degraded_and_never_down() {
        let component = |wait_s, failure| access_log_component(Duration::from_secs(wait_s), failure);
        check(&component(0, None), "UP", "running", None);
        check(&component(60, None), "UP", "running", None);
        check(&component(61, None), "DEGRADED", "waiting", None);
        check(&component(0, Some("panicked")), "DEGRADED", "stopped", None);
    }
}
