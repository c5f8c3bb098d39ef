//! Whether the service is well: `/health`, `/health/liveness`, `/health/readiness`, `/health/ping`,
//! `/ping`, `/info`, `/metrics`, in the shapes that HMPPS's tools read.
//!
//! A service that answers is alive. It is ready if no component that it needs is down; readiness
//! names the components that are down. A component that does its work with something left out is
//! degraded, and so is the service then, which stays ready. Each part of the program supplies its
//! component. Requests share a check that runs or has just ended, as nothing limits how many come.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use event_log::error_chain;
use futures::future::join_all;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{ToSchema, openapi::OpenApi};
use utoipa_axum::routes;

use crate::{
    Access, GuardedRouter, Problem,
    metrics::{Metrics, Sample},
    shared_check::SharedCheck,
};

/// How long a component's check may take before the component counts as down.
const CHECK_TIME_MAX: Duration = Duration::from_secs(2);

type CheckFn = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Component> + Send>> + Send + Sync>;

/// The state of a part of the service.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Component {
    /// How well it works.
    status: ComponentStatus,
    /// What an operator may want to know of it; `error` says why it is down.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object, required = false)]
    details: Map<String, Value>,
}

/// How well a component works, in the words of HMPPS's tools; the worse, the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum ComponentStatus {
    /// It works.
    Up,
    /// It works with something left out.
    Degraded,
    /// It does not work.
    Down,
}

/// How a service is.
#[derive(Debug, Serialize, ToSchema)]
struct ServiceHealth {
    /// How well the service works.
    status: ComponentStatus,
    /// Its parts by name; of the readiness, those that are down.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    components: Option<BTreeMap<&'static str, Component>>,
}

/// Which service this is.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct ServiceInfo {
    /// The build.
    build: ServiceBuild,
    /// The state of the sources, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    git: Option<SourceState>,
    /// The product of HMPPS that the service belongs to, e.g. `DPS030`; `default` where the
    /// operator has named none.
    #[serde(rename = "productId")]
    product_id: String,
}

/// A build of the service.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct ServiceBuild {
    /// The name of the program.
    artifact: &'static str,
    /// The name of the service.
    name: &'static str,
    /// The number of the build, or the version of the program.
    version: &'static str,
}

/// The state of the sources that a build is of.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct SourceState {
    /// The commit.
    commit: SourceCommit,
}

/// A commit.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct SourceCommit {
    /// The commit, in full.
    id: &'static str,
    /// Its time, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>, format = DateTime)]
    time: Option<&'static str>,
}

impl Component {
    /// The component works.
    #[must_use]
    pub fn up() -> Self {
        Self { status: ComponentStatus::Up, details: Map::new() }
    }

    /// The component works, with something left out. `why` is for an operator and must hold no
    /// secret.
    pub fn degraded(why: impl Into<String>) -> Self {
        Self { status: ComponentStatus::Degraded, details: Map::new() }.with("warning", why.into())
    }

    /// The component works, and leaves so many cases and prisons out.
    #[must_use]
    pub fn with_streams_aside(streams: usize) -> Self {
        Self::degraded("cases or prisons are left out: `allocation-ledger projections status` names them")
            .with("streamsAside", streams)
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
    info: ServiceInfo,
    metrics: Metrics,
    checks: Vec<ComponentCheck>,
    all: Arc<SharedCheck<CheckedComponents>>,
    needed: Arc<SharedCheck<CheckedComponents>>,
}

/// The components that were checked, and the state of the worst.
type CheckedComponents = (ComponentStatus, Vec<(&'static str, Component)>);

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
        let build = ServiceBuild { artifact: name, name, version };
        let info = ServiceInfo { build, git: None, product_id: "default".to_owned() };
        Self { info, metrics, checks: Vec::new(), all: Arc::default(), needed: Arc::default() }
    }

    /// Adds the commit that the service was built from, and its time, as far as they are known.
    #[must_use]
    pub fn with_commit(mut self, id: Option<&'static str>, time: Option<&'static str>) -> Self {
        self.info.git = id.map(|id| SourceState { commit: SourceCommit { id, time } });
        self
    }

    /// Says which product of HMPPS the service belongs to.
    #[must_use]
    pub fn with_product_id(mut self, product_id: String) -> Self {
        self.info.product_id = product_id;
        self
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

    /// Checks all components at the same time, or takes part in a check of them.
    async fn check_all(&self) -> Option<CheckedComponents> {
        self.all.result(|| check_components(self.checks.clone())).await
    }

    /// As [`Self::check_all`], of the needed components alone, so that no other delays them.
    async fn check_needed(&self) -> Option<CheckedComponents> {
        let needed = || self.checks.iter().filter(|checked| checked.is_needed).cloned().collect();
        self.needed.result(|| check_components(needed())).await
    }

    async fn samples(&self) -> Vec<Sample> {
        let sample = |(name, component): (&'static str, Component)| Sample {
            name: "ledger_component_up",
            help: "Whether a component can do its work: 1 or 0",
            labels: vec![("component", name)],
            value: f64::from(u8::from(component.status != ComponentStatus::Down)),
        };
        let (_, components) = self.check_all().await.unwrap_or((ComponentStatus::Up, Vec::new()));
        components.into_iter().map(sample).collect()
    }
}

async fn check_components(checks: Vec<ComponentCheck>) -> CheckedComponents {
    let asked = checks.iter().map(async |ComponentCheck { name, check, .. }| {
        let component = tokio::time::timeout(CHECK_TIME_MAX, check())
            .await
            .unwrap_or_else(|_| Component::down(format!("no answer within {} s", CHECK_TIME_MAX.as_secs())));
        (*name, component)
    });
    let components = join_all(asked).await;
    let worst = components.iter().map(|(_, component)| component.status).max();
    (worst.unwrap_or(ComponentStatus::Up), components)
}

/// The routes. Each is described beside its handler.
fn routes() -> GuardedRouter<Health> {
    GuardedRouter::new(OpenApi::default())
        .described(Access::Open, routes!(get_health))
        .described(Access::Open, routes!(get_health_ping))
        .described(Access::Open, routes!(get_liveness))
        .described(Access::Open, routes!(get_readiness))
        .described(Access::Open, routes!(get_ping))
        .described(Access::Open, routes!(get_info))
        .described(Access::Open, routes!(get_metrics))
}

/// The routes of a service.
pub fn router(health: Health) -> GuardedRouter {
    routes().map(|router| router.with_state(health))
}

/// How the service and each of its parts is.
#[utoipa::path(
    get, path = "/health", tag = "Operation",
    responses(
        (status = 200, body = ServiceHealth, description = "It works, or works with something left out."),
        (status = 503, body = ServiceHealth, description = "A part of it is down."),
    ),
)]
async fn get_health(State(health): State<Health>) -> Response {
    let Some((status, components)) = health.check_all().await else { return Problem::internal().into_response() };
    answer(ServiceHealth { status, components: Some(components.into_iter().collect()) })
}

/// That a service answers here, for other services of HMPPS.
#[utoipa::path(
    get, path = "/health/ping", tag = "Operation",
    responses((status = 200, body = ServiceHealth, description = "It does.")),
)]
async fn get_health_ping() -> Response {
    answer(ServiceHealth { status: ComponentStatus::Up, components: None })
}

/// Whether the process is alive; depends on nothing else.
#[utoipa::path(
    get, path = "/health/liveness", tag = "Operation",
    responses((status = 200, body = ServiceHealth, description = "It is.")),
)]
async fn get_liveness() -> Response {
    answer(ServiceHealth { status: ComponentStatus::Up, components: None })
}

/// Whether the service can do its work.
#[utoipa::path(
    get, path = "/health/readiness", tag = "Operation",
    responses(
        (status = 200, body = ServiceHealth, description = "It can."),
        (status = 503, body = ServiceHealth, description = "It cannot: `components` are those that it waits for."),
    ),
)]
async fn get_readiness(State(health): State<Health>) -> Response {
    let Some((status, mut components)) = health.check_needed().await else {
        return Problem::internal().into_response();
    };
    components.retain(|(_, component)| component.status == ComponentStatus::Down);
    answer(match status {
        ComponentStatus::Up | ComponentStatus::Degraded => {
            ServiceHealth { status: ComponentStatus::Up, components: None }
        }
        ComponentStatus::Down => ServiceHealth { status, components: Some(components.into_iter().collect()) },
    })
}

/// That a service answers here.
#[utoipa::path(
    get, path = "/ping", tag = "Operation",
    responses((status = 200, body = String, content_type = "text/plain", description = "`pong`")),
)]
async fn get_ping() -> &'static str {
    "pong"
}

/// Which build of the service this is.
#[utoipa::path(
    get, path = "/info", tag = "Operation",
    responses((status = 200, body = ServiceInfo, description = "The build, and the commit where it is known.")),
)]
async fn get_info(State(health): State<Health>) -> Json<ServiceInfo> {
    Json(health.info)
}

/// The metrics of the service, in the text format of Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "Operation",
    responses((status = 200, body = String, content_type = "text/plain", description = "The metrics.")),
)]
async fn get_metrics(State(health): State<Health>) -> Response {
    // Includes each component's state, so that an alarm need not read the health as well.
    health.metrics.render(health.samples()).await
}

fn answer(health: ServiceHealth) -> Response {
    let code = match health.status {
        ComponentStatus::Up | ComponentStatus::Degraded => StatusCode::OK,
        ComponentStatus::Down => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(health)).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use axum::{body::Body, extract::Request};
    use serde_json::json;
    use tower_service::Service as _;

    #[tokio::test]
    async fn requests_share_the_checks_and_the_samples() {
        let runs = Arc::new(AtomicUsize::new(0));
        let count = |component: Component| {
            let runs = Arc::clone(&runs);
            move || {
                runs.fetch_add(1, Ordering::Relaxed);
                std::future::ready(component.clone())
            }
        };
        let metrics = Metrics::default();
        let sampler_runs = Arc::clone(&runs);
        metrics.add_sampler(move || {
            sampler_runs.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Vec::new())
        });
        let health = Health::new("ledger", "7", metrics)
            .with("needed", count(Component::up()))
            .with_dispensable("other", count(Component::down("away")));
        let router = router(health).unguarded();
        for (path, status) in [("/health/readiness", 200), ("/health", 503), ("/metrics", 200)] {
            runs.store(0, Ordering::Relaxed);
            let ask = || router.clone().call(Request::get(path).body(Body::empty()).expect("a request"));
            for answer in join_all((0..100).map(|_| ask())).await {
                assert_eq!(answer.expect("never fails").status(), status, "{path}");
            }
            // One of each component and sampler, or two on a very slow machine.
            assert!((1..10).contains(&runs.load(Ordering::Relaxed)), "{path}: {runs:?}");
        }
    }

    #[test]
    fn the_commit_and_the_product_are_told_where_they_are_known() {
        let health = || Health::new("ledger", "7", Metrics::default());
        let git = |id, time| json!(health().with_commit(id, time).info)["git"].take();
        let build = json!({"artifact": "ledger", "name": "ledger", "version": "7"});
        assert_eq!(json!(health().info), json!({"build": build, "productId": "default"}));
        assert_eq!(json!(health().with_product_id("DPS030".to_owned()).info)["productId"], "DPS030");
        assert_eq!(git(None, None), json!(null));
        assert_eq!(git(Some("5ede831"), None), json!({"commit": {"id": "5ede831"}}));
        let time = "2026-11-29T21:12:08Z";
        assert_eq!(git(Some("5ede831"), Some(time)), json!({"commit": {"id": "5ede831", "time": time}}));
    }
}
