//! A file that is brought to the disk while it is written: little is left to wait for at the end,
//! and a large export does not fill the machine's memory with unwritten pages.

use std::{
    fs::File,
    io::{self, Write},
    thread::JoinHandle,
};

/// Bytes that are brought to the disk at a time: some tenths of a second of a disk's work.
const STEP_BYTES: usize = 64 * 1024 * 1024;

/// A file being written.
pub(super) struct SyncedFile {
    file: File,
    step_bytes: usize,
    sync: fn(&File) -> io::Result<()>,
    /// Bytes written since the disk was last told to take them.
    written: usize,
    /// The sync in progress. Its error is kept for the writer: the system reports it once only.
    syncing: Option<JoinHandle<io::Result<()>>>,
}

impl SyncedFile {
    pub(super) fn new(file: File) -> Self {
        Self::with(file, STEP_BYTES, File::sync_data)
    }

    fn with(file: File, step_bytes: usize, sync: fn(&File) -> io::Result<()>) -> Self {
        Self { file, step_bytes, sync, written: 0, syncing: None }
    }

    /// Waits for the sync in progress, and answers its outcome.
    fn wait_for_disk(&mut self) -> io::Result<()> {
        match self.syncing.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(outcome)) => outcome,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

impl Write for SyncedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written >= self.step_bytes {
            self.wait_for_disk()?;
            self.written = 0;
            let (file, sync) = (self.file.try_clone()?, self.sync);
            self.syncing = Some(std::thread::Builder::new().name("sync".to_owned()).spawn(move || sync(&file))?);
        }
        let count = self.file.write(bytes)?;
        self.written += count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wait_for_disk()?;
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(_: &File) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    #[test]
    fn an_error_of_the_disk_reaches_the_writer() {
        let mut file = SyncedFile::with(tempfile::tempfile().expect("a file"), 10, full);
        file.write_all(&[0; 10]).expect("less than is brought to the disk");
        file.flush().expect("nothing was");
        file.write_all(&[0; 10]).expect("the disk is at work");
        let error = file.flush().expect_err("it has no room");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);

        let mut file = SyncedFile::with(tempfile::tempfile().expect("a file"), 10, full);
        let written = (0..4).try_for_each(|_| file.write_all(&[0; 10]));
        assert_eq!(written.expect_err("it has no room").kind(), io::ErrorKind::StorageFull);
    }
}
