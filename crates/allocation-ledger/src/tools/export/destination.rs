//! The destination of an export. The name asked for never holds half an export.
//!
//! A file is written under a temporary name beside the one asked for, brought to the disk, and
//! renamed only then. If anything fails before, the temporary file is removed and an older file
//! keeps its name. A directory of files is replaced likewise. A device or a pipe is written to
//! directly; where the export must not wait for the reader there, it goes to a temporary file
//! first.

use std::{
    fmt,
    fs::{self, File, Permissions},
    io::{self, Seek as _, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, anyhow, bail};
use projector::export::{ExportFormat, OpenOutput, OutputPart};
use tempfile::{NamedTempFile, TempDir};

use super::synced_file::SyncedFile;
use crate::{export_subject::all_sources, stdout, symbolic_link};

/// The destination of an export. Dropped before it is complete, it leaves nothing behind.
pub(super) enum Destination {
    /// Standard output, or a device or a pipe.
    Stream {
        to: StreamTarget,
        /// Holds the whole export until it is sent.
        spool: Option<File>,
    },
    File {
        temporary: NamedTempFile,
        path: PathBuf,
    },
    Directory {
        temporary: TempDir,
        path: PathBuf,
        format: ExportFormat,
        /// Of the files in it.
        mode: FileMode,
        /// Of the directory, once it is complete.
        permissions: Permissions,
    },
}

/// The files of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DirectoryLayout {
    /// A directory for each month, with one file.
    Months,
    /// A file for each table, with its name.
    Tables,
}

/// A target that is written to directly.
#[derive(Clone)]
pub(super) enum StreamTarget {
    Stdout,
    Special(PathBuf),
}

impl StreamTarget {
    fn open(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match self {
            Self::Stdout => stdout::unlocked(),
            Self::Special(path) => Box::new(File::options().write(true).open(path)?),
        })
    }
}

/// The permissions of new files. An export has names of people, so it is for its owner unless the
/// owner says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileMode(u32);

impl FileMode {
    /// A directory can be entered by those who may read its files.
    fn of_directory(self) -> u32 {
        self.0 | (self.0 & 0o444) >> 2
    }
}

impl Default for FileMode {
    fn default() -> Self {
        Self(0o600)
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04o}", self.0)
    }
}

impl FromStr for FileMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && mode & 0o600 == 0o600);
        mode.map(Self).ok_or("write the mode as `chmod` does, with reading and writing for yourself, e.g. 0640")
    }
}

impl Destination {
    pub(super) fn stdout() -> Self {
        Self::Stream { to: StreamTarget::Stdout, spool: None }
    }

    /// The same destination with a spool, so that a slow reader does not hold up the export.
    pub(super) fn with_spool(self) -> anyhow::Result<Self> {
        match self {
            Self::Stream { to, .. } => {
                let spool = tempfile::tempfile().context("make a temporary file for what is to be sent")?;
                Ok(Self::Stream { to, spool: Some(spool) })
            }
            output => Ok(output),
        }
    }

    /// A file, which may be there already: it then keeps its permissions.
    pub(super) fn file(path: &Path, mode: FileMode) -> anyhow::Result<Self> {
        let path = path.to_owned();
        let found = fs::metadata(&path).ok();
        match &found {
            Some(found) if found.is_dir() => {
                bail!("{} is a directory: name a file in it, such as {0}/export.parquet", path.display())
            }
            Some(found) if !found.is_file() => {
                return Ok(Self::Stream { to: StreamTarget::Special(path), spool: None });
            }
            Some(_) | None => symbolic_link::refuse(&path)?,
        }
        let permissions = found.map_or_else(|| Permissions::from_mode(mode.0), |found| found.permissions());
        let temporary = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(parent(&path));
        let temporary = temporary.map_err(|error| cannot_begin(&path, error))?;
        temporary.as_file().set_permissions(permissions).with_context(|| cannot_write(&path))?;
        Ok(Self::File { temporary, path })
    }

    /// A directory of files. Only one that an export of the same layout has made is replaced.
    /// It then keeps its permissions.
    pub(super) fn directory(
        path: &Path,
        layout: DirectoryLayout,
        format: ExportFormat,
        mode: FileMode,
    ) -> anyhow::Result<Self> {
        symbolic_link::refuse(path)?;
        let path = path.to_owned();
        let found = fs::metadata(&path).ok();
        if let Some(found) = &found {
            if !found.is_dir() {
                bail!("{} is a file, and this export is a directory of files: name another", path.display());
            }
            if let Some(other) =
                not_of_an_export(&path, layout).with_context(|| format!("look into {}", path.display()))?
            {
                bail!(
                    "{} holds {}, which no such export has made: name a directory that is empty or not there yet",
                    path.display(),
                    other.display()
                );
            }
        }
        let permissions =
            found.map_or_else(|| Permissions::from_mode(mode.of_directory()), |found| found.permissions());
        let temporary = temporary_directory(&path).map_err(|error| cannot_begin(&path, error))?;
        Ok(Self::Directory { temporary, path, format, mode, permissions })
    }

    /// The function that opens the files that the export writes to.
    pub(super) fn opener(&self) -> impl OpenOutput + use<> {
        enum Opener {
            Stream(StreamTarget),
            File(io::Result<Box<dyn Write + Send>>),
            Directory(PathBuf, ExportFormat, FileMode),
        }
        let mut opener = match self {
            Self::Stream { to, spool: None } => Opener::Stream(to.clone()),
            Self::Stream { spool: Some(spool), .. } => Opener::File(spool.try_clone().map(|file| Box::new(file) as _)),
            Self::File { temporary, .. } => {
                Opener::File(temporary.as_file().try_clone().map(|file| Box::new(SyncedFile::new(file)) as _))
            }
            Self::Directory { temporary, format, mode, .. } => {
                Opener::Directory(temporary.path().to_owned(), *format, *mode)
            }
        };
        move |part: OutputPart| -> io::Result<Box<dyn Write + Send>> {
            Ok(match &mut opener {
                Opener::Stream(stream) => stream.open()?,
                Opener::File(file) => std::mem::replace(file, Err(io::Error::other("it has been opened before")))?,
                Opener::Directory(directory, format, mode) => {
                    let (directory, stem) = match part {
                        OutputPart::Table(name) => (directory.clone(), name),
                        OutputPart::Month(month) => {
                            let month = directory.join(format!("{MONTH}{}", month.format("%Y-%m")));
                            fs::create_dir(&month)?;
                            fs::set_permissions(&month, Permissions::from_mode(mode.of_directory()))?;
                            (month, FILE_STEM)
                        }
                    };
                    let file = File::create_new(directory.join(file_name(stem, *format)))?;
                    file.set_permissions(Permissions::from_mode(mode.0))?;
                    Box::new(SyncedFile::new(file))
                }
            })
        }
    }

    /// Renames the output, once it is on the disk, or sends the spool.
    ///
    /// # Errors
    /// An [`io::Error`] at the root, where it cannot be written.
    pub(super) async fn complete(self) -> anyhow::Result<()> {
        let (ended, outcome) = tokio::sync::oneshot::channel();
        // The disk may take a while, and the reader as long as it likes, so this is on a thread
        // that the program's end does not wait for.
        std::thread::spawn(move || ended.send(self.complete_now()));
        outcome.await.context("complete the output")?
    }

    fn complete_now(self) -> anyhow::Result<()> {
        match self {
            Self::Stream { spool: None, .. } => Ok(()),
            Self::Stream { to, spool: Some(mut spool) } => {
                spool.rewind().context("read the temporary file")?;
                let mut stream = to.open()?;
                io::copy(&mut spool, &mut stream)?;
                Ok(stream.flush()?)
            }
            Self::File { temporary, path } => {
                let done = temporary.as_file().sync_all().and_then(|()| Ok(temporary.persist(&path)?));
                done.and_then(|_| sync_directory(parent(&path))).with_context(|| cannot_write(&path))
            }
            Self::Directory { temporary, path, permissions, .. } => fs::set_permissions(temporary.path(), permissions)
                .and_then(|()| sync_tree(temporary.path()))
                .and_then(|()| replace_directory(temporary, &path))
                .and_then(|()| sync_directory(parent(&path)))
                .with_context(|| cannot_write(&path)),
        }
    }
}

/// Begins the name of each month's directory, as tools that read such directories expect.
const MONTH: &str = "month=";

/// The name of the file in it, without its ending.
const FILE_STEM: &str = "events";

fn cannot_write(path: &Path) -> anyhow::Error {
    anyhow!("write {}", path.display())
}

/// Why no file can be made beside a path. Leaves out the temporary name, which would only confuse.
fn cannot_begin(path: &Path, error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::NotFound => {
            anyhow!("there is no directory {}: make it, or name another", parent(path).display())
        }
        kind => anyhow!("cannot write in the directory {}: {kind}", parent(path).display()),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The beginning of temporary names. It tells where they come from, should the machine fail and
/// leave them behind.
const TEMPORARY_PREFIX: &str = ".allocation-ledger-export-";

/// A temporary directory beside a path, for its owner alone.
fn temporary_directory(path: &Path) -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX).permissions(Permissions::from_mode(0o700)).tempdir_in(parent(path))
}

/// Something in a directory that no export of the layout has put there.
fn not_of_an_export(directory: &Path, layout: DirectoryLayout) -> io::Result<Option<PathBuf>> {
    match layout {
        DirectoryLayout::Tables => not_of_all_tables(directory),
        DirectoryLayout::Months => not_of_months(directory),
    }
}

fn not_of_all_tables(directory: &Path) -> io::Result<Option<PathBuf>> {
    // Tables that are there without the others were exported one by one.
    let is_exported_in = |format: &ExportFormat| {
        all_sources().iter().all(|source| directory.join(file_name(source.name(), *format)).is_file())
    };
    let exported = ExportFormat::ALL.into_iter().find(is_exported_in);
    let of_export = |format| all_sources().into_iter().map(move |source| file_name(source.name(), format));
    let names: Vec<String> = exported.into_iter().flat_map(of_export).collect();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_type()?.is_file() || names.iter().all(|name| entry.file_name() != name.as_str()) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

fn not_of_months(directory: &Path) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || !entry.file_name().to_string_lossy().starts_with(MONTH) {
            return Ok(Some(entry.path()));
        }
        for entry in fs::read_dir(entry.path())? {
            let file = entry?.path();
            if file.file_stem().is_none_or(|stem| stem != FILE_STEM) {
                return Ok(Some(file));
            }
        }
    }
    Ok(None)
}

/// The name of a file of a directory.
fn file_name(stem: &str, format: ExportFormat) -> String {
    format!("{stem}.{}", format.ending())
}

/// Puts a finished directory in the place of another one, if there is one. That is moved away first
/// and removed last: a directory, unlike a file, cannot be replaced in one step.
fn replace_directory(finished: TempDir, path: &Path) -> io::Result<()> {
    let old = temporary_directory(path)?;
    let is_moved = path.exists();
    if is_moved {
        fs::rename(path, old.path())?;
    }
    if let Err(error) = fs::rename(finished.path(), path) {
        if is_moved && fs::rename(old.path(), path).is_err() {
            // The old export is better kept under the temporary name than deleted.
            let _ = old.keep();
        }
        return Err(error);
    }
    // The directory has moved, so there is nothing to delete under the temporary name.
    let _ = finished.keep();
    Ok(())
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn sync_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_directory(directory)
}
