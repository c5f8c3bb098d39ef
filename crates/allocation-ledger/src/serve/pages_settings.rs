//! The settings of the pages for people.

use std::{fmt, sync::Arc};

use anyhow::{anyhow, bail};
use axum::http::Uri;
use clap::Args;
use pages::{CALLBACK, PageSessions, PageSignOn, PagesKey};
use sign_on::{CodeFlow, CodeFlowClient, CodeFlowServer, Secret, SignOn, check_server_address};

/// How people sign on to the pages. An empty value counts as none.
#[derive(Clone, Default, Args)]
pub struct PagesSettings {
    /// Where people sign on to the pages: the address of HMPPS Auth, which ends in /auth. Without
    /// it a ledger that asks for tokens has no pages
    #[arg(long, env = "LEDGER_PAGES_SIGN_ON_URL", value_name = "URL")]
    pages_sign_on_url: Option<String>,
    /// Where people sign on to the pages, if that is another server of OpenID: its issuer
    #[arg(long, env = "LEDGER_PAGES_SIGN_ON_ISSUER", value_name = "URL")]
    pages_sign_on_issuer: Option<String>,
    /// The id of the pages' client there, which may use authorization codes
    #[arg(long, env = "LEDGER_PAGES_CLIENT_ID", value_name = "ID")]
    pages_client_id: Option<String>,
    /// The secret of that client
    #[arg(long, env = "LEDGER_PAGES_CLIENT_SECRET", value_name = "SECRET", hide_env_values = true)]
    pages_client_secret: Option<String>,
    /// The address under which browsers reach the pages, without a path. Default: the address that
    /// is listened on, if it is one of this machine alone
    #[arg(long, env = "LEDGER_PAGES_URL", value_name = "URL")]
    pages_url: Option<String>,
    /// A secret of 64 bytes or more that seals the sessions of the pages; processes behind one
    /// address need the same. Default: a random one, so that sessions end with the process
    #[arg(long, env = "LEDGER_PAGES_KEY", value_name = "SECRET", hide_env_values = true)]
    pages_key: Option<String>,
}

impl fmt::Debug for PagesSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PagesSettings")
            .field("pages_sign_on_url", &self.pages_sign_on_url)
            .field("pages_sign_on_issuer", &self.pages_sign_on_issuer)
            .field("pages_client_id", &self.pages_client_id)
            .field("pages_url", &self.pages_url)
            .finish_non_exhaustive()
    }
}

/// The server that pages are part of, as far as they must know it.
pub struct PagesServer<'a> {
    /// The address that it listens on.
    pub url: &'a str,
    /// Whether that is one of this machine alone.
    pub is_loopback: bool,
    /// The names under which clients reach it.
    pub hosts: &'a [String],
    /// Whose tokens are valid.
    pub sign_on: Option<&'a Arc<SignOn>>,
}

impl PagesSettings {
    /// The sessions of the pages; `None` where there are no pages, because callers need a token
    /// and nothing says where people get one.
    ///
    /// # Errors
    /// The settings contradict one another, or one of them cannot be used.
    pub fn open(&self, server: &PagesServer<'_>) -> anyhow::Result<Option<PageSessions>> {
        let key = match given(&self.pages_key) {
            Some(secret) => PagesKey::of_secret(secret).map_err(|why| anyhow!("--pages-key: {why}"))?,
            None => PagesKey::random(),
        };
        let (setting, flow_server) = match (given(&self.pages_sign_on_url), given(&self.pages_sign_on_issuer)) {
            (Some(_), Some(_)) => {
                bail!("--pages-sign-on-url and --pages-sign-on-issuer both say where people sign on: leave one out")
            }
            (Some(base), None) => ("--pages-sign-on-url", CodeFlowServer::HmppsAuth(base.to_owned())),
            (None, Some(issuer)) => ("--pages-sign-on-issuer", CodeFlowServer::Issuer(issuer.to_owned())),
            (None, None) => {
                let client = [
                    ("--pages-client-id", &self.pages_client_id),
                    ("--pages-client-secret", &self.pages_client_secret),
                ];
                if let Some((setting, _)) = client.iter().find(|(_, value)| given(value).is_some()) {
                    bail!(
                        "{setting} is for a sign-on, and none is given: add --pages-sign-on-url or --pages-sign-on-issuer"
                    )
                }
                // A person is chosen from a list, where any client may do anything.
                return Ok(server.sign_on.is_none().then(|| PageSessions::new(key, None, now)));
            }
        };
        let Some(sign_on) = server.sign_on else {
            bail!(
                "{setting} says where people sign on, and nothing says whose tokens are valid: add --auth-jwks-url or --auth-key-file"
            )
        };
        let needed = |value: &Option<String>, flag: &str| {
            let value =
                given(value).ok_or_else(|| anyhow!("people cannot sign on to the pages without it: add {flag}"));
            value.map(str::to_owned)
        };
        let address = self.address(server)?;
        let client = CodeFlowClient {
            id: needed(&self.pages_client_id, "--pages-client-id")?,
            secret: Secret::new(needed(&self.pages_client_secret, "--pages-client-secret")?),
            redirect_uri: format!("{address}{CALLBACK}"),
        };
        if given(&self.pages_key).is_none() {
            tracing::warn!(
                "no --pages-key is given: sessions of the pages end with this process, and no other knows them"
            );
        }
        let flow = CodeFlow::new(flow_server, client).map_err(|why| anyhow!("{setting}: {why}"))?;
        let sign_on = PageSignOn { flow, sign_on: Arc::clone(sign_on), address };
        Ok(Some(PageSessions::new(key, Some(sign_on), now)))
    }

    /// The address under which browsers reach the pages, without a slash at its end.
    fn address(&self, server: &PagesServer<'_>) -> anyhow::Result<String> {
        let Some(address) = given(&self.pages_url) else {
            if server.is_loopback {
                return Ok(server.url.to_owned());
            }
            bail!(
                "people are sent back to the pages from the sign-on, and nothing says where they are: add --pages-url"
            )
        };
        let address = address.trim_end_matches('/');
        check_server_address(address).map_err(|why| anyhow!("--pages-url: {why}"))?;
        let uri: Uri = address.parse().map_err(|_| anyhow!("--pages-url: it is no address"))?;
        if uri.path() != "/" || uri.query().is_some() {
            bail!("--pages-url: it has a path; write the address alone, e.g. https://ledger.example")
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_known = server.hosts.iter().any(|known| known.eq_ignore_ascii_case(host));
        if uri.scheme_str() == Some("https") && !server.is_loopback && !is_known {
            bail!("--pages-url: requests for {host} would be refused: add --host {host}")
        }
        Ok(address.to_owned())
    }
}

fn given(setting: &Option<String>) -> Option<&str> {
    setting.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "the clock that the pages are given")]
fn now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use sign_on::{KeySet, KeySource, LocalKey, RoleMap};

    use super::*;

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn complete() -> PagesSettings {
        PagesSettings {
            pages_sign_on_url: text("https://sign-in.example/auth"),
            pages_sign_on_issuer: text(""),
            pages_client_id: text("ledger-pages"),
            pages_client_secret: text("a-secret"),
            pages_url: text("https://ledger.example/"),
            pages_key: text(&"k".repeat(64)),
        }
    }

    /// Opens the settings of a server that other machines reach.
    fn open(settings: &PagesSettings, has_sign_on: bool) -> Result<bool, String> {
        let key = [env!("CARGO_MANIFEST_DIR"), "../../tests/data/sign-on/key.pem"].iter().collect::<PathBuf>();
        let jwks = LocalKey::read(&key).expect("a key").jwks();
        let keys = KeySource::File(Arc::new(KeySet::from_jwks(jwks.as_bytes()).expect("keys")));
        let sign_on = Arc::new(SignOn::new(keys, None, RoleMap::default()));
        let server = PagesServer {
            url: "http://0.0.0.0:8080",
            is_loopback: false,
            hosts: &["Ledger.example".to_owned()],
            sign_on: has_sign_on.then_some(&sign_on),
        };
        settings.open(&server).map(|sessions| sessions.is_some()).map_err(|error| error.to_string())
    }

    #[test]
    fn pages_have_a_sign_on_that_is_complete_or_none() {
        let (complete, none) = (complete(), PagesSettings::default());
        assert_eq!(open(&complete, true), Ok(true));
        assert_eq!(open(&none, true), Ok(false), "nothing says where people sign on");
        assert_eq!(open(&none, false), Ok(true), "a person is chosen from a list");
        let issuer = PagesSettings {
            pages_sign_on_url: None,
            pages_sign_on_issuer: text("https://id.example"),
            ..complete.clone()
        };
        assert_eq!(open(&issuer, true), Ok(true));
        for (settings, has_sign_on, words) in [
            (complete.clone(), false, "--auth-jwks-url"),
            (
                PagesSettings { pages_sign_on_issuer: text("https://id.example"), ..complete.clone() },
                true,
                "leave one out",
            ),
            (
                PagesSettings { pages_sign_on_url: text("http://sign-in.example"), ..complete.clone() },
                true,
                "--pages-sign-on-url",
            ),
            (PagesSettings { pages_sign_on_url: None, ..complete.clone() }, true, "--pages-client-id"),
            (PagesSettings { pages_client_id: None, ..complete.clone() }, true, "--pages-client-id"),
            (PagesSettings { pages_client_secret: text(" "), ..complete.clone() }, true, "--pages-client-secret"),
            (PagesSettings { pages_key: text("short"), ..complete.clone() }, true, "--pages-key"),
            (PagesSettings { pages_url: None, ..complete.clone() }, true, "--pages-url"),
            (PagesSettings { pages_url: text("http://ledger.example"), ..complete.clone() }, true, "--pages-url"),
            (PagesSettings { pages_url: text("https://ledger.example/a"), ..complete.clone() }, true, "it has a path"),
            (
                PagesSettings { pages_url: text("https://other.example"), ..complete.clone() },
                true,
                "--host other.example",
            ),
        ] {
            let error = open(&settings, has_sign_on).expect_err(words);
            assert!(error.contains(words), "{words}: {error}");
        }
        let shown = format!("{complete:?}");
        assert!(!shown.contains("a-secret") && !shown.contains("kkk"), "{shown}");
    }
}
