//! The file of an export: without a name in the temporary directory, so that it is gone once nobody
//! has it open, and when the process ends.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use axum::body::{Body, Bytes};
use chrono::{DateTime, Utc};
use command::Clock;
use futures::stream;
use http_api::QuotaShare;
use projector::export::{ExportFormat, OpenOutput, OutputPart};

use super::{FILE_LIFE, request::ExportRequest};

/// Longest file: some four times the log of a whole country as CSV.
const FILE_BYTES_MAX: u64 = 16 << 30;

/// Bytes that are read at once.
const PIECE_BYTES: u64 = 256 * 1024;

/// The file of an export that came to its end.
pub(super) struct ExportedFile {
    file: File,
    len: u64,
    /// The position that its rows are of.
    pub(super) position: u64,
    /// Until when it is kept.
    pub(super) kept_until: DateTime<Utc>,
    /// The name that it is offered under.
    pub(super) name: String,
    /// Its media type.
    pub(super) media_type: &'static str,
    /// The export in words, for the access log.
    pub(super) what: String,
    /// Whether it has no free texts.
    pub(super) without_texts: bool,
}

/// A file that an export is written to.
pub(super) struct FileInTheMaking {
    file: File,
    name: &'static str,
    format: ExportFormat,
    what: String,
    without_texts: bool,
}

impl FileInTheMaking {
    /// # Errors
    /// The temporary directory cannot be written to.
    pub(super) fn new(request: &ExportRequest) -> io::Result<Self> {
        let file = tempfile::tempfile()?;
        Ok(Self {
            file,
            name: request.subject.name(),
            format: request.format,
            what: request.describe(),
            without_texts: request.without_texts,
        })
    }

    /// The function that opens it for the export, once.
    ///
    /// # Errors
    /// The process has no room for another open file.
    pub(super) fn opener(&self) -> io::Result<impl OpenOutput + use<>> {
        let mut file = Some(self.file.try_clone()?);
        Ok(move |_: OutputPart| -> io::Result<Box<dyn Write + Send>> {
            let file = file.take().ok_or_else(|| io::Error::other("it has been opened before"))?;
            Ok(Box::new(BoundedFile { file, left: FILE_BYTES_MAX }))
        })
    }

    /// # Errors
    /// The file cannot be read.
    pub(super) fn complete(self, position: u64) -> io::Result<ExportedFile> {
        let media_type = match self.format {
            ExportFormat::Csv => "text/csv; charset=utf-8",
            ExportFormat::JsonLines => "application/jsonl",
            ExportFormat::Parquet => "application/vnd.apache.parquet",
        };
        Ok(ExportedFile {
            len: self.file.metadata()?.len(),
            file: self.file,
            position,
            kept_until: Clock::system().now() + FILE_LIFE,
            name: format!("{}-{position}.{}", self.name, self.format.ending()),
            media_type,
            what: self.what,
            without_texts: self.without_texts,
        })
    }
}

impl ExportedFile {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Its bytes, piece by piece as the client takes them.
    pub(super) fn body(self: Arc<Self>, share: QuotaShare) -> Body {
        Body::from_stream(stream::try_unfold((self, 0, share), async |(file, at, share)| {
            if at >= file.len {
                return Ok::<_, io::Error>(None);
            }
            let reader = Arc::clone(&file);
            let read = tokio::task::spawn_blocking(move || reader.piece(at)).await;
            let piece = read.map_err(io::Error::other)??;
            let next = at + piece.len() as u64;
            Ok(Some((piece, (file, next, share))))
        }))
    }

    fn piece(&self, at: u64) -> io::Result<Bytes> {
        let len = usize::try_from((self.len - at).min(PIECE_BYTES)).unwrap_or_default();
        let mut piece = vec![0; len];
        self.file.read_exact_at(&mut piece, at)?;
        Ok(piece.into())
    }
}

/// A file that takes so many more bytes.
struct BoundedFile {
    file: File,
    left: u64,
}

impl Write for BoundedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)? as u64;
        self.left = self.left.checked_sub(written).ok_or_else(|| {
            io::Error::other(format!("the file would be longer than {FILE_BYTES_MAX} bytes: use the command line"))
        })?;
        Ok(bytes.len().min(usize::try_from(written).unwrap_or(usize::MAX)))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
