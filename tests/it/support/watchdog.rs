//! Sees to it that what a test started ends with the test's process, also when that is killed.

use std::{
    ffi::OsStr,
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, Command, Stdio},
};

/// A shell that waits for a pipe to this process to close and then runs a script. The kernel closes the pipe when the
/// process ends in whatever way.
#[derive(Debug)]
pub struct Watchdog {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Watchdog {
    /// Sets a script, with what it finds as `$1` and so on.
    pub fn new(script: &str, arguments: &[&OsStr]) -> Self {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", &format!("cat >/dev/null\n{script}"), "sh"])
            .args(arguments)
            .current_dir("/")
            // Ctrl-C on the tests must not reach it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start a watchdog");
        Self { pipe: shell.stdin.take(), shell }
    }

    /// Ends it without running the script.
    pub fn dismiss(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

impl Drop for Watchdog {
    /// Runs the script, unless it was dismissed.
    fn drop(&mut self) {
        drop(self.pipe.take());
        // Waited for, so that it does not pile up as a dead process while the tests run.
        let _ = self.shell.wait();
    }
}
