//! Signing in and out of the pages in a browser, at a sign-on that is another site.

mod hostile;
mod journey;
mod openid;
mod program;
mod renewal;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, http::Uri, routing::get};
use chrono::Utc;
use pages::{CALLBACK, PageSessions, PageSignOn, PagesKey, Session};
use reqwest::{Method, StatusCode, Url, header, redirect::Policy};
use serde_json::{Value, json};
use sign_on::{CodeFlow, CodeFlowClient, CodeFlowServer, KeyServer, KeySource, KeyTimes, RoleMap, Secret, SignOn};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::support::{
    eventually,
    hmpps_auth::{CLIENT, CLIENT_SECRET, HmppsAuth},
    http_client,
};

/// A server with the routes of the sign-in, and with pages that show whose session they are of.
struct PagesServer {
    url: String,
    serving: JoinHandle<()>,
}

impl PagesServer {
    /// Pages whose people sign on at HMPPS Auth.
    async fn serve(auth: &HmppsAuth) -> Self {
        Self::serve_with(auth, CodeFlowServer::HmppsAuth(auth.url().to_owned()), CLIENT_SECRET).await
    }

    async fn serve_with(auth: &HmppsAuth, server: CodeFlowServer, secret: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        // Makes the cryptography of TLS known.
        drop(http_client());
        let keys = KeyServer::start(&auth.jwks_url(), KeyTimes::default()).expect("an address");
        let sign_on = Arc::new(SignOn::new(KeySource::Server(keys), None, RoleMap::default()));
        eventually("the keys", async || sign_on.check_keys().ok()).await;
        let client = CodeFlowClient {
            id: CLIENT.to_owned(),
            secret: Secret::new(secret.to_owned()),
            redirect_uri: format!("{url}{CALLBACK}"),
        };
        let flow = CodeFlow::new(server, client).expect("an address");
        let sign_on = PageSignOn { flow, sign_on, address: url.clone() };
        let sessions = PageSessions::new(PagesKey::random(), Some(sign_on), Utc::now);
        let page = async |session: Session, uri: Uri| Json(page_of(&session, &uri));
        let pages = Router::new().route("/pages", get(page)).route("/pages/{*rest}", get(page).post(page));
        let router = pages::sign_on_routes(sessions.clone()).unguarded().merge(sessions.add_to(pages));
        let serving = tokio::spawn(async { axum::serve(listener, router).await.expect("serve") });
        Self { url, serving }
    }

    fn browser(&self) -> Browser {
        let http = reqwest::Client::builder().redirect(Policy::none()).build().expect("a client");
        Browser { home: self.url.clone(), http, cookies: Arc::default() }
    }
}

impl Drop for PagesServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A page that shows its session, which no page of the ledger does.
fn page_of(session: &Session, uri: &Uri) -> Value {
    json!({
        "path": uri.to_string(), "user": session.user_name(), "csrf": session.csrf().for_form(),
        "token": session.access_token().map(Secret::expose),
    })
}

/// A browser, as far as cookies and redirects go.
#[derive(Clone)]
struct Browser {
    home: String,
    http: reqwest::Client,
    /// The cookies of the ledger.
    cookies: Arc<Mutex<BTreeMap<String, String>>>,
}

/// An answer as a browser has it.
#[derive(Debug)]
struct BrowserAnswer {
    status: StatusCode,
    /// Where it leads.
    location: Option<String>,
    set_cookies: Vec<String>,
    text: String,
    body: Value,
}

impl Browser {
    /// A browser with the same cookies, which are its own from now on.
    fn copy(&self) -> Self {
        let cookies = self.cookies.lock().expect("a lock").clone();
        Self { cookies: Arc::new(Mutex::new(cookies)), ..self.clone() }
    }

    fn cookies(&self) -> BTreeMap<String, String> {
        self.cookies.lock().expect("a lock").clone()
    }

    fn set_cookie(&self, name: &str, value: &str) {
        self.cookies.lock().expect("a lock").insert(name.to_owned(), value.to_owned());
    }

    /// Goes to an address, or a path of the ledger, and follows no redirect.
    async fn get(&self, address: &str) -> BrowserAnswer {
        self.send(Method::GET, address, None).await
    }

    /// Sends a form.
    async fn post(&self, path: &str, form: &[(&str, &str)]) -> BrowserAnswer {
        self.send(Method::POST, path, Some(form)).await
    }

    async fn send(&self, method: Method, address: &str, form: Option<&[(&str, &str)]>) -> BrowserAnswer {
        let url = Url::parse(&self.home).expect("an address").join(address).expect("an address");
        let is_home = url.as_str().starts_with(&self.home);
        let mut request = self.http.request(method, url);
        let cookies: Vec<_> = self.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
        if is_home && !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        if let Some(form) = form {
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let text_of = |name: header::HeaderName| {
            let values = response.headers().get_all(name).iter();
            values.map(|value| value.to_str().expect("text").to_owned()).collect::<Vec<_>>()
        };
        let (set_cookies, location) = (text_of(header::SET_COOKIE), text_of(header::LOCATION).pop());
        for line in set_cookies.iter().filter(|_| is_home) {
            let (name, rest) = line.split_once('=').expect("a cookie");
            let mut cookies = self.cookies.lock().expect("a lock");
            match line.contains("Max-Age=0") {
                true => cookies.remove(name),
                false => cookies.insert(name.to_owned(), rest.split(';').next().unwrap_or_default().to_owned()),
            };
        }
        let text = response.text().await.expect("a text");
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        BrowserAnswer { status, location, set_cookies, text, body }
    }

    /// Goes to an address and on, wherever redirects lead.
    async fn visit(&self, address: &str) -> BrowserAnswer {
        let mut answer = self.get(address).await;
        for _ in 0..10 {
            let Some(location) = answer.location.clone() else { return answer };
            answer = self.get(&location).await;
        }
        panic!("redirects without an end: {answer:?}");
    }

    /// Begins to sign in, and returns the address that the sign-on sends the browser back to.
    async fn sign_in_until_callback(&self, to: &str) -> String {
        let begun = self.get(&sign_in_address(to)).await;
        assert_eq!(begun.status, 303, "{begun:?}");
        let agreed = self.get(&begun.location.expect("the sign-on")).await;
        agreed.location.unwrap_or_else(|| panic!("the sign-on refuses: {}", agreed.text))
    }
}

/// The address of the sign-in for a page.
fn sign_in_address(to: &str) -> String {
    let mut url = Url::parse("http://ledger/").expect("an address");
    url.query_pairs_mut().append_pair("to", to);
    format!("/pages/sign-in?{}", url.query().unwrap_or_default())
}
