//! The HTTP server: takes connections and serves HTTP/1.1 on each, within limits of number and
//! time.
//!
//! - Over HTTP/1.1 alone a connection has one request at work.
//! - A client has some of the connections and never all of them, and fewer that begin to speak TLS.
//! - A head that does not come in time, and an answer of which nothing is taken or that is taken
//!   too slowly, end the connection (`connection`); a body that does not come in time is for
//!   `http_api` to refuse.
//! - A client that has sent its request and closed its side gets its answer. So does one whose
//!   request is refused while its body is still under way.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{Router, body::HttpBody as _, extract::Request};
use http_api::{BODY_BYTES_MAX, InputEnd, PeerAddress};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use super::{
    admission::{Admission, ConnectionPlace},
    connection::{AnswerDeadline, ClientConnection, LateInput},
    shutdown::wait_for_flag,
};

/// Most bytes that a connection keeps of a head that has not come to its end.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a client that are still read, and thrown away, after the last answer: a connection that
/// is closed with bytes unread is reset, and the client may lose the answer.
const LATE_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;

/// How long they are read.
const LATE_TIME_MAX: Duration = Duration::from_secs(5);

/// The pause after the system has refused a connection: it has no room now.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// How often the log says that connections are refused.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How long the server waits for a client.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For the head of a request, and for the next request on a connection.
    head: Duration,
    /// For the client to take some of an answer.
    stalled: Duration,
    /// For the client to take all of an answer, beside the time by its length.
    answer: Duration,
    /// The pace at which it must at least take one.
    answer_bytes_per_second: u64,
    /// At the end, for the requests at work and the answers under way.
    ending: Duration,
}

const PATIENCE: Patience = Patience {
    head: Duration::from_secs(60),
    stalled: Duration::from_secs(30),
    answer: Duration::from_secs(30),
    answer_bytes_per_second: 64 * 1024,
    ending: Duration::from_secs(10),
};

impl Patience {
    /// For the client to take an answer of this length.
    fn with_answer(self, bytes: u64) -> Duration {
        self.answer + Duration::from_millis(bytes.saturating_mul(1_000) / self.answer_bytes_per_second)
    }
}

/// Takes connections and serves them.
pub(super) struct HttpServer {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    /// Becomes true when the program ends.
    ending: watch::Receiver<bool>,
    admission: Arc<Admission>,
    patience: Patience,
    last_logged: Option<Instant>,
}

impl HttpServer {
    /// A server that ends, once `ending` becomes true, with the requests at work.
    pub(super) fn new(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        router: Router,
        ending: watch::Receiver<bool>,
        admission: Arc<Admission>,
    ) -> Self {
        Self { listener, tls, router, ending, admission, patience: PATIENCE, last_logged: None }
    }

    /// Serves until the end, and until all connections are closed: what is left of an answer, such
    /// as the record of what a stream has shown, is done by then.
    pub(super) async fn serve(mut self) {
        let mut connections = JoinSet::new();
        let mut ending = self.ending.clone();
        loop {
            tokio::select! {
                biased;
                () = wait_for_flag(&mut ending) => break,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, address)) => match self.admission.admit(address.ip(), self.tls.is_some()) {
                        Some(place) => {
                            let (tls, router, ending) = (self.tls.clone(), self.router.clone(), self.ending.clone());
                            let peer = PeerAddress(address.ip());
                            let serving = serve_connection(stream, peer, tls, place, router, ending, self.patience);
                            connections.spawn(serving);
                        }
                        None => self.log_refusal(&format!("{} has too many, or all have", address.ip())),
                    },
                    Err(error) if is_of_one_client(&error) => {}
                    Err(error) => {
                        self.log_refusal(&error.to_string());
                        self.admission.count_refused();
                        sleep(REFUSED_PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        let all_end = async { while connections.join_next().await.is_some() {} };
        if timeout(self.patience.ending, all_end).await.is_err() {
            let (open, waited_s) = (connections.len(), self.patience.ending.as_secs());
            tracing::info!(open, "closing connections that were still open after {waited_s} s");
            connections.shutdown().await;
        }
    }

    fn log_refusal(&mut self, reason: &str) {
        if self.last_logged.is_none_or(|logged| logged.elapsed() > REFUSAL_LOG_INTERVAL) {
            self.last_logged = Some(Instant::now());
            tracing::warn!(reason, "connections are refused: {reason}");
        }
    }
}

/// Whether an error of accepting says only that a client has gone again.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn serve_connection(
    stream: TcpStream,
    peer: PeerAddress,
    tls: Option<TlsAcceptor>,
    mut place: ConnectionPlace,
    router: Router,
    mut ending: watch::Receiver<bool>,
    patience: Patience,
) {
    // Answers are small: waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    give_up_unacknowledged(&stream, patience.stalled);
    let connection = ClientConnection::new(stream, ending.clone(), patience.stalled);
    let ends = (connection.input_end(), connection.late_input(), connection.answer_deadline());
    let Some(tls) = tls else { return serve_http(connection, peer, ends, router, ending, patience).await };
    let accepted = tokio::select! {
        accepted = timeout(patience.head, tls.accept(connection)) => accepted,
        () = wait_for_flag(&mut ending) => return,
    };
    place.end_handshake();
    // A client that fails to speak TLS, or takes too long, is told nothing.
    if let Ok(Ok(connection)) = accepted {
        serve_http(connection, peer, ends, router, ending, patience).await;
    }
}

/// Has the system give up a connection whose other end acknowledges nothing of what was sent, or
/// takes nothing, for so long. The few bytes of a quiet stream always find room in its buffers, so
/// no write tells of it.
fn give_up_unacknowledged(stream: &TcpStream, after: Duration) {
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(after));
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, after);
}

async fn serve_http(
    connection: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: PeerAddress,
    (input_end, late_input, answer_deadline): (InputEnd, LateInput, AnswerDeadline),
    router: Router,
    mut ending: watch::Receiver<bool>,
    patience: Patience,
) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(input_end.clone());
        request.extensions_mut().insert(peer);
        let answering = router.clone().call(request.map(axum::body::Body::new) as Request);
        let answer_deadline = answer_deadline.clone();
        async move {
            let answer = answering.await?;
            let bytes = answer.body().size_hint().exact();
            answer_deadline.set(bytes.map(|bytes| Instant::now() + patience.with_answer(bytes)));
            Ok::<_, Infallible>(answer)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .half_close(true)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(connection), service);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        // Errors are those of the client: it has gone, or sent what is no HTTP.
        served = serving.as_mut() => if served.is_ok() {
            // Either way the connection has done its work.
            let _ = timeout(LATE_TIME_MAX, late_input.discard(LATE_BYTES_MAX)).await;
        },
        () = wait_for_flag(&mut ending) => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        sync::{Mutex, mpsc},
    };

    use axum::{Extension, body::Bytes, routing::get};
    use futures::{StreamExt as _, stream};
    use http_api::TrustedProxies;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// More than the buffers of a connection hold.
    const LONG: usize = 32 << 20;

    /// A part of a long body.
    const LONG_WRITE: usize = 64 * 1024;

    /// A server that waits for `patience` alone, its address and connections, and its end.
    async fn start(patience: Patience) -> (SocketAddr, Arc<Admission>, watch::Sender<bool>) {
        let (address, admission, end, server) = server(patience).await;
        tokio::spawn(server.serve());
        (address, admission, end)
    }

    async fn server(patience: Patience) -> (SocketAddr, Arc<Admission>, watch::Sender<bool>, HttpServer) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let address = listener.local_addr().expect("an address");
        let endless = get(async || {
            let chunks = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b'x'; LONG_WRITE])));
            axum::body::Body::from_stream(chunks)
        });
        let router = Router::new().route("/", get(async || "here")).route("/long", get(async || "x".repeat(LONG)));
        let quiet = get(async |Extension(end): Extension<InputEnd>| {
            let begun = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(&[b'x'; LONG_WRITE])) });
            let rest = stream::once(async move {
                end.wait().await;
                Ok(Bytes::new())
            });
            axum::body::Body::from_stream(begun.chain(rest))
        });
        let router = router.route("/endless", endless).route("/quiet", quiet);
        let (end, ending) = watch::channel(false);
        let admission = Admission::new(TrustedProxies::default());
        let server = HttpServer { patience, ..HttpServer::new(listener, None, router, ending, Arc::clone(&admission)) };
        (address, admission, end, server)
    }

    async fn send(address: SocketAddr, bytes: &str) -> TcpStream {
        let mut client = TcpStream::connect(address).await.expect("connect");
        client.write_all(bytes.as_bytes()).await.expect("send");
        client
    }

    /// Reads until the server closes the connection.
    async fn read_to_end(mut client: TcpStream) -> String {
        let mut answer = String::new();
        let read = timeout(Duration::from_secs(30), client.read_to_string(&mut answer)).await;
        read.expect("the connection ends").expect("an answer");
        answer
    }

    const SHORT: Patience =
        Patience { head: Duration::from_millis(50), stalled: Duration::from_millis(50), ..PATIENCE };

    #[tokio::test]
    async fn a_connection_without_a_request_ends_in_time() {
        let (address, _, _end) = start(SHORT).await;
        for begun in ["", "GET / HTTP/1.1\r\nHo"] {
            read_to_end(send(address, begun).await).await;
        }
        let answer = read_to_end(send(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await).await;
        assert!(answer.ends_with("here"), "{answer}");
    }

    #[tokio::test]
    async fn an_answer_of_which_nothing_is_taken_ends_in_time() {
        let (address, admission, _end) = start(Patience { head: Duration::from_secs(600), ..SHORT }).await;
        for path in ["/long", "/endless"] {
            let client = send(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
            let ended = async {
                while admission.open() == 0 {
                    tokio::task::yield_now().await;
                }
                while admission.open() > 0 {
                    tokio::task::yield_now().await;
                }
            };
            timeout(Duration::from_secs(30), ended).await.unwrap_or_else(|_| panic!("{path} does not end"));
            drop(client);
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_quiet_stream_of_which_nothing_is_taken_ends_in_time() {
        let (address, admission, _end) = start(Patience { head: Duration::from_secs(600), ..SHORT }).await;
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        // The rest of what was sent waits in the buffers of the system.
        socket.set_recv_buffer_size(4_096).expect("a small buffer");
        let mut client = socket.connect(address).await.expect("connect");
        client.write_all(b"GET /quiet HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("send");
        client.read_exact(&mut [0; 12]).await.expect("the beginning of an answer");
        let ended = async {
            while admission.open() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(30), ended).await.expect("the connection ends");
    }

    #[tokio::test]
    async fn an_answer_that_is_taken_too_slowly_ends_and_a_stream_goes_on() {
        let patience = Patience { answer: Duration::ZERO, answer_bytes_per_second: u64::MAX, ..PATIENCE };
        let (address, _, _end) = start(patience).await;
        for (path, ends) in [("/long", true), ("/endless", false)] {
            let mut client = send(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
            let (mut buffer, mut taken) = (vec![0; 1024], 0);
            // A client that reads steadily, and yet not before the server would send more.
            while taken < LONG {
                match timeout(Duration::from_secs(30), client.read(&mut buffer)).await.expect("bytes or an end") {
                    Ok(0) | Err(_) => break,
                    Ok(read) => taken += read,
                }
            }
            assert_eq!(taken < LONG, ends, "{path}: {taken} bytes");
        }
    }

    /// A part of an answer that takes until it is told to be dropped.
    struct SlowEnd {
        has_begun: watch::Sender<bool>,
        may_end: Mutex<mpsc::Receiver<()>>,
    }

    impl Drop for SlowEnd {
        fn drop(&mut self) {
            self.has_begun.send_replace(true);
            let _ = event_log::lock(&self.may_end).recv();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_end_waits_until_answers_that_no_client_takes_are_dropped() {
        let (address, admission, end, mut server) =
            server(Patience { ending: Duration::from_millis(50), ..PATIENCE }).await;
        let ((let_end, may_end), (has_begun, mut dropping)) = (mpsc::channel(), watch::channel(false));
        let slow = Arc::new(Mutex::new(Some(SlowEnd { has_begun, may_end: Mutex::new(may_end) })));
        let endless = move || {
            let slow = event_log::lock(&slow).take();
            let chunks = stream::repeat_with(move || {
                let _held = &slow;
                Ok::<_, Infallible>(Bytes::from_static(&[b'x'; LONG_WRITE]))
            });
            std::future::ready(axum::body::Body::from_stream(chunks))
        };
        server.router = Router::new().route("/held", get(endless));
        let serving = tokio::spawn(server.serve());
        let mut client = send(address, "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        client.read_exact(&mut [0; 16]).await.expect("the beginning of an answer");
        end.send_replace(true);
        let is_dropping = timeout(Duration::from_secs(30), dropping.wait_for(|dropping| *dropping)).await;
        assert!(is_dropping.is_ok_and(|dropping| dropping.is_ok()), "the connection is closed");
        // A server that did not wait would have ended by now.
        tokio::task::yield_now().await;
        assert!(!serving.is_finished(), "an answer is still being dropped");
        let_end.send(()).expect("the end of the answer");
        timeout(Duration::from_secs(30), serving).await.expect("the end").expect("no panic");
        assert_eq!(admission.open(), 0);
    }

    #[tokio::test]
    async fn a_client_that_has_closed_its_side_gets_its_answer() {
        let (address, _, _end) = start(PATIENCE).await;
        let mut client = send(address, "GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        client.shutdown().await.expect("close one side");
        assert!(read_to_end(client).await.len() > LONG);
    }

    #[tokio::test]
    async fn http_2_is_not_spoken() {
        let (address, _, _end) = start(PATIENCE).await;
        let mut client = send(address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0").await;
        let mut answer = Vec::new();
        let read = timeout(Duration::from_secs(30), client.read_to_end(&mut answer)).await;
        // A connection that ends with bytes unread is reset.
        let _ = read.expect("the connection ends");
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    }

    #[tokio::test]
    async fn a_refusal_arrives_while_the_body_is_still_being_sent() {
        let (address, admission, _end) = start(PATIENCE).await;
        // The handler reads no body.
        let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY_BYTES_MAX}\r\n\r\n");
        let mut client = send(address, &head).await;
        for _ in 0..BODY_BYTES_MAX / LONG_WRITE {
            client.write_all(&[b' '; LONG_WRITE]).await.expect("the server still reads");
        }
        assert!(read_to_end(client).await.ends_with("here"));
        let gone = async {
            while admission.open() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(30), gone).await.expect("the connection ends");
    }
}
