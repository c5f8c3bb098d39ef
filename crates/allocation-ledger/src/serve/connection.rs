//! Connections that do not hold up the end.
//!
//! A client that has stopped reading keeps its response from ever being finished; and the task that
//! makes the response is not asked for more, so it does not learn of the end. So once the program
//! is ending, a connection to which nothing can be written for a while is given up.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// How long a connection may accept no bytes at the end before it is given up. A client that reads
/// at all reads within this time.
const STALLED_MAX: Duration = Duration::from_secs(1);

/// Accepts connections that end with the program.
pub(super) struct EndingListener {
    listener: TcpListener,
    ending: watch::Receiver<bool>,
    open: Gauge,
}

impl EndingListener {
    /// `ending` becomes true when the program ends.
    pub(super) fn new(listener: TcpListener, ending: watch::Receiver<bool>) -> Self {
        Self { listener, ending, open: Gauge::default() }
    }

    /// Shows the number of open connections in a registry.
    pub(super) fn register_metrics(&self, registry: &mut Registry) {
        registry.register("http_connections_open", "Connections of clients", self.open.clone());
    }
}

impl Listener for EndingListener {
    type Io = ClientConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (ClientConnection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Answers are small: waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        (
            ClientConnection { stream, ending: self.ending.clone(), stalled: None, _open: OpenCount::new(&self.open) },
            address,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A client's connection.
pub(super) struct ClientConnection {
    stream: TcpStream,
    ending: watch::Receiver<bool>,
    /// Set while a write is pending: ready when that has lasted too long.
    stalled: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _open: OpenCount,
}

/// One of the connections counted as open, for as long as it exists.
struct OpenCount(Gauge);

impl OpenCount {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl ClientConnection {
    /// The outcome of a write; an error once the connection has accepted nothing for too long at
    /// the end.
    fn check_write(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let ending = &self.ending;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(wait_until_stalled(ending.clone())));
        stalled.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

async fn wait_until_stalled(mut ending: watch::Receiver<bool>) {
    // An error means that the sender is gone, which counts as the end.
    let _ = ending.wait_for(|ending| *ending).await;
    tokio::time::sleep(STALLED_MAX).await;
}

impl AsyncRead for ClientConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for ClientConnection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.check_write(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.check_write(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
