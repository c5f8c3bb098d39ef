//! Whether the service is well: `/health`, `/health/liveness`, `/health/readiness`, `/ping`,
//! `/info`, `/metrics`, in the shapes that HMPPS's tools read.
//!
//! A service that answers is alive. It is ready if no component that it needs is down; readiness
//! names the components that are down. A component that does its work with something left out is
//! degraded, and so is the service then, which stays ready. Each part of the program supplies its
//! component.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use event_log::error_chain;
use futures::future::join_all;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::metrics::{Metrics, Sample};

/// How long a component's check may take before the component counts as down.
const CHECK_TIME_MAX: Duration = Duration::from_secs(2);

type CheckFn = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Component> + Send>> + Send + Sync>;

/// The state of a part of the service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Component {
    status: ComponentStatus,
    #[serde(skip_serializing_if = "Map::is_empty")]
    details: Map<String, Value>,
}

/// How well a component works, in the words of HMPPS's tools; the worse, the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum ComponentStatus {
    Up,
    Degraded,
    Down,
}

impl Component {
    /// The component works.
    #[must_use]
    pub fn up() -> Self {
        Self { status: ComponentStatus::Up, details: Map::new() }
    }

    /// The component works, and leaves so many cases and prisons out.
    #[must_use]
    pub fn with_streams_aside(streams: usize) -> Self {
        Self { status: ComponentStatus::Degraded, details: Map::new() }
            .with("streamsAside", streams)
            .with("warning", "cases or prisons are left out: `allocation-ledger projections status` names them")
    }

    /// The component does not work. `why` is for an operator and must hold no secret.
    pub fn down(why: impl Into<String>) -> Self {
        Self { status: ComponentStatus::Down, details: Map::new() }.with("error", why.into())
    }

    /// The component does not work because of an error, which it shows in one line with its causes.
    pub fn failed(error: &dyn std::error::Error) -> Self {
        Self::down(error_chain(error))
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}

/// The components of a service, its name and its build.
#[derive(Clone)]
pub struct Health {
    name: &'static str,
    version: &'static str,
    commit: Option<Value>,
    metrics: Metrics,
    checks: Vec<ComponentCheck>,
}

/// A component and its check.
#[derive(Clone)]
struct ComponentCheck {
    name: &'static str,
    is_needed: bool,
    check: CheckFn,
}

impl Health {
    /// A service without components.
    #[must_use]
    pub fn new(name: &'static str, version: &'static str, metrics: Metrics) -> Self {
        Self { name, version, commit: None, metrics, checks: Vec::new() }
    }

    /// Adds the commit that the service was built from, and its time, as far as they are known.
    #[must_use]
    pub fn with_commit(self, id: Option<&str>, time: Option<&str>) -> Self {
        let commit = id.map(|id| match time {
            Some(time) => json!({"id": id, "time": time}),
            None => json!({"id": id}),
        });
        Self { commit, ..self }
    }

    /// Adds a component with its check.
    #[must_use]
    pub fn with<F>(self, component: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Component> + Send + 'static,
    {
        self.add(component, true, check)
    }

    /// Adds a component that the service may lack: it is ready while this one is down.
    #[must_use]
    pub fn with_dispensable<F>(self, component: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Component> + Send + 'static,
    {
        self.add(component, false, check)
    }

    fn add<F>(mut self, name: &'static str, is_needed: bool, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Component> + Send + 'static,
    {
        self.checks.push(ComponentCheck { name, is_needed, check: Arc::new(move || Box::pin(check())) });
        self
    }

    /// Checks all components, or only the needed ones, at the same time.
    async fn check(&self, only_needed: bool) -> (ComponentStatus, Vec<(&'static str, Component)>) {
        let checks = self.checks.iter().filter(|checked| checked.is_needed || !only_needed);
        let asked = checks.map(async |ComponentCheck { name, check, .. }| {
            let component = tokio::time::timeout(CHECK_TIME_MAX, check())
                .await
                .unwrap_or_else(|_| Component::down(format!("no answer within {} s", CHECK_TIME_MAX.as_secs())));
            (*name, component)
        });
        let components = join_all(asked).await;
        let worst = components.iter().map(|(_, component)| component.status).max();
        (worst.unwrap_or(ComponentStatus::Up), components)
    }

    async fn samples(&self) -> Vec<Sample> {
        let sample = |(name, component): (&'static str, Component)| Sample {
            name: "ledger_component_up",
            help: "Whether a component can do its work: 1 or 0",
            labels: vec![("component", name)],
            value: f64::from(u8::from(component.status != ComponentStatus::Down)),
        };
        self.check(false).await.1.into_iter().map(sample).collect()
    }
}

/// The routes.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/health", get(details))
        .route("/health/liveness", get(async || Json(json!({"status": "UP"}))))
        .route("/health/readiness", get(readiness))
        .route("/ping", get(async || "pong"))
        .route("/info", get(info))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn details(State(health): State<Health>) -> Response {
    let (status, components) = health.check(false).await;
    answer(status, json!({"status": status, "components": by_name(components)}))
}

async fn readiness(State(health): State<Health>) -> Response {
    let (status, mut components) = health.check(true).await;
    components.retain(|(_, component)| component.status == ComponentStatus::Down);
    match status {
        ComponentStatus::Up | ComponentStatus::Degraded => answer(status, json!({"status": ComponentStatus::Up})),
        ComponentStatus::Down => answer(status, json!({"status": status, "components": by_name(components)})),
    }
}

fn by_name(components: Vec<(&'static str, Component)>) -> Map<String, Value> {
    components.into_iter().map(|(name, component)| (name.to_owned(), json!(component))).collect()
}

async fn info(State(health): State<Health>) -> Json<Value> {
    let Health { name, version, commit, .. } = health;
    let mut info = json!({"build": {"artifact": name, "name": name, "version": version}});
    if let Some(commit) = commit {
        info["git"] = json!({"commit": commit});
    }
    Json(info)
}

/// Includes each component's state, so that an alarm need not read the health as well.
async fn metrics(State(health): State<Health>) -> Response {
    health.metrics.render(health.samples()).await
}

fn answer(status: ComponentStatus, body: Value) -> Response {
    let code = match status {
        ComponentStatus::Up | ComponentStatus::Degraded => StatusCode::OK,
        ComponentStatus::Down => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(body)).into_response()
}
