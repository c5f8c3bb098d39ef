//! Workbooks as files, with any content.

use std::{io::Write as _, path::Path};

use zip::{ZipWriter, write::SimpleFileOptions};

/// Writes an archive with a part that repeats a piece between a beginning and an end.
pub fn archive(path: &Path, others: &[(&str, String)], part: &str, [start, piece, end]: [&str; 3], times: usize) {
    let mut archive = ZipWriter::new(std::fs::File::create(path).expect("a file"));
    for (name, content) in others {
        archive.start_file(*name, SimpleFileOptions::default()).expect("a part");
        archive.write_all(content.as_bytes()).expect("a part");
    }
    archive.start_file(part, SimpleFileOptions::default().compression_level(Some(1))).expect("a part");
    archive.write_all(start.as_bytes()).expect("a part");
    for _ in 0..times {
        archive.write_all(piece.as_bytes()).expect("a part");
    }
    archive.write_all(end.as_bytes()).expect("a part");
    archive.finish().expect("an archive");
}

/// Writes an `.ods` workbook of one sheet with these rows.
pub fn ods(path: &Path, rows: &str) {
    let content = format!(
        "<office:document-content><table:table table:name='Cases'>{rows}</table:table></office:document-content>"
    );
    archive(path, &[], "content.xml", [&content, "", ""], 0);
}
