//! The file for the refused rows of a sheet.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, ensure};

use crate::symbolic_link;

/// A file that will have the refused rows. It is opened before anything is recorded, so that a file
/// that cannot be written is told at once, and it keeps what it holds until the rows are known. A
/// file that was not there before, and gets no rows, is removed.
#[derive(Debug)]
pub struct RefusedFile<'a> {
    path: &'a Path,
    file: File,
    /// Whether the file was made by this import, and has no rows yet.
    is_new: bool,
}

impl<'a> RefusedFile<'a> {
    /// Opens the file for rows of `imported`.
    ///
    /// # Errors
    /// It cannot be written, or is the imported file itself.
    pub fn open(path: &'a Path, imported: &Path) -> anyhow::Result<Self> {
        let place = |path: &Path| path.canonicalize().ok();
        ensure!(
            place(path).is_none() || place(path) != place(imported),
            "--refused names {}, which is the file to import: name another file",
            path.display()
        );
        // A pipe that is reached by a link, such as `/dev/stdout`, is none of another's files.
        if fs::metadata(path).is_ok_and(|found| found.is_file()) {
            symbolic_link::refuse(path)?;
        }
        // The rows have names of people: the file is for its owner.
        let mut options = File::options();
        options.write(true).mode(0o600);
        let (opened, is_new) = match options.clone().create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (options.create(true).open(path), false),
            made => (made, true),
        };
        let file = opened.with_context(|| format!("create {} for the refused rows", path.display()))?;
        Ok(Self { path, file, is_new })
    }

    /// Writes the rows in the place of what the file held, and answers the sentence about them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(mut self, csv: &str) -> anyhow::Result<String> {
        let path = self.path;
        let failed = || format!("write to {}", path.display());
        // A pipe or a terminal has no length.
        if self.file.metadata().with_context(failed)?.is_file() {
            self.file.set_len(0).with_context(failed)?;
        }
        self.is_new = false;
        self.file.write_all(csv.as_bytes()).with_context(failed)?;
        Ok(format!("The refused rows are in {}, to be corrected and imported.", path.display()))
    }
}

impl Drop for RefusedFile<'_> {
    fn drop(&mut self) {
        if self.is_new {
            // An empty file would seem to say that no row was refused.
            let _ = fs::remove_file(self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_keeps_what_it_holds_until_the_rows_are_known() {
        let dir = tempfile::tempdir().expect("a directory");
        let imported = dir.path().join("cases.csv");
        fs::write(&imported, "cases").expect("write a file");
        let path = dir.path().join("refused.csv");
        let read = || fs::read_to_string(&path).expect("read the file");

        drop(RefusedFile::open(&path, &imported).expect("open a new file"));
        assert!(!path.exists(), "an import without an answer leaves no file");
        let new = RefusedFile::open(&path, &imported).expect("open a new file");
        let mode = fs::metadata(&path).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        new.write("the first rows").expect("write the rows");
        assert_eq!(read(), "the first rows");

        let old = RefusedFile::open(&path, &imported).expect("open an old file");
        assert_eq!(read(), "the first rows");
        drop(old);
        assert_eq!(read(), "the first rows");
        RefusedFile::open(&path, &imported).expect("open an old file").write("rows").expect("write the rows");
        assert_eq!(read(), "rows");

        let link = dir.path().join("link.csv");
        std::os::unix::fs::symlink(&path, &link).expect("make a link");
        let refused = RefusedFile::open(&link, &imported).expect_err("a link").to_string();
        assert!(refused.contains("is a symbolic link"), "{refused}");
        assert_eq!(read(), "rows");

        let same = RefusedFile::open(&imported, &imported).expect_err("the imported file");
        assert!(same.to_string().contains("which is the file to import"), "{same}");
        assert_eq!(fs::read_to_string(&imported).expect("read the file"), "cases");
    }
}
