//! A TCP proxy in front of a server, for everything that can happen on the way.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
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

/// What is on the way, for all connections.
#[derive(Clone, Copy, Debug)]
struct Conditions {
    weather: Weather,
    /// How often all connections were ended.
    ends: usize,
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
        let server: SocketAddr = server.parse().expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        listener.set_nonblocking(true).expect("a listener for tokio");
        let address = listener.local_addr().expect("its address");
        let (conditions, seen) = watch::channel(Conditions { weather: Weather::Clear, ends: 0, by_reset: false });
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
    server: SocketAddr,
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
        tokio::spawn(connection(client, server, conditions.clone(), Arc::clone(to_lose)));
    }
}

/// Passes on between a client and the server until either or the test ends it.
async fn connection(
    mut client: TcpStream,
    server: SocketAddr,
    mut conditions: watch::Receiver<Conditions>,
    to_lose: Arc<AtomicUsize>,
) {
    let Ok(mut server) = TcpStream::connect(server).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ends = conditions.borrow().ends;
    let by_reset = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            () = pass_on(from_client, to_server, conditions.clone(), None) => false,
            () = pass_on(from_server, to_client, conditions.clone(), Some(&to_lose)) => false,
            ended = conditions.wait_for(|conditions| conditions.ends > ends) => {
                ended.is_ok_and(|conditions| conditions.by_reset)
            }
        }
    };
    if by_reset {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// Passes on in one direction; it is that of answers if there is a number of bytes that may be lost.
async fn pass_on(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut conditions: watch::Receiver<Conditions>,
    to_lose: Option<&AtomicUsize>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        // What comes in silence is held back until it is over.
        let Ok(weather) =
            conditions.wait_for(|conditions| conditions.weather != Weather::Silent).await.map(|c| c.weather)
        else {
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
