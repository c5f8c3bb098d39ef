//! Connections that do not hold up the end.
//!
//! A client that has stopped reading keeps its answer from ever being finished, and what makes the answer is not asked for
//! more, so it does not learn of the end either. So once the program is ending, a connection on which nothing can be written
//! for a while is given up.

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

/// How long nothing can be written to a connection before it is given up at the end. Whoever reads at all reads within this.
const STALLED_MAX: Duration = Duration::from_secs(1);

/// Takes connections that end with the program.
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
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Answers are small: waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        (Connection { stream, ending: self.ending.clone(), stalled: None, _open: Open::new(&self.open) }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A client's connection.
pub(super) struct Connection {
    stream: TcpStream,
    ending: watch::Receiver<bool>,
    /// Since something could not be written: when that has lasted too long.
    stalled: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _open: Open,
}

/// One of the connections counted as open, for as long as it exists.
struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Connection {
    /// What became of a write, unless it is hopeless.
    fn written(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let ending = &self.ending;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(stalled_at_the_end(ending.clone())));
        stalled.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

async fn stalled_at_the_end(mut ending: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is as good as the end.
    let _ = ending.wait_for(|ending| *ending).await;
    tokio::time::sleep(STALLED_MAX).await;
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.written(context, written)
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
