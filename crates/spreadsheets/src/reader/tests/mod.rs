//! Workbooks of every kind that are built here, cell by cell: odd, damaged and too large.

mod ods;
mod xls;
mod xlsb;
mod xlsx;

use std::io::{Cursor, Write as _};

use zip::{ZipWriter, write::SimpleFileOptions};

use super::{Sheet, sheets};

/// An archive with these parts.
fn archive(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        archive.start_file(*name, SimpleFileOptions::default()).expect("a part");
        archive.write_all(content).expect("a part");
    }
    archive.finish().expect("an archive").into_inner()
}

/// The relationships of a part, by id, the last word of the type, and target.
fn relationships(of: &[(&str, &str, &str)]) -> String {
    let list: String = of
        .iter()
        .map(|(id, kind, target)| {
            format!(
                "<Relationship Id=\"{id}\" Type=\"http://schemas.example/relationships/{kind}\" Target=\"{target}\"/>"
            )
        })
        .collect();
    format!("<Relationships>{list}</Relationships>")
}

/// Draws the sheets of a file: the name of each, and its rows as `number: cells`, with `|` between
/// cells; or the reason why it could not be read.
fn draw(bytes: &[u8]) -> String {
    let sheets = match sheets("test", bytes) {
        Ok(sheets) => sheets,
        Err(error) => return format!("{error:#}"),
    };
    sheets.iter().map(draw_sheet).collect::<Vec<_>>().join("\n")
}

fn draw_sheet(sheet: &Sheet) -> String {
    let mut lines = vec![format!("[{}]{}", sheet.name, if sheet.hidden { " hidden" } else { "" })];
    lines.extend(sheet.marks.unread.iter().map(|reason| format!("unread: {reason}")));
    lines.extend(sheet.rows.iter().map(|row| {
        let cells: Vec<_> = row.cells.iter().map(ToString::to_string).collect();
        format!("{}: {}", row.number, cells.join("|"))
    }));
    lines.join("\n")
}

/// The marks of the first sheet of a file, in words.
fn draw_marks(bytes: &[u8]) -> String {
    let sheets = sheets("test", bytes).expect("sheets");
    let marks = &sheets[0].marks;
    format!(
        "hidden rows {:?}, hidden columns {:?}, coloured {:?}, merged {:?}, day zero {}",
        marks.hidden_rows, marks.hidden_columns, marks.coloured_rows, marks.merged_rows, marks.day_zero
    )
}

#[test]
fn an_archive_that_is_no_workbook_is_refused_by_what_it_is() {
    for (part, what) in [
        ("word/document.xml", "a document of a word processor"),
        ("ppt/presentation.xml", "a presentation"),
        ("Index/Document.iwa", "a file of Apple's Numbers"),
        ("holiday.jpg", "a zip archive without a workbook"),
    ] {
        let refused = draw(&archive(&[(part, b"<a/>")]));
        assert_eq!(refused, format!("it is {what}: save the sheet of cases as .xlsx, .ods or .csv"));
    }
    assert!(draw(b"PK\x03\x04 and nothing else").starts_with("open the workbook: is it damaged"));
}
