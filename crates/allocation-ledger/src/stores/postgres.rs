//! Postgres databases as the settings name them, or in the embedded server.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use domain::text::Excerpt;
use sqlx::{
    Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};
use tokio::time::timeout;

use crate::shared_settings;

/// The database in the embedded Postgres, for the log (schema `log`) and the views (schema
/// `views`).
const DATABASE: &str = "ledger";

/// Connections of one pool. The embedded server has 100, for a `serve` with some three pools and a
/// tool beside it.
const CONNECTIONS_MAX: u32 = 16;

/// How long a request waits for a connection before the database counts as out of reach.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long Postgres may take to store a batch of entries of the access log, in milliseconds.
const ACCESS_LOG_TIMEOUT_MS: u32 = 10_000;

/// The parameters of a URL that sqlx knows, beside `options`.
const PARAMETERS: [&str; 17] = [
    "application_name",
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
];

/// How long a connection is waited for that is to say why none could be had.
const REASON_WAIT_MAX: Duration = Duration::from_secs(2);

/// Starts the embedded Postgres, and makes the ledger's database in it.
pub(super) async fn start_embedded(
    settings: &shared_settings::LogSettings,
) -> anyhow::Result<embedded_postgres::Server> {
    let server = embedded_postgres::Server::start_with(&settings.data_dir()?, settings.postgres_options()).await?;
    server.create_database(DATABASE).await?;
    Ok(server)
}

/// The URL given, else that of the embedded Postgres, which is running where no URL is given.
pub(super) fn url(given: Option<&String>, postgres: Option<&embedded_postgres::Server>) -> String {
    given.cloned().or_else(|| postgres.map(|server| server.url(DATABASE))).unwrap_or_default()
}

/// The views' database that --views names, for a service that may be started before its server is.
///
/// # Errors
/// --views is not given, or is no URL of a database.
pub(crate) fn lazy_views(settings: &shared_settings::StoreSettings) -> anyhow::Result<PgPool> {
    lazy_pool("--views", settings.views.as_ref())
}

/// Connections to a database named by the setting `flag`, opened when first needed.
pub(crate) fn lazy_pool(flag: &str, url: Option<&String>) -> anyhow::Result<PgPool> {
    let url = url.with_context(|| {
        format!(
            "a role by itself needs {flag}, the URL of a server that other services reach too: a Postgres that the program \
             runs by itself belongs to one process, which has all roles"
        )
    })?;
    Ok(pool_options().connect_lazy_with(connect_options(flag, url)?))
}

/// Connections that can read the views and cannot write them.
pub(crate) fn read_only(views: &PgPool) -> PgPool {
    let options = views.connect_options().as_ref().clone().application_name("allocation-ledger query");
    query::connect(options, projector::SCHEMA, views.options().get_max_connections())
}

/// A connection that adds to the access log, in the database of the views or the one named.
///
/// # Errors
/// --access-log-url is no URL of a database.
pub(crate) fn access_log_writer(views: &PgPool, url: Option<&str>) -> anyhow::Result<PgPool> {
    let options = match url {
        Some(url) => connect_options("--access-log-url", url)?,
        None => views.connect_options().as_ref().clone(),
    };
    let timeout = [("statement_timeout", ACCESS_LOG_TIMEOUT_MS.to_string())];
    let options = options.application_name("allocation-ledger access log").options(timeout);
    Ok(pool_options().max_connections(1).connect_lazy_with(options))
}

fn pool_options() -> PgPoolOptions {
    PgPoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(ACQUIRE_TIMEOUT)
}

/// Connects to a database named by the setting `flag`.
pub(super) async fn pool(flag: &str, url: &str) -> anyhow::Result<PgPool> {
    let options = connect_options(flag, url)?;
    let failed = match pool_options().connect_with(options.clone()).await {
        Ok(pool) => return Ok(pool),
        // A pool tries until its time is over, and then says no more than that.
        Err(sqlx::Error::PoolTimedOut) => timeout(REASON_WAIT_MAX, PgConnection::connect_with(&options))
            .await
            .ok()
            .and_then(Result::err)
            .unwrap_or(sqlx::Error::PoolTimedOut),
        Err(error) => error,
    };
    let connecting = format!("connect to the database that {flag} names");
    Err(match failed {
        // The server is there, and this is what it says. The rest is of its source code.
        sqlx::Error::Database(refusal) => anyhow!("{connecting}: {}", refusal.message()),
        error => anyhow::Error::from(error).context(format!("{connecting}: is its server running, and the URL right?")),
    })
}

/// Reads the URL of a database that the setting `flag` gave.
///
/// # Errors
/// It is no URL of a store that this version can use.
pub(crate) fn connect_options(flag: &str, url: &str) -> anyhow::Result<PgConnectOptions> {
    match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => {
            let options = url.parse().with_context(|| format!("read the URL given by {flag}"))?;
            for name in unknown_parameters(url) {
                tracing::warn!("the URL given by {flag} has a parameter that is not known: `{}`", Excerpt(name));
            }
            let mode = std::env::var("PGSSLMODE").ok();
            Ok(if is_tls_said(url, mode.as_deref()) { options } else { with_tls_elsewhere(options) })
        }
        _ if event_log_kurrentdb::is_url(url) => {
            bail!("{flag} names a KurrentDB server, which keeps event logs only: give a postgres:// URL")
        }
        _ => bail!("{flag} must be a URL such as postgres://user@host/database"),
    }
}

/// Whether a URL, or the variable `PGSSLMODE`, says if the connection has TLS. A word that is no
/// mode says nothing.
fn is_tls_said(url: &str, variable: Option<&str>) -> bool {
    parameter_names(url).any(|name| ["sslmode", "ssl-mode"].contains(&name))
        || variable.is_some_and(|mode| mode.parse::<PgSslMode>().is_ok())
}

/// The names of those parameters of a URL that have no effect. The value of one may be a secret.
fn unknown_parameters(url: &str) -> impl Iterator<Item = &str> {
    parameter_names(url).filter(|name| !PARAMETERS.contains(name) && !name.starts_with("options"))
}

fn parameter_names(url: &str) -> impl Iterator<Item = &str> {
    let parameters = url.split_once('?').map(|(_, query)| query.split('&')).into_iter().flatten();
    parameters.filter_map(|parameter| parameter.split('=').next()).filter(|name| !name.is_empty())
}

/// Asks for TLS, unless the server is on this machine: on the way to another one, passwords and
/// what is known about people could be read.
fn with_tls_elsewhere(options: PgConnectOptions) -> PgConnectOptions {
    let host = options.get_host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    let is_loopback = address.map_or(host == "localhost", |address: IpAddr| address.is_loopback());
    if options.get_socket().is_some() || host.starts_with('/') || is_loopback {
        return options;
    }
    options.ssl_mode(PgSslMode::Require)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, is_tls_asked_for: bool) {
        let options = connect_options("--views", url).expect("a URL");
        assert_eq!(matches!(options.get_ssl_mode(), PgSslMode::Require), is_tls_asked_for, "{url}");
    }

    #[test]
    fn tls_is_asked_for_on_the_way_to_another_machine() {
        check("postgres://query:secret@db.example/ledger", true);
        check("postgres://query@10.0.0.7:5433/ledger?application_name=x", true);
        check("postgres://query@db.example/ledger?sslmode=disable", false);
        check("postgres://query@db.example/ledger?application_name=x&sslmode=prefer", false);
        check("postgres://query@localhost/ledger", false);
        check("postgres://query@127.0.0.1/ledger", false);
        check("postgres://query@[::1]/ledger", false);
        check("postgres:///ledger?host=/run/postgresql", false);
        check("postgres://%2Frun%2Fpostgresql/ledger", false);
    }

    #[test]
    fn parameters_that_have_no_effect_are_named_without_their_values() {
        let names = |url| unknown_parameters(url).collect::<Vec<_>>();
        let known = "postgres://query@db.example/ledger?sslmode=require&options[search_path]=x&application_name=x";
        assert_eq!(names(known), [""; 0]);
        assert_eq!(names("postgres:///ledger?sslpassword=secret&host=/run&pasword=s"), ["sslpassword", "pasword"]);
    }

    #[test]
    fn only_a_mode_in_the_variable_says_whether_tls_is_asked_for() {
        let is_said = |variable| is_tls_said("postgres://query@db.example/ledger", variable);
        assert!(is_said(Some("disable")) && is_said(Some("verify-full")));
        assert!(!is_said(Some("")) && !is_said(Some("desable")) && !is_said(None));
    }
}
