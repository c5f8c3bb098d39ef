//! Who may use a route.
//!
//! A route says what it asks of a caller ([`Access`]) where it is registered: [`GuardedRouter`] has
//! no other way to add one. The guard looks the route up before anything else of the request is
//! read, and refuses a route or a method that it does not find.

use std::sync::Arc;

use axum::{
    RequestExt as _, Router,
    extract::{MatchedPath, RawPathParams, Request},
    handler::Handler,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use domain::{Confinement, Rule, identifier::PrisonCode, text::Excerpt};
use event_log::error_chain;
use sign_on::{Caller, Right, SignOn, TokenRefusal};
use utoipa::{Modify, openapi::OpenApi};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::{
    CallerScope, Problem, ProblemCode,
    browser_guard::is_probed,
    caller_scope::ReadableTexts,
    headers::{self, AuthenticatedCaller, IdentifiedCaller},
    limits_description::describe_refusal,
};

pub use crate::access_table::{AccessTable, methods};

/// The demand of a route on its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: health, metrics and documentation.
    Open,
    /// Nothing, of a form that sends a file: its handler bounds it and keeps it out of memory.
    OpenUploads,
    /// A question about cases or prisons.
    Questions,
    /// A command.
    Commands,
    /// A command whose body is a file, which its handler bounds and keeps out of memory.
    Uploads,
    /// All events of the log.
    Feed,
    /// The state of the views.
    Views,
    /// Who read which person's data.
    AccessLog,
    /// Voids, backdating and choices against the recommendation, by person.
    ControlReports,
    /// Rebuilds, verifications and exports: how they are, and the end of one.
    Jobs,
    /// The beginning of one. The handler asks for the right of its kind.
    JobRequests,
    /// The file of an export.
    ExportFiles,
    /// Messages of HMPPS that the ledger could not take in.
    Messages,
    /// The queues of those messages.
    Queues,
    /// All that is held on a person.
    SubjectAccess,
    /// An answer of the live service.
    LiveService,
    /// A question of the API of 2019.
    FirstApiQuestions,
    /// The command of the API of 2019.
    FirstApiCommands,
}

/// How a caller is refused: as the API does it, or as the services did that a route is compatible
/// with.
enum RefusalForm {
    Problem,
    LiveService,
    FirstApi,
}

impl Access {
    /// The rights of which a caller needs one.
    #[must_use]
    pub const fn rights(self) -> &'static [Right] {
        match self {
            Self::Open | Self::OpenUploads => &[],
            Self::Questions => &[Right::Read],
            Self::Commands | Self::Uploads => &[Right::Record],
            Self::Feed => &[Right::Export, Right::Audit],
            Self::ExportFiles => &[Right::Export],
            Self::Jobs | Self::JobRequests => &[Right::Operate, Right::Export],
            Self::Views => &[Right::Read, Right::Operate],
            Self::AccessLog | Self::ControlReports => &[Right::Audit],
            Self::Messages => &[Right::Operate],
            Self::Queues => &[Right::Queues],
            Self::SubjectAccess => &[Right::SubjectAccess],
            Self::LiveService => &[Right::LiveService],
            Self::FirstApiQuestions => &[Right::FirstApiRead],
            Self::FirstApiCommands => &[Right::FirstApiRecord],
        }
    }

    /// Whether a caller sees and changes no more than its own prisons here. An auditor is confined
    /// only in what it records.
    fn is_confined(self, caller: &Caller) -> bool {
        match self {
            Self::Commands | Self::Uploads | Self::FirstApiCommands => true,
            Self::Questions
            | Self::Feed
            | Self::JobRequests
            | Self::ExportFiles
            | Self::LiveService
            | Self::FirstApiQuestions => !caller.has_any(&[Right::Audit]),
            // The state of the views tells nothing of a case or of a prison, and an auditor asks
            // the access log and for control reports. Parked messages are shown without what they
            // say, and jobs without what they read.
            Self::Open | Self::OpenUploads | Self::Views | Self::SubjectAccess | Self::AccessLog => false,
            Self::ControlReports | Self::Jobs | Self::Messages | Self::Queues => false,
        }
    }

    /// Whether the route records.
    #[must_use]
    pub(crate) const fn is_of_command(self) -> bool {
        matches!(self, Self::Commands | Self::Uploads | Self::FirstApiCommands)
    }

    /// Whether the body goes past the limits on bodies in memory.
    #[must_use]
    pub(crate) const fn streams_body(self) -> bool {
        matches!(self, Self::Uploads | Self::OpenUploads)
    }

    const fn refusal_form(self) -> RefusalForm {
        match self {
            Self::LiveService => RefusalForm::LiveService,
            Self::FirstApiQuestions | Self::FirstApiCommands => RefusalForm::FirstApi,
            Self::Open
            | Self::OpenUploads
            | Self::Questions
            | Self::Commands
            | Self::Uploads
            | Self::Feed
            | Self::Views
            | Self::AccessLog
            | Self::ControlReports
            | Self::Jobs
            | Self::JobRequests
            | Self::ExportFiles
            | Self::Messages
            | Self::Queues
            | Self::SubjectAccess => RefusalForm::Problem,
        }
    }
}

/// Routes, each with what it asks of a caller.
#[derive(Clone)]
pub struct GuardedRouter<S = ()> {
    router: Router<S>,
    openapi: OpenApi,
    access: AccessTable,
}

impl<S: Clone + Send + Sync + 'static> GuardedRouter<S> {
    /// No routes. Those that are described are added to this document.
    #[must_use]
    pub fn new(openapi: OpenApi) -> Self {
        Self { router: Router::new(), openapi, access: AccessTable::default() }
    }

    /// Adds operations with their description, which `utoipa_axum::routes` makes.
    #[must_use]
    pub fn described(mut self, access: Access, mut operations: UtoipaMethodRouter<S>) -> Self {
        for (path, item) in &mut operations.1.paths {
            for method in methods(item) {
                self.access.add(path, method, access);
            }
            if !is_probed(path) {
                describe_refusal(item);
            }
        }
        let (router, openapi) = OpenApiRouter::with_openapi(self.openapi).routes(operations).split_for_parts();
        Self { router: self.router.merge(router), openapi, access: self.access }
    }

    /// Adds a route for `GET` without a description, which is open to all.
    #[must_use]
    pub fn open_route(mut self, path: &str, answer: MethodRouter<S>) -> Self {
        self.access.add(path, Method::GET, Access::Open);
        self.router = self.router.route(path, answer);
        self
    }

    /// Adds a route for a method without a description, which is open to all.
    #[must_use]
    pub fn open_route_for<T: 'static>(self, method: &Method, path: &str, answer: impl Handler<T, S>) -> Self {
        self.undescribed(Access::Open, method, path, answer)
    }

    /// Adds a route without a description for a form that sends a file, which is open to all.
    #[must_use]
    pub fn open_upload_route<T: 'static>(self, path: &str, answer: impl Handler<T, S>) -> Self {
        self.undescribed(Access::OpenUploads, &Method::POST, path, answer)
    }

    fn undescribed<T: 'static>(
        mut self,
        access: Access,
        method: &Method,
        path: &str,
        answer: impl Handler<T, S>,
    ) -> Self {
        let Ok(filter) = MethodFilter::try_from(method.clone()) else { return self };
        self.access.add(path, method.clone(), access);
        self.router = self.router.route(path, on(filter, answer));
        self
    }

    /// Adds a router of `GET` routes at these paths, which are open to all.
    #[must_use]
    pub fn open_router(mut self, paths: &[&str], router: Router<S>) -> Self {
        paths.iter().for_each(|path| self.access.add(path, Method::GET, Access::Open));
        self.router = self.router.merge(router);
        self
    }

    /// Adds the routes of another router.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.openapi.merge(other.openapi);
        self.access.merge(other.access);
        self
    }

    /// Adds layers or a state, which leave the routes as they are.
    #[must_use]
    pub fn map<T>(self, change: impl FnOnce(Router<S>) -> Router<T>) -> GuardedRouter<T> {
        GuardedRouter { router: change(self.router), openapi: self.openapi, access: self.access }
    }

    /// Completes the description of the routes.
    #[must_use]
    pub fn modify_openapi(mut self, change: &impl Modify) -> Self {
        change.modify(&mut self.openapi);
        self
    }

    /// The description of the routes that have one.
    #[must_use]
    pub fn openapi(&self) -> &OpenApi {
        &self.openapi
    }

    /// The demand of each route.
    #[must_use]
    pub fn access(&self) -> &AccessTable {
        &self.access
    }

    /// The routes without their guard, for callers within the program.
    pub fn unguarded(self) -> Router<S> {
        self.router
    }
}

/// Checks callers before their requests are read.
#[derive(Clone)]
pub(crate) struct Guard {
    access: Arc<AccessTable>,
    sign_on: Option<Arc<SignOn>>,
}

impl Guard {
    pub(crate) fn new(access: AccessTable, sign_on: Option<Arc<SignOn>>) -> Self {
        Self { access: Arc::new(access), sign_on }
    }

    /// What the route of a request demands, and the check that the caller must pass: `None` where
    /// the route is open, and where no sign-on is configured. A path that there is not is refused.
    pub(crate) fn check_of(&self, request: &Request) -> Result<(Access, Option<CallerCheck>), Box<Response>> {
        let Some(path) = request.extensions().get::<MatchedPath>() else {
            return Err(Box::new(refuse_unknown_path(request.uri()).into_response()));
        };
        let path = path.as_str();
        let Some(access) = self.access.find(path, request.method()) else {
            return Err(Box::new(match self.access.methods_of(path) {
                Some(methods) => refuse_unknown_method(request, methods),
                None => {
                    tracing::error!(route = path, "the route {path} does not say who may use it");
                    Problem::internal().into_response()
                }
            }));
        };
        if matches!(access, Access::Open | Access::OpenUploads) {
            return Ok((access, None));
        }
        let token = bearer_token(request.headers(), access).map_err(|problem| Box::new(problem.into_response()))?;
        let Some(sign_on) = &self.sign_on else { return Ok((access, None)) };
        let token = token.ok_or_else(|| refuse(access, &Refused::TokenMissing))?;
        let kept = sign_on.kept_caller(&token).and_then(IdentifiedCaller::new);
        Ok((access, Some(CallerCheck { sign_on: Arc::clone(sign_on), access, token, kept })))
    }
}

/// The check of a caller, in two steps: who it is, by its token, and then whether it may use the
/// route. So a caller that may not is known all the same.
pub(crate) struct CallerCheck {
    sign_on: Arc<SignOn>,
    access: Access,
    token: String,
    /// The caller, where the token was verified before.
    pub(crate) kept: Option<IdentifiedCaller>,
}

impl CallerCheck {
    /// The caller by its token, which is verified.
    pub(crate) async fn identify(&self) -> Result<IdentifiedCaller, Box<Response>> {
        let caller = self.sign_on.caller(&self.token).await.map_err(|refusal| match refusal {
            TokenRefusal::Invalid(why) => refuse(self.access, &Refused::TokenInvalid(why)),
            TokenRefusal::KeysUnavailable(why) => {
                tracing::debug!(why, "a token could not be verified: {why}");
                let detail =
                    "The keys of the sign-on cannot be fetched, so no token can be verified. Please try again.";
                Box::new(Problem::new(ProblemCode::KeysUnavailable, detail).into_response())
            }
        })?;
        IdentifiedCaller::new(caller).ok_or_else(|| {
            refuse(self.access, &Refused::TokenInvalid("an event cannot hold its user name or its client"))
        })
    }

    /// The caller as one that may use the route.
    pub(crate) async fn authorize(self, identified: IdentifiedCaller) -> Result<AuthenticatedCaller, Box<Response>> {
        let Self { sign_on, access, token, .. } = self;
        if !identified.caller.has_any(access.rights()) {
            let roles = sign_on.roles().givers(access.rights()).collect::<Vec<_>>().join(", ");
            return Err(refuse(access, &Refused::RoleMissing(roles)));
        }
        let scope = find_scope(&sign_on, access, &identified.caller, &token).await;
        scope.map(|scope| identified.with_scope(scope)).map_err(|problem| Box::new(problem.into_response()))
    }
}

/// The scope of a caller on a route.
async fn find_scope(sign_on: &SignOn, access: Access, caller: &Caller, token: &str) -> Result<CallerScope, Problem> {
    let is_confined = access.is_confined(caller);
    let sees_texts = access == Access::SubjectAccess || caller.has_any(&[Right::Audit]);
    let prisons = if is_confined {
        sign_on.prisons().find(caller, token).await.map_err(|failure| {
            tracing::warn!(error = %error_chain(&failure), "the prisons of a caller cannot be found");
            Problem::new(
                ProblemCode::PrisonsUnavailable,
                "It cannot be found out for now which prisons are yours. Please try again.",
            )
        })?
    } else {
        None
    };
    let what = if access == Access::Feed { "The events are" } else { "The rows of an export are" };
    if matches!(access, Access::Feed | Access::ExportFiles) && prisons.is_some() {
        return Err(of_every_prison(what));
    }
    let texts = match sees_texts {
        true => ReadableTexts::All,
        false => ReadableTexts::OfPrisons(prisons.clone().unwrap_or_default()),
    };
    Ok(CallerScope { confinement: Confinement::from(prisons), texts })
}

/// The refusal of a confined caller that asks for data of every prison.
#[must_use]
pub fn of_every_prison(what: &str) -> Problem {
    let detail = format!(
        "{what} those of every prison, and you may see your own alone. Ask for the cases and the histories of your prisons \
         instead."
    );
    Problem::new(Rule::PrisonNotYours, detail)
}

/// Refuses a request whose path names a prison that is not the caller's. A code that is none is for
/// the handler to refuse.
pub(crate) async fn check_prison_of_path(request: &mut Request, confinement: &Confinement) -> Result<(), Problem> {
    if confinement.prisons().is_none() {
        return Ok(());
    }
    let Ok(params) = request.extract_parts::<RawPathParams>().await else { return Ok(()) };
    let prisons = params.iter().filter(|(name, _)| *name == PRISON_PARAM);
    let mut prisons = prisons.filter_map(|(_, code)| code.parse::<PrisonCode>().ok());
    prisons.try_for_each(|code| confinement.check_prison(&code)).map_err(Problem::from)
}

/// The name that every route gives to the prison in its path.
const PRISON_PARAM: &str = "prisonCode";

fn refuse_unknown_path(uri: &Uri) -> Problem {
    Problem::not_found(
        ProblemCode::PathUnknown,
        format!("There is nothing at {}. GET /openapi.json lists what there is.", Excerpt(uri.path())),
    )
}

fn refuse_unknown_method(request: &Request, known: &[(Method, Access)]) -> Response {
    let (method, path) = (Excerpt(request.method().as_str()), Excerpt(request.uri().path()));
    let detail = format!("{method} is not possible on {path}. The Allow header lists what is.");
    let mut response = Problem::new(ProblemCode::MethodNotAllowed, detail).into_response();
    let known = known.iter().map(|(method, _)| if *method == Method::GET { "GET,HEAD" } else { method.as_str() });
    if let Ok(allowed) = HeaderValue::try_from(known.collect::<Vec<_>>().join(",")) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

/// The token of a request. The API of 2019 also took one without the word `Bearer`.
fn bearer_token(headers: &HeaderMap, access: Access) -> Result<Option<String>, Problem> {
    let is_bare_allowed = matches!(access.refusal_form(), RefusalForm::FirstApi);
    headers::parse(headers, &header::AUTHORIZATION, "credentials in ASCII", |text| {
        Some(match text.trim().split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim().to_owned()),
            None if is_bare_allowed => Some(text.trim().to_owned()),
            _ => None,
        })
    })
    .map(Option::flatten)
}

/// The refusal of the live service, byte for byte.
const LIVE_SERVICE_REFUSAL: &str = r#"{"status":"error","message":"Valid authorisation token required"}"#;

/// Why a caller is refused.
enum Refused {
    TokenMissing,
    /// With the reason.
    TokenInvalid(&'static str),
    /// With the roles of which the caller needs one.
    RoleMissing(String),
}

fn refuse(access: Access, refused: &Refused) -> Box<Response> {
    let mut response = match access.refusal_form() {
        RefusalForm::Problem => refused.problem().into_response(),
        RefusalForm::LiveService => {
            let content_type = [(header::CONTENT_TYPE, "application/json")];
            (StatusCode::UNAUTHORIZED, content_type, LIVE_SERVICE_REFUSAL).into_response()
        }
        RefusalForm::FirstApi => StatusCode::UNAUTHORIZED.into_response(),
    };
    let challenge = match access.refusal_form() {
        RefusalForm::FirstApi => "Bearer scope=\"read\"".to_owned(),
        RefusalForm::Problem | RefusalForm::LiveService => refused.challenge(),
    };
    if let Ok(value) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Box::new(response)
}

impl Refused {
    fn problem(&self) -> Problem {
        match self {
            Self::TokenMissing => Problem::new(
                ProblemCode::TokenMissing,
                "This needs a token of the sign-on in the header `Authorization: Bearer …`.",
            ),
            Self::TokenInvalid(why) => {
                Problem::new(ProblemCode::TokenInvalid, format!("The token is refused: {why}. Please sign on again."))
            }
            Self::RoleMissing(roles) => {
                Problem::new(ProblemCode::RoleMissing, format!("This needs one of these roles: {roles}."))
            }
        }
    }

    /// The challenge of RFC 6750.
    fn challenge(&self) -> String {
        const REALM: &str = "Bearer realm=\"allocation-ledger\"";
        match self {
            Self::TokenMissing => REALM.to_owned(),
            Self::TokenInvalid(why) => format!("{REALM}, error=\"invalid_token\", error_description=\"{why}\""),
            Self::RoleMissing(_) => format!("{REALM}, error=\"insufficient_scope\""),
        }
    }
}
