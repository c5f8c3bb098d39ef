//! A clock for one process, which a test can set.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use chrono::TimeDelta;
use tempfile::TempDir;

/// A clock for one process, which the test can set.
pub struct FakeClock {
    directory: TempDir,
}

impl FakeClock {
    /// Builds the library that replaces the clock. The linker that Rust needs comes with a C
    /// compiler.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        let clock = Self { directory };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/support/clock.c");
        let built =
            Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(clock.library()).arg(source).status();
        assert!(built.expect("run the C compiler").success());
        clock.set(TimeDelta::zero());
        clock
    }

    /// Sets its difference from this machine's clock.
    pub fn set(&self, to_the_side: TimeDelta) {
        // Written in place, because the process has the file mapped.
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(self.file()).expect("a file");
        file.write_all_at(&to_the_side.num_seconds().to_ne_bytes(), 0).expect("set the clock");
    }

    fn library(&self) -> PathBuf {
        self.directory.path().join("clock.so")
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("seconds")
    }

    /// The environment of a process that is to have this clock.
    pub fn variables(&self) -> [(&'static str, String); 2] {
        let text = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
        [("LD_PRELOAD", text(self.library())), ("CLOCK_FILE", text(self.file()))]
    }
}
