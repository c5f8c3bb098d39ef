//! Asks whether a server listens on a socket, without waiting for it.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

use tokio::{net::UnixStream, runtime};

/// Whether a server listens on the socket. One that takes no connections, because it is stopped or
/// its queue is full, listens as well: a client that waited for it could wait for ever.
///
/// The caller must be on a thread that may block.
///
/// # Errors
/// The machine has no room for another socket, and does not answer.
pub(crate) fn has_listener(path: &Path) -> io::Result<bool> {
    // Tokio's sockets do not wait, which the standard library's do until the queue has room.
    let connected = runtime::Builder::new_current_thread().enable_io().build()?.block_on(UnixStream::connect(path));
    Ok(match connected {
        Ok(_) => true,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use tokio::{
        net::UnixSocket,
        task::{spawn_blocking, yield_now},
        time::timeout,
    };

    use super::*;

    /// A caller that waited would not come back: nothing takes the connections of the test.
    #[tokio::test]
    async fn a_server_that_takes_no_connections_is_one_that_listens() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let is_heard = async || {
            let path = path.clone();
            spawn_blocking(move || has_listener(&path)).await.expect("no panic").expect("an answer")
        };
        assert!(!is_heard().await, "there is no socket");
        let socket = UnixSocket::new_stream().expect("a socket");
        socket.bind(&path).expect("bind");
        assert!(!is_heard().await, "a socket on which no server listens yet");
        let server = socket.listen(1).expect("listen");
        let mut clients = Vec::new();
        while let Ok(client) = UnixStream::connect(&path).await {
            clients.push(client);
        }
        assert!(!clients.is_empty() && is_heard().await, "the queue is full");
        let tasks = || fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
        let before = tasks();
        for _ in 0..20 {
            assert!(is_heard().await, "the queue is full");
        }
        assert!(tasks() < before + 20, "each question leaves a thread behind");
        drop((server, clients));
        // A process that another test has just forked keeps the socket until it runs its program.
        let unheard = async {
            while is_heard().await {
                yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), unheard).await.expect("the socket of a dead server is not heard");
    }
}
