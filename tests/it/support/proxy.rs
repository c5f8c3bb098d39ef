//! A TCP proxy in front of a server, which makes the faults of a network.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    sync::watch,
};

/// A proxy with a thread of its own, so that it works however busy the test's runtime is. Dropping
/// it ends it and its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    conditions: watch::Sender<Conditions>,
    /// The number of bytes of answers still to lose.
    to_lose: Arc<AtomicUsize>,
}

/// The address of the server.
#[derive(Clone, Debug)]
enum ProxiedServer {
    Tcp(SocketAddr),
    Socket(PathBuf),
}

/// The faults of all connections.
#[derive(Clone, Copy, Debug)]
struct Conditions {
    fault: NetworkFault,
    /// How often all connections were ended.
    ends: usize,
    /// How often all open connections fell silent for good.
    silences: usize,
    /// Whether connections end in a reset rather than an orderly close.
    by_reset: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum NetworkFault {
    None,
    /// Everything is passed on late by this time.
    Slow(Duration),
    /// Nothing is passed on in either direction, and no connection is closed.
    Silent,
    /// Requests are passed on; answers are lost.
    AnswersLost,
    /// New connections are reset; open ones continue.
    Refusing,
}

impl Proxy {
    /// Starts a proxy in front of the server at an address.
    pub fn to(server: &str) -> Self {
        Self::in_front_of(ProxiedServer::Tcp(server.parse().expect("an address")))
    }

    /// Starts a proxy in front of the Postgres server of a URL, which listens on a Unix socket.
    pub fn to_postgres(url: &str) -> Self {
        let options: PgConnectOptions = url.parse().expect("a URL of Postgres");
        let directory = options.get_socket().expect("a server on a Unix socket");
        Self::in_front_of(ProxiedServer::Socket(directory.join(format!(".s.PGSQL.{}", options.get_port()))))
    }

    fn in_front_of(server: ProxiedServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        listener.set_nonblocking(true).expect("a listener for tokio");
        let address = listener.local_addr().expect("its address");
        let (conditions, seen) =
            watch::channel(Conditions { fault: NetworkFault::None, ends: 0, silences: 0, by_reset: false });
        let to_lose = Arc::<AtomicUsize>::default();
        let proxy = Self { address, conditions, to_lose: Arc::clone(&to_lose) };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            // Connections that are left end with the runtime.
            runtime.block_on(take_connections(listener, server, seen, &to_lose));
        });
        proxy
    }

    /// A further proxy in front of this one, to make two faults at a time.
    pub fn proxy(&self) -> Self {
        Self::in_front_of(ProxiedServer::Tcp(self.address))
    }

    /// The URL by which clients of an HTTP server reach it.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The URL by which clients of a KurrentDB server reach it.
    pub fn url(&self) -> String {
        format!("kurrentdb://{}?tls=false", self.address)
    }

    /// The URL by which clients reach the database of a URL through this proxy.
    pub fn postgres_url(&self, url: &str) -> String {
        let options: PgConnectOptions = url.parse().expect("a URL of Postgres");
        let database = options.get_database().expect("a database");
        format!("postgres://{}@{}/{database}?sslmode=disable", options.get_username(), self.address)
    }

    /// Passes everything on from now on. Bytes that were held back in silence arrive now; lost
    /// bytes stay lost.
    pub fn pass(&self) {
        self.set(NetworkFault::None);
    }

    /// Passes everything on late from now on.
    pub fn delay(&self, by: Duration) {
        self.set(NetworkFault::Slow(by));
    }

    /// Passes nothing on from now on, without an error. New connections are accepted and stay
    /// silent.
    pub fn freeze(&self) {
        self.set(NetworkFault::Silent);
    }

    /// Silences the open connections for good without closing them. New connections are not
    /// affected.
    pub fn freeze_those_there_are(&self) {
        self.conditions.send_modify(|conditions| conditions.silences += 1);
    }

    /// Passes requests on and loses answers from now on.
    pub fn swallow_answers(&self) {
        self.set(NetworkFault::AnswersLost);
    }

    /// Resets new connections from now on.
    pub fn refuse(&self) {
        self.set(NetworkFault::Refusing);
    }

    /// Removes so many bytes from the answers that follow.
    pub fn lose_answer_bytes(&self, count: usize) {
        self.to_lose.store(count, Ordering::Relaxed);
    }

    /// Closes all connections, at any byte.
    pub fn cut(&self) {
        self.end(false);
    }

    /// Resets all connections.
    pub fn reset(&self) {
        self.end(true);
    }

    /// Resets all connections and passes everything on for new ones. Nothing follows a lost byte on
    /// any connection.
    pub fn renew(&self) {
        self.conditions.send_modify(|conditions| {
            conditions.fault = NetworkFault::None;
            conditions.by_reset = true;
            conditions.ends += 1;
        });
    }

    fn set(&self, fault: NetworkFault) {
        self.conditions.send_modify(|conditions| conditions.fault = fault);
    }

    fn end(&self, by_reset: bool) {
        self.conditions.send_modify(|conditions| {
            conditions.by_reset = by_reset;
            conditions.ends += 1;
        });
    }
}

async fn take_connections(
    listener: TcpListener,
    server: ProxiedServer,
    mut conditions: watch::Receiver<Conditions>,
    to_lose: &Arc<AtomicUsize>,
) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    loop {
        let client = tokio::select! {
            client = listener.accept() => client,
            changed = conditions.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Ok((client, _)) = client else { continue };
        if conditions.borrow().fault == NetworkFault::Refusing {
            let _ = client.set_zero_linger();
            continue;
        }
        tokio::spawn(connection(client, server.clone(), conditions.clone(), Arc::clone(to_lose)));
    }
}

/// Passes bytes between a client and the server until either or the test ends it.
async fn connection(
    mut client: TcpStream,
    server: ProxiedServer,
    conditions: watch::Receiver<Conditions>,
    to_lose: Arc<AtomicUsize>,
) {
    let _ = client.set_nodelay(true);
    let by_reset = match server {
        ProxiedServer::Tcp(address) => match TcpStream::connect(address).await {
            Ok(mut server) => {
                let _ = server.set_nodelay(true);
                let by_reset = pass_between(&mut client, &mut server, conditions, &to_lose).await;
                if by_reset {
                    let _ = server.set_zero_linger();
                }
                by_reset
            }
            Err(_) => true,
        },
        ProxiedServer::Socket(path) => match UnixStream::connect(path).await {
            Ok(mut server) => pass_between(&mut client, &mut server, conditions, &to_lose).await,
            Err(_) => true,
        },
    };
    if by_reset {
        let _ = client.set_zero_linger();
    }
}

/// Passes bytes in both directions; true if the connection ends in a reset.
async fn pass_between(
    client: &mut TcpStream,
    server: &mut (impl AsyncRead + AsyncWrite + Unpin),
    mut conditions: watch::Receiver<Conditions>,
    to_lose: &AtomicUsize,
) -> bool {
    let ends = conditions.borrow().ends;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = tokio::io::split(server);
    let (requests, answers) = (conditions.clone(), conditions.clone());
    tokio::select! {
        // First, so that nothing is passed on after the connections were ended.
        biased;
        ended = conditions.wait_for(|conditions| conditions.ends > ends) => {
            ended.is_ok_and(|conditions| conditions.by_reset)
        }
        () = pass_on(from_client, to_server, requests, None) => false,
        () = pass_on(from_server, to_client, answers, Some(to_lose)) => false,
    }
}

/// Passes bytes in one direction. `to_lose` is given for the direction of answers.
async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut conditions: watch::Receiver<Conditions>,
    to_lose: Option<&AtomicUsize>,
) {
    let mut buffer = vec![0; 64 * 1024];
    let silences = conditions.borrow().silences;
    let is_silent =
        |conditions: &Conditions| conditions.fault == NetworkFault::Silent || conditions.silences > silences;
    while let Ok(count) = from.read(&mut buffer).await {
        // Bytes that arrive in silence are held back until it is over.
        let Ok(fault) = conditions.wait_for(|conditions| !is_silent(conditions)).await.map(|c| c.fault) else {
            return;
        };
        if let NetworkFault::Slow(by) = fault {
            tokio::time::sleep(by).await;
        }
        let lost = match to_lose {
            Some(_) if fault == NetworkFault::AnswersLost => count,
            Some(to_lose) => to_lose
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(count)))
                .map_or(0, |left| left.min(count)),
            None => 0,
        };
        if count == 0 || to.write_all(&buffer[lost..count]).await.is_err() {
            return;
        }
    }
}
