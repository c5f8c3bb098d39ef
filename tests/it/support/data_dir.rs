//! Temporary data directories that are removed however a test ends.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::watchdog::Watchdog;

/// Stops the server on the directory, even one that was restarted meanwhile, and removes the
/// directory.
const CLEAR_UP: &str = r#"
for _ in 1 2 3; do
    pid=$(head -n 1 "$1/postgres/postmaster.pid" 2>/dev/null)
    [ -n "$pid" ] || break
    kill -QUIT "$pid" 2>/dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
done
# An `initdb` that lost its program goes on for a moment.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf "$1" && [ ! -e "$1" ] && break
    sleep 0.5
done
"#;

/// A temporary data directory. When it is dropped or this process ends in any way, a Postgres
/// server that still runs on it is stopped and the directory is removed.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _watchdog: Watchdog,
}

impl DataDir {
    /// Creates a directory among the temporary files.
    pub fn new() -> Self {
        let path = tempfile::Builder::new()
            .prefix("ledger-test-")
            // The server's user is not root and must be able to enter its own directories in it.
            .permissions(Permissions::from_mode(0o711))
            .tempdir()
            .expect("make a temporary directory")
            .keep();
        let watchdog = Watchdog::new(CLEAR_UP, &[path.as_os_str()]);
        Self { path, _watchdog: watchdog }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}
