//! Hands pieces from the reader to the writer: a few ahead, on a thread of the writer's own.
//!
//! It is a thread and not a task of the runtime: a writer may wait for as long as it likes for a
//! pipe that no program reads, and that must not keep the program from ending. A table that was not
//! finished is not complete, and the writer is told so.

use std::io;

use tokio::sync::{mpsc, oneshot};

use super::ExportError;

/// Pieces that wait for the writer; bounds the memory.
const WAITING_MAX: usize = 4;

/// The reader's end.
pub(crate) struct Pipe<P, T> {
    pieces: mpsc::Sender<NextPiece<P>>,
    outcome: oneshot::Receiver<std::thread::Result<Result<T, ExportError>>>,
}

/// The writer's end.
pub(crate) struct PieceReceiver<P>(mpsc::Receiver<NextPiece<P>>);

enum NextPiece<P> {
    Some(P),
    Last,
}

impl<P: Send + 'static, T: Send + 'static> Pipe<P, T> {
    /// Starts the writer.
    pub(crate) fn new(
        write: impl FnOnce(PieceReceiver<P>) -> Result<T, ExportError> + Send + 'static,
    ) -> Result<Self, ExportError> {
        let (pieces, incoming) = mpsc::channel(WAITING_MAX);
        let (ended, outcome) = oneshot::channel();
        std::thread::Builder::new().name("export".to_owned()).spawn(move || {
            let write = std::panic::AssertUnwindSafe(|| write(PieceReceiver(incoming)));
            // The receiver is gone where the export was given up.
            let _ = ended.send(std::panic::catch_unwind(write));
        })?;
        Ok(Self { pieces, outcome })
    }

    /// Hands a piece over; false where the writer has failed and takes no more.
    pub(crate) async fn send(&self, piece: P) -> bool {
        self.pieces.send(NextPiece::Some(piece)).await.is_ok()
    }

    /// Lets the writer finish, and returns its answer.
    pub(crate) async fn finish(self) -> Result<T, ExportError> {
        // Where it takes no more, its answer says why.
        let _ = self.pieces.send(NextPiece::Last).await;
        drop(self.pieces);
        match self.outcome.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => Err(io::Error::other("the thread that writes has gone").into()),
        }
    }
}

impl<P> PieceReceiver<P> {
    /// The next piece; `None` after the last.
    ///
    /// # Errors
    /// [`ExportError::GivenUp`], where the reader went away before the last.
    pub(crate) fn next(&mut self) -> Result<Option<P>, ExportError> {
        match self.0.blocking_recv() {
            Some(NextPiece::Some(piece)) => Ok(Some(piece)),
            Some(NextPiece::Last) => Ok(None),
            None => Err(ExportError::GivenUp),
        }
    }
}
