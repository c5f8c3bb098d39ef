//! `.xls` workbooks.

use super::{draw, draw_marks};

const END: u32 = 0xffff_fffe;

/// A compound file with one stream, in sectors of 512 bytes: the table of chains, the directory,
/// then the stream.
fn compound(stream: &[u8], chain: impl Fn(u32, u32) -> u32) -> Vec<u8> {
    let mut stream = stream.to_vec();
    // A shorter stream would be in small sectors.
    stream.resize(stream.len().max(4_096).next_multiple_of(512), 0);
    let sectors = (stream.len() / 512) as u32;
    let mut header = super::super::compound::SIGNATURE.to_vec();
    header.resize(30, 0);
    header.extend(9_u16.to_le_bytes());
    header.resize(48, 0);
    for number in [1, 0, 4_096, END, 0, END, 0, 0] {
        header.extend(u32::to_le_bytes(number));
    }
    header.resize(512, 0xff);
    let mut table: Vec<u8> = [0xffff_fffd, chain(1, END)].into_iter().flat_map(u32::to_le_bytes).collect();
    for sector in 0..sectors {
        let next = if sector + 1 == sectors { END } else { sector + 3 };
        table.extend(chain(sector + 2, next).to_le_bytes());
    }
    assert!(table.len() <= 512, "one sector of chains is enough");
    table.resize(512, 0xff);
    let mut directory = vec![0; 128];
    let mut entry: Vec<u8> = "Workbook".encode_utf16().flat_map(u16::to_le_bytes).collect();
    entry.resize(116, 0);
    entry.extend(2_u32.to_le_bytes());
    entry.extend((stream.len() as u32).to_le_bytes());
    entry.resize(128, 0);
    directory.extend(entry);
    directory.resize(512, 0);
    [header, table, directory, stream].concat()
}

fn record(kind: u16, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    [&kind.to_le_bytes(), &(content.len() as u16).to_le_bytes(), &*content].concat()
}

fn cell(kind: u16, row: u16, column: u16, style: u16, value: &[u8]) -> Vec<u8> {
    record(kind, &[&row.to_le_bytes(), &column.to_le_bytes(), &style.to_le_bytes(), value])
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_le_bytes(), &[0][..], text.as_bytes()].concat()
}

/// The records of a workbook with sheets by name and records.
fn stream(settings: &[Vec<u8>], sheets: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let beginning = record(0x0809, &[&0x0600_u16.to_le_bytes(), &[5, 0]]);
    let red = [[0; 10].as_slice(), &(1_u32 << 26).to_le_bytes(), &10_u16.to_le_bytes()].concat();
    let mut book = [
        beginning.clone(),
        record(0x041e, &[&164_u16.to_le_bytes(), &text("dd/mm/yyyy")]),
        record(0x00e0, &[&[0; 20]]),
        record(0x00e0, &[&[0, 0], &164_u16.to_le_bytes(), &[0; 16]]),
        record(0x00e0, &[&[0; 4], &red]),
        settings.concat(),
    ]
    .concat();
    let list_len: usize = sheets.iter().map(|(name, _)| 12 + name.len()).sum::<usize>() + 4;
    let mut place = book.len() + list_len;
    let mut contents = Vec::new();
    for (name, records) in sheets {
        book.extend(record(0x0085, &[&(place as u32).to_le_bytes(), &[0, 0, name.len() as u8, 0], name.as_bytes()]));
        let content = [beginning.clone(), records.clone(), record(0x000a, &[])].concat();
        place += content.len();
        contents.extend(content);
    }
    book.extend(record(0x000a, &[]));
    book.extend(contents);
    book
}

fn whole(_: u32, next: u32) -> u32 {
    next
}

fn workbook(settings: &[Vec<u8>], sheets: &[(&str, Vec<u8>)]) -> Vec<u8> {
    compound(&stream(settings, sheets), whole)
}

#[test]
fn a_cell_of_every_type_is_read() {
    let shared = record(0x00fc, &[&[2, 0, 0, 0, 2, 0, 0, 0], &text("shared"), &[2, 0, 1, b'Z', 0, 0xeb, 0]]);
    let records = [
        cell(0x027e, 0, 0, 0, &(485_926_u32 << 2 | 2).to_le_bytes()),
        cell(0x0203, 0, 1, 1, &43_647_f64.to_le_bytes()),
        cell(0x0205, 0, 2, 0, &[1, 0]),
        cell(0x00fd, 0, 3, 0, &0_u32.to_le_bytes()),
        cell(0x00fd, 0, 4, 0, &1_u32.to_le_bytes()),
        cell(0x0204, 0, 5, 0, &text("own")),
        cell(0x0006, 0, 6, 0, &1.5_f64.to_le_bytes()),
        cell(0x0006, 0, 7, 0, &[0, 0, 0, 0, 0, 0, 0xff, 0xff]),
        record(0x04bc, &[&[0; 8]]),
        record(0x0207, &[&text("formula")]),
        cell(0x0006, 0, 8, 0, &[1, 0, 1, 0, 0, 0, 0xff, 0xff]),
        record(0x00bd, &[&[1, 0, 0, 0], &[0, 0, 6, 0, 0, 0], &[0, 0, 10, 0, 0, 0], &[1, 0]]),
    ]
    .concat();
    let bytes = workbook(&[shared], &[("One", records)]);
    assert_eq!(draw(&bytes), "[One]\n1: 485926|2019-07-01|TRUE|shared|Zë|own|1.5|formula|TRUE\n2: 1|2");
}

#[test]
fn a_shared_text_goes_over_the_end_of_its_record() {
    let shared = [
        record(0x00fc, &[&[2, 0, 0, 0, 2, 0, 0, 0], &[6, 0, 0], b"sha"]),
        // The rest of the text in two bytes a letter, and the next text with formatting.
        record(0x003c, &[&[1], b"r\0e\0d\0", &[3, 0, 8, 1, 0], b"two", &[0, 0]]),
        record(0x003c, &[&[0, 0]]),
    ]
    .concat();
    let records = [cell(0x00fd, 0, 0, 0, &0_u32.to_le_bytes()), cell(0x00fd, 0, 1, 0, &1_u32.to_le_bytes())].concat();
    assert_eq!(draw(&workbook(&[shared], &[("One", records)])), "[One]\n1: shared|two");
}

#[test]
fn an_error_is_an_error_whatever_its_code_and_a_text_without_its_place_is_damage() {
    let records = [
        cell(0x0205, 0, 0, 0, &[0x2a, 1]),
        cell(0x0006, 0, 1, 0, &[2, 0, 0x17, 0, 0, 0, 0xff, 0xff]),
        cell(0x0205, 0, 2, 0, &[0x99, 1]),
        cell(0x00fd, 0, 3, 0, &99_u32.to_le_bytes()),
        cell(0x0203, 0, 4, 0, &7_f64.to_le_bytes()),
    ]
    .concat();
    assert_eq!(draw(&workbook(&[], &[("One", records)])), "[One]\n1: #N/A|#REF!|#ERROR!|#DAMAGED!|7");
}

#[test]
fn a_text_that_goes_over_the_end_of_its_record_is_a_damaged_cell_alone() {
    let long = "x".repeat(9_000);
    let (here, rest) = long.split_at(8_000);
    let records = [
        cell(0x0006, 0, 0, 0, &[0, 0, 0, 0, 0, 0, 0xff, 0xff]),
        record(0x0207, &[&9_000_u16.to_le_bytes(), &[0], here.as_bytes()]),
        record(0x003c, &[&[0], rest.as_bytes()]),
        cell(0x0204, 0, 1, 0, &[&9_000_u16.to_le_bytes()[..], &[0], here.as_bytes()].concat()),
        cell(0x0204, 0, 2, 0, &text("next")),
    ]
    .concat();
    assert_eq!(draw(&workbook(&[], &[("One", records)])), "[One]\n1: #DAMAGED!|#DAMAGED!|next");
}

#[test]
fn the_marks_of_a_sheet_are_handed_on() {
    let number = 42_185_f64.to_le_bytes();
    let records = [
        record(0x007d, &[&[1, 0, 2, 0, 0, 0, 0, 0, 1, 0]]),
        record(0x0208, &[&[2, 0], &[0; 10], &[0x20, 0, 0, 0]]),
        cell(0x0203, 1, 0, 1, &number),
        cell(0x0204, 1, 2, 0, &text("merged")),
        cell(0x0203, 2, 0, 2, &number),
        cell(0x0203, 65_535, 255, 0, &number),
        record(0x00e5, &[&[1, 0, 1, 0, 2, 0, 2, 0, 2, 0]]),
    ]
    .concat();
    let bytes = workbook(&[record(0x0022, &[&[1, 0]])], &[("One", records)]);
    let drawn = draw(&bytes);
    assert!(drawn.starts_with("[One]\n2: 2019-07-01||merged\n3: 42185||merged\n65536: |"), "{drawn}");
    assert_eq!(draw_marks(&bytes), "hidden rows {3}, hidden columns {1, 2}, coloured {3}, merged {3}, day zero 1462");
}

#[test]
fn a_chart_in_a_sheet_is_no_part_of_its_cells() {
    let chart = [
        record(0x0809, &[&0x0600_u16.to_le_bytes(), &[0x20, 0]]),
        cell(0x0203, 0, 0, 0, &9_f64.to_le_bytes()),
        record(0x000a, &[]),
    ];
    let records = [chart.concat(), cell(0x0203, 0, 0, 0, &1_f64.to_le_bytes())].concat();
    assert_eq!(draw(&workbook(&[], &[("One", records)])), "[One]\n1: 1");
}

#[test]
fn a_sheet_that_cannot_be_read_says_why_and_takes_no_other_with_it() {
    let good = cell(0x0203, 0, 0, 0, &1_f64.to_le_bytes());
    let drawn = draw(&workbook(&[], &[("Odd", cell(0x0203, 0, 0, 0, &[1])), ("Good", good)]));
    assert_eq!(drawn, "[Odd]\nunread: it is damaged: a record is too short\n[Good]\n1: 1");
}

#[test]
fn a_workbook_before_excel_97_is_read_in_its_code_page() {
    let beginning = record(0x0809, &[&0x0500_u16.to_le_bytes(), &[5, 0]]);
    let sheet = [
        beginning.clone(),
        cell(0x0204, 0, 0, 0, &[&3_u16.to_le_bytes()[..], b"Zo\xeb"].concat()),
        record(0x000a, &[]),
    ]
    .concat();
    let place = (beginning.len() + 6 + 14 + 4) as u32;
    let book = [
        beginning,
        record(0x0042, &[&1_252_u16.to_le_bytes()]),
        record(0x0085, &[&place.to_le_bytes(), &[0, 0, 3], b"One"]),
        record(0x000a, &[]),
        sheet,
    ]
    .concat();
    assert_eq!(draw(&compound(&book, whole)), "[One]\n1: Zoë");
}

#[test]
fn a_file_that_is_damaged_or_protected_ends_with_the_reason() {
    let book = stream(&[], &[("One", Vec::new())]);
    for broken in [
        // A loop, a chain beyond the file, and files that end early.
        compound(&book, |sector, next| if sector == 1 { 1 } else { next }),
        compound(&book, |sector, next| if sector == 4 { 4_000_000 } else { next }),
        compound(&book, whole)[..700].to_vec(),
        compound(&book, whole)[..40].to_vec(),
    ] {
        let drawn = draw(&broken);
        assert!(drawn.starts_with("open the workbook: is it damaged?"), "{drawn}");
    }
    // A loop within the length that the stream is said to have.
    assert_eq!(draw(&compound(&book, |sector, next| if sector == 4 { 2 } else { next })), "[One]");
    let protected = draw(&workbook(&[record(0x002f, &[&[1, 0, 0, 0, 0, 0]])], &[("One", Vec::new())]));
    assert!(protected.contains("protected by a password"), "{protected}");
}
