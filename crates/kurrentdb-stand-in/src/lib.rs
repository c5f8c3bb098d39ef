//! A test double of a KurrentDB server. It has the part of the protocol that the
//! official client and this program use, follows the documented rules, and is durable to one file.
//!
//! It is not a product: it keeps all events in memory, has one user at most, and has no
//! projections, no persistent subscriptions and no scavenging. The nodes of a cluster are processes
//! on one machine that share the file.
//!
//! It writes to its standard output where it listens, and when it begins or ceases to lead a
//! cluster. It runs until it is killed. On SIGUSR1 it ends all subscriptions without an error,
//! which no server should do and which clients must survive. On SIGUSR2 it resigns, and another
//! node takes the lead.
//!
//! | module | what it holds |
//! |---|---|
//! | `service` | the services of the protocol, by path |
//! | `read` | reads and subscriptions |
//! | `pace` | how many events a second an answer gives out |
//! | `calls` | the calls of clients, for tests |
//! | `filter` | filters of `$all`, and how fast they search |
//! | `late_append` | an append that is done late, for tests |
//! | `write_rules` | the rules of writing: expected revisions, repeated ids, deleted streams |
//! | `streams` | all events in memory, by stream |
//! | `log` | the file of events, and the lead |
//!
//! The messages are those of the crate `kurrentdb-protocol`.

#![expect(clippy::result_large_err, reason = "a gRPC status is what the protocol's functions fail with")]

mod calls;
mod clock;
mod filter;
mod late_append;
mod log;
mod pace;
mod read;
mod requests;
mod service;
mod streams;
mod write_rules;

use std::{io::Write as _, net::SocketAddr, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

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

use log::{ClusterMember, FlushPace, Leader, Log};

/// A test double of a KurrentDB server
#[derive(Debug, Parser)]
pub struct Arguments {
    /// Address to listen on; port 0 takes a free port.
    #[arg(long, default_value = "127.0.0.1:2113")]
    listen: SocketAddr,
    /// The file of events; made if it does not exist.
    #[arg(long)]
    data: PathBuf,
    /// The one user that may read and write streams; without it every client may.
    #[arg(long, value_name = "NAME:PASSWORD")]
    user: Option<String>,
    /// The server's certificate, in PEM; without it the server does not use TLS.
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The certificate's key, in PEM.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// The addresses of the nodes of its cluster, including this one; all use the same file of
    /// events.
    #[arg(long, value_name = "ADDRESS,…", value_delimiter = ',')]
    nodes: Vec<SocketAddr>,
    /// How long an election of a leader takes.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 500)]
    election_ms: u64,
    /// How long an append takes at least, as on a server whose disk needs this long for a flush.
    /// Appends that come meanwhile are flushed together.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    append_ms: u64,
    /// How many events a second are appended at most. Without it there is no limit.
    #[arg(long, value_name = "EVENTS")]
    append_rate: Option<NonZeroU32>,
    /// How many events a second one read of `$all`, or one subscription to it, gives out at most.
    /// Without it there is no limit.
    #[arg(long, value_name = "EVENTS")]
    read_rate: Option<NonZeroU32>,
    /// Does the append with this number on each batch call after the one that follows it, if that
    /// comes within 100 ms: a server does not promise the order of a call's appends.
    #[arg(long, value_name = "NUMBER")]
    late_append: Option<usize>,
    /// How long after its last message the answer to a read ends: the two need not travel together.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    late_end_ms: u64,
}

/// Runs the server with the arguments of this process until it is killed.
///
/// # Errors
/// As [`run`].
pub fn main() -> anyhow::Result<()> {
    run(Arguments::parse())
}

/// Runs the server until this process ends.
///
/// # Errors
/// It cannot listen, or cannot read its file of events or its certificate.
#[tokio::main]
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { listen, data, user, certificate, key, nodes, .. } = arguments;
    let Arguments { election_ms, append_ms, append_rate, read_rate, late_append, late_end_ms, .. } = arguments;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listen {listen}"))?;
    let address = listener.local_addr()?;
    let is_member = !nodes.is_empty();
    let member = ClusterMember { address, election: Duration::from_millis(election_ms) };
    let pace = FlushPace { time: Duration::from_millis(append_ms), events_per_second: append_rate };
    let late_end = Duration::from_millis(late_end_ms);
    let log = Log::open(&data, is_member.then_some(member), pace);
    let log = log.with_context(|| format!("open {}", data.display()))?;

    let (end, ends) = watch::channel(());
    let (mut end_signal, mut resign_signal) =
        (signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?);
    let resigning = log.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(()) = end_signal.recv() => end.send_replace(()),
                Some(()) = resign_signal.recv() => resigning.resign(),
                else => return,
            }
        }
    });

    let mut server = Server::builder();
    if let (Some(certificate), Some(key)) = (&certificate, &key) {
        let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("read {}", path.display()));
        // This fails only where a provider is installed already, and none is.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let identity = Identity::from_pem(read(certificate)?, read(key)?);
        server = server.tls_config(ServerTlsConfig::new().identity(identity)).context("use the certificate")?;
    }
    println!("listening on kurrentdb://{address}?tls={}", certificate.is_some());
    if is_member {
        tokio::spawn(report_lead(log.leader()));
    }
    let nodes = if is_member { nodes } else { vec![address] };
    let routes = service::routes(Arc::new(service::ServerState {
        log,
        address,
        nodes,
        ends,
        user,
        read_rate,
        late_append,
        late_end,
    }));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    server.add_routes(Routes::from(routes)).serve_with_incoming(incoming).await.context("serve")
}

/// Writes to the standard output whether this node leads, at each change.
async fn report_lead(mut leader: watch::Receiver<Leader>) {
    let mut leads = false;
    loop {
        let leads_now = *leader.borrow_and_update() == Leader::This;
        if leads_now != leads {
            leads = leads_now;
            // The test may not read any more.
            let _ = writeln!(std::io::stdout(), "{}", if leads { "leads" } else { "does not lead" });
        }
        if leader.changed().await.is_err() {
            return;
        }
    }
}
