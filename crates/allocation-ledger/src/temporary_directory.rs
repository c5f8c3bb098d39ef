//! Temporary data directories.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::Context as _;
use tempfile::TempDir;

/// Makes a directory that the embedded Postgres can work in. Dropping it removes it.
///
/// # Errors
/// The directory cannot be made.
pub fn temporary_directory(prefix: &str) -> anyhow::Result<TempDir> {
    let directory = tempfile::Builder::new().prefix(prefix).tempdir().context("make a temporary directory")?;
    // Only its maker can enter a temporary directory at first; the user that Postgres runs as must,
    // too.
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711))
        .context("open the temporary directory to Postgres")?;
    Ok(directory)
}
