//! Asks whether a server listens on a socket, without waiting for it.

use std::{os::unix::net::UnixStream, path::Path, sync::mpsc, thread, time::Duration};

/// How long a client may wait to be connected before it counts as connected. Without a server, or
/// with one whose queue has room, it does not wait.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);

/// Whether a server listens on the socket. One that takes no connections, because it is stopped or
/// its queue is full, listens as well: a client that waited for it could wait for ever.
pub(crate) fn has_listener(path: &Path) -> bool {
    let (answer, answered) = mpsc::channel();
    let path = path.to_owned();
    // The thread may outlive the question, and ends with the server.
    thread::spawn(move || answer.send(UnixStream::connect(path).is_ok()));
    answered.recv_timeout(CONNECT_TIME_MAX).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixSocket;

    use super::*;

    /// A caller that waited would not come back: nothing takes the connections of the test.
    #[tokio::test]
    async fn a_server_that_takes_no_connections_is_one_that_listens() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        assert!(!has_listener(&path), "there is no socket");
        let socket = UnixSocket::new_stream().expect("a socket");
        socket.bind(&path).expect("bind");
        assert!(!has_listener(&path), "a socket on which no server listens yet");
        let server = socket.listen(1).expect("listen");
        let mut clients = Vec::new();
        while let Ok(client) = tokio::net::UnixStream::connect(&path).await {
            clients.push(client);
        }
        assert!(!clients.is_empty() && has_listener(&path), "the queue is full");
        drop((server, clients));
        assert!(!has_listener(&path), "the socket of a dead server");
    }
}
