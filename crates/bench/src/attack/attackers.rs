//! The attackers: each keeps on until the attack ends, and counts what it is answered.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

/// Rubbish over so many connections, each from an address of its own, as one client's refusals
/// would be held back; each with so many requests at a time, each so often: 10,000
/// requests a second, if the program takes them.
const RUBBISH_CONNECTIONS: usize = 50;
const RUBBISH_FIRST_ADDRESS: usize = 100;
const RUBBISH_AT_A_TIME: usize = 20;
const RUBBISH_PACE: Duration = Duration::from_millis(100);

/// Connections that ask for nothing.
const IDLE: usize = 1_000;

/// Readers that take nothing, from so many addresses.
const UNTAKEN: usize = 64;
const UNTAKEN_ADDRESSES: usize = 8;

/// How long such a reader holds out: longer than the program does.
const UNTAKEN_HOLD: Duration = Duration::from_secs(35);

/// Bodies that are sent at a time, each from an address of its own, in so many parts with a pause
/// after each.
const BODIES: usize = 80;
const BODY_BYTES: usize = 2_000_000;
const BODY_PARTS: usize = 20;
const BODY_PAUSE: Duration = Duration::from_millis(500);

/// The pause of an attacker before it connects again.
const AGAIN: Duration = Duration::from_millis(100);

/// The beginning of a connection in HTTP/2, with a setting by which the client takes no answers.
const HTTP_2_WINDOW_0: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";

/// An attack that goes on until it is told to end.
pub(super) struct Attack {
    attackers: JoinSet<()>,
    counts: Arc<Mutex<AttackCounts>>,
}

/// The answers to the attackers, and the number of idle connections that they hold.
#[derive(Debug, Clone, Default)]
pub(super) struct AttackCounts {
    /// Requests that were sent, whether or not they were answered.
    pub(super) rubbish_sent: u64,
    pub(super) rubbish: StatusCounts,
    pub(super) idle: usize,
    pub(super) untaken: StatusCounts,
    pub(super) http_2: StatusCounts,
    pub(super) bodies: StatusCounts,
}

/// The number of answers with each status; 0 for a connection that ended without one.
#[derive(Debug, Clone, Default)]
pub(super) struct StatusCounts(BTreeMap<u16, u64>);

impl StatusCounts {
    pub(super) fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

impl fmt::Display for StatusCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<_> = self.0.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        f.write_str(&counts.join("\n"))
    }
}

/// The attackers of one kind have their counts in one place.
type CountsOf = fn(&mut AttackCounts) -> &mut StatusCounts;

/// Where an attacker attacks, and where it counts.
#[derive(Clone)]
struct Target {
    address: SocketAddr,
    counts: Arc<Mutex<AttackCounts>>,
}

impl Attack {
    /// Starts to attack the program at an address.
    pub(super) fn start(address: SocketAddr) -> Self {
        let target = Target { address, counts: Arc::default() };
        let mut attackers = JoinSet::new();
        for index in 0..RUBBISH_CONNECTIONS {
            attackers.spawn(target.clone().send_rubbish(index));
        }
        attackers.spawn(target.clone().send_no_http());
        for index in 0..IDLE {
            attackers.spawn(target.clone().stay_idle(index.is_multiple_of(2)));
        }
        for index in 0..UNTAKEN {
            attackers.spawn(target.clone().take_nothing(index));
        }
        attackers.spawn(target.clone().speak_http_2());
        let body: Arc<str> = format!("{{\"{}\":1}}", "x".repeat(BODY_BYTES)).into();
        for index in 0..BODIES {
            attackers.spawn(target.clone().send_bodies(index, Arc::clone(&body)));
        }
        Self { attackers, counts: target.counts }
    }

    /// Ends the attack.
    pub(super) fn end(self) -> AttackCounts {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        drop(self.attackers);
        counts
    }
}

impl Target {
    fn count(&self, of: CountsOf, status: u16) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *of(&mut counts).0.entry(status).or_default() += 1;
    }

    /// Connects from 127.0.0.N. A small buffer makes the program wait for a reader that takes
    /// nothing.
    async fn connect(&self, last: usize, buffer: Option<u32>) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let own = Ipv4Addr::new(127, 0, 0, u8::try_from(last).unwrap_or(u8::MAX));
        socket.bind(SocketAddr::from((own, 0)))?;
        socket.connect(self.address).await
    }

    async fn send_rubbish(self, index: usize) {
        let requests: String =
            rubbish(self.address).iter().cycle().take(RUBBISH_AT_A_TIME).map(String::as_str).collect();
        loop {
            if let Ok(connection) = self.connect(RUBBISH_FIRST_ADDRESS + index, None).await {
                let (mut receive, mut send) = connection.into_split();
                let sending = async {
                    let mut pace = interval(RUBBISH_PACE);
                    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
                    loop {
                        pace.tick().await;
                        send.write_all(requests.as_bytes()).await?;
                        self.counts.lock().unwrap_or_else(PoisonError::into_inner).rubbish_sent +=
                            RUBBISH_AT_A_TIME as u64;
                    }
                };
                let reading = async {
                    let mut bytes = vec![0; 64 * 1024];
                    let mut kept = 0;
                    loop {
                        let read = receive.read(&mut bytes[kept..]).await?;
                        if read == 0 {
                            return Err(io::ErrorKind::UnexpectedEof.into());
                        }
                        kept = self.count_answers(&mut bytes, kept + read);
                    }
                };
                // Either ends with an error, when the connection does.
                let _ended: io::Result<((), ())> = futures::future::try_join(sending, reading).await;
            }
            self.count(|counts| &mut counts.rubbish, 0);
            sleep(AGAIN).await;
        }
    }

    /// Counts the answers that begin in these bytes, and keeps an end that may be half of a
    /// beginning.
    fn count_answers(&self, bytes: &mut [u8], len: usize) -> usize {
        const BEGINNING: &[u8] = b"HTTP/1.1 ";
        const BEGINNING_LEN: usize = BEGINNING.len() + 3;
        let mut at = 0;
        while at + BEGINNING_LEN <= len {
            if bytes[at..].starts_with(BEGINNING) {
                self.count(|counts| &mut counts.rubbish, status(&bytes[at..len]));
                at += BEGINNING_LEN;
            } else {
                at += 1;
            }
        }
        bytes.copy_within(at..len, 0);
        len - at
    }

    async fn send_no_http(self) {
        loop {
            let status = async {
                let mut connection = self.connect(2, None).await?;
                connection.write_all(b"\0\x01\xff rubbish\r\n\r\n").await?;
                read_status(&mut connection).await
            };
            let status = status.await.unwrap_or_default();
            self.count(|counts| &mut counts.rubbish, status);
            sleep(RUBBISH_PACE).await;
        }
    }

    async fn stay_idle(self, has_half_a_head: bool) {
        loop {
            if let Ok(mut connection) = self.connect(3, None).await {
                let begun: &[u8] = if has_half_a_head { b"GET /events HTTP/1.1\r\nHo" } else { b"" };
                if connection.write_all(begun).await.is_ok() {
                    let held = |counts: &Mutex<AttackCounts>, change: fn(usize) -> usize| {
                        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                        counts.idle = change(counts.idle);
                    };
                    held(&self.counts, |idle| idle + 1);
                    let _ = connection.read(&mut [0]).await;
                    held(&self.counts, |idle| idle - 1);
                }
            }
            sleep(AGAIN).await;
        }
    }

    async fn take_nothing(self, index: usize) {
        let accept = if index.is_multiple_of(2) { "application/json" } else { "text/event-stream" };
        let limit = if index.is_multiple_of(2) { "?limit=1000" } else { "" };
        let request = format!("GET /events{limit} HTTP/1.1\r\nHost: {}\r\nAccept: {accept}\r\n\r\n", self.address);
        loop {
            let begun = async {
                let mut connection = self.connect(4 + index % UNTAKEN_ADDRESSES, Some(4_096)).await?;
                connection.write_all(request.as_bytes()).await?;
                let status = read_status(&mut connection).await?;
                io::Result::Ok((connection, status))
            };
            let (held, status) = begun.await.map_or((None, 0), |(connection, status)| (Some(connection), status));
            self.count(|counts| &mut counts.untaken, status);
            sleep(if status == 200 { UNTAKEN_HOLD } else { AGAIN }).await;
            drop(held);
        }
    }

    async fn speak_http_2(self) {
        loop {
            let status = async {
                let mut connection = self.connect(2, None).await?;
                connection.write_all(HTTP_2_WINDOW_0).await?;
                read_status(&mut connection).await
            };
            let status = status.await.unwrap_or_default();
            self.count(|counts| &mut counts.http_2, status);
            sleep(AGAIN).await;
        }
    }

    async fn send_bodies(self, index: usize, body: Arc<str>) {
        let head = format!(
            "POST /handover-dates HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        loop {
            let status = async {
                let mut connection = self.connect(4 + UNTAKEN_ADDRESSES + index, None).await?;
                connection.write_all(head.as_bytes()).await?;
                for part in body.as_bytes().chunks(body.len().div_ceil(BODY_PARTS)) {
                    connection.write_all(part).await?;
                    sleep(BODY_PAUSE).await;
                }
                read_status(&mut connection).await
            };
            let status = status.await.unwrap_or_default();
            self.count(|counts| &mut counts.bodies, status);
            sleep(AGAIN).await;
        }
    }
}

/// Requests that are refused, each for a reason of its own, and probes, which are not.
fn rubbish(address: SocketAddr) -> [String; 9] {
    let host = format!("Host: {address}\r\n");
    [
        format!("GET /nowhere/{} HTTP/1.1\r\n{host}\r\n", "x".repeat(200)),
        format!("GET /events?nonsense=1 HTTP/1.1\r\n{host}\r\n"),
        format!("BREW /events HTTP/1.1\r\n{host}\r\n"),
        "GET /events HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(),
        format!(
            "POST /prisoners/A1234BC/tier HTTP/1.1\r\n{host}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{{\"tier\":}}"
        ),
        format!(
            "POST /prisoners/A1234BC/releases HTTP/1.1\r\n{host}Origin: http://evil.example\r\nContent-Length: 0\r\n\r\n"
        ),
        format!("GET /prisoners/'%20OR%201=1/responsibility HTTP/1.1\r\n{host}Authorization: Bearer a.b.c\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\n{host}\r\n"),
        format!("GET /metrics HTTP/1.1\r\n{host}\r\n"),
    ]
}

/// The status of the answer that a connection begins with; 0 where it ends without one.
async fn read_status(connection: &mut TcpStream) -> io::Result<u16> {
    let mut beginning = [0; 12];
    connection.read_exact(&mut beginning).await?;
    Ok(status(&beginning))
}

fn status(answer: &[u8]) -> u16 {
    let digits = answer.get(9..12).and_then(|digits| str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or_default()
}
