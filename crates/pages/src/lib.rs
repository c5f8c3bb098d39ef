//! Pages for people: heads of offender management, auditors, analysts and operators.
//!
//! | question | module |
//! |---|---|
//! | how do pages ask and record? | [`LedgerApi`]: the public HTTP API, and nothing beside it |
//! | what do the API's answers hold? | `answers` |
//! | who looks at a page? | `visitor`; a [`Session`], which [`PageSessions`] finds and renews and `session_cookies` seals |
//! | how does a person sign in and out? | [`sign_on_routes`] |
//! | which frame does each page have, and which headers? | `page_frame` |
//! | how are a prison, a case, a POM, the log shown? | `prison_page`, `case_page`, `case_records`, `pom_page`, `log_pages`, `views_page` |
//! | how are an entry and the years of a case shown? | `entry`, `timeline` |
//! | how is a POM chosen for a case? | `allocation_page` |
//! | what do auditors and operators see? | `control_pages`, `log_pages`, `views_page`, `job_pages`, `message_pages` |
//! | which commands have a form? | `command_forms`, made by `command_form`, on `command_pages` |
//! | how do a POM's cases move to another POM? | `reallocation_page` |
//! | how does a spreadsheet come in? | `spreadsheet_upload`; then it is looked at and recorded on `spreadsheet_page` |
//! | how do codes and times read? | `words`, `clocks` |
//! | style sheet and script | `assets` |
//!
//! HTML is made on the server from the templates in `templates/`, and each page works without a
//! script. A page can do nothing that a service cannot do by the API.

mod allocation_page;
mod answers;
mod api;
mod assets;
mod case_page;
mod case_records;
mod clocks;
mod command_form;
mod command_forms;
mod command_pages;
mod control_pages;
mod entry;
mod job;
mod job_pages;
mod log_pages;
mod message_pages;
mod notice;
mod page_error;
mod page_frame;
mod page_sessions;
mod pom_page;
mod prison_page;
mod reallocation_page;
mod return_path;
mod sent_form;
mod session;
mod session_cookies;
mod sign_on_routes;
mod spreadsheet_page;
mod spreadsheet_upload;
mod start_pages;
mod timeline;
mod views_page;
mod visitor;
mod words;

use axum::http::Method;
use chrono::{DateTime, Utc};
use http_api::GuardedRouter;
use utoipa::openapi::OpenApi;

pub use self::{
    api::LedgerApi,
    page_sessions::{PageSessions, PageSignOn},
    session::{CsrfToken, Session, SessionRejection},
    session_cookies::{PagesKey, SetCookies},
    sign_on_routes::{CALLBACK, sign_on_routes},
};

/// The parts that all pages share.
#[derive(Clone)]
struct Pages {
    api: LedgerApi,
    sessions: PageSessions,
}

impl Pages {
    /// The one place of the pages that knows what time it is.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    #[expect(clippy::unused_self, reason = "the clock is the pages'")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// The pages, which ask and record by this API. They are open to all: what a visitor may see and do
/// is for the API to say.
#[must_use]
pub fn router(api: LedgerApi, sessions: PageSessions) -> GuardedRouter {
    use axum::routing::get;
    let asset = |name: &str| format!("/pages/assets/{}/{name}", assets::VERSION);
    GuardedRouter::new(OpenApi::default())
        .open_route("/pages", get(start_pages::start))
        .open_route("/pages/accessibility", get(start_pages::accessibility))
        .open_route("/pages/people", get(start_pages::choose_person))
        .open_route_for(&Method::POST, "/pages/people", start_pages::be_person)
        .open_route("/pages/prisons", get(start_pages::choose_prison))
        .open_route("/pages/prisons/{prison}", get(prison_page::show_prison))
        .open_route("/pages/prisons/{prison}/{form}", get(command_pages::ask_of_prison))
        .open_route_for(&Method::POST, "/pages/prisons/{prison}/{form}", command_pages::record_of_prison)
        .open_route("/pages/prisons/{prison}/spreadsheets", get(spreadsheet_upload::choose_file))
        .open_upload_route("/pages/prisons/{prison}/spreadsheets", spreadsheet_upload::take_file)
        .open_route("/pages/prisons/{prison}/spreadsheets/{id}", get(spreadsheet_page::show_spreadsheet))
        .open_route(
            "/pages/prisons/{prison}/spreadsheets/{id}/refused-rows",
            get(spreadsheet_page::download_refused_rows),
        )
        .open_route_for(
            &Method::POST,
            "/pages/prisons/{prison}/spreadsheets/{id}",
            spreadsheet_page::act_on_spreadsheet,
        )
        .open_route("/pages/prisons/{prison}/waiting/{number}", get(allocation_page::choose_pom))
        .open_route("/pages/prisons/{prison}/poms/{staffId}", get(pom_page::show_pom))
        .open_route("/pages/prisons/{prison}/poms/{staffId}/reallocation", get(reallocation_page::choose_cases))
        .open_route_for(
            &Method::POST,
            "/pages/prisons/{prison}/poms/{staffId}/reallocation",
            reallocation_page::move_cases,
        )
        .open_route("/pages/prisons/{prison}/poms/{staffId}/{form}", get(command_pages::ask_of_pom))
        .open_route_for(&Method::POST, "/pages/prisons/{prison}/poms/{staffId}/{form}", command_pages::record_of_pom)
        .open_route("/pages/cases", get(start_pages::find_case))
        .open_route("/pages/cases/{number}", get(case_page::show_case))
        .open_route("/pages/cases/{number}/difference", get(case_records::show_difference))
        .open_route("/pages/cases/{number}/readers", get(case_records::show_readers))
        .open_route("/pages/cases/{number}/file", get(case_records::show_file))
        .open_route("/pages/log", get(log_pages::show_log))
        .open_route("/pages/log/newer", get(log_pages::show_newer))
        .open_route("/pages/log/stream", get(log_pages::follow))
        .open_route("/pages/log/{position}", get(log_pages::show_entry))
        .open_route("/pages/views", get(views_page::show_views))
        .open_route_for(&Method::POST, "/pages/views/jobs", job_pages::begin_job)
        .open_route_for(&Method::POST, "/pages/views/jobs/{id}/cancellation", job_pages::cancel_job)
        .open_route("/pages/views/jobs/{id}/file", get(job_pages::take_file))
        .open_route("/pages/messages", get(message_pages::show_messages))
        .open_route_for(&Method::POST, "/pages/messages/{id}", message_pages::decide_on_message)
        .open_route("/pages/controls", get(control_pages::show_controls))
        .open_route("/pages/controls/{report}", get(control_pages::show_report))
        .open_route("/pages/cases/{number}/{form}", get(command_pages::ask_of_case))
        .open_route_for(&Method::POST, "/pages/cases/{number}/{form}", command_pages::record_of_case)
        .map(|router| sessions.add_to(router.with_state(Pages { api, sessions: sessions.clone() })))
        .merge(sign_on_routes(sessions))
        .open_route(&asset("pages.css"), get(assets::style_sheet))
        .open_route(&asset("pages.js"), get(assets::script))
        .open_route(&asset("icon.svg"), get(assets::icon))
}
