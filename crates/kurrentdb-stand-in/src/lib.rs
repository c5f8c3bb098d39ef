//! A stand-in for a KurrentDB server, for the tests: as much of its protocol as the official client and this program use,
//! by the documented rules, durable to one file. It is no product: all events are kept in memory, there is one user at
//! most, no projections, no persistent subscriptions and no scavenging. The nodes of a cluster are processes on one machine
//! that share the file.
//!
//! It says on its standard output where it listens, and when it begins and ceases to lead a cluster, and ends when it is killed.
//! At SIGUSR1 it ends all subscriptions without an error, which no server should do and which clients must survive. At SIGUSR2
//! it leaves the lead to another node.

#![expect(clippy::result_large_err, reason = "a gRPC status is what the protocol's functions fail with")]

mod clock;
mod log;
mod read;
mod rules;
mod service;
mod streams;
mod wire;

use std::{io::Write as _, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tonic::{
    service::Routes,
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

use log::{Leader, Log, Member};

/// A stand-in for a KurrentDB server, for tests.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:2113")]
    listen: SocketAddr,
    /// The file of events; made if there is none.
    #[arg(long)]
    data: PathBuf,
    /// Who alone may read and write streams; without it everybody may.
    #[arg(long, value_name = "NAME:PASSWORD")]
    user: Option<String>,
    /// The server's certificate, in PEM; without it there is no TLS.
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The certificate's key, in PEM.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Where the nodes of its cluster listen, this one among them; all of them on the same file of events.
    #[arg(long, value_name = "ADDRESS,…", value_delimiter = ',')]
    nodes: Vec<SocketAddr>,
    /// How long it takes the nodes to elect a leader.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 500)]
    election_ms: u64,
}

/// Runs the server with the arguments of this process until it is killed.
///
/// # Errors
/// It cannot listen, or cannot read its file of events or its certificate.
#[tokio::main]
pub async fn main() -> anyhow::Result<()> {
    let Arguments { listen, data, user, certificate, key, nodes, election_ms } = Arguments::parse();
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listen {listen}"))?;
    let address = listener.local_addr()?;
    let is_member = !nodes.is_empty();
    let member = Member { address, election: Duration::from_millis(election_ms) };
    let log = Log::open(&data, is_member.then_some(member)).with_context(|| format!("open {}", data.display()))?;

    let (end, ends) = watch::channel(());
    let (mut told_to_end, mut told_to_resign) =
        (signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?);
    let resigning = log.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(()) = told_to_end.recv() => end.send_replace(()),
                Some(()) = told_to_resign.recv() => resigning.resign(),
                else => return,
            }
        }
    });

    let mut server = Server::builder();
    if let (Some(certificate), Some(key)) = (&certificate, &key) {
        let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("read {}", path.display()));
        // Nobody else in this process has chosen one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let identity = Identity::from_pem(read(certificate)?, read(key)?);
        server = server.tls_config(ServerTlsConfig::new().identity(identity)).context("use the certificate")?;
    }
    println!("listening on kurrentdb://{address}?tls={}", certificate.is_some());
    if is_member {
        tokio::spawn(tell_leader(log.leader()));
    }
    let nodes = if is_member { nodes } else { vec![address] };
    let routes = service::routes(Arc::new(service::Server { log, address, nodes, ends, user }));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    server.add_routes(Routes::from(routes)).serve_with_incoming(incoming).await.context("serve")
}

/// Says on the standard output whether this node leads, at each change.
async fn tell_leader(mut leader: watch::Receiver<Leader>) {
    let mut leads = false;
    loop {
        let leads_now = *leader.borrow_and_update() == Leader::This;
        if leads_now != leads {
            leads = leads_now;
            // To whoever still reads it.
            let _ = writeln!(std::io::stdout(), "{}", if leads { "leads" } else { "does not lead" });
        }
        if leader.changed().await.is_err() {
            return;
        }
    }
}
