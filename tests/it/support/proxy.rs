//! A TCP proxy in front of a server, for everything that can happen on the way.

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

/// A proxy with a thread of its own, so that it goes on whatever the test's runtime is busy with. It ends when it is
/// dropped, and so do its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    conditions: watch::Sender<Conditions>,
    /// How many bytes of answers are still to be lost.
    to_lose: Arc<AtomicUsize>,
}

/// Where a server listens.
#[derive(Clone, Debug)]
enum Server {
    Tcp(SocketAddr),
    Socket(PathBuf),
}

/// What is on the way, for all connections.
#[derive(Clone, Copy, Debug)]
struct Conditions {
    weather: Weather,
    /// How often all connections were ended.
    ends: usize,
    /// How often all connections there were have fallen silent for good.
    silences: usize,
    /// Whether connections end in a reset rather than an orderly close.
    by_reset: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Weather {
    Clear,
    /// Everything that is read waits that long before it is passed on.
    Slow(Duration),
    /// Nothing is passed on, in neither direction, and no connection is closed.
    Silent,
    /// Requests pass; nothing that is answered does.
    AnswersLost,
    /// New connections are reset; those there are go on.
    Refusing,
}

impl Proxy {
    /// Stands in front of the server at an address.
    pub fn to(server: &str) -> Self {
        Self::in_front_of(Server::Tcp(server.parse().expect("an address")))
    }

    /// Stands in front of the Postgres server of a URL, which listens on a Unix socket.
    pub fn to_postgres(url: &str) -> Self {
        let options: PgConnectOptions = url.parse().expect("a URL of Postgres");
        let directory = options.get_socket().expect("a server on a Unix socket");
        Self::in_front_of(Server::Socket(directory.join(format!(".s.PGSQL.{}", options.get_port()))))
    }

    fn in_front_of(server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        listener.set_nonblocking(true).expect("a listener for tokio");
        let address = listener.local_addr().expect("its address");
        let (conditions, seen) =
            watch::channel(Conditions { weather: Weather::Clear, ends: 0, silences: 0, by_reset: false });
        let to_lose = Arc::<AtomicUsize>::default();
        let proxy = Self { address, conditions, to_lose: Arc::clone(&to_lose) };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            // Connections that are left end with the runtime.
            runtime.block_on(take_connections(listener, server, seen, &to_lose));
        });
        proxy
    }

    /// Where clients of a KurrentDB server find it.
    pub fn url(&self) -> String {
        format!("kurrentdb://{}?tls=false", self.address)
    }

    /// Where clients find the database of a URL, if it stands in front of that one's server.
    pub fn postgres_url(&self, url: &str) -> String {
        let options: PgConnectOptions = url.parse().expect("a URL of Postgres");
        let database = options.get_database().expect("a database");
        format!("postgres://{}@{}/{database}?sslmode=disable", options.get_username(), self.address)
    }

    /// From now on everything is passed on. What was held back in silence comes now; what was lost is lost.
    pub fn pass(&self) {
        self.set(Weather::Clear);
    }

    /// From now on everything is passed on late.
    pub fn delay(&self, by: Duration) {
        self.set(Weather::Slow(by));
    }

    /// From now on nothing is passed on, and nobody is told: also a new connection is taken and says nothing.
    pub fn freeze(&self) {
        self.set(Weather::Silent);
    }

    /// Nothing more is ever passed on on the connections there are, and none of them is closed; new ones are as they were.
    pub fn freeze_those_there_are(&self) {
        self.conditions.send_modify(|conditions| conditions.silences += 1);
    }

    /// From now on requests are passed on and answers are lost.
    pub fn swallow_answers(&self) {
        self.set(Weather::AnswersLost);
    }

    /// From now on new connections are reset.
    pub fn refuse(&self) {
        self.set(Weather::Refusing);
    }

    /// Takes so many bytes out of what is answered next.
    pub fn lose_answer_bytes(&self, count: usize) {
        self.to_lose.store(count, Ordering::Relaxed);
    }

    /// Closes all connections, at whatever byte they are.
    pub fn cut(&self) {
        self.end(false);
    }

    /// Resets all connections.
    pub fn reset(&self) {
        self.end(true);
    }

    /// Resets all connections; on those made from now on everything is passed on. On none does anything come after what was
    /// lost.
    pub fn renew(&self) {
        self.conditions.send_modify(|conditions| {
            conditions.weather = Weather::Clear;
            conditions.by_reset = true;
            conditions.ends += 1;
        });
    }

    fn set(&self, weather: Weather) {
        self.conditions.send_modify(|conditions| conditions.weather = weather);
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
    server: Server,
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
        if conditions.borrow().weather == Weather::Refusing {
            let _ = client.set_zero_linger();
            continue;
        }
        tokio::spawn(connection(client, server.clone(), conditions.clone(), Arc::clone(to_lose)));
    }
}

/// Passes on between a client and the server until either or the test ends it.
async fn connection(
    mut client: TcpStream,
    server: Server,
    conditions: watch::Receiver<Conditions>,
    to_lose: Arc<AtomicUsize>,
) {
    let _ = client.set_nodelay(true);
    let by_reset = match server {
        Server::Tcp(address) => match TcpStream::connect(address).await {
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
        Server::Socket(path) => match UnixStream::connect(path).await {
            Ok(mut server) => pass_between(&mut client, &mut server, conditions, &to_lose).await,
            Err(_) => true,
        },
    };
    if by_reset {
        let _ = client.set_zero_linger();
    }
}

/// Passes on in both directions; true if it ends in a reset.
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
        // First, so that nothing is passed on any more once they are ended.
        biased;
        ended = conditions.wait_for(|conditions| conditions.ends > ends) => {
            ended.is_ok_and(|conditions| conditions.by_reset)
        }
        () = pass_on(from_client, to_server, requests, None) => false,
        () = pass_on(from_server, to_client, answers, Some(to_lose)) => false,
    }
}

/// Passes on in one direction; it is that of answers if there is a number of bytes that may be lost.
async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut conditions: watch::Receiver<Conditions>,
    to_lose: Option<&AtomicUsize>,
) {
    let mut buffer = vec![0; 64 * 1024];
    let silences = conditions.borrow().silences;
    let is_silent = |conditions: &Conditions| conditions.weather == Weather::Silent || conditions.silences > silences;
    while let Ok(count) = from.read(&mut buffer).await {
        // What comes in silence is held back until it is over.
        let Ok(weather) = conditions.wait_for(|conditions| !is_silent(conditions)).await.map(|c| c.weather) else {
            return;
        };
        if let Weather::Slow(by) = weather {
            tokio::time::sleep(by).await;
        }
        let lost = match to_lose {
            Some(_) if weather == Weather::AnswersLost => count,
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
