//! The data directory and its locks. New ones are closed to other users, who could otherwise hold a
//! lock for ever.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// Makes the data directory, if it does not exist, and those above it. The directories above it get
/// the usual rights.
pub(crate) fn make(data_dir: &Path) -> io::Result<()> {
    if let Some(parent) = data_dir.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(data_dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && data_dir.is_dir() => Ok(()),
        made => made,
    }
}

/// Opens a lock of a data directory. Makes the directory, if it does not exist, and the lock.
///
/// # Errors
/// The directory or the file cannot be made or opened.
pub fn open_lock(data_dir: &Path, name: &str) -> anyhow::Result<File> {
    let locks_dir = locks_dir(data_dir);
    make(data_dir)
        .and_then(|()| make(&locks_dir))
        .with_context(|| format!("make the directory {}", locks_dir.display()))?;
    let path = locks_dir.join(name);
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("open the lock {}", path.display()))
}

fn locks_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("locks")
}
