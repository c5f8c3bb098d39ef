//! Ends the servers that a test started when the test's process ends, even if it is killed.

use std::{
    ffi::OsStr,
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, Command, Stdio},
};

/// A shell that waits until a pipe from this process closes, and then runs a script. The kernel
/// closes the pipe when the process ends in any way.
#[derive(Debug)]
pub struct Watchdog {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Watchdog {
    /// Starts a shell for a script, with its arguments as `$1` and so on.
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
    /// Runs the script, unless the watchdog was dismissed.
    fn drop(&mut self) {
        drop(self.pipe.take());
        // Waited for, so that it does not stay as a dead process while the tests run.
        let _ = self.shell.wait();
    }
}
