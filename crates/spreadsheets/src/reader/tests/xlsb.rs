//! `.xlsb` workbooks.

use super::{archive, draw, draw_marks, relationships};

/// A record: its kind, its length, its bytes.
fn record(kind: u32, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut record = Vec::new();
    if kind < 0x80 {
        record.push(kind as u8);
    } else {
        record.extend([(kind & 0x7f) as u8 | 0x80, (kind >> 7) as u8]);
    }
    let mut len = content.len();
    while len >= 0x80 {
        record.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    record.push(len as u8);
    record.extend(content);
    record
}

fn text(text: &str) -> Vec<u8> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut bytes = (units.len() as u32).to_le_bytes().to_vec();
    bytes.extend(units.into_iter().flat_map(u16::to_le_bytes));
    bytes
}

fn row(number: u32, hidden: bool) -> Vec<u8> {
    record(0x00, &[&number.to_le_bytes(), &[0; 7], &[if hidden { 0x10 } else { 0 }, 0]])
}

fn cell(kind: u32, column: u32, style: u32, value: &[u8]) -> Vec<u8> {
    record(kind, &[&column.to_le_bytes(), &style.to_le_bytes(), value])
}

fn workbook(flags: u32, sheets: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut list = record(0x99, &[&flags.to_le_bytes(), &[0; 4]]);
    let mut related = vec![("s".to_owned(), "sharedStrings", "strings.bin".to_owned())];
    related.push(("t".to_owned(), "styles", "styles.bin".to_owned()));
    let mut parts = Vec::new();
    for (index, (name, content)) in sheets.iter().enumerate() {
        let id = format!("r{index}");
        list.extend(record(0x9c, &[&0_u32.to_le_bytes(), &[1, 0, 0, 0], &text(&id), &text(name)]));
        related.push((id, "worksheet", format!("sheet{index}.bin")));
        parts.push((format!("xl/sheet{index}.bin"), content.clone()));
    }
    let related: Vec<_> = related.iter().map(|(id, kind, target)| (&**id, *kind, &**target)).collect();
    let red = [[1, 0, 0, 0, 5, 0, 0, 0].as_slice(), &[0xff, 0, 0, 0xff]].concat();
    let styles = [
        record(0x2c, &[&164_u16.to_le_bytes(), &text("dd/mm/yyyy")]),
        record(0x25b, &[]),
        record(0x2d, &[&[0; 16]]),
        record(0x2d, &[&red]),
        record(0x25c, &[]),
        record(0x269, &[]),
        record(0x2f, &[&[0; 16]]),
        record(0x2f, &[&[0, 0], &164_u16.to_le_bytes(), &[0, 0, 0, 0]]),
        record(0x2f, &[&[0, 0, 0, 0, 0, 0, 1, 0]]),
        record(0x26a, &[]),
    ];
    parts.push(("xl/styles.bin".to_owned(), styles.concat()));
    parts.push(("xl/strings.bin".to_owned(), record(0x13, &[&[0], &text("shared")])));
    parts.push(("xl/workbook.bin".to_owned(), list));
    parts.push(("xl/_rels/workbook.bin.rels".to_owned(), relationships(&related).into_bytes()));
    let parts: Vec<_> = parts.iter().map(|(name, content)| (&**name, &**content)).collect();
    archive(&parts)
}

fn data(records: &[Vec<u8>]) -> Vec<u8> {
    [record(0x91, &[]), records.concat(), record(0x92, &[])].concat()
}

#[test]
fn a_cell_of_every_type_is_read() {
    let sheet = data(&[
        row(0, false),
        cell(0x02, 0, 0, &(485_926_u32 << 2 | 2).to_le_bytes()),
        cell(0x02, 1, 1, &(43_647_u32 << 2 | 2).to_le_bytes()),
        cell(0x04, 2, 0, &[1]),
        cell(0x05, 3, 0, &1.5_f64.to_le_bytes()),
        cell(0x06, 4, 0, &text("own")),
        cell(0x07, 5, 0, &0_u32.to_le_bytes()),
        cell(0x08, 6, 0, &[&*text("formula"), &[0; 6]].concat()),
        cell(0x3e, 7, 0, &[&[0], &*text("rich")].concat()),
        cell(0x01, 8, 0, &[]),
    ]);
    let bytes = workbook(0, &[("One", sheet)]);
    assert_eq!(draw(&bytes), "[One]\n1: 485926|2019-07-01|TRUE|1.5|own|shared|formula|rich");
}

#[test]
fn an_error_is_an_error_whatever_its_code_and_a_text_without_its_place_is_damage() {
    let sheet = data(&[
        row(0, false),
        cell(0x03, 0, 0, &[0x2a]),
        cell(0x0b, 1, 0, &[0x17, 0, 0]),
        cell(0x03, 2, 0, &[0x99]),
        cell(0x07, 3, 0, &99_u32.to_le_bytes()),
        cell(0x05, 4, 0, &7_f64.to_le_bytes()),
    ]);
    assert_eq!(draw(&workbook(0, &[("One", sheet)])), "[One]\n1: #N/A|#REF!|#ERROR!|#DAMAGED!|7");
}

#[test]
fn the_marks_of_a_sheet_are_handed_on() {
    let number = 42_185_f64.to_le_bytes();
    let sheet = [
        record(0x3c, &[&1_u32.to_le_bytes(), &2_u32.to_le_bytes(), &[0; 8], &[1, 0]]),
        data(&[
            row(1, false),
            cell(0x05, 0, 1, &number),
            cell(0x06, 2, 0, &text("merged")),
            row(2, true),
            cell(0x05, 0, 2, &number),
            row(1_048_575, false),
            cell(0x05, 16_383, 0, &number),
        ]),
        record(0xb0, &[&1_u32.to_le_bytes(), &2_u32.to_le_bytes(), &2_u32.to_le_bytes(), &2_u32.to_le_bytes()]),
    ]
    .concat();
    let bytes = workbook(1, &[("One", sheet)]);
    assert_eq!(draw(&bytes), "[One]\n2: 2019-07-01||merged\n3: 42185||merged");
    assert_eq!(draw_marks(&bytes), "hidden rows {3}, hidden columns {1, 2}, coloured {3}, merged {3}, day zero 1462");
}

#[test]
fn a_sheet_that_cannot_be_read_says_why_and_takes_no_other_with_it() {
    let good = data(&[row(0, false), cell(0x05, 0, 0, &1_f64.to_le_bytes())]);
    let long = [record(0x91, &[]), vec![0x06, 0xff, 0xff, 0xff, 0x7f]].concat();
    for (sheet, reason) in [
        (good[..good.len() - 2].to_vec(), "its end is missing"),
        (good[..good.len() - 6].to_vec(), "its end is missing"),
        (data(&[row(0, false), cell(0x05, 0, 0, &[1, 2])]), "a record is too short"),
        (data(&[row(0, false), cell(0x06, 0, 0, &[0xff, 0xff, 0xff, 0x7f])]), "a record is too short"),
        (long, "a text in it has more than 1 MiB"),
    ] {
        let drawn = draw(&workbook(0, &[("Odd", sheet), ("Good", good.clone())]));
        let (odd, rest) = drawn.split_once("\n[Good]").expect("the good sheet");
        assert!(odd.starts_with("[Odd]\nunread: ") && odd.contains(reason), "{odd}");
        assert_eq!(rest, "\n1: 1");
    }
}
