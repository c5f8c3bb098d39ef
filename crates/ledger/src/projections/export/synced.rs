//! A file that is brought to the disk while it is written: at the end little is left to wait for, and a large export does
//! not fill the machine's memory with what the disk has yet to take.

use std::{
    fs::File,
    io::{self, Write},
    thread::JoinHandle,
};

/// Bytes that are brought to the disk at a time: some tenths of a second of a disk's work.
const STEP_BYTES: usize = 64 * 1024 * 1024;

/// A file being written.
pub(super) struct Synced {
    file: File,
    /// Bytes written since the disk was last told to take them.
    written: usize,
    /// The disk at work. Its error is kept for the writer: the system tells it once, and would then say that all is well.
    syncing: Option<JoinHandle<io::Result<()>>>,
}

impl Synced {
    pub(super) fn new(file: File) -> Self {
        Self { file, written: 0, syncing: None }
    }

    /// Waits for the disk, and answers what it said.
    fn synced(&mut self) -> io::Result<()> {
        match self.syncing.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(outcome)) => outcome,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

impl Write for Synced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count;
        if self.written >= STEP_BYTES {
            self.written = 0;
            self.synced()?;
            let file = self.file.try_clone()?;
            self.syncing = Some(std::thread::Builder::new().name("sync".to_owned()).spawn(move || file.sync_data())?);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.synced()?;
        self.file.flush()
    }
}
