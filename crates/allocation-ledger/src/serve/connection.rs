//! Connections that end if the client takes nothing.
//!
//! A client that has stopped reading keeps its answer from ever being finished; and the task that
//! makes the answer is not asked for more, so it does not learn of the end. So a connection to
//! which nothing can be written for a while is given up, and sooner once the program is ending. A
//! client that takes a little now and then is given up, too, once its answer is overdue.

use std::{
    io::{self, IoSlice},
    net::Shutdown,
    os::fd::AsFd as _,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use event_log::lock;
use http_api::InputEnd;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::shutdown::wait_for_flag;

/// How long a connection may accept no bytes at the end before it is given up. A client that reads
/// at all reads within this time.
const STALLED_AT_END_MAX: Duration = Duration::from_secs(1);

/// A client's connection.
pub(super) struct ClientConnection {
    stream: Arc<TcpStream>,
    /// Becomes true when the program ends.
    ending: watch::Receiver<bool>,
    /// How long it may accept no bytes before it is given up.
    stalled_max: Duration,
    answer_deadline: AnswerDeadline,
    /// Set while a write is pending: ready when that has lasted too long.
    stalled: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl ClientConnection {
    pub(super) fn new(stream: TcpStream, ending: watch::Receiver<bool>, stalled_max: Duration) -> Self {
        Self {
            stream: Arc::new(stream),
            ending,
            stalled_max,
            answer_deadline: AnswerDeadline::default(),
            stalled: None,
        }
    }

    /// Tells whoever answers a request on this connection that the client sends no more.
    pub(super) fn input_end(&self) -> InputEnd {
        InputEnd::new(Arc::clone(&self.stream))
    }

    /// Tells the connection until when its answer must be taken.
    pub(super) fn answer_deadline(&self) -> AnswerDeadline {
        self.answer_deadline.clone()
    }

    /// The bytes that the client still sends after the last answer.
    pub(super) fn late_input(&self) -> LateInput {
        LateInput(Arc::clone(&self.stream))
    }

    /// The outcome of a write; an error once the connection has accepted nothing for too long.
    fn check_write(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let (ending, stalled_max, deadline) = (&self.ending, self.stalled_max, &self.answer_deadline);
        let stalled = self.stalled.get_or_insert_with(|| {
            let stalled_at = Instant::now() + stalled_max;
            let until = deadline.get().map_or(stalled_at, |deadline| deadline.min(stalled_at));
            Box::pin(wait_until_stalled(ending.clone(), until))
        });
        stalled.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Writes as soon as the stream takes bytes.
    fn poll_write_with(
        &mut self,
        context: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let written = loop {
            match self.stream.poll_write_ready(context) {
                Poll::Ready(Ok(())) => match write(&self.stream) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    written => break Poll::Ready(written),
                },
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.check_write(context, written)
    }
}

/// The bytes that a client still sends when nothing more is answered.
pub(super) struct LateInput(Arc<TcpStream>);

impl LateInput {
    /// Reads it to its end, or so many bytes of it.
    pub(super) async fn discard(self, bytes_max: usize) -> io::Result<()> {
        let mut buffer = [0; 8 * 1024];
        let mut left = bytes_max;
        while left > 0 {
            self.0.readable().await?;
            match self.0.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => left = left.saturating_sub(read),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// When the answer that a connection sends must have been taken; there is one at a time.
#[derive(Debug, Clone, Default)]
pub(super) struct AnswerDeadline(Arc<Mutex<Option<Instant>>>);

impl AnswerDeadline {
    /// Sets it for the next answer; `None` for one that may go on for ever.
    pub(super) fn set(&self, deadline: Option<Instant>) {
        *lock(&self.0) = deadline;
    }

    fn get(&self) -> Option<Instant> {
        *lock(&self.0)
    }
}

async fn wait_until_stalled(mut ending: watch::Receiver<bool>, until: Instant) {
    let at_end = async {
        wait_for_flag(&mut ending).await;
        sleep(STALLED_AT_END_MAX).await;
    };
    tokio::select! {
        () = at_end => {}
        () = sleep_until(until) => {}
    }
}

impl AsyncRead for ClientConnection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            std::task::ready!(self.stream.poll_read_ready(context))?;
            match self.stream.try_read(buffer.initialize_unfilled()) {
                Ok(read) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for ClientConnection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |stream| stream.try_write_vectored(parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nothing is kept back here.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A shared stream cannot be shut down, but its socket can.
        let socket = std::net::TcpStream::from(self.stream.as_fd().try_clone_to_owned()?);
        Poll::Ready(match socket.shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            shut => shut,
        })
    }
}
