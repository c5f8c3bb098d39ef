//! Pages for people.

mod notice;
mod page_sessions;
mod return_path;
mod session;
mod session_cookies;
mod sign_on_routes;

pub use page_sessions::{PageSessions, PageSignOn};
pub use session::{CsrfToken, Session, SessionRejection};
pub use session_cookies::{PagesKey, SetCookies};
pub use sign_on_routes::{CALLBACK, sign_on_routes};
