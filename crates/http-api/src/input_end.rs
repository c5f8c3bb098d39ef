//! The end of what a client sends.

use std::{sync::Arc, time::Duration};

use tokio::{io::Interest, net::TcpStream, time::sleep};

/// How often a connection with unread input is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

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

    /// Waits for it, also behind input that no one reads for now: a further request, or the message
    /// with which TLS ends.
    pub async fn wait(&self) {
        while matches!(self.0.peek(&mut [0]).await, Ok(1..)) && !self.is_closed().await {
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Whether the end is known to the system; called where there is input, so it does not wait.
    async fn is_closed(&self) -> bool {
        self.0.ready(Interest::READABLE).await.is_ok_and(|ready| ready.is_read_closed())
    }
}
