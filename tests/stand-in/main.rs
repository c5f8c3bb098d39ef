//! A stand-in for a KurrentDB server, for the tests: as much of its protocol as the official client and this program use,
//! by the documented rules, durable to one file. It is no product: all events are kept in memory, there is one user at
//! most, no cluster, no projections, no persistent subscriptions and no scavenging.
//!
//! It says on its standard output where it listens, and ends when it is killed. At SIGUSR1 it ends all subscriptions without
//! an error, which no server should do and which clients must survive.

#![expect(clippy::result_large_err, reason = "a gRPC status is what the protocol's functions fail with")]

mod log;
mod read;
mod rules;
mod service;
mod streams;
mod wire;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::Parser;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tonic::{
    service::Routes,
    transport::{Server, server::TcpIncoming},
};

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
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let log = log::Log::open(&arguments.data).with_context(|| format!("open {}", arguments.data.display()))?;
    let (end, ends) = watch::channel(());
    let mut told = signal(SignalKind::user_defined1())?;
    tokio::spawn(async move {
        while told.recv().await.is_some() {
            end.send_replace(());
        }
    });
    let listener = TcpListener::bind(arguments.listen).await.with_context(|| format!("listen {}", arguments.listen))?;
    let address = listener.local_addr()?;
    println!("listening on kurrentdb://{address}?tls=false");
    let routes = service::routes(Arc::new(service::Server { log, address, ends, user: arguments.user }));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder().add_routes(Routes::from(routes)).serve_with_incoming(incoming).await.context("serve")
}
