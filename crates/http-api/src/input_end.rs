//! The end of what a client sends.

use std::{future::pending, sync::Arc};

use tokio::net::TcpStream;

/// Tells that a client has closed its side of the connection, or all of it. The server cannot tell
/// which, so an answer that ends by itself is still given; one that would go on for ever ends.
///
/// An extension of each request that came over a connection.
#[derive(Debug, Clone)]
pub struct InputEnd(Arc<TcpStream>);

impl InputEnd {
    /// The end of a connection's input.
    #[must_use]
    pub fn new(connection: Arc<TcpStream>) -> Self {
        Self(connection)
    }

    /// Waits for it. Behind a further request that has been sent already it is not seen.
    pub async fn wait(&self) {
        match self.0.peek(&mut [0]).await {
            Ok(0) | Err(_) => {}
            Ok(_) => pending().await,
        }
    }
}
