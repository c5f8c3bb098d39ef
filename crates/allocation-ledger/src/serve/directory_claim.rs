//! One `serve` at a time on a data directory.

use std::{
    fs::{self, File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use anyhow::{Context as _, bail};
use nix::unistd::Uid;

/// The right to serve a data directory, held by a lock that the kernel releases when the program
/// dies, however it dies.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
}

/// Claims a data directory for serving. Makes it where it does not exist.
///
/// # Errors
/// Another program serves it, and which; or the directory cannot be written.
pub fn claim(data_dir: &Path) -> anyhow::Result<Claim> {
    let mut lock = embedded_postgres::open_lock(data_dir, "serve").with_context(|| {
        format!("claim the data directory {}: choose one that you may write to with --data-dir", data_dir.display())
    })?;
    let path = data_dir.join("locks/serve");
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // A program that has only just taken the lock may not have written its process id yet.
            let holder = match lock.read_to_string(&mut holder) {
                Ok(1..) => format!(" (process {})", holder.trim()),
                Ok(0) | Err(_) => String::new(),
            };
            bail!(
                "another allocation-ledger{holder} is already serving the data directory {}: use that one, stop it \
                 first, or choose another directory with --data-dir",
                data_dir.display()
            );
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("take the lock {}", path.display()));
        }
    }
    lock.set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| writeln!(lock, "{}", std::process::id()))
        .with_context(|| format!("write the process id to the lock {}", path.display()))?;
    warn_if_open(data_dir)?;
    Ok(Claim { _lock: lock })
}

/// Warns of a data directory that other users may read or write. A new one is closed to them; the
/// mode of one that was there before is for its owner to change.
fn warn_if_open(data_dir: &Path) -> anyhow::Result<()> {
    let shown = data_dir.display();
    let mode = fs::metadata(data_dir).with_context(|| format!("look at {shown}"))?.mode() & 0o777;
    if mode & 0o066 != 0 {
        // Root starts Postgres as another user, who must pass through.
        let closed = if Uid::effective().is_root() { "711" } else { "700" };
        tracing::warn!(
            "other users of this machine may read or write the data directory {shown} (mode {mode:o}): close it to them \
             with `chmod {closed} {shown}`"
        );
    }
    Ok(())
}
