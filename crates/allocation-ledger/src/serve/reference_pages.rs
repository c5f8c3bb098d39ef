//! The pages that explain the API: `/` says what this is and where to go on, `/problems/{code}`
//! what a problem's code means and what to do, `/event-types` what the data of each event is. They
//! need no script, and hold nothing that a caller sent.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Json,
    extract::{Path, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use domain::text::Excerpt;
use http_api::{GuardedRouter, Problem, ProblemCode};
use serde_json::{Value, json};
use utoipa::openapi::OpenApi;

use super::{
    event_page,
    html::{escape, prose},
};

/// A page may show its own style, and nothing else.
const SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                               frame-ancestors 'none'";

/// The answer about a code is a page or JSON.
const VARY_BY_ACCEPT: HeaderValue = HeaderValue::from_static("accept");

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#0b0c0c}\
                     table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .8rem \
                     .3rem 0;border-bottom:1px solid #b1b4b6}code,pre{font-family:ui-monospace,monospace;font-size:.9em}\
                     pre{background:#f3f2f1;padding:.8rem;overflow-x:auto}a{color:#1d70b8}";

/// Routes the pages of a process that has these operations.
pub(super) fn router(document: &Value) -> GuardedRouter {
    let (home, problems, events) =
        (Arc::new(home(document)), Arc::new(problems()), Arc::new(event_page::content(document)));
    let router = GuardedRouter::new(OpenApi::default())
        .open_route("/", get(async move || page("The allocation ledger", &home)))
        .open_route("/problems", get(async move || page("Problems", &problems)))
        .open_route("/problems/{code}", get(problem));
    match &*events {
        Some(_) => router.open_route(
            "/event-types",
            get(async move || page("Types of events", events.as_deref().unwrap_or_default())),
        ),
        None => router,
    }
}

/// A page with its headers.
fn page(title: &str, content: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<h1>{title}</h1>\n{content}</body>\n</html>\n",
        title = escape(title)
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SECURITY_POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::VARY, VARY_BY_ACCEPT),
    ];
    (headers, Html(html)).into_response()
}

/// The path of a command, which a process that takes commands has.
const TIER: &str = "/prisoners/{prisonerNumber}/tier";

fn home(document: &Value) -> String {
    let has = |path: &str| document["paths"].get(path).is_some();
    let mut html = String::from(
        "<p>For each person in prison in England and Wales one officer is responsible: a Prison Offender Manager (POM) \
         until a handover date, a Community Offender Manager (COM) from that date on. This program records each \
         allocation, tier, handover plan and correction as an event that never changes, and answers who is responsible \
         now, on any date, and as it was known on any date.</p>\n",
    );
    let offered = match (has("/prisoners/{prisonerNumber}/responsibility"), has(TIER)) {
        (true, true) => "questions and commands",
        (true, false) => "questions; commands go to the command service",
        (false, true) => "commands; questions go to the query service",
        (false, false) => "neither questions nor commands: it keeps the views up with the log",
    };
    let version = document["info"]["version"].as_str().unwrap_or_default();
    let _ = writeln!(html, "<p>This is version {} of the service. It takes {}.</p>", escape(version), escape(offered));
    html.push_str("<table>\n<tr><th>You want to</th><th>Go to</th></tr>\n");
    let rows = [
        (
            "look at a prison or a case, and allocate",
            "/pages",
            has("/prisoners/{prisonerNumber}/responsibility") && has(TIER),
        ),
        ("try a request in the browser", "/docs", true),
        ("generate a client", "/openapi.json", true),
        ("know what the data of an event is", "/event-types", has("/events") || has(TIER)),
        ("know what an error means", "/problems", true),
        ("know how far the views are", "/projections", has("/projections")),
        ("know whether the service is well", "/health", true),
        ("measure it", "/metrics", true),
    ];
    for (purpose, path, _) in rows.iter().filter(|(.., is_here)| *is_here) {
        let _ = writeln!(html, "<tr><td>{purpose}</td><td><a href=\"{path}\">{path}</a></td></tr>");
    }
    html.push_str("</table>\n");
    html
}

fn problems() -> String {
    let mut html = String::from(
        "<p>Each error answer has one of these codes, in its member <code>code</code>. A code never changes its meaning; \
         later versions may have further ones. The numbers of rules are those of <code>docs/domain.md</code>.</p>\n\
         <table>\n<tr><th>Code</th><th>Status</th><th>Means</th></tr>\n",
    );
    for code in ProblemCode::all() {
        let (name, status, meaning) = (code.code(), code.status(), prose(code.meaning()));
        let _ = writeln!(
            html,
            "<tr><td><a href=\"/problems/{name}\">{name}</a></td><td>{status}</td><td>{meaning}</td></tr>"
        );
    }
    html.push_str("</table>\n");
    html
}

/// `GET /problems/{code}`: a page, or JSON where the caller accepts that and no page.
async fn problem(name: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Response {
    // A name that is no text is no code either.
    let name = name.map(|Path(name)| name).unwrap_or_default();
    let Some(code) = ProblemCode::from_name(&name) else {
        let detail = format!("`{}` is no code of a problem. GET /problems lists the codes.", Excerpt(&name));
        return Problem::new(ProblemCode::PathUnknown, detail).into_response();
    };
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.contains("json") && !accept.contains("html") {
        let (title, status) = (code.title(), code.status());
        let (meaning, remedy) = (code.meaning(), code.remedy());
        let body = json!({"code": name, "title": title, "status": status, "meaning": meaning, "remedy": remedy});
        return ([(header::VARY, VARY_BY_ACCEPT)], Json(body)).into_response();
    }
    let content = format!(
        "<p><code>{name}</code>, status {status}</p>\n<h2>What it means</h2>\n<p>{meaning}</p>\n<h2>What to do</h2>\n\
         <p>{remedy}</p>\n<p><a href=\"/problems\">All codes</a></p>\n",
        name = escape(code.code()),
        status = code.status(),
        meaning = prose(code.meaning()),
        remedy = prose(code.remedy()),
    );
    page(&code.title(), &content)
}
