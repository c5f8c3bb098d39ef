//! `.xlsx` workbooks.

use super::{archive, draw, draw_marks, relationships};

const STYLES: &str = "<styleSheet><fills><fill/><fill><patternFill patternType='gray125'/></fill>\
    <fill><patternFill patternType='solid'><fgColor rgb='FFFF0000'/></patternFill></fill></fills>\
    <cellXfs><xf numFmtId='0'/><xf numFmtId='14'/><xf numFmtId='0' fillId='2'/></cellXfs></styleSheet>";

/// A workbook with settings, shared texts, and sheets by name, state and content.
fn workbook(settings: &str, strings: &str, sheets: &[(&str, &str, &str)]) -> Vec<u8> {
    let mut tabs = String::new();
    let mut related = vec![("s".to_owned(), "sharedStrings", "sharedStrings.xml".to_owned())];
    related.push(("t".to_owned(), "styles", "/xl/styles.xml".to_owned()));
    let mut parts = Vec::new();
    for (index, (name, state, content)) in sheets.iter().enumerate() {
        tabs.push_str(&format!("<sheet name='{name}' sheetId='{index}' state='{state}' r:id='r{index}'/>"));
        related.push((format!("r{index}"), "worksheet", format!("worksheets\\Sheet{index}.xml")));
        parts.push((format!("xl/worksheets/sheet{index}.xml"), (*content).to_owned()));
    }
    let related: Vec<_> = related.iter().map(|(id, kind, target)| (&**id, *kind, &**target)).collect();
    parts.push(("_rels/.rels".to_owned(), relationships(&[("w", "officeDocument", "xl/workbook.xml")])));
    parts.push(("xl/workbook.xml".to_owned(), format!("<workbook>{settings}<sheets>{tabs}</sheets></workbook>")));
    parts.push(("xl/_rels/workbook.xml.rels".to_owned(), relationships(&related)));
    parts.push(("xl/sharedStrings.xml".to_owned(), strings.to_owned()));
    parts.push(("xl/styles.xml".to_owned(), STYLES.to_owned()));
    let parts: Vec<_> = parts.iter().map(|(name, content)| (&**name, content.as_bytes())).collect();
    archive(&parts)
}

/// A workbook of one sheet with these rows.
fn rows(rows: &str) -> Vec<u8> {
    sheet(&format!("<worksheet><sheetData>{rows}</sheetData></worksheet>"))
}

fn sheet(content: &str) -> Vec<u8> {
    workbook(
        "",
        "<sst><si><t>shared</t></si><si><r><t>in</t></r><r><t> parts</t></r></si></sst>",
        &[("One", "visible", content)],
    )
}

#[track_caller]
fn check(cells: &str, expected: &str) {
    assert_eq!(draw(&rows(&format!("<row r='1'>{cells}</row>"))), format!("[One]\n1: {expected}"));
}

#[test]
fn a_cell_of_every_type_is_read() {
    check("<c r='A1'><v>1.5</v></c><c r='C1' t='n'><v>485926</v></c>", "1.5||485926");
    check(
        "<c r='A1' t='s'><v>0</v></c><c t='s'><v>1</v></c><c t='s'><v/></c><c t='str'><v>a&amp;b</v></c>",
        "shared|in parts||a&b",
    );
    check("<c t='b'><v>1</v></c><c t='b'><v>false</v></c><c t='b'><v>maybe</v></c>", "TRUE|FALSE|maybe");
    check("<c t='inlineStr'><is><t>in_x000D_\nline</t></is><v>ignored</v></c>", "in\r\nline");
    check("<c s='1'><v>43647</v></c><c t='d'><v>2019-06-30T23:00:00Z</v></c>", "2019-07-01|2019-06-30T23:00:00Z");
    check(
        "<c><f>A1+1</f><v>2</v></c><c t='str'><f>\"v\"</f><v>text</v></c><c><f>A1</f></c><c><v>1</v></c>",
        "2|text||1",
    );
    check("<c t='new'><v>what</v></c><c t='n'><v>what</v></c><c s='99'><v>7</v></c>", "what|what|7");
}

#[test]
fn an_error_is_an_error_whatever_its_code_and_a_text_without_its_place_is_damage() {
    let codes = ["#N/A", "#SPILL!", "#CALC!", "#FIELD!", "#BLOCKED!", "#BUSY!", "#CONNECT!", "#UNKNOWN!", "#NEW?"];
    for code in codes {
        check(&format!("<c t='e'><v>{code}</v></c><c><v>1</v></c>"), &format!("{code}|1"));
    }
    for index in ["2", "99", "-1", "18446744073709551616", "x"] {
        check(&format!("<c t='s'><v>{index}</v></c><c><v>1</v></c>"), "#DAMAGED!|1");
    }
}

#[test]
fn a_row_or_cell_that_does_not_say_where_it_is_follows_the_one_before() {
    let bytes = rows(
        "<row><c><v>1</v></c><c><v>2</v></c></row><row/><row r='7'><c r='B7'><v>3</v></c><c><v>4</v></c></row>\
        <row><c><v>5</v></c></row>",
    );
    assert_eq!(draw(&bytes), "[One]\n1: 1|2\n7: |3|4\n8: 5");
}

#[test]
fn a_cell_far_outside_is_told_and_costs_nothing() {
    for place in ["XFD1048576", "A4294967295", "AAAAAAAAAA1", "A0", "ZZZ7", "XFD1"] {
        let bytes = rows(&format!("<row r='1'><c r='A1'><v>1</v></c></row><row><c r='{place}'><v>2</v></c></row>"));
        let sheets = super::sheets("test", &bytes).expect("sheets");
        assert_eq!(sheets[0].rows.len(), 1, "{place}");
        assert_eq!(sheets[0].rows[0].cells.len(), 1, "{place}");
        let remark = format!("1 cell far outside of the table, the first at {place}, was not read.");
        assert_eq!(sheets[0].marks.remarks, [remark]);
    }
    assert_eq!(draw(&rows("<row r='4294967296'><c><v>1</v></c></row><row r='2'><c><v>2</v></c></row>")), "[One]\n2: 2");
}

#[test]
fn the_marks_of_a_sheet_are_handed_on() {
    let bytes = workbook(
        "<workbookPr date1904='true'/>",
        "<sst/>",
        &[(
            "One",
            "veryHidden",
            "<worksheet><cols><col min='2' max='3' hidden='1'/></cols><sheetData>\
        <row r='1'><c r='A1'><v>1</v></c></row>\
        <row r='2' hidden='1'><c r='A2' s='2'><v>1</v></c><c r='B2'><v>2</v></c></row>\
        <row r='3'><c r='A3' s='1'><v>42185</v></c><c r='C3' s='2'/></row>\
        <row r='4' hidden='1'/></sheetData>\
        <mergeCells><mergeCell ref='B2:B4'/><mergeCell ref='odd'/><mergeCell ref='A1:XFD1'/></mergeCells></worksheet>",
        )],
    );
    assert_eq!(draw(&bytes), "[One] hidden\n1: 1\n2: 1|2\n3: 2019-07-01|2");
    assert_eq!(draw_marks(&bytes), "hidden rows {2}, hidden columns {1, 2}, coloured {2}, merged {3}, day zero 1462");
}

#[test]
fn a_sheet_that_cannot_be_read_says_why_and_takes_no_other_with_it() {
    let good = "<worksheet><sheetData><row><c><v>1</v></c></row></sheetData></worksheet>";
    let long = format!(
        "<worksheet><sheetData><row><c t='str'><v>{}</v></c></row></sheetData></worksheet>",
        "x".repeat(2 << 20)
    );
    let many = format!("<worksheet><sheetData>{}</sheetData></worksheet>", "<row><c><v>1</v></c></row>".repeat(50_001));
    for (content, reason) in [
        ("<worksheet><sheetData><row><c><v>1</v></c>", "it is damaged: its end is missing"),
        ("<worksheet><sheetData><row><c><v>1<", "it is damaged: "),
        ("<!DOCTYPE a><worksheet/>", "it has a document type"),
        (&long, "a text in it has more than 1 MiB"),
        (&many, "it has more than 50000 rows"),
    ] {
        let drawn = draw(&workbook("", "<sst/>", &[("Odd", "visible", content), ("Good", "visible", good)]));
        let (odd, rest) = drawn.split_once("\n[Good]").expect("the good sheet");
        assert!(odd.starts_with("[Odd]\nunread: ") && odd.contains(reason), "{odd}");
        assert_eq!(rest, "\n1: 1");
    }
}

#[test]
fn a_table_of_texts_that_is_cut_off_fails_only_the_sheets_that_need_more_of_it() {
    let cell =
        |index: u32| format!("<worksheet><sheetData><row><c t='s'><v>{index}</v></c></row></sheetData></worksheet>");
    let long = format!("<sst><si><t>a</t></si><si><t>{}</t></si></sst>", " ".repeat(2 << 20));
    for strings in ["<sst><si><t>a</t></si><si><t>b", &long] {
        let drawn = draw(&workbook("", strings, &[("One", "visible", &cell(0)), ("Two", "visible", &cell(1))]));
        let expected = "[One]\n1: a\n[Two]\nunread: the table of its texts cannot be read: ";
        assert!(drawn.starts_with(expected), "{drawn}");
    }
}

#[test]
fn many_copies_of_one_long_text_are_refused() {
    let strings = format!("<sst><si><t>{}</t></si></sst>", "x".repeat(32_767));
    let rows = "<row><c t='s'><v>0</v></c></row>".repeat(2_000);
    let content = format!("<worksheet><sheetData>{rows}</sheetData></worksheet>");
    let drawn = draw(&workbook("", &strings, &[("One", "visible", &content)]));
    assert_eq!(drawn, "[One]\nunread: its texts have more than 32 MiB: give the sheet of cases alone");
}

#[test]
fn a_tab_without_cells_is_none_of_the_sheets_and_one_without_a_part_is_unread() {
    let bytes = archive(&[
        (
            "xl/workbook.xml",
            b"<workbook><sheets><sheet name='Chart' r:id='c'/><sheet name='Gone' r:id='g'/>\
            <sheet name='Lost' r:id='l'/></sheets></workbook>",
        ),
        (
            "xl/_rels/workbook.xml.rels",
            relationships(&[("c", "chartsheet", "chart.xml"), ("g", "worksheet", "gone.xml")]).as_bytes(),
        ),
    ]);
    assert_eq!(
        draw(&bytes),
        "[Gone]\nunread: there is no part `xl/gone.xml`\n[Lost]\nunread: the workbook does not have it: is it damaged?"
    );
}
