//! Files that are written are not looked for through symbolic links.

use std::{fs, path::Path};

use anyhow::ensure;

/// Refuses to write to a path that is a symbolic link: whoever made it may have done so to have
/// another file replaced.
///
/// # Errors
/// It is one.
pub fn refuse(path: &Path) -> anyhow::Result<()> {
    ensure!(
        !fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()),
        "{} is a symbolic link, and another file may be behind it: name the place that it leads to",
        path.display()
    );
    Ok(())
}
