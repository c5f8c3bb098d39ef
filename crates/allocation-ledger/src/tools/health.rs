//! `health`: asks a serving ledger on this machine whether it can do its work, as a health check of
//! a container does.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::{serve::ServerTlsSettings, shared_settings, stdout};

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// The settings of `health`: those of `serve` that say where it listens.
#[derive(Debug, Args)]
pub struct HealthSettings {
    /// Address and port that the ledger listens on
    #[arg(long, env = "LEDGER_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = shared_settings::listen_address)]
    listen: SocketAddr,
    /// Whether it speaks TLS.
    #[command(flatten)]
    tls: ServerTlsSettings,
}

/// Prints that the ledger is ready.
///
/// # Errors
/// It is not, or does not answer; the error says what it waits for.
pub async fn run(settings: &HealthSettings) -> anyhow::Result<()> {
    // This fails where another part of the program has installed the same provider before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let scheme = if settings.tls.is_set() { "https" } else { "http" };
    let url = format!("{scheme}://{}/health/readiness", asked_at(settings.listen));
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .no_proxy()
        // The certificate has the name that other machines ask for, and this asks the own machine.
        .danger_accept_invalid_certs(true)
        .build()
        .context("make a client")?;
    let asked = client.get(&url).send().await;
    let answer = asked.with_context(|| format!("ask {url}: is the ledger running, and is that where it listens?"))?;
    let status = answer.status();
    let body = answer.text().await.with_context(|| format!("read the answer of {url}"))?;
    if !status.is_success() {
        bail!("not ready ({status}): {body}");
    }
    stdout::print_line("ready")
}

/// The address under which a process of the same machine reaches one that listens on `listen`.
fn asked_at(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
