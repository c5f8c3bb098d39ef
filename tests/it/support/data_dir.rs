//! A data directory of a test's own, and what sees to it that nothing of it stays behind.

use std::{
    fs::Permissions,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

/// Waits for its input to close, then ends the server on the directory and removes the directory.
const WATCHDOG: &str = r#"
cat >/dev/null
pid=$(head -n 1 "$1/postgres/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
    kill -QUIT "$pid" 2>/dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
fi
rm -rf "$1"
"#;

/// A temporary data directory.
///
/// A shell holds the reading end of a pipe to this process. When the value is dropped, or the process ends in whatever
/// way (also by `kill -9`), the pipe closes, and the shell ends a Postgres server that still runs on the directory and
/// removes the directory.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    // Dropped first, which closes the pipe.
    watched: Option<ChildStdin>,
    watchdog: Child,
}

impl DataDir {
    /// Makes one among the temporary files.
    pub fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// Makes one in a directory.
    pub fn within(parent: &Path) -> Self {
        let path = tempfile::Builder::new()
            .prefix("ledger-test-")
            // The server's user, which is not root, has to reach its own directories in it.
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(parent)
            .expect("make a temporary directory")
            .keep();
        let mut watchdog = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "sh"])
            .arg(&path)
            .current_dir("/")
            // Ctrl-C on the tests must not reach it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the watchdog");
        Self { path, watched: watchdog.stdin.take(), watchdog }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        drop(self.watched.take());
        // Waited for, so that it does not pile up as a dead process while the tests run.
        let _ = self.watchdog.wait();
    }
}
