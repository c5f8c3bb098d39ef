//! `.ods` workbooks.

use super::{archive, draw, draw_marks};

fn content(styles: &str, body: &str) -> Vec<u8> {
    let content = format!(
        "<office:document-content><office:automatic-styles>{styles}</office:automatic-styles><office:body>\
         <office:spreadsheet>{body}</office:spreadsheet></office:body></office:document-content>"
    );
    archive(&[("mimetype", b"application/vnd.oasis.opendocument.spreadsheet"), ("content.xml", content.as_bytes())])
}

fn rows(rows: &str) -> Vec<u8> {
    content("", &format!("<table:table table:name='One'>{rows}</table:table>"))
}

#[track_caller]
fn check(cells: &str, expected: &str) {
    assert_eq!(draw(&rows(&format!("<table:table-row>{cells}</table:table-row>"))), format!("[One]\n1: {expected}"));
}

#[test]
fn a_cell_of_every_type_is_read() {
    let text = |text: &str| format!("<table:table-cell office:value-type='string'>{text}</table:table-cell>");
    check(
        &text("<text:p>a<text:s text:c='2'/>b<text:tab/>c</text:p><text:p>d &amp; <text:span>e</text:span></text:p>"),
        "a  b\tc\nd & e",
    );
    check(&text("<office:annotation><text:p>a note</text:p></office:annotation><text:p>a</text:p>"), "a");
    check(&text("<draw:frame><text:p>a picture</text:p></draw:frame><text:p>a</text:p>"), "a");
    check(
        "<table:table-cell office:value-type='float' office:value='485926'><text:p>485,926</text:p></table:table-cell>",
        "485926",
    );
    check(
        "<table:table-cell office:value-type='date' office:date-value='2019-07-01'><text:p>1 July</text:p></table:table-cell>",
        "2019-07-01",
    );
    check("<table:table-cell office:value-type='boolean' office:boolean-value='true'/>", "TRUE");
    check(
        "<table:table-cell office:value-type='string' office:string-value='a'><text:p>b</text:p></table:table-cell>",
        "a",
    );
    check("<table:table-cell><text:p>untyped</text:p></table:table-cell>", "untyped");
    check("<table:table-cell office:value-type='float' office:value='odd'><text:p>7</text:p></table:table-cell>", "7");
}

#[test]
fn an_error_is_an_error_whatever_type_it_is_said_to_have() {
    for (attributes, shown, expected) in [
        ("office:value-type='string' office:string-value='' calcext:value-type='error'", "#N/A", "#N/A"),
        ("office:value-type='float' office:value='0'", "#DIV/0!", "#DIV/0!"),
        ("office:value-type='string' office:string-value='' calcext:value-type='error'", "Err:508", "#ERROR!"),
        ("office:value-type='float' office:value='0'", "Err:522", "#ERROR!"),
    ] {
        check(&format!("<table:table-cell {attributes}><text:p>{shown}</text:p></table:table-cell>"), expected);
    }
}

#[test]
fn repeated_cells_and_rows_are_as_many_as_are_filled() {
    let cell = "<table:table-cell office:value-type='float' office:value='1' table:number-columns-repeated='2'/>";
    let bytes = rows(&format!(
        "<table:table-header-rows><table:table-row>{cell}</table:table-row></table:table-header-rows>\
         <table:table-row table:number-rows-repeated='1048570'><table:table-cell table:number-columns-repeated='16384'/>\
         </table:table-row>\
         <table:table-row table:number-rows-repeated='2'><table:table-cell table:number-columns-repeated='3'/>{cell}\
         </table:table-row><table:table-row table:number-rows-repeated='4294967295'><table:table-cell/></table:table-row>\
         <table:table-row table:number-rows-repeated='2'>{cell}</table:table-row>"
    ));
    assert_eq!(draw(&bytes), "[One]\n1: 1|1\n1048572: |||1|1\n1048573: |||1|1");
}

#[test]
fn a_sheet_beyond_the_limits_says_so_and_takes_no_other_with_it() {
    let cell = "<table:table-cell office:value-type='float' office:value='1'/>";
    let wide = "<table:table-cell office:value-type='float' office:value='1' table:number-columns-repeated='16384'/>";
    for (row, reason) in [(cell, "more than 50000 rows"), (wide, "more than 1000000 cells")] {
        let bytes = content(
            "",
            &format!(
                "<table:table table:name='Odd'><table:table-row table:number-rows-repeated='1048576'>{row}\
                 </table:table-row></table:table><table:table table:name='Good'><table:table-row>{cell}\
                 </table:table-row></table:table>"
            ),
        );
        let drawn = draw(&bytes);
        let (odd, rest) = drawn.split_once("\n[Good]").expect("the good sheet");
        assert!(odd.starts_with("[Odd]\nunread: ") && odd.contains(reason), "{odd}");
        assert_eq!(rest, "\n1: 1");
    }
}

#[test]
fn the_marks_of_a_sheet_are_handed_on() {
    let text = |attributes: &str, text: &str| {
        format!("<table:table-cell {attributes} office:value-type='string'><text:p>{text}</text:p></table:table-cell>")
    };
    let bytes = content(
        "<style:style style:name='ta'><style:table-properties table:display='false'/></style:style>\
         <style:style style:name='ce'><style:table-cell-properties fo:background-color='#ff0000'/></style:style>\
         <style:style style:name='cw'><style:table-cell-properties fo:background-color='transparent'/></style:style>",
        &format!(
            "<table:calculation-settings><table:null-date table:date-value='1904-01-01'/></table:calculation-settings>\
             <table:table table:name='One' table:style-name='ta'><table:table-column/>\
             <table:table-column table:number-columns-repeated='2' table:visibility='collapse'/>\
             <table:table-row>{}{}</table:table-row>\
             <table:table-row table:visibility='filter'>{}<table:covered-table-cell office:value-type='string'>\
             <text:p>hidden</text:p></table:covered-table-cell></table:table-row></table:table>",
            text("table:style-name='cw'", "a"),
            text("table:number-rows-spanned='2'", "b"),
            text("table:style-name='ce'", "c")
        ),
    );
    assert_eq!(draw(&bytes), "[One] hidden\n1: a|b\n2: c|b");
    assert_eq!(draw_marks(&bytes), "hidden rows {2}, hidden columns {1, 2}, coloured {2}, merged {2}, day zero 1462");
}

#[test]
fn a_damaged_or_protected_workbook_is_refused_with_the_reason() {
    assert!(
        draw(&archive(&[("content.xml", b"<a><table:table table:name='One'><table:table-row>")])).contains("damaged")
    );
    assert!(draw(&archive(&[("content.xml", b"<a/>")])).contains("there are no sheets in it"));
    let encrypted = archive(&[
        ("content.xml", b"\x01\x02\x03"),
        ("META-INF/manifest.xml", b"<m:manifest><m:file-entry><m:encryption-data/></m:file-entry></m:manifest>"),
    ]);
    assert!(draw(&encrypted).contains("protected by a password"));
}
