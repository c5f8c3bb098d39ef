//! Reads a file into sheets of typed cells with their row numbers. It refuses to know what the
//! cells mean.
//!
//! | file | told by | read by |
//! |---|---|---|
//! | `.xlsx` | its first bytes, and its parts | `xlsx`, with `archive`, `xml`, `styles`, `escapes` |
//! | `.xlsb` | its first bytes, and its parts | `xlsb`, with `archive`, `binary` |
//! | `.ods` | its first bytes, and its parts | `ods`, with `archive`, `xml` |
//! | `.xls` | its first bytes | `xls`, with `compound`, `binary` |
//! | text with comma, semicolon or tab | having no such bytes | `delimited`, with `decode` |
//!
//! The content decides, not the file's name: a workbook saved as `.csv` is read as a workbook.
//!
//! A file is read in a process of its own (`apart`), cell by cell. `builder` puts the cells
//! together and has the limits. None of these trusts the file: not its lengths, not its ranges.

mod apart;
mod archive;
mod binary;
mod builder;
mod compound;
mod day;
mod decode;
mod delimited;
mod escapes;
mod ods;
mod sheet;
mod strings;
mod styles;
#[cfg(test)]
mod tests;
mod xls;
mod xlsb;
mod xlsx;
mod xml;

use std::{fs, io::Read as _, path::Path};

use anyhow::{Context as _, ensure};

pub use self::{
    apart::{ReadStop, answer_if_asked},
    sheet::{Cell, DAMAGED, DAY_ZERO_OF_1904, Marks, Row, Sheet, column_letters, refuse_unread},
};

/// The largest file in bytes. A prison's spreadsheet has some thousand rows and less than a
/// megabyte; a larger file is something else.
pub const FILE_LEN_MAX: u64 = 64 << 20;

/// The sheets of a file.
#[derive(Debug)]
pub struct File {
    /// The sheets in the order of their tabs, at least one.
    pub sheets: Vec<Sheet>,
}

/// Reads a file, in a process of its own.
///
/// # Errors
/// The file cannot be opened, is too large, takes too much to read, or has no rows and columns.
pub fn read(path: &Path) -> anyhow::Result<File> {
    let shown = path.display().to_string();
    let file = fs::File::open(path).with_context(|| format!("open {shown}: is the name right?"))?;
    let about = file.metadata().with_context(|| format!("open {shown}: is the name right?"))?;
    ensure!(about.is_file(), "{shown} is not a file: give a spreadsheet (.xlsx, .ods or .csv)");
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    read_opened(file, &shown, &name, &ReadStop::default())
}

/// Reads a file that is open, from its beginning, in a process of its own. `shown` names the file
/// in errors, and `name` is that of the sheet of a text.
///
/// # Errors
/// As [`read`], and where the reading is stopped.
pub fn read_opened(file: fs::File, shown: &str, name: &str, stop: &ReadStop) -> anyhow::Result<File> {
    let len = file.metadata().with_context(|| format!("measure {shown}"))?.len();
    ensure!(
        len <= FILE_LEN_MAX,
        "{shown} has {} MiB, too large for a spreadsheet of cases: give the file of one prison",
        len >> 20
    );
    // The programs of this crate's own tests and of the fuzzer are none that can be asked to read;
    // the tests of the program read apart.
    let read = if cfg!(any(test, fuzzing)) { read_here(name, file) } else { apart::read(name, file, stop) };
    let sheets = read.with_context(|| format!("read {shown} as a spreadsheet (.xlsx, .ods or .csv)"))?;
    let is_something = |sheet: &Sheet| !sheet.rows.is_empty() || sheet.marks.unread.is_some();
    ensure!(sheets.iter().any(is_something), "{shown} is empty: give a spreadsheet with rows");
    Ok(File { sheets })
}

fn read_here(name: &str, mut file: fs::File) -> anyhow::Result<Vec<Sheet>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).context("read the file")?;
    sheets(name, &bytes)
}

/// Reads the sheets of a file in this process.
fn sheets(name: &str, bytes: &[u8]) -> anyhow::Result<Vec<Sheet>> {
    if bytes.starts_with(compound::SIGNATURE) {
        return xls::sheets(bytes);
    }
    if !bytes.starts_with(b"PK\x03\x04") {
        return delimited::sheet(name, bytes).map(|sheet| vec![sheet]);
    }
    let mut archive = archive::Archive::open(bytes)?;
    if archive.has(xlsb::WORKBOOK) {
        xlsb::sheets(&mut archive)
    } else if archive.has("content.xml") {
        ods::sheets(&mut archive)
    } else {
        xlsx::sheets(&mut archive)
    }
}
